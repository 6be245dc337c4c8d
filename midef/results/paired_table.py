"""A comparison of two sides as tables and as a sentence."""

from __future__ import annotations

from collections.abc import Sequence

from midef.results.compare import ABSENT
from midef.results.estimates import Interval
from midef.results.paired import Comparison, Overall, Pair
from midef.results.plain import PlainColumn, PlainTable

NOTHING_PAIRED = "nothing is paired, so nothing is compared"


def comparison_tables(found: Comparison) -> list[PlainTable]:
    """Differences by setup, and over all setups."""
    has_defenses = any(pair.unit[1] for pair in found.pairs)
    title = f"{found.first} against {found.second}"
    columns = (
        PlainColumn("setup", "setup"),
        *([PlainColumn("defense", "defense")] if has_defenses else []),
        PlainColumn("first", f"att@1 % {found.first}", "right"),
        PlainColumn("second", f"att@1 % {found.second}", "right"),
        PlainColumn("difference", "att@1 difference", is_whole=True),
        PlainColumn("over_seeds", "t, seeds", is_whole=True),
        PlainColumn("natural", "test acc difference", is_whole=True),
        PlainColumn("pairs", "seeds", "right"),
    )
    return [
        PlainTable(
            title=f"{title}, by setup",
            columns=columns,
            rows=tuple(_row(pair, has_defenses=has_defenses) for pair in found.pairs),
            records=tuple(_record(pair) for pair in found.pairs),
            about=(
                f"differences are {found.second} minus {found.first}, points, over the seeds that both have; [95 % "
                "interval over seeds and images]; t, seeds: 95 % t interval of the paired differences of the seeds, "
                "from three on"
            ),
            notes=(*_excluded_notes(found), *found.notes),
        ),
        PlainTable(
            title=f"{title}, over setups",
            columns=(
                *([PlainColumn("defense", "defense")] if has_defenses else []),
                PlainColumn("difference", "att@1 difference", "right"),
                PlainColumn("over_setups", "t, setups", is_whole=True),
                PlainColumn("bootstrap", "bootstrap", is_whole=True),
                PlainColumn("setups", "setups", "right"),
                PlainColumn("pairs", "pairs", "right"),
            ),
            rows=tuple(_overall_row(one, has_defenses=has_defenses) for one in found.overall),
            records=(),
            about=_legend(found.overall),
            notes=tuple(verdict(found, one) for one in found.overall) or (NOTHING_PAIRED,),
        ),
    ]


def verdict(found: Comparison, one: Overall) -> str:
    """What the intervals show, in a sentence."""
    who = f"{one.name}: " if one.name else ""
    change = f"{-one.drop:+.1f} points of attack accuracy@1"
    if one.second_leaks_less:
        return f"{who}{found.second} leaks less than {found.first}: {change}"
    if one.second_leaks_more:
        return f"{who}{found.second} leaks more than {found.first}: {change}"
    return f"{who}not resolved: {change}, and an interval that decides holds no change"


def _legend(overall: Sequence[Overall]) -> str:
    if not overall:
        return ""
    said = "every setup counts once; t, setups: t interval with the setups as the observations; bootstrap: two levels, "
    said += "setups, then seeds within a setup"
    level = overall[0].level
    if level > 0.95:
        return f"{said}; intervals of {100 * level:.4g} %, so that all {len(overall)} hold together at 95 %"
    return f"{said}; 95 %"


def _excluded_notes(found: Comparison) -> list[str]:
    if not found.excluded:
        return ["excluded: none"]
    by_reason: dict[str, list[str]] = {}
    for (setup, defense), reason in found.excluded.items():
        by_reason.setdefault(reason, []).append(f"{setup} {defense}".strip())
    total = len(found.excluded) + len(found.pairs)
    lines = [f"excluded: {len(found.excluded)} of {total}"]
    return lines + [f"  {', '.join(units)}: {reason}" for reason, units in by_reason.items()]


def _ends(span: Interval | None) -> str:
    """Ends of an interval of first minus second, as second minus first."""
    return ABSENT if span is None else f"[{-span.high + 0.0:.1f}, {-span.low + 0.0:.1f}]"


def _row(pair: Pair, *, has_defenses: bool) -> tuple[str, ...]:
    return (
        pair.unit[0],
        *([pair.unit[1]] if has_defenses else []),
        f"{pair.first:.1f}",
        f"{pair.second:.1f}",
        pair.attack.change,
        _ends(pair.over_seeds),
        pair.natural.change,
        str(len(pair.seeds)),
    )


def _overall_row(one: Overall, *, has_defenses: bool) -> tuple[str, ...]:
    return (
        *([one.name] if has_defenses else []),
        f"{-one.drop:+.1f}",
        _ends(one.over_setups),
        _ends(one.bootstrap),
        str(len(one.pairs)),
        str(one.seeds),
    )


def _record(pair: Pair) -> dict[str, str | int | float | None]:
    """Numbers of a pair: differences are second minus first."""
    both = {"difference": pair.attack, "natural_difference": pair.natural}
    spans = {name: one.interval for name, one in both.items()} | {"difference_over_seeds": pair.over_seeds}
    record: dict[str, str | int | float | None] = {
        "setup": pair.unit[0],
        "defense": pair.unit[1],
        "seeds": " ".join(map(str, pair.seeds)),
        "first": pair.first,
        "second": pair.second,
        "first_natural": pair.first_natural,
        "second_natural": pair.second_natural,
        **{name: -one.drop for name, one in both.items()},
    }
    for name, span in spans.items():
        record |= {
            f"{name}_low": -span.high if span else None,
            f"{name}_high": -span.low if span else None,
            f"{name}_interval": span.kind if span else None,
        }
    return record
