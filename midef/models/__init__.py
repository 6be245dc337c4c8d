"""One architecture family per file. Importing this package loads no torch."""

from midef.models.base import ARCHITECTURES, Architecture, ModelFacts

__all__ = ["ARCHITECTURES", "Architecture", "ModelFacts"]
