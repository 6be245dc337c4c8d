"""The search from a pool against its rule written out by hand, and on faces whose traits are known."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from midef.attacks import ATTACKS, Attack
from midef.attacks.latent_search import memory
from midef.attacks.latent_search.conditional import max_margin
from midef.attacks.latent_search.streams import RowStreams
from midef.attacks.latent_search.views import moved_and_mirrored
from midef.attacks.pool_search import PoolSearch
from midef.attacks.priors.base import FitContext
from midef.attacks.priors.renderer import Renderer
from midef.attacks.priors.wgan_gp import WganGp
from midef.attacks.target_handle import TargetHandle
from midef.core import Inputs, Recipe, derive_seed
from midef.datasets import DATASETS
from midef.datasets.faces.formation import FaceFormation
from midef.datasets.synthetic_faces import SyntheticFaces
from midef.defenses import Defense
from midef.defenses.families.low_rank import LowRankHead
from midef.defenses.loft import LoFt
from midef.nn.network import Forward, TargetModel
from midef.testing.attacks import public_splits
from midef.testing.search import search, task_of

RESOLUTION_PX, CLASSES, SEED = 32, 4, 7
GanInputs = Callable[[Attack], Inputs]


# ---------------------------------------------------------------- its rule


def pool_by_hand(generator: nn.Module, target: TargetModel, count: int) -> tuple[Tensor, Tensor]:
    """The pool [P, Z], and what the target answers [P, K]."""
    rng = torch.Generator().manual_seed(derive_seed("pool", SEED))
    pool = torch.randn(count, 8, generator=rng)
    with torch.no_grad():
        return pool, target(generator(pool)).logits.softmax(dim=1)


def test_the_rth_restart_starts_from_the_rth_surest_of_one_pool(
    target: TargetModel, gan_inputs: GanInputs, small_gan: WganGp, gan_networks: dict[str, nn.Module]
) -> None:
    attack = PoolSearch(pool=30, prior=small_gan)
    pool, sure = pool_by_hand(gan_networks["generator"], target, 30)
    handle = TargetHandle(target, Defense(), attack.access)
    for labels in ([0, 1, 2, 3], [2]):
        chosen = attack.choose(handle, gan_networks, task_of(labels, restarts=3))
        assert chosen.keys() == {(label, restart) for label in labels for restart in range(3)}
        for (label, restart), latent in chosen.items():
            place = sorted(range(30), key=lambda i, k=label: -float(sure[i, k]))[restart]  # type: ignore[misc]
            assert torch.equal(latent, pool[place])
    assert handle.queries == 60, "the pool is asked about once, however many are attacked"


def test_more_restarts_than_the_pool_has_go_through_it_again(
    target: TargetModel, gan_networks: dict[str, nn.Module], small_gan: WganGp
) -> None:
    attack = PoolSearch(pool=2, prior=small_gan)
    chosen = attack.choose(TargetHandle(target, Defense(), attack.access), gan_networks, task_of([1], restarts=3))
    assert torch.equal(chosen[1, 2], chosen[1, 0]) and not torch.equal(chosen[1, 1], chosen[1, 0])


def test_the_search_is_adam_on_margin_and_length_of_a_new_view_in_each_step(
    target: TargetModel, gan_inputs: GanInputs, small_gan: WganGp, gan_networks: dict[str, nn.Module]
) -> None:
    attack = PoolSearch(pool=20, iterations=5, prior_weight=0.3, shift=0.1, prior=small_gan)
    found, queries = search(attack, target, gan_inputs(attack), task_of([0, 1, 2], restarts=2))
    generator = gan_networks["generator"]
    pool, sure = pool_by_hand(generator, target, 20)
    order = sure.argsort(dim=0, descending=True)
    for row, (label, restart) in enumerate((label, restart) for label in (0, 1, 2) for restart in (0, 1)):
        noise = RowStreams([derive_seed("latent", SEED, label, restart)])
        z = pool[order[restart, label]][None].clone()
        first, second = torch.zeros_like(z), torch.zeros_like(z)
        for step in range(1, 6):
            z.requires_grad_(True)
            view = moved_and_mirrored(generator(z), noise, share=0.1, mirror=True)
            loss = max_margin(target(view).logits, torch.tensor([label])).sum() + 0.3 * z.square().sum() / 2
            (slope,) = torch.autograd.grad(loss, z)
            first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope**2
            z = (z.detach() - 0.05 * (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)).detach()
        assert torch.allclose(found.images[row], generator(z)[0].detach(), atol=1e-4)
    assert queries == 20 + 5 * 6 == attack.queries(reconstructions=6, identities=3)
    assert found.traits is None, "a trained generator knows no traits"


def test_results_do_not_hang_on_how_many_are_searched_together(
    target: TargetModel, gan_inputs: GanInputs, small_gan: WganGp, monkeypatch: pytest.MonkeyPatch
) -> None:
    attack = PoolSearch(pool=20, iterations=4, prior=small_gan)
    inputs, task = gan_inputs(attack), task_of([0, 1, 2, 3], restarts=2)
    whole, queries = search(attack, target, inputs, task)
    monkeypatch.setattr(memory, "CHUNK", 3)
    pieces, again = search(attack, target, inputs, task)
    assert torch.allclose(whole.images, pieces.images, atol=1e-5) and queries == again


def test_pool_and_search_are_halved_where_memory_runs_out(
    target: TargetModel, gan_inputs: GanInputs, small_gan: WganGp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was asked in vain does not count, and one image that does not fit is an error."""
    attack, task = PoolSearch(pool=20, iterations=4, prior=small_gan), task_of([0, 1, 2, 3], restarts=2)
    inputs = gan_inputs(attack)
    whole, queries = search(attack, target, inputs, task)
    run, fits, sizes = TargetHandle.run, 5, []

    def short_of_memory(handle: TargetHandle, images: Tensor) -> Forward:
        answers = run(handle, images)
        sizes.append(len(images))
        if len(images) > fits:
            raise torch.OutOfMemoryError("tried to allocate 2 GiB")
        return answers

    monkeypatch.setattr(TargetHandle, "run", short_of_memory)
    halved, again = search(attack, target, inputs, task)
    assert torch.allclose(whole.images, halved.images, atol=1e-5) and queries == again
    assert sizes[:3] == [20, 10, 5] and 8 in sizes, "pool and search were too large at first"
    fits = 0
    with pytest.raises(torch.OutOfMemoryError):
        search(attack, target, inputs, task)


