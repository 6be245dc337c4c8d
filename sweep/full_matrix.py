"""Run the whole matrix, print its table, build its dashboard: `python sweep/full_matrix.py [SWEEP] [options]`.

Finished work is in the store, so running it again goes on where it stopped, and does nothing where nothing is left.
Without a sweep it runs $MIDEF_SWEEP (default matrix37) in the profile $MIDEF_PROFILE (default: the sweep's own);
the options are those of `midef run`. On a cluster: `ray submit cluster.yaml sweep/full_matrix.py`, which copies this
file alone to the head's home, so that the rest must be importable there (cluster/README.md).
"""

import sys
from pathlib import Path

HINT = """
On a cluster node it should lie in ~/midef_src: run `ray up cluster.yaml --no-restart` from the checkout, and look
whether ~/.bashrc reads ~/.midef_env. Anywhere else: `pip install -e` the checkout, or set PYTHONPATH to it. More in
cluster/README.md.
"""

if __name__ == "__main__":
    here = Path(__file__).resolve().parent  # no package root; where it is a home, it may hold anything
    checkout = [str(here.parent)] if (here.parent / "midef" / "__init__.py").exists() else []
    sys.path[:] = [*checkout, *(path for path in sys.path if Path(path).resolve() != here)]
    try:
        from midef.sweep.cli.script import run_script
    except ImportError as error:
        if error.name not in ("midef", "midef.sweep"):  # a package that midef needs
            raise
        sys.stderr.write(f"midef: {sys.executable} cannot import the package midef: {error}{HINT}")
        sys.exit(3)
    sys.exit(run_script("run", default_sweep="matrix37"))
