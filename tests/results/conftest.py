"""Result rows made by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from midef.core import ResultRow
from midef.core.outcomes import Outcomes
from midef.core.statistics import identity_interval
from midef.results.summary import SummaryRow, summarise
from midef.results.table import setup_table


def a_row(metric: str, value: float | None, defense: str = "none", seed: int = 0, **changes: Any) -> ResultRow:
    facts: dict[str, Any] = {
        "sweep": "s", "profile": "smoke", "setup": "one", "defense": defense, "defense_name": defense.partition("(")[0],
        "defense_params": defense, "attack": "gmi", "attack_name": "gmi", "access": "white box",
        "architecture": "tiny_vgg16", "private": "synthetic_faces", "public": "synthetic_faces", "evaluator": "resnet",
        "resolution_px": 32, "identities": 60, "images_per_identity": 3, "unit": "percent", "larger_is": "more useful",
        "cell": f"{defense}{seed}", "evaluator_accuracy": 99.0,
    }  # fmt: skip
    return ResultRow(metric=metric, value=value, seed=seed, **(facts | changes))


def a_cell(
    defense: str, seed: int, acc: float, attack: float, within: float | None = None, **changes: Any
) -> list[ResultRow]:
    """Both accuracies of a cell; `within`: half width of the intervals inside the run."""

    def span(value: float) -> dict[str, Any]:
        return {} if within is None else {"low": value - within, "high": value + within, "interval": "95 % made up"}

    return [
        a_row("natural_accuracy", acc, defense, seed, **span(acc), **changes),
        a_row("attack_accuracy_at_1", attack, defense, seed, chance=0.5, **span(attack), **changes),
    ]


def a_judged_cell(defense: str, seed: int, natural: Any, attack: Any, images: str = "ab" * 8, **changes: Any) -> Any:
    """A cell whose rows say which images succeeded.

    Args:
        natural: success 0/1 [identities, images] on the report split.
        attack: success 0/1 [identities, images] of the reconstructions.
        images: digest of the report split.
    """
    rows = []
    for metric, hits, digest in (
        ("natural_accuracy", np.asarray(natural), images),
        ("attack_accuracy_at_1", np.asarray(attack), "cd" * 8),
    ):
        labels = np.repeat(np.arange(hits.shape[0]), hits.shape[1])
        low, high, kind = identity_interval(hits.ravel(), labels)
        span = {"low": 100 * low, "high": 100 * high, "interval": kind}
        kept = {"outcomes": Outcomes.of(hits.ravel(), labels, digest).text, "chance": 0.5}
        rows.append(a_row(metric, 100 * float(hits.mean()), defense, seed, **{**span, **kept, **changes}))
    return rows


STAND_INS = "vgg16_tiny for vgg16; 32 px for 64 px; training and attacks at the budget of mini"


METRICS_OF_A_LOST_CELL = [f"metric_{i}" for i in range(10)]


def a_lost_cell(defense: str, seed: int = 0, status: str = "refused", **changes: Any) -> list[ResultRow]:
    """What the sweep writes for a cell that was never measured: a row for each metric."""
    reason = "attack not registered: ppa" if status == "refused" else "out of memory"
    about = {"status": status, "reason": reason, **changes}
    return [a_row(metric, None, defense, seed, **about) for metric in METRICS_OF_A_LOST_CELL]


def a_publication(metric: str, value: float | None, defense: str = "none", **changes: Any) -> ResultRow:
    open_ones: dict[str, Any] = dict.fromkeys(("resolution_px", "identities", "images_per_identity"))
    about: dict[str, Any] = {"origin": "published", "source": "Table 2", "cell": "", "sweep": "", "profile": ""}
    whole = a_row(metric, value, defense, **(open_ones | about | changes))
    return replace(whole, seed=None)


PUBLISHED = [
    a_publication("natural_accuracy", 86.9),
    a_publication("attack_accuracy_at_1", 78.47, spread=4.6, spread_kind="sd over classes"),
    a_publication("natural_accuracy", 79.85, "bido"),
    a_publication(
        "attack_accuracy_at_1", 43.53, "bido", spread=4.0, spread_kind="sd over classes", remark="text: 43.3"
    ),
    a_publication("knn_distance", 1289.46),
]


def match_fields(
    accuracy: float | None, *, target: float = 88.2, tolerance: float = 0.5, seeds: int = 3
) -> dict[str, Any]:
    """What a row says of its defense having been brought to `accuracy`; None: nothing was asked."""
    if accuracy is None:
        return {}
    numbers = {"match_target": target, "match_tolerance": tolerance, "match_accuracy": accuracy, "match_seeds": seeds}
    return {"matched": abs(accuracy - target) <= tolerance, **numbers}


def some_matched_cells(
    defense: str, accuracy: float | None, attack: float, natural: float = 88.0, seeds: int = 1, **changes: Any
) -> list[ResultRow]:
    return [
        r for s in range(seeds) for r in a_cell(defense, s, natural, attack + s, **match_fields(accuracy, **changes))
    ]


MATCHED = [
    *some_matched_cells("none", 90.2, 60.0, natural=90.0),  # the target was "none - 2"
    *some_matched_cells("a", 88.4, 30.0),
    *some_matched_cells("b", 88.15, 40.0, natural=88.3),
    *some_matched_cells("c", 84.1, 1.0, natural=84.0),
    *some_matched_cells("d", 88.0, 45.0, natural=87.0),
    *some_matched_cells("e", 93.0, 99.0, natural=99.0),
]


@pytest.fixture
def row() -> Callable[..., ResultRow]:
    return a_row


@pytest.fixture
def cell() -> Callable[..., list[ResultRow]]:
    return a_cell


@pytest.fixture
def judged() -> Callable[..., list[ResultRow]]:
    return a_judged_cell


@pytest.fixture
def lost() -> Callable[..., list[ResultRow]]:
    return a_lost_cell


@pytest.fixture
def published() -> Callable[..., ResultRow]:
    return a_publication


@pytest.fixture
def matching() -> Callable[..., dict[str, Any]]:
    return match_fields


@pytest.fixture
def matched_cells() -> Callable[..., list[ResultRow]]:
    return some_matched_cells


@pytest.fixture
def papers() -> list[ResultRow]:
    """Two accuracies of the undefended model and of BiDO, and a metric that no table shows."""
    return PUBLISHED


@pytest.fixture
def matched_rows() -> list[ResultRow]:
    """A setup matched to 88.2 +- 0.5; c and e are outside."""
    return MATCHED


@pytest.fixture
def stand_ins() -> str:
    """What stands in for what at a small size."""
    return STAND_INS


@pytest.fixture
def by_defense() -> Callable[[list[ResultRow]], dict[str, SummaryRow]]:
    """Summaries of rows of one setup, by defense label."""

    def summaries(rows: list[ResultRow]) -> dict[str, SummaryRow]:
        found = {r.defense: r for r in summarise(rows)}
        assert len(found) == len(summarise(rows))
        return found

    return summaries


@pytest.fixture
def column_of() -> Callable[[list[SummaryRow], str], dict[str, str]]:
    """Defense -> cell of a column, as shown."""

    def cells_of(summaries: list[SummaryRow], key: str) -> dict[str, str]:
        table = setup_table(summaries)
        at = [column.key for column in table.columns].index(key)
        return {r.defense: cells[at].joined for r, cells in zip(summaries, table.cells, strict=True)}

    return cells_of