def test_views_are_moved_by_up_to_the_share_and_half_of_them_mirrored() -> None:
    images = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)).expand(200, -1, -1, -1)

    def views(share: float, *, mirror: bool) -> Tensor:
        return moved_and_mirrored(images, RowStreams(range(200)), share=share, mirror=mirror)

    assert torch.equal(views(0, mirror=False), images)
    is_mirrored = (views(0, mirror=True) == images.flip(3)).flatten(1).all(dim=1)
    assert 70 < int(is_mirrored.sum()) < 130
    moved = views(0.25, mirror=False)
    padded = torch.nn.functional.pad(images[:1], (4,) * 4, mode="replicate")
    at = {(r, d): padded[0, :, 4 - d : 20 - d, 4 - r : 20 - r] for r in range(-4, 5) for d in range(-4, 5)}
    met = [min(at, key=lambda by, one=one: float((at[by] - one).abs().max())) for one in moved]  # type: ignore[misc]
    assert max(float((at[by] - one).abs().max()) for by, one in zip(met, moved, strict=True)) < 1e-4, "whole pixels"
    assert {r for r, _ in met} == {d for _, d in met} == set(range(-4, 5)), "up to a quarter of 16 px either way"
    from midef.datasets.files.augment import moved as by

    right = by(images[:1], torch.tensor([0.25]), torch.tensor([-0.125]))  # 4 px to the right, 2 px up
    assert torch.allclose(right[0, :, :14, 4:], images[0, :, 2:, :12], atol=1e-5)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"pool": 0}, "needs pool >= 1"),
        ({"learning_rate": 0}, "learning_rate > 0"),
        ({"shift": 1.5}, "0 <= shift <= 1, got 0.01, 1.5"),
        ({"prior_weight": -1}, "prior_weight >= 0"),
    ],
    ids=str,
)
def test_impossible_values_are_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PoolSearch(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("activation", ["tanh", "identity"])
def test_the_margin_can_be_taken_before_the_activation_of_a_narrow_head(
    target: TargetModel, small_gan: WganGp, activation: Literal["tanh", "identity"]
) -> None:
    """By hand: W2 (W1 h + b1) + b2, where the target answers with W2 act(W1 h + b1) + b2."""
    model = deepcopy(target)
    head = LoFt(rank=2, init="random", activation=activation).prepare_head(model.head)
    assert isinstance(head, LowRankHead)
    model.head = head
    images, labels = torch.rand(3, 3, RESOLUTION_PX, RESOLUTION_PX), torch.tensor([0, 1, 2])
    attack = PoolSearch(prior=small_gan, activation="skipped")
    handle = TargetHandle(model, Defense(), attack.access)
    answered, skipped = seen = attack.ask(handle, {}, images)
    h = answered.features
    expected = (h @ head.narrow.weight.T + head.narrow.bias) @ head.wide.weight.T + head.wide.bias
    torch.testing.assert_close(skipped.logits, expected)
    torch.testing.assert_close(attack.identity_loss({}, seen, labels), max_margin(expected, labels))
    assert torch.equal(answered.logits, model(images).logits), "confidence is recorded of what the target answers"
    assert torch.equal(attack.judges(seen)[0].logits, answered.logits) and handle.queries == 3
    assert torch.allclose(answered.logits, skipped.logits, atol=1e-6) == (activation == "identity")


def test_on_a_head_without_activation_skipping_it_changes_nothing(target: TargetModel, small_gan: WganGp) -> None:
    attack = PoolSearch(prior=small_gan, activation="skipped")
    handle = TargetHandle(target, Defense(), attack.access)
    first, second = attack.ask(handle, {}, torch.rand(2, 3, RESOLUTION_PX, RESOLUTION_PX))
    assert torch.equal(first.logits, second.logits)


def test_keys_of_searches_that_keep_the_activation_do_not_know_the_choice() -> None:
    assert "activation" not in ATTACKS.choose("pool_search").params
    assert ATTACKS.choose("pool_search(activation=skipped)").params["activation"] == "skipped"


# ---------------------------------------------------------------- on faces

PEOPLE, SMALL_PX = 10, 24


def grey_of(images: Tensor) -> Tensor:
    """Grey values less their mean, to be compared whatever the light [B, 576]."""
    grey = images.mean(dim=1).flatten(1)
    return grey - grey.mean(dim=1, keepdim=True)


class Familiar(nn.Module):
    """Minus the distance to each known face, on a scale that tells them apart."""

    def __init__(self, faces: Tensor) -> None:
        super().__init__()
        self.register_buffer("faces", grey_of(faces))

    def forward(self, images: Tensor) -> Tensor:
        return -torch.cdist(grey_of(images), self.faces)  # type: ignore[arg-type]


@pytest.fixture
def people() -> Tensor:
    """Traits of people that the attacker does not know [10, 24]."""
    latents = SyntheticFaces(identities=PEOPLE, seed=4).identity_latents()
    return torch.from_numpy(latents).float()


@pytest.fixture
def acquaintance(people: Tensor) -> TargetModel:
    """Knows each person from one picture without nuisances, and tells who an image resembles most."""
    formation = FaceFormation()
    latents = torch.zeros(PEOPLE, formation.latent_dim)
    latents[:, :24] = people
    trunk = nn.Sequential(Familiar(formation.images(latents, SMALL_PX)))
    model = TargetModel([("faces", trunk)], nn.Linear(PEOPLE, PEOPLE), feature_dim=PEOPLE, n_classes=PEOPLE)
    with torch.no_grad():
        model.head.weight.copy_(2 * torch.eye(PEOPLE))  # type: ignore[operator,union-attr,arg-type]
        model.head.bias.zero_()  # type: ignore[operator,union-attr]
    return model.eval()


@pytest.fixture
def rendered(tmp_path: Path) -> Inputs:
    """The stored prior `renderer`."""
    networks = Renderer().networks(SMALL_PX, 0)
    public = DATASETS.make("synthetic_faces", {"population": "public"})
    nothing = Inputs({}, lambda recipe: tmp_path)
    Renderer().fit(networks, public_splits(), FitContext(inputs=nothing, public=lambda: public))
    Renderer().store(networks, tmp_path)
    recipe = Renderer().recipe(
        public=Recipe("split", "faces", {"resolution_px": 32}), target=Recipe("target", "classifier")
    )
    return Inputs({"prior": recipe}, lambda recipe: tmp_path)


def test_a_known_face_is_found_again_and_its_traits_are_those_of_the_image(
    acquaintance: TargetModel, rendered: Inputs, people: Tensor
) -> None:
    attack = PoolSearch(pool=300, iterations=60, flip=False, shift=0, prior_weight=0.02, prior=Renderer())
    found, _ = search(attack, acquaintance, rendered, task_of(list(range(PEOPLE)), resolution_px=SMALL_PX))
    assert found.traits is not None and found.traits.shape == (PEOPLE, 24)
    distances = torch.cdist(found.traits, people)
    right = (distances.argmin(dim=1) == torch.arange(PEOPLE)).sum()
    assert right >= 8, f"{right} of {PEOPLE} people are nearest to their own reconstruction; 1 would be by chance"
    for image, traits in zip(found.images, found.traits, strict=True):
        assert image.isfinite().all() and traits.isfinite().all()
