"""The rows of one defense in one setup, by seed, before they are summed up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from typing import Any

from midef.core.gates import Gate, is_excluded
from midef.core.rows import ResultRow
from midef.results.compare import COMPARED, UNDEFENDED
from midef.results.gating import gates_of

MATCH_NUMBERS = ("match_target", "match_tolerance", "match_accuracy", "match_seeds")


_MATCHING = attrgetter("matched", *MATCH_NUMBERS)


@dataclass(frozen=True)
class Runs:
    """The rows of one defense in one setup.

    Args:
        by_seed: rows of each seed, of one cell each; seeds ascending.
        notes: what has to be said of their choice.
    """

    by_seed: Mapping[int, Sequence[ResultRow]]
    notes: tuple[str, ...]

    @cached_property
    def rows(self) -> list[ResultRow]:
        return [row for run in self.by_seed.values() for row in run]

    @cached_property
    def numbers(self) -> Mapping[int, frozenset[str]]:
        """By seed, the metrics with a number."""
        return {seed: frozenset([r.metric for r in run if r.number is not None]) for seed, run in self.by_seed.items()}

    @cached_property
    def matching(self) -> tuple[dict[str, Any], tuple[str, ...]]:
        """`matching_of` its rows."""
        return matching_of(self.rows)

    @cached_property
    def gates(self) -> tuple[Gate, ...]:
        """Gates of all its seeds."""
        return gates_of(self.by_seed)

    @property
    def is_undefended(self) -> bool:
        return self.rows[0].defense_name == UNDEFENDED

    def measured(self, metrics: Iterable[str]) -> frozenset[int]:
        """Seeds with a number for each of the metrics."""
        names = set(metrics)
        return frozenset(seed for seed, measured in self.numbers.items() if names <= measured)


def runs_of(rows: Iterable[ResultRow]) -> Runs:
    """Rows of one defense in one setup by seed; of several results of a seed the last one read counts.

    Raises:
        ValueError: for a row without a seed; only a published number may leave it open.
    """
    cells: dict[int, dict[str, list[ResultRow]]] = {}
    for row in rows:
        if row.seed is None:
            raise ValueError(f"measured row {row.metric} of {row.defense} in {row.setup} has no seed")
        cells.setdefault(row.seed, {}).setdefault(row.cell, []).append(row)
    ordered = sorted(cells.items())
    return Runs(
        {seed: list(by_cell.values())[-1] for seed, by_cell in ordered},
        tuple(
            f"seed {seed}: {len(by_cell)} results of different recipes are stored, one is shown"
            for seed, by_cell in ordered
            if len(by_cell) > 1
        ),
    )


def limiting_seeds(setup: Sequence[Runs]) -> list[frozenset[int]]:
    """Seeds with both accuracies of each defense; none of one that is compared with nothing: it is no limit for others.

    That is what is excluded, and in a matched setup what is not matched, the undefended model apart.
    """
    matchings = [runs.matching[0] for runs in setup]
    is_matched_setup = any(matching["match_target"] is not None for matching in matchings)
    seeds = []
    for runs, matching in zip(setup, matchings, strict=True):
        is_unmatched = is_matched_setup and not matching["is_matched"] and not runs.is_undefended
        is_left_out = is_unmatched or is_excluded(runs.gates)
        seeds.append(frozenset[int]() if is_left_out else runs.measured(COMPARED))
    return seeds


def worst_state(run: Iterable[ResultRow]) -> str:
    """Failed if any metric failed; refused if nothing was measured: a metric that does not apply spoils no cell."""
    states = {row.status for row in run}
    return next(s for s in ("failed", "ok", "refused") if s in states)


def stored_keys(seed: int, run: Sequence[ResultRow]) -> tuple[int, str, str]:
    """Seed and the first reconstructions and scores keys that a row of the run names."""
    reconstructions = next((row.reconstructions_key for row in run if row.reconstructions_key), "")
    return seed, reconstructions, next((row.scores_key for row in run if row.scores_key), "")


def matching_of(rows: Sequence[ResultRow]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The fields of a `SummaryRow` about matching, and what has to be noted about them.

    Rows of two matchings are no mean over seeds of one thing: such a defense counts as not matched.
    """
    matchings = list(dict.fromkeys(map(_MATCHING, rows)))
    is_one = len(matchings) == 1
    values = {"is_matched": is_one and matchings[0][0], **dict(zip(MATCH_NUMBERS, matchings[0][1:], strict=True))}
    return values, () if is_one else ("its seeds were matched apart from each other and count as not matched",)
