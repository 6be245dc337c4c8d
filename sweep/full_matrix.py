"""Run a sweep, print its table, build its dashboard: `python sweep/full_matrix.py`.

Finished work is in the store, so running it again goes on where it stopped, and does nothing where nothing is left.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)  # the script's own folder is no package root

    from sweep.cli import main

    sys.exit(main(["run", *sys.argv[1:], "--dashboard"]))
