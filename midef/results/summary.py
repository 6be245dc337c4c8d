"""Result rows over seeds, as one table: what the terminal prints and what the dashboard draws.

Accuracies are in percent. The metrics read here are `natural_accuracy`, `attack_accuracy_at_1`, `attack_accuracy_at_5`,
`knn_distance`, `queries` and `wall_s`; others are left to the rows. Published rows are never averaged with measured
ones: tables take them separately and show them beside ours, marked `pub.`
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from midef.core.rows import ResultRow
from midef.core.statistics import UNSTABLE_BELOW_POINTS, Delta, pareto_front, t_interval, trade_off_delta
from midef.results.matched import (
    DROP_COLUMN,
    MATCH_NUMBERS,
    MATCHED_COLUMN,
    NOT_MATCHED,
    accuracy_and_gap,
    is_matched_setup,
    matched_front,
    matched_legends,
    matched_notes,
    matched_to,
    matching_of,
)

UNDEFENDED = "none"
FRONT_MARK = "●"
ABSENT = "–"
REMARK_MARK = "†"
NAMED_METRICS = 3  # a cell that was lost has a row per metric: beyond these they are counted
ACCURACIES = ("natural_accuracy", "attack_accuracy_at_1", "attack_accuracy_at_5")
METRICS = (*ACCURACIES, "knn_distance", "queries", "wall_s")
# Student's t with one degree of freedom is 12.7: from two seeds it says nothing, so the within-run interval is shown.
SEEDS_FOR_T = 3

IntervalChoice = Literal["over_seeds", "within_run"]
SetupKey = tuple[str, str, str]  # sweep, profile, setup


@dataclass(frozen=True)
class Interval:
    """low <= high, same unit as the number; kind says what it is."""

    low: float
    high: float
    kind: str


@dataclass(frozen=True)
class Estimate:
    """One metric of one defense in one setup, over seeds.

    by_seed: (seed, value), sorted; over_seeds: t interval, needs two seeds; within_run: ends of the interval that each
    run reports, averaged over seeds. Intervals of accuracies stay in 0 to 100.
    """

    by_seed: tuple[tuple[int, float], ...] = ()
    over_seeds: Interval | None = None
    within_run: Interval | None = None

    @property
    def mean(self) -> float | None:
        return math.fsum(v for _, v in self.by_seed) / len(self.by_seed) if self.by_seed else None

    @property
    def seeds(self) -> int:
        return len(self.by_seed)

    def interval(self, choice: IntervalChoice) -> Interval | None:
        return self.over_seeds if choice == "over_seeds" else self.within_run


@dataclass(frozen=True)
class Problem:
    """A metric that is not there, and why."""

    seed: int
    metric: str
    status: str
    reason: str


@dataclass(frozen=True)
class TradeOff:
    """Delta against the undefended model of the same setup, over the seeds both have.

    utility_drop, attack_drop: percentage points, undefended minus defended. utility_drop_interval: paired t interval
    from three seeds on; below that, from the two within-run intervals (they share test images, so it is on the wide
    side, and it is blind to differences between trainings). None if neither is known. attack_drop_interval: paired t
    interval from three seeds on, else None.
    is_utility_lost: False if the drop is not above 0 or its interval reaches 0; then Delta is not shown.
    reason: why there is no trade-off at all.
    """

    delta: Delta | None = None
    utility_drop: float | None = None
    attack_drop: float | None = None
    utility_drop_interval: Interval | None = None
    is_utility_lost: bool = False
    reason: str = ""
    attack_drop_interval: Interval | None = None

    @property
    def text(self) -> str:
        """Delta (* if unstable), "no utility lost" (not below), "no clear loss" (the interval reaches 0), or a dash."""
        if self.delta is None:
            return ABSENT
        if self.delta.value is None:
            return "no utility lost"
        if not self.is_utility_lost:
            return "no clear loss"
        return f"{self.delta.value:.2f}{'*' if self.delta.is_unstable else ''}"

    @property
    def changes(self) -> str:
        """Where Delta is not shown, what it would have been made of: both changes in points."""
        if self.utility_drop is None or self.attack_drop is None or self.is_utility_lost:
            return ""
        gained, more = (round(-drop, 1) + 0.0 for drop in (self.utility_drop, self.attack_drop))  # no "-0.0"
        return f"(acc {gained:+.1f}, att {more:+.1f})"


@dataclass(frozen=True, kw_only=True)
class SummaryRow:
    """One defense in one setup, over seeds.

    seeds: those with any row; ok, failed, refused: cells by their worst metric; missing: seeds that another defense of
    the setup has and this one has not. chance: percent, of attack accuracy @1. stored: (seed, reconstructions key,
    scores key). notes: what a reader has to know about these numbers. certainty, stand_ins and match_*: as in
    `ResultRow`. is_matched: its `matched`.
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
    public: str
    evaluator: str
    resolution_px: int
    identities: int
    images_per_identity: int
    counted: str
    natural_accuracy: Estimate
    attack_accuracy_at_1: Estimate
    attack_accuracy_at_5: Estimate
    knn_distance: Estimate
    queries: Estimate
    wall_s: Estimate
    chance: float | None
    evaluator_accuracy: float | None
    trade_off: TradeOff
    is_on_front: bool
    seeds: tuple[int, ...]
    ok: int
    failed: int
    refused: int
    missing: int
    problems: tuple[Problem, ...]
    stored: tuple[tuple[int, str, str], ...]
    code_versions: tuple[str, ...]
    notes: tuple[str, ...] = ()
    certainty: str = ""
    stand_ins: str = ""
    is_matched: bool = False
    match_target: float | None = None
    match_tolerance: float | None = None
    match_accuracy: float | None = None
    match_seeds: int | None = None

    @property
    def setup_key(self) -> SetupKey:
        return self.sweep, self.profile, self.setup

    @property
    def is_undefended(self) -> bool:
        return self.defense_name == UNDEFENDED

    @property
    def setup_label(self) -> str:
        """The setup's id, with its certainty where it is a row of a published matrix: `S33 (inferred)`."""
        return f"{self.setup} ({self.certainty})" if self.certainty else self.setup


