"""The recorder against searches written out by hand; and that nobody notices it."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from midef.attacks import Attack, Reconstructions
from midef.attacks.base import Task
from midef.attacks.gmi import Gmi
from midef.attacks.latent_search import memory
from midef.attacks.latent_search.recording import Recorder, StepRecorder, confidence_of, row_norms
from midef.attacks.lomma_gmi import LommaGmi
from midef.attacks.mi_face import MiFace
from midef.attacks.priors.networks.dcgan import Generator
from midef.attacks.priors.wgan_gp import WganGp
from midef.attacks.target_handle import TargetHandle
from midef.attacks.vmi import Vmi
from midef.core import Inputs
from midef.core.traces import MOST_POINTS, Traces, thinned
from midef.defenses import Defense
from midef.nn.network import Forward, TargetModel

RESOLUTION_PX, CLASSES = 32, 4
GanInputs = Callable[[Attack], Inputs]


def task_of(rows: int) -> Task:
    return Task(torch.arange(rows) % CLASSES, torch.arange(rows) // CLASSES, RESOLUTION_PX, 7, "cpu")


def searched(attack: Attack, target: TargetModel, inputs: Inputs, rows: int = 6) -> tuple[Reconstructions, int]:
    handle = TargetHandle(target, Defense(), attack.access)
    return attack.reconstruct(handle, inputs, task_of(rows)), handle.queries


def traces_of(attack: Attack, target: TargetModel, inputs: Inputs, rows: int = 6) -> Traces:
    traces = searched(attack, target, inputs, rows)[0].traces
    assert traces is not None
    return traces


def test_a_step_is_what_the_loss_says_by_hand(
    target: TargetModel, gan_inputs: GanInputs, small_gan: WganGp, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Tensor] = []
    forward = Generator.forward
    monkeypatch.setattr(Generator, "forward", lambda self, z: (drawn.append(z.detach().clone()), forward(self, z))[1])
    attack = Gmi(iterations=5, prior=small_gan)
    inputs = gan_inputs(attack)
    found = traces_of(attack, target, inputs)
    networks = attack.prior.load(inputs.path("prior"), RESOLUTION_PX, CLASSES, "cpu")
    path = drawn[:5]  # the generator draws once more at the end
    assert found.steps.tolist() == [0, 1, 2, 3, 4] and found.series.keys() == {"loss", "confidence", "gradient_norm"}
    for point, latents in enumerate(path):
        for row, label in enumerate(task_of(6).labels.tolist()):
            z = latents[row : row + 1].requires_grad_(True)
            image = networks["generator"](z)
            logits = target(image).logits
            loss = (100 * F.cross_entropy(logits, torch.tensor([label])) - networks["critic"](image).sum()) / 60
            (slope,) = torch.autograd.grad(loss, z)
            expected = {"loss": loss, "confidence": logits.softmax(1)[0, label], "gradient_norm": slope.norm()}
            for name, value in expected.items():
                assert found.series[name][row, point] == pytest.approx(float(value.detach()), rel=1e-3, abs=1e-5), name
    assert found.series["confidence"].dtype == np.float32
    assert np.ptp(found.series["confidence"], axis=1).max() > 1e-3, "the search moves"


SMALL = WganGp(width=4, latent_dim=8)  # as `small_gan`


@pytest.mark.parametrize(
    "attack",
    [Gmi(iterations=7, prior=SMALL), Vmi(iterations=3, batch=2, family="gauss", prior=SMALL), MiFace(iterations=9)],
    ids=lambda attack: type(attack).__name__,
)
def test_images_and_queries_are_the_same_without_it(
    attack: Attack, target: TargetModel, gan_inputs: GanInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_it = searched(attack, target, gan_inputs(attack))
    for cls in (Recorder, StepRecorder):
        for name in {"begin", "see", "end", "gather", "record"} & vars(cls).keys():
            monkeypatch.setattr(cls, name, lambda *given, **series: None)
    without = searched(attack, target, gan_inputs(attack))
    assert with_it[0].traces is not None and without[0].traces is None
    assert torch.equal(with_it[0].images, without[0].images) and with_it[1] == without[1] > 0


def test_parts_of_a_search_give_the_traces_of_the_whole(
    target: TargetModel, gan_inputs: GanInputs, small_gan: WganGp, monkeypatch: pytest.MonkeyPatch
) -> None:
    attack = Gmi(iterations=4, prior=small_gan)
    whole = traces_of(attack, target, gan_inputs(attack), 7)
    monkeypatch.setattr(memory, "CHUNK", 3)
    pieces = traces_of(attack, target, gan_inputs(attack), 7)
    assert whole.labels.tolist() == pieces.labels.tolist() == task_of(7).labels.tolist()
    assert whole.restarts.tolist() == pieces.restarts.tolist() == task_of(7).restarts.tolist()
    for name, values in whole.series.items():
        np.testing.assert_allclose(pieces.series[name], values, rtol=1e-3, atol=1e-5)


def test_an_identity_searched_once_is_one_row_with_the_mean_of_its_samples(
    target: TargetModel, gan_inputs: GanInputs, small_gan: WganGp
) -> None:
    attack = Vmi(iterations=2, batch=3, family="gauss", prior=small_gan)
    found = traces_of(attack, target, gan_inputs(attack), 8)
    assert found.labels.tolist() == [0, 1, 2, 3] and found.restarts.tolist() == [-1] * 4
    assert found.series["confidence"].shape == (4, 2)


def test_confidence_is_the_mean_over_the_images_of_a_row() -> None:
    logits = torch.randn(6, CLASSES, generator=torch.Generator().manual_seed(0))
    expected = [logits[i : i + 2].softmax(1)[:, label].mean().item() for i, label in ((0, 3), (2, 0), (4, 1))]
    assert confidence_of(logits, torch.tensor([3, 0, 1])).tolist() == pytest.approx(expected)


def test_confidence_is_the_mean_over_views() -> None:
    labels, answers = torch.tensor([1, 2]), torch.randn(2, 2, CLASSES, generator=torch.Generator().manual_seed(1))
    recorder = StepRecorder([(1, 0), (2, 0)], 1)
    recorder.begin(0)
    for view in answers:
        recorder.see([Forward(view, view, {})], labels)
    recorder.end(torch.zeros(2), [torch.ones(2, 3)])
    traces = recorder.traces()
    assert traces is not None
    expected = answers.softmax(2).mean(0)[[0, 1], labels]
    assert traces.series["confidence"][:, 0].tolist() == pytest.approx(expected.tolist())


def test_of_an_ensemble_the_target_counts(target: TargetModel) -> None:
    seen = [Forward(torch.zeros(1, CLASSES), torch.zeros(1, 1), {}) for _ in range(3)]
    assert LommaGmi().judges(seen) == seen[:1]


def test_the_gradient_of_a_row_is_that_of_all_that_is_searched() -> None:
    slopes = [torch.tensor([[3.0, 0.0], [0.0, 0.0]]), torch.tensor([[[4.0]], [[2.0]]]).double()]
    assert row_norms(slopes).tolist() == [5.0, 2.0]


# ---------------------------------------------------------------- thinning


@pytest.mark.parametrize("count", [1, 2, 49, 50, 51, 99, 100, 101, 2400])
def test_thinning_keeps_the_first_and_the_last_step_and_no_more_than_it_may(count: int) -> None:
    kept = thinned(count)
    assert kept[0] == 0 and kept[-1] == count - 1 and len(kept) == min(count, MOST_POINTS)
    steps = np.diff(kept)
    assert count == 1 or (steps.min() >= 1 and steps.max() - steps.min() <= 1)


def test_a_point_is_the_mean_over_the_steps_since_the_point_before() -> None:
    recorder = StepRecorder([(0, 0)], 200)
    for step in range(200):
        recorder.begin(step)
        recorder.end(torch.tensor([float(step)]), [torch.full((1, 1), float(step))])
    traces = recorder.traces()
    kept = thinned(200)
    assert traces is not None and traces.steps.tolist() == kept and "confidence" not in traces.series
    assert traces.series["gradient_norm"][0].tolist() == kept, "the gradient is that of the step alone"
    means = [0.0, *((before + 1 + at) / 2 for before, at in itertools.pairwise(kept))]
    assert traces.series["loss"][0].tolist() == means


@pytest.mark.parametrize("length", [1, 30, 101, 102, 777, 5000])
def test_a_search_of_unknown_length_keeps_its_first_and_last_step(length: int) -> None:
    recorder = Recorder([(0, 0)])
    for step in range(length):
        recorder.record(step, radius=torch.tensor([float(step)]))
    traces = recorder.traces()
    assert traces is not None
    assert traces.steps[0] == 0 and traces.steps[-1] == length - 1 and len(traces.steps) == min(length, MOST_POINTS)
    assert traces.series["radius"][0].tolist() == traces.steps.tolist()
    assert np.diff(traces.steps).max(initial=0) <= max(1, 2.1 * length / MOST_POINTS)


def test_a_row_that_has_ended_keeps_its_last_values() -> None:
    recorder = Recorder([(0, 0), (1, 0), (2, 0)])
    recorder.record(0, torch.tensor([0, 1, 2]), loss=torch.tensor([1.0, 2.0, 3.0]))
    recorder.record(1, torch.tensor([0, 2]), loss=torch.tensor([10.0, 30.0]))
    recorder.record(2, torch.tensor([2]), loss=torch.tensor([300.0]))
    traces = recorder.traces()
    assert traces is not None
    assert traces.series["loss"].tolist() == [[1.0, 10.0, 10.0], [2.0, 2.0, 2.0], [3.0, 30.0, 300.0]]


def test_parts_of_different_length_are_joined_on_the_steps_of_all() -> None:
    def part(label: int, steps: list[int]) -> Traces:
        loss = np.array([steps], dtype=np.float32)
        return Traces(np.array(steps), {"loss": loss}, np.array([label]), np.array([0]))

    joined = Traces.joined([part(0, [0, 2, 3]), None, part(1, [0, 4, 8])])
    assert joined is not None and joined.labels.tolist() == [0, 1] and joined.steps.tolist() == [0, 2, 3, 4, 8]
    assert joined.series["loss"].tolist() == [[0, 2, 3, 3, 3], [0, 0, 0, 4, 8]]
    assert Traces.joined([None]) is None
