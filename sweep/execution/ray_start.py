"""Starting or joining Ray, and what the cluster has."""

from __future__ import annotations

import logging
import os
import traceback
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import midef
from midef.core.errors import PreflightError
from midef.sweep.execution.outcome import RunOptions
from midef.sweep.execution.ray_address import join_cluster, silence
from midef.sweep.execution.ray_folder import ray_folder
from midef.sweep.execution.ray_token import make_token
from midef.sweep.spec.profiles import TRAINED, Profile

log = logging.getLogger(__name__)

RAY_DIED = (
    "Ray's process on this machine (raylet) died, mostly because memory ran out; what is finished is stored, the same "
    "command goes on from there"
)
_STARTS = 5
_START_TIMED_OUT = "timed out during startup"
_own = ExitStack()
"""What goes with the Ray of this process: the folder made for it. Ray is one per process, too."""


def quiet(verbose: bool) -> None:
    """Settings Ray reads from the environment, before it is imported."""
    defaults = {
        "TUNE_MAX_PENDING_TRIALS_PG": "16",  # a waiting GPU node must not hold back CPU nodes
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_GLOBAL_CHECKPOINT_S": str(365 * 86_400),  # the state of all trials, which nothing here reads
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # a process of its own for each training
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # the end of a training is seen at the next check
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
        logging.getLogger("ray.tune.execution.tune_controller").addFilter(_is_not_said_by_us)


def _is_not_said_by_us(record: logging.LogRecord) -> bool:
    """False for Tune's traceback of a node whose process died: our own line says which node, and why."""
    return not record.getMessage().startswith("Trial task failed for trial ")


def needs_dashboard(profile: Profile, options: RunOptions) -> bool:
    """Whether a Ray that is started here needs its dashboard, since trainings will run through Ray Train."""
    ordered = [profile.ordered_workers(kind) for kind in TRAINED]
    on_gpus = any(profile.gpus.get(kind) for kind in TRAINED if profile.ordered_workers(kind) is None)
    return any(ordered) or (on_gpus and gpus_here(options) > 0)


def gpus_here(options: RunOptions) -> int:
    """GPUs that a Ray which is started here will have: those that were asked for, else those it finds."""
    from ray._private import accelerators

    if options.gpus is not None:
        return options.gpus
    manager = accelerators.get_accelerator_manager_for_resource("GPU")
    visible = manager.get_current_process_visible_accelerator_ids()
    count: int = manager.get_current_node_num_accelerators()
    return count if visible is None else min(count, len(visible))


def start_ray(options: RunOptions, *, with_dashboard: bool) -> bool:
    """Join the running cluster, or start a Ray of our own; either way ship this very code to the workers.

    `stop_ray` ends it. Returns True if a cluster was joined.

    Args:
        options: of the run.
        with_dashboard: start Ray's dashboard, which trainings through Ray Train need.

    Raises:
        PreflightError: if the cluster does not answer, or no Ray can be started here.
    """
    import ray

    shared: dict[str, Any] = {
        "runtime_env": {
            "py_modules": [str(Path(midef.__file__).parent)],
            # A target may wait long for its workers while other nodes hold the GPUs: waiting is no failure.
            "env_vars": {
                "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": str(7 * 86_400),
                "RAY_TRAIN_METRICS_ENABLED": "0",  # not among those that Tune passes on from the driver's environment
                # Tune runs every node in a new thread, and glibc's malloc keeps what each left for that thread alone.
                "MALLOC_ARENA_MAX": "1",
            },
        },
        "log_to_driver": options.verbose,
        "logging_level": logging.INFO if options.verbose else logging.ERROR,
    }
    if options.joins_cluster:
        join_cluster(options.address, **shared)
        return True
    from ray._private.utils import read_ray_address

    # Not address="auto": it also finds the private Ray of another sweep on this machine, and dies with it.
    recorded = read_ray_address()
    if recorded and not silence(recorded):  # `ray start` left a cluster here; it has resources of its own
        try:
            ray.init(**shared)
            return True
        except (ConnectionError, RuntimeError) as error:
            log.warning("the Ray cluster on this machine cannot be joined (%s); starting another", error)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    local: dict[str, Any] = {
        "address": "local",
        "num_cpus": options.cpus or cores,
        "num_gpus": options.gpus,
        "include_dashboard": with_dashboard,
        "object_store_memory": 150 * 2**20,  # nodes exchange files through the store, next to nothing through Ray
    }
    _own.enter_context(ray_folder())
    make_token()
    try:
        with _on_loopback():
            _start_local_ray(local | shared)
    except BaseException:
        stop_ray()
        raise
    return False


def stop_ray() -> None:
    """Leave the cluster, or end the Ray that was started here and remove what it left."""
    import ray

    ray.shutdown()
    _own.close()


def _start_local_ray(settings: dict[str, Any]) -> None:
    """Start Ray, a few times on a busy machine."""
    import ray

    for tries_left in reversed(range(_STARTS)):
        try:
            ray.init(**settings)
            return
        except Exception as error:  # Ray has no class of its own for this
            if _START_TIMED_OUT not in str(error):
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
                raise PreflightError(
                    f"Ray could not be started here: {type(error).__name__}: {reason}; --verbose shows its log"
                ) from error
            _end_what_started(error)
            ray.shutdown()
            if not tries_left:
                raise PreflightError(
                    f"Ray could not be started in {_STARTS} attempts of 30 s each: this machine is too busy, or Ray's "
                    "processes die (see the logs under /tmp/ray/session_latest/logs); try again when it is quieter"
                ) from error
            log.warning("Ray's start timed out, as on a busy machine; trying again")


def _end_what_started(error: BaseException) -> None:
    """End the processes of a start that failed; Ray leaves them to the end of the driver.

    Every try would add its own to a machine that is busy already. Ray gives the node to nobody but the error's frames.
    """
    from ray._private.node import Node

    for frame, _ in traceback.walk_tb(error.__traceback__):
        if isinstance(node := frame.f_locals.get("self"), Node):
            node.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)
            return


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Let every process of a Ray that is started meanwhile listen on 127.0.0.1 alone.

    Ray takes the loopback address where clusters are switched off, as they are on macOS and Windows, and nowhere else:
    it replaces a 127.0.0.1 that it is given by the address of the machine.
    """
    from ray._private import ray_constants

    name, switch = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR, "ENABLE_RAY_CLUSTER"
    before, enabled = os.environ.get(name), getattr(ray_constants, switch)
    os.environ[name] = "0"
    setattr(ray_constants, switch, False)
    try:
        yield
    finally:
        setattr(ray_constants, switch, enabled)
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def ray_lives() -> bool:
    """Whether Ray still counts the machine of this driver among its own; it needs some seconds to see a death."""
    import ray

    if not ray.is_initialized():
        return True  # none to lose
    here = ray.get_runtime_context().get_node_id()
    return any(node["Alive"] for node in ray.nodes() if node["NodeID"] == here)
