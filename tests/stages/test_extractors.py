"""Published extractors from the plan to a row: refused while the file is missing, measured when it comes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from midef.core import Inputs, Recipe
from midef.core.errors import DamagedArtifact, DataError
from midef.core.recipe import ArtifactKey
from midef.metrics.extractors import EXTRACTORS
from midef.nn.lpips import LpipsFeatures
from midef.nn.named_file import NamedFile, sha256_of
from midef.stages import BuildContext, CellRecipes, ensure, extractor, place_extractors
from midef.stages.measuring import extractor_recipe
from midef.stages.split import load as load_splits

METRICS_HERE = ("knn_distance", "lpips_nearest")
SIZES = ((64, 3, 11), (192, 64, 5), (384, 192, 3), (256, 384, 3), (256, 256, 3))


@pytest.fixture(scope="module")
def alexnet() -> dict[str, torch.Tensor]:
    """Tensors of AlexNet's trunk, at random."""
    rng = torch.Generator().manual_seed(0)
    tensors: dict[str, torch.Tensor] = {}
    for number, (out, given, px) in zip((0, 3, 6, 8, 10), SIZES, strict=True):
        tensors[f"features.{number}.weight"] = torch.randn(out, given, px, px, generator=rng) / (given * px * px) ** 0.5
        tensors[f"features.{number}.bias"] = torch.zeros(out)
    return tensors


@pytest.fixture
def folder(tmp_path: Path, alexnet: Mapping[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of weights with the file of LPIPS, which has another digest than the published one."""
    path = tmp_path / "weights" / "alexnet.pth"
    path.parent.mkdir()
    torch.save(dict(alexnet), path)
    named = NamedFile(name=path.name, source="https://a.org/alexnet.pth", sha256=sha256_of(path))
    monkeypatch.setattr(EXTRACTORS.get("lpips_alex"), "file", named)
    return path.parent


def named(plan: Any, folder: Path, **changes: Any) -> tuple[CellRecipes, dict[str, Any], list[str]]:
    """Recipes of a cell with the weights of a folder, where they lie, and what is missing."""
    recipes, where, missing = place_extractors(METRICS_HERE, folder)
    return plan(metrics=METRICS_HERE, extractors=recipes, **changes), where, missing


def entries(recipes: CellRecipes, context: BuildContext) -> dict[str, dict[str, Any]]:
    path = ensure(recipes.scores, context) / "measurements.json"
    return {entry["metric"]: entry for entry in json.loads(path.read_text(encoding="utf-8"))}


def test_a_refused_metric_is_measured_once_its_file_is_there(
    own_cell: Any,
    plan_measured: Any,
    folder: Path,
    tmp_path: Path,
    builds: Any,
    monkeypatch: pytest.MonkeyPatch,
    alexnet: dict[str, torch.Tensor],
) -> None:
    empty = tmp_path / "nothing"
    without, where, missing = named(plan_measured, empty)
    assert where == {} and missing == [
        f"lpips_nearest will be refused: no file alexnet.pth in {empty}; get it from https://a.org/alexnet.pth and put "
        "it there, or name another folder in $MIDEF_WEIGHTS"
    ]
    refused = entries(without, own_cell.context)
    assert refused["lpips_nearest"]["status"] == "refused" and refused["lpips_nearest"]["failure"] == "data"
    assert refused["knn_distance"]["status"] == "ok"

    recipes, where, missing = named(plan_measured, folder)
    assert missing == []
    same = [f.name for f in fields(recipes) if f.name != "scores"]
    assert [getattr(recipes, name) for name in same] == [getattr(without, name) for name in same]
    assert recipes.scores.key != without.scores.key
    with monkeypatch.context() as patch:
        built = builds(patch)
        measured = entries(recipes, replace(own_cell.context, locations=where))
    assert [recipe.kind for recipe in built] == ["extractor", "scores"]
    assert measured["knn_distance"] == refused["knn_distance"]
    assert measured["lpips_nearest"]["value"] == pytest.approx(by_hand(own_cell, alexnet), rel=1e-5)


@torch.no_grad()
def by_hand(cell: Any, alexnet: dict[str, torch.Tensor]) -> float:
    """Mean over reconstructions of the least squared distance to a private image of the identity."""
    features = LpipsFeatures("alex", alexnet)
    with np.load(cell.folder("reconstructions") / "images.npz", allow_pickle=False) as stored:
        images, labels = torch.from_numpy(stored["images"]), torch.from_numpy(stored["labels"])
    splits = load_splits(cell.folder("private"))
    nearest = []
    for image, label in zip(images, labels.tolist(), strict=True):
        own = torch.cat([part.images[part.labels == label] for part in (splits.train, splits.select)])
        distances = (features(own.float() / 255).double() - features(image[None].float() / 255).double()).pow(2).sum(1)
        nearest.append(float(distances.min()))
    return sum(nearest) / len(nearest)


def test_features_of_private_images_are_read_once_in_a_process(
    own_cell: Any, plan_measured: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extractor, "_FEATURES", {})
    recipes, where, _ = named(plan_measured, folder)
    context = replace(own_cell.context, locations=where)
    seen: list[int] = []
    plain = LpipsFeatures.forward

    def watched(self: Any, images: torch.Tensor) -> torch.Tensor:
        seen.append(len(images))
        return plain(self, images)

    monkeypatch.setattr(LpipsFeatures, "forward", watched)
    values = []
    for name in ("first", "again"):
        (tmp_path / name).mkdir()
        inputs = Inputs(recipes.scores.inputs, lambda needed: ensure(needed, context))
        from midef.stages import scores

        scores.build(recipes.scores, inputs, context, tmp_path / name)
        values.append((tmp_path / name / "measurements.json").read_text())
    assert sorted(seen) == [3] * 6 + [5] * 6 and values[0] == values[1]  # six identities: 3 reconstructions, 5 private


def test_few_bytes_of_features_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extractor, "_MOST_BYTES", 100)
    kept: dict[tuple[str, ...], np.ndarray] = {}
    for name, size in (("a", 5), ("b", 5), ("c", 5), ("large", 60), ("d", 5)):
        extractor._remember(kept, (name,), np.zeros(size))
        assert sum(array.nbytes for array in kept.values()) <= 100
    assert list(kept) == [("d",)]


def test_another_file_than_planned_is_refused(own_cell: Any, folder: Path) -> None:
    recipe = extractor_recipe("lpips_alex", "0" * 64)
    path = folder / "alexnet.pth"
    with pytest.raises(DataError, match="another file than the one the plan was made with; plan again"):
        ensure(recipe, replace(own_cell.context, locations={recipe.key.digest: {"path": str(path)}}))
    with pytest.raises(DataError, match="no path recorded for the file; plan again on this machine"):
        ensure(recipe, own_cell.context)


def test_a_damaged_file_is_a_problem_and_no_refusal(folder: Path) -> None:
    (folder / "alexnet.pth").write_bytes(b"half of it")
    with pytest.raises(DataError, match="is damaged or another file"):
        place_extractors(METRICS_HERE, folder)


def test_extractors_that_share_a_file_share_the_artifact() -> None:
    one, two = (extractor_recipe(name, "ab" * 32) for name in ("fid_inception", "fid_inception_ppa"))
    assert one == two and isinstance(one.key, ArtifactKey) and isinstance(one, Recipe)
    assert DamagedArtifact is not DataError
