"""Errors of pairs against loops, and against torchmetrics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from midef.core import NotApplicable, ShapeError
from midef.metrics import METRICS
from midef.metrics.pairs import MOST_PSNR, peak_ratios, squared_errors, structural_similarity
from midef.testing.metrics import evidence


def images(seed: int = 0, n: int = 3, px: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 3, px, px), dtype=np.uint8)


def test_the_error_is_a_mean_of_squares_on_both_scales() -> None:
    one, two = images(0), images(1)
    scale = [0.5, 0.25, 0.2]
    for divisor, found in (([1, 1, 1], squared_errors(one, two)), (scale, squared_errors(one, two, np.array(scale)))):
        for image, other, error in zip(one.tolist(), two.tolist(), found, strict=True):
            squares = [
                ((a - b) / 255 / divisor[c]) ** 2
                for c in range(3)
                for row, other_row in zip(image[c], other[c], strict=True)
                for a, b in zip(row, other_row, strict=True)
            ]
            assert error == pytest.approx(sum(squares) / len(squares), rel=1e-12)
    with pytest.raises(ShapeError):
        squared_errors(one, images(0, px=8))


def test_the_normalised_scale_is_that_of_the_private_images() -> None:
    """Pixels that were standardised beforehand give the same number."""
    given = evidence(1)
    assert given.images is not None and given.originals is not None and given.private_images is not None
    private = given.private_images / 255
    mean, deviation = (f(private, axis=(0, 2, 3))[:, None, None] for f in (np.mean, np.std))
    one, two = ((part / 255 - mean) / deviation for part in (given.images, given.originals))
    measured = METRICS.make("reconstruction_error_normalised").measure(given)
    assert measured.value == pytest.approx(((one - two) ** 2).mean(), rel=1e-9)
    assert METRICS.make("reconstruction_error").measure(given).value < measured.value


def test_psnr_is_in_decibel_and_equal_images_have_the_most() -> None:
    assert peak_ratios(np.array([1.0, 0.1, 0.01, 0.0])).tolist() == pytest.approx([0, 10, 20, MOST_PSNR])
    least = 1 / 255**2 / (3 * 64 * 64)  # one value differs by one level
    assert peak_ratios(np.array([least]))[0] == pytest.approx(89.026, abs=1e-3)


def test_psnr_and_ssim_are_those_of_torchmetrics() -> None:
    from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

    one = images(2, px=24)
    two = np.clip(one + np.random.default_rng(3).integers(-40, 40, one.shape), 0, 255).astype(np.uint8)
    pairs = [torch.tensor(x / 255, dtype=torch.float64) for x in (one, two)]
    similar = [
        float(structural_similarity_index_measure(a[None], b[None], data_range=1.0))
        for a, b in zip(*pairs, strict=True)
    ]
    assert structural_similarity(one, two).tolist() == pytest.approx(similar, rel=1e-6)
    ratio = [float(peak_signal_noise_ratio(a, b, data_range=1.0)) for a, b in zip(*pairs, strict=True)]
    assert peak_ratios(squared_errors(one, two)).tolist() == pytest.approx(ratio, rel=1e-6)
    assert structural_similarity(one, one).tolist() == pytest.approx([1, 1, 1])


def test_small_images_have_no_ssim() -> None:
    with pytest.raises(NotApplicable, match="windows of 11 pixels, images have 5 x 5"):
        structural_similarity(images(px=5), images(px=5))


@pytest.mark.parametrize("name", ["psnr", "ssim", "reconstruction_error", "reconstruction_error_normalised", "lpips"])
def test_an_attack_that_looks_for_an_identity_has_no_pairs(name: str) -> None:
    with pytest.raises(NotApplicable, match="compares pairs: this attack looks for an identity"):
        METRICS.make(name).measure(replace(evidence(), originals=None))
