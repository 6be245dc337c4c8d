"""One defense per file. Importing this package loads no torch."""

from midef.defenses._base import DEFENSES, Batch, Defense

__all__ = ["DEFENSES", "Batch", "Defense"]
