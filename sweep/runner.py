"""Runs a plan on Ray: Tune schedules, the store remembers."""

from __future__ import annotations

import json
import logging
import os
import uuid
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from midef.core.errors import DamagedArtifact, MidefError, MissingArtifact, PreflightError, StoreError
from midef.core.recipe import ArtifactKey
from midef.storage import Store
from sweep.plan import Node, Plan, make_plan
from sweep.progress import Progress
from sweep.resources import DRIVER_MEMORY, node_resources, trains_on_ray
from sweep.rows import lost_rows, measured_rows
from sweep.spec import PlannedCell, Sweep

log = logging.getLogger(__name__)

STORE_LOST = "StoreError"


@dataclass
class Outcome:
    """What a run did. built: artifacts; failed: reasons with how many nodes they stopped; environment: why it stopped
    for something that is no cell's fault, such as a full disk."""

    built: int = 0
    rows: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    blocked: int = 0
    environment: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """cpus, gpus: of a local Ray, None takes the machine's; address: of a running cluster, "" looks for one;
    retries: further tries of a node whose process died; verbose: let Ray speak."""

    address: str = ""
    cpus: int | None = None
    gpus: int | None = None
    retries: int = 1
    verbose: bool = False


def prepare(sweep: Sweep, store: Store, *, retry_failed: bool = False) -> Plan:
    """Plan, record the plan, and write rows that need no work: refused cells, cells whose scores are stored."""
    plan = make_plan(sweep, store, retry_failed=retry_failed)
    manifest: list[dict[str, str | int | float | None]] = [
        {
            "cell": c.cell.digest,
            "setup": c.cell.setup.id,
            "defense": c.cell.defense.label,
            "seed": c.cell.seed,
            "profile": c.cell.profile,
            "refused": c.refused,
        }
        for c in sweep.cells
    ]
    store.sweeps.write_manifest(sweep.digest, manifest, json.dumps({"name": sweep.name, **sweep.spec.model_dump()}))
    if _set_damaged_inputs_aside(plan, store):
        return prepare(sweep, store, retry_failed=retry_failed)
    known = store.results.cells()
    for planned in plan.refused:
        if known.get(planned.cell.digest) in (None, "failed"):  # it failed when nobody knew that it cannot work
            rows = lost_rows(sweep.name, planned, status="refused", reason=planned.refused)
            store.results.write(planned.cell.digest, rows)
    damaged = False
    for planned in plan.rows_only:
        try:
            store.results.write(planned.cell.digest, measured_rows(sweep.name, planned, store))
        except (DamagedArtifact, MissingArtifact) as error:  # of the scores, or of what they judge
            store.artifacts.set_aside(planned.recipes.scores.key, str(error))
            damaged = True
    return prepare(sweep, store, retry_failed=retry_failed) if damaged else plan


def _set_damaged_inputs_aside(plan: Plan, store: Store) -> bool:
    """Verify what the plan starts from, once, here: else each node that needs it would rebuild it for itself."""
    needed = {r.key: r for node in plan.nodes.values() for r in node.recipe.inputs.values() if r.key not in plan.nodes}
    found = False
    for key in needed:
        try:
            store.artifacts.fetch(key)
        except DamagedArtifact as error:
            store.artifacts.set_aside(key, str(error))
            found = True
    return found


def run_plan(plan: Plan, store: Store, options: RunOptions) -> Outcome:
    """Build every node of the plan. Returns when all are built, failed or blocked.

    Raises:
        StoreError, PreflightError: if the store is full or cannot be written, or no Ray can be reached.
        KeyboardInterrupt: when interrupted; what is finished is stored.
    """
    outcome = Outcome(rows=len(plan.rows_only))
    if not plan.nodes:
        return outcome
    store.artifacts.check_space(64 * 2**20 + 2 * 2**20 * len(plan.nodes))
    store.artifacts.sweep_tmp()
    _quiet(options.verbose)
    import ray

    profile = plan.sweep.profile
    _start_ray(options, with_dashboard=any(trains_on_ray(kind, profile) for kind in ("target", "evaluator")))
    try:
        cluster = ray.cluster_resources()
        progress = Progress(plan, slots=cluster.get("CPU", 1.0) / profile.cpus)
        _tune(plan, store, options, outcome, progress, cluster)
        progress.close()
    finally:
        ray.shutdown()
    if outcome.environment:
        raise PreflightError(outcome.environment)
    return outcome


