"""MNIST: handwritten digits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from midef.datasets.base import DATASETS, Card
from midef.datasets.files.idx import IdxDataset


@DATASETS.add("mnist")
@dataclass(frozen=True, kw_only=True)
class Mnist(IdxDataset):
    __doc__ = IdxDataset.__doc__

    paper: ClassVar[str] = "LeCun et al., Gradient-based learning applied to document recognition, Proc. IEEE 1998"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "halves-private": {"classes": (0, 1, 2, 3, 4)},
        "halves-public": {"classes": (5, 6, 7, 8, 9), "labelled": False},
    }
    folder: ClassVar[str] = "MNIST"
    words: ClassVar[tuple[str, ...]] = tuple("0123456789")
    facts: ClassVar[Card] = Card(
        title="MNIST",
        licence="CC BY-SA 3.0, Y. LeCun and C. Cortes",
        consent="written for NIST by census staff and students; no names are attached",
        source="https://yann.lecun.com/exdb/mnist/",
    )
