"""Distillation: its loss by hand, cached answers against a teacher asked in every step, and that a student learns."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from midef.core import derive_seed
from midef.training.generative.distill import StudentSettings, distillation_loss, fit_student
from midef.training.generative.loop import TrainingRun

CLASSES, PX = 4, 8
SETTINGS = StudentSettings(temperature=1.0, epochs=3, batch_size=8, learning_rate=0.05, momentum=0.9, weight_decay=1e-2)
RUN = TrainingRun(seed=3)


def softmax(row: list[float], temperature: float) -> list[float]:
    powers = [math.exp(value / temperature) for value in row]
    return [power / sum(powers) for power in powers]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_loss_equals_the_formula_by_loops(temperature: float) -> None:
    rng = torch.Generator().manual_seed(0)
    taught, teacher = 3 * torch.randn(2, 5, CLASSES, generator=rng)
    total = 0.0
    for mine, theirs in zip(taught.tolist(), teacher.tolist(), strict=True):
        p, q = softmax(theirs, temperature), softmax(mine, temperature)
        total += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    expected = total / (temperature**2 * 5)
    assert distillation_loss(taught, teacher, temperature=temperature).item() == pytest.approx(expected, rel=1e-5)


def test_the_loss_is_zero_where_both_answer_the_same() -> None:
    teacher = torch.randn(6, CLASSES, generator=torch.Generator().manual_seed(1))
    assert distillation_loss(teacher + 7, teacher, temperature=2.0).item() == pytest.approx(0, abs=1e-6)
    assert distillation_loss(-teacher, teacher, temperature=2.0).item() > 0.01


def test_its_slope_is_the_difference_of_the_answers() -> None:
    rng = torch.Generator().manual_seed(2)
    taught, teacher = torch.randn(2, 5, CLASSES, generator=rng)
    taught.requires_grad_(True)
    (slope,) = torch.autograd.grad(distillation_loss(taught, teacher, temperature=1.0), taught)
    assert torch.allclose(slope, (taught.softmax(1) - teacher.softmax(1)) / 5, atol=1e-6)


def images(count: int = 20) -> Tensor:
    return torch.randint(0, 256, (count, 3, PX, PX), generator=torch.Generator().manual_seed(4), dtype=torch.uint8)


def student(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    see = [nn.Conv2d(3, 6, 3, stride=2), nn.BatchNorm2d(6), nn.ReLU()]
    return nn.Sequential(*see, nn.Flatten(), nn.Dropout(0.2), nn.Linear(54, CLASSES))


def kernels(network: nn.Sequential) -> Tensor:
    return next(network.parameters()).detach()


def teacher() -> nn.Module:
    torch.manual_seed(9)
    linear = nn.Linear(3 * PX**2, CLASSES)
    with torch.no_grad():
        linear.weight.mul_(10)
    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(3 * PX**2, momentum=None), linear).eval()


def answers(data: Tensor) -> Tensor:
    with torch.no_grad():
        logits: Tensor = teacher()(data.float() / 255)
    return logits


def test_answers_of_before_train_the_same_student_as_a_teacher_asked_in_each_step() -> None:
    data, teaches, by_hand, fitted = images(), teacher(), student(), student()
    sgd = torch.optim.SGD(by_hand.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-2)
    losses: list[float] = []
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(3, "noise"))
        for epoch in range(3):
            order = torch.randperm(20, generator=torch.Generator().manual_seed(derive_seed(3, "distill", epoch)))
            losses = []
            for start in (0, 8):  # 20 images, batches of 8: the last four wait for another epoch
                shown = data[order[start : start + 8]].float() / 255
                with torch.no_grad():
                    told = F.softmax(teaches(shown), dim=1)
                loss = F.kl_div(F.log_softmax(by_hand(shown), dim=1), told, reduction="sum") / 8
                sgd.zero_grad()
                loss.backward()
                sgd.step()
                losses.append(loss.item())
    found = fit_student(fitted, data, answers(data), SETTINGS, RUN)
    for mine, wanted in zip(fitted.state_dict().values(), by_hand.state_dict().values(), strict=True):
        assert torch.allclose(mine, wanted, atol=1e-5)
    assert not torch.allclose(kernels(fitted), kernels(student()), atol=1e-3)
    assert found["loss"] == pytest.approx(sum(losses) / 2, rel=1e-4)


def test_it_learns_what_the_teacher_names() -> None:
    data = images(64)
    few = fit_student(student(), data, answers(data), replace(SETTINGS, epochs=1), RUN)
    many = fit_student(student(), data, answers(data), replace(SETTINGS, epochs=40), RUN)
    assert many["loss"] < 0.3 * few["loss"]
    assert few["agreement"] < 0.7 < 0.9 < many["agreement"] <= 1


@pytest.mark.parametrize(("count", "sizes"), [(20, [8, 8]), (5, [5]), (16, [8, 8])], ids=str)
def test_an_incomplete_batch_is_dropped_unless_it_is_the_only_one(count: int, sizes: list[int]) -> None:
    network, seen = student(), []

    def note(module: nn.Module, given: tuple[Tensor], answer: Tensor) -> None:
        if module.training:  # else what is checked after the last step
            seen.append(len(given[0]))

    network.register_forward_hook(note)
    data = images(count)
    fit_student(network, data, answers(data), replace(SETTINGS, epochs=1), RUN)
    assert seen == sizes


def test_it_repeats_whatever_the_global_generator_does_and_leaves_it_alone() -> None:
    data, found = images(), []
    told = answers(data)
    for state in (11, 22):
        network = student()
        torch.manual_seed(state)
        before = torch.get_rng_state()
        fit_student(network, data, told, SETTINGS, RUN)
        assert torch.equal(torch.get_rng_state(), before)
        found.append(kernels(network))
    other = student()
    fit_student(other, data, told, SETTINGS, TrainingRun(seed=4))
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], kernels(other))
