"""RLB-MI's rewards by hand, and what its agents are paid for, asked and keep."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from typing_extensions import override

from midef.attacks import ATTACKS, AccessLevel, Attack, Reconstructions, rlb_mi
from midef.attacks.base import Task
from midef.attacks.latent_search.streams import RowStreams
from midef.attacks.priors.networks.dcgan import Generator
from midef.attacks.priors.wgan_gp import WganGp
from midef.attacks.rl import sac
from midef.attacks.rl.sac import Agents, Replay
from midef.attacks.rlb_mi import SMALLEST_SCORE, RlbMi
from midef.attacks.target_handle import TargetHandle
from midef.core import Inputs
from midef.defenses import Defense
from midef.defenses.serving import Query
from midef.nn.network import TargetModel, freeze_

RESOLUTION_PX, CLASSES = 32, 5
GanInputs = Callable[[Attack], Inputs]
TINY = {"episodes": 10, "batch_size": 8, "start_after": 4, "hidden": 8}


class Watcher(TargetHandle):
    """Writes down every batch and its served scores."""

    def __init__(self, target: TargetModel, defense: Defense | None = None) -> None:
        super().__init__(target, defense or Defense(), AccessLevel.SCORES)
        self.shown: list[Tensor] = []
        self.served: list[Tensor] = []

    @override
    def scores(self, images: Tensor) -> Tensor:
        answers = super().scores(images)
        self.shown.append(images)
        self.served.append(answers)
        return answers


class Hard(Defense):
    """Serves 1 for the label and 0 for all others."""

    @override
    def answer(self, query: Query, state: None) -> Tensor:
        return torch.zeros_like(query.probabilities).scatter(1, query.probabilities.argmax(1, keepdim=True), 1.0)


@pytest.fixture
def target(gan_networks: dict[str, nn.Module]) -> TargetModel:
    """Linear; its batch norm is set so that images of the generator fall into every class."""
    torch.manual_seed(2)
    pixels = 3 * RESOLUTION_PX**2
    norm = nn.BatchNorm1d(pixels)
    head = nn.Linear(pixels, CLASSES)
    model = TargetModel([("pixels", nn.Sequential(nn.Flatten(), norm))], head, feature_dim=pixels, n_classes=CLASSES)
    with torch.no_grad():
        images = gan_networks["generator"](torch.rand(256, 8) * 2 - 1).flatten(1)
        norm.running_mean.copy_(images.mean(0))  # type: ignore[union-attr]
        norm.running_var.copy_(images.var(0))  # type: ignore[union-attr]
    freeze_(model)
    return model


def attacked(attack: RlbMi, handle: TargetHandle, inputs: Inputs, labels: list[int]) -> Reconstructions:
    task = Task(torch.tensor(labels), torch.zeros(len(labels), dtype=torch.long), RESOLUTION_PX, 3, "cpu")
    return attack.reconstruct(handle, inputs, task)


def candidates(handle: Watcher, rows: int) -> tuple[Tensor, Tensor]:
    """Test images and their served scores [episodes, A, ...]: the first rows of each batch but the first."""
    images, scores = (torch.stack([batch[:rows] for batch in seen[1:]]) for seen in (handle.shown, handle.served))
    return images, scores


# ---------------------------------------------------------------- what is paid


def paid(scores: list[float], label: int, attack: RlbMi | None = None) -> float:
    return float((attack or RlbMi()).reward(torch.tensor([scores]), torch.tensor([label])))


@pytest.mark.parametrize(
    ("scores", "label"),
    [([0.7, 0.2, 0.1], 0), ([0.7, 0.2, 0.1], 1), ([0.2, 0.7, 0.1], 1), ([0.4, 0.4, 0.2], 0), ([1.0, 0.0, 0.0], 0)],
    ids=str,
)
def test_an_agent_is_paid_by_the_formula_of_the_paper(scores: list[float], label: int) -> None:
    own, other = scores[label], max(scores[:label] + scores[label + 1 :])
    # at alpha = 0 the next state is the action, so both are the same image
    expected = 2 * math.log(own) + 2 * math.log(own) + 8 * math.log(max(1e-7, own - other))
    assert paid(scores, label) == pytest.approx(expected, rel=1e-5)


def test_seeing_somebody_else_costs_128_9_and_the_best_is_nothing() -> None:
    assert paid([0.6, 0.4], 1) - 4 * math.log(0.4) == pytest.approx(-128.9, abs=0.05)
    assert paid([1.0, 0.0], 0) == 0


def test_a_larger_margin_is_paid_better() -> None:
    """MIBench's copy has the other sign."""
    rising = [paid([p, 1 - p], 0) for p in (0.1, 0.3, 0.51, 0.7, 0.9, 0.99)]
    assert rising == sorted(rising) and len(set(rising)) == len(rising)
    margin_only = RlbMi(score_weight=0.0)
    assert paid([0.5, 0.3, 0.2], 0, margin_only) > paid([0.5, 0.4, 0.1], 0, margin_only)


