"""GAN attacks whose networks draw more than the target takes: a target of 24 px and networks of 32, as 224 and 256."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from midef.attacks import ATTACKS, PRIORS, Attack, Prior, Reconstructions
from midef.attacks.base import Task
from midef.attacks.priors.base import FitContext, TargetedPrior
from midef.attacks.priors.networks.dcgan import Critic
from midef.attacks.target_handle import TargetHandle
from midef.core import Choice, Inputs, Recipe
from midef.datasets import Images, Splits
from midef.defenses import Defense
from midef.nn.network import TargetModel
from midef.nn.resize import resized
from midef.testing.attacks import TARGET, TINY, priors_of

TAKEN_PX, OWN_PX, CLASSES = 24, 32, 4
PUBLIC = Recipe("split", "synthetic_faces", {"resolution_px": TAKEN_PX})
ON_GANS = ("brep_mi", "gmi", "kedmi", "lokt", "lomma_gmi", "lomma_kedmi", "plg_mi", "pool_search", "rlb_mi", "vmi")
ANSWERED = ("diffusion_inverter", "inversion_model")
PARAMS: dict[str, dict[str, Any]] = {"brep_mi": {"clamp": 4.0, "radius": 0.05}}


class Strict(nn.Module):
    """Takes images of `TAKEN_PX` and no others; classes are told by the colours of four quarters."""

    def __init__(self) -> None:
        super().__init__()
        self.pool, self.seen = nn.AvgPool2d(TAKEN_PX // 2), 0

    def forward(self, images: Tensor) -> Tensor:
        assert images.shape[2:] == (TAKEN_PX, TAKEN_PX), f"the target takes {TAKEN_PX} px, saw {images.shape[2:]}"
        self.seen += len(images)
        return self.pool(images).flatten(1)  # type: ignore[no-any-return]


@pytest.fixture
def target() -> TargetModel:
    torch.manual_seed(3)
    model = TargetModel([("quarters", Strict())], nn.Linear(12, CLASSES), feature_dim=12, n_classes=CLASSES)
    with torch.no_grad():
        model.head.weight.mul_(10)  # type: ignore[operator]
    return model.eval()


def public_at(px: int) -> Splits:
    rng = torch.Generator().manual_seed(5)

    def part(n: int) -> Images:
        images = torch.randint(0, 256, (n, 3, px, px), generator=rng, dtype=torch.uint8)
        return Images(images, torch.full((n,), -1))

    return Splits(part(8), part(3), part(4), ())


def prior_of(recipe: Recipe) -> Prior:
    return PRIORS.remake(Choice(recipe.component, recipe.params["params"], recipe.version))


def fresh(recipe: Recipe) -> dict[str, nn.Module]:
    """As the stage makes them: at the resolution of the images that they learn."""
    torch.manual_seed(1)
    networks = prior_of(recipe).networks(int(recipe.inputs["public"].params["resolution_px"]), CLASSES)
    if "generator" in networks:
        with torch.no_grad():
            for parameter in networks["generator"].parameters():
                parameter.mul_(2 if parameter.dim() > 1 else 1)  # or all its images are nearly the same
    return networks


@pytest.fixture
def stored(tmp_path: Path) -> Callable[[Attack | Prior], Inputs]:
    """Gives an attack or a prior what it requires, with random weights."""

    def fetch(recipe: Recipe) -> Path:
        folder = tmp_path / recipe.key.digest
        if not folder.exists():
            folder.mkdir()
            prior_of(recipe).store(fresh(recipe), folder)
        return folder

    return lambda component: Inputs(dict(component.requires(target=TARGET, public=PUBLIC)), fetch)


def small(name: str) -> Attack:
    attack = ATTACKS.get(name).small(TINY)
    return ATTACKS.make(name, {**attack, **PARAMS.get(name, {})})


def run(attack: Attack, target: TargetModel, inputs: Inputs, kept_px: int | None = None) -> Reconstructions:
    handle = TargetHandle(target, Defense(), attack.access, resolution_px=TAKEN_PX)
    labels, restarts = torch.tensor([(label, r) for label in (0, 2) for r in range(2)]).T
    observed = torch.rand(4, CLASSES, generator=torch.Generator().manual_seed(1)).softmax(1)
    task = Task(labels, restarts, TAKEN_PX, 7, "cpu", observed, kept_px)
    found = attack.reconstruct(handle, inputs, task)
    assert not attack.needs_observed_scores or not handle.queries
    return found


@pytest.mark.parametrize("name", [*ON_GANS, *ANSWERED])
def test_the_target_sees_images_of_its_size_and_gets_such_back(
    name: str, target: TargetModel, stored: Callable[[Attack | Prior], Inputs]
) -> None:
    attack = small(name)
    assert attack.problems(TAKEN_PX) == []
    found = run(attack, target, stored(attack))
    assert found.images.shape == (4, 3, TAKEN_PX, TAKEN_PX)
    assert found.images.min() >= 0 and found.images.max() <= 1


@pytest.mark.parametrize("name", ON_GANS)
def test_an_evaluator_that_takes_more_gets_what_was_drawn(
    name: str, target: TargetModel, stored: Callable[[Attack | Prior], Inputs]
) -> None:
    """Drawn for it, and not enlarged from what the target saw."""
    attack = small(name)
    assert attack.drawn_px(TAKEN_PX) == OWN_PX and attack.drawn_px(OWN_PX) == OWN_PX
    inputs = stored(attack)
    seen, whole = run(attack, target, inputs).images, run(attack, target, inputs, OWN_PX).images
    assert whole.shape == (4, 3, OWN_PX, OWN_PX)
    inside = (whole > 0) & (whole < 1)
    assert float(inside.float().mean()) > 0.3, "else clipping hides what is compared"
    close = (resized(whole, TAKEN_PX) - seen).abs() < 1e-4
    # a conditional generator's images are clipped after they are resized: equal where nothing near was clipped
    assert float(close.float().mean()) > (0.99 if bool(inside.all()) else 0.1)


def test_a_critic_judges_what_its_generator_draws(
    target: TargetModel, stored: Callable[[Attack | Prior], Inputs], monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[tuple[int, ...]] = []
    forward = Critic.forward

    def spy(self: Critic, images: Tensor) -> Tensor:
        judged.append(tuple(images.shape[2:]))
        return forward(self, images)

    monkeypatch.setattr(Critic, "forward", spy)
    run(small("gmi"), target, stored(small("gmi")))
    assert judged and set(judged) == {(OWN_PX, OWN_PX)}


def test_lokts_discriminator_judges_what_its_generator_draws(
    target: TargetModel, stored: Callable[[Attack | Prior], Inputs]
) -> None:
    """In the target's place: with another size of image its last blocks would see other maps."""
    attack = ATTACKS.make("lokt", {**ATTACKS.get("lokt").small(TINY), "surrogate": "discriminator"})
    shown: list[int] = []
    ask = type(attack).ask

    def spy(self: Any, handle: Any, networks: Any, view: Tensor) -> Any:
        shown.append(view.shape[-1])
        return ask(self, handle, networks, view)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(attack), "ask", spy)
        found = run(attack, target, stored(attack))
    assert set(shown) == {OWN_PX} and found.images.shape[-1] == TAKEN_PX


