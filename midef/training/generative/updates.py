"""One update of a network, a loss's gradient and a step of the optimizer, as a call that a GPU can replay.

A captured update was not run on a GPU yet: what is tested, on a CPU, is that a replay of the same static tensors gives
what plain calls give. Source of the steps of a capture: PyTorch's notes on CUDA graphs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from midef.core.in_step import in_step
from midef.core.lazy import torch
from midef.training.numerics import Precision, around_networks

if TYPE_CHECKING:
    from torch import Generator, Tensor

LossOf = Callable[..., "tuple[Tensor, ...]"]
"""Of tensors of the same shapes in every call: the loss, a scalar, and what else is to be known of it."""
Capture = Callable[[Callable[[], None], "Generator | None"], Callable[[], None]]
"""Takes work on fixed memory, and the stream it draws from; gives a call that does the work once more."""
WARM_UP = 3
"""Plain updates before one is captured: libraries choose their kernels and set up in the first."""


class Update:
    """Steps an optimizer down the gradient of a loss; each call gives the values of the loss function, detached.

    Args:
        optimizer: whose weights move.
        loss: see `LossOf`. What it draws, it draws from `draws_from`; it reads no number and keeps nothing.
        precision: of the networks in the loss.
        capture: records an update; None makes every one anew.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        loss: LossOf,
        *,
        device: str,
        precision: Precision = "float32",
        draws_from: Generator | None = None,
        capture: Capture | None = None,
    ) -> None:
        self._optimizer = optimizer
        self._loss = loss
        self._device = device
        self._precision = precision
        self._draws_from = draws_from
        self._capture = capture
        self._plain: dict[tuple[torch.Size, ...], int] = {}
        self._recorded: dict[tuple[torch.Size, ...], _Recorded] = {}

    @in_step
    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        shapes = tuple(value.shape for value in inputs)
        values = self.gradient(*inputs) if self._capture is None else self._replayed(shapes, inputs)
        self._optimizer.step()
        return values

    def gradient(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Put the gradient of the loss into the weights; returns the values."""
        self._optimizer.zero_grad(set_to_none=True)
        with around_networks(self._precision, self._device):
            values = self._loss(*inputs)
        values[0].backward()
        return tuple(value.detach() for value in values)

    def forget(self) -> None:
        """Capture anew: something that the loss function depends on has changed, such as the mode of a network."""
        self._plain, self._recorded = {}, {}

    def weights(self) -> list[Tensor]:
        """What the optimizer moves."""
        return [weight for group in self._optimizer.param_groups for weight in group["params"]]

    def _replayed(self, shapes: tuple[torch.Size, ...], inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        assert self._capture is not None
        if self._plain.setdefault(shapes, 0) < WARM_UP:
            self._plain[shapes] += 1
            return _beside(self._device, lambda: self.gradient(*inputs))
        if shapes not in self._recorded:
            self._recorded[shapes] = _Recorded(self, inputs, self._capture, self._draws_from)
        return self._recorded[shapes](*inputs)


class _Recorded:
    """The gradient of an update on fixed memory: inputs, values and gradients lie in the same place every time."""

    def __init__(
        self, update: Update, inputs: tuple[Tensor, ...], capture: Capture, draws_from: Generator | None
    ) -> None:
        self._update = update
        self._inputs = [value.clone() for value in inputs]
        self._values: tuple[Tensor, ...] = ()
        self._slopes: list[Tensor | None] = []
        self._replay = capture(self._work, draws_from)

    def _work(self) -> None:
        self._values = self._update.gradient(*self._inputs)
        self._slopes = [weight.grad for weight in self._update.weights()]

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        for own, given in zip(self._inputs, inputs, strict=True):
            own.copy_(given)
        self._replay()
        for weight, slope in zip(self._update.weights(), self._slopes, strict=True):
            weight.grad = slope  # another recorded update of the same weights has put its own there
        return tuple(value.clone() for value in self._values)  # the next replay writes over them


def captured_on_gpu(work: Callable[[], None], draws_from: Generator | None) -> Callable[[], None]:
    """Work recorded as a CUDA graph; recording does not do it. The stream goes on from replay to replay."""
    graph = torch.cuda.CUDAGraph()
    if draws_from is not None:
        graph.register_generator_state(draws_from)
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        work()
    return graph.replay


def _beside(device: str, work: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """Work on a stream of its own, as a capture asks of the calls before it: nothing of theirs is tied to the usual."""
    if torch.device(device).type != "cuda":
        return work()
    usual, other = torch.cuda.current_stream(), torch.cuda.Stream()
    other.wait_stream(usual)
    with torch.cuda.stream(other):
        values = work()
    usual.wait_stream(other)
    return values
