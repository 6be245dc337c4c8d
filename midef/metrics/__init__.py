"""One metric per file: a pure function below, a thin class above."""

from midef.metrics.base import METRICS, Evidence, Measurement, Metric, column_title

__all__ = ["METRICS", "Evidence", "Measurement", "Metric", "column_title"]
