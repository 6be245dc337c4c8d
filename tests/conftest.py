"""Settings for every test, made before torch is loaded: on few cores its threads mostly wait for each other."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
