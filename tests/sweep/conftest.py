"""Small specifications, small trees of images, and made-up artifacts: nothing here trains, nothing starts Ray."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import yaml
from PIL import Image
from reliability.made_store import SPEC
from typing_extensions import override

from midef.core import Recipe
from midef.core.traces import Traces
from midef.defenses import DEFENSES, Defense
from midef.metrics import METRICS, standard_metrics
from midef.models import ModelFacts
from midef.storage import Store
from midef.storage.traces import write_traces
from midef.sweep.spec.load import parse_spec
from midef.sweep.spec.planned_cell import PlannedCell
from midef.sweep.spec.resolve import Sweep, resolve

Spec = Callable[..., dict[str, Any]]

BASE: dict[str, Any] = {**SPEC, "defenses": ["none"]}


@pytest.fixture
def spec() -> Spec:
    """A valid specification as plain data; keywords change it, those of `setup` its only setup."""

    def make(setup: Mapping[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
        return {**BASE, "setups": [{**BASE["setups"][0], **(setup or {})}], **changes}

    return make


@pytest.fixture
def sweep_of(spec: Spec) -> Callable[..., Sweep]:
    """The same, resolved."""
    return lambda setup=None, **changes: resolve(parse_spec(spec(setup, **changes)))


@pytest.fixture
def write_yaml(tmp_path: Path) -> Callable[..., Path]:
    """Writes a specification as a YAML file."""

    def write(data: Any, name: str = "sweep.yaml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(data, sort_keys=False))
        return path

    return write


@pytest.fixture
def make_tree(tmp_path: Path) -> Callable[..., Path]:
    """A folder of random images: `{identity: count}`; equal seeds give equal images."""

    def make(name: str, identities: Mapping[str, int], seed: int = 0) -> Path:
        rng = np.random.default_rng(seed)
        for identity, count in identities.items():
            for i in range(count):
                path = tmp_path / name / identity / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)
        return tmp_path / name

    return make


@dataclass(frozen=True, kw_only=True)
class OwnLoss(Defense):
    """A second owner of the criterion."""

    paper: ClassVar[str] = "test"

    @override
    def criterion(self, forward: Any, batch: Any, progress: float) -> None:
        return None


@dataclass(frozen=True, kw_only=True)
class NotHere(Defense):
    """Cannot work on VGG."""

    paper: ClassVar[str] = "test"

    @override
    def problems(self, facts: ModelFacts) -> list[str]:
        return ["needs a residual block; choose resnet18_tiny"] if facts.family == "vgg" else []


@pytest.fixture
def extra_defenses() -> Iterator[None]:
    """`own_loss` replaces the criterion, `not_here` refuses VGG; both forgotten afterwards."""
    DEFENSES.names()
    DEFENSES.add("own_loss")(OwnLoss)
    DEFENSES.add("not_here")(NotHere)
    yield
    for name in ("own_loss", "not_here"):
        with contextlib.suppress(KeyError):
            del DEFENSES._classes[name]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def _entry(name: str, failed: str) -> dict[str, Any]:
    """A measurement."""
    metric = METRICS.get(name)
    entry: dict[str, Any] = {"metric": name, "unit": metric.unit, "larger_is": metric.larger_is}
    if name == failed:
        return entry | {"status": "failed", "reason": "TooFewSamples: needs 2 images", "value": None}
    return entry | {"status": "ok", "reason": "", "value": 50.0, "n": 8}


@pytest.fixture
def publish(store: Store) -> Callable[..., None]:
    """Stores a made-up artifact of a recipe: a payload of a few bytes, facts like a real one's."""

    def put(
        recipe: Recipe,
        *,
        wall_s: float = 1.0,
        failed: str = "",
        device: str = "cpu test",
        peak_memory_mb: float = 12.5,
        traces: Traces | None = None,
    ) -> None:
        facts = {
            "device": device,
            "peak_memory_mb": peak_memory_mb,
            "queries": 24,
            "evaluator_accuracy": 91.0,
            "evaluator_low": 84.5,
            "evaluator_high": 95.0,
            "select": 40,
            "confidence_end": 0.4,
        }
        with store.artifacts.workspace() as folder:
            (folder / "measurements.json").write_text(json.dumps([_entry(name, failed) for name in standard_metrics()]))
            if traces is not None and recipe.kind == "reconstructions":
                write_traces(folder, traces)
            store.artifacts.publish(recipe, folder, wall_s=wall_s, facts=facts)

    return put


@pytest.fixture
def publish_cell(publish: Callable[..., None]) -> Callable[..., None]:
    """Stores all artifacts of a cell; failed: a metric that could not be measured; traces: of its search."""

    def put(planned: PlannedCell, failed: str = "", traces: Traces | None = None) -> None:
        for recipe in planned.recipes.scores.walk():
            publish(recipe, failed=failed, traces=traces)

    return put
