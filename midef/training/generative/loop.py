"""The loop that trains every prior: steps, shuffled passes over public images, progress, mean losses, divergence.

What a network changes is its step: a function of the step's number that moves the weights and returns its losses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from midef.core.in_step import in_step
from midef.core.lazy import torch
from midef.core.position import steps
from midef.core.seeds import derive_seed
from midef.training.finite import check_answers, check_losses, check_weights, in_eval
from midef.training.generative.updates import LossOf, Update, captured_on_gpu
from midef.training.numerics import Precision, products

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

Report = Callable[[dict[str, Any]], None]
Losses = Mapping[str, "Tensor"]
PROBED = 16
"""Inputs of a probe."""
Probe = Callable[[], tuple["Tensor", ...]]
"""What the trained networks answer to a few inputs, rows first; called once after the last step, in eval mode."""


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """Seed, device and progress report of one training.

    Args:
        report: called at every twentieth of the training with its position; None where nobody listens.
        precision, captured: see `SpeedSettings`.
    """

    seed: int
    device: str = "cpu"
    report: Report | None = None
    precision: Precision = "float32"
    captured: bool = False
    _networks: list[nn.Module] = field(default_factory=list, init=False, repr=False, compare=False)

    def steps(self, count: int, step: Callable[[int], Losses], *, probe: Probe | None = None) -> dict[str, float]:
        """Call step(0) to step(count - 1).

        Returns:
            The mean of each loss over the last tenth of the steps.

        Raises:
            TrainingDiverged: if a loss, or after the last step a weight or what `probe` returns, is not finite.
        """
        return self._loop(count, step, probe, "step", averaged=max(1, count // 10))

    def epochs(self, count: int, epoch: Callable[[int], Losses], *, probe: Probe | None = None) -> dict[str, float]:
        """Call epoch(0) to epoch(count - 1).

        Returns:
            The losses of the last epoch.

        Raises:
            TrainingDiverged: if a loss, or after the last step a weight or what `probe` returns, is not finite.
        """
        return self._loop(count, epoch, probe, "epoch", averaged=1)

    def _loop(
        self, count: int, step: Callable[[int], Losses], probe: Probe | None, unit: str, *, averaged: int
    ) -> dict[str, float]:
        means: dict[str, Tensor] = {}
        for number in steps(range(count)):
            with products(self.precision):
                losses = step(number)
            if number >= count - averaged:
                for name, loss in losses.items():
                    means[name] = means.get(name, 0) + loss.detach() / averaged
            if (number + 1) % max(1, count // 20) == 0:
                where = f"{unit} {number + 1} of {count}"
                check_losses(losses, where)
                if self.report is not None:
                    self.report({unit: number + 1, f"{unit}s": count})
        check_losses(means, f"the last {unit}s")
        self._check_networks(probe)
        return {name: float(mean) for name, mean in means.items()}

    def _check_networks(self, probe: Probe | None) -> None:
        for network in self._networks:
            check_weights(network.state_dict())
        if probe is not None:
            with in_eval(*self._networks):
                check_answers(probe(), whose=", ".join(type(network).__name__ for network in self._networks))

    @property
    def _captures(self) -> bool:
        return self.captured and torch.device(self.device).type == "cuda"

    def optimizer(
        self, kind: type[torch.optim.Optimizer], network: nn.Module, **settings: Any
    ) -> torch.optim.Optimizer:
        """An optimizer of all weights of a network on the device, with these settings; fused where steps are captured.

        Args:
            kind: such as `torch.optim.Adam`.
        """
        fused: dict[str, Any] = {"fused": True} if self._captures else {}
        return kind(network.parameters(), **settings, **fused)

    def plain_update(self, optimizer: torch.optim.Optimizer, loss: LossOf) -> Update:
        """An `update` that is never captured, for a loss with something that the host counts."""
        return Update(optimizer, loss, device=self.device, precision=self.precision)

    def update(self, optimizer: torch.optim.Optimizer, loss: LossOf, draws_from: Generator | None = None) -> Update:
        """The update of these weights down a loss, at this precision, captured where that is asked for.

        Args:
            loss: of tensors, whatever their number: the loss, and what else a step tells of it.
            draws_from: the stream that the loss draws from, if it does.
        """
        return Update(
            optimizer,
            loss,
            device=self.device,
            precision=self.precision,
            draws_from=draws_from,
            capture=captured_on_gpu if self._captures else None,
        )

    def stream(self, *purpose: str | int) -> Generator:
        """Random numbers for one purpose, drawn on the device."""
        return torch.Generator(self.device).manual_seed(derive_seed(self.seed, *purpose))

    @contextmanager
    def seeded_layers(self) -> Iterator[None]:
        """Seed the global generator, for layers that draw while they compute (stochastic depth); restore it after."""
        with torch.random.fork_rng(devices=[] if self.device == "cpu" else [self.device]):
            torch.manual_seed(derive_seed(self.seed, "noise"))
            yield

    def prepare_(self, *networks: nn.Module) -> None:
        """Put networks on the device, channels last, in train mode; their weights are checked after the last step."""
        for network in networks:
            network.to(self.device).to(memory_format=torch.channels_last).train()
        self.watch(*networks)

    def watch(self, *networks: nn.Module) -> None:
        """Check the weights of these networks after the last step."""
        self._networks.extend(networks)


class ShuffledPasses:
    """Batches of positions from shuffled passes, one pass after the other; every batch is full.

    Args:
        count: positions in a pass.
        rng: shuffles; positions are on its device.
    """

    def __init__(self, count: int, batch_size: int, rng: Generator) -> None:
        self._count = count
        self._batch_size = batch_size
        self._rng = rng
        self._waiting = torch.empty(0, dtype=torch.long, device=rng.device)

    @in_step
    def next(self) -> Tensor:
        """Positions [batch_size]."""
        while len(self._waiting) < self._batch_size:
            self._waiting = torch.cat([self._waiting, shuffled(self._count, self._rng)])
        batch, self._waiting = self._waiting[: self._batch_size], self._waiting[self._batch_size :]
        return batch


def shuffled(count: int, rng: Generator) -> Tensor:
    """The numbers 0 to count - 1 in random order."""
    return torch.randperm(count, generator=rng, device=rng.device)


@in_step
def descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step down the gradient of this loss."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """While this lasts, gradients pass through the network and none reach its weights."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)
