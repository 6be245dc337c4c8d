"""Resources of a node: CPUs, memory, GPUs."""

from __future__ import annotations

from midef.sweep.spec.profiles import Profile

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
