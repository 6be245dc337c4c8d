"""Runs a plan on Ray: Tune schedules, the store remembers."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import override

import midef
from midef.core.errors import DamagedArtifact, MidefError, MissingArtifact, PreflightError, StoreError
from midef.core.failure import Failure
from midef.core.recipe import KINDS, ArtifactKey
from midef.storage import Store
from midef.storage.cache import cache_folder
from midef.storage.location import this_machine
from midef.storage.published import write_published
from midef.sweep.catalogue.published.rows import published_rows
from midef.sweep.execution.hang_watch import HangWatch
from midef.sweep.execution.heartbeat import BEAT_S
from midef.sweep.execution.progress import Progress, describe
from midef.sweep.execution.result_rows import lost_rows, measured_rows, refused_rows
from midef.sweep.execution.run_record import DRIVER_EVERY_S, DriverState, RunRecord, new_run, remove_dead
from midef.sweep.execution.trial_config import TrialConfig
from midef.sweep.planning.plan import Grow, More, Node, Plan, extend_plan, make_plan, stored_meanwhile
from midef.sweep.planning.resources import DRIVER_MEMORY, gpus_of, node_resources, trains_on_ray
from midef.sweep.planning.selection import CellFilter, every_cell
from midef.sweep.spec.profiles import Profile
from midef.sweep.spec.resolve import PlannedCell, Sweep

if TYPE_CHECKING:
    from ray.tune import PlacementGroupFactory

    from midef.sweep.execution.searcher import Lost

log = logging.getLogger(__name__)

RAY_DIED = (
    "Ray's process on this machine (raylet) died, mostly because memory ran out; what is finished is stored, the same "
    "command goes on from there"
)


@dataclass
class Outcome:
    """What a run did.

    built: artifacts; failed: reasons with how many nodes they stopped; environment: why it stopped for something that
    is no cell's fault, such as a full disk; stopped: "interrupted" or "budget reached" where it ended before its plan;
    gpu_hours: spent on finished nodes.
    """

    built: int = 0
    rows: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    blocked: int = 0
    environment: list[str] = field(default_factory=list)
    stopped: str = ""
    gpu_hours: float = 0.0


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """cpus, gpus: of a local Ray, None takes the machine's; gpus of a cluster: as many as there can be, where machines
    join when they are needed (None: those there are now); address: of a running cluster, "" looks for one;
    retries: further tries of a node whose process died; max_gpu_hours: start nothing that would go beyond, as far as
    its cost is known; hang_s: end the process of a node that made no progress for so long; verbose: let Ray speak.
    """

    address: str = ""
    cpus: int | None = None
    gpus: int | None = None
    retries: int = 1
    max_gpu_hours: float | None = None
    hang_s: float = 1800.0
    verbose: bool = False

    @property
    def joins_cluster(self) -> bool:
        """Whether a running cluster was named, instead of one started here."""
        return bool(self.address or os.environ.get("RAY_ADDRESS"))


def prepare(sweep: Sweep, store: Store, *, retry_failed: bool = False, chosen: CellFilter = every_cell) -> Plan:
    """Plan, record the plan, and write rows that need no work: refused cells, cells whose scores are stored."""
    plan = make_plan(sweep, store, retry_failed=retry_failed, chosen=chosen)
    manifest: list[dict[str, str | int | float | None]] = [
        {
            "cell": c.cell.digest,
            "setup": c.cell.setup.id,
            "defense": c.cell.defense.label,
            "attack": c.cell.setup.attack.label,
            "certainty": c.cell.setup.certainty,
            "seed": c.cell.seed,
            "profile": c.cell.profile,
            "refused": c.refused,
        }
        for c in sweep.cells
    ]
    if any(c.cell.setup.certainty for c in sweep.cells):
        write_published(store, published_rows())  # beside our own, for tables and the dashboard
    store.sweeps.write_manifest(sweep.digest, manifest, json.dumps({"name": sweep.name, **sweep.spec.model_dump()}))
    if _set_damaged_inputs_aside(plan, store):
        return prepare(sweep, store, retry_failed=retry_failed, chosen=chosen)
    known = store.results.cells()
    for planned in plan.refused:
        if known.get(planned.cell.digest) in (None, "failed"):  # it failed when nobody knew that it cannot work
            store.results.write(planned.cell.digest, refused_rows(sweep.name, planned))
    damaged = False
    for planned in plan.rows_only:
        try:
            store.results.write(planned.cell.digest, measured_rows(sweep.name, planned, store))
        except (DamagedArtifact, MissingArtifact) as error:  # of the scores, or of what they judge
            store.artifacts.set_aside(planned.recipes.scores.key, str(error))
            damaged = True
    return prepare(sweep, store, retry_failed=retry_failed, chosen=chosen) if damaged else plan


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


def run_plan(plan: Plan, store: Store, options: RunOptions, grow: Grow | None = None) -> Outcome:
    """Build every node of the plan. Returns when all are built, failed or blocked, or when it was asked to stop.

    grow: asked in this process after each node that ended, when its rows are written; the plan gains what it answers.
    What is stored is not built again, and neither is what failed in this run. Nothing is added after a stop, and no
    question asked about what the machine lost. A plan without nodes ends at once: there is nothing to ask about.

    The first SIGINT lets running nodes finish, the second ends them too, as SIGTERM does; either way the same sweep
    goes on from what is stored.

    Raises:
        StoreError, PreflightError: if the store is full or cannot be written, or no Ray can be reached.
        KeyboardInterrupt: when told to stop at once; what is finished is stored.
        Exception: whatever `grow` raised, once what ran then has finished.
    """
    outcome = Outcome(rows=len(plan.rows_only))
    if not plan.nodes:
        return outcome
    store.artifacts.check_space(_space_for(len(plan.nodes)))
    store.artifacts.sweep_tmp()
    remove_dead(store, plan.sweep.digest, _scratch(store))
    _forget_finished_checkpoints(store)
    _quiet(options.verbose)
    import ray

    profile = plan.sweep.profile
    _start_ray(options, with_dashboard=any(trains_on_ray(kind, profile) for kind in ("target", "evaluator")))
    try:
        cluster = ray.cluster_resources()
        gpus = max(cluster.get("GPU", 0.0), float(options.gpus or 0))
        _check_fits(profile, cluster.get("CPU", 1.0), gpus)
        if profile.gpus and not gpus and options.joins_cluster:
            log.warning(
                "the cluster has no GPU now, so everything will run on CPUs; where machines with GPUs join later, say "
                "how many GPUs there can be: --gpus N, or $MIDEF_GPUS"
            )
        gpu_of = {kind: gpus_of(kind, profile) for kind in KINDS} if gpus else {}
        progress = Progress(plan, slots=cluster.get("CPU", 1.0) / profile.cpus, gpus=gpus, gpu_of=gpu_of)
        _Run(plan, store, options, outcome, progress, cluster, grow).execute()
    finally:
        ray.shutdown()
        store.artifacts.sweep_tmp()  # of nodes whose process died during this run
    if outcome.environment:
        raise PreflightError(outcome.environment)
    return outcome


class _Run:
    """One run of a plan: what its listeners share."""

    def __init__(
        self,
        plan: Plan,
        store: Store,
        options: RunOptions,
        outcome: Outcome,
        progress: Progress,
        cluster: dict[str, float],
        grow: Grow | None,
    ) -> None:
        from midef.sweep.execution.searcher import PlanSearcher

        self.plan, self.store, self.options = plan, store, options
        self.outcome, self.progress = outcome, progress
        self.grow = grow
        self.cannot_grow: Exception | None = None
        self.profile = plan.sweep.profile
        self.gpus = max(cluster.get("GPU", 0.0), float(options.gpus or 0))
        widest = max(1, *(self.profile.workers_for(kind) for kind in ("target", "evaluator")))
        abreast = max(1, int((self.gpus or cluster.get("CPU", 1.0)) // widest))
        self.driver_memory = max(DRIVER_MEMORY, min(cluster.get("memory", 0.0) // abreast, 0.8 * _largest_memory()))
        self.scratch = _scratch(store)
        self.train_storage = _train_storage(store)
        self.name = new_run(plan.sweep.digest)
        self.record = RunRecord(store, self.name)
        self.hang_watch = HangWatch(self.record, hang_s=options.hang_s)
        self.since = time.time()
        self._written = time.monotonic()
        self.searcher = PlanSearcher(
            plan,
            self.config_of,
            may_start=self.may_start,
            is_stored=lambda node: store.artifacts.has(node.key),
            on_done=self.on_done,
            on_lost=self.on_lost,
            grows=grow is not None,
        )

    @override
    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its searcher and never reads it back. What `grow` holds may not be picklable."""
        return {**self.__dict__, "grow": None, "cannot_grow": None}

    def execute(self) -> None:
        """Run to the end, or to the first moment somebody asks to stop."""
        from ray import tune

        from midef.sweep.execution.trial import run_node

        ended = "failed"
        self.write_state("running")
        try:
            with _stopping(self.stop):
                # A process kept for the next node keeps its CPU and GPU while it waits; a training that needs all there
                # are, for its own processes, would wait for ever.
                kinds = {node.recipe.kind for node in self.plan.nodes.values()} if self.grow is None else KINDS
                shared = any(trains_on_ray(kind, self.profile) for kind in kinds)
                tuner = tune.Tuner(
                    tune.with_resources(run_node, Placement({kind: self.needs(kind) for kind in KINDS})),
                    tune_config=tune.TuneConfig(
                        search_alg=self.searcher,
                        num_samples=len(self.plan.nodes) if self.grow is None else -1,  # the searcher says when it ends
                        reuse_actors=not shared,
                    ),
                    run_config=tune.RunConfig(
                        name=self.name,
                        storage_path=str(self.scratch),
                        verbose=1 if self.options.verbose else 0,
                        callbacks=[_ticker(self)],
                        failure_config=tune.FailureConfig(max_failures=self.options.retries),
                    ),
                )
                tuner.fit()
            if self.cannot_grow is not None:
                raise self.cannot_grow
            ended = self.outcome.stopped or "finished"
        except KeyboardInterrupt:
            ended = "interrupted"
            raise
        finally:
            self.progress.close()
            _forget(self.scratch / self.name)
            self.record.remove()
            if ended != "finished":
                self.write_state(ended)

    def needs(self, kind: str) -> dict[str, float]:
        return node_resources(kind, self.profile, cluster_gpus=self.gpus, driver_memory=self.driver_memory)

    def gpus_of(self, node: Node) -> float:
        """GPUs a node holds while it runs."""
        return gpus_of(node.recipe.kind, self.profile) if self.gpus else 0.0

    def config_of(self, node: Node) -> dict[str, Any]:
        kind, places = node.recipe.kind, self.plan.sweep.locations
        return TrialConfig(
            run=self.name,
            node=node.key,
            recipe=node.recipe,
            store=self.store.uri,
            locations={r.key.digest: where for r in node.recipe.walk() if (where := places.get(r.key.digest))},
            cpus=self.profile.cpus,
            gpu=self.needs(kind).get("GPU", 0.0),
            cluster_gpus=self.gpus,
            train_workers=self.profile.workers_for(kind),
            train_storage=self.train_storage,
            retries=self.options.retries,
            beat_s=min(BEAT_S, self.options.hang_s / 4),
        ).as_plain()

    def may_start(self, node: Node) -> bool:
        """Whether the node fits into the budget, beside what was spent and what was handed out.

        A node that was never timed on a GPU counts for the seconds it has run; it starts while any budget is left.
        """
        limit = self.options.max_gpu_hours
        if limit is None or self.gpus_of(node) == 0:
            return True
        handed_out = [self.plan.nodes[key] for key in self.searcher.running.values()]
        spent = self.outcome.gpu_hours + sum(
            max(self.progress.seconds_of(other) * self.gpus_of(other) / 3600, self.known_gpu_hours(other))
            for other in handed_out
        )
        if spent < limit and spent + self.known_gpu_hours(node) <= limit:
            return True
        if not self.outcome.stopped:
            self.outcome.stopped = "budget reached"
            self.progress.say(f"budget reached: {spent:.2f} of {limit:g} GPU-hours are spent or promised")
        return False

    def known_gpu_hours(self, node: Node) -> float:
        """GPU-hours the node is expected to take; 0 where it was never timed on a GPU."""
        timing = node.timing
        return self.gpus_of(node) * timing.expected / 3600 if timing is not None and timing.on_gpu else 0.0

    def on_done(self, node: Node, result: dict[str, Any]) -> None:
        self.progress.done(node, result.get("seconds"))
        for warning in result.get("warnings") or ():
            self.progress.say(f"warning: {warning}")
        self.outcome.built += 1
        self.outcome.gpu_hours += self.gpus_of(node) * float(result.get("seconds") or 0.0) / 3600
        for planned in node.cells:
            try:
                rows = measured_rows(self.plan.sweep.name, planned, self.store)
                self.store.results.write(planned.cell.digest, rows)
                self.outcome.rows += 1
            except StoreError as error:
                self.outcome.environment.append(str(error))
        self.ask(node, None)

    def on_lost(self, node: Node, state: Lost, failure: Failure) -> None:
        self.outcome.gpu_hours += self.gpus_of(node) * self.progress.seconds_of(node) / 3600
        if state == "failed" and not _ray_lives():
            self.outcome.environment = self.outcome.environment or [RAY_DIED]
        self.progress.lost(node, state, failure.message)
        if failure.kind == "store" or self.outcome.environment:
            self.outcome.environment = self.outcome.environment or [failure.message]
            return  # the machine failed, not the cell: nothing is recorded, the next run tries again
        if state == "failed":
            self.outcome.failed[failure.message] = self.outcome.failed.get(failure.message, 0) + 1
        else:
            self.outcome.blocked += 1
        _record_lost(self.plan, self.store, node.cells, failure, self.outcome)
        self.ask(node, failure)

    def ask(self, node: Node, failure: Failure | None) -> None:
        """Ask what to build now that a node ended. What goes wrong there is kept: Tune would take it for a failure of
        the trial, and try that again."""
        if self.grow is None or self.cannot_grow is not None or self.outcome.environment:
            return
        try:
            self.add(self.grow(node, failure))
        except Exception as error:  # noqa: BLE001  # raised again when what runs has finished
            self.cannot_grow = error
            self.begin_nothing_more()
            running = len(self.progress.running)
            self.progress.say(f"nothing new begins, {running} running pieces finish: {type(error).__name__}: {error}")

    def add(self, more: More) -> None:
        """What the plan gains. Rows are written now of cells whose scores are stored, or were lost in this run."""
        unwritten = [planned for planned in more.cells if not self.write_rows(planned)]
        if self.outcome.stopped:
            return
        added = extend_plan(self.plan, More(more.recipes, unwritten), self.store)
        for planned in unwritten:
            failure = self.searcher.lost.get(planned.recipes.scores.key)
            if failure is not None:
                _record_lost(self.plan, self.store, [planned], failure, self.outcome)
        if added:
            self.store.artifacts.check_space(_space_for(len(self.progress.waiting) + len(added)))
        self.progress.add(added)
        self.searcher.add(added)
        for key in self.searcher.withdraw(more.withdrawn):
            del self.plan.nodes[key]  # so that it is built if it is asked for again
            self.progress.drop([key])
        for node in stored_meanwhile(self.plan, more):
            self.ask(node, None)

    def write_rows(self, planned: PlannedCell) -> bool:
        """Write the rows of a cell that needs no work: it is refused, or its scores are stored."""
        if planned.refused:
            self.store.results.write(planned.cell.digest, refused_rows(self.plan.sweep.name, planned))
            return True
        scores = planned.recipes.scores.key
        if not self.store.artifacts.has(scores):
            return False
        try:
            rows = measured_rows(self.plan.sweep.name, planned, self.store)
        except (DamagedArtifact, MissingArtifact) as error:  # of the scores, or of what they judge
            self.store.artifacts.set_aside(scores, str(error))
            return False
        self.store.results.write(planned.cell.digest, rows)
        self.outcome.rows += 1
        return True

    def on_step(self, trials: Sequence[Any]) -> None:
        """Tune calls this many times a second.

        Raises:
            PreflightError: if Ray lost the machine of this driver: it begins nothing more, and Tune waits for ever.
        """
        for trial in trials:
            if trial.status == "RUNNING":
                self.progress.started(self.plan.nodes[ArtifactKey.parse(trial.config["node"])])
        self.progress.tick()
        now = time.monotonic()
        if now - self._written > DRIVER_EVERY_S:
            self._written = now
            self.write_state("stopping" if self.outcome.stopped else "running")
            if not _ray_lives():
                raise PreflightError(RAY_DIED)
        self.hang_watch.look(self.searcher, self.progress)

    def stop(self, why: str) -> None:
        """Begin nothing more; what runs finishes."""
        if self.outcome.stopped:
            return
        self.outcome.stopped = why
        self.begin_nothing_more()
        again = "; interrupt again to end them too" if why == "interrupted" else ""
        self.progress.say(f"{why}: {len(self.progress.running)} running pieces finish, nothing new begins{again}")

    def begin_nothing_more(self) -> None:
        """What was handed out and has not begun does not begin either."""
        self.searcher.stop()
        with suppress(StoreError):
            self.record.ask_to_stop()

    def write_state(self, state: str) -> None:
        progress, now = self.progress, time.monotonic()
        running = [[describe(node), round(now - since)] for node, since in progress.running.values()]
        said = DriverState(
            run=self.name,
            sweep=self.plan.sweep.name,
            digest=self.plan.sweep.digest,
            profile=self.profile.name,
            host=socket.gethostname(),
            machine=this_machine(),
            pid=os.getpid(),
            since=self.since,
            at=time.time(),
            state=state,
            address=self.options.address,
            counts={
                **{"done": progress.counts["done"], "failed": progress.counts["failed"]},
                **{"running": len(progress.running), "waiting": len(progress.waiting)},
            },
            running=sorted(running, key=lambda pair: -pair[1]),
            eta_s=progress.eta_s(),
            last=progress.last,
            gpu_hours=self.outcome.gpu_hours,
        )
        with suppress(StoreError):  # a store that is full ends the run where results are written
            self.record.write(said)


