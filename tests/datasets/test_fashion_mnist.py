"""fashion_mnist: its own folder and class names; reading is tested with mnist."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from midef.datasets.fashion_mnist import FashionMnist


def test_reads_its_own_folder(idx_root: Callable[..., Path]) -> None:
    torchvision = pytest.importorskip("torchvision")
    root = idx_root("FashionMNIST")
    splits = FashionMnist(root=str(root), classes=(8, 9)).load(28)
    assert splits.class_names == ("Bag", "Ankle boot")
    test = torchvision.datasets.FashionMNIST(root, train=False)
    assert test.classes == list(FashionMnist.words)
    assert torch.equal(splits.report.images[splits.report.labels == 1][:, 0], test.data[test.targets == 9])


def test_the_files_of_mnist_are_not_its_files(idx_root: Callable[..., Path]) -> None:
    problems = FashionMnist(root=str(idx_root("MNIST"))).problems()
    assert len(problems) == 4 and all("FashionMNIST" in problem for problem in problems)


def test_the_real_files(real_data: Callable[[str], Path]) -> None:
    dataset = FashionMnist(root=str(real_data("fashion_mnist")), images_per_class=30)
    assert dataset.problems() == []
    card = dataset.card()
    assert card.title == "Fashion-MNIST"
    assert card.counts == {"identities": 10, "train": 270, "select": 30, "report": 300}
    splits = dataset.load(32)
    bags, sandals = (splits.train.images[splits.train.labels == k].float().mean() for k in (8, 5))
    assert sandals < 0.6 * bags  # a sandal covers less of the picture
