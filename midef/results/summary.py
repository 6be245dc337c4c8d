"""Result rows over seeds: one summary row per defense and setup, compared within the setup.

All rows of a setup are over the same seeds (`compare.compared_seeds`); one that has not all of them is marked, and
compared with nothing. Accuracies are in percent. Published rows are never averaged with measured ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from midef.core.certainty import with_certainty
from midef.core.gates import Gate, is_excluded
from midef.core.rows import ResultRow
from midef.core.statistics import pareto_front
from midef.core.traces import COURSE
from midef.results.columns import MetricColumn, columns_of, lacking_a_file, merged, not_applicable
from midef.results.compare import (
    ATTACK,
    COMPARED,
    NATURAL,
    TRAITS,
    UNDEFENDED,
    Accuracies,
    TradeOff,
    compared_seeds,
    matched_front,
    trade_offs,
)
from midef.results.estimates import SEEDS_FOR_T, Estimate, IntervalChoice, estimate, mean_of
from midef.results.gating import gated, gates_of
from midef.results.runs import Runs, limiting_seeds, runs_of, stored_keys, worst_state

FROM_ROW = (
    *("sweep", "profile", "setup", "defense", "defense_name", "defense_params", "attack", "access", "architecture"),
    *(
        "private",
        "private_is_generated",
        "public",
        "evaluator",
        "resolution_px",
        "identities",
        "images_per_identity",
        "counted",
        "victims",
    ),
    *("certainty", "settings", "stand_ins"),
)
"""Fields that a summary row shares with its result rows."""

GENERATED_BEFORE_5 = "synthetic_faces"
"""The one data set that a program drew when rows did not say so yet."""

NOT_COMPARED = TradeOff(reason="not compared")
EXCLUDED = "excluded"

SetupKey = tuple[str, str, str]  # sweep, profile, setup


@dataclass(frozen=True)
class Problem:
    """A metric without a value, and why."""

    seed: int
    metric: str
    status: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class SummaryRow:
    """One defense in one setup, over seeds. Fields without a line here are as in `ResultRow`.

    Args:
        columns: metrics of its rows, in the order of a table.
        estimates: by metric, over `shown_seeds`.
        outcomes: which images succeeded, by compared metric and seed; see `ResultRow`.
        chance: percent, of attack accuracy @1.
        seeds: those with any row.
        measured_seeds: those with any number.
        shown_seeds: those that its numbers are over.
        has_own_seeds: they are not those of the setup: it is compared with nothing.
        ok: cells whose worst metric is ok; failed, refused: likewise.
        missing: seeds that another defense of the setup has and this one has not.
        stored: (seed, reconstructions key, scores key).
        notes: what a reader has to know about these numbers.
        is_matched: `matched` of its rows; False of one that is excluded.
        gates: why its numbers are no result, or what has to be noted about them.
        course: how its searches went, by column of `midef.core.traces.COURSE`: mean over `shown_seeds`.
        remarks: what to know beside the number of a metric.
    """

    sweep: str
    profile: str
    setup: str
    defense: str
    defense_name: str
    defense_params: str
    attack: str
    access: str
    architecture: str
    private: str
    private_is_generated: bool | None
    public: str
    evaluator: str
    resolution_px: int
    identities: int
    images_per_identity: int
    counted: str
    columns: tuple[MetricColumn, ...]
    estimates: Mapping[str, Estimate]
    outcomes: Mapping[str, Mapping[int, str]]
    chance: float | None
    evaluator_accuracy: float | None
    seeds: tuple[int, ...]
    measured_seeds: tuple[int, ...]
    shown_seeds: tuple[int, ...]
    ok: int
    failed: int
    refused: int
    problems: tuple[Problem, ...]
    stored: tuple[tuple[int, str, str], ...]
    code_versions: tuple[str, ...]
    trade_off: TradeOff = NOT_COMPARED
    is_on_front: bool = False
    has_own_seeds: bool = False
    missing: int = 0
    notes: tuple[str, ...] = ()
    victims: str = ""
    certainty: str = ""
    settings: str = ""
    stand_ins: str = ""
    is_matched: bool = False
    match_target: float | None = None
    match_tolerance: float | None = None
    match_accuracy: float | None = None
    match_seeds: int | None = None
    gates: tuple[Gate, ...] = ()
    course: Mapping[str, float] = field(default_factory=dict)
    remarks: Mapping[str, str] = field(default_factory=dict)

    def estimate(self, metric: str) -> Estimate:
        """Estimate of a metric; an empty one if no row has it."""
        return self.estimates.get(metric, Estimate())

    @property
    def natural_accuracy(self) -> Estimate:
        return self.estimate(NATURAL)

    @property
    def attack_accuracy_at_1(self) -> Estimate:
        return self.estimate(ATTACK)

    @property
    def accuracies(self) -> Accuracies:
        return Accuracies(
            self.natural_accuracy,
            self.attack_accuracy_at_1,
            self.outcomes,
            traits=self.estimate(TRAITS),
        )

    @property
    def setup_key(self) -> SetupKey:
        return self.sweep, self.profile, self.setup

    @property
    def shows_nobody(self) -> bool:
        """Whether its private images are drawn by a program; rows before schema 5 tell it by the data set's name."""
        if self.private_is_generated is None:
            return self.private.partition("(")[0].partition(":")[0] == GENERATED_BEFORE_5
        return self.private_is_generated

    @property
    def is_excluded(self) -> bool:
        """Its numbers are shown, and compared with nothing."""
        return is_excluded(self.gates)

    @property
    def is_undefended(self) -> bool:
        return self.defense_name == UNDEFENDED

    @property
    def setup_label(self) -> str:
        """The setup's id; of a published row with what is certain: `S33 (row inferred, settings 2 of 5)`."""
        return with_certainty(self.setup, self.certainty, self.settings)