@pytest.mark.parametrize(
    "name", ["kedmi", "plg_mi", "lokt", "inversion_model", "diffusion_inverter", "gmi", "lomma_gmi"]
)
def test_priors_learn_at_their_own_resolution_and_ask_at_the_targets(
    name: str, target: TargetModel, stored: Callable[[Attack | Prior], Inputs]
) -> None:
    for prior in priors_of(small(name)):
        recipe = prior.recipe(public=PUBLIC, target=TARGET)
        learned_px = int(recipe.inputs["public"].params["resolution_px"])
        is_resized = prior.drawn_px(TAKEN_PX) == OWN_PX
        assert learned_px == (OWN_PX if is_resized else TAKEN_PX), prior
        if not isinstance(prior, TargetedPrior):
            continue
        handle = TargetHandle(target, Defense(), prior.asks, resolution_px=TAKEN_PX)
        context = FitContext(inputs=Inputs(recipe.inputs, lambda _: Path()) if not prior.requires(
            public=PUBLIC, target=TARGET
        ) else stored(prior))  # fmt: skip
        facts = prior.fit(fresh(recipe), public_at(learned_px), handle, context)
        assert handle.queries and all(torch.as_tensor(value).isfinite().all() for value in facts.values())


@pytest.mark.parametrize("name", ["wgan_gp", "plg_gan", "kedmi_gan", "t_acgan", "tcnn"])
def test_keys_of_64_px_stay_and_those_above_are_new(name: str) -> None:
    """Networks above 64 px were as wide as they liked; what was stored of them is not taken for these."""

    def recipe(px: int) -> Recipe:
        return PRIORS.make(name).recipe(public=Recipe("split", "x", {"resolution_px": px}), target=TARGET)

    assert set(recipe(32).params) == set(recipe(64).params) == {"params"}
    assert recipe(256).params["drawn_px"] == 256
    assert recipe(112) == recipe(224) == recipe(256), "one prior serves all targets whose networks draw as many pixels"
    assert recipe(48) == recipe(64) != recipe(32)
