"""What the Ray of a run has: resources of the cluster, and what nodes take of them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from midef.core.errors import PreflightError
from midef.core.recipe import KINDS
from midef.sweep.execution.outcome import RunOptions
from midef.sweep.planning.card import card_memory_mb
from midef.sweep.planning.resources import DRIVER_MEMORY, Placement, node_resources
from midef.sweep.planning.trainings import Facilities, Trainings
from midef.sweep.spec.profiles import TRAINED, Profile

log = logging.getLogger(__name__)

NO_DASHBOARD = (
    "the cluster has no dashboard, without which workers of a training that is ended keep their CPUs and GPUs"
)
_GPU_KIND = "accelerator_type:"


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Resources of the cluster.

    Args:
        cpus: of all machines.
        gpus: there are, or can be.
        memory: bytes that Ray counts.
        largest_memory: of one machine; 0 if unknown.
        is_joined: it ran before this run.
        gpus_are_alike: all GPUs that can be are there now, of one kind.
        has_dashboard: Ray's dashboard runs, which answers what is alive.
        card_mb: MiB of the smallest GPU of a Ray that was started here; 0 if there is none, or it cannot be told.
    """

    cpus: float
    gpus: float
    memory: float = 0.0
    largest_memory: float = 0.0
    is_joined: bool = False
    gpus_are_alike: bool = True
    has_dashboard: bool = True
    card_mb: float = 0.0

    @classmethod
    def now(cls, options: RunOptions, *, is_joined: bool = False) -> Cluster:
        """The cluster that Ray is connected to."""
        import ray

        has = ray.cluster_resources()
        gpus = max(has.get("GPU", 0.0), float(options.gpus or 0))
        machines = [node["Resources"] for node in ray.nodes() if node["Alive"]] if ray.is_initialized() else []
        return cls(
            cpus=has.get("CPU", 1.0),
            gpus=gpus,
            memory=has.get("memory", 0.0),
            largest_memory=max((machine.get("memory", 0.0) for machine in machines), default=0.0),
            is_joined=is_joined,
            gpus_are_alike=gpus <= has.get("GPU", 0.0) and len({_gpu_kind(m) for m in machines if m.get("GPU")}) <= 1,
            has_dashboard=_has_dashboard(),
            card_mb=card_memory_mb() if gpus and not is_joined else 0.0,
        )

    @property
    def totals(self) -> dict[str, float]:
        """Resources of all machines that nodes take, as Ray names them."""
        return {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory}

    @property
    def facilities(self) -> Facilities:
        """What decides how trainings run here."""
        lacks = self._lacks_memory()
        if not self.has_dashboard:
            lacks = NO_DASHBOARD
        return Facilities(gpus=self.gpus, is_joined=self.is_joined, are_alike=self.gpus_are_alike, lacks=lacks)

    def _lacks_memory(self) -> str:
        if not 0 < self.largest_memory < DRIVER_MEMORY:
            return ""
        return f"no machine has the {DRIVER_MEMORY >> 20} MB of memory free that driving a training takes"

    def check(self, profile: Profile, options: RunOptions) -> None:
        """Warn of a cluster without the GPUs that the profile would use.

        Raises:
            PreflightError: if a training is ordered to take more processes than can ever run at once.
        """
        problems = []
        for kind in TRAINED:
            workers = profile.ordered_workers(kind) or 0
            have, what = (
                (self.gpus, "GPUs") if self.gpus else (self.cpus // max(1, profile.cpus), "processes of its size")
            )
            if workers > have:
                problems.append(
                    f"a training of kind {kind} takes {workers} processes, the cluster has room for {have:g} {what}; "
                    "lower train_workers, set it to auto, or add machines"
                )
        if any(map(profile.ordered_workers, TRAINED)):
            if lacks := self._lacks_memory():
                problems.append(f"{lacks}; add memory, or set train_workers to 0")
            if not self.has_dashboard:
                log.warning(
                    "%s; start it with `ray start --include-dashboard=true`, or set train_workers to 0", NO_DASHBOARD
                )
        if problems:
            raise PreflightError(problems)
        if profile.gpus and not self.gpus and options.joins_cluster:
            log.warning(
                "the cluster has no GPU now, so everything will run on CPUs; where machines with GPUs join later, say "
                "how many GPUs there can be: --gpus N, or $MIDEF_GPUS"
            )

    def placement(self, profile: Profile, trainings: Trainings) -> Placement:
        """Resources of a node by its kind, and of one that drives a training.

        That one takes its workers' part of the memory, so that not more run than have workers. It must fit on one
        machine, or it waits for ever; a machine that was lost comes back with other numbers.
        """
        room = max(1, int(self.gpus if trainings.on_gpu else self.cpus // max(1, profile.cpus)))
        return Placement(
            {kind: node_resources(kind, profile, cluster_gpus=self.gpus) for kind in KINDS},
            memory_per_worker=max(DRIVER_MEMORY, self.memory // room),
            most_memory=max(DRIVER_MEMORY, 0.8 * self.largest_memory),
        )


def _gpu_kind(machine: Mapping[str, Any]) -> str:
    """Kind of the GPUs of a machine with these resources, such as H100."""
    return next((name.removeprefix(_GPU_KIND) for name in machine if name.startswith(_GPU_KIND)), "")


def _has_dashboard() -> bool:
    """Whether the dashboard of the cluster runs; where it cannot be told, as through Ray's client, it is assumed."""
    import ray
    from ray._private import worker

    if not ray.is_initialized() or ray.util.client.ray.is_connected():
        return True
    return bool(worker.get_dashboard_url())