def summarise(rows: Sequence[ResultRow]) -> list[SummaryRow]:
    """One row per (sweep, profile, setup, defense); within a setup the undefended model first, then by attack accuracy,
    and where accuracies were matched, those that are not within the tolerance last; behind them rows over other seeds.

    Only measured rows count. A setup with failed cells keeps its row, with the reasons.

    Raises:
        ValueError: for a measured row without a seed; only a published number may leave it open.
    """
    groups: dict[tuple[str, ...], list[ResultRow]] = {}
    for row in rows:
        if row.origin == "measured":
            name = (row.sweep, row.profile, row.setup, row.defense_name, row.defense_params, row.defense)
            groups.setdefault(name, []).append(row)
    setups: dict[SetupKey, list[Runs]] = {}
    for (sweep, profile, setup, *_), of_defense in groups.items():
        setups.setdefault((sweep, profile, setup), []).append(runs_of(of_defense))
    return [row for key in sorted(setups) for row in _compared(setups[key])]


def by_setup(summaries: Iterable[SummaryRow]) -> dict[SetupKey, list[SummaryRow]]:
    """The rows of each setup, in the order given."""
    groups: dict[SetupKey, list[SummaryRow]] = {}
    for row in summaries:
        groups.setdefault(row.setup_key, []).append(row)
    return groups


def columns_in(summaries: Iterable[SummaryRow]) -> tuple[MetricColumn, ...]:
    """Columns of all metrics in these rows."""
    return merged(row.columns for row in summaries)


def seeds_named(seeds: Sequence[int]) -> str:
    """`seed 0`, `seeds 0, 1, 2`."""
    return f"seed{'' if len(seeds) == 1 else 's'} {', '.join(map(str, seeds))}"


def is_matched_setup(group: Iterable[SummaryRow]) -> bool:
    """True if anything in the setup was asked to match an accuracy."""
    return any(row.match_target is not None for row in group)


def over_shared_seeds(group: Sequence[SummaryRow]) -> list[SummaryRow]:
    """Rows with numbers that are not excluded and are over the seeds of their setup; all rows where there is none."""
    return [row for row in group if row.ok and not row.is_excluded and not row.has_own_seeds] or list(group)


def interval_choice(group: Sequence[SummaryRow]) -> IntervalChoice:
    """The interval to print for a setup: over seeds if every defense with a number has three, else within a run.

    Rows that are excluded, or over seeds of their own, do not decide it for the others.
    """
    seeds = [row.attack_accuracy_at_1.seeds or row.natural_accuracy.seeds for row in over_shared_seeds(group)]
    return "over_seeds" if min((n for n in seeds if n), default=0) >= SEEDS_FOR_T else "within_run"


