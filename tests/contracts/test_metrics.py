"""The same questions to every registered metric, on random evidence."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import ClassVar

import numpy as np
import pytest
from typing_extensions import override

from midef.core import Choice, ResultRow, SpecError, TooFewSamples
from midef.metrics import METRICS, Evidence, Measurement, Metric, column_title
from midef.stages.scores import measure

NAMES = METRICS.names()
every_metric = pytest.mark.parametrize("name", NAMES)
DIRECTIONS = ("more useful", "more private", "less private", "more costly")

REFUSES: dict[str, tuple[str, str] | None] = {
    "attack_accuracy_at_1": ("reconstructions", "attack accuracy needs at least 1 reconstruction, got 0"),
    "attack_accuracy_at_5": ("reconstructions", "attack accuracy needs at least 1 reconstruction, got 0"),
    "coverage": ("reconstructions", "coverage needs at least 1 reconstruction, got 0"),
    "knn_distance": ("reconstructions", "KNN distance needs at least 1 reconstruction, got 0"),
    "natural_accuracy": ("report", "natural accuracy needs at least 1 image in the report split, got 0"),
    "queries": None,  # counted, not estimated: there are never too few
    "wall_s": None,
    "train_s": None,
}
"""What is taken away, and what the metric says then."""


def evidence(seed: int = 0, *, classes: int = 8, n: int = 24, n_report: int = 30, dim: int = 5) -> Evidence:
    rng = np.random.default_rng(seed)
    attacked = np.arange(n) % classes
    return Evidence(
        n_classes=classes,
        report_labels=rng.integers(0, classes, n_report),
        report_predictions=rng.integers(0, classes, n_report),
        labels=attacked,
        restarts=np.arange(n) // classes,
        found=rng.random(n) < 0.5,
        evaluator_logits=rng.standard_normal((n, classes)).astype(np.float32),
        features=rng.standard_normal((n, dim)).astype(np.float32),
        private_features=rng.standard_normal((3 * classes, dim)).astype(np.float32),
        private_labels=np.arange(3 * classes) % classes,
        queries=int(rng.integers(0, 10**6)),
        attack_s=float(rng.random()),
        train_s=float(rng.random()),
    )


def without(what: str) -> Evidence:
    full, none = evidence(), np.empty(0, dtype=np.int64)
    if what == "report":
        return replace(full, report_labels=none, report_predictions=none)
    empty = {"evaluator_logits": full.evaluator_logits[:0], "features": full.features[:0]}
    return replace(full, labels=none, restarts=none, found=none.astype(bool), **empty)


# ---------------------------------------------------------------- what a metric says about itself


def test_every_metric_has_a_line_here() -> None:
    assert set(REFUSES) == set(NAMES), "give a new metric a line in REFUSES"


@every_metric
def test_declares_unit_direction_range_and_source(name: str) -> None:
    metric = METRICS.make(name)
    assert metric.unit and metric.larger_is in DIRECTIONS
    assert metric.low is None or metric.high is None or metric.low < metric.high
    assert metric.paper and "." in (type(metric).__doc__ or "")
    if metric.unit == "percent":
        assert (metric.low, metric.high) == (0.0, 100.0)


@every_metric
def test_refuses_an_unknown_field_by_name(name: str) -> None:
    with pytest.raises(SpecError, match=f"metric '{name}' has no parameter 'no_such_field'"):
        METRICS.make(name, {"no_such_field": 1})


@every_metric
def test_a_choice_comes_back(name: str) -> None:
    choice = METRICS.choose(name)
    assert Choice.from_plain(json.loads(choice.keyed_json)) == choice
    assert METRICS.remake(choice) == METRICS.make(name)


def test_every_metric_has_a_table_column_of_its_own() -> None:
    titles = [column_title(name) for name in NAMES]
    assert all(titles) and len(set(titles)) == len(titles)
    assert all(0 < len(title) <= 12 for title in titles), "a heading is short: many columns stand side by side"


def test_a_metric_that_says_no_column_is_titled_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(METRICS.get("coverage"), "column", "")
    assert column_title("coverage") == "coverage"
    assert column_title("of_a_package_that_is_not_here") == ""


# ---------------------------------------------------------------- what it answers


@every_metric
@pytest.mark.parametrize("seed", range(5))
def test_stays_in_its_range_with_its_interval_around_it(name: str, seed: int) -> None:
    metric = METRICS.make(name)
    found = metric.measure(evidence(seed, n=8 * (seed + 1)))
    low = -math.inf if metric.low is None else metric.low
    high = math.inf if metric.high is None else metric.high
    assert low <= found.value <= high and math.isfinite(found.value)
    if found.low is not None:
        assert found.high is not None and found.interval
        assert low <= found.low <= found.value <= found.high <= high
    assert type(found.value) is float


@every_metric
def test_repeats_and_leaves_the_evidence_alone(name: str) -> None:
    given = evidence(3)
    kept = {f.name: np.array(getattr(given, f.name)) for f in fields(given)}
    assert METRICS.make(name).measure(given) == METRICS.make(name).measure(given)
    assert all(np.array_equal(getattr(given, key), value) for key, value in kept.items())


@every_metric
def test_the_order_of_the_images_does_not_matter(name: str) -> None:
    given = evidence(4)
    order = np.random.default_rng(0).permutation(len(given.labels))
    per_image = ("labels", "restarts", "evaluator_logits", "features")
    shuffled = replace(given, **{key: getattr(given, key)[order] for key in per_image})
    mine, theirs = (METRICS.make(name).measure(e) for e in (given, shuffled))
    assert mine.value == pytest.approx(theirs.value, rel=1e-12)
    assert (mine.n, mine.groups, mine.chance) == (theirs.n, theirs.groups, theirs.chance)


@every_metric
def test_refuses_to_answer_from_nothing(name: str) -> None:
    expected = REFUSES[name]
    if expected is None:
        found = METRICS.make(name).measure(without("reconstructions"))
        assert math.isfinite(found.value)
    else:
        with pytest.raises(TooFewSamples, match=expected[1]):
            METRICS.make(name).measure(without(expected[0]))


# ---------------------------------------------------------------- when it cannot answer


@pytest.mark.parametrize("name", [name for name in NAMES if REFUSES[name] is not None])
def test_a_refusal_is_a_failed_entry_with_a_reason_and_no_value(name: str) -> None:
    expected = REFUSES[name]
    assert expected is not None
    what, message = expected
    failed, fine = measure([name, "queries"], without(what))
    assert (failed["metric"], failed["status"], failed["value"]) == (name, "failed", None)
    assert failed["reason"] == f"TooFewSamples: {message}"
    assert (failed["unit"], failed["larger_is"]) == (METRICS.get(name).unit, METRICS.get(name).larger_is)
    assert fine["status"] == "ok" and fine["reason"] == "", "the others are measured all the same"


@pytest.mark.parametrize("value", [math.nan, math.inf], ids=str)
def test_a_number_that_is_none_is_a_failed_entry(value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Metric):
        unit: ClassVar[str] = "percent"
        larger_is: ClassVar[str] = "more private"

        @override
        def measure(self, evidence: Evidence) -> Measurement:
            return Measurement(value=value)

    monkeypatch.setattr(METRICS, "make", lambda name: Broken())
    (entry,) = measure(["broken"], evidence())
    assert (entry["status"], entry["value"]) == ("failed", None)
    assert str(value) in entry["reason"]


def test_measurements_are_json_and_fit_a_result_row() -> None:
    entries = json.loads(json.dumps(measure(NAMES, evidence()), allow_nan=False))
    assert [entry["metric"] for entry in entries] == NAMES
    known = {f.name for f in fields(ResultRow)}
    assert all(set(entry) <= known for entry in entries)
    assert all(entry["status"] == "ok" and entry["value"] is not None for entry in entries)


# ---------------------------------------------------------------- what must hold for any input


@dataclass(frozen=True)
class Chance:
    metric: str
    k: int


@pytest.mark.parametrize(
    "chance", [Chance("attack_accuracy_at_1", 1), Chance("attack_accuracy_at_5", 5)], ids=lambda c: c.metric
)
def test_attack_accuracy_on_noise_is_near_chance(chance: Chance) -> None:
    found = METRICS.make(chance.metric).measure(evidence(0, classes=20, n=4000))
    assert found.chance == pytest.approx(100 * chance.k / 20)
    assert found.low is not None and found.high is not None
    assert found.value == pytest.approx(found.chance, abs=2.5)
    assert found.low - 1 < found.chance < found.high + 1
    assert (found.n, found.groups) == (4000, 20)


def test_natural_accuracy_on_noise_is_near_chance() -> None:
    found = METRICS.make("natural_accuracy").measure(evidence(0, classes=20, n_report=4000))
    assert found.chance == 5.0 and found.value == pytest.approx(5.0, abs=1.5)


def test_distance_to_itself_is_zero_and_grows_with_the_square() -> None:
    given = evidence()
    same = replace(given, features=given.private_features, labels=given.private_labels, restarts=given.private_labels)
    assert METRICS.make("knn_distance").measure(same).value == 0.0
    once = METRICS.make("knn_distance").measure(given).value
    twice = replace(given, features=3 * given.features, private_features=3 * given.private_features)
    assert METRICS.make("knn_distance").measure(twice).value == pytest.approx(9 * once, rel=1e-5)


SCALARS: list[tuple[str, Callable[[Evidence], float]]] = [
    ("queries", lambda e: float(e.queries)),
    ("wall_s", lambda e: e.attack_s),
    ("train_s", lambda e: e.train_s),
]


@pytest.mark.parametrize(("name", "expected"), SCALARS, ids=[name for name, _ in SCALARS])
def test_costs_are_what_was_counted(name: str, expected: Callable[[Evidence], float]) -> None:
    assert METRICS.make(name).measure(evidence(2)).value == expected(evidence(2))
