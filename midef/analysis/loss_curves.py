"""Loss over the steps of a plain attacker and of one who erases squares as MIDRE does."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from typing_extensions import override

from midef.analysis.base import ANALYSES, AnalysedCell, Analysis, Over
from midef.analysis.stored.accuracies import Run, accuracy, drop, run_of
from midef.analysis.stored.claims import holds, word_of
from midef.analysis.stored.erasing import erasing_of
from midef.core.errors import SpecError
from midef.core.statistics import t_interval
from midef.results.findings import Drawing, Findings, Panel, Series

if TYPE_CHECKING:
    from midef.core.recipe import Recipe
    from midef.core.traces import Traces
    from midef.results.findings import Row
    from midef.storage import Store

ERASES = ("erase_low", "erase_high", "erase_fill")
"""Parameters of an attack that say how the adaptive attacker erases."""
LEAST_POINTS = 8
PANELS = 4


@ANALYSES.add("loss_curves")
@dataclass(frozen=True, kw_only=True)
class LossCurves(Analysis):
    """Course of the loss of both attackers on the same targets, how much it fluctuates, and what they find.

    Fluctuation of a reconstruction is the standard deviation of the change of its loss from point to point of the
    trace, in the second half of the search: a steady descent has none, however steep.

    Source: MIDRE, TMLR 2025, appendix D.5 and Fig. D.7, which shows curves and no number.
    """

    paper: ClassVar[str] = "MIDRE, TMLR 2025, Fig. D.7"
    needs: ClassVar[str] = "`midre`, and two setups that differ in the attack's erase_low and erase_high alone"
    over: ClassVar[Over] = "sweep"

    @override
    def problems(self, cells: Sequence[AnalysedCell]) -> list[str]:
        if any(erasing_of(plain) for plain, _ in pairs_of(cells)):
            return []
        return [
            "no target under MIDRE is attacked both ways; add midre to defenses, and a setup whose attack differs by "
            "erase_low and erase_high alone"
        ]

    @override
    def requires(self, cells: Sequence[AnalysedCell]) -> Sequence[Recipe]:
        both = [cell for pair in pairs_of(cells) for cell in pair]
        return [recipe for cell in both for recipe in (cell.recipes.reconstructions, cell.recipes.scores)]

    @override
    def analyse(self, cells: Sequence[AnalysedCell], store: Store) -> Findings:
        found = []
        for (setup_id, adaptive_id, label), pairs in by_attackers(pairs_of(cells)).items():
            courses = [Course.of([pair[side] for pair in pairs], store) for side in range(2)]
            is_erasing = erasing_of(pairs[0][0]) is not None
            found.append(Compared(setup_id, adaptive_id, label, is_erasing, courses[0], courses[1]))
        setup = cells[0].cell.setup
        return findings_of(found, f"{setup.attack.name} on {setup.target}")


def pairs_of(cells: Sequence[AnalysedCell]) -> list[tuple[AnalysedCell, AnalysedCell]]:
    """Cells of a plain and of an adaptive attacker on the same target."""

    def asked(cell: AnalysedCell) -> tuple[Any, ...]:
        setup = cell.cell.setup
        attack = {name: value for name, value in setup.attack.params.items() if name not in ERASES}
        return setup.attack.name, attack, cell.recipes.target.key, setup.public, setup.protocol

    pairs = []
    for plain in cells:
        for other in cells:
            if not _erases(plain) and _erases(other) and asked(plain) == asked(other):
                pairs.append((plain, other))
    return pairs


def by_attackers(
    pairs: Sequence[tuple[AnalysedCell, AnalysedCell]],
) -> dict[tuple[str, str, str], list[tuple[AnalysedCell, AnalysedCell]]]:
    """Pairs by the ids of both setups and the label of the defense: those of one key differ by the seed alone."""
    grouped: dict[tuple[str, str, str], list[tuple[AnalysedCell, AnalysedCell]]] = {}
    for plain, adaptive in pairs:
        grouped.setdefault((plain.cell.setup.id, adaptive.cell.setup.id, plain.label), []).append((plain, adaptive))
    return grouped


def _erases(cell: AnalysedCell) -> bool:
    return bool(cell.cell.setup.attack.params.get("erase_high"))


@dataclass(frozen=True, eq=False)
class Course:
    """What the searches of one attacker on one target were like.

    Args:
        steps: of the points [P].
        loss: of the rows of all seeds [N, P]; those that left the numbers are left out.
        labels: identity of each row [N].
        runs: what was found, at each seed.
    """

    steps: np.ndarray
    loss: np.ndarray
    labels: np.ndarray
    runs: Sequence[Run]

    @classmethod
    def of(cls, cells: Sequence[AnalysedCell], store: Store) -> Course:
        """That of the cells of an attacker at each seed.

        Raises:
            SpecError: where no trace with a loss is stored.
        """
        from midef.core.traces import Traces
        from midef.storage.traces import read_traces

        found = [read_traces(store.artifacts.fetch(cell.recipes.reconstructions.key)) for cell in cells]
        traces = Traces.joined(found)
        if traces is None or "loss" not in traces.series or len(traces.steps) < LEAST_POINTS:
            raise SpecError(
                f"{cells[0].cell.setup.attack.name} left no trace of a loss over 8 steps or more; use an attack whose "
                "`midef list attacks` says that it records its loss, with more iterations"
            )
        return cls.of_traces(traces, [run_of(cell, store) for cell in cells])

    @classmethod
    def of_traces(cls, traces: Traces, runs: Sequence[Run]) -> Course:
        """That of joined traces."""
        loss = traces.series["loss"].astype(np.float64)
        kept = np.isfinite(loss).all(axis=1)
        return cls(traces.steps, loss[kept], traces.labels[kept], runs)

    @property
    def fluctuations(self) -> np.ndarray:
        """Of each row [N], in units of the loss."""
        changes: np.ndarray = np.diff(self.loss[:, len(self.steps) // 2 :], axis=1).std(axis=1)
        return changes

    @property
    def by_identity(self) -> Mapping[int, float]:
        """Mean fluctuation of each identity's rows."""
        values = self.fluctuations
        return {int(label): float(values[self.labels == label].mean()) for label in np.unique(self.labels)}


