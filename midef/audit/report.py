"""Report of an audit: what the model gives away, how sure that is, and what was not tried."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import midef
from midef.audit.comparisons import Neighbour, Proposal, fitting_defenses, nearest_published
from midef.audit.defense_sweep import defense_sweep, written_attack
from midef.audit.page import page
from midef.audit.people import Fetch, People, Picture, people_of, pictures_of
from midef.audit.words import UNCHECKED, Verdict, limits, sentence, verdict
from midef.core.rows import ResultRow
from midef.core.text import counted
from midef.results.compare import ATTACK
from midef.results.worst_case import WorstCase, worst_case, worst_case_row
from midef.sweep.spec.profiles import profile_named

if TYPE_CHECKING:
    from midef.core.accuracy import Accuracy
    from midef.models.base import ModelFacts

SHOWN_PEOPLE = 8


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The audited model and what the audit rests on.

    Args:
        model: its name.
        digest: sha256 of its weights; "" where its identity cannot be checked, as of a function or an endpoint.
        architecture: as a sweep writes it; "" where midef has none of that name.
        architecture_remark: what of it is not the audited network; "" for nothing.
        access: of the attacker, as rows say it: `white box`, `scores`, `labels only`.
        expects: its input, in words.
        classes: that it tells apart.
        class_names: in the order of its outputs; () where nobody gave any.
        accuracy: of the model on the private images kept for measuring, which it may have learned; None where it was
            not measured.
        judge: who decides whether a reconstruction shows the class, in words.
        judge_accuracy: of the judge on private images that it did not learn.
        private, public: images, as a sweep writes them.
        shows_people: the classes are people; else the report says `class` and not `person`.
        profile: budget of the sweep that tries defenses.
        queries: images that the model was shown; None where nobody counted.
        seconds: that the attacks took.
        date: of the audit, as shown.
        remarks: further limits, each a sentence.
        sweep_fields: further fields of a setup of the same kind, as YAML, for the sweep that tries defenses.
    """

    model: str
    digest: str = ""
    architecture: str = ""
    architecture_remark: str = ""
    access: str
    expects: str = ""
    classes: int
    class_names: tuple[str, ...] = ()
    accuracy: Accuracy | None = None
    judge: str = ""
    judge_accuracy: Accuracy | None = None
    private: str = ""
    public: str = ""
    shows_people: bool = True
    queries: int | None = None
    seconds: float | None = None
    date: str = ""
    remarks: tuple[str, ...] = ()
    profile: str = "small"
    sweep_fields: Mapping[str, str] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """`sha256 0123456789ab`, or that it cannot be checked."""
        return f"sha256 {self.digest[:12]}" if self.digest else UNCHECKED

    @property
    def noun(self) -> str:
        return "person" if self.shows_people else "class"

    @property
    def nouns(self) -> str:
        return "people" if self.shows_people else "classes"


