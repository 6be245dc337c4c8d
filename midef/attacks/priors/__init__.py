"""What attackers train beforehand: generators and inversion networks. Loads no torch."""

from midef.attacks.priors.base import PRIORS, Prior

__all__ = ["PRIORS", "Prior"]
