"""One node of the plan as one Tune trial."""

from __future__ import annotations

import ctypes
import gc
import logging
import socket
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from typing_extensions import override

from midef.core.errors import MidefError
from midef.core.failure import Failure
from midef.core.recipe import Recipe
from midef.stages import BuildContext, ensure
from midef.storage import Store
from midef.sweep.execution.ray_train import fit_with_ray_train
from midef.sweep.execution.run_record import STOPPED, RunRecord
from midef.sweep.execution.trial_config import TrialConfig
from midef.sweep.planning.gpu_shares import allocated_fraction
from midef.sweep.planning.trainings import is_trained

log = logging.getLogger(__name__)

_modules_seen = 0
"""Modules of this process when the garbage collector last looked through what they hold."""


def run_node(config: dict[str, Any]) -> None:
    """Build a node's artifact and report `status`: ok, failed, or stopped before it began.

    Tune calls this in a trial. A reused process keeps state, so the share of the GPU's memory is set, and its cache is
    emptied, here; the build sets the rest.

    Args:
        config: a `TrialConfig` as plain data.
    """
    import torch

    trial = TrialConfig.from_plain(config)
    try:
        store = Store.open(trial.store, create=False)
        if RunRecord(store, trial.run).should_stop():
            _report(STOPPED)
            return
        store.artifacts.sweep_tmp()  # of processes that died on this machine, which the driver does not see
    except (MidefError, OSError) as error:  # this machine does not see the store: no fault of the node
        _report("failed", Failure("store", f"StoreError: on {socket.gethostname()}: {error}"))
        return
    if trial.uses_gpu:
        card_mb = torch.cuda.get_device_properties(0).total_memory / 2**20
        torch.cuda.set_per_process_memory_fraction(allocated_fraction(trial.gpu, card_mb))
    start = time.monotonic()
    warnings = _Warnings()
    logging.getLogger("midef").addHandler(warnings)
    try:
        with trial.heartbeat() if not trial.train_workers else nullcontext():
            failure = _build(trial)
    finally:
        logging.getLogger("midef").removeHandler(warnings)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        give_back_memory()
    _report("ok" if failure is None else "failed", failure, warnings.texts, time.monotonic() - start)


def give_back_memory() -> None:
    """Return free memory to the system: the next node of this process begins with 450 MB instead of 750.

    With torch and Tune loaded the garbage collector looks through half a million objects, which took 170 ms after every
    node. What is imported stays, so it is looked through once after each import and passed over from then on.
    """
    global _modules_seen
    is_known = _modules_seen == len(sys.modules)
    if not is_known:
        gc.unfreeze()  # what was alive the last time may be garbage now
    gc.collect()
    if not is_known:
        gc.freeze()
        _modules_seen = len(sys.modules)
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc alone has it
        if trim is not None:
            trim(0)


def _report(status: str, failure: Failure | None = None, warnings: Sequence[str] = (), seconds: float = 0.0) -> None:
    """Tell the driver how the node ended, as plain data."""
    from ray import tune

    kind, reason = ("", "") if failure is None else (failure.kind, failure.message)
    result = {"status": status, "failure": kind, "reason": reason, "warnings": list(warnings), "seconds": seconds}
    tune.report(result)


def _build(trial: TrialConfig) -> Failure | None:
    """Build the node's artifact; where memory runs out, once more with half as much at a time, if that can be done."""
    failure = _try_to_build(trial)
    if failure is None or failure.kind != "oom":
        return failure
    first = failure.message
    if not works_in_parts(trial.recipe):
        return Failure("oom", f"out of memory, and this work cannot be done in smaller parts: {first}")
    gc.collect()  # what the failed attempt held
    if trial.uses_gpu:
        import torch

        torch.cuda.empty_cache()
    logging.getLogger("midef").warning(
        "%s ran out of memory and is tried once more at half the micro-batch", trial.recipe.key.short
    )
    again = _try_to_build(replace(trial, memory_share=trial.memory_share / 2))
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
    return is_trained(recipe)


def _try_to_build(trial: TrialConfig) -> Failure | None:
    def fit(recipe: Recipe, context: BuildContext) -> None:
        # An input that was lost was chosen no number of processes: one learns what any number should.
        workers = trial.train_workers if recipe.key == trial.recipe.key else 1
        fit_with_ray_train(recipe, replace(trial, train_workers=workers))

    try:
        ensure(trial.recipe, trial.context(fit if trial.train_workers else None))
    except MidefError as error:
        return Failure.of(error)
    except Exception as error:  # noqa: BLE001  # the sweep goes on without this node; the reason becomes its rows
        log.error("%s", traceback.format_exc())
        return Failure.of(error)
    return None


class _Warnings(logging.Handler):
    """Collects midef's warnings, for the driver to print: workers have no terminal."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    @override
    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno < logging.ERROR:  # errors are reasons already
            self.texts.append(record.getMessage())
