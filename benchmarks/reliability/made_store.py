"""A small store with a file of every kind: its artifacts are made up, everything else is written by midef itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from safetensors.numpy import save_file

from midef.core.match import MatchOutcome, MatchReport, MatchTraining
from midef.core.recipe import Recipe
from midef.metrics import METRICS
from midef.storage import Store
from midef.storage.matches import write_match
from midef.storage.published import write_published
from midef.sweep.catalogue import read_spec
from midef.sweep.catalogue.published.rows import published_rows
from midef.sweep.execution.prepare import prepare
from midef.sweep.execution.run_record import DriverState, RunRecord
from midef.sweep.matching.studies import Studies, ask
from midef.sweep.matching.trials import tell
from midef.sweep.spec.resolve import Sweep, resolve

SPEC: dict[str, Any] = {
    "name": "small",
    "setups": [
        {
            "id": "faces",
            "attack": "gmi",
            "private": {"name": "synthetic_faces", "identities": 12, "train_images": 4},
            "public": {"name": "synthetic_faces", "population": "public", "identities": 20, "train_images": 4},
            "protocol": {"identities": 4, "images_per_identity": 2},
        }
    ],
    "defenses": ["none", "midre"],
}
STUDY = "midre on vgg16"


def make(folder: Path) -> tuple[Sweep, Path]:
    """Make `folder`/store and the specification of its latest sweep; returns that sweep and the path of the latter.

    An earlier sweep is compacted; of the latest one a cell failed, and one is stored in a file of its own.
    """
    store = Store.open(folder / "store")
    earlier, latest = (folder / name for name in ("earlier.yaml", "small.yaml"))
    earlier.write_text(yaml.safe_dump({**SPEC, "name": "earlier", "seeds": [1, 2]}))
    latest.write_text(yaml.safe_dump({**SPEC, "seeds": [0]}))
    _finish(resolve(read_spec(earlier)), store, np.random.default_rng(1))
    store.results.compact()
    sweep = resolve(read_spec(latest))
    _finish(sweep, store, np.random.default_rng(2), failed="fid" if "fid" in METRICS.names() else METRICS.names()[-1])
    write_published(store, published_rows()[:40])
    _match(sweep, store)
    state = DriverState(
        run="sweep-1-2", sweep="small", digest=sweep.digest, profile="smoke", host="h", pid=1, since=0.0, at=60.0,
        state="interrupted", counts={"done": 3, "running": 0, "waiting": 4, "failed": 0}, gpu_hours=1.25,
    )  # fmt: skip
    RunRecord(store, state.run).write(state)
    return sweep, latest


def _finish(sweep: Sweep, store: Store, rng: np.random.Generator, failed: str = "") -> None:
    for number, planned in enumerate(sweep.cells):
        for recipe in planned.recipes.scores.walk():
            if not store.artifacts.has(recipe.key):
                _publish(recipe, store, rng, failed if number else "")
    prepare(sweep, store)


def _publish(recipe: Recipe, store: Store, rng: np.random.Generator, failed: str) -> None:
    facts = {
        **{"device": "cpu made up", "peak_memory_mb": float(rng.uniform(10, 99)), "queries": int(rng.integers(9999))},
        **{"evaluator_accuracy": 91.25, "evaluator_low": 84.5, "evaluator_high": 95.5, "select": 40},
        **{"select_accuracy": float(rng.uniform(50, 99)), "report_accuracy": float(rng.uniform(50, 99))},
    }
    with store.artifacts.workspace() as folder:
        _PAYLOADS.get(recipe.kind, _weights)(folder, rng, failed)
        store.artifacts.publish(recipe, folder, wall_s=float(rng.uniform(1, 9)), facts=facts, packages={"torch": "0"})


def _weights(folder: Path, rng: np.random.Generator, failed: str) -> None:
    save_file({"weight": rng.random((16, 8), np.float32)}, folder / "weights.safetensors")


def _named(rng: np.random.Generator) -> dict[str, Any]:
    return {"labels": np.arange(4).repeat(2), "restarts": np.tile(np.arange(2), 4)}


def _images(folder: Path, rng: np.random.Generator, failed: str) -> None:
    np.savez_compressed(folder / "images.npz", images=rng.integers(0, 256, (8, 3, 8, 8), np.uint8), **_named(rng))


def _scores(folder: Path, rng: np.random.Generator, failed: str) -> None:
    entries = []
    for name in METRICS.names():
        metric = METRICS.get(name)
        entry = {"metric": name, "unit": metric.unit, "larger_is": metric.larger_is, "status": "ok", "reason": ""}
        value = float(rng.uniform(5, 95))
        entry |= {"value": value, "low": value - 4, "high": value + 4, "interval": "made up", "n": 8, "groups": 4}
        if name == failed:
            entry |= {"status": "failed", "reason": "TooFewSamples: needs 2 images", "value": None}
        entries.append(entry)
    (folder / "measurements.json").write_text(json.dumps(entries))
    np.savez_compressed(folder / "per_image.npz", hit_at_1=rng.random(8) > 0.5, **_named(rng))
    np.savez_compressed(
        folder / "exemplars.npz", images=rng.integers(0, 256, (4, 3, 8, 8), np.uint8), labels=np.arange(4)
    )


_PAYLOADS: dict[str, Callable[[Path, np.random.Generator, str], None]] = {
    "split": _images,
    "reconstructions": _images,
    "scores": _scores,
}


def _match(sweep: Sweep, store: Store) -> None:
    """A report of matching, and the study it came from."""
    import optuna
    from optuna.distributions import FloatDistribution

    training = MatchTraining(strength=0.4, seed=0, accuracy=88.25, phase="search", target_key="target/0")
    outcome = MatchOutcome(
        defense="midre", defense_name="midre", architecture="vgg16", private="faces", setups=("faces",), target=88.5,
        target_text="none - 2", tolerance=0.5, state="matched", parameter="area_high", low=0.0, high=1.0,
        chosen="midre(area_high=0.4)", strength=0.4, accuracy=88.25, report_accuracy=87.75, seeds=(0,), study=STUDY,
        trainings=(training,),
    )  # fmt: skip
    report = MatchReport(
        sweep="small", digest="d1", profile="smoke", outcomes=(outcome,), trained=1, driver=sweep.digest
    )
    write_match(store, report)
    write_match(store, replace(report, digest="d2", sweep="earlier"))
    studies = Studies(store)
    study = studies.open(STUDY, directions=["minimize"], sampler=optuna.samplers.RandomSampler(0))
    for number in range(3):
        told = replace(training, accuracy=80.0 + number, target_key=f"target/{number}")
        tell(study, ask(study, {"area_high": FloatDistribution(0, 1)}), told, 88.5, [abs(8.5 - number)])
