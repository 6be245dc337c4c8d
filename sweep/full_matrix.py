"""Run a sweep, print its table, build its dashboard: `python sweep/full_matrix.py`.

Finished work is in the store, so running it again goes on where it stopped, and does nothing where nothing is left.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)  # the script's own folder is no package root

    from sweep.cli import main

    arguments = sys.argv[1:]
    named = [a for a in arguments if not a.startswith("-")]
    sys.exit(main(["run", *([] if named else ["smoke"]), *arguments, "--dashboard"]))
