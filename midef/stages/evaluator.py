"""Stage: train the evaluator. A target without a defense, on private data, with another architecture."""

from midef.stages.target import build, load

__all__ = ["build", "load"]
