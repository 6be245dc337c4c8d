"""Writes down a search as it goes: reads what is computed anyway, draws nothing and asks nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from midef.core.in_step import in_step
from midef.core.traces import MOST_POINTS, SERIES, Traces, thinned

if TYPE_CHECKING:
    from midef.nn.network import Forward


class Recorder:
    """Keeps series of a search at thinned steps.

    Args:
        rows: (label, restart) of each.
        length: steps of the search, numbered from `first`. None where rows end when they like: every step is then
            offered to it, and it keeps every second, fourth and so on as the search goes on.
        first: number of the first step.
    """

    def __init__(self, rows: Sequence[tuple[int, int]], length: int | None = None, *, first: int = 0) -> None:
        self._rows = rows
        self._wanted = None if length is None else frozenset(first + i for i in thinned(length))
        self._points: list[tuple[int, dict[str, Tensor]]] = []
        self._now: dict[str, Tensor] = {}
        self._gathered: dict[str, list[Tensor]] = {}
        self._step = first
        self._stride = 1

    def wants(self, step: int) -> bool:
        """True if this step has to be recorded."""
        return self._wanted is None or step in self._wanted

    @in_step
    def gather(self, **series: Tensor) -> None:
        """Take values [N] of a step to be averaged into the next point: views are drawn anew in each step, and a mean
        over all steps tells a trend from that noise where one step of several cannot."""
        for name, values in series.items():
            self._gathered.setdefault(name, []).append(values.detach().float())

    def gathered(self) -> dict[str, Tensor]:
        """Means of what was gathered since the last point."""
        means = {name: torch.stack(values).mean(dim=0) for name, values in self._gathered.items()}
        self._gathered = {}
        return means

    @in_step
    def record(self, step: int, which: Tensor | None = None, taken: Tensor | None = None, **series: Tensor) -> None:
        """Take down values at a step that is wanted.

        Args:
            step: updates made before.
            which: rows that the values belong to [M]; None for all. The others keep their last values.
            taken: which of these count [M] bool; None for all. The others keep their last values, too.
            series: by name, of `SERIES`, [M] each.
        """
        for name, values in series.items():
            self._now[name] = self._placed(name, values.detach().float(), which, taken)
        self._step = step
        if self._wanted is not None:
            self._points.append((step, dict(self._now)))
        elif step % self._stride == 0:
            self._points.append((step, dict(self._now)))
            if len(self._points) > 2 * MOST_POINTS:  # as many again are left for `thinned` to choose from
                self._stride *= 2
                self._points = [point for point in self._points if point[0] % self._stride == 0]

    def _placed(self, name: str, values: Tensor, which: Tensor | None, taken: Tensor | None) -> Tensor:
        if which is None:
            return values
        before = self._now.get(name)
        placed = values.new_full((len(self._rows),), torch.nan) if before is None else before.clone()
        placed[which] = values if taken is None else torch.where(taken, values, placed[which])
        return placed

    def traces(self) -> Traces | None:
        """What was recorded; None if nothing was."""
        if self._points and self._points[-1][0] != self._step:
            self._points.append((self._step, dict(self._now)))
        points = [self._points[i] for i in thinned(len(self._points))]
        names = [name for name in SERIES if points and all(name in values for _, values in points)]
        if not names:
            return None
        series = {name: torch.stack([values[name] for _, values in points], dim=1).cpu().numpy() for name in names}
        labels, restarts = np.array(self._rows, dtype=np.int64).T
        return Traces(np.array([step for step, _ in points], dtype=np.int64), series, labels, restarts)


class StepRecorder(Recorder):
    """The recorder of a loop of known length, which sees the answers of a step while the step is computed.

    Loss and confidence of a point are means over the steps since the point before, the gradient is that of its step.
    """

    _step_now: int | None = None
    _seen: tuple[Tensor, ...] = ()

    def begin(self, step: int) -> None:
        """A step begins."""
        self._step_now, self._seen = step, ()

    @in_step
    def see(self, answers: Sequence[Forward], labels: Tensor) -> None:
        """Answers of this step to one view of the images; what is asked before the first step does not count.

        Args:
            answers: of the networks whose confidence counts, logits [N * B, K], the B images of a row together.
            labels: [N].
        """
        if self._step_now is not None:
            self._seen += tuple(confidence_of(answer.logits, labels) for answer in answers)

    def hear(self, confidences: Sequence[Tensor]) -> None:
        """Confidences [N] of this step, as `see` would have taken them from the answers."""
        self._seen += tuple(confidences)

    @in_step
    def end(self, loss: Tensor, slopes: Sequence[Tensor]) -> None:
        """Loss [N] and gradients [N, ...] of this step. What was seen is averaged over views and networks."""
        assert self._step_now is not None, "a step that ends has begun"
        seen = {"confidence": torch.stack(self._seen).mean(dim=0)} if self._seen else {}
        self.gather(loss=loss, **seen)
        if self.wants(self._step_now):
            self.record(self._step_now, **self.gathered(), gradient_norm=row_norms(slopes))


@torch.no_grad()
def confidence_of(logits: Tensor, labels: Tensor) -> Tensor:
    """Probability of the label [N], mean over the B images of a row: logits [N * B, K], labels [N]."""
    each = labels.repeat_interleave(len(logits) // len(labels))
    of_label = logits.detach().float().softmax(dim=1).gather(1, each[:, None])
    return of_label.view(len(labels), -1).mean(dim=1)


@torch.no_grad()
def row_norms(slopes: Sequence[Tensor]) -> Tensor:
    """Euclidean norm of each row [N] of gradients [N, ...], taken together."""
    each = [torch.linalg.vector_norm(slope.detach().flatten(1), dim=1).float() for slope in slopes]
    together: Tensor = torch.linalg.vector_norm(torch.stack(each), dim=0)
    return together
