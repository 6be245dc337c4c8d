"""Bring every defense to one accuracy, attack them, print tables: `python sweep/match_accuracy.py [SWEEP] [options]`.

The options are those of `midef match`; without a sweep it takes $MIDEF_SWEEP (default smoke), in the profile
$MIDEF_PROFILE if that is set. Finished trainings are in the store, so running it again goes on where it stopped. On a
cluster: `ray submit cluster.yaml sweep/match_accuracy.py`, which copies this file alone, as with `full_matrix.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

DEFAULT_SWEEP = "smoke"


def main(given: Sequence[str]) -> int:
    """Run with these arguments; returns the exit code of `midef match`, 3 where the package is not to be found."""
    checkout = Path(__file__).resolve().parent.parent
    if (checkout / "midef" / "__init__.py").exists():
        sys.path[:0] = [str(checkout)]
    try:
        from midef.sweep import full_matrix
    except ModuleNotFoundError as error:
        if error.name != "midef":
            raise
        sys.stderr.write(f"midef: {sys.executable} cannot import the package midef; set PYTHONPATH to the checkout, or "
                         "`pip install -e` it; on a cluster node see cluster/README.md\n")  # fmt: skip
        return 3
    return full_matrix.main(given, verb="match", default_sweep=DEFAULT_SWEEP)


if __name__ == "__main__":
    if Path(sys.path[0]).resolve() == Path(__file__).resolve().parent:
        del sys.path[0]  # the script's own folder is no package root, and the head's home may hold anything
    sys.exit(main(sys.argv[1:]))
