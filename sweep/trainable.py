"""One node of the plan as one Tune trial."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path
from typing import Any

from typing_extensions import override

from midef.core.errors import MidefError
from midef.core.recipe import Recipe
from midef.stages import BuildContext, build_recipe, ensure
from midef.storage import Store
from midef.storage._cache import cache_folder

log = logging.getLogger(__name__)


def run_node(config: dict[str, Any]) -> None:
    """Build the node's artifact and report `status`: ok, or failed with a reason. Tune calls this in a trial.

    A reused process keeps state, so threads are set and the GPU's cache emptied here.
    """
    import torch
    from ray import tune

    torch.set_num_threads(max(1, int(config["cpus"])))
    result: dict[str, Any] = {"status": "ok", "reason": ""}
    heard = _Warnings()
    logging.getLogger("midef").addHandler(heard)
    try:
        ensure(Recipe.from_plain(config["recipe"]), context_of(config))
    except MidefError as error:
        result = {"status": "failed", "reason": f"{type(error).__name__}: {error}"}
    except Exception as error:  # noqa: BLE001  # the sweep goes on without this node; the reason becomes its rows
        log.error("%s", traceback.format_exc())
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        result = {"status": "failed", "reason": f"{type(error).__name__} at {where}: {error}"}
    finally:
        logging.getLogger("midef").removeHandler(heard)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    tune.report({**result, "warnings": heard.texts})


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
    import torch

    store = Store.open(config["store"], create=False)
    workers = int(config["train_workers"])
    local = store.location.local
    return BuildContext(
        store=store,
        device="cuda" if config["gpu"] and torch.cuda.is_available() else "cpu",
        locations=config["locations"],
        checkpoints=(local if local is not None else cache_folder(store.uri)) / "checkpoints",
        fit=(lambda recipe, context: fit_with_ray_train(recipe, config)) if workers else None,
    )


def fit_with_ray_train(recipe: Recipe, config: dict[str, Any]) -> None:
    """Train a target or evaluator with `train_workers` processes of Ray Train; rank 0 publishes.

    The run is named after the artifact: one training, one run. After a kill it goes on from midef's own checkpoint.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    uses_gpu = bool(config["cluster_gpus"])
    trainer = TorchTrainer(
        train_worker,
        train_loop_config={**config, "recipe": recipe.as_plain(), "fit": False},
        scaling_config=ScalingConfig(num_workers=int(config["train_workers"]), use_gpu=uses_gpu),
        run_config=RunConfig(
            name=recipe.key.digest,
            storage_path=config["train_storage"],
            failure_config=FailureConfig(max_failures=3, controller_failure_limit=3),
        ),
        torch_config=TorchConfig(backend="nccl" if uses_gpu else "gloo"),
    )
    trainer.fit()


def train_worker(config: dict[str, Any]) -> None:
    """One process of a Ray Train run."""
    import ray.train
    import torch

    torch.set_num_threads(max(1, int(config["cpus"])))
    rank = ray.train.get_context().get_world_rank()
    device = str(ray.train.torch.get_device()) if config["cluster_gpus"] else "cpu"
    base = context_of({**config, "train_workers": 0})
    context = BuildContext(
        store=base.store,
        device=device,
        locations=base.locations,
        checkpoints=base.checkpoints,
        report=lambda progress: ray.train.report(progress),
    )
    build_recipe(Recipe.from_plain(config["recipe"]), context, publish=rank == 0)