@dataclass(frozen=True)
class Published:
    """What a paper reports for one defense in one setup. Nothing of it was measured here.

    natural_accuracy, attack_accuracy_at_1: percent; spread: of the attack accuracy, spread_kind says of what.
    sources: where the two numbers stand; remarks: where a source contradicts itself; others: further values, in words.
    """

    defense: str
    natural_accuracy: float | None
    attack_accuracy_at_1: float | None
    spread: float | None = None
    spread_kind: str = ""
    sources: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def values(self) -> str:
        """`pub. 86.90 / 78.47`: test accuracy / attack accuracy@1, marked so that nobody takes them for ours."""
        natural, attack = (_two(v) for v in (self.natural_accuracy, self.attack_accuracy_at_1))
        return f"pub. {natural} / {attack}"

    @property
    def beside(self) -> str:
        """`± 4.60 †`: the spread of the attack accuracy, and the mark of a remark; "" without either."""
        parts = [f"± {self.spread:.2f}"] if self.spread is not None else []
        return " ".join([*parts, *([REMARK_MARK] if self.remarks else [])])


def _two(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.2f}"


def published_of(setup: str, rows: Iterable[ResultRow], ours: Collection[str] = ()) -> dict[str, Published]:
    """The published accuracies of a setup by defense label; measured rows and other metrics are passed over.

    Where several are published for a defense, the first attack accuracy counts, with the test accuracy of its source.
    ours: labels of the rows they stand beside. A defense whose parameters were replaced for a small network is the
    same defense, if neither side has another of its name; a remark says how it was published.
    """
    by_defense: dict[str, list[ResultRow]] = {}
    for row in rows:
        wanted = row.origin == "published" and row.metric in ("natural_accuracy", "attack_accuracy_at_1")
        if wanted and row.setup == setup and row.value is not None:
            by_defense.setdefault(row.defense, []).append(row)
    return {
        (mine := _our_label(defense, by_defense, ours)): _published(mine, found, label=defense)
        for defense, found in by_defense.items()
    }


def _our_label(label: str, published: Collection[str], ours: Collection[str]) -> str:
    """The label of our row that a published one stands beside; its own where there is none."""
    name = _name_of(label)
    theirs = [other for other in published if _name_of(other) == name]
    mine = [other for other in ours if _name_of(other) == name]
    return mine[0] if len(mine) == 1 and theirs == [label] else label


def _name_of(label: str) -> str:
    """The defense without preset and parameters: `midre` of `midre(area_high=0.8)`; a stack as it is."""
    return label if "+" in label else label.partition("(")[0].partition(":")[0]


def _published(defense: str, rows: list[ResultRow], *, label: str) -> Published:
    naturals = [row for row in rows if row.metric == "natural_accuracy"]
    attacks = [row for row in rows if row.metric == "attack_accuracy_at_1"]
    attack = attacks[0] if attacks else None
    of_its_source = [row for row in naturals if attack is not None and row.source == attack.source]
    natural = next(iter(of_its_source or naturals), None)
    shown = [row for row in (natural, attack) if row is not None]
    values = {(row.metric, row.value) for row in shown}
    names = {"natural_accuracy": "test accuracy", "attack_accuracy_at_1": "attack accuracy@1"}
    others = [
        f"{names[row.metric]} {_two(row.value)}" + (f" ({row.source})" if row.source else "")
        for row in rows
        if (row.metric, row.value) not in values
    ]
    return Published(
        defense,
        natural.value if natural is not None else None,
        attack.value if attack is not None else None,
        attack.spread if attack is not None else None,
        attack.spread_kind if attack is not None else "",
        sources=tuple(dict.fromkeys(row.source for row in shown if row.source)),
        remarks=(
            *([f"published as {label}"] if label != defense else []),
            *dict.fromkeys(row.remark for row in shown if row.remark),
        ),
        others=tuple(dict.fromkeys(others)),
    )


