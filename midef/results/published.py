"""Published numbers of a setup, by defense, to stand beside ours."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from midef.core.rows import ResultRow
from midef.results.compare import ABSENT, ATTACK, COMPARED, NATURAL

REMARK_MARK = "†"


@dataclass(frozen=True)
class Published:
    """Published numbers of one defense in one setup; nothing of it was measured here.

    Args:
        defense: label of our row it stands beside.
        natural_accuracy: percent.
        attack_accuracy_at_1: percent.
        spread: of the attack accuracy.
        spread_kind: what the spread is of.
        sources: where the two numbers stand.
        remarks: where a source contradicts itself.
        others: further values, in words.
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
        """`86.90 / 78.47`: test accuracy / attack accuracy@1, to stand where it is said that they are published."""
        natural, attack = (_two(v) for v in (self.natural_accuracy, self.attack_accuracy_at_1))
        return f"{natural} / {attack}"

    @property
    def beside(self) -> str:
        """`± 4.60 †`: the spread of the attack accuracy, and the mark of a remark; "" without either."""
        parts = [f"± {self.spread:.2f}"] if self.spread is not None else []
        return " ".join([*parts, *([REMARK_MARK] if self.remarks else [])])


def published_of(setup: str, rows: Iterable[ResultRow], ours: Collection[str] = ()) -> dict[str, Published]:
    """The published accuracies of a setup by defense label; measured rows and other metrics are passed over.

    Where several are published for a defense, the first attack accuracy counts, with the test accuracy of its source.

    Args:
        setup: id of the setup.
        rows: rows of any setups.
        ours: labels of the rows they stand beside. A defense whose parameters were replaced for a small network is the
            same defense, if neither side has another of its name; a remark says how it was published.
    """
    by_defense: dict[str, list[ResultRow]] = {}
    for row in rows:
        is_accuracy = row.origin == "published" and row.metric in COMPARED
        if is_accuracy and row.setup == setup and row.value is not None:
            by_defense.setdefault(row.defense, []).append(row)
    return {
        (beside := our_label(label, by_defense, ours)): _published(beside, of_defense, label=label)
        for label, of_defense in by_defense.items()
    }


def our_label(label: str, published: Collection[str], ours: Collection[str]) -> str:
    """The label of our row that a published one stands beside; the published label where there is none."""
    name = name_of(label)
    theirs = [other for other in published if name_of(other) == name]
    candidates = [other for other in ours if name_of(other) == name]
    return candidates[0] if len(candidates) == 1 and theirs == [label] else label


def name_of(label: str) -> str:
    """The defense without preset and parameters: `midre` of `midre(area_high=0.8)`; a stack as it is."""
    return label if "+" in label else label.partition("(")[0].partition(":")[0]


def _published(defense: str, rows: Sequence[ResultRow], *, label: str) -> Published:
    naturals = [row for row in rows if row.metric == NATURAL]
    attack = next((row for row in rows if row.metric == ATTACK), None)
    of_its_source = [row for row in naturals if attack is not None and row.source == attack.source]
    natural = next(iter(of_its_source or naturals), None)
    shown = [row for row in (natural, attack) if row is not None]
    values = {(row.metric, row.value) for row in shown}
    others = [
        f"{COMPARED[row.metric]} {_two(row.value)}" + (f" ({row.source})" if row.source else "")
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


def _two(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.2f}"
