"""Teaching a generator what an attack found: its images are inverted, and the generator is tuned to draw like them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import cos, pi, sqrt
from typing import TYPE_CHECKING, Any, Literal

from midef.core.lazy import F, torch
from midef.core.position import share, steps
from midef.core.upload import uploaded
from midef.training.generative.set_distances import SET_DISTANCES, SetDistance

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

Features = Callable[["Tensor"], "Tensor"]
"""Of images [B, 3, R, R] about [-1, 1]: vectors [B, D]."""

MIDPOINT_LATENTS = 600
RAMP_UP, RAMP_DOWN, NOISE_UNTIL, NOISE = 0.05, 0.25, 0.75, 0.05


@dataclass(frozen=True, kw_only=True)
class TuningSettings:
    """How a generator is tuned to images.

    Args:
        distance: `mmd`, the maximum mean discrepancy of the two sets of features; `ct`, conditional transport; `pw`,
            pairs, which are inverted one by one.
        inversion_steps: of the search for w, one for each image, >= 1.
        inversion_rate: Adam's, at most, > 0.
        realness: weight of the discriminator's softplus(-D) in the inversion, >= 0.
        tuning_steps: of the generator, >= 1.
        tuning_rate: Adam's, > 0.
    """

    distance: Literal["mmd", "ct", "pw"]
    inversion_steps: int
    inversion_rate: float
    realness: float
    tuning_steps: int
    tuning_rate: float


def tuned(
    generator: nn.Module,
    discriminator: nn.Module,
    images: Tensor,
    features: Features,
    settings: TuningSettings,
    rng: Generator,
) -> nn.Module:
    """A copy of a StyleGAN2 generator that draws more like these images; the generator itself stays as it is.

    Each image is inverted first, then the synthesis is tuned to draw the set of images from the w that were found. The
    mapping, its mean w and the fixed noise stay as they are, and so does the mode: eval. A set cannot be worked on in
    parts: where memory runs out all is done again, with activations inside blocks computed twice. That gives the same.

    Args:
        generator, discriminator: frozen.
        images: [N, 3, R, R] about [-1, 1], as the generator draws them.
        rng: of the inversion.

    Source: Peng et al., 2024 (PPDG-MI), released code for high resolution, without its locality term, which is off
    there. We differ: the generator is in eval mode where theirs is in training mode, which moves the mean w; the
    scheduler that they make and never step is left out; pairs keep the fixed noise, where they draw it anew; latents
    whose mean w an inversion starts from are drawn anew each time, where theirs have seed 123.
    """

    def tuned_copy(*, saves_memory: bool) -> nn.Module:
        own: Any = copy.deepcopy(generator)
        own.synthesis.checkpointed = saves_memory
        _tune_(own, discriminator, images, features, settings, rng)
        own.synthesis.checkpointed = False
        made: nn.Module = own
        return made

    begun = rng.get_state()
    try:
        return tuned_copy(saves_memory=False)
    except torch.OutOfMemoryError:
        rng.set_state(begun)
    # out of the handler first: its traceback holds what takes the memory
    torch.cuda.empty_cache()
    return tuned_copy(saves_memory=True)


def _tune_(
    generator: Any,
    discriminator: nn.Module,
    images: Tensor,
    features: Features,
    settings: TuningSettings,
    rng: Generator,
) -> None:
    with torch.no_grad():
        goal = features(images)
    with share(0.0, 0.5):
        w = _pivots(generator, discriminator, goal, features, settings, rng)
    generator.synthesis.requires_grad_(True)
    weights = list(generator.synthesis.parameters())
    adam = torch.optim.Adam(weights, lr=settings.tuning_rate)
    distance = SET_DISTANCES[settings.distance]
    rows = generator.styles(w)
    with share(0.5, 1.0):
        for _ in steps(range(settings.tuning_steps)):  # in step
            adam.zero_grad(set_to_none=True)
            distance(features(generator.synthesis(rows)), goal).backward()
            adam.step()
    adam.zero_grad(set_to_none=True)
    generator.requires_grad_(False)


def _pivots(
    generator: nn.Module,
    discriminator: nn.Module,
    goal: Tensor,
    features: Features,
    settings: TuningSettings,
    rng: Generator,
) -> Tensor:
    """One w [N, Z] for each image of features `goal` [N, D], all layers alike.

    They start at the mean of 600 mapped latents. Adam's rate rises over the first 5 % of the steps and falls to 0 over
    the last 25 %; until 75 % noise is added to w, less and less.
    """
    latents = torch.randn(MIDPOINT_LATENTS, int(generator.latent_dim), generator=rng)  # type: ignore[arg-type]
    with torch.no_grad():
        mapped: Tensor = generator.mapping(latents.to(goal.device))  # type: ignore[operator]
    middle = mapped.mean(dim=0)
    spread = sqrt(float((mapped - middle).square().sum(dim=1).mean()))

    def invert(part: Tensor) -> Tensor:
        start = middle.expand(len(part), -1).clone()
        return _invert(generator, discriminator, part, features, settings, rng, start, spread)

    if settings.distance != "pw":
        return invert(goal)
    return torch.cat([invert(one[None]) for one in steps(goal)])


def _invert(
    generator: Any,
    discriminator: nn.Module,
    goal: Tensor,
    features: Features,
    settings: TuningSettings,
    rng: Generator,
    start: Tensor,
    spread: float,
) -> Tensor:
    w = start.requires_grad_(True)
    adam = torch.optim.Adam([w], lr=settings.inversion_rate)
    distance: SetDistance = SET_DISTANCES[settings.distance]
    count = settings.inversion_steps
    for step in steps(range(count)):  # in step
        done = step / count
        adam.param_groups[0]["lr"] = settings.inversion_rate * ramp(done)
        noise = uploaded(torch.randn(w.shape, generator=rng), w.device)
        drawn = generator.synthesis(
            generator.styles(w + noise * (spread * NOISE * max(0.0, 1 - done / NOISE_UNTIL) ** 2))
        )
        loss = distance(features(drawn), goal)
        if settings.realness:
            loss = loss + settings.realness * F.softplus(-discriminator(drawn)).mean()
        (w.grad,) = torch.autograd.grad(loss, w)
        adam.step()
    return w.detach()


def ramp(done: float) -> float:
    """Factor of the learning rate where this share of the steps is done, 0 to 1: a linear rise and a cosine fall.

    Source: Karras et al., CVPR 2020 (StyleGAN2), the released projector, from which MIRROR and PPDG-MI have it.

    >>> [round(ramp(done), 3) for done in (0.0, 0.025, 0.5, 0.875, 1.0)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    falling = 0.5 - 0.5 * cos(pi * min(1.0, (1 - done) / RAMP_DOWN))
    return falling * min(1.0, done / RAMP_UP)


def flat(maps: Iterable[Tensor]) -> Tensor:
    """Feature maps [B, C, H, W] as vectors [B, D] whose squared distance is that of LPIPS with equal weights.

    The squared difference of channel vectors of length 1, averaged over the places of a map and summed over maps.
    """
    vectors = []
    for values in maps:
        unit = values * (values.square().sum(dim=1, keepdim=True) + 1e-8).rsqrt()
        vectors.append(unit.flatten(1) / sqrt(values[0, 0].numel()))
    return torch.cat(vectors, dim=1)


def discriminator_features(discriminator: Any) -> Features:
    """Features from what the blocks of a StyleGAN2's discriminator give, see `flat`; the last one is left out.

    No published attack uses them: they stand in for LPIPS where no network that knows photographs is at hand.
    """

    def features(images: Tensor) -> Tensor:
        maps = []
        for size in discriminator.sizes[:-1]:
            images = discriminator.get_submodule(f"b{size}")(images)
            maps.append(images)
        return flat(maps)

    return features
