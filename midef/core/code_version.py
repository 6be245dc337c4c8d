"""Version of the code that is running, down to the commit where it runs from a checkout."""

from __future__ import annotations

import subprocess
from functools import lru_cache
from pathlib import Path

import midef

PATHS = ("midef", "sweep", "dashboards", "pyproject.toml")
"""What decides a result; a changed page or test leaves the version as it is."""


@lru_cache(maxsize=1)
def code_version() -> str:
    """`0.1.0`; from a checkout `0.1.0+1f4742f0`, with `.changed` where the code differs from that commit.

    Nothing depends on it: it is stored beside results, so that a table can say what made its numbers.
    """
    root = Path(midef.__file__).resolve().parents[1]
    commit = _git(root, "rev-parse", "--short=8", "HEAD") if (root / ".git").exists() else None
    if not commit:
        return midef.__version__
    is_changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", *PATHS)
    return f"{midef.__version__}+{commit}{'.changed' if is_changed else ''}"


def _git(root: Path, *words: str) -> str | None:
    """What git answers; None without git, or where it refuses."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *words],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