def summarise(rows: Sequence[ResultRow]) -> list[SummaryRow]:
    """One row per (sweep, profile, setup, defense); within a setup the undefended model first, then by attack accuracy,
    and where accuracies were matched, those that are not within the tolerance last.

    Only measured rows count. A setup with failed cells keeps its row, with the reasons.

    Raises:
        ValueError: for a measured row without a seed; only a published number may leave it open.
    """
    groups: dict[tuple[str, ...], list[ResultRow]] = {}
    for row in rows:
        if row.origin == "measured":
            name = (row.sweep, row.profile, row.setup, row.defense_name, row.defense_params, row.defense)
            groups.setdefault(name, []).append(row)
    setups: dict[SetupKey, list[SummaryRow]] = {}
    for found in groups.values():
        one = _over_seeds(found)
        setups.setdefault(one.setup_key, []).append(one)
    return [row for key in sorted(setups) for row in _compare(setups[key])]


def by_setup(summaries: Iterable[SummaryRow]) -> dict[SetupKey, list[SummaryRow]]:
    """The rows of each setup, in the order given."""
    groups: dict[SetupKey, list[SummaryRow]] = {}
    for row in summaries:
        groups.setdefault(row.setup_key, []).append(row)
    return groups


def refusal(group: Sequence[SummaryRow]) -> str:
    """`attack not registered: ppa (12 cells)` if every cell of the setup was refused, reason by reason; else ""."""
    if any(row.ok or row.failed or not row.refused for row in group):
        return ""
    cells: dict[str, set[tuple[str, str, int]]] = {}
    for row in group:
        reasons: dict[int, str] = {}  # a cell counts once, with the reason of its first metric
        for p in row.problems:
            reasons.setdefault(p.seed, p.reason)
        for seed, reason in reasons.items():
            cells.setdefault(reason, set()).add((row.defense, row.defense_params, seed))
    return "; ".join(f"{reason} ({_count(len(found), 'cell')})" for reason, found in cells.items())


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def stand_ins(group: Iterable[SummaryRow]) -> str:
    """What stands in for what in the setup of these rows; "" where it is as published."""
    return " | ".join(dict.fromkeys(row.stand_ins for row in group if row.stand_ins))


def interval_choice(group: Sequence[SummaryRow]) -> IntervalChoice:
    """The interval to print for a setup: over seeds if every defense with a number has three, else within a run."""
    seeds = [row.attack_accuracy_at_1.seeds or row.natural_accuracy.seeds for row in group]
    return "over_seeds" if min((n for n in seeds if n), default=0) >= SEEDS_FOR_T else "within_run"


def _over_seeds(rows: list[ResultRow]) -> SummaryRow:
    """The summary of one defense, before it is compared with the others of its setup."""
    cells: dict[int, dict[str, list[ResultRow]]] = {}
    for row in rows:
        if row.seed is None:
            raise ValueError(f"measured row {row.metric} of {row.defense} in {row.setup} has no seed")
        cells.setdefault(row.seed, {}).setdefault(row.cell, []).append(row)
    runs = {seed: list(found.values())[-1] for seed, found in sorted(cells.items())}
    kept = [(seed, row) for seed, run in runs.items() for row in run]
    first, states = kept[0][1], [_worst(run) for run in runs.values()]
    evaluators = {seed: row.evaluator_accuracy for seed, row in kept if row.evaluator_accuracy is not None}
    chances = [row.chance for _, row in kept if row.metric == "attack_accuracy_at_1" and row.chance is not None]
    shared: dict[str, Any] = {name: getattr(first, name) for name in _FROM_ROW}
    estimates: dict[str, Any] = {metric: _estimate(kept, metric) for metric in METRICS}
    matching, match_notes = matching_of([row for _, row in kept])
    return SummaryRow(
        **shared,
        **estimates,
        **matching,
        chance=chances[0] if chances else None,
        evaluator_accuracy=_mean(evaluators.values()),
        trade_off=TradeOff(reason="not compared"),
        is_on_front=False,
        seeds=tuple(runs),
        ok=states.count("ok"),
        failed=states.count("failed"),
        refused=states.count("refused"),
        missing=0,
        problems=tuple(Problem(seed, row.metric, row.status, row.reason) for seed, row in kept if row.status != "ok"),
        stored=tuple(_stored(seed, run) for seed, run in runs.items() if any(row.reconstructions_key for row in run)),
        code_versions=tuple(sorted({row.code_version for _, row in kept if row.code_version})),
        notes=(
            *(
                f"seed {seed}: {len(found)} results of different recipes are stored, one is shown"
                for seed, found in sorted(cells.items())
                if len(found) > 1
            ),
            *match_notes,
        ),
    )


def _worst(run: list[ResultRow]) -> str:
    """Failed if any metric failed; refused if nothing was measured: a metric that does not apply spoils no cell."""
    states = {row.status for row in run}
    return next(s for s in ("failed", "ok", "refused") if s in states)


def _stored(seed: int, run: list[ResultRow]) -> tuple[int, str, str]:
    """Seed and the first reconstructions and scores keys that a row of the run names."""
    found = next((row.reconstructions_key for row in run if row.reconstructions_key), "")
    return seed, found, next((row.scores_key for row in run if row.scores_key), "")


_FROM_ROW = (
    *("sweep", "profile", "setup", "defense", "defense_name", "defense_params", "attack", "access", "architecture"),
    *("private", "public", "evaluator", "resolution_px", "identities", "images_per_identity", "counted"),
    *("certainty", "stand_ins"),
)


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return math.fsum(found) / len(found) if found else None


