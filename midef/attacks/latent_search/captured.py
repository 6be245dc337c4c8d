"""A step of a latent search as a function of tensors alone, which a GPU records once and repeats by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from midef.attacks.latent_search.recording import confidence_of
from midef.attacks.latent_search.rows import Networks, Rows
from midef.core.in_step import in_step

if TYPE_CHECKING:
    from midef.attacks.base import Task
    from midef.attacks.latent_search.streams import RowStreams
    from midef.attacks.latent_search.template import LatentSearch
    from midef.attacks.target_handle import TargetHandle
    from midef.nn.network import Forward

WARM_UP = 3
"""Passes before a GPU records: libraries choose their kernels and allocate in the first ones."""


class Outcome(NamedTuple):
    """What a step computes.

    Args:
        loss: [N].
        slopes: of the searched values.
        confidences: [N] each, in the order in which answers were seen.
    """

    loss: Tensor
    slopes: tuple[Tensor, ...]
    confidences: tuple[Tensor, ...]


class GivenNoise:
    """Stands for the streams of the rows in a step whose numbers were drawn before it."""

    def __init__(self, draws: Sequence[Tensor], rows: int) -> None:
        self._draws, self._rows, self._next = draws, rows, 0

    def __len__(self) -> int:
        return self._rows

    def normal(self, *shape: int) -> Tensor:
        """The next numbers, as given."""
        return self._given()

    def uniform(self, *shape: int) -> Tensor:
        """The next numbers, as given."""
        return self._given()

    def _given(self) -> Tensor:
        self._next += 1
        return self._draws[self._next - 1]


class ListedNoise:
    """The streams of the rows, whose draws are listed: law and shape of each, in their order."""

    def __init__(self, streams: RowStreams) -> None:
        self._streams = streams
        self.listed: list[tuple[str, tuple[int, ...]]] = []

    def __len__(self) -> int:
        return len(self._streams)

    def normal(self, *shape: int) -> Tensor:
        """The next standard normal numbers of the streams."""
        self.listed.append(("normal", shape))
        return self._streams.normal(*shape)

    def uniform(self, *shape: int) -> Tensor:
        """The next uniform numbers of the streams."""
        self.listed.append(("uniform", shape))
        return self._streams.uniform(*shape)


class Seen:
    """Stands for the recorder of the rows: keeps the confidences of a step as tensors."""

    def __init__(self) -> None:
        self.confidences: list[Tensor] = []

    def see(self, answers: Sequence[Forward], labels: Tensor) -> None:
        """As `StepRecorder.see`."""
        for answer in answers:
            self.confidences.append(confidence_of(answer.logits, labels))


class CapturedStep:
    """The steps of one stage on rows that stay the same.

    The first step runs as usual and tells what it draws. From then on the numbers are drawn before a step, which is a
    function of them and of the searched values: on a GPU a CUDA graph of the same kernels, recorded once and repeated
    by one call, elsewhere the function itself. Searched values must be changed in place only.
    """

    def __init__(self, attack: LatentSearch, handle: TargetHandle, networks: Networks, rows: Rows, task: Task) -> None:
        self._attack, self._handle, self._networks, self._rows, self._task = attack, handle, networks, rows, task
        self._listed: list[tuple[str, tuple[int, ...]]] | None = None
        self._asked = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._draws: list[Tensor] = []
        self._repeated: Outcome | None = None

    @in_step
    def __call__(self, searched: list[Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Loss [N] and slopes of the next step; the recorder of the rows hears its confidences."""
        outcome = self._first(searched) if self._listed is None else self._later(searched, self._listed)
        assert self._rows.recorder is not None, "the rows of a search are recorded"
        self._rows.recorder.hear(outcome.confidences)
        return outcome.loss, outcome.slopes

    def function(self, searched: list[Tensor], draws: Sequence[Tensor]) -> Outcome:
        """A step, of the searched values and of the numbers it draws."""
        return self._made(searched, GivenNoise(draws, len(self._rows.seeds)))

    def _made(self, searched: list[Tensor], noise: GivenNoise | ListedNoise) -> Outcome:
        seen = Seen()
        rows = replace(self._rows, noise=noise, recorder=seen)  # type: ignore[arg-type]
        with self._attack.autocast(self._task):
            loss = self._attack.step_loss(self._handle, self._networks, searched, rows)
        slopes = torch.autograd.grad(loss.sum(), searched)
        return Outcome(loss.detach(), slopes, tuple(seen.confidences))

    def _first(self, searched: list[Tensor]) -> Outcome:
        noise, before = ListedNoise(self._rows.noise), self._handle.queries
        outcome = self._made(searched, noise)
        self._listed, self._asked = noise.listed, self._handle.queries - before
        return outcome

    def _later(self, searched: list[Tensor], listed: Sequence[tuple[str, tuple[int, ...]]]) -> Outcome:
        draws = [getattr(self._rows.noise, law)(*shape) for law, shape in listed]
        if searched[0].device.type != "cuda":
            return self.function(searched, draws)
        if self._graph is None:
            self._record(searched, draws)
        for kept, drawn in zip(self._draws, draws, strict=True):
            kept.copy_(drawn, non_blocking=True)
        assert self._graph is not None and self._repeated is not None
        self._graph.replay()
        self._handle.queries += self._asked
        # the next replay writes over these, and the recorder keeps them
        loss, confidences = self._repeated.loss.clone(), tuple(one.clone() for one in self._repeated.confidences)
        return Outcome(loss, self._repeated.slopes, confidences)

    def _record(self, searched: list[Tensor], draws: Sequence[Tensor]) -> None:  # waits: once in a stage
        """Record the kernels of a step, which makes none: it changes nothing, and its questions do not count."""
        before = self._handle.queries
        self._draws = [drawn.clone() for drawn in draws]
        aside, now = torch.cuda.Stream(searched[0].device), torch.cuda.current_stream(searched[0].device)
        aside.wait_stream(now)
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                self.function(searched, self._draws)
        now.wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._repeated = self.function(searched, self._draws)
        self._handle.queries = before
