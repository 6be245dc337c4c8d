"""MI-Face: gradient descent on the pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from typing_extensions import override

from midef.attacks.access import AccessLevel
from midef.attacks.base import ATTACKS, Attack, Reconstructions, SmallBudget, Task
from midef.attacks.latent_search.rows import not_finite_rows
from midef.core.lazy import torch
from midef.core.position import steps
from midef.core.seeds import derive_seed
from midef.core.traces import Traces

if TYPE_CHECKING:
    from torch import Tensor

    from midef.attacks.latent_search.recording import Recorder
    from midef.attacks.target_handle import TargetHandle
    from midef.core.recipe import Inputs, Recipe

CHUNK = 256
"""Reconstructions that descend together. Changes memory and speed, not results."""
LOOK = 16
"""Steps between two looks of a GPU's host at which rows are done. Changes speed, not results."""


@ATTACKS.add("mi_face")
@dataclass(frozen=True, kw_only=True)
class MiFace(Attack):
    """Descend the cost 1 - p_y(x) over the pixels x, clipped to [0, 1], from a nearly black image. No prior.

    A sanity baseline: class templates from shallow models, noise from deep ones.

    Args:
        iterations: most steps, >= 1.
        window: steps without progress before it ends, that is, the cost is no smaller than each of the last
            `window` ones.
        threshold: 0 to 1, see below.
        learning_rate: of the descent.
        start_noise: 0 to 1, pixels start uniform in [0, start_noise], drawn for each reconstruction (0 is the
            papers' black image, from which all restarts give the same).
        compat: `paper` ends a row when p_y >= threshold or when there is no progress, and returns its iterate of
            least cost. `art` repeats the Adversarial Robustness Toolbox, whose condition is inverted: a row goes on
            only while the cost is <= threshold or there is no progress, and its last iterate is returned. From a
            start cost above the threshold it ends after one step, so with many classes `art` needs threshold = 1,
            with which it uses up its steps.

    `found` is False where the target labels the result as somebody else. The descent sees the model itself, not the
    answers a defense serves.

    Source: Fredrikson et al., CCS 2015, Algorithm 1; Trusted-AI/adversarial-robustness-toolbox@23539e2c (mi_face.py)
    for the window, which cannot end a row before it is full.
    We differ: no auxiliary cost and no denoising step, which belong to the paper's autoencoder; the start carries a
    little noise, so that restarts and seeds differ; the presets switch it off.
    """

    paper: ClassVar[str] = "Fredrikson et al., CCS 2015 (doi 10.1145/2810103.2813677)"
    access: ClassVar[AccessLevel] = AccessLevel.WHITE_BOX
    strength: ClassVar[int] = 1
    records: ClassVar[str] = "loss (the cost), confidence, gradient norm (of the pixels)"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"start_noise": 0.0},
        "art": {"compat": "art", "iterations": 10_000, "start_noise": 0.0},
    }

    iterations: int = 5000
    window: int = 100
    threshold: float = 0.99
    learning_rate: float = 0.1
    start_noise: float = 0.01
    compat: Literal["paper", "art"] = "paper"

    @override
    @classmethod
    def small(cls, budget: SmallBudget) -> Mapping[str, Any]:
        return {"iterations": 2 * budget.search}

    def __post_init__(self) -> None:
        if min(self.iterations, self.window) < 1 or self.learning_rate <= 0:
            raise ValueError("needs iterations >= 1, window >= 1 and learning_rate > 0")
        if not (0 <= self.threshold <= 1 and 0 <= self.start_noise <= 1):
            raise ValueError(f"needs threshold and start_noise in 0 to 1, got {self.threshold}, {self.start_noise}")

    @override
    def requires(self, *, target: Recipe, public: Recipe) -> Mapping[str, Recipe]:
        return {}

    @override
    def reconstruct(self, handle: TargetHandle, inputs: Inputs, task: Task) -> Reconstructions:
        from midef.attacks.latent_search.recording import Recorder

        pairs = list(zip(task.labels.tolist(), task.restarts.tolist(), strict=True))
        parts, traces = [], []
        for i in steps(range(0, len(pairs), CHUNK)):
            part = pairs[i : i + CHUNK]
            labels = torch.tensor([label for label, _ in part], device=task.device)
            recorder = Recorder(part)
            parts.append(self.descend(handle, self._start(part, task), labels, recorder))
            traces.append(recorder.traces())
        images, found = (torch.cat(answers).cpu() for answers in zip(*parts, strict=True))
        return Reconstructions(images, task.labels, task.restarts, found, traces=Traces.joined(traces))

    def _start(self, pairs: Sequence[tuple[int, int]], task: Task) -> Tensor:
        shape = (3, task.resolution_px, task.resolution_px)
        seeds = [derive_seed("mi_face", task.seed, *pair) for pair in pairs]
        drawn = [torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return self.start_noise * torch.stack(drawn).to(task.device)

    def descend(
        self, handle: TargetHandle, images: Tensor, labels: Tensor, recorder: Recorder | None = None
    ) -> tuple[Tensor, Tensor]:
        """Follow the gradient from images [N, 3, H, W]; a row leaves when its own condition says so.

        Args:
            recorder: of these rows.

        Returns:
            the result of each row [N, 3, H, W], NaN where the descent left the numbers, and whether the target labels
            it right [N].
        """
        images, look_each = images.clone(), steps_between_looks(images.device)
        best, found = images.clone(), torch.zeros_like(labels, dtype=torch.bool)
        surest = torch.full(labels.shape, -1.0, device=images.device)
        recent = torch.full((len(labels), self.window), -1.0, device=images.device)
        rows = torch.arange(len(labels), device=images.device)
        alive = torch.ones_like(rows, dtype=torch.bool)  # of the rows that are still asked about
        idle = torch.zeros_like(rows[:1])
        for step in steps(range(self.iterations + 1)):  # in step
            current = images[rows].requires_grad_(True)
            logits = handle.run(current).logits.float()
            sureness = logits.softmax(dim=1).gather(1, labels[rows, None]).squeeze(1)
            seen = sureness.detach()
            improved = alive & (seen > surest[rows]) if self.compat == "paper" else alive
            surest[rows] = torch.where(improved, seen, surest[rows])
            best[rows] = torch.where(improved[:, None, None, None], current.detach(), best[rows])
            found[rows] = torch.where(improved, logits.argmax(dim=1) == labels[rows], found[rows])
            if step == self.iterations:
                _record(recorder, step, rows, alive, seen)
                break
            going = alive
            if step:  # the start ends no row: every row takes one step
                going = alive & self.goes_on(seen, recent[rows])
                recent[rows, (step - 1) % self.window] = seen
            (rise,) = torch.autograd.grad(sureness.sum(), current)
            _record(recorder, step, rows, alive, seen, gradient_norm=rise.flatten(1).norm(dim=1))
            moved = (current.detach() + self.learning_rate * rise).clamp(0, 1)
            images[rows] = torch.where(going[:, None, None, None], moved, current.detach())
            alive = going
            if (step + 1) % look_each:
                idle += (~alive).sum()
                continue
            stay = torch.nonzero(alive).squeeze(1)  # waits: of a GPU once in `LOOK` steps
            rows, alive = rows[stay], alive[stay]
            if not len(rows):
                break
        handle.queries -= int(idle)  # rows that were done and still asked about
        return torch.where(not_finite_rows([images])[:, None, None, None], torch.nan, best), found

    def goes_on(self, sureness: Tensor, recent: Tensor) -> Tensor:
        """Which rows take another step [N], by p_y now [N] and after the steps before [N, window], -1 for none yet.

        In terms of p_y, not of the cost 1 - p_y, which is 1 in float32 for every p_y below 6e-8.
        """
        no_progress = sureness <= recent.amin(dim=1)
        if self.compat == "art":
            return (sureness >= 1 - self.threshold) | no_progress
        return ~((sureness >= self.threshold) | no_progress)


def steps_between_looks(device: torch.device) -> int:
    """How often it is looked which rows are done: on a CPU, where nobody waits, after every step."""
    return 1 if device.type == "cpu" else LOOK


def _record(
    recorder: Recorder | None, step: int, rows: Tensor, alive: Tensor, sureness: Tensor, **series: Tensor
) -> None:
    """Take down the cost and p_y of the rows that still go; the last image of all has no gradient."""
    if recorder is not None:
        recorder.record(step, rows, alive, loss=1 - sureness, confidence=sureness, **series)
