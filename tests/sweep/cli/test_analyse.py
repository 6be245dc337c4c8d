"""Analyses of classifiers on a sweep that was really built, as small as it gets, and what the verb writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
import yaml

from midef.analysis import ANALYSES
from midef.analysis.stored.load import needed_to_ask
from midef.core import SpecError
from midef.core.errors import MissingArtifact
from midef.results.findings import Findings
from midef.results.stored_findings import read_findings
from midef.stages import BuildContext, ensure
from midef.storage import Store
from midef.sweep.cli.analyse import found
from midef.sweep.cli.app import main
from midef.sweep.spec.load import parse_spec
from midef.sweep.spec.resolve import Sweep, resolve

TINY: dict[str, Any] = {
    "name": "small",
    "setups": [
        {
            "attack": {"name": "gmi", "iterations": 2, "prior": {"width": 4, "latent_dim": 4, "steps": 2}},
            "private": {"name": "synthetic_faces", "identities": 6, "train_images": 6},
            "public": {"name": "synthetic_faces", "population": "public", "identities": 20, "train_images": 4},
            "protocol": {"identities": 4, "images_per_identity": 3},
        }
    ],
    "training": {"epochs": 1, "batch_size": 8},
    "evaluator_training": {"epochs": 1, "batch_size": 8},
    "defenses": ["none", "midre", "loft(rank=2)"],
}
LPA = {"name": "lpa", "radius": 0.1, "inverter_width": 2, "inverter_epochs": 1, "rounds": 3}
POISONED = {**TINY, "defenses": ["none", LPA, "rounding"]}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sweep, Path]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("analyse") / "store"
    sweep = resolve(parse_spec(TINY))
    for planned in sweep.cells:
        ensure(planned.recipes.reconstructions, BuildContext(store=Store.open(folder)))
    for planned in resolve(parse_spec(POISONED)).cells:
        for recipe in needed_to_ask(planned.recipes.target):
            ensure(recipe, BuildContext(store=Store.open(folder)))
    return sweep, folder


def findings(name: str, built: tuple[Sweep, Path]) -> Findings:
    return found(ANALYSES.make(name), built[0], Store.open(built[1]))


def of_answers(name: str, built: tuple[Sweep, Path], **params: int) -> Findings:
    return found(ANALYSES.make(name, params), resolve(parse_spec(POISONED)), Store.open(built[1]))


def test_fisher_names_every_unit(built: tuple[Sweep, Path]) -> None:
    fisher = findings("fisher", built)
    assert [row["unit"] for row in fisher.rows][:2] == ["block1.conv1", "block2.conv1"]
    assert all(row["classifying"] >= 0 and row["inverting"] > 0 for row in fisher.rows)
    (panel,) = fisher.drawing.panels
    assert [series.name for series in panel.series] == ["classifying", "inverting"] and panel.log_y
    assert all(sum(series.y) == pytest.approx(100) for series in panel.series)
    assert "block1.conv1 holds" in fisher.verdict


def test_feature_space_has_a_row_for_each_identity_and_network(built: tuple[Sweep, Path]) -> None:
    space = findings("feature_space", built)
    assert [(row["defense"], row["identity"]) for row in space.rows] == [
        (label, identity) for label in ("none", "midre") for identity in range(4)
    ]
    assert {row["images"] for row in space.rows} == {3}
    assert all(0 <= row["private_reconstructed"] <= 1 and row["distance_private"] > 0 for row in space.rows)
    assert [len(panel.series) for panel in space.drawing.panels] == [6, 6, 12, 3]


def test_rank_holds_the_curve_and_the_real_heads(built: tuple[Sweep, Path]) -> None:
    rank = findings("rank", built)
    curve = [row for row in rank.rows if row["head"] == "none, cut"]
    assert [row["rank"] for row in curve] == list(range(7)) and curve[0]["share"] == pytest.approx(1.0)
    assert [row["share"] for row in curve] == sorted((row["share"] for row in curve), reverse=True)
    heads = [row for row in rank.rows if row["head"] != "none, cut"]
    assert [(row["head"], row["rank"]) for row in heads] == [("loft(rank=2)", 2)], "midre's head is not another head"
    assert 0 < heads[0]["share"] < 1
    cut, point = rank.drawing.panels[0].series
    assert list(cut.y) == pytest.approx([100 * row["share"] for row in curve])
    assert (point.name, list(point.x), point.kind) == ("loft(rank=2)", [2], "points")
    assert rank.verdict.endswith(" % behind loft(rank=2).")


def test_detectors_of_served_answers_and_the_control(built: tuple[Sweep, Path]) -> None:
    found = of_answers("answers_pca", built, images=64)
    control, lpa, rounding = found.rows
    assert [str(row["defense"]).partition("(")[0] for row in found.rows] == ["none", "lpa", "rounding"]
    assert (control["distance"], control["auc"], control["auc_low"], control["auc_high"]) == (0.0, 0.5, 0.5, 0.5)
    assert 0.01 < lpa["distance"] <= 0.1 and rounding["auc"] > 0.9, "decimals cut off show"
    assert found.drawing.panels[0].title.startswith("lpa(") and lpa["images"] == 64


def test_the_course_of_stored_answers_is_the_descent_of_the_served_ones(built: tuple[Sweep, Path]) -> None:
    found = of_answers("alignment", built, images=6)
    joint = [row for row in found.rows if row["alignment"] == "joint"]
    alone = [row for row in found.rows if row["alignment"] == "per_query"]
    assert [row["answers"] for row in joint] == ["clean", *["perturbed"] * 4, "served"]
    assert {row["aligned"] for row in joint} == {1} and {row["aligned"] for row in alone} == {6}
    for rows in (joint, alone):
        course = [row["cosine"] for row in rows[1:-1]]
        assert course == sorted(course) and course[0] < course[-1]


def test_below_the_bound_the_defensive_loss_of_a_real_network_falls(built: tuple[Sweep, Path]) -> None:
    store = Store.open(built[1])
    before = sorted(path.name for path in built[1].rglob("*"))
    found = of_answers("poisoning_bound", built, images=16, steps=3)
    assert [(row["start"], row["answers"], row["step"]) for row in found.rows][:4] == [
        *[("substitute", "served", i) for i in range(3)],
        ("fresh", "served", 0),
    ]
    for row in found.rows:
        assert row["fall"] > 0 or not row["is_below"]
        assert row["fall"] >= row["guaranteed"] - 1e-9
    assert len(found.rows) == 12 and store.artifacts.keys() and before == sorted(p.name for p in built[1].rglob("*"))


def test_the_verb_prints_the_table_and_writes_figure_and_rows(
    built: tuple[Sweep, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(TINY))
    out = tmp_path / "figures" / "mine.html"
    asked = ["analyse", "rank(points=3)", str(tmp_path / "s.yaml"), "--store", str(built[1]), "--out", str(out)]
    assert main(asked) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["head", "rank", "error", "share"]
    assert lines[-3].startswith("rank: ") and lines[-2:] == [f"figure: {out}", f"rows: {out.with_suffix('.parquet')}"]
    assert "loft(rank=2)" in out.read_text()
    table = pq.read_table(out.with_suffix(".parquet"))
    assert [(row["head"], row["rank"]) for row in table.to_pylist()][:3] == [("none, cut", rank) for rank in (0, 3, 6)]
    about = json.loads(table.schema.metadata[b"midef"])
    assert about["analysis"]["params"] == {"points": 3} and about["sweep"] == "small"
    assert lines[-3] == f"rank: {about['verdict']}"
    (kept,) = read_findings(Store.open(built[1]), "small")
    assert (kept.name, kept.params, kept.setup, kept.seed) == (
        "rank",
        {"points": 3},
        built[0].cells[0].cell.setup.id,
        0,
    )
    assert kept.findings.verdict == about["verdict"] and list(kept.findings.rows) == table.to_pylist()


def test_says_what_is_missing(built: tuple[Sweep, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(MissingArtifact, match="not stored yet; `midef run` the sweep first"):
        found(ANALYSES.make("rank"), built[0], Store.open(tmp_path / "empty"))
    with pytest.raises(SpecError, match="add `none` to defenses"):
        found(ANALYSES.make("rank"), resolve(parse_spec({**TINY, "defenses": ["midre"]})), Store.open(built[1]))
    assert main(["analyse", "rnk", "--store", str(built[1])]) == 2
    assert "unknown analysis 'rnk'; did you mean 'rank'?" in capsys.readouterr().err
    assert main(["analyse", "rank", "--store", str(built[1]), "--out", "x.parquet"]) == 2
    assert "give the name of the figure, x.html" in capsys.readouterr().err


def test_one_that_reads_no_sweep_needs_no_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, store = tmp_path / "toy.html", tmp_path / "no-store"
    asked = "low_rank_toy(ranks=[1], epochs=1, steps=1, trainings=2, points=4)"
    assert main(["analyse", asked, "--out", str(out), "--store", str(store)]) == 0
    said = capsys.readouterr().out
    assert "low_rank_toy reads no sweep and no store" in said and "low_rank_toy: " in said
    facts = json.loads(pq.read_schema(out.with_suffix(".parquet")).metadata[b"midef"])
    assert facts["sweep"] is None and facts["analysis"]["params"]["trainings"] == 2
    assert out.exists() and not store.exists()
