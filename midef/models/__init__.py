"""One architecture family per file. Importing this package loads no torch."""

from midef.models.base import ARCHITECTURES, Architecture, Judge, ModelFacts, PublishedFile

__all__ = ["ARCHITECTURES", "Architecture", "Judge", "ModelFacts", "PublishedFile"]
