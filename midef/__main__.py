"""`python -m midef`: the command line."""

import sys

from midef.sweep.cli import main

if __name__ == "__main__":
    sys.exit(main())
