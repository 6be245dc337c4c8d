"""One node of the plan as one Tune trial."""

from __future__ import annotations

import gc
import logging
import shutil
import socket
import time
import traceback
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from typing_extensions import override

from midef.core.errors import MidefError, StoreError
from midef.core.failure import Failure, kind_of
from midef.core.recipe import ArtifactKey, Recipe
from midef.stages import BuildContext, build_recipe, ensure
from midef.storage import Store
from midef.storage.cache import cache_folder
from midef.storage.location import Location
from midef.sweep.execution.heartbeat import Pulse
from midef.sweep.execution.run_record import STOPPED, RunRecord

log = logging.getLogger(__name__)


def run_node(config: dict[str, Any]) -> None:
    """Build the node's artifact and report `status`: ok, failed with a failure, or stopped before it began.

    Tune calls this in a trial. A reused process keeps state, so threads and the share of the GPU's memory are set, and
    its cache is emptied, here.
    """
    import torch

    try:
        store = Store.open(config["store"], create=False)
        if RunRecord(store, config["run"]).should_stop():
            _report(STOPPED)
            return
        store.artifacts.sweep_tmp()  # of processes that died on this machine, which the driver does not see
    except (MidefError, OSError) as error:  # this machine does not see the store: no fault of the node
        _report("failed", Failure("store", f"StoreError: on {socket.gethostname()}: {error}"))
        return
    torch.set_num_threads(max(1, int(config["cpus"])))
    if config["gpu"] and torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(min(1.0, float(config["gpu"])))
    start = time.monotonic()
    heard = _Warnings()
    logging.getLogger("midef").addHandler(heard)
    try:
        with pulse_of(config, store) if not config["train_workers"] else nullcontext():
            failure = _build(config)
    finally:
        logging.getLogger("midef").removeHandler(heard)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    _report("ok" if failure is None else "failed", failure, heard.texts, time.monotonic() - start)


def _report(status: str, failure: Failure | None = None, warnings: Sequence[str] = (), seconds: float = 0.0) -> None:
    """Tell the driver how the node ended, as plain data."""
    from ray import tune

    kind, reason = ("", "") if failure is None else (failure.kind, failure.message)
    tune.report({
        "status": status, "failure": kind, "reason": reason, "warnings": list(warnings), "seconds": seconds,
    })  # fmt: skip


def pulse_of(config: dict[str, Any], store: Store) -> Pulse:
    """The heartbeat of the process that does a node's work."""
    key = ArtifactKey.parse(config["node"])
    return Pulse(store, config["run"], key.digest, kind=key.kind, on_gpu=_uses_gpu(config), every_s=config["beat_s"])


def _build(config: dict[str, Any]) -> Failure | None:
    """Build the node's artifact; where memory runs out, once more with half as much at a time, if that can be done."""
    recipe = Recipe.from_plain(config["recipe"])
    failure = _try_to_build(recipe, config)
    if failure is None or failure.kind != "oom":
        return failure
    first = failure.message
    if not works_in_parts(recipe):
        return Failure("oom", f"out of memory, and this work cannot be done in smaller parts: {first}")
    gc.collect()  # what the failed attempt held
    if _uses_gpu(config):
        import torch

        torch.cuda.empty_cache()
    logging.getLogger("midef").warning(
        "%s ran out of memory and is tried once more at half the micro-batch", recipe.key.short
    )
    again = _try_to_build(recipe, {**config, "memory_share": config.get("memory_share", 1.0) / 2})
    if again is None:
        return None
    if again.kind == "oom":
        return replace(again, message=f"out of memory, at half the micro-batch too: {again.message}")
    return replace(again, message=f"out of memory: {first}; at half the micro-batch: {again.message}")


def works_in_parts(recipe: Recipe) -> bool:
    """Whether less memory makes this work possible: trainings of classifiers, and searches of the shared template."""
    from midef.attacks import ATTACKS
    from midef.attacks.latent_search.template import LatentSearch

    if recipe.kind == "reconstructions":
        return issubclass(ATTACKS.get(recipe.component), LatentSearch)
    return recipe.kind in ("target", "evaluator")


def _try_to_build(recipe: Recipe, config: dict[str, Any]) -> Failure | None:
    try:
        ensure(recipe, context_of(config))
    except MidefError as error:
        return Failure.of(error)
    except Exception as error:  # noqa: BLE001  # the sweep goes on without this node; the reason becomes its rows
        log.error("%s", traceback.format_exc())
        return Failure.of(error)
    return None


