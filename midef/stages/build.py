"""Building a recipe: take it from the store, or build its inputs and then it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import midef
from midef.core.errors import DamagedArtifact, MissingArtifact
from midef.core.packages import check_packages
from midef.core.position import following
from midef.core.recipe import Inputs, Recipe
from midef.stages.heap import freed_memory_kept
from midef.stages.recipes import CLASSIFIER, words_of

if TYPE_CHECKING:
    from midef.storage import Store
    from midef.storage.location import Location
    from midef.storage.logs import PieceLog

log = logging.getLogger(__name__)

_BUILDERS = {
    "split": "midef.stages.split",
    "target": "midef.stages.target",
    "evaluator": "midef.stages.evaluator",
    "prior": "midef.stages.prior",
    "surrogate": "midef.stages.prior",
    "inverter": "midef.stages.prior",
    "substitute": "midef.stages.substitute",
    "regressor": "midef.stages.regressor",
    "extractor": "midef.stages.extractor",
    "student": "midef.stages.student",
    "reconstructions": "midef.stages.attack",
    "scores": "midef.stages.scores",
}


@dataclass(frozen=True, kw_only=True)
class BuildContext:
    """Store, device and progress report of a build; nothing in here but `threads` changes a result.

    Args:
        device: `cpu`, `cuda`, `cuda:1`.
        locations: digest of a split recipe, or of published weights -> fields that say where its files lie; of a
            network that was trained elsewhere, the network itself.
        report: called with progress of a training.
        checkpoints: folder where a long training keeps its resumable state; None keeps none.
        memory_share: of what is usually worked on at a time, above 0 to 1; 0.5 halves micro-batches after memory ran
            out.
        threads: of this process while it builds. Sums depend on it in their last bits, so every build takes as many as
            `midef run` does.
        fit: builds and publishes the recipe of a target or evaluator that several processes train, instead of the
            stage.
    """

    store: Store
    device: str = "cpu"
    locations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    report: Callable[[dict[str, Any]], None] | None = None
    checkpoints: Path | None = None
    memory_share: float = 1.0
    threads: int = 1
    fit: Callable[[Recipe, BuildContext], None] | None = None


class Builder(Protocol):
    """A stage module: writes the payload of `recipe` into `folder` and returns facts for META.json."""

    def build(self, recipe: Recipe, inputs: Inputs, context: BuildContext, folder: Path) -> dict[str, Any]: ...


def ensure(recipe: Recipe, context: BuildContext) -> Path:
    """The verified folder of `recipe`; built first, with whatever it needs, if it is missing or damaged."""
    try:
        return context.store.artifacts.fetch(recipe.key)
    except MissingArtifact:
        pass
    except DamagedArtifact as error:
        context.store.artifacts.set_aside(recipe.key, str(error))
    if context.fit is not None and recipe.kind in ("target", "evaluator") and recipe.component == CLASSIFIER:
        for needed in recipe.inputs.values():
            ensure(needed, context)
        context.fit(recipe, context)
    else:
        build_recipe(recipe, context)
    return context.store.artifacts.fetch(recipe.key)


def build_recipe(recipe: Recipe, context: BuildContext, *, publish: bool = True) -> None:
    """Build `recipe` in this process and publish it.

    Args:
        publish: False for the helpers of a shared training.

    What is said meanwhile, and the traceback of a failure, are kept as a log in the store.

    Raises:
        PreflightError: before anything is built, if this machine lacks a package whose components the recipe names.
    """
    from midef.storage.logs import PieceLog  # loads pyarrow, which a plan does without

    location, key = context.store.location, recipe.key
    with PieceLog(location, key, what=words_of(recipe), device=context.device, only_if_failed=not publish) as kept:
        _build(recipe, _with_log(context, kept), publish=publish)


def _with_log(context: BuildContext, kept: PieceLog) -> BuildContext:
    """The context whose training reports also go to the log."""

    def report(progress: dict[str, Any]) -> None:
        kept.say(", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in progress.items()))
        if context.report is not None:
            context.report(progress)

    return replace(context, report=report)


def _build(recipe: Recipe, context: BuildContext, *, publish: bool) -> None:
    """Build and publish."""
    import torch

    check_packages(recipe)
    builder: Builder = import_module(_BUILDERS[recipe.kind])
    inputs = Inputs(recipe.inputs, lambda needed: _ensure_input(needed, context))
    start = time.monotonic()
    if context.device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(context.device)
    with context.store.artifacts.workspace() as folder, torch_settings(context.threads), freed_memory_kept():
        facts = builder.build(recipe, inputs, context, folder)
        if not publish:
            return
        wall_s = time.monotonic() - start
        context.store.artifacts.publish(
            recipe,
            folder,
            wall_s=wall_s,
            facts={"device": device_name(context.device), "peak_memory_mb": peak_memory_mb(context.device), **facts},
            packages={"midef": midef.__version__, "torch": torch.__version__},
        )
    if context.checkpoints is not None and recipe.kind in ("target", "evaluator"):
        from midef.training.checkpoint import Checkpointer

        Checkpointer(context.checkpoints / recipe.key.digest, home=checkpoint_home(context)).clear()
    log.info("built %s in %.1f s", recipe.key.short, wall_s)


def _ensure_input(recipe: Recipe, context: BuildContext) -> Path:
    """The folder of an input. Building it, where it was lost, is not part of the position of what needs it."""
    with following(None):
        return ensure(recipe, context)


@contextmanager
def torch_settings(threads: int) -> Iterator[None]:
    """Settings of torch that change the bits of a result, as every build has them; the caller's come back afterwards.

    Args:
        threads: at least 1. The others are torch's defaults: a notebook may have changed them.
    """
    import torch

    def change(threads: int, precision: str, dtype: torch.dtype, benchmark: bool, deterministic: bool) -> None:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)
        torch.set_default_dtype(dtype)
        torch.backends.cudnn.benchmark = benchmark
        torch.backends.cudnn.deterministic = deterministic

    cudnn = torch.backends.cudnn
    before = (torch.get_num_threads(), torch.get_float32_matmul_precision(), torch.get_default_dtype())
    flags = (bool(cudnn.benchmark), bool(cudnn.deterministic))
    change(max(1, threads), "highest", torch.float32, benchmark=False, deterministic=False)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        change(*before, *flags)


def checkpoint_home(context: BuildContext) -> Location | None:
    """Place where checkpoints outlive this machine; None if their folder is in the store itself."""
    location = context.store.location
    return None if location.local is not None else location


def device_name(device: str) -> str:
    """Name of the GPU or processor, for result rows: processors round differently, so a table has to say which."""
    if device.startswith("cuda"):
        import torch

        return str(torch.cuda.get_device_name(device))
    return processor_name()


@lru_cache(maxsize=1)
def processor_name() -> str:
    """`cpu x86_64, Intel(R) Xeon(R) Processor`; without the model where the system does not tell it."""
    import platform

    model = ""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        model = platform.processor()
    return f"cpu {platform.machine()}{', ' if model else ''}{model}"


def peak_memory_mb(device: str) -> float:
    """Peak memory in MB: of the GPU's allocator since the build began; of the whole process on a CPU."""
    if device.startswith("cuda"):
        import torch

        return float(torch.cuda.max_memory_allocated(device)) / 2**20
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
