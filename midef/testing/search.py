"""A task of chosen identities, and one search for tests of an attack."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from midef.attacks import Attack, Reconstructions
from midef.attacks.base import Task
from midef.attacks.target_handle import TargetHandle
from midef.core import Inputs
from midef.defenses import Defense
from midef.nn.network import TargetModel


def task_of(labels: Sequence[int], restarts: int = 1, *, seed: int = 7, resolution_px: int = 32) -> Task:
    """Rows of a search on the CPU, those of one identity in a row.

    Args:
        labels: identities that are searched for.
        restarts: rows of each.
        seed: of the attack.
        resolution_px: of the target's images.
    """
    pairs = [(label, restart) for label in labels for restart in range(restarts)]
    of_labels, of_restarts = torch.tensor(pairs).T
    return Task(of_labels, of_restarts, resolution_px, seed, "cpu")


def search(attack: Attack, target: TargetModel, inputs: Inputs, task: Task) -> tuple[Reconstructions, int]:
    """What an attack finds on an undefended target, and how many images it asked about."""
    handle = TargetHandle(target, Defense(), attack.access)
    return attack.reconstruct(handle, inputs, task), handle.queries
