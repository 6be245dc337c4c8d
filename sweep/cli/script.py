"""Shared body of the entry scripts `full_matrix.py` and `match_accuracy.py`: one verb with a default sweep."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from midef.sweep.cli import app


def run_script(verb: str, *, default_sweep: str, given: Sequence[str] | None = None) -> int:
    """Run a verb with the arguments of a script, build the dashboard, return the exit code.

    $MIDEF_SWEEP names the sweep where no argument does, $MIDEF_PROFILE the profile where `--profile` does not.

    Args:
        verb: `run` or `match`.
        default_sweep: the sweep where neither names one.
        given: options of the verb (default: of the command line).
    """
    given = sys.argv[1:] if given is None else given
    sweep = os.environ.get("MIDEF_SWEEP") or default_sweep
    # Put before what was given: a sweep named there is then one too many, and a --profile there has the last word.
    _, left_over = app.make_parser().parse_known_args([verb, sweep, *given])
    profile = os.environ.get("MIDEF_PROFILE")
    first = [*([] if left_over else [sweep]), *(["--profile", profile] if profile else [])]
    return app.main([verb, *first, *given, "--dashboard"])
