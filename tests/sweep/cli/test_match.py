"""`midef match`, and `midef plan` of what it would search."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from midef.core import Failure
from midef.storage import Store
from midef.sweep import library
from midef.sweep.catalogue import read_spec
from midef.sweep.execution import tune_run
from midef.sweep.execution.outcome import Outcome
from midef.sweep.spec.resolve import resolve

Yaml = Callable[..., Path]
Midef = Callable[..., tuple[int, str, str]]


@pytest.fixture
def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans are taken, nothing is built."""
    monkeypatch.setattr(tune_run, "run_plan", lambda *args, **given: Outcome(stopped="budget reached"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--target", "85"], "to 85 %, tolerance 0.5 points"),
        (["--target", "88.5", "--tolerance", "1"], "to 88.5 %, tolerance 1 points"),
        (["--target", "none - 2"], "to none minus 2 points"),
        (["--target", "midre(area_high=0.8)"], "to the accuracy of midre(area_high=0.8)"),
        (["--trainings", "5"], "area_high 0.1 to 0.8 (linear), on 1 network with its data set, at most 5 trainings"),
        ([], "to none minus 1 points, tolerance 2 points"),
    ],
    ids=str,
)
def test_options_of_match_come_before_the_sweep(
    midef: Midef, spec: Callable[..., dict[str, Any]], write_yaml: Yaml, nothing_runs: None, given: list[str], said: str
) -> None:
    written = {"target": "none - 1", "tolerance": 2.0} if not given else {}
    path = write_yaml(spec(defenses=["none", "midre"], match=written))
    code, out, _ = midef("match", path, *given, "--no-attack", "--store", "store")
    assert code == 4 and said in out


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--target", "midree - 2"], "match.target: unknown defense 'midree'; did you mean 'midre'?"),
        (["--target", "none-2"], "(give a percentage, a defense, or `none - 2`)"),
        (["--target", "101"], "match.target: a target accuracy is a percentage above 0 and at most 100, got 101"),
        (["--target", "0.9"], "targets are percentages, did you mean 90?"),
        (["--tolerance", "0"], "match.tolerance: "),
        (["--trainings", "2"], "match.trainings: "),
        (["--set", "match.tolrance=1"], "match.tolrance: unknown field; did you mean 'tolerance'?"),
    ],
    ids=str,
)
def test_2_for_wrong_options_of_match(midef: Midef, small: Path, given: list[str], said: str) -> None:
    code, out, err = midef("match", small, *given, "--store", "store")
    assert (code, out) == (2, "") and said in err
    assert not Path("store").exists(), "wrong options made a store"


@pytest.mark.parametrize("block", [{"match": {"target": 85}}, {"front": {"defense": "midre"}}], ids=str)
def test_2_for_a_sweep_to_match_that_is_run(
    midef: Midef, spec: Callable[..., dict[str, Any]], write_yaml: Yaml, block: dict[str, Any]
) -> None:
    code, out, err = midef("run", write_yaml(spec(**block)), "--store", "store")
    assert (code, out) == (2, "") and "is one for `midef match`" in err
    assert not Path("store").exists()


def test_the_plan_of_a_sweep_to_match_is_what_would_be_searched(
    midef: Midef, spec: Callable[..., dict[str, Any]], write_yaml: Yaml
) -> None:
    path = write_yaml(spec(defenses=["none", "midre"], match={"target": "none - 2"}))
    code, out, _ = midef("plan", path, "--store", "store")
    assert code == 0 and "to none minus 2 points" in out
    assert "  midre: area_high 0.1 to 0.8 (linear)" in out and "  none: as it is" in out and "at most 33 train" in out
    assert not Path("store").exists()


def test_the_plan_of_a_sweep_to_match_has_costs(
    midef: Midef, spec: Callable[..., dict[str, Any]], write_yaml: Yaml, store: Store, publish: Callable[..., None]
) -> None:
    """`none` takes a training for each of 3 seeds, `midre` at least as many and at most the limit."""
    path = write_yaml(spec(defenses=["none", "midre"], match={"target": "none - 2", "trainings": 20}))
    found = json.loads(midef("plan", path, "--json", "--store", "store")[1])
    stages = {stage["stage"]: stage for stage in found["stages"]}
    assert found["pairs"] == 1 and found["trainings_each"] == 20
    assert stages["match"]["pieces"] == [3 + 3, 3 + 6, 3 + 20] and stages["scores"]["pieces"] == [2, 2, 2]
    low, expected, worst = stages["match"]["estimated_hours"]
    assert 0 < low < expected < worst < 4 * low
    assert found["total"]["pieces"][2] == sum(stage["pieces"][2] for stage in found["stages"])
    code, out, _ = midef("plan", path, "--store", "store")
    assert code == 0 and "match: 1 searches" not in out and "match: 1 search, at most 20 trainings each" in out
    (line,) = (line for line in out.splitlines() if line.startswith("match    "))
    assert "6 / 9 / 23" in line and "estimated" in line
    table = out.splitlines()[out.splitlines().index(next(x for x in out.splitlines() if x.startswith("stage "))) :]
    assert all(len(line) <= 100 for line in table[: len(stages) + 2])
    # Trainings that are stored tell how long one takes; they are not taken off: searches differ in the strength.
    target = resolve(read_spec(path)).cells[0].recipes.target
    publish(target, wall_s=3600.0)
    found = json.loads(midef("plan", path, "--json", "--store", "store")[1])
    assert {s["stage"]: s for s in found["stages"]}["match"]["hours"] == pytest.approx([6.0, 9.0, 23.0])


