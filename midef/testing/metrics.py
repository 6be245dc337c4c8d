"""The suite of metrics, on random evidence."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, ClassVar

import numpy as np
import pytest
from typing_extensions import override

from midef.core import Registry, ResultRow, TooFewSamples
from midef.metrics import METRICS, Evidence, NetworkAnswers, ScoreAnswers, StudentAnswers
from midef.metrics.base import changes_of, extractors_of, students_of
from midef.stages.scores import measure
from midef.testing.suite import Contract

DIRECTIONS = ("more useful", "less useful", "more private", "less private", "more costly")
PX = 12
"""Side of the random images."""


def projected(images: np.ndarray) -> np.ndarray:
    """Features of length 1 [N, 6] of images [N, 3, PX, PX] uint8: what an extractor could read."""
    weights = np.random.default_rng(0).standard_normal((3 * PX * PX, 6))
    features = np.stack([(image.reshape(-1) / 255.0) @ weights for image in images]) if len(images) else np.ones((0, 6))
    units: np.ndarray = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)
    return units


def student_answers(rng: np.random.Generator, classes: int, n: int, n_report: int) -> StudentAnswers:
    """What students could have answered."""
    labels, report = np.arange(4 * classes) % classes, np.arange(n_report) % classes
    hits, floor = (rng.random(len(labels)) < rate for rate in (0.6, 0.2))
    report_hits, report_floor = (rng.random(n_report) < rate for rate in (0.6, 0.2))
    return StudentAnswers(
        learned=n,
        train_hits=hits,
        train_labels=labels,
        report_hits=report_hits,
        report_labels=report,
        floor_train_hits=floor,
        floor_report_hits=report_floor,
        start="a student",
    )


def score_answers(rng: np.random.Generator, labels: np.ndarray, classes: int) -> ScoreAnswers:
    """What a target could have answered, with a defense and without."""
    served, undefended = (rng.dirichlet(np.ones(classes), len(labels)).astype(np.float32) for _ in range(2))
    return ScoreAnswers(labels=labels, served=served, undefended=undefended, are_observed=True)


def network_answers(rng: np.random.Generator, classes: int, n: int) -> NetworkAnswers:
    """What a network could say of n private images and of changed ones."""
    return NetworkAnswers(
        labels=rng.integers(0, classes, n),
        logits=rng.standard_normal((n, classes)).astype(np.float32),
        changed={name: rng.integers(0, classes, n) for name in changes_of(METRICS.names())},
        triggered=rng.integers(0, classes, n),
        planted_label=0,
    )


def taken(answers: ScoreAnswers, rows: Any) -> ScoreAnswers:
    """Answers to some of the images, or in another order."""
    arrays = {name: getattr(answers, name)[rows] for name in ("labels", "served", "undefended")}
    return replace(answers, **arrays)


def evidence(seed: int = 0, *, classes: int = 8, n: int = 32, n_report: int = 30, dim: int = 5) -> Evidence:
    """What a cell could have left behind, at random."""
    rng = np.random.default_rng(seed)
    attacked = np.arange(n) % classes
    answers = student_answers(np.random.default_rng(seed + 1), classes, n, n_report)
    pixels = np.random.default_rng(seed + 2).integers(0, 256, (2 * n + 5 * classes, 3, PX, PX), dtype=np.uint8)
    return Evidence(
        n_classes=classes,
        report_labels=rng.integers(0, classes, n_report),
        report_predictions=rng.integers(0, classes, n_report),
        labels=attacked,
        restarts=np.arange(n) // classes,
        found=rng.random(n) < 0.5,
        evaluator_logits=rng.standard_normal((n, classes)).astype(np.float32),
        target_logits=np.random.default_rng(seed + 3).standard_normal((n, classes)).astype(np.float32),
        features=rng.standard_normal((n, dim)).astype(np.float32),
        private_features=rng.standard_normal((5 * classes, dim)).astype(np.float32),
        private_labels=np.arange(5 * classes) % classes,
        queries=int(rng.integers(0, 10**6)),
        attack_s=float(rng.random()),
        train_s=float(rng.random()),
        identity_traits=rng.standard_normal((classes, dim)),
        trait_weights=rng.random(dim),
        traits=rng.standard_normal((n, dim)),
        report_traits=rng.standard_normal((n_report, dim)),
        images=pixels[:n],
        private_images=pixels[2 * n :],
        originals=pixels[n : 2 * n],
        extractors=dict.fromkeys(extractors_of(METRICS.names()), projected),
        students=dict.fromkeys(students_of(METRICS.names()), answers),
        answers=score_answers(np.random.default_rng(seed + 3), attacked, classes),
        network=network_answers(np.random.default_rng(seed + 4), classes, n_report),
    )


def without(*what: str) -> Evidence:
    """Evidence without reconstructions, or without images of the report split."""
    left, none = evidence(), np.empty(0, dtype=np.int64)
    if "report" in what:
        traits = None if left.report_traits is None else left.report_traits[:0]
        unasked = {
            name: replace(answers, report_hits=none, report_labels=none, floor_report_hits=none)
            for name, answers in left.students.items()
        }
        left = replace(
            left, report_labels=none, report_predictions=none, report_traits=traits, students=unasked, network=None
        )
    if "reconstructions" in what:
        left = replace(
            left,
            labels=none,
            restarts=none,
            found=none.astype(bool),
            evaluator_logits=left.evaluator_logits[:0],
            target_logits=None if left.target_logits is None else left.target_logits[:0],
            features=left.features[:0],
            traits=None if left.traits is None else left.traits[:0],
            images=None if left.images is None else left.images[:0],
            originals=None if left.originals is None else left.originals[:0],
            answers=None if left.answers is None else taken(left.answers, slice(0)),
        )
    return left


class MetricContract(Contract):
    """What every metric answers."""

    registry: ClassVar[Registry[Any]] = METRICS

    @classmethod
    @override
    def cases(cls) -> Mapping[str, Sequence[Any]]:
        return {**super().cases(), "seed": range(5)}

    def test_declares_unit_direction_range_and_source(self, name: str) -> None:
        metric = METRICS.make(name)
        assert metric.unit and metric.larger_is in DIRECTIONS
        assert metric.low is None or metric.high is None or metric.low < metric.high
        assert metric.paper and "." in (type(metric).__doc__ or "")
        if metric.unit == "percent":
            assert (metric.low, metric.high) == (0.0, 100.0)

    def test_stays_in_its_range_with_its_interval_around_it(self, name: str, seed: int) -> None:
        metric = METRICS.make(name)
        answer = metric.measure(evidence(seed, n=32 + 8 * seed))
        low = -math.inf if metric.low is None else metric.low
        high = math.inf if metric.high is None else metric.high
        assert low <= answer.value <= high and math.isfinite(answer.value)
        if answer.low is not None:
            assert answer.high is not None and answer.interval
            assert low <= answer.low <= answer.value <= answer.high <= high
        assert type(answer.value) is float

    def test_repeats_and_leaves_the_evidence_alone(self, name: str) -> None:
        given = evidence(3)
        before = {f.name: np.array(getattr(given, f.name)) for f in fields(given)}
        assert METRICS.make(name).measure(given) == METRICS.make(name).measure(given)
        assert all(np.array_equal(getattr(given, key), value) for key, value in before.items())

    def test_the_order_of_the_images_does_not_matter(self, name: str) -> None:
        given = evidence(4)
        order = np.random.default_rng(0).permutation(len(given.labels))
        judged = ("evaluator_logits", "target_logits", "features")
        per_image = ("labels", "restarts", *judged, "traits", "images", "originals")
        assert given.answers is not None
        answers = taken(given.answers, order)
        shuffled = replace(given, answers=answers, **{key: getattr(given, key)[order] for key in per_image})
        first, second = (METRICS.make(name).measure(e) for e in (given, shuffled))
        assert first.value == pytest.approx(second.value, rel=1e-12)
        assert (first.n, first.groups, first.chance) == (second.n, second.groups, second.chance)

    def test_refuses_to_answer_from_nothing_unless_it_counts(self, name: str) -> None:
        """What costs is counted, not estimated: there are never too few."""
        metric, nothing = METRICS.make(name), without("report", "reconstructions")
        if metric.larger_is == "more costly":
            assert math.isfinite(metric.measure(nothing).value)
            return
        with pytest.raises(TooFewSamples, match=r"needs at least \d+ .*, got 0"):
            metric.measure(nothing)

    def test_refuses_only_for_want_of_what_it_reads(self, name: str) -> None:
        answered = 0
        for what in ("report", "reconstructions"):
            try:
                assert math.isfinite(METRICS.make(name).measure(without(what)).value)
                answered += 1
            except TooFewSamples as error:
                assert re.search(r"needs at least \d+ .*, got 0", str(error))
        reads_both = bool(METRICS.get(name).students)  # they learn from reconstructions and are asked about others
        assert answered >= 1 or reads_both, "a metric reads the report split or the reconstructions"

    def test_a_refusal_is_a_failed_entry_with_a_reason_and_no_value(self, name: str) -> None:
        if METRICS.get(name).larger_is == "more costly":
            return
        counted = next(cls.registered_name for cls in METRICS if cls.larger_is == "more costly")  # type: ignore[attr-defined]
        failed, fine = measure([name, counted], without("report", "reconstructions"))
        assert (failed["metric"], failed["status"], failed["value"]) == (name, "failed", None)
        assert failed["reason"].startswith("TooFewSamples: ")
        assert (failed["unit"], failed["larger_is"]) == (METRICS.get(name).unit, METRICS.get(name).larger_is)
        assert fine["status"] == "ok" and fine["reason"] == "", "the others are measured all the same"

    def test_its_entry_is_json_and_fits_a_result_row(self, name: str) -> None:
        (entry,) = json.loads(json.dumps(measure([name], evidence()), allow_nan=False))
        assert set(entry) <= {f.name for f in fields(ResultRow)}
        assert entry["metric"] == name and entry["status"] == "ok" and entry["value"] is not None