def _estimate(rows: list[tuple[int, ResultRow]], metric: str) -> Estimate:
    mine = ((seed, row) for seed, row in rows if row.metric == metric and row.status == "ok")
    good = {seed: (row, row.value) for seed, row in mine if row.value is not None and math.isfinite(row.value)}
    values = [value for _, value in good.values()]

    def bounded(low: float, high: float, kind: str) -> Interval:
        return Interval(max(low, 0.0), min(high, 100.0), kind) if metric in ACCURACIES else Interval(low, high, kind)

    over_seeds = t_interval(values)
    lows = [row.low for row, _ in good.values() if row.low is not None]
    highs = [row.high for row, _ in good.values() if row.high is not None]
    within = None
    if good and len(lows) == len(highs) == len(good):
        kinds = " or ".join(sorted({row.interval for row, _ in good.values() if row.interval})) or "interval"
        mean_of = f", mean of {len(good)} runs" if len(good) > 1 else ""
        within = bounded(math.fsum(lows) / len(lows), math.fsum(highs) / len(highs), kinds + mean_of)
    return Estimate(
        by_seed=tuple(zip(good, values, strict=True)),
        over_seeds=bounded(*over_seeds, f"95 % t interval, {len(values)} seeds") if over_seeds else None,
        within_run=within,
    )


def _compare(group: list[SummaryRow]) -> list[SummaryRow]:
    """The rows of one setup with front, Delta and missing seeds filled in, in display order."""
    nodef = next((row for row in group if row.is_undefended), None)
    seeds = {seed for row in group for seed in row.seeds}
    points = [(_or_nan(row.natural_accuracy.mean), _or_nan(row.attack_accuracy_at_1.mean)) for row in group]
    is_matched = is_matched_setup(group)
    front = matched_front(group, points) if is_matched else pareto_front(points)
    compared = [
        replace(
            row,
            trade_off=_trade_off(row, nodef),
            is_on_front=i in front,
            missing=len(seeds - set(row.seeds)),
        )
        for i, row in enumerate(group)
    ]

    def order(row: SummaryRow) -> tuple[bool, bool, bool, float, str]:
        attack = row.attack_accuracy_at_1.mean
        return not row.is_undefended, is_matched and not row.is_matched, attack is None, attack or 0.0, row.defense

    return sorted(compared, key=order)


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _trade_off(row: SummaryRow, nodef: SummaryRow | None) -> TradeOff:
    if row.is_undefended:
        return TradeOff(reason="the reference")
    if nodef is None:
        return TradeOff(reason=f"the setup has no undefended model (defense {UNDEFENDED!r}) to compare with")
    metrics = ("natural_accuracy", "attack_accuracy_at_1")
    before, after = ([dict(getattr(r, m).by_seed) for m in metrics] for r in (nodef, row))
    common = sorted(set.intersection(*(set(values) for values in before + after)))
    if not common:
        for r in (nodef, row):
            if not (r.natural_accuracy.seeds and r.attack_accuracy_at_1.seeds):
                return TradeOff(reason=f"{'it' if r is row else 'the undefended model'} has no pair of accuracies")
        return TradeOff(reason="no seed in common with the undefended model")
    means = [math.fsum(values[s] for s in common) / len(common) for values in before + after]
    delta = trade_off_delta(*means)
    interval = _drop_interval(nodef, row, [before[0][s] - after[0][s] for s in common])
    reaches_zero = interval is not None and interval.low <= 0 <= interval.high
    return TradeOff(
        delta=delta,
        utility_drop=delta.utility_drop,
        attack_drop=delta.attack_drop,
        utility_drop_interval=interval,
        is_utility_lost=delta.verdict == "ok" and not reaches_zero,
        attack_drop_interval=_paired([before[1][s] - after[1][s] for s in common]),
    )


def _paired(drops: Sequence[float]) -> Interval | None:
    """Of the mean drop, the seeds paired; None below three seeds."""
    over_seeds = t_interval(drops) if len(drops) >= SEEDS_FOR_T else None
    return Interval(*over_seeds, f"95 % t interval of {len(drops)} paired differences") if over_seeds else None


def _drop_interval(nodef: SummaryRow, row: SummaryRow, drops: list[float]) -> Interval | None:
    """Of the drop in natural accuracy. With three seeds the seeds are paired; else see `TradeOff`."""
    paired = _paired(drops)
    if paired is not None:
        return paired
    before, after = nodef.natural_accuracy.within_run, row.natural_accuracy.within_run
    if before is None or after is None:
        return None
    half = math.hypot(before.high - before.low, after.high - after.low) / 2
    drop = math.fsum(drops) / len(drops)
    return Interval(drop - half, drop + half, "from the two within-run 95 % intervals")


# --- the table a person reads: one set of cell texts for terminal, markdown and dashboard ---


@dataclass(frozen=True)
class Cell:
    """text as shown, interval text apart (may be empty), and the number to sort by."""

    text: str
    interval: str = ""
    number: float | None = None

    @property
    def joined(self) -> str:
        return f"{self.text} {self.interval}".strip()


