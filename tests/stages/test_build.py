"""A cell is built once, kept, and repaired."""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from midef.core import MissingArtifact, Recipe
from midef.metrics import standard_metrics
from midef.stages import BuildContext, build, build_recipe, ensure
from midef.stages.build import device_name
from midef.storage import Store
from midef.testing.positions import positions, rises_to_the_end

Builds = Callable[[pytest.MonkeyPatch], list[Recipe]]


def stored_bytes(folder: Path, name: str) -> bytes:
    return (folder / name).read_bytes()


def untimed(folder: Path, name: str) -> object:
    """The content of a file, without measurements in seconds."""
    if name != "measurements.json":
        return stored_bytes(folder, name)
    return [entry for entry in json.loads(stored_bytes(folder, name)) if entry["unit"] != "seconds"]


def test_asking_for_the_scores_builds_everything_they_need_once(cell: Any) -> None:
    assert Counter(cell.built) == Counter(cell.recipes.scores.walk())
    for recipe in cell.built:
        place = cell.built.index(recipe)
        assert all(cell.built.index(needed) < place for needed in recipe.inputs.values()), "inputs come first"
    assert Counter(recipe.kind for recipe in cell.built) == {
        "split": 3,  # private, public, and private at the evaluator's resolution
        "target": 1,
        "prior": 1,
        "evaluator": 1,
        "regressor": 1,
        "reconstructions": 1,
        "scores": 1,
    }


def test_every_stage_tells_how_far_it_is(cell: Any) -> None:
    for recipe in cell.built:
        rises_to_the_end(cell.told[recipe.key])


def test_an_input_that_was_lost_is_not_the_work_at_hand(cell: Any, tmp_path: Path) -> None:
    with positions() as told:
        ensure(cell.recipes.target, BuildContext(store=Store.open(tmp_path / "store")))
    assert told == cell.told[cell.recipes.target.key]


def test_every_metric_is_measured(cell: Any) -> None:
    measured = json.loads((cell.folder("scores") / "measurements.json").read_text())
    assert [entry["metric"] for entry in measured] == standard_metrics()
    of_pairs = {entry["metric"] for entry in measured if "compares pairs" in entry["reason"]}
    assert {entry["status"] for entry in measured if entry["metric"] not in of_pairs} == {"ok"}


def test_asking_again_does_nothing(cell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*given: object, **named: object) -> None:
        raise AssertionError("something is built again")

    monkeypatch.setattr(build, "build_recipe", never)
    for recipe in cell.recipes.scores.walk():
        assert ensure(recipe, cell.context) == cell.context.store.artifacts.fetch(recipe.key)


def test_a_damaged_target_is_set_aside_and_comes_back_bit_for_bit(
    own_cell: Any, builds: Builds, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = own_cell.folder("target")
    sound = stored_bytes(folder, "model.safetensors")
    damaged = bytearray(sound)
    damaged[len(damaged) // 2] ^= 1
    (folder / "model.safetensors").write_bytes(bytes(damaged))
    built = builds(monkeypatch)
    ensure(own_cell.recipes.target, own_cell.context)
    assert built == [own_cell.recipes.target], "what it starts from is not built again"
    assert stored_bytes(own_cell.folder("target"), "model.safetensors") == sound
    (aside,) = Path(own_cell.context.store.uri).glob("artifacts/.damaged/target-*")
    assert stored_bytes(aside, "model.safetensors") == bytes(damaged)


def test_a_damaged_input_is_repaired_when_somebody_needs_it(
    own_cell: Any, builds: Builds, monkeypatch: pytest.MonkeyPatch
) -> None:
    prior = own_cell.recipes.reconstructions.inputs["prior"]
    (own_cell.context.store.artifacts.fetch(prior.key) / "generator.safetensors").write_bytes(b"nothing")
    before = stored_bytes(own_cell.folder("reconstructions"), "images.npz")
    own_cell.context.store.artifacts.set_aside(own_cell.recipes.reconstructions.key, "for this test")
    built = builds(monkeypatch)
    ensure(own_cell.recipes.reconstructions, own_cell.context)
    assert built == [prior, own_cell.recipes.reconstructions]
    assert stored_bytes(own_cell.folder("reconstructions"), "images.npz") == before


def test_another_store_gives_the_same_bytes_whatever_torch_is_set_to(cell: Any, tmp_path: Path) -> None:
    """A notebook has as many threads as the machine has cores; the stored bits must not say so."""
    import torch

    def settings() -> tuple[object, ...]:
        cudnn = torch.backends.cudnn
        flags = (cudnn.benchmark, cudnn.deterministic, torch.is_grad_enabled())
        return torch.get_num_threads(), torch.get_float32_matmul_precision(), torch.get_default_dtype(), *flags

    other = BuildContext(store=Store.open(tmp_path / "other"))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        torch.set_float32_matmul_precision("medium")
        torch.set_default_dtype(torch.float64)
        torch.backends.cudnn.benchmark = True
        mine = settings()
        with torch.no_grad():
            ensure(cell.recipes.scores, other)
        assert settings() == mine, "the caller's settings come back"
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision("highest")
        torch.set_default_dtype(torch.float32)
        torch.backends.cudnn.benchmark = False
    for recipe in cell.recipes.scores.walk():
        here, there = (context.store.artifacts.fetch(recipe.key) for context in (cell.context, other))
        files = sorted(path.name for path in here.iterdir() if path.name != "META.json")
        assert files == sorted(path.name for path in there.iterdir() if path.name != "META.json")
        different = [name for name in files if untimed(here, name) != untimed(there, name)]
        assert not different, f"{recipe.kind}: {different}"


def test_a_helper_of_a_shared_training_publishes_nothing(cell: Any, tmp_path: Path) -> None:
    context = BuildContext(store=Store.open(tmp_path / "store"))
    build_recipe(cell.recipes.private, context, publish=False)
    with pytest.raises(MissingArtifact):
        context.store.artifacts.fetch(cell.recipes.private.key)


def test_a_shared_training_is_handed_the_target_with_its_inputs_ready(cell: Any, tmp_path: Path) -> None:
    asked: list[Recipe] = []

    def fit(recipe: Recipe, given: BuildContext) -> None:
        assert all(given.store.artifacts.has(needed.key) for needed in recipe.inputs.values())
        asked.append(recipe)
        build_recipe(recipe, given)

    context = BuildContext(store=Store.open(tmp_path / "store"), fit=fit)
    ensure(cell.recipes.target, context)
    assert asked == [cell.recipes.target]


def test_an_artifact_says_what_it_cost_and_where_it_was_built(cell: Any) -> None:
    for recipe in cell.recipes.scores.walk():
        meta = cell.context.store.artifacts.meta(recipe.key)
        assert meta["wall_s"] > 0 and meta["facts"]["device"].startswith("cpu")
        assert {"midef", "torch"} <= set(meta["packages"])


def test_the_device_of_a_cpu_names_its_model() -> None:
    name = device_name("cpu")
    assert name.startswith(f"cpu {platform.machine()}")
    if Path("/proc/cpuinfo").is_file() and "model name" in Path("/proc/cpuinfo").read_text("utf-8"):
        assert ", " in name