@dataclass(frozen=True, kw_only=True)
class AuditReport:
    """What an audit found.

    Args:
        subject: the model.
        worst: the highest attack accuracy, and every attack that was tried.
        rows: everything that was measured, in the schema of all results; the row of the worst case is the last.
        not_tried: attack -> why it did not run.
        published: undefended models of the closest published settings.
        people: how often each attacked class was recognised.
        pictures: reconstructions, and private images where they were asked for.
        pictures_of: attack whose reconstructions these are, or why there are none.
        proposals: defenses that fit.
        threshold: attack accuracy in percent that must not be exceeded; None where nobody stated one.
    """

    subject: Subject
    worst: WorstCase
    rows: tuple[ResultRow, ...] = field(default=(), repr=False)
    not_tried: Mapping[str, str] = field(default_factory=dict)
    published: tuple[Neighbour, ...] = ()
    people: People = field(default_factory=People)
    pictures: tuple[Picture, ...] = field(default=(), repr=False)
    pictures_of: str = ""
    proposals: tuple[Proposal, ...] = ()
    threshold: float | None = None

    @classmethod
    def from_rows(
        cls,
        rows: Iterable[ResultRow],
        subject: Subject,
        *,
        not_tried: Mapping[str, str] | None = None,
        published: Sequence[ResultRow] = (),
        facts: ModelFacts | None = None,
        fetch: Fetch | None = None,
        with_private: bool = False,
        threshold: float | None = None,
    ) -> AuditReport:
        """The report of stored rows.

        Args:
            rows: of the audited target, of every attack that was tried.
            subject: the model.
            not_tried: attack -> why it did not run.
            published: published rows of any settings, to stand beside.
            facts: of the architecture, for the defenses that fit it; None where it is not known.
            fetch: gives the folder of a stored artifact; without, no reconstructions are shown.
            with_private: show private images beside the reconstructions.
            threshold: percent.

        Raises:
            ValueError: for rows of several targets, or a threshold outside 0 to 100.
        """
        given = [row for row in rows if row.origin == "measured"]
        worst = worst_case(given)
        states = {one.attack: one.state for one in worst.attempts}
        results = [row for row in given if row.metric == ATTACK and states.get(row.attack) == "measured"]
        winner = worst.winner.attack if worst.winner else ""
        results.sort(key=lambda row: row.attack != winner)
        people = people_of(results, winner, subject.class_names)
        pictures: tuple[Picture, ...] = ()
        why_none = "not asked for" if fetch is None else "no attack gave a number"
        shown = [person for person in people.everybody if person.images][:SHOWN_PEOPLE]
        if fetch is not None and results:
            pictures, why_none = pictures_of(results[0], fetch, shown, with_private=with_private)
        row = worst_case_row(worst, given)
        return cls(
            subject=subject,
            worst=worst,
            rows=(*given, *([row] if row else [])),
            not_tried=dict(not_tried or {}),
            published=nearest_published(published, results or given, architecture=subject.architecture),
            people=people,
            pictures=pictures,
            pictures_of=why_none or winner,
            proposals=fitting_defenses(published, facts=facts, access=subject.access),
            threshold=_checked(threshold),
        )

    @property
    def sentence(self) -> str:
        """What was found, for somebody who reads one sentence."""
        return sentence(self)

    @property
    def limits(self) -> list[str]:
        """What the sentence rests on, and what it does not say."""
        return limits(self)

    def against(self, threshold: float) -> Verdict:
        """The worst case against a threshold in percent.

        The upper end of the interval counts: a check that ends well has shown that the attacks which ran stay at or
        below the threshold. An audit too small to show it does not pass, and neither does one without a number.

        Raises:
            ValueError: for a threshold outside 0 to 100.
        """
        return verdict(self, _checked(threshold) or 0.0)

    def fails(self, threshold: float | None = None) -> bool:
        """Whether the threshold is not shown to be kept (exit code 5).

        Args:
            threshold: percent; None takes the report's own, without which nothing fails.
        """
        asked = self.threshold if threshold is None else threshold
        return asked is not None and self.against(asked).state != "below"

    @property
    def sweep(self) -> str:
        """Specification of the sweep that finds out what the proposed defenses would buy; "" without any, and where
        midef does not have the architecture."""
        if not self.proposals or self.worst.winner is None or not self.subject.architecture:
            return ""
        return defense_sweep(
            self.proposals,
            attack=self._written_attack(self.worst.winner.attack),
            architecture=self.subject.architecture,
            remark=self.subject.architecture_remark,
            private=self.subject.private,
            public=self.subject.public,
            profile=self.subject.profile,
            fields=self.subject.sweep_fields,
        )

    def _written_attack(self, label: str) -> str:
        """The attack as a sweep writes it; the label itself where rows do not say its parameters."""
        row = next(row for row in self.rows if row.metric == ATTACK and row.attack == label)
        if not row.attack_params:
            return f'"{label}"'
        return written_attack(row.attack_name, json.loads(row.attack_params), profile_named(self.subject.profile))

    def with_threshold(self, threshold: float | None) -> AuditReport:
        """The same report against another threshold."""
        return replace(self, threshold=_checked(threshold))

    def to_json(self) -> str:
        """Everything but the pictures, and but the rows, which are in the Parquet file."""
        shown: dict[str, Any] = {
            "midef": midef.__version__,
            "sentence": self.sentence,
            "limits": self.limits,
            "subject": {**asdict(self.subject), "identity": self.subject.identity},
            "attack_accuracy": self.worst.value,
            "interval": asdict(self.worst.interval) if self.worst.interval else None,
            "chance": self.worst.chance,
            "attack": self.worst.winner.attack if self.worst.winner else None,
            "attempts": [asdict(one) for one in self.worst.attempts],
            "not_tried": dict(self.not_tried),
            "published": [asdict(one) for one in self.published],
            "people": [asdict(one) for one in self.people.everybody],
            "people_found": self.people.found,
            "defenses": [{**asdict(one), "text": one.published} for one in self.proposals],
            "defense_sweep": self.sweep,
        }
        if self.threshold is not None:
            said = self.against(self.threshold)
            shown["threshold"] = {"percent": self.threshold, "fails": self.fails(), **asdict(said)}
        return json.dumps(shown, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def to_parquet(self) -> bytes:
        """The rows, in the schema of all results."""
        from midef.storage.columns import table_from_rows, to_parquet

        return to_parquet(table_from_rows(self.rows))

    def to_html(self) -> str:
        """One page: no network, no scripts, prints on A4."""
        return page(self)

    def write(self, folder: str | Path) -> Path:
        """Write `report.html`, `report.json` and `rows.parquet`.

        Returns:
            The page.
        """
        out = Path(folder)
        out.mkdir(parents=True, exist_ok=True)
        (out / "report.json").write_text(self.to_json(), encoding="utf-8")
        (out / "rows.parquet").write_bytes(self.to_parquet())
        (out / "report.html").write_text(self.to_html(), encoding="utf-8")
        return out / "report.html"

    @property
    def size(self) -> str:
        """`20 people x 5 reconstructions`, of the attack with the highest accuracy; "" without one."""
        winner = self.worst.winner
        row = next((r for r in self.rows if winner and r.metric == ATTACK and r.attack == winner.attack), None)
        if row is None or row.groups is None or row.n is None:
            return ""
        of = counted(row.groups, self.subject.noun) if row.groups == 1 else f"{row.groups} {self.subject.nouns}"
        return f"{of}, {counted(row.n, 'reconstruction')}"


def _checked(threshold: float | None) -> float | None:
    if threshold is not None and not 0 <= threshold <= 100:
        raise ValueError(f"a threshold is an attack accuracy of 0 to 100 percent, got {threshold:g}")
    return threshold
