"""Reconstructions of a prior that draws larger images than the target takes: drawn for the size asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from midef.attacks import Attack, Reconstructions
from midef.attacks.base import Task
from midef.attacks.if_gmi import IfGmi
from midef.attacks.latent_search import memory
from midef.attacks.mirror import Mirror
from midef.attacks.mirror_black_box import MirrorBlackBox
from midef.attacks.ppa import Ppa
from midef.attacks.ppdg_mi import PpdgMi
from midef.attacks.priors.networks.style_gan2 import StyleGenerator, Synthesis
from midef.attacks.priors.style_gan2 import StyleGan2
from midef.attacks.target_handle import TargetHandle
from midef.attacks.vmi import Vmi
from midef.core import Inputs, Recipe
from midef.defenses import Defense
from midef.nn.network import TargetModel

TAKEN_PX, OWN_PX, SEED = 32, 64, 7
LARGE = StyleGan2(latent_dim=8, channel_base=256, channel_max=8, resolution_px=OWN_PX)
POOL: dict[str, Any] = {"pool": 12, "iterations": 3, "prior": LARGE}
TUNED: dict[str, Any] = {"features": "discriminator", "inversion_steps": 2, "tuning_steps": 2, "pseudo_private": 2}
ATTACKS: dict[str, Attack] = {
    "ppa": Ppa(**POOL, candidates=4, selection_rounds=3, learning_rate=0.05),
    "mirror": Mirror(**POOL, candidates=4),
    "if_gmi": IfGmi(**POOL, layer_iterations=2, candidates=4, learning_rate=0.05),
    "ppdg_mi": PpdgMi(**POOL, **TUNED, candidates=4, selection_rounds=3),
    "mirror_black_box": MirrorBlackBox(pool=12, population=6, generations=2, enough=1.0, prior=LARGE),
    "vmi": Vmi(iterations=2, batch=4, family="gauss", prior=LARGE),
}
Inverted = Callable[..., tuple[Reconstructions, int]]


@pytest.fixture
def inverted(tmp_path: Path, target: TargetModel) -> Inverted:
    """Attacks a target of 32 px, two images of each of two identities, with a generator of 64 px that stays inside
    [-1, 1], so that clipping hides nothing."""
    torch.manual_seed(0)
    networks = LARGE.networks(TAKEN_PX, 0)
    with torch.no_grad():
        for name, module in networks["generator"].named_modules():
            if name.endswith("torgb"):
                module.weight.mul_(0.05)  # type: ignore[union-attr,operator]
    LARGE.store(networks, tmp_path)

    def search(attack: Attack, kept_px: int | None = None, restarts: int = 2) -> tuple[Reconstructions, int]:
        recipes = attack.requires(
            target=Recipe("target", "classifier"), public=Recipe("split", "synthetic_faces", {"resolution_px": 32})
        )
        labels, numbers = torch.tensor([(label, r) for label in (0, 2) for r in range(restarts)]).T
        handle = TargetHandle(target, Defense(), attack.access)
        task = Task(labels, numbers, TAKEN_PX, SEED, "cpu", kept_px=kept_px)
        return attack.reconstruct(handle, Inputs(recipes, lambda recipe: tmp_path), task), handle.queries

    return search


def resized(images: Tensor, px: int) -> Tensor:
    return F.interpolate(images, size=(px, px), mode="bilinear", align_corners=False, antialias=True)


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_it_is_drawn_for_the_size_and_not_enlarged_from_what_the_target_saw(attack: Attack, inverted: Inverted) -> None:
    """The search, what the target is asked and which candidates are kept are the same whatever is asked for."""
    assert attack.drawn_px(TAKEN_PX) == OWN_PX
    (seen, asked), (whole, asked_too), (kept, _) = (inverted(attack, px) for px in (None, OWN_PX, 48))
    assert asked == asked_too and seen.images.shape[-1] == TAKEN_PX and whole.images.shape[-1] == OWN_PX
    assert float(whole.images.min()) > 0 and float(whole.images.max()) < 1, "else clipping hides what is compared"
    assert torch.allclose(resized(whole.images, TAKEN_PX), seen.images, atol=1e-4)
    assert torch.allclose(resized(whole.images, 48), kept.images, atol=1e-4)
    assert float((resized(seen.images, 48) - kept.images).abs().max()) > 10e-4, "an enlarged view is another image"
    if seen.traces is not None and whole.traces is not None:
        assert all((seen.traces.series[name] == whole.traces.series[name]).all() for name in seen.traces.series)


def test_candidates_are_chosen_by_what_the_target_is_shown(inverted: Inverted, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[int, ...]] = []
    keep = Ppa.keep

    def spy(self: Ppa, handle: Any, networks: Any, label: int, images: Tensor, *rest: Any) -> Any:
        shown.append(tuple(images.shape))
        return keep(self, handle, networks, label, images, *rest)

    monkeypatch.setattr(Ppa, "keep", spy)
    inverted(ATTACKS["ppa"], 48)
    assert shown == [(4, 3, TAKEN_PX, TAKEN_PX)] * 2


def test_large_images_are_drawn_at_the_end_of_what_is_kept_and_in_parts(
    inverted: Inverted, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = inverted(ATTACKS["ppa"], 48)
    monkeypatch.setattr(memory, "CHUNK", 1)
    viewed: list[tuple[int, int]] = []
    view = StyleGenerator.view

    def spy(self: StyleGenerator, images: Tensor, px: int) -> Tensor:
        viewed.append((len(images), px))
        return view(self, images, px)

    monkeypatch.setattr(StyleGenerator, "view", spy)
    parted, _ = inverted(ATTACKS["ppa"], 48)
    assert [count for count, px in viewed if px == 48] == [1] * 4, "of 8 candidates, the 4 that are kept"
    assert torch.allclose(whole.images, parted.images, atol=1e-5)


def test_a_candidate_that_left_the_numbers_is_no_large_picture_either(inverted: Inverted) -> None:
    """MIRROR's bounds make a style of infinity, which a generator draws."""
    mirror = ATTACKS["mirror"]
    assert isinstance(mirror, Mirror)
    lost, _ = inverted(replace(mirror, learning_rate=float("inf"), candidates=2), 48)
    assert bool(lost.images.isnan().all())


def test_the_same_network_shows_its_centre_at_another_size() -> None:
    torch.manual_seed(0)
    made = StyleGenerator(8, 2, 64, 64, 8, crop=0.75, shown_px=16).eval()
    latents = torch.randn(2, 8)
    with torch.no_grad():
        before, large = made(latents), made.showing(40)(latents)
        drawn = made.synthesis(made.styles(made.mapping(latents)))[:, :, 8:56, 8:56]
    assert torch.allclose(large, (resized(drawn, 40) / 2 + 0.5).clamp(0, 1), atol=1e-6)
    assert torch.equal(made(latents), before) and made.shown_px == 16, "the other one is as it was"
    assert all(a is b for a, b in zip(made.parameters(), made.showing(40).parameters(), strict=True))
    assert isinstance(made.showing(40).synthesis, Synthesis) and isinstance(made, nn.Module)


def test_only_a_prior_of_its_own_size_draws_more_than_the_target_takes() -> None:
    assert [StyleGan2(resolution_px=px).drawn_px(32) for px in (0, 16, 32, 64)] == [32, 16, 32, 64]
    published = {"ffhq": 1024, "afhq-dog": 512, "ffhq-256": 256}
    assert {name: StyleGan2(weights=name).drawn_px(224) for name in published} == published  # type: ignore[arg-type]