@dataclass(frozen=True)
class Table:
    """One setup. columns: (key, header), see `_columns`; cells: by summary row, then by column; then lines for above
    and below.

    legends: how to read the marks in the cells; footnotes: what is to be said of this setup. problems: failed, refused
    and missing cells with their reasons. stand_ins: what stands in for what; refused: why
    every cell of the setup was refused; both may be "". A refused setup has no columns of numbers but published ones.
    """

    title: str
    facts: str
    interval_legend: str
    columns: tuple[tuple[str, str], ...]
    cells: tuple[tuple[Cell, ...], ...]
    footnotes: tuple[str, ...]
    problems: tuple[str, ...]
    legends: tuple[str, ...] = ()
    stand_ins: str = ""
    refused: str = ""


COLUMNS = (
    ("defense", "defense"),
    ("natural_accuracy", "test acc %"),
    ("attack_accuracy_at_1", "att@1 %"),
    ("attack_accuracy_at_5", "att@5 %"),
    ("knn_distance", "KNN dist"),
    ("delta", "Delta"),
    ("queries", "queries"),
    ("wall_s", "attack s"),
    ("seeds", "ok/failed"),
)
PUBLISHED_COLUMN = ("published", "published")  # what its two numbers are, a legend says


def _columns(*, is_matched: bool) -> tuple[tuple[str, str], ...]:
    """With the accuracy that was matched beside the test accuracy. At equal accuracies a Delta divides by noise: there
    the drop of the attack accuracy takes its place."""
    if not is_matched:
        return COLUMNS
    at = [key for key, _ in COLUMNS].index("natural_accuracy") + 1
    return (
        *COLUMNS[:at],
        MATCHED_COLUMN,
        *(DROP_COLUMN if column[0] == "delta" else column for column in COLUMNS[at:]),
    )


def setup_table(group: Sequence[SummaryRow], published: Sequence[ResultRow] = ()) -> Table:
    """The table of one setup; all rows must be of that setup.

    published: rows of any setups; a last column shows those of this setup and of a defense in `group`, if there are
    any, and a footnote those of other defenses.
    """
    first, choice, refused, is_matched = group[0], interval_choice(group), refusal(group), is_matched_setup(group)
    theirs = published_of(first.setup, published, [row.defense for row in group])
    has_published = any(row.defense in theirs for row in group)
    knn = [m for row in group if (m := row.knn_distance.mean) is not None]
    knn_digits = 1 if max(knn, default=0) >= 100 else 2 if max(knn, default=0) >= 1 else 3

    def number(estimate: Estimate, write: Callable[[float], str], *, with_interval: bool = False) -> Cell:
        mean = estimate.mean
        if mean is None:
            return Cell(ABSENT)
        shown = estimate.interval(choice) if with_interval else None
        return Cell(write(mean), f"[{shown.low:.1f}, {shown.high:.1f}]" if shown else "", mean)

    def cells(row: SummaryRow) -> tuple[Cell, ...]:
        bad = row.failed + row.refused
        natural, *attacks = (
            number(getattr(row, metric), lambda v: f"{v:.1f}", with_interval=True) for metric in ACCURACIES
        )
        accuracy, gap = accuracy_and_gap(row)
        return (
            natural,
            *([Cell(accuracy or ABSENT, gap, row.match_accuracy)] if is_matched else []),
            *attacks,
            number(row.knn_distance, lambda v: f"{v:.{knn_digits}f}"),
            _drop_cell(row) if is_matched else _delta_cell(row),
            number(row.queries, lambda v: f"{v:,.0f}"),
            number(row.wall_s, lambda v: f"{v:,.0f}" if v >= 10 else f"{v:.1f}"),
            Cell(f"{row.ok}/{bad}", number=row.ok),
        )

    def published_cell(row: SummaryRow) -> Cell:
        found = theirs.get(row.defense)
        return Cell(found.values, found.beside, found.attack_accuracy_at_1) if found else Cell(ABSENT)

    seeds = sorted({row.attack_accuracy_at_1.seeds for row in group if row.attack_accuracy_at_1.seeds}) or [0]
    count = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    runs = f"{count} seed{'' if seeds[-1] == 1 else 's'}"
    access = f" ({first.access})" if first.access else ""  # nobody has written this attack
    facts = [
        f"profile {first.profile}",
        f"{first.identities} identities x {first.images_per_identity}"
        + (", only the best by target score counted" if first.counted == "best_by_target" else ""),
        *(f"chance {chance:.2f} %" for chance in _known(row.chance for row in group)[:1]),
        *(f"evaluator {first.evaluator} {acc:.1f} %" for acc in _known(row.evaluator_accuracy for row in group)[:1]),
        *([] if refused else [runs]),
        *([matched_to(group)] if is_matched else []),
    ]
    columns = _columns(is_matched=is_matched)
    return Table(
        title=f"{first.setup_label}: {first.attack}{access} on {first.architecture}, "
        f"{first.private} from {first.public}, {first.resolution_px} px",
        facts=", ".join(facts),
        interval_legend="" if refused else _interval_legend(group, choice, runs),
        columns=(columns[0], *(() if refused else columns[1:]), *((PUBLISHED_COLUMN,) if has_published else ())),
        cells=tuple(
            (
                Cell(row.defense),
                *(() if refused else cells(row)),
                *((published_cell(row),) if has_published else ()),
            )
            for row in group
        ),
        legends=(*(() if refused else _legends(group)), *_published_legends(group, theirs)),
        footnotes=(*(() if refused else _footnotes(group)), *_published_notes(group, theirs)),
        problems=(f"refused: {refused}",) if refused else tuple(_problems(group)),
        stand_ins=stand_ins(group),
        refused=refused,
    )