@dataclass(frozen=True)
class Compared:
    """Both attackers on one target.

    Args:
        setup: id of the plain one's.
        adaptive_setup: id of the adaptive one's.
        defense: label.
        is_erasing: whether the defense erases.
    """

    setup: str
    adaptive_setup: str
    defense: str
    is_erasing: bool
    plain: Course
    adaptive: Course

    @property
    def ratio(self) -> tuple[float, float, float]:
        """How many times as much the adaptive attacker's loss fluctuates: geometric mean over identities, with its
        95 % interval over them."""
        before, after = self.plain.by_identity, self.adaptive.by_identity
        logs = [math.log(max(after[i], 1e-12) / max(before[i], 1e-12)) for i in sorted(before.keys() & after.keys())]
        low, high = t_interval(logs) or (-math.inf, math.inf)
        return math.exp(float(np.mean(logs))), math.exp(low), math.exp(high)


def findings_of(found: Sequence[Compared], about: str) -> Findings:
    """Rows, verdict and figure.

    Args:
        found: at least one whose defense erases.
        about: what was attacked, for the title.
    """
    return Findings(
        rows=[row for one in found for row in _rows(one)],
        verdict=_verdict([one for one in found if one.is_erasing]),
        drawing=Drawing(title=f"Loss of both attackers: {about}", panels=[_panel(one) for one in found[:PANELS]]),
    )


def _rows(one: Compared) -> list[Row]:
    """One for each point of each attacker."""
    rows: list[Row] = []
    both = (("plain", one.setup, one.plain), ("adaptive", one.adaptive_setup, one.adaptive))
    for attacker, setup, course in both:
        low, high = np.quantile(course.loss, (0.1, 0.9), axis=0)
        for i, step in enumerate(course.steps):
            point = {"step": int(step), "loss": float(course.loss[:, i].mean())}
            point |= {"low": float(low[i]), "high": float(high[i]), "fluctuation": float(course.fluctuations.mean())}
            attack = accuracy(course.runs, "attack").value
            rows.append({"setup": setup, "defense": one.defense, "attacker": attacker, **point, "attack": attack})
    return rows


def _verdict(found: Sequence[Compared]) -> str:
    """The paper's two claims: the adaptive attacker's loss fluctuates more, and it finds less."""
    claims, said = [], []
    for one in found:
        ratio, low, high = one.ratio
        lost = drop(one.plain.runs, one.adaptive.runs, "attack")
        claims += [holds(low - 1, high - 1), holds(lost.low, lost.high)]
        before, after = (accuracy(course.runs, "attack").value for course in (one.plain, one.adaptive))
        said.append(
            f"under {one.defense} of {one.setup} the adaptive attacker's loss ({one.adaptive_setup}) fluctuates "
            f"{ratio:.2f} [{low:.2f}, {high:.2f}] times as much, and it finds {after:.1f} % where "
            f"the plain one finds {before:.1f} % ({lost.signed} points less, 95 %)"
        )
    return f"{word_of(claims)}: {'; '.join(said)}."


def _panel(one: Compared) -> Panel:
    """Mean loss of both attackers, and the loss of one reconstruction, since a mean hides what fluctuates."""
    series = []
    for attacker, course in (("plain", one.plain), ("adaptive", one.adaptive)):
        typical = int(np.argsort(course.fluctuations)[len(course.loss) // 2])
        steps = course.steps.tolist()
        series.append(Series(name=attacker, x=steps, y=course.loss.mean(axis=0).tolist()))
        name = f"{attacker}, one reconstruction"
        series.append(Series(name=name, x=steps, y=course.loss[typical].tolist(), kind="dashes"))
    return Panel(
        series=series, x_title="step", y_title="loss", title=f"{one.defense}: {one.setup}, {one.adaptive_setup}"
    )
