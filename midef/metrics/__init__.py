"""One metric per file: a pure function below, a thin class above."""

from midef.metrics.base import (
    METRICS,
    STANDARD,
    Evidence,
    Measurement,
    Metric,
    NetworkAnswers,
    ScoreAnswers,
    StudentAnswers,
    chosen_metrics,
    column_title,
    standard_metrics,
)

__all__ = [
    "METRICS",
    "STANDARD",
    "Evidence",
    "Measurement",
    "Metric",
    "NetworkAnswers",
    "ScoreAnswers",
    "StudentAnswers",
    "chosen_metrics",
    "column_title",
    "standard_metrics",
]
