"""Reconstruction error, PSNR and SSIM of pairs: a reconstruction and the private image it is made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from midef.core.errors import NotApplicable, ShapeError
from midef.metrics.base import METRICS, Evidence, Measurement, Metric, mean_over_identities

if TYPE_CHECKING:
    import numpy as np

MOST_PSNR = 100.0
"""Of equal images, whose error is 0, and of those that hardly differ: one level of one value in 64 x 64 gives 89."""


def pairs_of(evidence: Evidence, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Reconstructions and the private images they are made from [N, 3, H, W] uint8, N >= 1.

    Raises:
        TooFewSamples: for no reconstruction.
        NotApplicable: of an attack that does not reconstruct an observed image.
    """
    images = evidence.reconstructions_of(metric)
    if evidence.originals is None:
        raise NotApplicable(f"{metric} compares pairs: this attack looks for an identity and not for an observed image")
    return images, evidence.originals


def squared_errors(images: np.ndarray, originals: np.ndarray, scale: np.ndarray | float = 1.0) -> np.ndarray:
    """Mean [N] over pixels and channels of the squared difference of pairs of images.

    Args:
        images: [N, C, H, W] uint8, read as 0 to 1.
        originals: the same.
        scale: what differences are divided by, one number or [C].

    Raises:
        ShapeError: if the shapes differ.
    """
    import numpy as np

    if images.shape != originals.shape or images.ndim != 4:
        raise ShapeError(f"needs two times [N, C, H, W], got {images.shape} and {originals.shape}")
    by_channel = np.broadcast_to(np.asarray(scale, dtype=np.float64), images.shape[1:2])[:, None, None]
    difference = (images.astype(np.float64) - originals) / 255 / by_channel
    errors: np.ndarray = (difference**2).mean(axis=(1, 2, 3))
    return errors


def peak_ratios(errors: np.ndarray) -> np.ndarray:
    """PSNR [N] in decibel of mean squared errors of images in [0, 1], at most `MOST_PSNR`."""
    import numpy as np

    ratios: np.ndarray = np.minimum(MOST_PSNR, -10 * np.log10(np.maximum(errors, 1e-30)))
    return ratios


