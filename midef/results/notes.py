"""Words around the table of a setup: facts above it, legends, footnotes and problems below it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from midef.core.certainty import CERTAINTY_LEGEND, settings_line
from midef.core.setup import weights_of_evaluator
from midef.core.statistics import UNSTABLE_BELOW_POINTS
from midef.core.text import counted
from midef.results.columns import STANDING, MetricColumn
from midef.results.compare import ATTACK, DELTA_FROM_POINTS, NATURAL, UNDEFENDED, UNPAIRED_MARK
from midef.results.estimates import SEEDS_FOR_T, IntervalChoice
from midef.results.gating import gate_lines, mark_of
from midef.results.judges import ESTIMATE_MARK, judges_words
from midef.results.published import REMARK_MARK, Published
from midef.results.summary import SummaryRow, columns_in, is_matched_setup, over_shared_seeds, seeds_named

FRONT_MARK = "●"
NAMED_DEFENSES = 3  # that lack a seed; of more, their number
NAMED_METRICS = 3  # a cell that was lost has a row per metric: beyond these they are counted


def row_mark(row: SummaryRow) -> str:
    """Marks before a row: on the front, excluded, noted."""
    return f"{FRONT_MARK if row.is_on_front else ''}{mark_of(row.gates)}"


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
    return "; ".join(f"{reason} ({counted(len(refused), 'cell')})" for reason, refused in cells.items())


def _counts(numbers: Iterable[int], thing: str) -> str:
    """`1 seed`, `2 to 3 seeds`."""
    ordered = sorted(set(numbers)) or [0]
    return f"{ordered[0]} to {ordered[-1]} {thing}s" if len(ordered) > 1 else counted(ordered[0], thing)


def stand_ins(group: Iterable[SummaryRow]) -> str:
    """Stand-ins of the setup of these rows; "" where it is as published."""
    return " | ".join(dict.fromkeys(row.stand_ins for row in group if row.stand_ins))


def facts(group: Sequence[SummaryRow], *, is_refused: bool) -> str:
    """Profile, protocol, chance, evaluator and seeds of a setup."""
    first = group[0]
    chances = [row.chance for row in group if row.chance is not None]
    evaluators = [row.evaluator_accuracy for row in group if row.evaluator_accuracy is not None]
    return ", ".join(
        [
            f"profile {first.profile}",
            f"{first.identities} identities x {first.images_per_identity}"
            + (", only the best by target score counted" if first.counted == "best_by_target" else ""),
            *([INVERTED[first.victims]] if first.victims in INVERTED else []),
            *(f"chance {chance:.2f} %" for chance in chances[:1]),
            *(f"evaluator {first.evaluator} {accuracy:.1f} %" for accuracy in evaluators[:1]),
            *([] if is_refused else [*_ceilings(group), _runs(group)]),
            *(f"{column.name} 100 % in every run" for column in full_everywhere(group)),
            *([_matched_to(group)] if is_matched_setup(group) else []),
        ]
    )


INVERTED = {"train": "images the target learned are inverted", "report": "images the target never saw are inverted"}
"""By `victims` of a row."""


def full_everywhere(group: Sequence[SummaryRow]) -> list[MetricColumn]:
    """Percent metrics that are 100 in every run of the setup. They get a fact in place of a column, unless the column
    stands in every table: whether a search ends with an answer says nothing where it always does."""
    standing = {column.metric for column in STANDING}
    full = []
    for column in columns_in(group):
        values = {value for row in group for _, value in row.estimate(column.metric).by_seed}
        if column.is_percent and column.metric not in standing and values == {100.0}:
            full.append(column)
    return full


def _runs(group: Sequence[SummaryRow]) -> str:
    seeds = (row.attack_accuracy_at_1.seeds for row in over_shared_seeds(group))
    return _counts((count for count in seeds if count), "seed")


def _matched_to(group: Sequence[SummaryRow]) -> str:
    """`matched to 88.2 ± 0.5 (tolerance) on the select split, mean over 3 seeds`."""
    asked = sorted({(r.match_target, r.match_tolerance or 0.0) for r in group if r.match_target is not None})
    targets = " or ".join(f"{target:.1f} ± {tolerance:g}" for target, tolerance in asked)
    seeds = {row.match_seeds for row in group if row.match_seeds}
    over = f", mean over {_counts(seeds, 'seed')}" if seeds else ""
    return f"matched to {targets} (tolerance) on the select split{over}"


def interval_legend(group: Sequence[SummaryRow], choice: IntervalChoice) -> str:
    """What the numbers are means of, and what the intervals are."""
    runs = _runs(group)
    if choice == "over_seeds":
        shown = (row.estimate(metric).interval(choice) for row in group for metric in (NATURAL, ATTACK))
        spans = [span for span in shown if span]
        if not spans:
            return f"mean over {runs}; the runs report no intervals, and the seeds are equal"
        return f"mean over {runs} [{' or '.join(sorted({span.kind.rpartition(', ')[0] for span in spans}))}]"

    def kinds(metric: str) -> str:
        # A column may hold several kinds (rows of an older version); the parts about the number of runs are said once.
        kinds = {span.kind.partition(", mean of")[0] for row in group if (span := row.estimate(metric).within_run)}
        return " or ".join(sorted({part for kind in kinds for part in kind.split(" or ")}))

    by_kind: dict[str, list[str]] = {}
    for name, kind in (("test acc", kinds(NATURAL)), ("attack", kinds(ATTACK))):
        if kind:
            by_kind.setdefault(kind, []).append(name)
    if not by_kind:
        return f"mean over {runs}; the runs report no intervals"
    said = "; ".join(f"{' and '.join(names)}: {kind}" for kind, names in by_kind.items())
    return f"mean over {runs} [interval within a run, averaged; {said}; without the differences between trainings]"


def legends(group: Sequence[SummaryRow]) -> list[str]:
    """How to read the marks in the cells, the same in all setups of a kind."""
    other = "matched defense" if is_matched_setup(group) else "defense here"
    front = f"{FRONT_MARK} on the front: no other {other} is both at least as accurate and attacked less"
    fronts = [
        *([front] if any(row.is_on_front for row in group) else []),
        *([CERTAINTY_LEGEND] if group[0].certainty else []),
        *_ceiling_legends(group),
    ]
    if is_matched_setup(group):
        return [
            *fronts,
            "matched: accuracy on the select split (points above the target); no: outside the tolerance, or not "
            "confirmed",
            *_comparison_legends(group, is_matched=True),
        ]
    shown = [row.trade_off.delta for row in group if row.trade_off.delta and row.trade_off.delta_value is not None]
    return [
        *fronts,
        *_comparison_legends(group, is_matched=False),
        *([DELTA_LEGEND] if any(row.trade_off.delta for row in group) else []),
        *([UNSTABLE_LEGEND] if any(delta.is_unstable for delta in shown) else []),
    ]


DELTA_LEGEND = (
    "Delta: points of attack accuracy@1 less for each point of test accuracy lost, only where the interval of the loss "
    f"is above 0 and the loss at least {DELTA_FROM_POINTS:g}"
)
UNSTABLE_LEGEND = f"* utility drop below {UNSTABLE_BELOW_POINTS} point: Delta is unstable"


def _ceilings(group: Sequence[SummaryRow]) -> list[str]:
    """`trait@1 and trait@5 ceiling 100.0 %`: what true private images reach, where a metric says it."""
    of_columns: dict[str, list[str]] = {}
    for column in (one for one in columns_in(group) if one.is_percent):
        shown = [row.estimate(column.metric) for row in group]
        ceilings = [f"{estimate.ceiling:.1f}" for estimate in shown if estimate.ceiling is not None]
        if ceilings:
            mark = ESTIMATE_MARK if any(estimate.is_estimate for estimate in shown) else ""
            ends = sorted({min(ceilings, key=float), max(ceilings, key=float)}, key=float)
            of_columns.setdefault(f"{mark}{' to '.join(ends)} %", []).append(column.name)
    return [f"{' and '.join(names)} ceiling {ceiling}" for ceiling, names in of_columns.items()]


def _ceiling_legends(group: Sequence[SummaryRow]) -> list[str]:
    shown = [estimate for row in group for estimate in row.estimates.values()]
    ceiling = "ceiling: what true private images reach under the same judge"
    estimate = f"{ESTIMATE_MARK} an estimate that a network makes from the images; its ceiling shows how well"
    return [
        *([ceiling] if any(one.ceiling is not None for one in shown) else []),
        *([estimate] if any(one.is_estimate for one in shown) else []),
    ]


def _comparison_legends(group: Sequence[SummaryRow], *, is_matched: bool) -> list[str]:
    """How to read the comparison with the undefended model; nothing where nothing was compared.

    Args:
        group: rows of a setup.
        is_matched: accuracies were matched: the attacks of the matched rows alone are compared.
    """
    compared = [row for row in group if row.trade_off.attack and (row.is_matched or not is_matched)]
    if not compared:
        return []
    words = [row.trade_off.attack_words if is_matched else row.trade_off.words for row in compared]
    few = any(row.attack_accuracy_at_1.seeds < SEEDS_FOR_T for row in compared)
    interval = f"95 % interval{', without the differences between trainings' if few else ''}"
    shown = [row.trade_off.attack for row in compared] + [row.trade_off.utility for row in compared if not is_matched]
    without = ", or there is no interval" if any(one and one.interval is None for one in shown) else ""
    lines = [
        f"against {UNDEFENDED}: points of test accuracy (acc) and attack accuracy@1 (att) [{interval}], said only "
        "where the interval shows it; not resolved: the interval holds no change as well as changes up to its ends"
        f"{without}"
    ]
    if any(UNPAIRED_MARK in text for text in words):
        lines.append(
            f"{UNPAIRED_MARK}: not compared image by image, because one of the two or both are of an older midef, "
            "which does not say which images succeeded, or they are about different images; the interval is wider than "
            "a paired one"
        )
    return lines


def footnotes(group: Sequence[SummaryRow]) -> list[str]:
    """Which defenses of the setup are not compared, and why; and what to know of its evaluator."""
    is_matched = is_matched_setup(group)
    reasons: dict[str, list[str]] = {}
    for row in group:
        is_left_out = row.is_undefended or row.is_excluded or row.has_own_seeds
        is_compared = not is_left_out and (row.is_matched or not is_matched)
        if row.trade_off.delta is None and is_compared:
            reasons.setdefault(row.trade_off.reason, []).append(row.defense)
    return [
        *gate_lines(group),
        *_seed_notes(group),
        *(_matched_notes(group) if is_matched else []),
        *(said for row in group if (said := judges_words(row, group))),
        *(f"no comparison for {', '.join(defenses)}: {reason}" for reason, defenses in reasons.items()),
        *_evaluator_notes(group),
        *_metric_notes(group),
        *([said] if (said := settings_line(group[0].settings)) else []),
    ]


def _evaluator_notes(group: Sequence[SummaryRow]) -> list[str]:
    """What an evaluator has seen elsewhere is not known here."""
    weights = weights_of_evaluator(group[0].evaluator)
    if not weights:
        return []
    return [
        f"the evaluator starts from published weights ({weights}): the images these were learned on may show people "
        "that are attacked here"
    ]


def _metric_notes(group: Sequence[SummaryRow]) -> list[str]:
    """What to know beside the numbers of a metric: what holds for all defenses once, then what is of each alone.

    Parts of a remark are separated by semicolons.
    """
    lines = []
    for column in columns_in(group):
        said = {row.defense: text.split("; ") for row in group if (text := row.remarks.get(column.metric))}
        if not said:
            continue
        shared = [part for part in next(iter(said.values())) if all(part in parts for parts in said.values())]
        own = {defense: [part for part in parts if part not in shared] for defense, parts in said.items()}
        alone = [f"{defense}, {', '.join(parts)}" for defense, parts in own.items() if parts]
        lines.append(f"{column.title}: {'; '.join([*shared, *alone])}")
    return lines


def _seed_notes(group: Sequence[SummaryRow]) -> list[str]:
    """Which results are in no number of the setup, because other defenses have none of their seed; and which rows are
    over seeds of their own."""
    shared = [row for row in group if row.shown_seeds and not row.has_own_seeds]
    left_out: dict[tuple[int, ...], list[str]] = {}
    for row in shared:
        more = tuple(seed for seed in row.measured_seeds if seed not in row.shown_seeds)
        if more:
            left_out.setdefault(more, []).append(row.defense)
    lines = []
    for seeds, defenses in left_out.items():
        limits: dict[tuple[int, ...], list[str]] = {}
        for row in shared:
            if not set(seeds) <= set(row.measured_seeds):
                limits.setdefault(row.measured_seeds, []).append(row.defense)
        why = "; ".join(f"{_who_has(names)} {seeds_named(have)} only" for have, names in limits.items())
        lines.append(f"{seeds_named(seeds)} of {', '.join(defenses)}: not shown, {why}")
    shown = seeds_named(shared[0].shown_seeds) if shared else ""
    lines += [
        f"{row.defense}: over {seeds_named(row.shown_seeds)}, the others over {shown}: compared with nothing"
        for row in group
        if row.has_own_seeds and shared
    ]
    return lines


def _who_has(defenses: Sequence[str]) -> str:
    """`none has`, `none, a have`, `12 defenses have`."""
    who = f"{len(defenses)} defenses" if len(defenses) > NAMED_DEFENSES else ", ".join(defenses)
    return f"{who} {'has' if len(defenses) == 1 else 'have'}"


def _matched_notes(group: Sequence[SummaryRow]) -> list[str]:
    """Which rows of a matched setup are not compared, and what the reference is; a line of their own says it of those
    that are excluded."""
    defended = [row for row in group if not row.is_undefended]
    results = [row for row in group if not row.is_excluded]
    lines = []
    for why, was_asked in (("not matched", True), ("without an accuracy to match", False)):
        unmatched = [row for row in results if not row.is_undefended and not row.is_matched]
        count = sum((row.match_target is not None) == was_asked for row in unmatched)
        if count:
            shown = "is {}; it is shown" if count == 1 else "are {}; they are shown"
            lines.append(f"{count} of {counted(len(defended), 'defense')} {shown.format(why)}, and not compared")
    if any(row.is_undefended and not row.is_matched for row in results):
        lines.append("the undefended model, the reference, is not matched: its accuracy differs by design")
    return lines


def problems(group: Iterable[SummaryRow]) -> list[str]:
    """Failed, refused and missing cells with their reasons, and notes about single defenses."""
    lines = []
    for row in group:
        seeds_by_problem: dict[tuple[str, str, str], list[int]] = {}
        for p in row.problems:
            seeds_by_problem.setdefault((p.status, p.reason, p.metric), []).append(p.seed)
        metrics_by_problem: dict[tuple[str, str, tuple[int, ...]], list[str]] = {}
        for (status, reason, metric), seeds in seeds_by_problem.items():
            metrics_by_problem.setdefault((status, reason, tuple(seeds)), []).append(metric)
        for (status, reason, which), metrics in metrics_by_problem.items():
            lines.append(f"{status}: {row.defense}, {seeds_named(which)}, {metrics_named(metrics)}: {reason}")
        if row.missing:
            lines.append(f"missing: {row.defense} has no result for {row.missing} of the setup's seeds")
        lines += [f"note: {row.defense}, {note}" for note in row.notes]
    return lines


def metrics_named(metrics: Sequence[str]) -> str:
    """Names of a few metrics, the number of many."""
    return ", ".join(metrics) if len(metrics) <= NAMED_METRICS else f"{len(metrics)} metrics"


def published_legends(group: Sequence[SummaryRow], theirs: Mapping[str, Published]) -> list[str]:
    """How to read published numbers; nothing where there are none."""
    if not theirs:
        return []
    line = "published: test accuracy / attack accuracy@1 (%) of a paper, not measured here"
    if stand_ins(group):
        line += ", with the published networks, data and budgets"
    with_spread = [one for one in theirs.values() if one.spread is not None]
    if with_spread:
        kinds = sorted({one.spread_kind for one in with_spread if one.spread_kind})
        line += f"; ±: {' or '.join(kinds) or 'as the source gives it'}"
    return [line]


def published_notes(group: Sequence[SummaryRow], theirs: Mapping[str, Published]) -> list[str]:
    """Where the published numbers of a setup stand, and what is to be said about them."""
    here = {row.defense for row in group}
    lines: list[str] = []
    for name in ("sources", "remarks"):
        defenses: dict[str, list[str]] = {}
        for one in theirs.values():
            for text in getattr(one, name):
                defenses.setdefault(text, []).append(one.defense)
        mark = f"{REMARK_MARK} " if name == "remarks" else "published numbers of "
        lines += [f"{mark}{', '.join(labels)}: {text}" for text, labels in defenses.items()]
    lines += [f"also published for {one.defense}: {'; '.join(one.others)}" for one in theirs.values() if one.others]
    absent = [f"{one.defense} {one.values} {one.beside}".strip() for one in theirs.values() if one.defense not in here]
    return [*lines, *([f"published, with no row of that label here: {'; '.join(absent)}"] if absent else [])]
