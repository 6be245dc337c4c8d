"""Networks that guess are not matched, and nothing is matched to them; on artifacts that only say an accuracy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from midef.core import Recipe, SpecError
from midef.core.match import MatchOutcome, MatchReport
from midef.stages.recipes import NO_DEFENSE
from midef.storage import Store
from midef.sweep import library
from midef.sweep.matching.match_accuracy import Matching, undecided
from midef.sweep.matching.match_text import match_text
from midef.sweep.planning.plan import Node
from midef.sweep.spec.load import parse_spec
from midef.sweep.spec.resolve import Sweep, resolve

UNTUNED = "rolss(legacy_layer3_split=true)"  # its stages are given, so nothing is searched
PEOPLE = {"name": "synthetic_faces", "identities": 10}


def spec(**more: Any) -> dict[str, Any]:
    setup = {"id": "faces", "attack": "gmi", "private": PEOPLE, "protocol": {"identities": 10}}
    return {"name": "s", "setups": [setup], "defenses": ["none", UNTUNED], "match": {"target": "none"}, **more}


def sweep_of(**more: Any) -> Sweep:
    setup = {"architecture": "resnet18_tiny", "evaluator": "vgg16_tiny"}
    given = spec(**more)
    return resolve(parse_spec({**given, "setups": [{**one, **setup} for one in given["setups"]]}))


@dataclass
class Trainer:
    """Publishes every target with one accuracy, and splits that name their size."""

    store: Store
    accuracy: float
    select: int | None = 40

    def publish(self, recipe: Recipe) -> None:
        for needed in recipe.inputs.values():
            self.publish(needed)
        if self.store.artifacts.has(recipe.key):
            return
        facts: dict[str, Any] = {"select_accuracy": self.accuracy, "report_accuracy": self.accuracy}
        if recipe.kind == "split":
            facts = {} if self.select is None else {"select": self.select}
        with self.store.artifacts.workspace() as folder:
            (folder / "nothing.json").write_text("{}")
            self.store.artifacts.publish(recipe, folder, wall_s=1.0, facts=facts, packages={})

    def run(self, matching: Matching) -> MatchReport:
        waiting = [*matching.begin().recipes]
        while waiting:
            recipe = waiting.pop(0)
            self.publish(recipe)
            waiting += matching.grow(Node(recipe, frozenset()), None).recipes
        return matching.report()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


@pytest.mark.parametrize("select", [40, None], ids=["interval", "value alone"])
def test_ten_people_at_ten_percent_are_not_matched(store: Store, select: int | None) -> None:
    matching = Matching(sweep_of(), store)
    report = Trainer(store, 10.0, select).run(matching)
    assert [o.state for o in report.outcomes] == ["at chance", "at chance"]
    text = match_text(report)
    assert "2 at chance; 3 trainings" in text and " matched;" not in text
    why = "its reference, none: the target network has 10.0 % where chance is 10.0 %"
    assert f"none: at chance: {why}" in text
    assert len(undecided(report.outcomes)) == 2, "the command ends with 1"
    cells = matching.matched_sweep().cells
    assert all(why in cell.refused for cell in cells), "an attack on networks that guess is not run"
    assert not any(cell.cell.match is None or cell.cell.match.is_matched for cell in cells)


def test_a_network_within_its_interval_of_chance_is_no_match(store: Store) -> None:
    """17.5 % of 40 images; of 4,000 it would be far from the 10 % of a guess."""
    match = {"target": 17.5}
    report = Trainer(store, 17.5).run(matching := Matching(sweep_of(match=match, defenses=["none"]), store))
    (outcome,) = report.outcomes
    assert outcome.state == "at chance" and "17.5 % [8.7, 31.9] where chance is 10.0 %" in outcome.reason
    (cell,) = matching.matched_sweep().cells
    assert cell.cell.match is not None and not cell.cell.match.is_matched and cell.refused == ""
    large = Store.open(Path(store.uri.removeprefix("file://")) / "large")
    report = Trainer(large, 17.5, 4000).run(Matching(sweep_of(match=match, defenses=["none"]), large))
    assert [o.state for o in report.outcomes] == ["matched"]


def test_a_target_that_falls_to_chance_by_the_points_below_a_defense_is_none(store: Store) -> None:
    report = Trainer(store, 60.0).run(Matching(sweep_of(match={"target": "none - 55"}), store))
    assert {o.state for o in report.outcomes} == {"at chance"}
    assert "the accuracy to match, 5.0 %, is below chance (10.0 %)" in report.outcomes[0].reason


def test_a_tolerance_finer_than_one_select_image_is_said(store: Store) -> None:
    report = Trainer(store, 90.0).run(Matching(sweep_of(), store))
    assert [o.state for o in report.outcomes] == ["matched", "matched"]
    assert (
        match_text(report).count("note: the tolerance of 0.5 points is finer than one image of the select split") == 1
    )
    coarse = [replace(o, tolerance=2.5) for o in report.outcomes]
    assert "note:" not in match_text(replace(report, outcomes=tuple(coarse)))


def test_reports_of_an_older_midef_say_nothing_of_chance() -> None:
    plain = MatchReport(sweep="s", digest="", profile="smoke", outcomes=(an_outcome(),)).as_plain()
    for name in ("chance", "select_images"):
        del plain["outcomes"][0][name]
    (outcome,) = MatchReport.from_plain(plain).outcomes
    assert outcome.gates == () and outcome.chance is None


def an_outcome() -> MatchOutcome:
    return MatchOutcome(
        defense=NO_DEFENSE.label, defense_name="none", architecture="a", private="p", setups=("faces",), target=10.0,
        target_text="the accuracy of none", tolerance=0.5, state="matched",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (0.9, "match.target: 0.9 % is below chance (10 % of 10 identities); targets are percentages, did you mean 90?"),
        ("0.5", "did you mean 50?"),
        (10.0, "match.target: 10 % is at chance (10 % of 10 identities)"),
        (7.0, "match.target: 7 % is below chance (10 % of 10 identities)"),
    ],
)
def test_a_target_that_nobody_means_is_refused_before_anything_starts(
    tmp_path: Path, target: float | str, said: str
) -> None:
    with pytest.raises(SpecError) as written:
        library.search_text(sweep_of(match={"target": target}))
    with pytest.raises(SpecError) as given:
        library.match(spec(), tmp_path / "none", target=target)
    assert said in str(written.value) and said in str(given.value)
    assert not (tmp_path / "none").exists(), "no store is made"
