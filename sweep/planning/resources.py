"""Resources of a node: CPUs, memory, GPUs."""

from __future__ import annotations

from midef.sweep.spec.profiles import Profile

DRIVER_MEMORY = 500 * 2**20
"""Bytes a trial at least reserves that only drives a Ray Train run: no CPU; what it reserves bounds how many run."""


def node_resources(
    kind: str, profile: Profile, *, cluster_gpus: float, driver_memory: float = DRIVER_MEMORY
) -> dict[str, float]:
    """Resources of one node, as Ray names them.

    A target or evaluator that trains through Ray Train reserves memory alone: its workers bring their own resources.
    """
    if trains_on_ray(kind, profile):
        return {"memory": float(int(driver_memory))}
    resources: dict[str, float] = {"CPU": float(profile.cpus)}
    share = profile.gpus.get(kind, 0.0)
    if share and cluster_gpus:
        resources["GPU"] = share
    return resources


def gpus_of(kind: str, profile: Profile) -> float:
    """GPUs that a node of this kind holds where there are any: its own share, or one per process of a training."""
    return float(profile.workers_for(kind) or profile.gpus.get(kind, 0.0))


def trains_on_ray(kind: str, profile: Profile) -> bool:
    """Whether this node's training runs under Ray Train."""
    return profile.workers_for(kind) > 0
