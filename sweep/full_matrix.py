"""Run the whole matrix, print its table, build its dashboard: `python sweep/full_matrix.py [SWEEP] [options]`.

Finished work is in the store, so running it again goes on where it stopped, and does nothing where nothing is left.
Without a sweep it runs $MIDEF_SWEEP (default matrix37) in the profile $MIDEF_PROFILE (default: the sweep's own);
the options are those of `midef run`. On a cluster: `ray submit cluster.yaml sweep/full_matrix.py`, which copies this
file alone to the head's home, so that the rest must be importable there (cluster/README.md).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

DEFAULT_SWEEP = "matrix37"
NOT_HERE = """midef: {python} cannot import the package {package}.
On a cluster node it should lie in ~/midef_src: run `ray up cluster.yaml --no-restart` from the checkout, and look
whether ~/.bashrc reads ~/.midef_env. Anywhere else: `pip install -e` the checkout, or set PYTHONPATH to it.
"""


def main(given: Sequence[str], *, verb: str = "run", default_sweep: str = DEFAULT_SWEEP) -> int:
    """Run with these arguments; returns the exit code of `midef run`, 3 where the package is not to be found.

    verb, default_sweep: of the other script of this folder, which is the same but for them.
    """
    checkout = Path(__file__).resolve().parent.parent
    if (checkout / "midef" / "__init__.py").exists():
        sys.path[:0] = [str(checkout)]
    try:
        from midef.sweep.cli import app
    except ModuleNotFoundError as error:
        if error.name != "midef":
            raise
        sys.stderr.write(NOT_HERE.format(python=sys.executable, package=error.name))
        return 3
    # Put before what was given: a sweep named there is then one too many, and a --profile there has the last word.
    sweep = os.environ.get("MIDEF_SWEEP") or default_sweep
    _, left_over = app.make_parser().parse_known_args([verb, sweep, *given])
    profile = os.environ.get("MIDEF_PROFILE")
    first = ([] if left_over else [sweep]) + (["--profile", profile] if profile else [])
    return app.main([verb, *first, *given, "--dashboard"])


if __name__ == "__main__":
    if Path(sys.path[0]).resolve() == Path(__file__).resolve().parent:
        del sys.path[0]  # the script's own folder is no package root, and the head's home may hold anything
    sys.exit(main(sys.argv[1:]))