def test_a_served_zero_is_paid_little_and_finitely() -> None:
    assert paid([1.0, 0.0], 1) == pytest.approx(4 * math.log(SMALLEST_SCORE) + 8 * math.log(1e-7))
    assert paid([1.0, 1e-30], 1) == pytest.approx(4 * math.log(1e-30) + 8 * math.log(1e-7)), "and tells 1e-30 from 0"


# ---------------------------------------------------------------- what is asked, learnt and kept


def test_two_queries_an_episode_and_updates_once_enough_is_remembered(
    target: TargetModel, gan_inputs: GanInputs, small_gan: WganGp, monkeypatch: pytest.MonkeyPatch
) -> None:
    attack = RlbMi(prior=small_gan, **TINY)  # type: ignore[arg-type]
    updates: list[tuple[torch.Size, torch.Size]] = []
    monkeypatch.setattr(Agents, "update", lambda self, pairs, paid: updates.append((pairs.shape, paid.shape)))
    handle = Watcher(target)
    attacked(attack, handle, gan_inputs(attack), [0, 1, 2])
    assert handle.queries == 2 * 10 * 3
    assert [len(batch) for batch in handle.shown] == [3, *[6] * 9, 3]
    assert updates == [((3, 8, 16), (3, 8))] * 6


def test_images_are_drawn_in_parts_where_memory_is_short(
    target: TargetModel, gan_inputs: GanInputs, small_gan: WganGp, monkeypatch: pytest.MonkeyPatch
) -> None:
    attack, together = RlbMi(prior=small_gan, **TINY), list[int]()  # type: ignore[arg-type]
    whole = attacked(attack, Watcher(target), gan_inputs(attack), [0, 1, 2]).images
    forward = Generator.forward

    def spy(self: Generator, latents: Tensor) -> Tensor:
        together.append(len(latents))
        return forward(self, latents)

    monkeypatch.setattr(Generator, "forward", spy)
    monkeypatch.setattr(rlb_mi, "drawn_at_once", lambda most, generator: 2)
    handle = Watcher(target)
    assert torch.allclose(attacked(attack, handle, gan_inputs(attack), [0, 1, 2]).images, whole, atol=1e-4)
    assert max(together) == 2 and handle.queries == 2 * 10 * 3


