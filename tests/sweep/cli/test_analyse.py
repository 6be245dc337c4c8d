"""The two analyses on a sweep that was really built, as small as it gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from midef.core import SpecError
from midef.core.errors import MissingArtifact
from midef.stages import BuildContext, ensure
from midef.storage import Store
from midef.sweep.cli.analyse import analyse, table
from midef.sweep.cli.app import main
from midef.sweep.spec.load import parse_spec
from midef.sweep.spec.resolve import Sweep, resolve

TINY: dict[str, Any] = {
    "name": "small",
    "setups": [
        {
            "attack": {"name": "gmi", "iterations": 2, "prior": {"width": 4, "latent_dim": 4, "steps": 2}},
            "private": {"name": "synthetic_faces", "identities": 6, "train_images": 4},
            "public": {"name": "synthetic_faces", "population": "public", "identities": 20, "train_images": 4},
            "protocol": {"identities": 4, "images_per_identity": 2},
        }
    ],
    "training": {"epochs": 1, "batch_size": 8},
    "evaluator_training": {"epochs": 1, "batch_size": 8},
    "defenses": ["none", "midre", "loft(rank=2)"],
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sweep, Path]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("analyse") / "store"
    sweep = resolve(parse_spec(TINY))
    for planned in sweep.cells:
        ensure(planned.recipes.reconstructions, BuildContext(store=Store.open(folder)))
    return sweep, folder


def test_fisher_names_every_unit(built: tuple[Sweep, Path], tmp_path: Path) -> None:
    sweep, folder = built
    rows = analyse("fisher", sweep, Store.open(folder), tmp_path / "f.html")
    assert [row["unit"] for row in rows][:2] == ["block1.conv1", "block2.conv1"]
    assert all(row["classifying"] >= 0 and row["inverting"] > 0 for row in rows)
    page = (tmp_path / "f.html").read_text()
    assert "block1.conv1" in page and "inverting" in page


def test_rank_holds_the_curve_and_the_real_heads(built: tuple[Sweep, Path], tmp_path: Path) -> None:
    sweep, folder = built
    rows = analyse("rank", sweep, Store.open(folder), tmp_path / "r.html")
    curve = [row for row in rows if row["head"] == "none, cut"]
    assert [row["rank"] for row in curve] == list(range(7)) and curve[0]["share"] == pytest.approx(1.0)
    assert [row["share"] for row in curve] == sorted((row["share"] for row in curve), reverse=True)
    heads = [row for row in rows if row["head"] != "none, cut"]
    assert [(row["head"], row["rank"]) for row in heads] == [("loft(rank=2)", 2)], "midre's head is not another head"
    assert 0 < heads[0]["share"] < 1
    assert "loft(rank=2)" in table(rows) and "loft(rank=2)" in (tmp_path / "r.html").read_text()


def test_the_verb_prints_the_table_and_the_place(
    built: tuple[Sweep, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(TINY))
    out = tmp_path / "figures" / "rank.html"
    assert main(["analyse", "rank", str(tmp_path / "s.yaml"), "--store", str(built[1]), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[0].split() == ["head", "rank", "error", "share"] and str(out) in said
    assert out.exists()


def test_says_what_is_missing(built: tuple[Sweep, Path], tmp_path: Path) -> None:
    sweep, _ = built
    with pytest.raises(MissingArtifact, match="not stored yet; `midef run` the sweep first"):
        analyse("rank", sweep, Store.open(tmp_path / "empty"), tmp_path / "x.html")
    with pytest.raises(SpecError, match="add `none` to defenses"):
        analyse("rank", resolve(parse_spec({**TINY, "defenses": ["midre"]})), Store.open(built[1]), tmp_path / "x.html")
    assert not (tmp_path / "x.html").exists()
