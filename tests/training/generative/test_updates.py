"""Updates, plain and captured. A CUDA graph is stood in for by a record of every operation on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from midef.training.generative import updates
from midef.training.generative.loop import TrainingRun
from midef.training.generative.updates import Update
from tests.training.generative.recorded import recorded


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 1))


def rows(number: int, count: int = 6) -> Tensor:
    return torch.randn(count, 4, generator=torch.Generator().manual_seed(100 + number))


def trained(calls: int, *, capture: Any, counts: tuple[int, ...] = (6,)) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Weights after so many updates that draw noise, and what the updates gave."""
    net, rng = network(), torch.Generator().manual_seed(3)
    adam = torch.optim.Adam(net.parameters(), lr=0.05)

    def loss(x: Tensor) -> tuple[Tensor, ...]:
        noise = torch.randn(x.shape, generator=rng)
        answers = net(x + noise)
        return answers.square().mean(), answers.mean()

    update = Update(adam, loss, device="cpu", draws_from=rng, capture=capture)
    given = [value for n in range(calls) for value in update(rows(n, counts[n % len(counts)]))]
    return net.state_dict(), given


def assert_equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("counts", [(6,), (6, 6, 4)], ids=["one shape", "two shapes"])
def test_replays_give_what_plain_updates_give(counts: tuple[int, ...]) -> None:
    plain, values = trained(14, capture=None, counts=counts)
    again, replayed = trained(14, capture=recorded, counts=counts)
    assert_equal(plain, again)
    assert all(map(torch.equal, values, replayed)), "and values of earlier calls are not written over"


def test_the_first_updates_are_plain_and_then_one_is_captured_for_each_shape() -> None:
    captured: list[None] = []

    def counting(work: Callable[[], None], rng: Generator | None) -> Callable[[], None]:
        captured.append(None)
        return recorded(work, rng)

    trained(updates.WARM_UP, capture=counting)
    assert not captured
    trained(20, capture=counting, counts=(6, 4))
    assert len(captured) == 2


def test_a_replay_has_the_numbers_of_its_capture() -> None:
    """What this file stands on: a Python number that changes from call to call would be missed by the graph."""
    weight, number = torch.zeros(1, requires_grad=True), [1.0]
    sgd = torch.optim.SGD([weight], lr=1.0)
    update = Update(sgd, lambda: (weight.sum() * number[0],), device="cpu", capture=recorded)
    for _ in range(updates.WARM_UP + 1):
        update()
    before = weight.item()
    number[0] = 5.0
    update()
    assert weight.item() == before - 1.0
    update.forget()
    update()
    assert weight.item() == before - 6.0


def test_two_captured_updates_of_the_same_weights_keep_their_own_gradients() -> None:
    def run(capture: Any) -> dict[str, Tensor]:
        net = network()
        adam = torch.optim.Adam(net.parameters(), lr=0.05)
        one = Update(adam, lambda x: (net(x).square().mean(),), device="cpu", capture=capture)
        other = Update(adam, lambda x: (F.softplus(net(x)).sum(),), device="cpu", capture=capture)
        for n in range(18):
            (one if n % 3 else other)(rows(n))
        return net.state_dict()

    assert_equal(run(None), run(recorded))


def test_slopes_of_slopes_are_replayed() -> None:
    def run(capture: Any) -> dict[str, Tensor]:
        torch.manual_seed(2)
        net = nn.Sequential(nn.Linear(4, 8), nn.Softplus(), nn.Linear(8, 1))
        adam = torch.optim.Adam(net.parameters(), lr=0.05)

        def penalty(x: Tensor) -> tuple[Tensor, ...]:
            inside = x.clone().requires_grad_()
            (slope,) = torch.autograd.grad(net(inside).sum(), inside, create_graph=True)
            return ((slope.norm(dim=1) - 1).square().mean(),)

        update = Update(adam, penalty, device="cpu", capture=capture)
        for n in range(8):
            update(rows(n))
        return net.state_dict()

    assert_equal(run(None), run(recorded))


def test_at_half_precision_networks_round_and_losses_do_not() -> None:
    net, seen = network(), []

    def loss(x: Tensor) -> tuple[Tensor, ...]:
        answers = net(x)
        seen.append(answers.dtype)
        return (answers.float().square().mean(),)

    adam = torch.optim.Adam(net.parameters(), lr=0.05)
    (value,) = Update(adam, loss, device="cpu", precision="bfloat16")(rows(0))
    assert seen == [torch.bfloat16] and value.dtype == torch.float32
    exact = network()(rows(0)).square().mean()
    assert value.item() != exact.item() and value.item() == pytest.approx(exact.item(), rel=0.05)
    assert {p.dtype for p in net.parameters()} == {torch.float32}


def test_tf32_lasts_for_the_steps_of_a_training() -> None:
    assert torch.get_float32_matmul_precision() == "highest"
    seen = []

    def step(number: int) -> dict[str, Tensor]:
        seen.append(torch.get_float32_matmul_precision())
        return {"loss": torch.zeros(())}

    TrainingRun(seed=0, precision="tf32").steps(2, step)
    TrainingRun(seed=0).steps(1, step)
    assert seen == ["high", "high", "highest"] and torch.get_float32_matmul_precision() == "highest"


def test_on_a_cpu_captured_changes_nothing() -> None:
    run, net = TrainingRun(seed=0, captured=True), network()
    adam = run.optimizer(torch.optim.Adam, net, lr=0.05)
    assert not adam.defaults["fused"] and run.update(adam, lambda: ())._capture is None


class Operations(TorchDispatchMode):
    """Names of what is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(func.__name__)
        return func(*args, **(kwargs or {}))


def test_the_record_writes_where_the_first_pass_wrote() -> None:
    source, made = torch.zeros(3), []

    def work() -> None:
        made.append((source + 1).relu())

    replay = recorded(work, None)
    replay()
    source.copy_(torch.tensor([1.0, -5.0, 2.0]))
    replay()
    assert len(tree_leaves(made)) == 1 and made[0].tolist() == [2.0, 0.0, 3.0]
