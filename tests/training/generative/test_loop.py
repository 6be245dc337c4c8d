"""The loop of generative training: what it averages, reports and refuses, and its shuffled passes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn

from midef.core import derive_seed
from midef.core.errors import TrainingDiverged
from midef.training.generative.loop import Losses, ShuffledPasses, TrainingRun, descend, frozen


def counted(number: int) -> Losses:
    return {"loss": torch.tensor(float(number)), "other": torch.tensor(2.0)}


@pytest.mark.parametrize(("count", "last"), [(1, [0]), (9, [8]), (25, [23, 24]), (100, list(range(90, 100)))], ids=str)
def test_steps_give_the_mean_losses_of_the_last_tenth(count: int, last: list[int]) -> None:
    assert TrainingRun(seed=0).steps(count, counted) == pytest.approx({"loss": sum(last) / len(last), "other": 2})


def test_epochs_give_the_losses_of_the_last_one() -> None:
    assert TrainingRun(seed=0).epochs(40, counted) == {"loss": 39, "other": 2}


@pytest.mark.parametrize(("count", "times", "first"), [(3, 3, 1), (40, 20, 2), (1000, 20, 50)])
def test_progress_is_reported_at_every_twentieth(count: int, times: int, first: int) -> None:
    told: list[dict[str, Any]] = []
    run = TrainingRun(seed=0, report=told.append)
    run.steps(count, counted)
    assert len(told) == times
    assert told[0] == {"step": first, "steps": count} and told[-1] == {"step": count, "steps": count}
    run.epochs(count, counted)
    assert told[-1] == {"epoch": count, "epochs": count}


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_the_training_at_the_next_report(bad: float) -> None:
    told: list[dict[str, Any]] = []

    def step(number: int) -> Losses:
        return {"fine": torch.tensor(1.0), "critic_loss": torch.tensor(bad if number >= 7 else 1.0)}

    message = f"the critic loss became {bad} in step 10 of 100; lower learning_rate"
    with pytest.raises(TrainingDiverged, match=message):
        TrainingRun(seed=0, report=told.append).steps(100, step)
    assert [fact["step"] for fact in told] == [5]


def test_what_the_last_step_ruins_is_seen() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))

    def step(number: int) -> Losses:
        if number == 4:
            network[1].weight.data.fill_(ruin)  # type: ignore[operator]
        return {"loss": torch.tensor(1.0)}

    def probe() -> tuple[Tensor, ...]:
        return torch.ones(3, 2), network(torch.full((3, 2), 1e38))

    run = TrainingRun(seed=0)
    run.prepare_(network)
    ruin = float("nan")
    with pytest.raises(TrainingDiverged, match=r"after the last step 1\.weight holds numbers that are not finite"):
        run.steps(5, step)
    ruin = 1e38
    assert run.steps(5, step) == {"loss": 1}, "the weights are numbers"
    with pytest.raises(TrainingDiverged, match="after the last step 3 of 3 answers of Sequential are not finite"):
        run.epochs(5, step, probe=probe)


def test_a_probe_sees_eval_mode_and_leaves_every_module_as_it_was() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    run = TrainingRun(seed=0)
    run.prepare_(network)
    network[1].eval()

    def probe() -> tuple[Tensor, ...]:
        assert not any(module.training for module in network.modules())
        return (network(torch.rand(1, 2)),)

    run.steps(1, counted, probe=probe)
    assert [module.training for module in network.modules()] == [True, True, False]


def test_a_loss_that_is_not_finite_between_the_last_reports_is_seen_in_the_mean() -> None:
    def step(number: int) -> Losses:
        return {"loss": torch.tensor(float("nan") if number == 58 else 1.0)}

    with pytest.raises(TrainingDiverged, match="the loss became nan in the last steps"):
        TrainingRun(seed=0).steps(59, step)  # the last report is after 58


def test_losses_need_no_graph_of_every_step() -> None:
    weight = torch.ones(3, requires_grad=True)
    assert TrainingRun(seed=0).steps(20, lambda number: {"loss": weight.sum() * number}) == {"loss": 3 * 18.5}


def test_a_stream_belongs_to_its_purpose() -> None:
    run = TrainingRun(seed=5)
    draws = torch.rand(3, generator=run.stream("distill", 2))
    assert torch.equal(draws, torch.rand(3, generator=Generator().manual_seed(derive_seed(5, "distill", 2))))
    assert not torch.equal(draws, torch.rand(3, generator=run.stream("distill", 3)))


def test_layers_that_draw_are_seeded_and_the_global_generator_is_left_alone() -> None:
    drawn = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        with TrainingRun(seed=0).seeded_layers():
            drawn.append(torch.rand(4))
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(drawn[0], drawn[1])


@pytest.mark.parametrize("batch_size", [1, 3, 5, 12], ids=str)
def test_each_position_comes_once_before_any_comes_again_in_full_batches(batch_size: int) -> None:
    passes = ShuffledPasses(5, batch_size, Generator().manual_seed(0))
    batches = [passes.next() for _ in range(15)]
    assert all(len(batch) == batch_size for batch in batches)
    in_turn = torch.cat(batches)
    whole = [part.tolist() for part in in_turn.split(5) if len(part) == 5]
    assert all(sorted(part) == [0, 1, 2, 3, 4] for part in whole)
    assert len({tuple(part) for part in whole}) > 1, "every pass is shuffled anew"


def test_a_frozen_network_passes_gradients_and_gets_none() -> None:
    network, given = nn.Linear(2, 1), torch.ones(1, 2, requires_grad=True)
    with frozen(network):
        answer = network(given).sum()
    answer.backward()
    assert given.grad is not None and network.weight.grad is None
    assert all(p.requires_grad for p in network.parameters())


def test_to_descend_is_one_step_down_the_gradient_of_this_loss_alone() -> None:
    weight = torch.tensor([2.0], requires_grad=True)
    sgd = torch.optim.SGD([weight], lr=0.1)

    def value() -> Tensor:
        return weight.square().sum()

    value().backward()  # what an earlier loss left behind does not count
    descend(sgd, value())
    assert weight.item() == pytest.approx(2 - 0.1 * 4)
