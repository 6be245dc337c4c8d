"""Priors: generators, surrogates and inversion networks trained before an attack. Loads no torch."""

from midef.attacks.priors.base import PRIORS, Prior

__all__ = ["PRIORS", "Prior"]
