"""From result rows to the numbers a person reads. Imports neither torch nor Ray."""

from midef.results.frame import read

__all__ = ["read"]
