"""A trained classifier behind a defense of its answers, to be deployed. Imports no Ray."""

from midef.guard.guard import Guard
from midef.guard.model import Outputs

__all__ = ["Guard", "Outputs"]
