"""The report of an audit that ran, from what it did."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from midef.audit.reported import report_of
from midef.audit.run import Audited
from midef.core import ArtifactKey, ResultRow
from midef.core.accuracy import accuracy_of
from midef.core.outcomes import Outcomes
from midef.sweep.catalogue.published.rows import published_rows


def a_row(metric: str, value: float, **changes: Any) -> ResultRow:
    facts: dict[str, Any] = {
        **{"sweep": "audit", "profile": "small", "cell": "c", "setup": "audit-plg_mi", "defense": "none", "seed": 0},
        **{"defense_name": "none", "defense_params": "{}", "attack": "plg_mi", "attack_name": "plg_mi"},
        **{
            "access": "white box",
            "architecture": "resnet18 (given)",
            "private": "image_folder",
            "public": "image_folder",
        },
        **{"evaluator": "vgg16_tiny", "resolution_px": 64, "identities": 20, "images_per_identity": 1},
        **{"unit": "percent", "larger_is": "less private", "evaluator_accuracy": 91.0},
    }
    return ResultRow(**{**facts, "metric": metric, "value": value, **changes})


def audited(folder: Path, name: str) -> Audited:
    """An audit of one attack that found nine of twenty people; only what a report reads."""
    (folder / "classes.json").write_text(json.dumps([f"Person {i}" for i in range(20)]))
    text = Outcomes.of([i < 9 for i in range(20)], range(20), "ab" * 8).text
    span = {"low": 25.0, "high": 66.0, "n": 20, "groups": 20, "chance": 5.0, "outcomes": text}
    rows = [a_row("attack_accuracy_at_1", 45.0, **span), a_row("queries", 1200.0), a_row("wall_s", 7.5)]
    given = SimpleNamespace(
        name=name,
        library="midef" if name == "resnet18" else "",
        sha256="ab" * 32,
        classes=20,
        has_checked_identity=True,
    )
    model = SimpleNamespace(
        given=given,
        access=SimpleNamespace(words="white box"),
        input=SimpleNamespace(text="64 px", resolution_px=64),
        remark="it lets no gradients through",
    )
    plan = SimpleNamespace(
        model=model,
        judge=SimpleNamespace(text="vgg16_tiny", architecture=SimpleNamespace(label="vgg16_tiny"), weights=None),
        profile=SimpleNamespace(name="smoke"),
        data=SimpleNamespace(private=SimpleNamespace(label="synthetic_faces"), public=None),
        private_split=SimpleNamespace(key=ArtifactKey("split", "a" * 64)),
    )
    found = SimpleNamespace(
        plan=plan,
        known=SimpleNamespace(report=accuracy_of(97.0, 5.0, n=100), doubts=("with `--input half` it knows more",)),
        judge=accuracy_of(91.0, 5.0, n=100),
        rows=rows,
        skipped={"ppa": "no generator"},
        stopped="budget reached",
        store=SimpleNamespace(artifacts=SimpleNamespace(fetch=lambda key: folder)),
    )
    return cast("Audited", found)


def test_the_report_says_what_the_audit_did(tmp_path: Path) -> None:
    report = report_of(audited(tmp_path, "resnet18"), threshold=20, private="my people.zip")
    assert report.sentence.startswith(
        "Somebody who holds its weights can make images that show what resnet18 learned: 45 %"
    )
    assert report.fails()
    assert (report.subject.queries, report.subject.seconds) == (1200, 7.5)
    assert report.people.everybody[0].name == "Person 0"
    assert report.not_tried == {"ppa": "no generator"}
    assert any("Stopped early: budget reached" in line for line in report.limits)
    assert "In doubt: with `--input half` it knows more." in report.limits
    assert "it lets no gradients through." in report.limits
    assert "architecture: resnet18" in report.sweep
    assert "profile: smoke" in report.sweep
    assert "evaluator: vgg16_tiny" in report.sweep, "the profile's own may be of the model's family"
    assert "evaluator_weights" not in report.sweep
    assert "protocol: {identities: 20, images_per_identity: 1}" in report.sweep
    (private,) = (line for line in report.sweep.splitlines() if line.strip().startswith("private:"))
    written = json.loads(private.partition(": ")[2])
    assert written == {"name": "image_folder", "path": str(Path("my people.zip").absolute()), "labelled": True}
    assert all(one.is_same_attack for one in report.published)
    sources = {row.source for row in published_rows()}
    assert {one.source for one in report.published} <= sources


@pytest.mark.parametrize("name", ["MyModule", "an-api"])
def test_a_network_that_midef_does_not_know_proposes_no_sweep_it_could_not_run(tmp_path: Path, name: str) -> None:
    report = report_of(audited(tmp_path, name))
    assert report.subject.architecture == ""
    assert report.sweep == ""
    assert report.proposals
    assert "does not have this architecture" in report.to_html()