def _delta_cell(row: SummaryRow) -> Cell:
    """Delta, with both changes where it is not shown."""
    delta, trade_off = row.trade_off.delta, row.trade_off
    return Cell(
        "reference" if row.is_undefended else trade_off.text,
        trade_off.changes,
        delta.value if delta and trade_off.is_utility_lost else None,
    )


def _drop_cell(row: SummaryRow) -> Cell:
    """What the column of Delta holds in a matched setup: the drop of the attack accuracy in points."""
    drop, span = row.trade_off.attack_drop, row.trade_off.attack_drop_interval
    if row.is_undefended:
        return Cell("reference")
    if not row.is_matched:
        return Cell(NOT_MATCHED)
    if drop is None:
        return Cell(ABSENT)
    return Cell(f"{round(drop, 1) + 0.0:.1f}", f"[{span.low:.1f}, {span.high:.1f}]" if span else "", drop)


def _known(values: Iterable[float | None]) -> list[float]:
    return [v for v in values if v is not None]


def _interval_legend(group: Sequence[SummaryRow], choice: IntervalChoice, runs: str) -> str:
    if choice == "over_seeds":
        return f"mean over {runs} [95 % t interval over seeds]"

    def kinds(metric: str) -> str:
        # A column may hold several kinds (Wilson for a cell at 0 %); the parts about the number of runs are said once.
        found = {i.kind.partition(", mean of")[0] for row in group if (i := getattr(row, metric).within_run)}
        return " or ".join(sorted({part for kind in found for part in kind.split(" or ")}))

    natural, attack = kinds("natural_accuracy"), kinds("attack_accuracy_at_1")
    said = [f"{name}: {kind}" for name, kind in (("test acc", natural), ("attack", attack)) if kind]
    if not said:
        return f"mean over {runs}; the runs report no intervals"
    return f"mean over {runs} [interval within a run, averaged; {'; '.join(said)}]"


def _legends(group: Sequence[SummaryRow]) -> list[str]:
    if is_matched_setup(group):
        has_intervals = any(row.is_matched and row.trade_off.attack_drop_interval for row in group)
        front = f"{FRONT_MARK} on the front: no other matched defense is both at least as accurate and attacked less"
        return [front, *matched_legends(has_intervals=has_intervals)]
    notes = [f"{FRONT_MARK} on the front: no other defense here is both at least as accurate and attacked less"]
    deltas = [row.trade_off.delta for row in group if row.trade_off.is_utility_lost and row.trade_off.delta]
    if any(delta.is_unstable for delta in deltas):
        notes.append(f"* utility drop below {UNSTABLE_BELOW_POINTS} point: Delta is unstable")
    return notes


def _footnotes(group: Sequence[SummaryRow]) -> list[str]:
    is_matched = is_matched_setup(group)
    reasons: dict[str, list[str]] = {}
    for row in group:
        is_compared = not row.is_undefended and (row.is_matched or not is_matched)
        if row.trade_off.delta is None and is_compared:
            reasons.setdefault(row.trade_off.reason, []).append(row.defense)
    number = "att drop" if is_matched else "Delta"
    return [
        *(matched_notes(group) if is_matched else []),
        *(f"no {number} for {', '.join(who)}: {why}" for why, who in reasons.items()),
    ]


def _problems(group: Sequence[SummaryRow]) -> list[str]:
    said = []
    for row in group:
        same: dict[tuple[str, str, tuple[int, ...]], list[str]] = {}
        for (status, reason, metric), seeds in _seeds_by_problem(row).items():
            same.setdefault((status, reason, tuple(seeds)), []).append(metric)
        for (status, reason, which), metrics in same.items():
            of = f"seed{'s' if len(which) > 1 else ''} {', '.join(map(str, which))}"
            said.append(f"{status}: {row.defense}, {of}, {_named(metrics)}: {reason}")
        if row.missing:
            said.append(f"missing: {row.defense} has no result for {row.missing} of the setup's seeds")
        said += [f"note: {row.defense}, {note}" for note in row.notes]
    return said


def _seeds_by_problem(row: SummaryRow) -> dict[tuple[str, str, str], list[int]]:
    """(status, reason, metric) -> seeds."""
    found: dict[tuple[str, str, str], list[int]] = {}
    for p in row.problems:
        found.setdefault((p.status, p.reason, p.metric), []).append(p.seed)
    return found


def _named(metrics: Sequence[str]) -> str:
    return ", ".join(metrics) if len(metrics) <= NAMED_METRICS else f"{len(metrics)} metrics"


def _published_legends(group: Sequence[SummaryRow], theirs: dict[str, Published]) -> list[str]:
    if not theirs:
        return []
    said = "pub.: test accuracy / attack accuracy@1 (%) as published, not measured here"
    if stand_ins(group):
        said += ", with the published networks, data and budgets"
    if any(one.spread is not None for one in theirs.values()):
        kinds = sorted({one.spread_kind for one in theirs.values() if one.spread is not None and one.spread_kind})
        said += f"; ±: {' or '.join(kinds) or 'as the source gives it'}"
    return [said]


