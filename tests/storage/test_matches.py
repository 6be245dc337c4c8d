"""Reports of accuracy matching in the store."""

from __future__ import annotations

import json
import logging
import os
import re
from dataclasses import replace
from typing import Any

import pytest

from midef.core.match import MatchOutcome, MatchReport, MatchTraining
from midef.storage import Store
from midef.storage.matches import MATCH_SCHEMA, read_matches, write_match
from midef.storage.seals import sealed_json

DIVERGED = MatchTraining(
    strength=0.9, seed=1, accuracy=None, phase="search", target_key="target/cd", reason="the loss became nan"
)
TRAINED = MatchTraining(strength=0.4, seed=0, accuracy=88.4, phase="confirm", target_key="target/ab")
OUTCOMES = (
    MatchOutcome(
        defense="midre",
        defense_name="midre",
        architecture="vgg16_tiny",
        private="faces",
        setups=("one", "two"),
        target=88.2,
        target_text="none - 2",
        tolerance=0.5,
        state="matched",
        parameter="area_high",
        low=0.0,
        high=1.0,
        chosen="midre(area_high=0.4)",
        strength=0.4,
        accuracy=88.4,
        report_accuracy=87.9,
        seeds=(0, 1, 2),
        ends=(DIVERGED,),
        trainings=(TRAINED, DIVERGED),
        study="midre on vgg16_tiny",
    ),
    MatchOutcome(
        defense="nls",
        defense_name="nls",
        architecture="vgg16_tiny",
        private="faces",
        setups=("one",),
        target=None,
        target_text="none",
        tolerance=0.5,
        state="failed",
        reason="the undefended model did not train",
    ),
)
REPORT = MatchReport(
    sweep="mine", digest="d1", profile="smoke", outcomes=OUTCOMES, trained=4, storage="matches/studies.log"
)


def test_a_report_comes_back_as_it_was(store: Store) -> None:
    write_match(store, REPORT)
    assert read_matches(store) == [REPORT]
    assert read_matches(Store.open(store.uri), "mine") == [REPORT]


def test_nothing_was_matched(local_store: Store) -> None:
    assert read_matches(local_store) == []


def test_a_report_replaces_that_of_the_same_sweep(local_store: Store) -> None:
    write_match(local_store, REPORT)
    later = replace(REPORT, outcomes=OUTCOMES[:1])
    write_match(local_store, later)
    assert read_matches(local_store) == [later]


def test_reports_of_a_sweep_latest_first(local_store: Store) -> None:
    """`mine` was changed and matched again; its digest is another, its name is not."""
    reports = [replace(REPORT, digest="z"), replace(REPORT, digest="a"), replace(REPORT, sweep="other", digest="m")]
    for age, report in enumerate(reports):
        write_match(local_store, report)
        os.utime(f"{local_store.uri}/matches/{report.digest}.json", (1000 - age, 1000 - age))
    assert read_matches(local_store) == reports
    assert read_matches(local_store, "mine") == reports[:2]
    assert read_matches(local_store, "nobody") == []


def test_other_files_beside_the_reports_are_passed_over(local_store: Store) -> None:
    write_match(local_store, REPORT)
    local_store.location.put("matches/studies.log", b"not json")
    assert read_matches(local_store) == [REPORT]


def _changed(change: dict[str, Any]) -> bytes:
    return sealed_json({"schema": MATCH_SCHEMA, **REPORT.as_plain(), **change})


DAMAGED = {
    "cut off": _changed({})[:100],
    "not text": b"\xff\xfe\x00",
    "a list": b"[1]",
    "a text": b'"mine"',
    "no schema": json.dumps(REPORT.as_plain()).encode(),
    "no checksum": json.dumps({"schema": MATCH_SCHEMA, **REPORT.as_plain()}).encode(),
    "another number": _changed({}).replace(b"88.4", b"98.4"),
    "of another sweep": _changed({"digest": "d2"}),
    "schema as text": _changed({"schema": "one"}),
    "no outcomes": sealed_json({"schema": MATCH_SCHEMA, "sweep": "mine"}),
    "outcomes are none": _changed({"outcomes": None}),
    "another field": _changed({"colour": "red"}),
    "unknown state": _changed({"outcomes": [{**REPORT.as_plain()["outcomes"][0], "state": "near"}]}),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_report_is_named_and_passed_over(
    local_store: Store, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    other = replace(REPORT, digest="d0")
    write_match(local_store, other)
    local_store.location.put("matches/d1.json", content)
    problems: list[str] = []
    with caplog.at_level(logging.WARNING):
        assert read_matches(local_store, problems=problems) == [other]
    (problem,) = problems
    assert problem in caplog.text
    assert re.search(r"matches/d1\.json is passed over: it is damaged .*run `midef match` again", problem)
    write_match(local_store, REPORT)  # matching again mends it
    assert {report.digest for report in read_matches(local_store)} == {"d0", "d1"}


def test_a_report_without_checksum_that_an_older_midef_wrote_is_read(local_store: Store) -> None:
    local_store.location.put("matches/d1.json", json.dumps({"schema": 1, **REPORT.as_plain()}).encode())
    assert read_matches(local_store) == [REPORT]


def test_a_report_of_a_newer_midef_is_not_called_damaged(local_store: Store) -> None:
    local_store.location.put("matches/d1.json", _changed({"schema": MATCH_SCHEMA + 1, "colour": "red"}))
    problems: list[str] = []
    assert read_matches(local_store, problems=problems) == []
    assert problems == ["matches/d1.json is passed over: it has schema 3, this midef reads up to 2: upgrade midef"]


def test_a_number_that_json_has_not_is_refused_before_anything_is_written(local_store: Store) -> None:
    write_match(local_store, REPORT)
    broken = replace(REPORT, outcomes=(replace(OUTCOMES[0], accuracy=float("nan")),))
    with pytest.raises(ValueError, match="JSON compliant"):
        write_match(local_store, broken)
    assert read_matches(local_store) == [REPORT]
