"""Worst case over attacks on one target: the highest attack accuracy, with an interval for a maximum.

The largest of several measured numbers is on average too large, and the interval of the attack that happened to win
holds the true maximum less often than it says: of twelve equal attacks in as few as 67 % of audits. With k attacks

- the lower end is the highest lower end of all attacks, each at the level 1 - .05 / k (Bonferroni): it lies above the
  true maximum only if one of the k lower ends lies above the rate of its own attack;
- the upper end is the highest ordinary upper end. It needs no correction: if that of the truly worst attack holds its
  rate, so does the highest.

Both hold however the attacks depend on each other, which they do: they attack the same people. Coverage:
`docs/intervals.md`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from midef.core import outcomes
from midef.core.gates import Gate, excluded_because, noted_because
from midef.core.rows import ResultRow
from midef.core.statistics import identity_lower_bound, two_level_interval
from midef.core.text import counted
from midef.results.compare import ATTACK
from midef.results.estimates import SEEDS_FOR_T, Estimate, Interval, estimate
from midef.results.gating import gates_of
from midef.results.runs import runs_of

LEVEL = 0.95
METRIC = "worst_case_accuracy_at_1"
"""Metric of the row that holds a worst case."""

State = Literal["measured", "excluded", "failed", "refused", "left out"]


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One attack on the target, over its seeds.

    Args:
        attack: as written, parameters included.
        access: what it needs.
        state: `measured` has a value; `excluded` has one that is no result; `left out` was measured, and is not among
            the attacks that are compared.
        value: attack accuracy@1, percent, mean over seeds; None unless measured.
        interval: the ordinary one, of this attack alone.
        low: lower end at the level that as many attacks need; None without an interval.
        chance: percent.
        reason: why there is no value.
        is_converged: False where its search was ended while the target's confidence still rose; None where nothing is
            known: of short searches, of those without confidence, of one seed without it among several.
        notes: what to know of the number.
        by_seed: (seed, value), of a measured one.
    """

    attack: str
    access: str
    state: State
    value: float | None = None
    interval: Interval | None = None
    low: float | None = None
    chance: float | None = None
    reason: str = ""
    is_converged: bool | None = None
    notes: str = ""
    by_seed: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class WorstCase:
    """The highest attack accuracy@1 over all attacks that ran on one target.

    Args:
        attempts: every attack that was tried, the measured ones first, the highest first.
        interval: of the highest true accuracy of the measured attacks; None where one of them has no interval.
    """

    attempts: tuple[Attempt, ...]
    interval: Interval | None = None

    @property
    def measured(self) -> tuple[Attempt, ...]:
        return tuple(one for one in self.attempts if one.state == "measured")

    @property
    def winner(self) -> Attempt | None:
        """The attack with the highest accuracy; None if none was measured."""
        return next(iter(self.measured), None)

    @property
    def value(self) -> float | None:
        """Percent; None if no attack was measured."""
        return self.winner.value if self.winner else None

    @property
    def chance(self) -> float | None:
        return self.winner.chance if self.winner else None

    @property
    def without_number(self) -> tuple[Attempt, ...]:
        """Attacks that were tried and gave no number, with the reason; those that were left out did."""
        return tuple(one for one in self.attempts if one.state not in ("measured", "left out"))

    @property
    def not_converged(self) -> tuple[Attempt, ...]:
        return tuple(one for one in self.measured if one.is_converged is False)

    @property
    def maybe_converged(self) -> tuple[Attempt, ...]:
        """Attacks with a number of which nobody knows whether more steps would find more."""
        return tuple(one for one in self.measured if one.is_converged is None)

    @property
    def is_at_chance(self) -> bool:
        """Guessing explains it: the interval reaches down to chance."""
        return self.interval is not None and self.chance is not None and self.interval.low <= self.chance

    @property
    def words(self) -> str:
        """`84.2 % [70.1, 93.0] by ppa, the highest of 5 attacks; 1 without a number; not converged: gmi`."""
        if self.winner is None or self.value is None:
            return f"no attack accuracy: {counted(len(self.without_number), 'attack')} tried, none gave a number"
        count = len(self.measured)
        of = "the only attack that gave a number" if count == 1 else f"the highest of {count} attacks"
        ends = f" {self.interval.ends}" if self.interval else ""
        parts = [f"{self.value:.1f} %{ends} by {self.winner.attack}, {of}"]
        if self.without_number:
            parts.append("without a number: " + ", ".join(one.attack for one in self.without_number))
        if self.not_converged:
            parts.append("not converged: " + ", ".join(one.attack for one in self.not_converged))
        return "; ".join(parts)