def structural_similarity(images: np.ndarray, originals: np.ndarray) -> np.ndarray:
    """SSIM [N] of pairs of images [N, C, H, W] uint8, mean over places and channels; 1 for equal images.

    Gaussian windows of standard deviation 1.5, 11 pixels wide, around every pixel, the image mirrored at its borders;
    K1 = 0.01, K2 = 0.03, range 1; variances weighted, not unbiased.

    Raises:
        NotApplicable: for images of fewer than 6 pixels a side, which cannot be mirrored.

    Source: Wang et al., IEEE Transactions on Image Processing 13 (2004), as in torchmetrics 1.9.
    We differ from the authors' code: it leaves the borders out.
    """
    import numpy as np
    from scipy.ndimage import correlate1d

    if min(images.shape[-2:]) < 6:
        raise NotApplicable(f"SSIM has windows of 11 pixels, images have {images.shape[-2]} x {images.shape[-1]}")
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets**2) / (2 * 1.5**2))
    window /= window.sum()

    def mean(x: np.ndarray) -> np.ndarray:
        seen: np.ndarray = correlate1d(correlate1d(x, window, axis=-1, mode="mirror"), window, axis=-2, mode="mirror")
        return seen

    values = np.empty(len(images))
    for i, (image, original) in enumerate(zip(images, originals, strict=True)):
        x, y = image / 255.0, original / 255.0
        mx, my = mean(x), mean(y)
        vx, vy = np.maximum(mean(x * x) - mx**2, 0.0), np.maximum(mean(y * y) - my**2, 0.0)
        cov = mean(x * y) - mx * my
        c1, c2 = 0.01**2, 0.03**2
        values[i] = (((2 * mx * my + c1) * (2 * cov + c2)) / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean()
    return values


@METRICS.add("reconstruction_error")
@dataclass(frozen=True, kw_only=True)
class ReconstructionError(Metric):
    """Mean over reconstructions of the mean squared error to the private image they are made from, pixels in [0, 1].

    Mean over pixels and channels; 0 to 1. Only for attacks that reconstruct an observed image. The interval is over
    identities.

    Source: Yang et al., CCS 2019; the error R of LPA.
    We differ: published numbers are often of normalised images, see `reconstruction_error_normalised`.
    """

    paper: ClassVar[str] = "Yang et al., CCS 2019"
    unit: ClassVar[str] = "mean squared error"
    larger_is: ClassVar[str] = "more private"
    column: ClassVar[str] = "MSE"
    low: ClassVar[float | None] = 0.0
    high: ClassVar[float | None] = 1.0

    @override
    def measure(self, evidence: Evidence) -> Measurement:
        images, originals = pairs_of(evidence, "reconstruction error")
        return mean_over_identities(squared_errors(images, originals), evidence.labels, high=1.0)


@METRICS.add("reconstruction_error_normalised")
@dataclass(frozen=True, kw_only=True)
class ReconstructionErrorNormalised(Metric):
    """The reconstruction error of images whose channels have unit variance over the private images.

    Differences are divided by the standard deviation of a channel over all pixels of the private images of the
    attacked identities, those the KNN distance looks at, whichever split the victims are of. 0 and above; 1 is about
    the error of a grey image of the right colour.

    Source: LPA, whose 0.88 on MNIST is on such a scale: the mean image of the right digit has 0.51 there, and another
    image of it 1.03. Of pixels in [-1, 1] these are 0.17 and 0.35.
    We differ: their standard deviation is most likely that of the whole data set, which moves the number by 2 % on
    MNIST and 6 % on Fashion-MNIST.
    """

    paper: ClassVar[str] = "LPA, the defense of served scores by data poisoning"
    unit: ClassVar[str] = "mean squared error, unit variance"
    larger_is: ClassVar[str] = "more private"
    column: ClassVar[str] = "MSE norm"
    low: ClassVar[float | None] = 0.0

    @override
    def measure(self, evidence: Evidence) -> Measurement:
        import numpy as np

        images, originals = pairs_of(evidence, "reconstruction error")
        if evidence.private_images is None:
            raise NotApplicable("the normalised reconstruction error needs the private images")
        deviations = (evidence.private_images / 255.0).std(axis=(0, 2, 3))
        if not np.all(deviations > 0):
            raise NotApplicable("the private images have a channel of one value: there is no scale to divide by")
        return mean_over_identities(squared_errors(images, originals, deviations), evidence.labels)


@METRICS.add("psnr")
@dataclass(frozen=True, kw_only=True)
class Psnr(Metric):
    """Mean over reconstructions of the peak signal-to-noise ratio to the private image they are made from, in dB.

    -10 log10 of the mean squared error of pixels in [0, 1]; 0 to 100, which stands for equal images. Only for attacks
    that reconstruct an observed image. The interval is over identities.
    """

    paper: ClassVar[str] = "standard"
    unit: ClassVar[str] = "dB"
    larger_is: ClassVar[str] = "less private"
    column: ClassVar[str] = "PSNR"
    low: ClassVar[float | None] = 0.0
    high: ClassVar[float | None] = MOST_PSNR

    @override
    def measure(self, evidence: Evidence) -> Measurement:
        ratios = peak_ratios(squared_errors(*pairs_of(evidence, "PSNR")))
        return mean_over_identities(ratios, evidence.labels, high=MOST_PSNR)


@METRICS.add("ssim")
@dataclass(frozen=True, kw_only=True)
class Ssim(Metric):
    """Mean over reconstructions of the structural similarity to the private image they are made from, -1 to 1.

    1 for equal images, about 0 for unrelated ones. Only for attacks that reconstruct an observed image. The interval is
    over identities.

    Source: Wang et al., with Gaussian windows of 11 pixels.
    """

    paper: ClassVar[str] = "Wang et al., IEEE Trans. Image Processing 2004"
    unit: ClassVar[str] = "similarity"
    larger_is: ClassVar[str] = "less private"
    column: ClassVar[str] = "SSIM"
    low: ClassVar[float | None] = -1.0
    high: ClassVar[float | None] = 1.0

    @override
    def measure(self, evidence: Evidence) -> Measurement:
        values = structural_similarity(*pairs_of(evidence, "SSIM")).clip(-1.0, 1.0)
        return mean_over_identities(values, evidence.labels, low=-1.0, high=1.0)
