"""What a network expects of an image: its size and normalisation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from midef.core.errors import SpecError, did_you_mean

NORMALISATIONS = {
    "own": ((0.0,), (1.0,), "images in [0, 1], as they are: the network normalises for itself, or not at all"),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "ImageNet's mean and standard deviation"),
    "half": ((0.5,), (0.5,), "images in [-1, 1]"),
}
"""Name -> mean, standard deviation, and what that is in words."""
_WEIGHTS = re.compile(r"\w+_Weights\.\w+")


@dataclass(frozen=True, kw_only=True)
class Input:
    """What a network expects of an image in [0, 1].

    Args:
        resolution_px: sides of the images; they are resized to it.
        mean: taken away, by colour or one for all.
        std: divided by afterwards.
        channels: 3 colours, or 1: the mean of the colours.
        written: as the user said it.
    """

    resolution_px: int
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    channels: int = 3
    written: str = ""

    @property
    def text(self) -> str:
        """For a person: `64 px, images in [-1, 1]`."""
        known = (words for mean, std, words in NORMALISATIONS.values() if (mean, std) == (self.mean, self.std))
        numbers = f"mean {_listed(self.mean)}, standard deviation {_listed(self.std)}"
        return f"{self.resolution_px} px, {'grey, ' if self.channels == 1 else ''}{next(known, numbers)}"


def _listed(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)


def read_input(
    written: str = "own",
    *,
    resolution_px: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    channels: int = 3,
) -> Input:
    """What a network expects, as the user says it.

    Args:
        written: one of `NORMALISATIONS`, or weights of torchvision such as `ResNet18_Weights.IMAGENET1K_V1`, whose own
            preprocessing is read; nothing is downloaded.
        resolution_px: of the images; those weights know it.
        mean: in the place of the named ones; one number, or one for each colour.
        std: likewise.
        channels: 1 for a network of grey images.

    Raises:
        SpecError: with all that is wrong.
    """
    problems: list[str] = []
    named_mean, named_std, named_px = _named(written, problems)
    chosen_mean = tuple(map(float, named_mean if mean is None else mean))
    chosen_std = tuple(map(float, named_std if std is None else std))
    if (mean is None) != (std is None):
        problems.append("give both mean and std, or neither")
    if any(len(numbers) not in {1, channels} for numbers in (chosen_mean, chosen_std)):
        problems.append(
            f"mean and std have one number, or {channels}, one for each colour; got {_listed(chosen_mean)} and "
            f"{_listed(chosen_std)}"
        )
    if any(number <= 0 for number in chosen_std):
        problems.append(f"std is divided by and must be above 0, got {_listed(chosen_std)}")
    if max(map(abs, chosen_mean), default=0) > 2:
        problems.append(f"mean is of images in [0, 1], got {_listed(chosen_mean)}; divide it and std by 255")
    if channels not in (1, 3):
        problems.append(f"channels are 3 colours or 1 of grey images, got {channels}")
    px = resolution_px or named_px
    if px is None or px < 1:
        problems.append("say the size of the images that the network takes, in pixels: `--resolution 64`")
    if problems:
        raise SpecError(problems)
    assert px is not None
    return Input(resolution_px=px, mean=chosen_mean, std=chosen_std, channels=channels, written=written)


def _named(written: str, problems: list[str]) -> tuple[Sequence[float], Sequence[float], int | None]:
    if written in NORMALISATIONS:
        mean, std, _ = NORMALISATIONS[written]
        return mean, std, None
    if _WEIGHTS.fullmatch(written):
        import torchvision

        try:
            transforms = torchvision.models.get_weight(written).transforms()
            size = transforms.crop_size
            return transforms.mean, transforms.std, int(size[0] if isinstance(size, Sequence) else size)
        except (ValueError, KeyError, AttributeError) as error:
            problems.append(f"torchvision has no weights of a classifier called {written!r}: {error}")
            return (0.0,), (1.0,), None
    problems.append(
        f"no input {written!r}; {did_you_mean(written, NORMALISATIONS)}, or weights of torchvision such as "
        "ResNet18_Weights.IMAGENET1K_V1"
    )
    return (0.0,), (1.0,), None
