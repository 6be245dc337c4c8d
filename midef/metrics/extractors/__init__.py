"""One extractor per file: a published network that turns images into features for metrics."""

from midef.metrics.extractors.base import EXTRACTORS, Extractor

__all__ = ["EXTRACTORS", "Extractor"]