def worst_case(
    rows: Iterable[ResultRow], *, among: Collection[str] | None = None, repeated: Collection[str] = ()
) -> WorstCase:
    """The worst case of one target from its stored rows: all attacks, all seeds.

    Args:
        rows: of one target under one defense; other metrics say what is wrong with a number. Published rows do not
            count.
        among: attacks that are compared, as `common_attacks` gives them; None takes all.
        repeated: attacks that are named with their setup, as other targets have them in several.

    Raises:
        ValueError: for rows of several targets, or of several judges: their highest number would be about nothing.
    """
    measured = [row for row in rows if row.origin == "measured"]
    _check_one_target(measured)
    by_attack = _by_attack(measured, repeated)
    counts = [name for name in by_attack if among is None or name in among]
    found = {name: _attempt(name, of_attack) for name, of_attack in by_attack.items()}
    number = sum(one.state == "measured" for name, one in found.items() if name in counts)
    attempts = [
        _left_out(one) if name not in counts else _with_low(one, by_attack[name], number) for name, one in found.items()
    ]
    order = ("measured", "excluded", "failed", "refused", "left out")
    attempts.sort(key=lambda one: (order.index(one.state), -(one.value or 0.0), one.attack))
    return WorstCase(attempts=tuple(attempts), interval=_interval([a for a in attempts if a.state == "measured"]))


def common_attacks(targets: Iterable[Sequence[ResultRow]]) -> frozenset[str]:
    """Attacks that were measured on every target, so that their worst cases are over the same ones.

    A target on which nothing was measured is no limit for the others.

    Args:
        targets: rows of each target, such as those of each defense.
    """
    every = list(targets)
    repeated = _repeated(every)
    sets = [frozenset(one.attack for one in worst_case(rows, repeated=repeated).measured) for rows in every]
    measured = [names for names in sets if names]
    return frozenset.intersection(*measured) if measured else frozenset()


def worst_cases(targets: Mapping[str, Sequence[ResultRow]]) -> dict[str, WorstCase]:
    """Worst case of each target over the attacks that all of them have, such as of each defense of a sweep.

    Args:
        targets: rows by name.
    """
    among, repeated = common_attacks(targets.values()), _repeated(targets.values())
    return {name: worst_case(rows, among=among, repeated=repeated) for name, rows in targets.items()}


def worst_case_row(worst: WorstCase, rows: Iterable[ResultRow]) -> ResultRow | None:
    """The worst case as a result row, beside those it is made from; None if there are none.

    Args:
        rows: those it is made from: the row says about the target what they say.
    """
    given = [row for row in rows if row.origin == "measured"]
    if not given:
        return None
    winner, span = worst.winner, worst.interval
    names = (winner.attack,) if winner else ()
    of_winner = [row for row in given if row.attack in names or f"{row.attack} in {row.setup}" in names]
    like = next((row for row in of_winner or given if row.metric == ATTACK), given[0])
    text = dict.fromkeys(("outcomes", "failure", "spread_kind"), "")
    number = dict.fromkeys(("n", "groups", "spread", "ceiling", "wall_s", "queries"))
    is_ok = worst.value is not None
    changed: dict[str, Any] = {**text, **number}
    return replace(
        like,
        metric=METRIC,
        column="worst att@1 %",
        **changed,
        value=worst.value,
        low=span.low if span else None,
        high=span.high if span else None,
        interval=span.kind if span else "",
        chance=worst.chance,
        status="ok" if is_ok else "refused",
        reason="" if is_ok else worst.words,
        remark=worst.words if is_ok else "",
    )


def _check_one_target(rows: Sequence[ResultRow]) -> None:
    for name in ("defense", "defense_params", "architecture", "private", "evaluator", "counted"):
        values = sorted({getattr(row, name) for row in rows})
        if len(values) > 1:
            shown = ", ".join(map(repr, values[:3]))
            raise ValueError(f"a worst case is over attacks on one target, got rows of several in {name}: {shown}")


def _repeated(targets: Iterable[Sequence[ResultRow]]) -> frozenset[str]:
    """Attacks that ran in several setups on any of the targets, as with other public images."""
    setups: dict[str, set[str]] = {}
    for row in (row for rows in targets for row in rows if row.origin == "measured"):
        setups.setdefault(row.attack, set()).add(row.setup)
    return frozenset(attack for attack, names in setups.items() if len(names) > 1)


