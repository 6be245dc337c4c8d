"""One dataset per file. Importing this package loads no torch."""

from midef.datasets.base import DATASETS, Card, Dataset, ImageFormation, Images, Splits

__all__ = ["DATASETS", "Card", "Dataset", "ImageFormation", "Images", "Splits"]
