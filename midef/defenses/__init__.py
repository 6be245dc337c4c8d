"""One defense per file. Importing this package loads no torch."""

from midef.defenses._base import DEFENSES, Batch, Defense
from midef.defenses._stack import Stack, choose_defense, remake_defense

__all__ = ["DEFENSES", "Batch", "Defense", "Stack", "choose_defense", "remake_defense"]
