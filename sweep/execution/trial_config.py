"""Configuration of one trial: what a process anywhere in the cluster must know to build its node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from midef.core.recipe import ArtifactKey, Recipe
from midef.stages import BuildContext
from midef.storage import Store
from midef.storage.cache import cache_folder
from midef.sweep.execution.cleanup import train_storage_of
from midef.sweep.execution.heartbeat import BEAT_S, Heartbeat, beat_s

if TYPE_CHECKING:
    from pathlib import Path

    from midef.sweep.execution.outcome import RunOptions
    from midef.sweep.planning.plan import Node, Plan
    from midef.sweep.planning.resources import Placement
    from midef.sweep.planning.trainings import Trainings


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """Configuration of one trial.

    Args:
        run: name of the run.
        node: key of the node of the plan.
        recipe: what is built: the node's, or in a worker of Ray Train one that the node lacks.
        store: URI of the store.
        locations: digest of a split recipe -> fields that say where its files lie.
        cpus: threads of a process.
        gpu: share of a GPU that this process holds.
        train_workers: processes of Ray Train that train it, 0 for this one.
        workers_on_gpu: each of them has a GPU.
        train_storage: where Ray Train keeps its own record.
        retries: further tries of a training whose process died.
        beat_s: seconds between two heartbeats.
        memory_share: of what is usually worked on at a time, above 0 to 1.
    """

    run: str
    node: ArtifactKey
    recipe: Recipe
    store: str
    locations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    cpus: int = 1
    gpu: float = 0.0
    train_workers: int = 0
    workers_on_gpu: bool = False
    train_storage: str = ""
    retries: int = 1
    beat_s: float = BEAT_S
    memory_share: float = 1.0

    def as_plain(self) -> dict[str, Any]:
        """JSON data for Tune, with the node's kind, from which follows what the trial needs."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {**values, "node": str(self.node), "kind": self.node.kind, "recipe": self.recipe.as_plain()}

    @classmethod
    def from_plain(cls, config: Mapping[str, Any]) -> TrialConfig:
        """Inverse of `as_plain`."""
        values = {f.name: config[f.name] for f in fields(cls)}
        recipe, node = Recipe.from_plain(config["recipe"]), ArtifactKey.parse(config["node"])
        return cls(**{**values, "node": node, "recipe": recipe})

    @property
    def uses_gpu(self) -> bool:
        """Whether this process works on a GPU."""
        import torch

        return bool(self.gpu) and torch.cuda.is_available()

    def context(self, fit: Callable[[Recipe, BuildContext], None] | None = None) -> BuildContext:
        """Build context of this process: the store, a GPU if it was given one, places of the data."""
        store = Store.open(self.store, create=False)
        folder: Path = cache_folder(store.uri) if store.location.local is None else store.location.local
        return BuildContext(
            store=store,
            device="cuda" if self.uses_gpu else "cpu",
            locations=self.locations,
            checkpoints=folder / "checkpoints",
            memory_share=self.memory_share,
            threads=self.cpus,
            fit=fit,
        )

    def heartbeat(self) -> Heartbeat:
        """Heartbeat of the process that does the node's work."""
        store, node = Store.open(self.store, create=False), self.node
        return Heartbeat(store, self.run, node.digest, kind=node.kind, on_gpu=self.uses_gpu, every_s=self.beat_s)


def trial_configs(
    run: str, plan: Plan, store: Store, options: RunOptions, trainings: Trainings, placement: Placement
) -> Callable[[Node], dict[str, Any]]:
    """Makes the configuration of a node's trial, as plain data."""
    profile, places = plan.sweep.profile, plan.sweep.locations
    storage = train_storage_of(store)

    def config_of(node: Node) -> dict[str, Any]:
        workers = trainings.workers_of(node.recipe)
        return TrialConfig(
            run=run,
            node=node.key,
            recipe=node.recipe,
            store=store.uri,
            locations={r.key.digest: where for r in node.recipe.walk() if (where := places.get(r.key.digest))},
            cpus=profile.cpus,
            gpu=0.0 if workers or "GPU" not in placement.needs[node.key.kind] else trainings.gpus_of(node.recipe),
            train_workers=workers,
            workers_on_gpu=bool(workers) and node.key.kind in trainings.on_gpu,
            train_storage=storage,
            retries=options.retries,
            beat_s=beat_s(store, options.hang_s),
        ).as_plain()

    return config_of
