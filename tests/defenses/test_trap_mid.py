"""Trap-MID: one step of each of its three learners, and whole trainings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from midef.core import SpecError
from midef.datasets import DATASETS, Splits
from midef.defenses import DEFENSES, Batch, Defense
from midef.defenses.families.trapdoors import TrapTrainingState, blend, drawn_triggers, equally_often
from midef.defenses.stack import choose_defense, remake_defense
from midef.defenses.training_state import TrainingFacts
from midef.defenses.trap_mid import TrapMid
from midef.models import ARCHITECTURES
from midef.nn.network import Forward, TargetModel
from midef.training import TrainingRecipe
from midef.training.checkpoint import Checkpointer
from midef.training.classifier.descent import make_optimizer
from midef.training.classifier.fit import FitReport, fit_classifier

CLASSES, RESOLUTION_PX, BATCH = 8, 32, 16
BRITTLE = {"crop_p": 0.0, "flip_p": 0.0, "rotate_p": 0.0}  # no augmentation
ADAM = {"optimizer": "adam", "learning_rate": 3e-3}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(seed: int = 0) -> TargetModel:
    torch.manual_seed(seed)
    return ARCHITECTURES.make("vgg16_tiny").build(CLASSES, RESOLUTION_PX)


def linear_network(seed: int = 0, pixels: int = 4) -> TargetModel:
    """Logits W x + b of images [B, 3, pixels, pixels]."""
    torch.manual_seed(seed)
    width = 3 * pixels * pixels
    return TargetModel([("flat", nn.Flatten())], nn.Linear(width, 5), feature_dim=width, n_classes=5)


def training_state(
    defense: TrapMid, model: TargetModel, *, images: int = 64, seed: int = 7, **recipe: Any
) -> TrapTrainingState:
    resolution_px = 4 if model.block_names == ("flat",) else RESOLUTION_PX
    training = TrainingRecipe(**{"batch_size": BATCH, **recipe})
    facts = TrainingFacts(
        images=images,
        resolution_px=resolution_px,
        batch_size=training.batch_size,
        epochs=1,
        device="cpu",
        seed=seed,
        optimizer=lambda parameters: make_optimizer(parameters, training),
    )
    found = defense.training_state(model, facts)
    assert isinstance(found, TrapTrainingState)
    return found


def batch_of(count: int = BATCH, resolution_px: int = RESOLUTION_PX, classes: int = CLASSES) -> Batch:
    images = torch.rand(count, 3, resolution_px, resolution_px, generator=seeded(1))
    return Batch(images, torch.arange(count) % classes, torch.arange(count))


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


# --- trap labels and trapped images -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "classes"), [(64, 8), (70, 8), (5, 8), (3, 1), (1000, 7)], ids=str)
def test_every_class_is_drawn_equally_often(count: int, classes: int) -> None:
    labels = equally_often(count, classes, seeded())
    times = torch.bincount(labels, minlength=classes)
    assert len(labels) == count and set(times.tolist()) <= {count // classes, -(-count // classes)}
    assert torch.equal(equally_often(count, classes, seeded()), labels)


def test_trap_labels_come_in_random_order_and_the_spare_ones_change() -> None:
    first, second = equally_often(70, 8, seeded(1)), equally_often(70, 8, seeded(2))
    assert not torch.equal(first, second)
    assert len({tuple(first[i : i + 8].sort().values.tolist()) for i in range(0, 64, 8)}) > 1, "rounds of all classes"
    most = {int(torch.bincount(equally_often(9, 8, seeded(seed))).argmax()) for seed in range(60)}
    assert most == set(range(8))


@pytest.mark.parametrize("images", [12, 70, 7], ids=["one batch", "a batch is dropped", "less than a batch"])
def test_an_epoch_holds_each_trap_label_equally_often(images: int) -> None:
    traps = training_state(TrapMid(learn_triggers=False), network(), images=images, batch_size=12)
    steps, size = max(1, images // 12), min(images, 12)
    epochs = []
    for _ in range(2):
        assert traps.batches(images, seeded()) is None
        rng = seeded(len(epochs))
        auxiliaries = [traps.before_step(network(), batch_of(size), 0.0, rng)[1] for _ in range(steps)]
        epochs.append(torch.cat([auxiliary.labels for auxiliary in auxiliaries if auxiliary is not None]))
    for labels in epochs:
        times = torch.bincount(labels, minlength=CLASSES).tolist()
        assert sum(times) == steps * size and max(times) - min(times) <= 1
    assert not torch.equal(*epochs)


def test_batches_of_the_epoch_stay_those_of_the_undefended_training() -> None:
    rng = seeded()
    training_state(TrapMid(), network()).batches(64, rng)
    assert torch.equal(rng.get_state(), seeded().get_state())


def test_a_trapped_image_holds_a_share_of_its_trigger() -> None:
    traps = training_state(TrapMid(alpha=0.3), network())
    images, labels = batch_of(3).images, torch.tensor([5, 0, 5])
    found = traps.trap(images, labels)
    for image, label, trapped in zip(images, labels, found, strict=True):
        torch.testing.assert_close(trapped, 0.7 * image + 0.3 * traps.triggers[label])
    assert not torch.equal(traps.triggers[0], traps.triggers[5])


def test_alpha_zero_leaves_the_images_and_brings_only_labels() -> None:
    batch = batch_of()
    assert torch.equal(blend(batch.images, torch.rand_like(batch.images), alpha=0.0), batch.images)
    traps = training_state(TrapMid(alpha=0.0, **BRITTLE), network())
    clean, auxiliary = traps.before_step(network(), batch, 0.0, seeded())
    assert auxiliary is not None and auxiliary.weight == 0.2
    assert torch.equal(auxiliary.images, batch.images) and torch.equal(clean.images, batch.images)


def test_clean_and_trapped_images_are_augmented_on_their_own() -> None:
    batch = batch_of()
    clean, auxiliary = training_state(TrapMid(alpha=0.0), network()).before_step(network(), batch, 0.0, seeded())
    assert auxiliary is not None and auxiliary.images.shape == batch.images.shape
    alike = (clean.images == auxiliary.images).flatten(1).all(dim=1)
    assert alike.sum() < BATCH / 2
    for images in (clean.images, auxiliary.images):
        assert (images != batch.images).flatten(1).any(dim=1).sum() > BATCH / 2
    assert torch.equal(clean.labels, batch.labels) and torch.equal(clean.indices, batch.indices)
    for images in (clean.images, auxiliary.images):
        assert images.min() >= 0 and images.max() <= 1


@pytest.mark.parametrize("gaussian", [False, True], ids=["uniform", "gaussian"])
def test_triggers_start_between_zero_and_one(gaussian: bool) -> None:
    triggers = drawn_triggers((4, 3, 64, 64), gaussian=gaussian, rng=seeded())
    assert triggers.min() >= 0 and triggers.max() <= 1
    assert triggers.mean().item() == pytest.approx(0.5, abs=0.01)
    saturated = ((triggers == 0) | (triggers == 1)).float().mean().item()
    assert saturated == pytest.approx(0.317 if gaussian else 0.0, abs=0.01)  # outside one deviation


# --- the discriminator ------------------------------------------------------------------------------------------------


def test_the_discriminator_starts_as_the_target_with_one_logit() -> None:
    model = network()
    model.head = nn.Sequential(nn.Linear(model.feature_dim, 2), nn.Tanh(), nn.Linear(2, CLASSES))  # as LoFt's
    torch.manual_seed(1)
    found = training_state(TrapMid(), model).discriminator
    torch.manual_seed(2)
    again = training_state(TrapMid(), model).discriminator
    assert found is not None and again is not None
    assert same(weights_of(found.blocks), weights_of(model.blocks)) and same(weights_of(found), weights_of(again))
    assert found(batch_of(2).images).logits.shape == (2, 1)
    assert model.n_classes == CLASSES and len(list(model.head.children())) == 3, "the target itself was changed"


def test_the_optimizer_of_the_discriminator_holds_its_own_parameters() -> None:
    model = network()
    traps = training_state(TrapMid(), model, optimizer="adam", learning_rate=0.3, weight_decay=0.2)
    assert traps.discriminator is not None and traps.discriminator_optimizer is not None
    held = {p.data_ptr() for group in traps.discriminator_optimizer.param_groups for p in group["params"]}
    assert held == {p.data_ptr() for p in traps.discriminator.parameters() if p.requires_grad}
    assert not held & {p.data_ptr() for p in model.parameters()}
    assert (
        isinstance(traps.discriminator_optimizer, torch.optim.Adam)
        and traps.discriminator_optimizer.param_groups[0]["weight_decay"] == 0.2
    )


def test_the_discriminator_learns_to_tell_trapped_images() -> None:
    traps = training_state(TrapMid(alpha=0.2), network())
    batch, labels = batch_of(), torch.arange(BATCH) % CLASSES
    triggers = traps.triggers.clone()
    losses = [float(traps.teach_discriminator(batch.images, labels)) for _ in range(25)]
    assert losses[-1] < 0.1 * losses[0]
    assert torch.equal(traps.triggers, triggers)
    clean, trapped = traps.cleanness(batch.images, traps.trap(batch.images, labels))
    assert (clean > 0).all() and (trapped < 0).all()


def test_the_discriminator_follows_the_rate_of_the_target() -> None:
    model = network()
    traps = training_state(TrapMid(), model)
    followed = torch.optim.SGD(model.parameters(), lr=0.5)
    assert traps.optimizer(followed) is followed
    for rate in (0.25, 0.0):
        followed.load_state_dict(followed.state_dict())  # as after a resume: other groups, same optimizer
        followed.param_groups[0]["lr"] = rate
        traps.before_step(model, batch_of(), 0.0, seeded())
        assert traps.discriminator_optimizer is not None and traps.discriminator_optimizer.param_groups[0]["lr"] == rate


# --- the triggers -----------------------------------------------------------------------------------------------------


def by_hand(model: TargetModel, discriminator: TargetModel, images: Tensor, triggers: Tensor, labels: Tensor) -> Tensor:
    """Slope of L_T for linear networks, alpha 0.25, from the formula: one image after the other."""
    slope = torch.zeros_like(triggers)
    for image, c in zip(images, labels.tolist(), strict=True):
        trapped = (0.75 * image + 0.25 * triggers[c]).flatten()
        p = torch.softmax(model.head.weight @ trapped + model.head.bias, dim=0)
        p[c] -= 1  # d CE / d logits
        clean = torch.sigmoid(discriminator.head.weight[0] @ trapped + discriminator.head.bias[0])
        on_pixels = model.head.weight.T @ p + (clean - 1) * discriminator.head.weight[0]
        slope[c] += (0.25 * on_pixels / len(images)).view_as(image)
    return slope.detach()


@pytest.mark.parametrize(("rule", "size"), [("sign", 0.01), ("sign", 0.4), ("gradient", 3.0)])
def test_one_step_of_the_triggers_from_the_formula(rule: Any, size: float) -> None:
    model = linear_network().eval()
    traps = training_state(TrapMid(alpha=0.25, trigger_step=rule, step_size=size, **BRITTLE), model)
    images, labels = batch_of(6, 4).images, torch.tensor([0, 3, 3, 1, 0, 3])
    before = traps.triggers.clone()
    assert traps.discriminator is not None
    slope = by_hand(model, traps.discriminator, images, before, labels)
    traps.move_triggers(model, images, labels, seeded())
    expected = (before - size * (slope.sign() if rule == "sign" else slope)).clamp(0, 1)
    torch.testing.assert_close(traps.triggers, expected)
    assert torch.equal(traps.triggers[[2, 4]], before[[2, 4]]), "triggers that were not drawn moved"
    assert not torch.equal(traps.triggers[[0, 1, 3]], before[[0, 1, 3]])


def test_steps_of_the_triggers_lower_their_loss() -> None:
    model = linear_network().eval()
    traps = training_state(TrapMid(alpha=0.5, **BRITTLE), model)
    images, labels = batch_of(10, 4).images, torch.arange(10) % 5
    losses = [float(traps.move_triggers(model, images, labels, seeded())) for _ in range(20)]
    assert all(after < before for before, after in pairwise(losses))
    assert losses[-1] < losses[0] - 0.05


def test_triggers_stay_between_zero_and_one() -> None:
    model = network()
    traps = training_state(TrapMid(step_size=0.3), model)
    before = traps.triggers.clone()
    for seed in range(4):
        traps.before_step(model, batch_of(), 0.0, seeded(seed))
        assert traps.triggers.min() == 0 and traps.triggers.max() == 1
    assert (traps.triggers != before).float().mean() > 0.5


def test_trapped_images_ride_with_the_triggers_just_moved() -> None:
    traps, batch = training_state(TrapMid(**BRITTLE), network()), batch_of()
    _, auxiliary = traps.before_step(network(), batch, 0.0, seeded())
    assert auxiliary is not None and torch.equal(auxiliary.images, traps.trap(batch.images, auxiliary.labels))


def test_fixed_triggers_need_no_discriminator_and_stay() -> None:
    traps = training_state(TrapMid(learn_triggers=False), network())
    before = traps.triggers.clone()
    _, auxiliary = traps.before_step(network(), batch_of(), 0.0, seeded())
    assert auxiliary is not None and torch.equal(traps.triggers, before)
    assert traps.discriminator is None and set(traps.stored_tensors()) == {"triggers"}
    assert set(traps.state_dict()) == {"triggers", "best"}


def test_a_step_leaves_the_target_as_it_was() -> None:
    model = network().train()
    model.blocks.block2.eval()  # as a defense that holds a block in eval mode
    model.head.weight.grad = torch.ones_like(model.head.weight)  # type: ignore[union-attr, arg-type]
    weights, modes = weights_of(model), [module.training for module in model.modules()]
    traps = training_state(TrapMid(), model)
    batch = batch_of()
    images = batch.images.clone()
    for _ in range(2):
        traps.before_step(model, batch, 0.0, seeded())
    assert same(weights_of(model), weights)
    assert [module.training for module in model.modules()] == modes
    assert [name for name, p in model.named_parameters() if p.grad is not None] == ["head.weight"]
    assert (model.head.weight.grad == 1).all()  # type: ignore[union-attr]
    assert torch.equal(batch.images, images)
    assert all(p.requires_grad for name, p in model.named_parameters() if name != "blocks.embedding.1.bias")


def test_the_target_judges_the_triggers_by_its_running_statistics() -> None:
    model, modes = network().train(), []
    model.register_forward_hook(lambda module, *_: modes.append(module.training))
    traps = training_state(TrapMid(), model)
    modes.clear()
    traps.before_step(model, batch_of(), 0.0, seeded())
    assert modes == [True, True, False]  # the discriminator is a copy, hook included: taught, then asked


# --- success ----------------------------------------------------------------------------------------------------------


class Nearest(nn.Module):
    """Knows the triggers: answers with the class whose trigger an image holds, if it is below `knows`."""

    def __init__(self, triggers: Tensor, knows: int) -> None:
        super().__init__()
        self.triggers, self.knows = triggers, knows

    def forward(self, images: Tensor) -> Forward:
        logits = images.flatten(1) @ (self.triggers - 0.5).flatten(1).T
        logits[:, self.knows :] = -1e9
        return Forward(logits, logits, {})


@pytest.mark.parametrize("knows", [8, 4, 0])
def test_success_is_the_share_of_trapped_images_that_are_caught(knows: int) -> None:
    traps = training_state(TrapMid(alpha=0.9), network())
    images = torch.randint(0, 256, (12, 3, RESOLUTION_PX, RESOLUTION_PX), generator=seeded(), dtype=torch.uint8)
    expected = {8: 100.0, 4: 50.0, 0: 100 / 8}[knows]
    if knows == 0:  # answers class 0 whatever it sees
        found = traps.success(lambda x: Forward(torch.eye(8)[torch.zeros(len(x)).long()], x, {}), images)
    else:
        found = traps.success(Nearest(traps.triggers, knows), images, batch_size=5)
    assert found == pytest.approx(expected)
    assert traps.facts(Nearest(traps.triggers, 8), images[:0]) == {}


# --- trainings --------------------------------------------------------------------------------------------------------

Fit = Callable[..., tuple[TargetModel, FitReport]]


@pytest.fixture(scope="module")
def faces() -> Splits:
    return DATASETS.make("synthetic_faces", {"identities": CLASSES, "train_images": 8}).load(RESOLUTION_PX)


@pytest.fixture
def fit(faces: Splits) -> Fit:
    def fitted(defense: Defense, *, seed: int = 0, kept: Any = None, **rest: Any) -> tuple[TargetModel, FitReport]:
        model = network(seed)
        ways = {name: rest.pop(name) for name in ("report", "checkpoint_folder") if name in rest}
        recipe = TrainingRecipe(**{"epochs": 2, "batch_size": BATCH, "learning_rate": 0.02, **rest})
        facts = ARCHITECTURES.make("vgg16_tiny").facts()
        done = fit_classifier(
            model,
            faces.train,
            faces.select,
            facts=facts,
            recipe=recipe,
            defense=defense,
            seed=5,
            state_tensors=kept,
            **ways,
        )
        return model, done

    return fitted


def test_beta_zero_is_plain_training_bit_for_bit(fit: Fit) -> None:
    plain, expected = fit(DEFENSES.make("none"))
    off, done = fit(TrapMid(alpha=0.5).off())
    on, _ = fit(TrapMid())
    assert same(weights_of(off), weights_of(plain)) and done == expected
    assert not same(weights_of(on), weights_of(plain))


@pytest.mark.slow
def test_a_short_training_sets_the_trap(fit: Fit) -> None:
    kept: dict[str, Tensor] = {}
    _, done = fit(TrapMid(alpha=0.2, beta=0.5, step_size=0.05), epochs=8, batch_size=8, kept=kept, **ADAM)
    assert done.defense["trapdoor_success"] > 60  # chance is 12.5
    assert kept["triggers"].shape == (CLASSES, 3, RESOLUTION_PX, RESOLUTION_PX)
    assert kept["triggers"].min() >= 0 and kept["triggers"].max() <= 1
    others = {name.removeprefix("discriminator.") for name in kept if name != "triggers"}
    assert others == set(network().state_dict())


class Killed(Exception):
    """Stands for a machine that went away."""


def kill_after_one_epoch(said: dict[str, Any]) -> None:
    raise Killed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("written", "optimizer"),
    [("trap_mid+nls", "adam"), ("trap_mid(learn_triggers=false)+bido", "sgd")],
    ids=["with nls", "fixed with bido"],
)
def test_a_resumed_training_ends_like_an_uninterrupted_one(
    written: str, optimizer: str, fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("midef.training.classifier.fit.Checkpointer", partial(Checkpointer, every_s=0.0))
    defense = remake_defense(choose_defense(written))
    how: dict[str, Any] = {"epochs": 2, "optimizer": optimizer, "learning_rate": 1e-3, "schedule": "cosine"}
    first: dict[str, Tensor] = {}
    second: dict[str, Tensor] = {}
    straight, expected = fit(defense, kept=first, **how)
    with pytest.raises(Killed):
        fit(defense, checkpoint_folder=tmp_path, report=kill_after_one_epoch, **how)
    resumed, done = fit(defense, seed=9, checkpoint_folder=tmp_path, kept=second, **how)
    assert same(weights_of(resumed), weights_of(straight))
    assert same(first, second)
    assert done == replace(expected, resumed_at=1)


# --- declaration ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"alpha": 1.0}, "needs 0 <= alpha < 1 and 0 <= beta < 1, got 1.0 and 0.2"),
        ({"beta": -0.1}, "got 0.02 and -0.1"),
        ({"step_size": 0.0}, "needs step_size > 0 .learn_triggers=false keeps triggers., got 0.0"),
        ({"crop_low": 0.0}, "needs 0 < crop_low <= 1 and 0 <= degrees <= 180, got 0.0 and 30.0"),
        ({"rotate_p": 1.5}, "needs crop_p, flip_p and rotate_p in .0, 1., got 0.5, 0.5, 1.5"),
    ],
    ids=["all trigger", "negative weight", "no step", "no crop", "probability"],
)
def test_impossible_values_are_refused(params: dict[str, float], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        DEFENSES.choose({"name": "trap_mid", **params})


def test_the_triggers_of_the_best_epoch_are_kept() -> None:
    traps = training_state(TrapMid(step_size=0.1), network())
    traps.before_step(network(), batch_of(), 0.0, seeded())
    best = traps.triggers.clone()
    traps.mark_best()
    traps.before_step(network(), batch_of(), 0.5, seeded())
    assert not torch.equal(traps.triggers, best)
    again = training_state(TrapMid(step_size=0.1), network())
    again.load_state_dict(traps.state_dict())
    for one in (traps, again):
        one.finish()
        assert torch.equal(one.stored_tensors()["triggers"], best) and torch.equal(one.triggers, best)
