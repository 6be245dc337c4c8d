from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from midef.core import Inputs, SpecError
from midef.datasets import DATASETS, Images, Splits
from midef.defenses import DEFENSES, Batch, Defense
from midef.defenses.dp_sgd import DpSgd, group_norm_
from midef.defenses.stack import Stack
from midef.defenses.training_state import TrainingFacts, TrainingState
from midef.models import ARCHITECTURES
from midef.nn.network import FixedZeroBias, TargetModel
from midef.training import TrainingRecipe
from midef.training.checkpoint import Checkpointer
from midef.training.classifier.fit import FitReport, fit_classifier

CLASSES, RESOLUTION_PX = 4, 32
NOTHING = Inputs({}, lambda recipe: Path())


@pytest.fixture(scope="module")
def faces() -> Splits:
    return DATASETS.make("synthetic_faces", {"identities": CLASSES, "train_images": 3}).load(RESOLUTION_PX)


def network(defense: Defense | None = None, architecture: str = "vgg16_tiny") -> TargetModel:
    torch.manual_seed(0)
    model = ARCHITECTURES.make(architecture).build(CLASSES, RESOLUTION_PX)
    return model if defense is None else defense.prepare_model(model, NOTHING)


def fit(model: TargetModel, defense: Defense, splits: Splits, **how: Any) -> FitReport:
    run = {name: how.pop(name) for name in ("report", "checkpoint_folder") if name in how}
    plain = {"epochs": 1, "batch_size": 6, "flip": 0.0, "momentum": 0.0, "weight_decay": 0.0, "learning_rate": 1.0}
    return fit_classifier(
        model,
        splits.train,
        splits.select,
        facts=ARCHITECTURES.make("vgg16_tiny").facts(),
        recipe=TrainingRecipe(**{**plain, **how}),
        defense=defense,
        seed=5,
        **run,
    )


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def dp(**params: Any) -> DpSgd:
    return DpSgd(**{"batch_norm": "group", **params})


