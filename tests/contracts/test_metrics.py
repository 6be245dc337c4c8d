"""The suite of metrics, and what must hold for the numbers of ours."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
from typing_extensions import override

from midef.core import TooFewSamples
from midef.metrics import METRICS, Evidence, Measurement, Metric, column_title
from midef.stages.scores import measure
from midef.testing import MetricContract
from midef.testing.metrics import evidence, without


class TestMetrics(MetricContract):
    pass


def test_every_metric_has_a_table_column_of_its_own() -> None:
    titles = [column_title(name) for name in METRICS.names()]
    assert all(titles) and len(set(titles)) == len(titles)
    assert all(0 < len(title) <= 12 for title in titles), "a heading is short: many columns stand side by side"


def test_a_metric_that_says_no_column_is_titled_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "coverage"
    monkeypatch.setattr(METRICS.get(name), "column", "")
    assert column_title(name) == name
    assert column_title("of_a_package_that_is_not_here") == ""


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


REFUSALS = [
    ("attack_accuracy_at_1", "reconstructions", "attack accuracy needs at least 1 reconstruction, got 0"),
    ("attack_accuracy_at_5", "reconstructions", "attack accuracy needs at least 1 reconstruction, got 0"),
    ("coverage", "reconstructions", "coverage needs at least 1 reconstruction, got 0"),
    ("knn_distance", "reconstructions", "KNN distance needs at least 1 reconstruction, got 0"),
    ("trait_accuracy", "reconstructions", "trait accuracy needs at least 1 reconstruction, got 0"),
    ("trait_accuracy_at_5", "reconstructions", "trait accuracy needs at least 1 reconstruction, got 0"),
    ("natural_accuracy", "report", "natural accuracy needs at least 1 image in the report split, got 0"),
]
"""A metric, what is taken away, and what it says then."""


@pytest.mark.parametrize(("name", "what", "message"), REFUSALS, ids=[name for name, _, _ in REFUSALS])
def test_a_refusal_says_exactly_what_is_lacking(name: str, what: str, message: str) -> None:
    with pytest.raises(TooFewSamples) as caught:
        METRICS.make(name).measure(without(what))
    assert str(caught.value) == message
    failed, fine = measure([name, "queries"], without(what))
    assert failed["reason"] == f"TooFewSamples: {message}" and fine["status"] == "ok"


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
