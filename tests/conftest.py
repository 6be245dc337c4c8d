"""Settings for every test. Set before torch is loaded: on few cores its threads wait for each other more than they work."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
