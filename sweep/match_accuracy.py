"""Bring every defense to one accuracy, attack them, print tables: `python sweep/match_accuracy.py [SWEEP] [options]`.

The options are those of `midef match`; without a sweep it takes $MIDEF_SWEEP (default smoke), in the profile
$MIDEF_PROFILE if that is set. Finished trainings are in the store, so running it again goes on where it stopped. On a
cluster: `ray submit cluster.yaml sweep/match_accuracy.py`, which copies this file alone, as with `full_matrix.py`.
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
    sys.exit(run_script("match", default_sweep="smoke"))