def clipped_mean(model: TargetModel, train: Images, *, clip: float) -> list[Tensor]:
    """Mean over images of each one's gradient, cut to length `clip`: one image at a time."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    total = [torch.zeros_like(p) for p in parameters]
    for image, label in zip(train.images.float() / 255, train.labels, strict=True):
        slopes = torch.autograd.grad(F.cross_entropy(model(image[None]).logits, label[None]), parameters)
        length = math.sqrt(sum(float(g.square().sum()) for g in slopes))
        for kept, g in zip(total, slopes, strict=True):
            kept += g * min(1.0, clip / length)
    return [kept / len(train) for kept in total]


# --- the step ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["vgg16_tiny", "resnet18_tiny"])
@pytest.mark.parametrize("clip", [0.1, 1e6], ids=["every image clipped", "none clipped"])
def test_a_step_without_noise_is_the_clipped_mean(clip: float, architecture: str, faces: Splits) -> None:
    """A batch as large as the train split is drawn with probability 1, so it holds every image.

    Networks are trained channels last, a format in which Opacus alone gets the gradients of convolutions wrong.
    """
    defense = dp(noise_multiplier=0.0, max_grad_norm=clip)
    before = network(defense, architecture)
    expected = clipped_mean(before, faces.train, clip=clip)
    model = network(defense, architecture).to(memory_format=torch.channels_last)
    fit(model, defense, faces, batch_size=len(faces.train))
    pairs = [(p, b) for p, b in zip(model.parameters(), before.parameters(), strict=True) if b.requires_grad]
    for (after, start), slope in zip(pairs, expected, strict=True):
        torch.testing.assert_close(start - after, slope, atol=2e-5, rtol=1e-3)
    moved = math.sqrt(sum(float((a - s).detach().square().sum()) for a, s in pairs))
    assert moved <= clip * 1.001


@dataclass
class Counted:
    """A training state on a fresh network, and one step of it."""

    model: TargetModel
    state: TrainingState
    optimizer: torch.optim.Optimizer

    def step(self, batch: Batch, loss_of: Callable[[Tensor], Tensor]) -> None:
        self.model.train()
        batch, _ = self.state.before_step(self.model, batch, 0.0, torch.Generator())
        loss = loss_of(self.model(batch.images).logits)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()


def counted(defense: DpSgd, *, images: int, batch_size: int, seed: int = 1) -> Counted:
    make = partial(torch.optim.SGD, lr=1.0)
    facts = TrainingFacts(images, RESOLUTION_PX, batch_size, 1, "cpu", seed, make)
    model = network(defense)
    state = defense.training_state(model, facts)
    assert state is not None
    return Counted(model, state, state.optimizer(make([p for p in model.parameters() if p.requires_grad])))


def some(count: int) -> Batch:
    images = torch.rand(count, 3, RESOLUTION_PX, RESOLUTION_PX, generator=torch.Generator().manual_seed(0))
    return Batch(images, torch.arange(count) % CLASSES, torch.arange(count))


def moves(model: nn.Module, before: dict[str, Tensor]) -> Tensor:
    return torch.cat([(before[n] - p.detach()).flatten() for n, p in model.named_parameters() if p.requires_grad])


def test_noise_has_the_announced_spread() -> None:
    """Where the loss is constant a step is noise alone: sigma C / B per weight, B the expected batch size."""
    one = counted(dp(noise_multiplier=0.7, max_grad_norm=3.0), images=20, batch_size=5)
    one.state.batches(20, torch.Generator().manual_seed(0))
    before = weights_of(one.model)
    one.step(some(3), lambda logits: 0.0 * logits.mean())
    noise = moves(one.model, before)
    assert len(noise) > 10_000
    assert float(noise.std()) == pytest.approx(0.7 * 3.0 / 5, rel=0.03)
    assert float(noise.mean()) == pytest.approx(0.0, abs=5 * 0.42 / math.sqrt(len(noise)))


def test_noise_comes_from_the_seed() -> None:
    found: list[dict[str, Tensor]] = []
    for seed in (1, 1, 2):
        one = counted(dp(), images=4, batch_size=4, seed=seed)
        one.state.batches(4, torch.Generator())
        torch.manual_seed(len(found))
        one.step(some(4), lambda logits: F.cross_entropy(logits, some(4).labels))
        found.append(weights_of(one.model))
    assert same(found[0], found[1]) and not same(found[0], found[2])


# --- batches ----------------------------------------------------------------------------------------------------------


def test_every_image_is_in_every_batch_with_the_same_probability() -> None:
    one = counted(dp(), images=200, batch_size=20)
    rng = torch.Generator().manual_seed(0)
    epochs = [one.state.batches(200, rng) or [] for _ in range(40)]
    assert {len(epoch) for epoch in epochs} == {10}
    present = torch.stack([torch.zeros(200).index_fill(0, batch, 1.0) for epoch in epochs for batch in epoch])
    assert all(len(batch.unique()) == len(batch) for epoch in epochs for batch in epoch)
    assert float(present.mean()) == pytest.approx(0.1, abs=0.005)
    assert float(present.sum(1).var()) == pytest.approx(200 * 0.1 * 0.9, rel=0.25), "binomial sizes"
    both = (present.T @ present / len(present)).fill_diagonal_(0.0).sum() / (200 * 199)
    assert float(both) == pytest.approx(0.01, abs=0.001), "images are drawn independently of each other"


def test_an_empty_batch_is_a_step_of_noise_alone() -> None:
    """With one image expected in a batch, a third of them are empty; the loop still gets an image."""
    quiet = counted(dp(noise_multiplier=0.0), images=200, batch_size=1)
    drawn = quiet.state.batches(200, torch.Generator().manual_seed(0)) or []
    hollow = list(quiet.state._hollow)  # type: ignore[attr-defined]
    assert len(drawn) == 200 and 0.25 < sum(hollow) / 200 < 0.5  # e^-1
    assert all(len(batch) > 0 for batch in drawn) and all(
        batch.tolist() == [0] for b, batch in zip(hollow, drawn, strict=True) if b
    )
    for is_hollow in hollow[:6]:
        before = weights_of(quiet.model)
        quiet.step(some(1), lambda logits: F.cross_entropy(logits, some(1).labels))
        assert same(weights_of(quiet.model), before) == is_hollow
    assert {True, False} == set(hollow[:6])


def test_an_empty_batch_still_costs() -> None:
    one = counted(dp(noise_multiplier=1.0), images=200, batch_size=1)
    one.state.batches(200, torch.Generator().manual_seed(0))
    for _ in range(6):
        one.step(some(1), lambda logits: F.cross_entropy(logits, some(1).labels))
    (entry,) = one.state.state_dict()["history"].tolist()
    assert entry == [1.0, 1 / 200, 6.0]


# --- epsilon ----------------------------------------------------------------------------------------------------------


def epsilon(*, sigma: float, rate: float, steps: int, delta: float = 1e-5) -> float:
    one = counted(dp(noise_multiplier=sigma, delta=delta), images=100, batch_size=10)
    history = torch.tensor([[sigma, rate, steps]], dtype=torch.float64)
    one.state.load_state_dict({**one.state.state_dict(), "history": history})
    return one.state.facts(one.model, torch.empty(0))["epsilon"]


@pytest.mark.parametrize(("sigma", "steps"), [(5.0, 10), (20.0, 100), (1.0, 3)])
def test_epsilon_without_sampling_respects_the_textbook_bound(sigma: float, steps: int) -> None:
    """T Gaussian mechanisms: epsilon <= T / (2 sigma^2) + sqrt(2 T log(1 / delta)) / sigma (Mironov 2017)."""
    bound = steps / (2 * sigma**2) + math.sqrt(2 * steps * math.log(1e5)) / sigma
    assert 0.6 * bound < epsilon(sigma=sigma, rate=1.0, steps=steps) <= bound * 1.001


def test_epsilon_is_opacus_own() -> None:
    from opacus.accountants import RDPAccountant

    accountant = RDPAccountant()
    for _ in range(50):
        accountant.step(noise_multiplier=1.1, sample_rate=0.1)
    assert epsilon(sigma=1.1, rate=0.1, steps=50) == pytest.approx(accountant.get_epsilon(1e-5))


def test_epsilon_grows_with_steps_and_rate_and_falls_with_noise() -> None:
    base = epsilon(sigma=0.02, rate=0.1, steps=50)
    assert epsilon(sigma=0.02, rate=0.1, steps=100) > base > epsilon(sigma=0.04, rate=0.1, steps=50)
    assert epsilon(sigma=0.02, rate=0.2, steps=50) > base
    huge = epsilon(sigma=0.001, rate=0.1, steps=5000)
    assert math.isfinite(huge) and huge > epsilon(sigma=0.01, rate=0.1, steps=5000) > 1e6


def test_a_training_records_what_it_cost(faces: Splits) -> None:
    defense = dp(noise_multiplier=0.05, max_grad_norm=2.0)
    done = fit(network(defense), defense, faces, epochs=3)
    expected = epsilon(sigma=0.05, rate=6 / 12, steps=6, delta=1 / 12)
    assert done.defense == pytest.approx(
        {"epsilon": expected, "delta": 1 / 12, "noise_multiplier": 0.05, "max_grad_norm": 2.0}
    )
    quiet = dp(noise_multiplier=0.0)
    assert "epsilon" not in fit(network(quiet), quiet, faces).defense, "without noise there is none"


# --- the network ------------------------------------------------------------------------------------------------------


def test_group_norms_replace_batch_norms_and_change_nothing_else() -> None:
    model, plain = network(dp()), network()
    assert not [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    groups = [m for m in model.modules() if isinstance(m, nn.GroupNorm)]
    assert len(groups) == 6 and all(g.num_channels // g.num_groups >= 2 for g in groups)
    theirs = weights_of(plain)
    assert all(torch.equal(value, theirs[name]) for name, value in weights_of(model).items())
    assert set(theirs) - set(weights_of(model)) == {name for name in theirs if "running" in name or "tracked" in name}


def test_group_norms_keep_what_was_learned_and_what_was_frozen() -> None:
    learned, frozen = FixedZeroBias(12), nn.BatchNorm1d(7).requires_grad_(False)
    nn.init.normal_(learned.weight)
    model = nn.Sequential(learned, frozen)
    expected = {name: p.clone() for name, p in model.named_parameters()}
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    group_norm_(model)
    assert {name for name, p in model.named_parameters() if p.requires_grad} == trainable == {"0.weight"}
    assert all(torch.equal(p, expected[name]) for name, p in model.named_parameters())


def test_images_no_longer_see_each_other() -> None:
    model = network(dp()).train()
    images = some(4).images
    torch.testing.assert_close(model(images).logits[:2], model(images[:2]).logits)


def test_nothing_of_opacus_is_left_on_a_trained_network(faces: Splits) -> None:
    model, fresh = network(dp()), network(dp())
    in_place = [name for name, m in model.named_modules() if getattr(m, "inplace", False)]
    fit(model, dp(), faces)
    assert [name for name, m in model.named_modules() if getattr(m, "inplace", False)] == in_place != []
    assert not [m for m in model.modules() if m._forward_hooks or m._backward_hooks]
    assert not {name for p in model.parameters() for name in vars(p)}
    for trained, plain in zip(model.modules(), fresh.modules(), strict=True):
        assert vars(trained).keys() == vars(plain).keys()
    fresh.load_state_dict(model.state_dict())
    images = some(3).images
    assert torch.equal(fresh.eval()(images).logits, model(images).logits)


def test_frozen_layers_need_no_gradients_of_images(faces: Splits) -> None:
    model = network(dp())
    model.blocks[:3].requires_grad_(False)
    before = weights_of(model)
    fit(model, dp(), faces)
    moved = {name for name, value in weights_of(model).items() if not torch.equal(value, before[name])}
    assert moved and not any(name.startswith(("blocks.block1", "blocks.block2", "blocks.block3")) for name in moved)
    assert "head.weight" in moved


@pytest.mark.parametrize("order", [1, -1], ids=["tl_dmi first", "dp_sgd first"])
def test_combines_with_transfer_learning(order: int, faces: Splits) -> None:
    frozen = DEFENSES.make("tl_dmi", {"fresh": True})
    stack = Stack(members=(frozen, dp())[::order])
    model = network(stack)
    held = {name for name, p in model.named_parameters() if not p.requires_grad}
    before = weights_of(model)
    done = fit(model, stack, faces)
    moved = {name for name, value in weights_of(model).items() if not torch.equal(value, before[name])}
    assert len(held) > 1 and not moved & held and "head.weight" in moved and done.defense["epsilon"] > 0


# --- resuming ---------------------------------------------------------------------------------------------------------


class Killed(Exception):
    """Stands for a machine that went away."""


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_resumed_training_ends_like_an_uninterrupted_one(
    optimizer: str, faces: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("midef.training.classifier.fit.Checkpointer", partial(Checkpointer, every_s=0.0))
    defense = dp(noise_multiplier=0.05)
    how: dict[str, Any] = {"epochs": 3, "optimizer": optimizer, "learning_rate": 1e-2, "momentum": 0.9}
    straight = network(defense)
    expected = fit(straight, defense, faces, **how)

    def report(said: dict[str, Any]) -> None:
        if said["epoch"] == 2:
            raise Killed

    with pytest.raises(Killed):
        fit(network(defense), defense, faces, checkpoint_folder=tmp_path, report=report, **how)
    resumed = network(defense)
    done = fit(resumed, defense, faces, checkpoint_folder=tmp_path, **how)
    assert done.resumed_at == 2 and done.defense == expected.defense and done.loss == expected.loss
    assert same(weights_of(resumed), weights_of(straight))


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_refuses_batch_norm_unless_told_to_replace_it() -> None:
    facts = ARCHITECTURES.make("vgg16_tiny").facts()
    (problem,) = DpSgd().problems(facts)
    assert "use dp_sgd(batch_norm=group)" in problem
    assert dp().problems(facts) == [] and not dp().facts_after(facts).has_batch_norm
    assert DpSgd().problems(dp().facts_after(facts)) == []


@pytest.mark.parametrize("architecture", ["vit_b16_tiny", "swin_v2_t_tiny", "maxvit_t_tiny"])
def test_refuses_attention(architecture: str) -> None:
    (problem,) = dp().problems(ARCHITECTURES.make(architecture).facts())
    assert "attention" in problem and "use a convolutional architecture" in problem


def test_refuses_a_batch_norm_that_another_head_brings(faces: Splits) -> None:
    model = network(dp())
    model.head = nn.Sequential(nn.BatchNorm1d(model.feature_dim), model.head)
    with pytest.raises(SpecError, match="batch norm, in the head another defense made; set pre_bn=False"):
        fit(model, dp(), faces)


def test_off_touches_nothing() -> None:
    off = DpSgd().off()
    facts = ARCHITECTURES.make("vgg16_tiny").facts()
    assert off.problems(facts) == [] and off.facts_after(facts) == facts and off.training_overrides({}) == {}
    assert same(weights_of(network(dp().off())), weights_of(network()))
    assert off.training_state(network(), None) is None and off.off() == off  # type: ignore[arg-type]


def test_half_precision_is_switched_off() -> None:
    planned = {"precision": "bfloat16", "epochs": 3}
    assert TrainingRecipe.make({**planned, **DpSgd().training_overrides(planned)}).precision == "float32"


@dataclass(frozen=True, kw_only=True)
class Coupled(Defense):
    couples_images: ClassVar[bool] = True


@pytest.mark.parametrize(
    ("other", "reason"),
    [(Coupled, "the others of the batch"), (DEFENSES.get("calor"), "without noise, so that no epsilon would hold")],
    ids=["coupled images", "first phase without noise"],
)
def test_cannot_be_combined_with(other: type[Defense], reason: str) -> None:
    found = DpSgd.clash_with(other)
    assert found is not None and reason in found


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"noise_multiplier": -0.1}, "needs noise_multiplier, max_grad_norm >= 0 and delta in"),
        ({"delta": 1.0}, "needs noise_multiplier, max_grad_norm >= 0 and delta in"),
        ({"max_grad_norm": 0.0}, "leaves the noise without a scale"),
    ],
    ids=["noise", "delta", "noise without scale"],
)
def test_impossible_values_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        DEFENSES.make("dp_sgd", params)
