"""FID, KID, precision and recall by their definitions: closed forms, double loops and the libraries."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from midef.core import TooFewSamples
from midef.metrics import METRICS
from midef.metrics.fid import frechet_distance
from midef.metrics.kid import kernel_distance
from midef.metrics.precision_recall import manifold
from midef.stages.scores import measure
from midef.testing.metrics import evidence, projected


def sample_of(mean: np.ndarray, root: np.ndarray, n: int, seed: int) -> np.ndarray:
    """A sample with exactly this mean, and this root of its unbiased covariance."""
    drawn = np.random.default_rng(seed).standard_normal((n, len(mean)))
    drawn -= drawn.mean(axis=0)
    whitened = np.linalg.qr(drawn)[0] * math.sqrt(n - 1)
    return mean + whitened @ root


@pytest.mark.parametrize("n", [9, 200], ids=["hardly more than features", "many"])
def test_of_two_gaussians_it_is_the_closed_form(n: int) -> None:
    """Covariances with common axes: the distance is the sum of squared differences of means and of deviations."""
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    one, two, means = rng.random(6) + 0.1, rng.random(6) + 0.1, rng.standard_normal((2, 6))
    a = sample_of(means[0], axes @ np.diag(one) @ axes.T, n, 1)
    b = sample_of(means[1], axes @ np.diag(two) @ axes.T, n + 3, 2)
    expected = ((means[0] - means[1]) ** 2).sum() + ((one - two) ** 2).sum()
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("n", "m"), [(40, 60), (5, 7)], ids=["full rank", "fewer images than features"])
def test_it_is_the_number_of_torchmetrics_for_the_same_features(n: int, m: int) -> None:
    from torchmetrics.image.fid import _compute_fid

    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((n, 12)), rng.standard_normal((m, 12)) * 1.5 + 0.3
    means = [torch.tensor(x.mean(axis=0)) for x in (a, b)]
    covariances = [torch.tensor(np.cov(x, rowvar=False)) for x in (a, b)]
    expected = float(_compute_fid(means[0], covariances[0], means[1], covariances[1]))
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(a, a) == pytest.approx(0.0, abs=1e-9)


def test_fid_says_how_many_images_and_that_they_are_few() -> None:
    given = evidence()
    assert given.images is not None and given.private_images is not None
    measured = METRICS.make("fid").measure(given)
    expected = frechet_distance(projected(given.images), projected(given.private_images))
    assert measured.value == pytest.approx(expected, rel=1e-9) and measured.n == 32
    assert measured.low is None and measured.interval == ""
    assert measured.remark.startswith("32 reconstructions, 40 private images: fewer than 2048")
    with pytest.raises(TooFewSamples, match="at least 2"):
        METRICS.make("fid").measure(replace(given, private_images=given.private_images[:1]))


def test_the_two_distances_read_different_extractors() -> None:
    given = evidence()
    ranges = {"fid_inception": projected, "fid_inception_ppa": lambda images: 2 * projected(images)}
    both = replace(given, extractors=ranges)
    standard, ppa = (METRICS.make(name).measure(both).value for name in ("fid", "fid_ppa"))
    assert ppa == pytest.approx(4 * standard, rel=1e-6)


def kernel(x: list[float], y: list[float]) -> float:
    return float((sum(a * b for a, b in zip(x, y, strict=True)) / len(x) + 1) ** 3)


def loops(a: list[list[float]], b: list[list[float]]) -> float:
    """Unbiased squared discrepancy by double loops."""
    within = [
        sum(kernel(x, y) for i, x in enumerate(s) for j, y in enumerate(s) if i != j) / (len(s) * (len(s) - 1))
        for s in (a, b)
    ]
    return sum(within) - 2 * sum(kernel(x, y) for x in a for y in b) / (len(a) * len(b))


def test_kid_is_a_double_loop_and_its_error_a_jackknife() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.standard_normal((9, 5)), rng.standard_normal((12, 5)) + 0.5
    of_a, of_b = np.arange(9) % 3, np.arange(12) % 3
    value, error, groups = kernel_distance(a, of_a, b, of_b)
    assert value == pytest.approx(loops(a.tolist(), b.tolist()), rel=1e-10) and groups == 3
    left = [loops(a[of_a != g].tolist(), b[of_b != g].tolist()) for g in range(3)]
    assert error == pytest.approx(math.sqrt(2 / 3 * sum((x - sum(left) / 3) ** 2 for x in left)), rel=1e-9)


def test_kid_is_the_number_of_torchmetrics_for_the_same_features() -> None:
    from torchmetrics.image.kid import poly_mmd

    rng = np.random.default_rng(5)
    a, b = rng.standard_normal((10, 6)), rng.standard_normal((10, 6)) + 1.0
    found = kernel_distance(a, np.arange(10), b, np.arange(10))[0]
    assert found == pytest.approx(float(poly_mmd(torch.tensor(a), torch.tensor(b))), rel=1e-9)


def by_loops(real: np.ndarray, fake: np.ndarray, *, k: int, as_ppa: bool) -> tuple[float, float, float, float]:
    """Precision, recall, density and coverage, image by image."""

    def radius(x: np.ndarray, i: int) -> float:
        return sorted(math.dist(x[i], x[j]) for j in range(len(x)) if j != i)[k - 1]

    def is_in(x: np.ndarray, i: int, point: np.ndarray) -> bool:
        far = math.dist(x[i], point)
        return far <= radius(x, i) if as_ppa else far < radius(x, i)

    def in_any(x: np.ndarray, point: np.ndarray) -> bool:
        if as_ppa:
            return is_in(x, min(range(len(x)), key=lambda i: math.dist(x[i], point)), point)
        return any(is_in(x, i, point) for i in range(len(x)))

    held = [[is_in(real, i, point) for point in fake] for i in range(len(real))]
    return (
        sum(in_any(real, point) for point in fake) / len(fake),
        sum(in_any(fake, point) for point in real) / len(real),
        sum(map(sum, held)) / (k * (len(real) if as_ppa else len(fake))),
        sum(map(any, held)) / len(real),
    )


@pytest.mark.parametrize("as_ppa", [False, True], ids=["standard", "ppa"])
def test_precision_recall_density_and_coverage_are_double_loops(as_ppa: bool) -> None:
    rng = np.random.default_rng(6)
    real, fake = rng.standard_normal((14, 2)), rng.standard_normal((9, 2)) * 1.3 + 0.6
    expected = by_loops(real, fake, k=3, as_ppa=as_ppa)
    assert manifold(real, fake, k=3, as_ppa=as_ppa) == pytest.approx(expected)
    assert min(expected) > 0 and max(expected[0], expected[1], expected[3]) < 1


def test_the_variant_of_ppa_never_counts_more_in_precision_and_recall() -> None:
    rng = np.random.default_rng(7)
    real, fake = rng.standard_normal((30, 3)), rng.standard_normal((20, 3)) + 0.5
    standard, ppa = (manifold(real, fake, as_ppa=as_ppa) for as_ppa in (False, True))
    assert ppa.precision < standard.precision and ppa.recall < standard.recall
    assert ppa.density == pytest.approx(standard.density * 20 / 30) and ppa.coverage == standard.coverage


def test_identical_sets_have_all_and_distant_ones_nothing() -> None:
    real = np.random.default_rng(8).standard_normal((50, 4))
    same = manifold(real, real)
    assert (same.precision, same.recall, same.coverage) == (1, 1, 1)
    assert 0.5 < same.density < 2  # the image itself and its nearer neighbours: about 1
    assert manifold(real, real + 1000) == (0, 0, 0, 0)


def test_k_images_are_too_few() -> None:
    with pytest.raises(TooFewSamples, match="3 neighbours need at least 4 images, got 3"):
        manifold(np.zeros((3, 2)), np.zeros((9, 2)))


def test_too_few_images_of_an_identity_are_a_refusal_that_says_what_to_do() -> None:
    """A protocol of three reconstructions spoils no cell, and all eight metrics say it in one sentence."""
    names = [f"{part}{way}" for part in ("precision", "recall", "density") for way in ("", "_ppa")]
    names += ["coverage_prdc", "coverage_ppa"]
    entries = measure([*names, "fid"], evidence(n=24))
    assert [entry["status"] for entry in entries] == ["refused"] * 8 + ["ok"]
    (reason,) = {entry["reason"] for entry in entries[:8]}
    assert reason.endswith("at least 4 reconstructions of every identity, got 3; raise protocol.images_per_identity")
    assert {entry["failure"] for entry in entries[:8]} == {"data"}, "which tables say in a line"

    given = evidence()
    assert given.private_images is not None
    kept = (given.private_labels != 5) | (np.arange(len(given.private_labels)) < 20)
    few = replace(
        given,
        private_features=given.private_features[kept],
        private_labels=given.private_labels[kept],
        private_images=given.private_images[kept],
    )
    (entry,) = measure(["recall"], few)
    assert entry["status"] == "refused" and "4 private images of every identity, got 2 of 5" in entry["reason"]
    (missing,) = measure(["precision"], replace(evidence(n=24), extractors={}))
    assert "no file" in missing["reason"], "the file is asked for first"


def test_a_metric_is_the_mean_over_identities() -> None:
    given = evidence(5)
    assert given.images is not None and given.private_images is not None
    of_each = [
        manifold(projected(given.private_images[given.private_labels == i]), projected(given.images[given.labels == i]))
        for i in range(8)
    ]
    for name, part in (("precision", 0), ("recall", 1), ("coverage_prdc", 3)):
        measured = METRICS.make(name).measure(given)
        assert measured.value == pytest.approx(100 * np.mean([values[part] for values in of_each]))
        assert (measured.n, measured.groups) == (32, 8) and measured.low is not None
    assert METRICS.make("density").measure(given).value == pytest.approx(np.mean([v.density for v in of_each]))