def _published_notes(group: Sequence[SummaryRow], theirs: dict[str, Published]) -> list[str]:
    """Where the published numbers of a setup stand, and what is to be said about them."""
    here = {row.defense for row in group}
    notes: list[str] = []
    for name in ("sources", "remarks"):
        said: dict[str, list[str]] = {}
        for one in theirs.values():
            for text in getattr(one, name):
                said.setdefault(text, []).append(one.defense)
        mark = f"{REMARK_MARK} " if name == "remarks" else "pub. source of "
        notes += [f"{mark}{', '.join(who)}: {text}" for text, who in said.items()]
    notes += [f"also published for {one.defense}: {'; '.join(one.others)}" for one in theirs.values() if one.others]
    absent = [f"{one.defense} {one.values} {one.beside}".strip() for one in theirs.values() if one.defense not in here]
    return [*notes, *([f"published, with no row of that label here: {'; '.join(absent)}"] if absent else [])]


def text_table(summaries: Sequence[SummaryRow], published: Sequence[ResultRow] = ()) -> str:
    """Aligned tables for a terminal, one per setup; setups that were refused as a whole get a line each at the end.

    published: rows to show beside ours, see `setup_table`.
    """
    if not summaries:
        return "no rows: nothing has been measured yet"
    groups, refused, shared = _parts(summaries)
    tables = [setup_table(group, published) for group in groups]
    blocks = [f"stands in: {shared}"] if shared else []
    is_alone = len(tables) == 1
    for table, group in zip(tables, groups, strict=True):
        blocks.append(_text_block(table, group, is_alone=is_alone, say_stand_ins=not shared))
    if tables and not is_alone:  # what holds for all of them is said once
        blocks.append("\n".join(dict.fromkeys(legend for table in tables for legend in table.legends)))
    if refused:
        lines = [(setup_table(group).title, f"refused: {refusal(group)}") for group in refused]
        wide = max(len(title) for title, _ in lines)
        blocks.append("\n".join(f"{title:<{wide}}  {why}" for title, why in lines))
    return "\n\n\n".join(blocks)


def _parts(summaries: Sequence[SummaryRow]) -> tuple[list[list[SummaryRow]], list[list[SummaryRow]], str]:
    """Setups with results, setups refused as a whole, and the stand-ins if several setups with results share them."""
    groups = list(by_setup(summaries).values())
    shown = [group for group in groups if not refusal(group)]
    said = {stand_ins(group) for group in shown}
    shared = said.pop() if len(said) == 1 and len(shown) > 1 else ""
    return shown, [group for group in groups if refusal(group)], shared


def _text_block(table: Table, group: Sequence[SummaryRow], *, is_alone: bool, say_stand_ins: bool) -> str:
    columns: list[tuple[str, list[str], Callable[[str, int], str]]] = [
        ("", [FRONT_MARK if row.is_on_front else "" for row in group], str.ljust)
    ]
    for i, (key, header) in enumerate(table.columns):
        cells = [row[i] for row in table.cells]
        # "97.8 [96.1, 99.0]" aligns on its parts: pad the mean and the interval separately.
        texts, spans = (max(len(getattr(cell, part)) for cell in cells) for part in ("text", "interval"))
        if key not in ACCURACIES:
            align = str.ljust if key in ("defense", "published") else str.rjust
            columns.append((header, [cell.joined for cell in cells], align))
        else:
            padded = [f"{cell.text:>{texts}} {cell.interval:>{spans}}".rstrip().ljust(texts + spans) for cell in cells]
            columns.append((header, padded, str.ljust))
    widths = [max(len(header), *map(len, texts)) for header, texts, _ in columns]

    def line(texts: Iterable[str]) -> str:
        aligned = (align(t, w) for t, w, (_, _, align) in zip(texts, widths, columns, strict=True))
        return "  ".join(aligned).rstrip()

    heads = line(header for header, _, _ in columns)
    body = [line(texts) for texts in zip(*(texts for _, texts, _ in columns), strict=True)]
    above = [table.title, *([f"stands in: {table.stand_ins}"] if table.stand_ins and say_stand_ins else [])]
    above += [table.facts, table.interval_legend, ""]
    below = [*(table.legends if is_alone else ()), *table.footnotes, *table.problems]
    rule = "-" * max(map(len, [heads, *body]))
    return "\n".join([*above, heads, rule, *body, *(["", *below] if below else [])])


