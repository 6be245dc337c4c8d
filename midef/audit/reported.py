"""The report of an audit that ran: what it did, as `AuditReport` takes it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from midef.audit.data import DataSource, written_data
from midef.audit.defense_sweep import known_architecture
from midef.audit.report import AuditReport, Subject
from midef.core.rows import ResultRow
from midef.models import ARCHITECTURES
from midef.results.compare import ATTACK

if TYPE_CHECKING:
    from midef.audit.run import Audited
    from midef.models.base import ModelFacts

QUERIES, WALL = "queries", "wall_s"


def report_of(
    found: Audited,
    *,
    threshold: float | None = None,
    with_private: bool = False,
    shows_people: bool = True,
    private: DataSource = "",
    public: DataSource | None = None,
) -> AuditReport:
    """The report of an audit, beside the published numbers that midef holds.

    Args:
        threshold: attack accuracy in percent that must not be exceeded.
        with_private: show private images beside the reconstructions.
        shows_people: the classes are people.
        private, public: images as the user wrote them, for the sweep that tries defenses; nothing takes their labels.
    """
    from midef.sweep.catalogue.published.rows import published_rows

    plan, given = found.plan, found.plan.model.given
    architecture, remark = known_architecture(given, plan.model.input.resolution_px)
    subject = Subject(
        model=given.name,
        digest=given.sha256,
        architecture=architecture,
        architecture_remark=remark,
        access=plan.model.access.words,
        expects=plan.model.input.text,
        classes=given.classes,
        class_names=_names(found),
        accuracy=found.known.report,
        judge=plan.judge.text,
        judge_accuracy=found.judge,
        private=_in_yaml(private or plan.data.private.label, labelled=True),
        public=_in_yaml(public or plan.data.public.label, labelled=False) if plan.data.public else "",
        shows_people=shows_people,
        queries=None if (asked := _sum(found.rows, QUERIES)) is None else int(asked),
        seconds=_sum(found.rows, WALL),
        date=datetime.now(UTC).date().isoformat(),
        remarks=tuple(_remarks(found)),
        profile=plan.profile.name,
        sweep_fields={
            "resolution_px": str(plan.model.input.resolution_px),
            "evaluator": plan.judge.architecture.label,
            "evaluator_weights": plan.judge.weights.label if plan.judge.weights else "",
            **_protocol(found.rows),
        },
    )
    return AuditReport.from_rows(
        found.rows,
        subject,
        not_tried=found.skipped,
        published=published_rows(),
        facts=_facts(architecture),
        fetch=found.store.artifacts.fetch,
        with_private=with_private,
        threshold=threshold,
    )


def _remarks(found: Audited) -> Iterator[str]:
    """What a reader of the report must know, beside what every report says."""
    if found.stopped:
        yield f"Stopped early: {found.stopped}; attacks that had not begun are missing."
    yield from (f"In doubt: {doubt}." for doubt in found.known.doubts)
    if found.plan.model.given.has_checked_identity and found.plan.model.remark:
        yield f"{found.plan.model.remark}."


def _names(found: Audited) -> tuple[str, ...]:
    """Of the classes, in the order of the private images."""
    folder = found.store.artifacts.fetch(found.plan.private_split.key)
    return tuple(map(str, json.loads((folder / "classes.json").read_text(encoding="utf-8"))))


def _in_yaml(source: DataSource, *, labelled: bool) -> str:
    """Images as a specification names them; of a path as the folder or archive that it is."""
    written = written_data(source, labelled=labelled)
    return written if isinstance(written, str) else json.dumps(written, ensure_ascii=False)


def _protocol(rows: Sequence[ResultRow]) -> dict[str, str]:
    """How many people were attacked, and how often each, as a field of a setup."""
    row = next((row for row in rows if row.metric == ATTACK), None)
    if row is None:
        return {}
    return {"protocol": f"{{identities: {row.identities}, images_per_identity: {row.images_per_identity}}}"}


def _sum(rows: Sequence[ResultRow], metric: str) -> float | None:
    """Over all attacks; None where nothing was measured."""
    numbers = [row.number for row in rows if row.metric == metric and row.number is not None]
    return sum(numbers) if numbers else None


def _facts(architecture: str) -> ModelFacts | None:
    return ARCHITECTURES.remake(ARCHITECTURES.choose(architecture)).facts() if architecture else None
