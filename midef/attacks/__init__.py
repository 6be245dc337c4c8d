"""One attack per file. Importing this package loads no torch."""

from midef.attacks.access import AccessLevel
from midef.attacks.base import ATTACKS, Attack, Reconstructions, SmallBudget
from midef.attacks.priors import PRIORS, Prior

__all__ = ["ATTACKS", "PRIORS", "AccessLevel", "Attack", "Prior", "Reconstructions", "SmallBudget"]