def _by_attack(rows: Sequence[ResultRow], repeated: Collection[str] = ()) -> dict[str, list[ResultRow]]:
    """Rows by attack, as it is written; where one ran in several setups, here or on what is compared, by setup too."""
    in_several = _repeated([rows]) | frozenset(repeated)
    found: dict[str, list[ResultRow]] = {}
    for row in rows:
        name = f"{row.attack} in {row.setup}" if row.attack in in_several else row.attack
        found.setdefault(name, []).append(row)
    return found


def _attempt(name: str, rows: Sequence[ResultRow]) -> Attempt:
    """What came of one attack."""
    first = rows[0]
    runs = runs_of(rows)
    attacks = _of_attack(rows)
    good = [row for row in attacks if row.number is not None]
    gates = gates_of(runs.by_seed)
    chance = next((row.chance for row in attacks if row.chance is not None), None)
    if not good:
        worst = next((row for state in ("failed", "refused") for row in attacks or rows if row.status == state), None)
        state: State = "refused" if worst is not None and worst.status == "refused" else "failed"
        reason = worst.reason if worst is not None else "no attack accuracy was measured"
        return Attempt(attack=name, access=first.access, state=state, reason=reason, chance=chance)
    excluded, notes = excluded_because(gates), noted_because(gates)
    lost = len({row.seed for row in attacks}) - len({row.seed for row in good})
    if lost:
        notes = "; ".join(filter(None, [notes, f"{counted(lost, 'seed')} without a number"]))
    of_seeds = _estimate(good)
    return Attempt(
        attack=name,
        access=first.access,
        state="excluded" if excluded else "measured",
        value=None if excluded else of_seeds.mean,
        interval=None if excluded else _ordinary(of_seeds),
        chance=chance,
        reason=excluded,
        is_converged=_is_converged(good, gates),
        notes=notes,
        by_seed=() if excluded else of_seeds.by_seed,
    )


def _is_converged(good: Sequence[ResultRow], gates: Sequence[Gate]) -> bool | None:
    """Whether the searches behind these numbers had ended to rise; None where one of them kept no confidence."""
    if any(gate.subject == "search" for gate in gates):
        return False
    known = [row.confidence_rise is not None and row.confidence_rise_low is not None for row in good]
    return True if all(known) else None


def _of_attack(rows: Sequence[ResultRow]) -> list[ResultRow]:
    """One row of attack accuracy of each seed."""
    return [row for run in runs_of(rows).by_seed.values() for row in run if row.metric == ATTACK]


def _estimate(good: Sequence[ResultRow]) -> Estimate:
    return estimate([(row.seed or 0, row) for row in good], is_percent=True)


def _ordinary(of_seeds: Estimate) -> Interval | None:
    return of_seeds.interval("over_seeds") or of_seeds.within_run


def _left_out(one: Attempt) -> Attempt:
    if one.state != "measured":
        return one
    return replace(one, state="left out", reason="not measured on every target that is compared")


def _with_low(one: Attempt, rows: Sequence[ResultRow], number: int) -> Attempt:
    """The attempt with its lower end, for one of so many measured attacks."""
    if one.state != "measured" or one.interval is None or one.value is None:
        return one
    if number == 1:
        return replace(one, low=one.interval.low)
    level = 1 - (1 - LEVEL) / number
    good = [row for row in _of_attack(rows) if row.number is not None]
    low = math.fsum(_run_low(row, level) for row in good) / len(good)
    if len(good) >= SEEDS_FOR_T:
        values = [value for _, value in one.by_seed]
        low = two_level_interval((low, one.value), values, level=level)[0]
    return replace(one, low=max(0.0, min(low, one.interval.low)))


def _run_low(row: ResultRow, level: float) -> float:
    """Lower end of one run at this level, percent; where a row keeps no outcomes, each identity counts as one image."""
    read = outcomes.read(row.outcomes)
    value = row.value or 0.0
    if read is not None and len(read.hits):
        return 100 * identity_lower_bound(read.hits, read.identities, level=level)
    size = max(1, row.groups or row.identities or row.n or 1)
    hits = math.floor(value / 100 * size)
    return 100 * identity_lower_bound([1] * hits + [0] * (size - hits), range(size), level=level)


def _interval(measured: Sequence[Attempt]) -> Interval | None:
    spans = [one.interval for one in measured if one.interval is not None]
    lows = [one.low for one in measured if one.low is not None]
    if not measured or len(spans) != len(measured) or len(lows) != len(measured):
        return None
    if len(measured) == 1:
        return spans[0]
    kind = f"95 % interval of the highest of {len(measured)} attack accuracies"
    return Interval(max(lows), max(span.high for span in spans), kind)
