"""Natural against attack accuracy of every defense on every architecture of a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from midef.analysis.base import ANALYSES, NEEDS_UNDEFENDED, AnalysedCell, Analysis, Over, undefended
from midef.analysis.stored.accuracies import KINDS, Run, accuracy, columns, drop, run_of
from midef.analysis.stored.claims import holds, word_of
from midef.analysis.stored.erasing import erases_alone
from midef.analysis.stored.setups import by_setup
from midef.results.compare import MARGIN_POINTS
from midef.results.findings import Drawing, Findings, Panel, Series

if TYPE_CHECKING:
    from midef.core.recipe import Recipe
    from midef.results.findings import Row
    from midef.storage import Store


@ANALYSES.add("accuracy_scatter")
@dataclass(frozen=True, kw_only=True)
class AccuracyScatter(Analysis):
    """Natural and attack accuracy of every defense in every setup, a point each, and whether MIDRE leaks less for free.

    Source: MIDRE, TMLR 2025, section 4.2 and Fig. 5: one attack and data set on six architectures.
    """

    paper: ClassVar[str] = "MIDRE, TMLR 2025, Fig. 5"
    needs: ClassVar[str] = "`none` and `midre` in every setup, such as one for each architecture; seeds are averaged"
    over: ClassVar[Over] = "sweep"

    @override
    def problems(self, cells: Sequence[AnalysedCell]) -> list[str]:
        problems = []
        for name in dict.fromkeys(cell.cell.setup.id for cell in cells):
            of_setup = [cell for cell in cells if cell.cell.setup.id == name]
            if not undefended(of_setup):
                problems.append(f"{name}: {NEEDS_UNDEFENDED}")
            if not any(erases_alone(cell) for cell in of_setup):
                problems.append(f"{name}: no target under MIDRE alone; add midre to defenses")
        return problems

    @override
    def requires(self, cells: Sequence[AnalysedCell]) -> Sequence[Recipe]:
        return [cell.recipes.scores for cell in cells]

    @override
    def analyse(self, cells: Sequence[AnalysedCell], store: Store) -> Findings:
        erasing = {cell.label for cell in cells if erases_alone(cell)}
        plain = undefended(cells)
        assert plain is not None
        networks = []
        for name, labels in by_setup(cells, lambda cell: cell.label).items():
            architecture = labels[plain.label][0].cell.setup.architecture.label
            runs = {label: [run_of(cell, store) for cell in of] for label, of in labels.items()}
            networks.append(Network(name, architecture, runs))
        return findings_of(networks, plain.label, erasing)


@dataclass(frozen=True)
class Network:
    """One setup.

    Args:
        name: its id.
        architecture: of its target.
        runs: at each seed, by label of the defense.
    """

    name: str
    architecture: str
    runs: Mapping[str, Sequence[Run]]

    def is_better(self, label: str, plain: str) -> tuple[bool | None, bool | None]:
        """Whether a defense lowers attack accuracy, and whether it costs less than a point of natural accuracy."""
        attack, natural = (drop(self.runs[plain], self.runs[label], kind) for kind in KINDS[::-1])
        return holds(attack.low, attack.high), holds(MARGIN_POINTS - natural.high, MARGIN_POINTS - natural.low)


def findings_of(networks: Sequence[Network], plain: str, erasing: set[str]) -> Findings:
    """Rows, verdict and figure.

    Args:
        networks: at least one.
        plain: label of the undefended targets.
        erasing: labels of MIDRE alone.
    """
    labels = list(dict.fromkeys(label for network in networks for label in network.runs))
    series = []
    for label in labels:
        found = [[accuracy(one.runs[label], kind) for kind in KINDS] for one in networks if label in one.runs]
        ends = {name: [attack[i] for _, attack in found] for i, name in ((1, "low"), (2, "high"))}
        x, y = [natural.value for natural, _ in found], [attack.value for _, attack in found]
        series.append(Series(name=label, x=x, y=y, kind="points", **ends))
    axes = [f"{kind} accuracy, %" for kind in KINDS]
    panel = Panel(series=series, x_title=axes[0], y_title=axes[1], from_zero=True)
    return Findings(
        rows=[_row(network, label, plain) for network in networks for label in network.runs],
        verdict=_verdict(networks, plain, [label for label in labels if label in erasing]),
        drawing=Drawing(title=f"Every defense on {len(networks)} architectures", panels=[panel]),
    )


def _verdict(networks: Sequence[Network], plain: str, erasing: Sequence[str]) -> str:
    """The paper's claims of each strength: attack accuracy falls, and natural accuracy by less than a point."""
    claims: list[bool | None] = []
    said = []
    for label in erasing:
        judged = [network.is_better(label, plain) for network in networks if label in network.runs]
        falls, free = ([one[i] for one in judged] for i in range(2))
        claims += [*falls, *free]
        said.append(
            f"{label} lowers attack accuracy on {falls.count(True)} of {len(judged)} architectures and costs less than "
            f"a point of natural accuracy on {free.count(True)}, more on {free.count(False)}"
        )
    return f"{word_of(claims)}: {'; '.join(said)}."


def _row(network: Network, label: str, plain: str) -> Row:
    row: dict[str, float | str] = {"setup": network.name, "architecture": network.architecture, "defense": label}
    runs = network.runs[label]
    row["seeds"] = len(runs)
    return {**row, **columns(network.runs[plain], runs)}
