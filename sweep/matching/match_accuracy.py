"""Accuracy matching: brings every defense of a sweep to the same accuracy on the select split, then has it attacked.

All searches run at once: `Matching.grow` adds to a growing plan. A defense whose search ended is attacked while others
are still searched. Results are stored as searches end.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from midef.core.canonical import digest
from midef.core.choice import Choice
from midef.core.errors import DamagedArtifact, MissingArtifact, SpecError
from midef.core.failure import Failure
from midef.core.match import Match, MatchOutcome, MatchReport
from midef.defenses.stack import choose_defense
from midef.stages.recipes import NO_DEFENSE
from midef.storage import Store
from midef.storage.matches import write_match
from midef.sweep.matching.at_chance import reference_problem, target_problems, without_guessing
from midef.sweep.matching.case import Case, StrengthResult
from midef.sweep.matching.concurrent import ConcurrentSearches, TrainingFailed
from midef.sweep.matching.journal_lines import JOURNAL
from midef.sweep.matching.search import evaluate_as_written, partial_result, search
from midef.sweep.matching.strengths import Strength, match_problems
from midef.sweep.matching.studies import Studies
from midef.sweep.planning.plan import More, Node
from midef.sweep.spec.checks import facts_of
from midef.sweep.spec.matching import MatchSpec
from midef.sweep.spec.planned_cell import PlannedCell
from midef.sweep.spec.resolve import Sweep

log = logging.getLogger(__name__)

_WRITTEN_EVERY_S = 5.0


@dataclass
class TargetGroup:
    """Defenses on one network and data set, which share a target accuracy.

    Args:
        reference: the defense that sets the target; None where the target is a number.
        cases: all defenses.
        target: percent; None until it is known.
        known: accuracies of the reference, which differ in the seed alone.
    """

    reference: Case | None
    cases: list[Case]
    target: float | None = None
    known: tuple[tuple[float, ...], ...] = ()


class Matching:
    """Brings the defenses of a sweep to one accuracy.

    Args:
        sweep: whose defenses are matched.
        store: where trainings and results are kept.
        with_attacks: attack each defense once its search ends.
        retry_failed: attack also cells that failed before.

    Raises:
        SpecError: everything wrong with the specification.
    """

    def __init__(self, sweep: Sweep, store: Store, *, with_attacks: bool = True, retry_failed: bool = False) -> None:
        check(sweep)
        self.sweep, self.store = sweep, store
        self.with_attacks, self.retry_failed = with_attacks, retry_failed
        self.spec = match_spec_of(sweep)
        self.seeds = seeds_of(sweep)
        self._states = store.results.cells()
        self.groups = groups_of(sweep)
        self.results: dict[str, StrengthResult] = {}
        """By the name of the search, of those that ended."""
        self.studies = Studies(store)
        self.searches: ConcurrentSearches[StrengthResult] = ConcurrentSearches(store, self._on_end)
        self._cells: list[PlannedCell] = []
        self._written = 0.0

    @property
    def digest(self) -> str:
        """Digest of the sweep and of the accuracy it is matched to."""
        return digest({"sweep": self.sweep.digest, "match": self.spec.model_dump()})

    def begin(self) -> More:
        """First work to build: the references, and each defense at the strength a search would begin with."""
        for name, group in self.groups.items():
            if group.reference is None:
                self._set_target(name, float(self.spec.target))
            else:
                self.searches.start(f"reference/{name}", evaluate_as_written(group.reference, None))
        first = [
            case.target(case.strength.at(case.strength.start), case.seeds[0])
            for group in self.groups.values()
            if group.target is None
            for case in group.cases
            if case.strength is not None and case.strength.start is not None and not is_reference(case, group)
        ]
        more = self._more()
        missing = [recipe for recipe in first if not self.store.artifacts.has(recipe.key)]
        self.searches.requested |= {recipe.key for recipe in missing}
        return replace(more, recipes=[*more.recipes, *missing])

    def grow(self, node: Node, failure: Failure | None) -> More:
        """Continue every search that waited for a node that ended; returns the work to build next."""
        before = len(self.results)
        self.searches.on_node(node, failure)
        if len(self.results) > before or time.monotonic() - self._written > _WRITTEN_EVERY_S:
            self.write()
        return self._more()

    def _more(self) -> More:
        more = self.searches.more()
        cells, self._cells = self._cells, []
        return replace(more, cells=[*more.cells, *cells])

    def _set_target(self, name: str, target: float, known: Sequence[float] = ()) -> None:
        group = self.groups[name]
        group.target, group.known = target, (tuple(known),)
        for i, case in enumerate(group.cases):
            if case.strength is None or is_reference(case, group):
                strength_search = evaluate_as_written(case, target)
            else:
                strength_search = search(case, target, self.studies, group.known)
            self.searches.start(f"case/{name}/{i}", strength_search)

    def _on_end(self, name: str, result: StrengthResult | TrainingFailed) -> None:
        """Take the result of a search: it sets a target, or decides one defense."""
        kind, _, rest = name.partition("/")
        if kind == "reference":
            self._on_reference(rest, result)
            return
        group_name, _, number = rest.partition("/")
        group = self.groups[group_name]
        case = group.cases[int(number)]
        if isinstance(result, TrainingFailed):
            result = case.result(group.target, "failed", str(result))
        self._decide(name, case, result)

    def _on_reference(self, name: str, result: StrengthResult | TrainingFailed) -> None:
        group = self.groups[name]
        outcome = None if isinstance(result, TrainingFailed) else result.outcome
        if outcome is None or outcome.state == "failed":
            reason = str(result) if outcome is None else outcome.reason
            for i, case in enumerate(group.cases):
                failed = case.result(None, "failed", f"{self.spec.target_text} is not known: {reason}")
                self._decide(f"case/{name}/{i}", case, failed)
            return
        assert self.spec.reference is not None and outcome.accuracy is not None
        target = outcome.accuracy - self.spec.reference[1]
        if problem := reference_problem(group.cases[0], outcome.accuracy, target, self.store):
            for i, case in enumerate(group.cases):
                own = outcome.trainings if case.written == choose_defense(self.spec.reference[0]) else ()
                self._decide(f"case/{name}/{i}", case, case.result(target, "at chance", problem, trainings=own))
            return
        accuracies = [t.accuracy for t in outcome.trainings if t.accuracy is not None]
        self._set_target(name, target, accuracies)

    def _decide(self, name: str, case: Case, result: StrengthResult) -> None:
        if result.choice is not None:
            report_accuracy = self._report_accuracy(case, result)
            result = replace(result, outcome=replace(result.outcome, report_accuracy=report_accuracy))
        self.results[name] = result = without_guessing(case, result, self.store)
        if self.with_attacks:
            self._cells += [c for c in self._cells_of(case, result) if not c.refused and not self._failed_before(c)]

    def _failed_before(self, planned: PlannedCell) -> bool:
        """True if its rows say failed, and failed cells are not to be tried again."""
        return not self.retry_failed and self._states.get(planned.cell.digest) == "failed"

    def _report_accuracy(self, case: Case, result: StrengthResult) -> float | None:
        """Mean accuracy on the report split, which is looked at for the chosen strength alone."""
        assert result.choice is not None
        keys = [case.target(result.choice, seed).key for seed in result.outcome.seeds]
        try:
            facts = [self.store.artifacts.meta(key)["facts"] for key in keys]
        except (MissingArtifact, DamagedArtifact) as error:
            log.warning("the accuracy of %s on the report split is not known: %s", result.choice.label, error)
            return None
        return fmean(float(f["report_accuracy"]) for f in facts) if facts else None

    def _cells_of(self, case: Case, result: StrengthResult) -> list[PlannedCell]:
        """The cells of every setup that attacks this defense."""
        outcome, refused = result.outcome, ""
        choice = case.written if result.choice is None else result.choice
        match = Match(
            target=None if outcome.target is None else round(outcome.target, 6),
            tolerance=self.spec.tolerance,
            accuracy=None if outcome.accuracy is None else round(outcome.accuracy, 6),
            seeds=len(outcome.seeds),
            is_matched=outcome.state == "matched",
        )
        skipped = self.spec.unmatched == "skip" and outcome.state not in ("matched", "failed")
        if result.choice is None or (skipped and case.written != NO_DEFENSE):
            refused = f"not matched to {self.spec.target_text}: {outcome.reason}"
        return [
            entry.cell(choice, seed, refused=refused, match=match)
            for entry in case.entries
            for seed in self.sweep.spec.seeds
        ]

    @property
    def is_decided(self) -> bool:
        """True once every search ended."""
        return len(self.results) == sum(len(group.cases) for group in self.groups.values())

    def matched_sweep(self) -> Sweep:
        """The sweep at the chosen strengths, for the ordinary plan; refused defenses stay refused.

        Raises:
            ValueError: before every search ended.
        """
        if not self.is_decided:
            raise ValueError("some searches have not ended; run the matching again")
        cells: list[PlannedCell] = []
        of_setup: dict[str, dict[Choice, list[PlannedCell]]] = {}
        for name, group in self.groups.items():
            for i, case in enumerate(group.cases):
                for cell in self._cells_of(case, self.results[f"case/{name}/{i}"]):
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
        """Results so far; a search that has not ended is undecided."""
        outcomes = []
        for name, group in self.groups.items():
            for i, case in enumerate(group.cases):
                result = self.results.get(f"case/{name}/{i}")
                if result is None and case.strength is not None and group.target is not None:
                    result = partial_result(case, group.target, self.studies)
                elif result is None:
                    result = case.result(group.target, "undecided", "it is still being searched")
                outcomes.append(result.outcome)
        return MatchReport(
            sweep=self.sweep.name,
            digest=self.digest,
            profile=self.sweep.profile.name,
            outcomes=tuple(outcomes),
            trained=len(self.searches.built),
            storage=JOURNAL,
            driver=self.sweep.digest,
        )

    def write(self) -> None:
        """Store the report, for the dashboard and for `midef status`."""
        self._written = time.monotonic()
        write_match(self.store, self.report())
        self.studies.save()


def groups_of(sweep: Sweep) -> dict[str, TargetGroup]:
    """Defenses by network and data set; setups that differ in the attack alone share a case."""
    spec, seeds = match_spec_of(sweep), seeds_of(sweep)
    cases: dict[str, dict[Choice, Case]] = {}
    for entry in sweep.entries:
        for written in entry.defenses:
            if entry.refusal(written):
                continue
            case = Case((entry,), written, Strength.of(written, spec.ranges, [facts_of(entry.setup)]), seeds, spec)
            known = cases.setdefault(case.group_key, {})
            earlier = known.get(written)
            known[written] = case if earlier is None else replace(earlier, entries=(*earlier.entries, entry))
    groups = {}
    for name, by_defense in cases.items():
        members = list(by_defense.values())
        reference = None
        if spec.reference is not None:
            reference = replace(members[0], written=choose_defense(spec.reference[0]), strength=None)
        groups[name] = TargetGroup(reference, members)
    return groups


def match_spec_of(sweep: Sweep) -> MatchSpec:
    """Accuracy-matching section of the specification; the default where it has none."""
    return sweep.spec.match or MatchSpec()


def check(sweep: Sweep) -> None:
    """Check the accuracy-matching section of a sweep.

    Raises:
        SpecError: everything wrong with it.
    """
    spec = match_spec_of(sweep)
    problems = match_problems(spec, [d for e in sweep.entries for d in e.defenses], len(seeds_of(sweep)))
    if spec.reference is None:
        problems += target_problems(float(spec.target), sweep)
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
    """The seed that is searched with, then those that confirm a strength."""
    spec, seeds = match_spec_of(sweep), sweep.spec.seeds
    further = spec.confirm if spec.confirm is not None else [] if seeds[1:] else [seeds[0] + 1, seeds[0] + 2]
    return tuple(dict.fromkeys([*seeds, *further]))


def is_reference(case: Case, group: TargetGroup) -> bool:
    """True if this defense, as it is written, has the target accuracy."""
    if group.reference is None or case.written != group.reference.written:
        return False
    return case.spec.reference is not None and case.spec.reference[1] == 0.0


def undecided(outcomes: Sequence[MatchOutcome]) -> list[MatchOutcome]:
    """Outcomes without an answer: the search failed, was ended before it had one, or had only networks that guess."""
    return [o for o in outcomes if o.state in ("failed", "undecided", "at chance")]
