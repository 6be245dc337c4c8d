"""Training of a target or evaluator by several processes, through Ray Train."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from midef.core.errors import MidefError, StoreError
from midef.core.failure import kind_of
from midef.core.recipe import Recipe
from midef.stages import build_recipe
from midef.storage.location import Location
from midef.sweep.execution.trial_config import TrialConfig


def fit_with_ray_train(recipe: Recipe, config: TrialConfig) -> None:
    """Train a target or evaluator with `train_workers` processes of Ray Train; rank 0 publishes.

    The run is named after the artifact: one training, one run. After a kill it goes on from midef's own checkpoint.
    Workers are spread over the machines, so that each has its memory and processor to itself where there are several.

    Raises:
        MidefError: if the training failed, with the most telling error of its workers; `__cause__` is that error.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchConfig, TorchTrainer

    uses_gpu = config.workers_on_gpu
    trainer = TorchTrainer(
        train_worker,
        train_loop_config=replace(config, recipe=recipe, train_workers=0, gpu=float(uses_gpu)).as_plain(),
        scaling_config=ScalingConfig(
            num_workers=config.train_workers,
            use_gpu=uses_gpu,
            resources_per_worker=None if uses_gpu else {"CPU": max(1.0, float(config.cpus))},
            placement_strategy="SPREAD",
        ),
        run_config=RunConfig(
            name=recipe.key.digest,
            storage_path=config.train_storage,
            failure_config=FailureConfig(max_failures=config.retries, controller_failure_limit=3),
        ),
        torch_config=TorchConfig(backend="nccl" if uses_gpu else "gloo"),
    )
    _start_no_data_sets(trainer)
    try:
        trainer.fit()
    except TrainingFailedError as error:
        explanation, cause = _most_telling(error)
        raise explanation from cause
    # What Ray wrote down of this run is never asked for again: the artifact is stored.
    storage = Location.open(config.train_storage)
    for path in storage.files(recipe.key.digest):
        storage.delete(path)
    if storage.local is not None:
        shutil.rmtree(storage.local / recipe.key.digest, ignore_errors=True)


def _start_no_data_sets(trainer: Any) -> None:
    """Leave out the process that hands out Ray's own data sets, of which a training here has none.

    Ray has no setting for it. Under a Ray that names these things otherwise the process is started, and does no harm.
    """
    make = getattr(trainer, "_create_default_callbacks", None)
    if make is not None:
        trainer._create_default_callbacks = lambda: [c for c in make() if type(c).__name__ != "DatasetsCallback"]


def train_worker(config: dict[str, Any]) -> None:
    """One process of a Ray Train run.

    Args:
        config: a `TrialConfig` as plain data.
    """
    import ray.train

    trial = TrialConfig.from_plain(config)
    rank = ray.train.get_context().get_world_rank()
    device = str(ray.train.torch.get_device()) if trial.workers_on_gpu else "cpu"
    context = replace(trial.context(), device=device, report=lambda progress: ray.train.report(progress))
    # The first worker's heartbeat is that of all: whoever hangs, it waits for them.
    with trial.heartbeat() if rank == 0 else nullcontext():
        build_recipe(trial.recipe, context, publish=rank == 0)


def _most_telling(error: Exception) -> tuple[MidefError, BaseException]:
    """Error that explains a failed training best, and the worker's own error behind it."""
    from ray.exceptions import OutOfMemoryError

    errors: dict[int, Exception] = getattr(error, "worker_failures", {})
    kinds = {rank: kind_of(errors[rank]) for rank in sorted(errors)}
    # When one worker dies the others lose it in the middle of a sum: what they say is no reason.
    telling = [rank for rank in kinds if kinds[rank] == "oom"]
    telling += [rank for rank in kinds if isinstance(errors[rank], MidefError)]
    rank = next(iter([*telling, *kinds]), 0)
    cause: BaseException = errors.get(rank) or getattr(error, "controller_failure", None) or error
    kind = "died" if not telling and "died" in kinds.values() else kind_of(cause)
    if isinstance(cause, OutOfMemoryError):  # Ray ended the process because its machine had no memory left
        cause = MemoryError(str(cause))
    if isinstance(cause, StoreError):
        return StoreError(f"worker {rank} of the training: {cause}"), cause
    return MidefError(f"worker {rank} of the training: {type(cause).__name__}: {cause}", failure=kind), cause
