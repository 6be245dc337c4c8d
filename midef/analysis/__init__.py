"""Why defenses should work: one analysis per file, of what a sweep has stored."""

from midef.analysis.base import ANALYSES, AnalysedCell, Analysis, analyse

__all__ = ["ANALYSES", "AnalysedCell", "Analysis", "analyse"]