def test_the_plan_of_a_front_has_costs(midef: Midef, spec: Callable[..., dict[str, Any]], write_yaml: Yaml) -> None:
    path = write_yaml(spec(defenses=["none"], front={"defense": "midre", "trials": 5}))
    stages = {
        s["stage"]: s["pieces"] for s in json.loads(midef("plan", path, "--json", "--store", "store")[1])["stages"]
    }
    assert stages["match"] == [5, 5, 5] and stages["target"] == [1, 1, 1], "five of midre, one of none"
    assert stages["scores"] == [6, 6, 6] and stages["evaluator"] == [1, 1, 1]


def test_trainings_that_cells_share_are_counted_once(
    midef: Midef, spec: Callable[..., dict[str, Any]], write_yaml: Yaml
) -> None:
    written = spec({"architecture": "facenet64_tiny"}, defenses=["none", "midre"], match={"target": "none - 2"})
    _, out, _ = midef("plan", write_yaml({**written, "train_workers": {"target": 2}}), "--store", "store")
    assert "evaluators train in the node's own process, or" in out and "; 2 of 3 have layers or a loss that draw" in out


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--front", "midree"], "front.defense: unknown defense 'midree'; did you mean 'midre'?"),
        (["--front", "none"], "front.defense: none has no strength to search: it changes nothing"),
        (["--front", "midre", "--target", "85"], "is searched without a target: leave --target out"),
        (["--front", "midre", "--set", "front={defense: nls, trials: 1}"], "front.trials: "),
    ],
    ids=str,
)
def test_2_for_a_front_that_cannot_be_searched(midef: Midef, small: Path, given: list[str], said: str) -> None:
    code, out, err = midef("match", small, *given, "--store", "store")
    assert (code, out) == (2, "") and said in err
    assert not Path("store").exists(), "wrong options made a store"


def test_the_plan_of_a_front_is_what_would_be_searched(
    midef: Midef, spec: Callable[..., dict[str, Any]], write_yaml: Yaml
) -> None:
    code, out, _ = midef("plan", write_yaml(spec(front={"defense": "midre"})), "--store", "store")
    assert code == 0 and "the front of midre over area_high 0.1 to 0.8 (linear), 24 strengths" in out
    assert not Path("store").exists()


def test_1_when_a_front_ended_early(
    midef: Midef, spec: Callable[..., dict[str, Any]], write_yaml: Yaml, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training is lost without a word about its strength; the rows of what was tried are all there."""

    def run_plan(plan: Any, store: Store, options: Any, grow: Any = None) -> Outcome:
        nodes = [node for node in plan.nodes.values() if node.recipe.kind in ("target", "scores")]
        for node in nodes:
            grow(node, Failure("oom", "out of memory"))
        return Outcome()

    monkeypatch.setattr(tune_run, "run_plan", run_plan)
    monkeypatch.setattr(
        library, "run_cells", lambda sweep, store, *args, **given: library.SweepResult(name=sweep.name, store=store)
    )
    code, out, _ = midef("match", write_yaml(spec(front={"defense": "midre"})), "--store", "store")
    assert code == 1 and "ended early: out of memory" in out


def test_a_front_goes_before_a_match_and_takes_its_ranges(
    midef: Midef, spec: Callable[..., dict[str, Any]], write_yaml: Yaml, nothing_runs: None
) -> None:
    both = {"front": {"defense": "midre", "trials": 6}, "match": {"target": 85, "ranges": {"midre": {"high": 0.6}}}}
    code, out, _ = midef("match", write_yaml(spec(**both)), "--store", "store")
    assert code == 4 and "the front of midre over area_high 0.1 to 0.6 (linear), 6 strengths" in out
    assert "85 %" not in out
    code, out, _ = midef("match", write_yaml(spec(**both)), "--front", "nls", "--store", "store")
    assert code == 4 and "the front of nls over alpha" in out and "6 strengths" in out


def test_3_for_a_file_as_the_store_of_a_search(
    midef: Midef, spec: Callable[..., dict[str, Any]], write_yaml: Yaml, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    sweep = write_yaml(spec(match={"target": "none"}))
    for verb in ("plan", "match"):
        code, out, err = midef(verb, sweep, "--store", tmp_path / "file")
        assert (code, out) == (3, "") and "is a file; give the path of a folder" in err