def _over_seeds(runs: Runs, compared: frozenset[int], without: frozenset[str]) -> SummaryRow:
    """The summary of one defense, before it is compared with the others of its setup.

    Args:
        runs: its rows.
        compared: seeds that the numbers of the setup are over.
        without: metrics that have no meaning in the setup.
    """
    every = [(seed, row) for seed, run in runs.by_seed.items() for row in run]
    measured = frozenset(seed for seed, names in runs.numbers.items() if names)
    paired = runs.measured(COMPARED)
    # A defense that has not all of them is shown with what it has.
    is_compared = paired >= compared if paired else bool(measured & compared)
    kept = frozenset(runs.by_seed) & compared if is_compared and compared else frozenset(runs.by_seed)
    shown = every if len(kept) == len(runs.by_seed) else [(seed, row) for seed, row in every if seed in kept]
    by_metric: dict[str, list[tuple[int, ResultRow]]] = {}
    for seed, row in shown:
        by_metric.setdefault(row.metric, []).append((seed, row))
    first, states = every[0][1], [worst_state(run) for run in runs.by_seed.values()]
    columns = tuple(column for column in columns_of(row for _, row in every) if column.metric not in without)
    unsaid = without & not_applicable(row for _, row in every)  # not of a defense that was refused as a whole
    unsaid -= lacking_a_file(row for _, row in every)
    evaluators = {seed: row.evaluator_accuracy for seed, row in every if row.evaluator_accuracy is not None}
    shared: dict[str, Any] = {name: getattr(first, name) for name in (*FROM_ROW, "private_is_generated")}
    matching, match_notes = runs.matching
    return SummaryRow(
        **shared,
        **matching,
        columns=columns,
        estimates={
            column.metric: estimate(by_metric.get(column.metric, ()), is_percent=column.is_percent)
            for column in columns
        },
        outcomes={
            metric: {seed: row.outcomes for seed, row in by_metric.get(metric, ()) if row.outcomes}
            for metric in (*COMPARED, TRAITS)
        },
        chance=next((row.chance for _, row in every if row.metric == ATTACK and row.chance is not None), None),
        evaluator_accuracy=mean_of(evaluators.values()),
        seeds=tuple(runs.by_seed),
        measured_seeds=tuple(sorted(measured)),
        shown_seeds=tuple(seed for seed in runs.by_seed if seed in kept & measured),
        has_own_seeds=bool(compared and measured) and kept & measured != compared,
        ok=states.count("ok"),
        failed=states.count("failed"),
        refused=states.count("refused"),
        problems=tuple(
            Problem(seed, row.metric, row.status, row.reason)
            for seed, row in every
            if row.status != "ok" and row.metric not in unsaid
        ),
        stored=tuple(
            stored_keys(seed, run) for seed, run in runs.by_seed.items() if any(row.reconstructions_key for row in run)
        ),
        code_versions=tuple(sorted({row.code_version for _, row in every if row.code_version})),
        notes=(*runs.notes, *match_notes),
        gates=runs.gates
        if len(kept) == len(runs.by_seed)
        else gates_of({seed: run for seed, run in runs.by_seed.items() if seed in kept}),
        course=_course([row for _, row in by_metric.get(ATTACK, ())]),
        remarks={
            metric: "; ".join(
                dict.fromkeys(part for _, row in by_metric[metric] if row.remark for part in row.remark.split("; "))
            )
            for metric in dict.fromkeys(row.metric for _, row in shown if row.remark)
        },
    )


def _course(attacks: Sequence[ResultRow]) -> dict[str, float]:
    """Mean of each column about the search over the rows of attack accuracy, one per seed; without what none has."""
    values = {name: [v for row in attacks if (v := getattr(row, name)) is not None] for name in COURSE}
    return {name: mean for name, found in values.items() if (mean := mean_of(found)) is not None}


def _compared(setup: Sequence[Runs]) -> list[SummaryRow]:
    """The rows of one setup with front, trade-off and missing seeds filled in, in display order."""
    first = next((i for i, runs in enumerate(setup) if runs.is_undefended), None)
    shared = compared_seeds(limiting_seeds(setup), first)
    without = not_applicable(row for runs in setup for row in runs.rows)
    group = gated([_over_seeds(runs, shared, without) for runs in setup])
    undefended = None if first is None else group[first]
    seeds = {seed for row in group for seed in row.seeds}
    nowhere = math.nan, math.nan
    points = [nowhere if row.is_excluded or row.has_own_seeds else row.accuracies.point for row in group]
    is_matched = is_matched_setup(group)
    targets = [row.match_target if row.is_matched else None for row in group]
    front = matched_front(points, targets) if is_matched else pareto_front(points)
    compared = [
        replace(
            row,
            trade_off=against,
            is_on_front=i in front,
            missing=len(seeds - set(row.seeds)),
        )
        for i, (row, against) in enumerate(zip(group, _trade_offs(group, undefended), strict=True))
    ]

    def order(row: SummaryRow) -> tuple[bool, bool, bool, bool, float, str]:
        attack = row.attack_accuracy_at_1.mean
        is_apart = row.is_excluded or (is_matched and not row.is_matched)
        return not row.is_undefended, is_apart, attack is None, row.has_own_seeds, attack or 0.0, row.defense

    return sorted(compared, key=order)


def _trade_offs(group: Sequence[SummaryRow], undefended: SummaryRow | None) -> list[TradeOff]:
    """Trade-off of each row against the undefended model; none where either is excluded."""
    known = {
        place: TradeOff(reason=EXCLUDED if row.is_excluded else "the reference")
        for place, row in enumerate(group)
        if row.is_excluded or row.is_undefended
    }
    asked = [row for place, row in enumerate(group) if place not in known]
    if undefended is not None and undefended.is_excluded:
        found = [TradeOff(reason=f"the undefended model is {EXCLUDED}")] * len(asked)
    else:
        reference = None if undefended is None else undefended.accuracies
        found = trade_offs([row.accuracies for row in asked], reference)
    rest = iter(found)
    return [known[place] if place in known else next(rest) for place in range(len(group))]