def _uses_gpu(config: dict[str, Any]) -> bool:
    import torch

    return bool(config["gpu"]) and torch.cuda.is_available()


class _Warnings(logging.Handler):
    """Keeps what midef warns of, for the person in front of the driver: workers have no terminal."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    @override
    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno < logging.ERROR:  # errors are reasons already
            self.texts.append(record.getMessage())


def context_of(config: dict[str, Any]) -> BuildContext:
    """Where this process builds: the store, a GPU if the trial was given one, the data's places."""
    store = Store.open(config["store"], create=False)
    workers = int(config["train_workers"])
    local = store.location.local
    return BuildContext(
        store=store,
        device="cuda" if _uses_gpu(config) else "cpu",
        locations=config["locations"],
        checkpoints=(local if local is not None else cache_folder(store.uri)) / "checkpoints",
        memory_share=float(config.get("memory_share", 1.0)),
        fit=(lambda recipe, context: fit_with_ray_train(recipe, config)) if workers else None,
    )


def fit_with_ray_train(recipe: Recipe, config: dict[str, Any]) -> None:
    """Train a target or evaluator with `train_workers` processes of Ray Train; rank 0 publishes.

    The run is named after the artifact: one training, one run. After a kill it goes on from midef's own checkpoint.
    Workers are spread over the machines, so that each has its memory and processor to itself where there are several.

    Raises:
        MidefError: if the training failed, with what the worker that says most said; `__cause__` is its own error.
    """
    from ray.exceptions import OutOfMemoryError
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchConfig, TorchTrainer

    uses_gpu = bool(config["cluster_gpus"])
    trainer = TorchTrainer(
        train_worker,
        train_loop_config={**config, "recipe": recipe.as_plain(), "fit": False},
        scaling_config=ScalingConfig(
            num_workers=int(config["train_workers"]),
            use_gpu=uses_gpu,
            resources_per_worker=None if uses_gpu else {"CPU": max(1.0, float(config["cpus"]))},
            placement_strategy="SPREAD",
        ),
        run_config=RunConfig(
            name=recipe.key.digest,
            storage_path=config["train_storage"],
            failure_config=FailureConfig(max_failures=int(config["retries"]), controller_failure_limit=3),
        ),
        torch_config=TorchConfig(backend="nccl" if uses_gpu else "gloo"),
    )
    try:
        trainer.fit()
    except TrainingFailedError as error:
        said: dict[int, Exception] = getattr(error, "worker_failures", {})
        # When one worker dies the others lose it in the middle of a sum: what they say is no reason.
        telling = [rank for rank in sorted(said) if kind_of(said[rank]) == "oom"]
        telling += [rank for rank in sorted(said) if isinstance(said[rank], MidefError)]
        rank = next(iter([*telling, *sorted(said)]), 0)
        cause = said.get(rank) or getattr(error, "controller_failure", error)
        if isinstance(cause, OutOfMemoryError):  # Ray ended the process because its machine had no memory left
            cause = MemoryError(str(cause))
        if isinstance(cause, StoreError):
            raise StoreError(f"worker {rank} of the training: {cause}") from cause
        kind = "died" if not telling and "died" in map(kind_of, said.values()) else kind_of(cause)
        raise MidefError(f"worker {rank} of the training: {type(cause).__name__}: {cause}", failure=kind) from cause
    # What Ray wrote down of this run is never asked for again: the artifact is stored.
    storage = Location.open(config["train_storage"])
    for path in storage.files(recipe.key.digest):
        storage.delete(path)
    if storage.local is not None:
        shutil.rmtree(storage.local / recipe.key.digest, ignore_errors=True)


def train_worker(config: dict[str, Any]) -> None:
    """One process of a Ray Train run."""
    import ray.train
    import torch

    torch.set_num_threads(max(1, int(config["cpus"])))
    rank = ray.train.get_context().get_world_rank()
    device = str(ray.train.torch.get_device()) if config["cluster_gpus"] else "cpu"
    base = context_of({**config, "train_workers": 0})
    context = replace(base, device=device, report=lambda progress: ray.train.report(progress))
    # The first worker's pulse is that of all: whoever hangs, it waits for them.
    with pulse_of({**config, "gpu": config["cluster_gpus"]}, base.store) if rank == 0 else nullcontext():
        build_recipe(Recipe.from_plain(config["recipe"]), context, publish=rank == 0)
