"""Accuracy matching: brings every defense of a sweep to the same accuracy on the select split, then has it attacked.

All searches run at once: `Matching` is what a growing plan asks for more (`grow`). A defense whose search ended is
attacked while others are still searched. What was found is kept in the store as it is found.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from midef.core.canonical import digest
from midef.core.choice import Choice
from midef.core.errors import SpecError
from midef.core.failure import Failure
from midef.core.match import Match, MatchOutcome, MatchReport
from midef.defenses.stack import choose_defense
from midef.stages.recipes import NO_DEFENSE
from midef.storage import Store
from midef.storage.matches import write_match
from midef.sweep.matching.concurrent import Hunts
from midef.sweep.matching.search import Case, Found, as_written, search, so_far
from midef.sweep.matching.strengths import Strength, match_problems
from midef.sweep.matching.studies import JOURNAL, Studies
from midef.sweep.planning.plan import More, Node
from midef.sweep.spec.matching import MatchSpec
from midef.sweep.spec.resolve import PlannedCell, Sweep

_WRITTEN_EVERY_S = 5.0


@dataclass
class _Side:
    """One network on one data set: what sets the target there, and everything that is brought to it."""

    reference: Case | None
    cases: list[Case]
    target: float | None = None
    known: tuple[tuple[float, ...], ...] = ()


class Matching:
    """Brings the defenses of a sweep to one accuracy.

    with_attacks: hand what was found to the attacks; retry_failed: also cells that failed before.

    Raises:
        SpecError: everything wrong with what is asked.
    """

    def __init__(self, sweep: Sweep, store: Store, *, with_attacks: bool = True, retry_failed: bool = False) -> None:
        check(sweep)
        self.sweep, self.store = sweep, store
        self.with_attacks, self.retry_failed = with_attacks, retry_failed
        self.spec = match_spec_of(sweep)
        self.seeds = seeds_of(sweep)
        self._states = store.results.cells()
        self.sides = self._sides()
        self.found: dict[str, Found] = {}
        self.studies = Studies(store)
        self.hunts = Hunts(store, self._on_end)
        self._cells: list[PlannedCell] = []
        self._written = 0.0

    def _sides(self) -> dict[str, _Side]:
        """Every network and data set of the sweep by its name, setups that differ in the attack alone as one."""
        cases: dict[str, dict[Choice, Case]] = {}
        for entry in self.sweep.entries:
            for written in entry.defenses:
                if entry.refusal(written):
                    continue
                case = Case((entry,), written, Strength.of(written, self.spec.ranges), self.seeds, self.spec)
                known = cases.setdefault(case.side, {})
                earlier = known.get(written)
                known[written] = case if earlier is None else replace(earlier, entries=(*earlier.entries, entry))
        sides = {}
        for name, by_defense in cases.items():
            found = list(by_defense.values())
            reference = None
            if self.spec.reference is not None:
                reference = replace(found[0], written=choose_defense(self.spec.reference[0]), strength=None)
            sides[name] = _Side(reference, found)
        return sides

    @property
    def digest(self) -> str:
        """Names what is asked: the sweep, and what it is matched to."""
        return digest({"sweep": self.sweep.digest, "match": self.spec.model_dump()})

    def begin(self) -> More:
        """What to build first: what sets the targets, and each defense at the strength a search would begin with."""
        for name, side in self.sides.items():
            if side.reference is None:
                self._set_target(name, float(self.spec.target))
            else:
                self.hunts.start(f"reference/{name}", as_written(side.reference, None))
        first = [
            case.target(case.strength.at(case.strength.start), case.seeds[0])
            for side in self.sides.values()
            if side.target is None
            for case in side.cases
            if case.strength is not None and case.strength.start is not None and not _is_reference(case, side)
        ]
        more = self._more()
        missing = [recipe for recipe in first if not self.store.artifacts.has(recipe.key)]
        self.hunts.asked |= {recipe.key for recipe in missing}
        return replace(more, recipes=[*more.recipes, *missing])

    def grow(self, node: Node, lost: Failure | None) -> More:
        """Go on with every search that waited for this node; what is to be built next."""
        before = len(self.found)
        self.hunts.on_node(node, lost)
        if len(self.found) > before or time.monotonic() - self._written > _WRITTEN_EVERY_S:
            self.write()
        return self._more()

    def _more(self) -> More:
        more = self.hunts.more()
        cells, self._cells = self._cells, []
        return replace(more, cells=[*more.cells, *cells])

    def _set_target(self, name: str, target: float, known: Sequence[float] = ()) -> None:
        side = self.sides[name]
        side.target, side.known = target, (tuple(known),)
        for i, case in enumerate(side.cases):
            if case.strength is None or _is_reference(case, side):
                hunt = as_written(case, target)
            else:
                hunt = search(case, target, self.studies, side.known)
            self.hunts.start(f"case/{name}/{i}", hunt)

    def _on_end(self, name: str, found: Any) -> None:
        """A search ended: the target is known, or one defense is decided."""
        kind, _, rest = name.partition("/")
        if kind == "reference":
            self._on_reference(rest, found)
            return
        side_name, _, number = rest.partition("/")
        side = self.sides[side_name]
        case = side.cases[int(number)]
        if isinstance(found, Exception):
            found = case.found(side.target, state="failed", reason=str(found))
        self._decide(name, case, found)

    def _on_reference(self, name: str, found: Any) -> None:
        side = self.sides[name]
        outcome = None if isinstance(found, Exception) else found.outcome
        if outcome is None or outcome.state == "failed":
            said = str(found) if outcome is None else outcome.reason
            for i, case in enumerate(side.cases):
                lost = case.found(None, state="failed", reason=f"{self.spec.target_text} is not known: {said}")
                self._decide(f"case/{name}/{i}", case, lost)
            return
        assert self.spec.reference is not None
        accuracies = [t.accuracy for t in outcome.trainings]
        self._set_target(name, outcome.accuracy - self.spec.reference[1], accuracies)

    def _decide(self, name: str, case: Case, found: Found) -> None:
        if found.choice is not None:
            found = replace(found, outcome=replace(found.outcome, report_accuracy=self._report_accuracy(case, found)))
        self.found[name] = found
        if self.with_attacks:
            self._cells += [c for c in self._cells_of(case, found) if not c.refused and not self._failed_before(c)]

    def _failed_before(self, planned: PlannedCell) -> bool:
        """Whether its rows say failed, and nobody asked to try such cells again."""
        return not self.retry_failed and self._states.get(planned.cell.digest) == "failed"

    def _report_accuracy(self, case: Case, found: Found) -> float | None:
        """The only look at the report split: of the strength that was chosen, over the seeds that were trained."""
        assert found.choice is not None
        keys = [case.target(found.choice, seed).key for seed in found.outcome.seeds]
        facts = [self.store.artifacts.meta(key)["facts"] for key in keys]
        return fmean(float(f["report_accuracy"]) for f in facts) if facts else None

    def _cells_of(self, case: Case, found: Found) -> list[PlannedCell]:
        """The cells of every setup that attacks this defense."""
        outcome, refused = found.outcome, ""
        choice = case.written if found.choice is None else found.choice
        match = Match(
            target=None if outcome.target is None else round(outcome.target, 6),
            tolerance=self.spec.tolerance,
            accuracy=None if outcome.accuracy is None else round(outcome.accuracy, 6),
            seeds=len(outcome.seeds),
            is_matched=outcome.state == "matched",
        )
        skipped = self.spec.unmatched == "skip" and outcome.state not in ("matched", "failed")
        if found.choice is None or (skipped and case.written != NO_DEFENSE):
            refused = f"not matched to {self.spec.target_text}: {outcome.reason}"
        return [
            entry.cell(choice, seed, refused=refused, match=match)
            for entry in case.entries
            for seed in self.sweep.spec.seeds
        ]

    @property
    def is_decided(self) -> bool:
        """Whether every search ended."""
        return len(self.found) == sum(len(side.cases) for side in self.sides.values())

    def matched_sweep(self) -> Sweep:
        """The sweep at the strengths that were found, for the ordinary plan; what cannot meet stays refused.

        Raises:
            ValueError: before every search ended.
        """
        if not self.is_decided:
            raise ValueError("some searches have not ended; run the matching again")
        cells: list[PlannedCell] = []
        of_setup: dict[str, dict[Choice, list[PlannedCell]]] = {}
        for name, side in self.sides.items():
            for i, case in enumerate(side.cases):
                for cell in self._cells_of(case, self.found[f"case/{name}/{i}"]):
                    of_setup.setdefault(cell.cell.setup.id, {}).setdefault(case.written, []).append(cell)
        for entry in self.sweep.entries:
            for written in entry.defenses:
                refused = entry.refusal(written)
                if refused:
                    cells += [entry.cell(written, seed, refused=refused) for seed in self.sweep.spec.seeds]
                else:
                    cells += of_setup[entry.setup.id][written]
        return replace(self.sweep, cells=tuple(cells))

    def report(self) -> MatchReport:
        """What is known so far; a search that has not ended is undecided."""
        outcomes = []
        for name, side in self.sides.items():
            for i, case in enumerate(side.cases):
                found = self.found.get(f"case/{name}/{i}")
                if found is None and case.strength is not None and side.target is not None:
                    found = so_far(case, side.target, self.studies)
                elif found is None:
                    found = case.found(side.target, state="undecided", reason="it is still being searched")
                outcomes.append(found.outcome)
        return MatchReport(
            sweep=self.sweep.name,
            digest=self.digest,
            profile=self.sweep.profile.name,
            outcomes=tuple(outcomes),
            trained=len(self.hunts.built),
            storage=JOURNAL,
            driver=self.sweep.digest,
        )

    def write(self) -> None:
        """Keep what is known, for the dashboard and for `midef status`."""
        self._written = time.monotonic()
        write_match(self.store, self.report())
        self.studies.save()


def match_spec_of(sweep: Sweep) -> MatchSpec:
    """What the sweep is matched to; the default where it says nothing."""
    return sweep.spec.match or MatchSpec()


def check(sweep: Sweep) -> None:
    """
    Raises:
        SpecError: everything wrong with what a sweep is to be matched to.
    """
    spec = match_spec_of(sweep)
    problems = match_problems(spec, [d for e in sweep.entries for d in e.defenses], len(seeds_of(sweep)))
    if not problems and spec.reference is not None:
        choice = choose_defense(spec.reference[0])
        for entry in sweep.entries:
            refused = "" if entry.refused else entry.refusal(choice)
            if refused:
                problems.append(f"match.target: {choice.label} cannot set the target in {entry.setup.id}: {refused}")
    if spec.confirm is not None and sweep.spec.seeds[0] in spec.confirm:
        problems.append(
            f"match.confirm: seed {sweep.spec.seeds[0]} is the one that is searched with; give further ones"
        )
    if problems:
        raise SpecError(list(dict.fromkeys(problems)))


def seeds_of(sweep: Sweep) -> tuple[int, ...]:
    """The seed that is searched with, then those that confirm it."""
    spec, seeds = match_spec_of(sweep), sweep.spec.seeds
    further = spec.confirm if spec.confirm is not None else [] if seeds[1:] else [seeds[0] + 1, seeds[0] + 2]
    return tuple(dict.fromkeys([*seeds, *further]))


def _is_reference(case: Case, side: _Side) -> bool:
    """Whether this defense, as it is written, has the target accuracy."""
    if side.reference is None or case.written != side.reference.written:
        return False
    return case.spec.reference is not None and case.spec.reference[1] == 0.0


def match_text(report: MatchReport) -> str:
    """Target, reached, error and trainings of every search, as a table."""
    columns = (
        "defense",
        "network, data",
        "state",
        "chosen",
        "target",
        "reached",
        "error",
        "seeds' sd",
        "report",
        "trainings",
    )
    lines: list[Sequence[str]] = [columns]
    for o in report.outcomes:
        error = "-" if o.gap is None else f"{o.gap:+.2f}"
        numbers = [_percent(o.target), _percent(o.accuracy), error, _percent(o.noise), _percent(o.report_accuracy)]
        numbers.append(str(len(o.trainings)))
        lines.append([o.defense, f"{o.architecture}, {o.private}", o.state, o.chosen or "-", *numbers])
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    text = ["  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    keys = {t.target_key for o in report.outcomes for t in o.trainings}
    states = Counter(o.state for o in report.outcomes)
    counted = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    about = report.outcomes[0] if report.outcomes else None
    head = "" if about is None else f"target: {about.target_text}, tolerance {about.tolerance:g} points, select split"
    text = [head, *text] if head else text
    text += [f"{counted}; {len(keys)} trainings, {report.trained} of them new in this run"]
    text += [f"{o.defense}: {o.state}: {o.reason}" for o in report.outcomes if o.reason and o.state != "matched"]
    return "\n".join(text)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def asked_text(sweep: Sweep) -> str:
    """What matching a sweep would search, and how many trainings that takes at most; looks at no store.

    Raises:
        SpecError: everything wrong with what is asked.
    """
    check(sweep)
    spec, seeds = match_spec_of(sweep), seeds_of(sweep)
    written = dict.fromkeys(d for e in sweep.entries for d in e.defenses)
    lines = [
        f"sweep {sweep.name}  profile {sweep.profile.name}: to {spec.target_text}, tolerance {spec.tolerance:g} points "
        f"on the select split, mean over seeds {', '.join(map(str, seeds))}"
    ]
    most = 0
    if spec.reference is not None and choose_defense(spec.reference[0]) not in written:
        places = {Case((e,), NO_DEFENSE, None, seeds, spec).side for e in sweep.entries if not e.refused}
        most += len(seeds) * len(places)
        lines.append(f"  {spec.reference[0]}: for the target, {len(seeds)} trainings each on {len(places)} of them")
    for choice in written:
        found = Strength.of(choice, spec.ranges)
        where = {
            Case((e,), choice, found, seeds, spec).side: e.setup.target
            for e in sweep.entries
            if choice in e.defenses and not e.refusal(choice)
        }
        if not where:
            lines.append(f"  {choice.label}: refused everywhere")
            continue
        what, each = "as it is", len(seeds)
        if found is not None:
            tuning, each = found.tuning, spec.trainings
            what = f"{tuning.parameter} {tuning.low:g} to {tuning.high:g} ({tuning.scale})"
        lines.append(f"  {choice.label}: {what}, on {len(where)} networks and data sets, at most {each} trainings each")
        most += each * len(where)
    lines.append(f"at most {most:,} trainings beside what they start from; mostly 5 to 15 for each that is searched")
    return "\n".join(lines)


def undecided(outcomes: Sequence[MatchOutcome]) -> list[MatchOutcome]:
    """Outcomes that are no answer: the search failed, or ended before one."""
    return [o for o in outcomes if o.state in ("failed", "undecided")]
