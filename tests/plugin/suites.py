"""The contract suites, as the package's own tests would use them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from midef.testing import (
    ArchitectureContract,
    AttackContract,
    DatasetContract,
    DefenseContract,
    MetricContract,
    PriorContract,
)

STRIPES = {"identities": 4, "train_images": 3, "select_images": 1, "report_images": 2}


class TestDefense(DefenseContract):
    names = ("temperature",)
    stacks = ("temperature+nls",)


class TestAttack(AttackContract):
    names = ("lucky_draw",)


class TestPrior(PriorContract):
    names = ("pixel_gaussian",)


class TestMetric(MetricContract):
    names = ("confidence",)


class TestDataset(DatasetContract):
    names = ("stripes",)
    samples: ClassVar[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
        "labelled": ("stripes", STRIPES),
        "unlabelled": ("stripes", {**STRIPES, "labelled": False}),
    }


class TestArchitecture(ArchitectureContract):
    names = ("shallow_cnn",)
