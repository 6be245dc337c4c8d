"""Resources of a node: CPUs, memory, GPUs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from midef.sweep.spec.profiles import Profile

if TYPE_CHECKING:
    from ray.tune import PlacementGroupFactory

DRIVER_MEMORY = 500 * 2**20
"""Bytes that a node at least reserves which only drives a training: no CPU; what it reserves bounds how many run."""


def node_resources(kind: str, profile: Profile, *, cluster_gpus: float) -> dict[str, float]:
    """Resources of a node whose own process does the work, as Ray names them."""
    resources: dict[str, float] = {"CPU": float(profile.cpus)}
    share = profile.gpus.get(kind, 0.0)
    if share and cluster_gpus:
        resources["GPU"] = share
    return resources


def driver_resources(memory: float = DRIVER_MEMORY) -> dict[str, float]:
    """Resources of a node that only drives a training by Ray Train: memory alone, its workers bring their own."""
    return {"memory": float(int(memory))}


def gpus_of(kind: str, profile: Profile) -> float:
    """GPUs that a node of this kind holds where there are any: one per process that is ordered, or its own share."""
    return float(profile.ordered_workers(kind) or profile.gpus.get(kind, 0.0))


@dataclass(frozen=True)
class Placement:
    """Resources of a trial, from the kind of its node and from who does the work.

    Tune pickles this with the function of the trials and unpickles both for every node: it holds nothing but the table.

    Args:
        needs: resources by kind of node whose own process does the work, as Ray names them.
        memory_per_worker: bytes that a node which only drives a training reserves for each of its workers.
        most_memory: bytes that it reserves at most.
    """

    needs: Mapping[str, Mapping[str, float]]
    memory_per_worker: float = DRIVER_MEMORY
    most_memory: float = math.inf

    def __call__(self, config: Mapping[str, Any]) -> PlacementGroupFactory:
        from ray.tune import PlacementGroupFactory

        return PlacementGroupFactory([self.resources(config["kind"], config["train_workers"], config["gpu"])])

    def resources(self, kind: str, workers: int, gpu: float) -> dict[str, float]:
        """Of a node of this kind, or of one that drives a training by so many workers of Ray Train.

        Args:
            gpu: share of a GPU that it holds itself; 0 where there is none.
        """
        if workers:
            return driver_resources(min(workers * self.memory_per_worker, self.most_memory))
        return {name: gpu if name == "GPU" else amount for name, amount in self.needs[kind].items()}