def _space_for(nodes: int) -> int:
    """Bytes that so many nodes need at least."""
    return 64 * 2**20 + 2 * 2**20 * nodes


def _ray_lives() -> bool:
    """Whether Ray still counts the machine of this driver among its own; it needs some seconds to see a death."""
    import ray

    if not ray.is_initialized():
        return True  # none to lose
    own = ray.get_runtime_context().get_node_id()
    return any(node["Alive"] for node in ray.nodes() if node["NodeID"] == own)


def _ticker(run: _Run) -> Any:
    from ray import tune

    class Ticker(tune.Callback):  # type: ignore[misc]
        def on_step_end(self, iteration: int, trials: Sequence[Any], **info: Any) -> None:
            run.on_step(trials)

        @override
        def __getstate__(self) -> dict[str, Any]:
            """Tune pickles its callbacks and never reads them back."""
            return {}

    return Ticker()


@contextmanager
def _stopping(stop: Callable[[str], None]) -> Iterator[None]:
    """SIGINT once calls `stop`; twice, or SIGTERM, raises KeyboardInterrupt. Only the main thread hears signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard = 0

    def on_signal(number: int, frame: Any) -> None:
        nonlocal heard
        heard += 1
        if number == signal.SIGTERM or heard > 1:
            raise KeyboardInterrupt
        stop("interrupted")

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _largest_memory() -> float:
    """Bytes that Ray counts on the node that has most: what is reserved as one piece must fit there, or waits for ever.

    Whoever asks takes less, since a node that was lost comes back with other numbers.
    """
    import ray

    nodes = ray.nodes() if ray.is_initialized() else []
    return max((node["Resources"].get("memory", 0.0) for node in nodes if node["Alive"]), default=0.0)


@dataclass(frozen=True)
class Placement:
    """Resources of a trial, from the kind of its node.

    Tune pickles this with the function of the trials and unpickles both for every node: it holds nothing but the table.

    Args:
        needs: resources by kind of node, as Ray names them.
    """

    needs: Mapping[str, Mapping[str, float]]

    def __call__(self, config: Mapping[str, Any]) -> PlacementGroupFactory:
        from ray.tune import PlacementGroupFactory

        return PlacementGroupFactory([dict(self.needs[config["kind"]])])


def _record_lost(plan: Plan, store: Store, cells: Sequence[PlannedCell], failure: Failure, outcome: Outcome) -> None:
    for planned in cells:
        rows = lost_rows(plan.sweep.name, planned, failure)
        try:
            store.results.write(planned.cell.digest, rows)
        except MidefError as error:
            outcome.environment.append(str(error))


def _start_ray(options: RunOptions, *, with_dashboard: bool) -> None:
    """Join the running cluster, or start a Ray of our own; either way ship this very code to the workers."""
    import ray

    shared: dict[str, Any] = {
        "runtime_env": {
            "py_modules": [str(Path(midef.__file__).parent)],
            # A target may wait long for its workers while other nodes hold the GPUs: waiting is no failure.
            "env_vars": {"RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": str(7 * 86_400)},
        },
        "log_to_driver": options.verbose,
        "logging_level": logging.INFO if options.verbose else logging.ERROR,
    }
    if options.joins_cluster:
        try:
            ray.init(address=options.address or None, **shared)
        except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
            where = options.address or os.environ["RAY_ADDRESS"]
            raise PreflightError(
                f"no Ray cluster answers at {where!r} ({error}); start it, check its token (RAY_AUTH_MODE and "
                "~/.ray/auth_token), or leave --address and RAY_ADDRESS out"
            ) from error
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    own: dict[str, Any] = {
        "num_cpus": options.cpus or cores,
        "num_gpus": options.gpus,
        "include_dashboard": with_dashboard,
        "object_store_memory": 150 * 2**20,  # nodes exchange files through the store, next to nothing through Ray
    }
    for tries_left in reversed(range(_STARTS)):
        try:
            _start_own_ray(own, shared)
            return
        except Exception as error:  # Ray has no class of its own for this
            if _START_TIMED_OUT not in str(error):
                raise
            ray.shutdown()
            if not tries_left:
                raise PreflightError(
                    f"Ray could not be started in {_STARTS} tries of 30 s each: this machine is too busy, or Ray's "
                    "processes die (see the logs under /tmp/ray/session_latest/logs); try again when it is quieter"
                ) from error
            log.warning("Ray's start timed out, as on a busy machine; trying again")


_STARTS = 5
_START_TIMED_OUT = "timed out during startup"


def _start_own_ray(own: dict[str, Any], shared: dict[str, Any]) -> None:
    import ray

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


def _check_fits(profile: Profile, cpus: float, gpus: float) -> None:
    """
    Raises:
        PreflightError: if a training asks for more processes than can ever run at once.
    """
    problems = []
    for kind in ("target", "evaluator"):
        workers = profile.workers_for(kind)
        have, what = (gpus, "GPUs") if gpus else (cpus // max(1, profile.cpus), "processes of its size")
        if workers > have:
            problems.append(
                f"a training of kind {kind} takes {workers} processes, the cluster has room for {have:g} {what}; "
                "lower train_workers, or add machines"
            )
    if problems:
        raise PreflightError(problems)


def _train_storage(store: Store) -> str:
    """Where Ray Train keeps its own record: in the store, beside everything else; options of its URI stay behind."""
    if store.location.local is not None:
        return str(_scratch(store))
    place, question, options = store.uri.partition("?")
    return f"{place.rstrip('/')}/ray{question}{options}"


def _scratch(store: Store) -> Path:
    """Where Tune keeps its own record of a run, in a folder named after it."""
    local = store.location.local
    return (local / "ray") if local is not None else Path.home() / "ray_results"


def _forget_finished_checkpoints(store: Store) -> None:
    """Remove checkpoints whose training was stored: its process died before it could."""
    stored = {key.digest for kind in ("target", "evaluator") for key in store.artifacts.keys(kind)}
    for path in store.location.files("checkpoints"):
        if path.split("/")[1] in stored:
            store.location.delete(path)
    folder = (store.location.local or cache_folder(store.uri)) / "checkpoints"
    for kept in folder.iterdir() if folder.is_dir() else ():
        if kept.name in stored:
            _forget(kept)


def _forget(folder: Path) -> None:
    """Remove a folder that is never read again, such as Tune's own record of this run."""
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


def failure_text(outcome: Outcome) -> str:
    """Reasons with counts, most frequent first."""
    lines = [f"  {count} x {reason}" for reason, count in sorted(outcome.failed.items(), key=lambda i: -i[1])]
    if outcome.blocked:
        lines.append(f"  {outcome.blocked} pieces were blocked by these")
    return "\n".join(lines)