def test_a_gpu_is_given_as_many_agents_as_its_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand, for the published settings: 40,000 transitions of 201 numbers are 32.2 MB, and most of an agent."""
    attack, task = RlbMi(), Task(torch.zeros(1), torch.zeros(1), 64, 0, "cuda")
    with torch.device("meta"):
        generator = Generator(100, 64, 64)
    free = {"mem_get_info": (100 * 2**30, 140 * 2**30), "memory_reserved": 0, "memory_allocated": 0}
    for name, value in {**free, "get_per_process_memory_fraction": 1.0}.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    of_weights = sum(
        part.numel() for part in [*agents(1, 100, 256).actor, *agents(1, 100, 256).critic] for _ in range(4)
    )
    least = 4 * (40_000 * 201 + of_weights)
    together = attack.agents_at_once(generator, 1000, task)
    assert 0.8 * 0.8 * 100 * 2**30 / least < together <= 0.8 * 100 * 2**30 / least
    assert together > 1500, "the paper's 300 x 5 learn at once"
    monkeypatch.setattr(torch.cuda, "get_per_process_memory_fraction", lambda device: 0.1)
    assert attack.agents_at_once(generator, 1000, task) == pytest.approx(together * 0.14, rel=0.01)
    assert attack.agents_at_once(generator, 1000, replace(task, device="cpu")) == rlb_mi.CHUNK


def agents(count: int, dim: int, hidden: int) -> Agents:
    streams = RowStreams(range(count))
    return Agents(
        range(count), streams, dim=dim, hidden=hidden, learning_rate=1e-3, noise="shared_scalar", device="cpu"
    )


def test_networks_compute_in_the_precision_asked_for_and_agents_in_float32(
    target: TargetModel, gan_inputs: GanInputs, small_gan: WganGp, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed, learned = set[torch.dtype](), set[torch.dtype]()
    target.register_forward_hook(lambda module, given, answer: computed.add(answer.logits.dtype))
    update = Agents.update

    def spy(self: Agents, pairs: Tensor, paid: Tensor) -> None:
        learned.update({pairs.dtype, paid.dtype, sac.run(self.critic, pairs).dtype})
        update(self, pairs, paid)

    monkeypatch.setattr(Agents, "update", spy)
    found = {}
    for precision in ("float32", "bfloat16"):
        attack = RlbMi(prior=small_gan, precision=precision, **TINY)  # type: ignore[arg-type]
        handle = Watcher(target)
        found[precision] = attacked(attack, handle, gan_inputs(attack), [0, 1, 2])
        assert computed == {getattr(torch, precision)} and learned == {torch.float32}
        assert {part.dtype for part in [*handle.shown, *handle.served]} == {torch.float32}
        assert found[precision].images.dtype == torch.float32
        computed.clear()
    assert not torch.equal(found["float32"].images, found["bfloat16"].images)


def test_the_trace_holds_what_is_served_for_the_image_tested_in_each_episode(
    target: TargetModel, gan_inputs: GanInputs, small_gan: WganGp
) -> None:
    attack = RlbMi(prior=small_gan, **TINY)  # type: ignore[arg-type]
    handle = Watcher(target)
    traces = attacked(attack, handle, gan_inputs(attack), [0, 1, 2]).traces
    assert traces is not None and traces.series.keys() == {"loss", "confidence"}
    assert traces.steps.tolist() == list(range(1, 11)), "updates made before"
    for episode, scores in enumerate(candidates(handle, 3)[1]):
        for row in range(3):
            served = scores[row].tolist()
            assert traces.series["confidence"][row, episode] == pytest.approx(served[row], rel=1e-5)
            assert traces.series["loss"][row, episode] == pytest.approx(-paid(served, row), rel=1e-3)


def test_agents_are_paid_for_the_image_of_their_own_action(
    target: TargetModel, gan_inputs: GanInputs, small_gan: WganGp, monkeypatch: pytest.MonkeyPatch
) -> None:
    added: list[tuple[Tensor, ...]] = []
    add = Replay.add

    def spy(self: Replay, *transition: Tensor) -> None:
        added.append(tuple(part.clone() for part in transition))
        add(self, *transition)

    monkeypatch.setattr(Replay, "add", spy)
    attack = RlbMi(prior=small_gan, **TINY)  # type: ignore[arg-type]
    inputs = gan_inputs(attack)
    handle = Watcher(target)
    attacked(attack, handle, inputs, [0, 1, 2])
    generator = small_gan.load(inputs.path("prior"), RESOLUTION_PX, CLASSES, "cpu")["generator"]
    assert len(added) == 10
    for episode, (states, actions, rewards) in enumerate(added):
        assert states.shape == actions.shape == (3, 8) and actions.abs().max() < 1
        with torch.no_grad():
            images = generator(actions)
            scores = target(images).logits.softmax(1)
        assert torch.allclose(images, handle.shown[episode][-3:], atol=1e-5)
        for row in range(3):
            assert float(rewards[row]) == pytest.approx(paid(scores[row].tolist(), row), rel=1e-3)
    states = torch.cat([states for states, _, _ in added])
    assert states.abs().max() > 1.5 and 0.7 < states.std() < 1.3, "each episode starts from a new normal state"


def test_the_surest_test_image_is_kept(target: TargetModel, gan_inputs: GanInputs, small_gan: WganGp) -> None:
    attack = RlbMi(prior=small_gan, **{**TINY, "episodes": 25})  # type: ignore[arg-type]
    handle = Watcher(target)
    found = attacked(attack, handle, gan_inputs(attack), [0, 3, 4])
    images, scores = candidates(handle, 3)
    assert len(images) == 25
    surest = [int(scores[:, row, label].argmax()) for row, label in enumerate([0, 3, 4])]
    assert min(surest) > 0 and len(set(surest)) > 1, "neither the first nor one place for all"
    for row, (label, episode) in enumerate(zip([0, 3, 4], surest, strict=True)):
        assert torch.equal(found.images[row], images[episode, row])
        assert bool(found.found[row]) == (int(scores[episode, row].argmax()) == label)


def test_of_equally_sure_images_the_last_is_kept_and_zeros_do_not_stop_the_agents(
    target: TargetModel, gan_inputs: GanInputs, small_gan: WganGp
) -> None:
    """Scores of 0 and 1 only. The last class is never served: each test is as good as the one before."""
    bias = target.head.bias
    assert isinstance(bias, Tensor)
    bias[4] = -1e4
    attack = RlbMi(prior=small_gan, **TINY)  # type: ignore[arg-type]
    handle = Watcher(target, Hard())
    found = attacked(attack, handle, gan_inputs(attack), [4, 0])
    images, scores = candidates(handle, 2)
    assert scores[:, 0, 4].max() == 0
    assert torch.equal(found.images[0], images[-1, 0]) and not found.found[0]
    assert torch.isfinite(images).all()


def test_agents_learn_to_show_their_identity(target: TargetModel, gan_inputs: GanInputs, small_gan: WganGp) -> None:
    attack = RlbMi(
        prior=small_gan, episodes=150, batch_size=32, start_after=32, hidden=32, learning_rate=5e-3, noise="per_dim"
    )
    handle = Watcher(target)
    found = attacked(attack, handle, gan_inputs(attack), [0, 1, 2, 3, 4])
    rewards = torch.stack([attack.reward(scores, torch.arange(5)) for scores in candidates(handle, 5)[1]])
    random, learnt = rewards[:32].mean(0), rewards[-50:].mean(0)
    assert (learnt > random).all() and (learnt - random).mean() > 30, (random, learnt)
    assert found.found.all()


# ---------------------------------------------------------------- settings


def test_the_published_settings_are_the_default() -> None:
    attack = ATTACKS.remake(ATTACKS.choose("rlb_mi:orig"))
    assert attack == RlbMi() and isinstance(attack, RlbMi)
    assert (attack.episodes, attack.batch_size, attack.replay, attack.hidden) == (40_000, 256, 1_000_000, 256)
    assert (attack.learning_rate, attack.start_after, attack.noise) == (5e-4, 256, "shared_scalar")


@pytest.mark.parametrize(
    "wrong",
    [{"episodes": 0}, {"hidden": 0}, {"replay": 256}, {"learning_rate": 0.0}, {"margin_weight": -8.0}],
    ids=str,
)
def test_refuses_what_cannot_learn(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"needs (episodes, batch_size|start_after < replay|learning_rate > 0)"):
        RlbMi(**wrong)  # type: ignore[arg-type]
