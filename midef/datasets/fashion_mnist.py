"""Fashion-MNIST: articles of clothing, a harder set in the files of MNIST."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from midef.datasets.base import DATASETS, Card
from midef.datasets.files.idx import IdxDataset


@DATASETS.add("fashion_mnist")
@dataclass(frozen=True, kw_only=True)
class FashionMnist(IdxDataset):
    __doc__ = IdxDataset.__doc__

    paper: ClassVar[str] = "Xiao et al., Fashion-MNIST: a novel image dataset for benchmarking, arXiv:1708.07747"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "halves-private": {"classes": (0, 1, 2, 3, 4)},
        "halves-public": {"classes": (5, 6, 7, 8, 9), "labelled": False},
    }
    folder: ClassVar[str] = "FashionMNIST"
    words: ClassVar[tuple[str, ...]] = (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    )  # fmt: skip
    facts: ClassVar[Card] = Card(
        title="Fashion-MNIST",
        licence="MIT, Zalando SE",
        consent="pictures of products; shows no people",
        source="https://github.com/zalandoresearch/fashion-mnist",
    )
