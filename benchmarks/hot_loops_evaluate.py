"""Naive references of evaluation: one image at a time, gradients recorded though nobody asks, distances row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from hot_loops_naive import Pair, Sizes, Work
from torch import Tensor

from midef.metrics import METRICS
from midef.models import ARCHITECTURES
from midef.nn.network import TargetModel
from midef.stages.evaluator import evaluate_images
from midef.stages.resize import low_to_high
from midef.testing.metrics import evidence

FEATURES, EACH = 256, 16
"""Features of an image, and private images of an identity."""


def evaluate_pairs(sizes: Sizes) -> Iterator[Pair]:
    """Answers and features of an evaluator, and the metrics that are made of them."""
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (sizes.images, 3, sizes.px, sizes.px), generator=rng, dtype=torch.uint8)

    def evaluator() -> TargetModel:
        torch.manual_seed(0)
        return ARCHITECTURES.make(sizes.target).build(sizes.classes, sizes.px).eval()

    def answers_of(images: Tensor, model: Any) -> Tensor:
        logits, features = evaluate_images(model, images, "cpu")
        return torch.cat([torch.from_numpy(logits), torch.from_numpy(features)], dim=1)

    def ours() -> Work:
        model = evaluator().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return lambda: answers_of(low_to_high(images, sizes.px), model)

    def naive() -> Work:
        model = evaluator()

        def one(image: Tensor) -> Tensor:
            seen = model(image[None].float() / 255)
            return torch.cat([seen.logits, seen.features], dim=1).detach()

        return lambda: torch.cat([one(image) for image in images])

    is_alone = "one image at a time, gradients recorded"
    yield Pair(name="logits and features", group="evaluate", naive_is=is_alone, ours=ours, naive=naive)
    given = _evidence(sizes)
    for name, (naive_is, measured) in NAIVE.items():
        yield _metric(name, naive_is, measured, given)


def _evidence(sizes: Sizes) -> Any:
    """Evidence of many images, with clusters of features by identity; features of images are read by a matrix."""
    rng = np.random.default_rng(0)
    classes, count = sizes.classes, 16 * sizes.images
    centres = rng.standard_normal((classes, FEATURES)).astype(np.float32)
    labels, private = np.arange(count) % classes, np.arange(EACH * classes) % classes
    weights = rng.standard_normal((3 * 12 * 12, FEATURES)).astype(np.float32)
    pixels = rng.integers(0, 256, (count + len(private), 3, 12, 12), dtype=np.uint8)
    given = evidence(classes=classes, n=count)
    return replace(
        given,
        labels=labels,
        restarts=np.arange(count) // classes,
        features=centres[labels] + rng.standard_normal((count, FEATURES)).astype(np.float32),
        private_features=centres[private] + rng.standard_normal((len(private), FEATURES)).astype(np.float32),
        private_labels=private,
        images=pixels[:count],
        private_images=pixels[count:],
        extractors=dict.fromkeys(given.extractors, lambda images: images.reshape(len(images), -1) / 255.0 @ weights),
    )


def _metric(name: str, naive_is: str, measured: Callable[[Any], float], given: Any) -> Pair:
    metric = METRICS.make(name)
    return Pair(
        name=name,
        group="evaluate",
        naive_is=naive_is,
        ours=lambda: lambda: torch.tensor([metric.measure(given).value]),
        naive=lambda: lambda: torch.tensor([measured(given)]),
    )


def _attack_accuracy(given: Any) -> float:
    """Share of reconstructions, in percent, whose identity no other class beats; without an interval."""
    pairs = zip(given.evaluator_logits, given.labels, strict=True)
    hits = [float(max(logits) <= logits[label]) for logits, label in pairs]
    return 100 * sum(hits) / len(hits)


def _knn_distance(given: Any) -> float:
    """The least squared distance of each reconstruction to a private image of its identity; without an interval."""
    nearest = []
    for found, label in zip(given.features, given.labels, strict=True):
        own = [private for private, of in zip(given.private_features, given.private_labels, strict=True) if of == label]
        nearest.append(min(((private.astype(np.float64) - found) ** 2).sum() for private in own))
    return float(np.mean(nearest))


def _fid(given: Any) -> float:
    """|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), the root by the eigenvalues of the product."""
    read = given.extractors["fid_inception"]
    one, other = read(given.images), read(given.private_images)
    first, second = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    root = np.sqrt(np.linalg.eigvals(first @ second).astype(np.complex128)).real.sum()
    shift = ((one.mean(axis=0) - other.mean(axis=0)) ** 2).sum()
    return float(shift + np.trace(first) + np.trace(second) - 2 * root)


NAIVE: dict[str, tuple[str, Callable[[Any], float]]] = {
    "attack_accuracy_at_1": ("one image after the other, no interval", _attack_accuracy),
    "knn_distance": ("one pair of images after the other, no interval", _knn_distance),
    "fid": ("covariances and the eigenvalues of their product", _fid),
}
