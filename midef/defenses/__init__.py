"""One defense per file. Importing this package loads no torch."""

from midef.defenses.base import DEFENSES, PHASE_ONE, Batch, Defense
from midef.defenses.stack import Stack, choose_defense, remake_defense
from midef.defenses.tuning import NotTuned, Tuning

__all__ = [
    "DEFENSES",
    "PHASE_ONE",
    "Batch",
    "Defense",
    "NotTuned",
    "Stack",
    "Tuning",
    "choose_defense",
    "remake_defense",
]