def _tune(
    plan: Plan, store: Store, options: RunOptions, outcome: Outcome, progress: Progress, cluster: dict[str, float]
) -> None:
    from ray import tune

    from sweep.searcher import PlanSearcher
    from sweep.trainable import run_node

    profile = plan.sweep.profile
    gpus = cluster.get("GPU", 0.0)
    widest = max(1, *(profile.workers_for(kind) for kind in ("target", "evaluator")))
    abreast = max(1, int((gpus or cluster.get("CPU", 1.0)) // widest))
    driver_memory = max(DRIVER_MEMORY, cluster.get("memory", 0.0) // abreast)
    local = store.location.local
    scratch = (local / "ray") if local is not None else Path.home() / "ray_results"
    train_storage = str(scratch) if local is not None else f"{store.uri}/ray"
    name = f"sweep-{plan.sweep.digest[:8]}-{uuid.uuid4().hex[:8]}"

    def needs(kind: str) -> dict[str, float]:
        return node_resources(kind, profile, cluster_gpus=gpus, driver_memory=driver_memory)

    def config_of(node: Node) -> dict[str, Any]:
        return {
            "node": str(node.key),
            "kind": node.recipe.kind,
            "recipe": node.recipe.as_plain(),
            "store": store.uri,
            "locations": {r.key.digest: plan.sweep.locations.get(r.key.digest, {}) for r in node.recipe.walk()},
            "cpus": profile.cpus,
            "train_workers": profile.workers_for(node.recipe.kind),
            "train_storage": train_storage,
            "cluster_gpus": gpus,
            "gpu": needs(node.recipe.kind).get("GPU", 0.0),
        }

    def on_done(node: Node, result: dict[str, Any]) -> None:
        progress.done(node)
        for warning in result.get("warnings") or ():
            progress.say(f"warning: {warning}")
        outcome.built += 1
        for planned in node.cells:
            try:
                store.results.write(planned.cell.digest, measured_rows(plan.sweep.name, planned, store))
                outcome.rows += 1
            except StoreError as error:
                outcome.environment.append(str(error))

    def on_lost(node: Node, state: str, reason: str) -> None:
        progress.lost(node, state, reason)
        if STORE_LOST in reason.split(":")[0] or outcome.environment:
            outcome.environment = outcome.environment or [reason]
            return  # the machine failed, not the cell: nothing is recorded, the next run tries again
        if state == "failed":
            outcome.failed[reason] = outcome.failed.get(reason, 0) + 1
        else:
            outcome.blocked += 1
        _record_lost(plan, store, node.cells, reason, outcome)

    class Ticker(tune.Callback):  # type: ignore[misc]
        def on_step_end(self, iteration: int, trials: Sequence[Any], **info: Any) -> None:
            for trial in trials:
                if trial.status == "RUNNING":
                    progress.started(plan.nodes[ArtifactKey.parse(trial.config["node"])])
            progress.tick()

    searcher = PlanSearcher(plan, config_of, on_done=on_done, on_lost=on_lost)
    resources = tune.with_resources(run_node, lambda config: _placement(needs(config["kind"])))
    tuner = tune.Tuner(
        resources,
        tune_config=tune.TuneConfig(search_alg=searcher, num_samples=len(plan.nodes), reuse_actors=True),
        run_config=tune.RunConfig(
            name=name,
            storage_path=str(scratch),
            verbose=1 if options.verbose else 0,
            callbacks=[Ticker()],
            failure_config=tune.FailureConfig(max_failures=options.retries),
        ),
    )
    tuner.fit()
    _forget(scratch / name)


def _placement(wanted: dict[str, float]) -> Any:
    from ray.tune import PlacementGroupFactory

    return PlacementGroupFactory([wanted])


def _record_lost(plan: Plan, store: Store, cells: Sequence[PlannedCell], reason: str, outcome: Outcome) -> None:
    for planned in cells:
        rows = lost_rows(plan.sweep.name, planned, status="failed", reason=reason)
        try:
            store.results.write(planned.cell.digest, rows)
        except MidefError as error:
            outcome.environment.append(str(error))


def _start_ray(options: RunOptions, *, with_dashboard: bool) -> None:
    """Join the running cluster, or start a Ray of our own; either way ship this very code to the workers."""
    import ray

    root = Path(__file__).resolve().parent.parent
    shared: dict[str, Any] = {
        "runtime_env": {
            "py_modules": [str(root / "midef"), str(root / "sweep")],
            # A target may wait long for its workers while other nodes hold the GPUs: waiting is no failure.
            "env_vars": {"RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": str(7 * 86_400)},
        },
        "log_to_driver": options.verbose,
        "logging_level": logging.INFO if options.verbose else logging.ERROR,
    }
    if options.address or os.environ.get("RAY_ADDRESS"):
        try:
            ray.init(address=options.address or None, **shared)
        except (ConnectionError, ValueError) as error:
            where = options.address or os.environ["RAY_ADDRESS"]
            raise PreflightError(
                f"no Ray cluster answers at {where!r} ({error}); start it, or leave --address out"
            ) from error
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    own: dict[str, Any] = {
        "num_cpus": options.cpus or cores,
        "num_gpus": options.gpus,
        "include_dashboard": with_dashboard,
        "object_store_memory": 150 * 2**20,  # nodes exchange files through the store, next to nothing through Ray
    }
    # Not address="auto": it also finds the private Ray of another sweep on this machine, and dies with it.
    try:
        ray.init(**own, **shared)
    except ValueError:  # `ray start` left a cluster here; it has resources of its own
        try:
            ray.init(**shared)
        except ConnectionError:
            ray.init(address="local", **own, **shared)


def _quiet(verbose: bool) -> None:
    """Settings Ray reads from the environment, before it is imported."""
    defaults = {
        "TUNE_MAX_PENDING_TRIALS_PG": "16",  # a waiting GPU node must not hold back CPU nodes
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AIR_NEW_OUTPUT": "0",  # our own line instead of Tune's
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    if not verbose:
        os.environ.setdefault("RAY_DEDUP_LOGS", "1")
        warnings.filterwarnings("ignore", module=r"ray\..*")
        for name in ("ray", "ray.tune", "ray.train"):
            logging.getLogger(name).setLevel(logging.ERROR)


def _forget(folder: Path) -> None:
    """Remove Tune's own record of this run: it is never read again."""
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


def failure_text(outcome: Outcome) -> str:
    """Reasons with counts, most frequent first."""
    lines = [f"  {count} x {reason}" for reason, count in sorted(outcome.failed.items(), key=lambda i: -i[1])]
    if outcome.blocked:
        lines.append(f"  {outcome.blocked} pieces were blocked by these")
    return "\n".join(lines)
