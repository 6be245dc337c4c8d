"""The loop of a latent search: the steps of all stages, on rows that are searched together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from midef.attacks.latent_search.lowest_loss import LowestLoss
from midef.attacks.latent_search.rows import Networks, Rows, not_finite_rows
from midef.core.in_step import in_step
from midef.core.lazy import torch
from midef.core.position import steps

if TYPE_CHECKING:
    from torch import Tensor

    from midef.attacks.base import Task
    from midef.attacks.latent_search.template import LatentSearch
    from midef.attacks.target_handle import TargetHandle


Step = Callable[[list["Tensor"]], tuple["Tensor", tuple["Tensor", ...]]]
"""Loss [N] and slopes of the searched values."""


class Ended(NamedTuple):
    """Where the search of some rows ended.

    Args:
        searched: values [N, ...] each.
        lost: [N], True for rows that left the numbers on the way.
        stage: the last one.
    """

    searched: list[Tensor]
    lost: Tensor
    stage: int


def run_stages(attack: LatentSearch, handle: TargetHandle, networks: Networks, rows: Rows, task: Task) -> Ended:
    """Make all steps of all stages."""
    lost = torch.zeros(len(rows.labels), dtype=torch.bool, device=task.device)
    searched, done = attack.start(networks, rows), 0
    for stage, count in enumerate(steps(attack.stage_steps, weights=attack.stage_steps)):
        rows = replace(rows, stage=stage)
        if stage:
            with torch.no_grad(), attack.autocast(task):
                searched = attack.next_start(networks, searched, rows)
        searched = [tensor.detach().requires_grad_(True) for tensor in searched]
        if attack.remembers_start:
            rows = replace(rows, begun=[tensor.detach().clone() for tensor in searched])
        lost |= _run_stage(attack, handle, networks, searched, rows, range(done, done + count), task)
        done += count
    return Ended(searched, lost, rows.stage)


def _step_of(attack: LatentSearch, handle: TargetHandle, networks: Networks, rows: Rows, task: Task) -> Step:
    """What computes loss and slopes of a step."""
    if attack.captured:
        from midef.attacks.latent_search.captured import CapturedStep

        return CapturedStep(attack, handle, networks, rows, task)

    @in_step
    def made(searched: list[Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        with attack.autocast(task):
            loss = attack.step_loss(handle, networks, searched, rows)
        return loss, torch.autograd.grad(loss.sum(), searched)

    return made


def _run_stage(
    attack: LatentSearch,
    handle: TargetHandle,
    networks: Networks,
    searched: list[Tensor],
    rows: Rows,
    numbers: range,
    task: Task,
) -> Tensor:
    """Make the steps of these numbers, >= 1, in place; give [N], True for rows that have left the numbers."""
    assert rows.recorder is not None, "the rows of a search are recorded"
    optimizer = attack.optimizer(searched)
    rates = [group["lr"] for group in optimizer.param_groups]
    best = LowestLoss() if attack.keeps_best else None
    made = _step_of(attack, handle, networks, rows, task)
    for step in steps(numbers):  # in step
        rows.recorder.begin(step)
        loss, slopes = made(searched)
        rows.recorder.end(loss, slopes)
        if best is not None:
            best.see(loss, searched)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * attack.rate((step - numbers[0]) / len(numbers))
        for tensor, slope in zip(searched, slopes, strict=True):
            tensor.grad = slope
        optimizer.step()
        if step == numbers[-1]:
            lost = not_finite_rows(searched)  # before a bound makes a number of infinity
        attack.constrain_(searched, rows)
    if best is not None:
        best.restore_(searched)
    return lost