def markdown_table(summaries: Sequence[SummaryRow], published: Sequence[ResultRow] = ()) -> str:
    """GitHub tables, one per setup, as `text_table` has them; front defenses are bold."""
    if not summaries:
        return "no rows: nothing has been measured yet"

    def safe(text: str) -> str:
        for plain, escaped in (("\\", "\\\\"), ("|", "\\|"), ("<", "&lt;"), ("*", "\\*"), ("\n", " ")):
            text = text.replace(plain, escaped)
        return text

    def listed(notes: Iterable[str]) -> list[str]:
        return [f"- {safe(note)}" for note in notes]

    groups, refused, shared = _parts(summaries)
    tables = [setup_table(group, published) for group in groups]
    is_alone = len(tables) == 1
    blocks = [f"stands in: {safe(shared)}"] if shared else []
    for table, group in zip(tables, groups, strict=True):
        own = [f"stands in: {safe(table.stand_ins)}", ""] if table.stand_ins and not shared else []
        lines = [
            f"**{safe(table.title)}**",
            "",
            *own,
            f"{safe(table.facts)}; {safe(table.interval_legend)}",
            "",
            "| | " + " | ".join(header for _, header in table.columns) + " |",
            "| --- | --- |" + " ---: |" * (len(table.columns) - 1),
        ]
        for row, cells in zip(group, table.cells, strict=True):
            texts = [safe(cell.joined) for cell in cells]
            if row.is_on_front:
                texts[0] = f"**{texts[0]}**"
            lines.append(f"| {FRONT_MARK if row.is_on_front else ''} | {' | '.join(texts)} |")
        lines += ["", *listed([*(table.legends if is_alone else ()), *table.footnotes, *table.problems])]
        blocks.append("\n".join(lines).rstrip())
    if tables and not is_alone:
        blocks.append("\n".join(listed(dict.fromkeys(legend for table in tables for legend in table.legends))))
    if refused:
        blocks.append("\n".join(listed(f"{setup_table(g).title}: refused: {refusal(g)}" for g in refused)))
    return "\n\n".join(blocks)


def records(
    summaries: Sequence[SummaryRow], published: Sequence[ResultRow] = ()
) -> list[dict[str, str | int | float | None]]:
    """Every number of every row, unrounded, under flat names: what CSV and Parquet exports hold."""
    found = []
    labels: dict[str, list[str]] = {}
    for row in summaries:
        labels.setdefault(row.setup, []).append(row.defense)
    theirs = {setup: published_of(setup, published, ours) for setup, ours in labels.items()}
    matched = {key for key, group in by_setup(summaries).items() if is_matched_setup(group)}
    for row in summaries:
        record: dict[str, str | int | float | None] = {name: getattr(row, name) for name in _FROM_ROW}
        for metric in METRICS:
            estimate: Estimate = getattr(row, metric)
            record[metric] = estimate.mean
            for choice in ("within_run", "over_seeds") if metric in (*ACCURACIES, "knn_distance") else ():
                interval: Interval | None = getattr(estimate, choice)
                record[f"{metric}_{choice}_low"] = interval.low if interval else None
                record[f"{metric}_{choice}_high"] = interval.high if interval else None
                record[f"{metric}_{choice}_interval"] = interval.kind if interval else None
            if metric == "natural_accuracy":
                record["matched"] = int(row.is_matched)
                record |= {name: getattr(row, name) for name in MATCH_NUMBERS}
        # A Delta of equal accuracies is no number to keep; what the table says in its place is the drop.
        delta_cell = _drop_cell(row) if row.setup_key in matched else _delta_cell(row)
        trade_off, delta = row.trade_off, row.trade_off.delta
        span, attack_span = trade_off.utility_drop_interval, trade_off.attack_drop_interval
        record |= {
            "chance": row.chance,
            "evaluator_accuracy": row.evaluator_accuracy,
            "delta": None if row.setup_key in matched else delta_cell.number,
            "delta_text": delta_cell.joined,
            "delta_is_unstable": int(delta.is_unstable) if delta and row.setup_key not in matched else None,
            "utility_drop": trade_off.utility_drop,
            "utility_drop_low": span.low if span else None,
            "utility_drop_high": span.high if span else None,
            "attack_drop": trade_off.attack_drop,
            "attack_drop_low": attack_span.low if attack_span else None,
            "attack_drop_high": attack_span.high if attack_span else None,
            "is_on_front": int(row.is_on_front),
            "seeds": len(row.seeds),
            "ok": row.ok,
            "failed": row.failed,
            "refused": row.refused,
            "missing": row.missing,
            "reasons": "; ".join(_reasons_by_seed(row)),
            **_published_record(theirs[row.setup].get(row.defense)),
        }
        found.append(record)
    return found


def _reasons_by_seed(row: SummaryRow) -> list[str]:
    same: dict[tuple[int, str, str], list[str]] = {}
    for p in row.problems:
        same.setdefault((p.seed, p.status, p.reason), []).append(p.metric)
    return [f"seed {seed} {_named(metrics)} {status}: {why}" for (seed, status, why), metrics in same.items()]


def _published_record(theirs: Published | None) -> dict[str, str | int | float | None]:
    return {
        "published_natural_accuracy": theirs.natural_accuracy if theirs else None,
        "published_attack_accuracy_at_1": theirs.attack_accuracy_at_1 if theirs else None,
        "published_spread": theirs.spread if theirs else None,
        "published_spread_kind": theirs.spread_kind if theirs else "",
        "published_source": "; ".join(theirs.sources) if theirs else "",
        "published_remark": "; ".join(theirs.remarks) if theirs else "",
    }


def csv_table(summaries: Sequence[SummaryRow], published: Sequence[ResultRow] = ()) -> str:
    """`records` as CSV with a header; numbers unrounded, empty where there is none."""
    found = records(summaries, published)
    if not found:
        return ""
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(found[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return out.getvalue()
