"""The sampler of the erased square that MIDRE's text describes against the one of its code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

from typing_extensions import override

from midef.analysis.base import ANALYSES, AnalysedCell, Analysis, Over
from midef.analysis.stored.accuracies import Estimate, Kind, Run, accuracy, drop, run_of
from midef.analysis.stored.erasing import erases_alone, erasing_of, mean_erased
from midef.results.findings import Drawing, Findings, Panel, Series

if TYPE_CHECKING:
    from midef.core.recipe import Recipe
    from midef.defenses.midre import Midre
    from midef.results.findings import Row
    from midef.storage import Store

CODE: Literal["valid_corner"] = "valid_corner"
TEXT: Literal["reject_joint"] = "reject_joint"


@ANALYSES.add("erasing_samplers")
@dataclass(frozen=True, kw_only=True)
class ErasingSamplers(Analysis):
    """Accuracies under MIDRE with the sampler of the text (`reject_joint`) less those with the code's (`valid_corner`).

    Paired by seed and image; both draw the same range of areas, and the text's accepts large squares less often.

    Source: MIDRE, TMLR 2025, section 3 and algorithm 1, against its released code. The paper compares no samplers.
    """

    paper: ClassVar[str] = "MIDRE, TMLR 2025, algorithm 1 and code"
    needs: ClassVar[str] = "`midre(sampler=reject_joint)`, and the same with `valid_corner`; seeds are averaged"
    over: ClassVar[Over] = "setup"

    @override
    def problems(self, cells: Sequence[AnalysedCell]) -> list[str]:
        if pairs_of(cells):
            return []
        return ["no two defenses differ by the sampler alone; add midre and midre(sampler=reject_joint) to defenses"]

    @override
    def requires(self, cells: Sequence[AnalysedCell]) -> Sequence[Recipe]:
        return [cell.recipes.scores for pair in pairs_of(cells) for side in pair.sides for cell in side]

    @override
    def analyse(self, cells: Sequence[AnalysedCell], store: Store) -> Findings:
        setup = cells[0].cell.setup
        compared = []
        for pair in pairs_of(cells):
            code, text = ([run_of(cell, store) for cell in side] for side in pair.sides)
            areas = [
                mean_erased(replace(pair.defense, sampler=sampler), setup.resolution_px) for sampler in (CODE, TEXT)
            ]
            compared.append(Compared(pair.label, (areas[0], areas[1]), code, text))
        return findings_of(compared, f"{setup.attack.name} on {setup.target}")


@dataclass(frozen=True)
class Pair:
    """Cells of two defenses that differ by the sampler, at the same seeds.

    Args:
        defense: with the code's sampler.
        label: of it.
        sides: cells with the code's sampler, and with the text's.
    """

    defense: Midre
    label: str
    sides: tuple[Sequence[AnalysedCell], Sequence[AnalysedCell]]


def pairs_of(cells: Sequence[AnalysedCell]) -> list[Pair]:
    """Those of MIDRE alone, in the order of the code's; seeds that only one has are left out."""
    found: dict[Midre, dict[str, dict[int, AnalysedCell]]] = {}
    for cell in cells:
        defense = erasing_of(cell)
        if defense is not None and erases_alone(cell):
            sides = found.setdefault(replace(defense, sampler=CODE), {})
            sides.setdefault(defense.sampler, {})[cell.cell.seed] = cell
    pairs = []
    for defense, sides in found.items():
        code, text = sides.get(CODE, {}), sides.get(TEXT, {})
        if seeds := sorted(code.keys() & text.keys()):
            both = [code[seed] for seed in seeds], [text[seed] for seed in seeds]
            pairs.append(Pair(defense, both[0][0].label, both))
    return pairs


@dataclass(frozen=True)
class Compared:
    """What both samplers lead to.

    Args:
        label: of the defense with the code's sampler.
        erased: mean erased share of an image, of the code's sampler and of the text's.
        code, text: a run at each seed.
    """

    label: str
    erased: tuple[float, float]
    code: Sequence[Run]
    text: Sequence[Run]

    def difference(self, kind: Kind, seed: int | None = None) -> Estimate:
        """Accuracy with the text's sampler less that with the code's, points; of one seed, or over all."""
        chosen = [i for i, run in enumerate(self.code) if seed in (None, run.seed)]
        return drop([self.text[i] for i in chosen], [self.code[i] for i in chosen], kind)


def findings_of(compared: Sequence[Compared], about: str) -> Findings:
    """Rows, verdict and figure.

    Args:
        compared: at least one.
        about: what was measured on, for the title.
    """
    panels = [_panel(compared, kind) for kind in ("natural", "attack")]
    return Findings(
        rows=[_row(one, seed) for one in compared for seed in (*(run.seed for run in one.code), None)],
        verdict="; ".join(_said(one) for one in compared) + ".",
        drawing=Drawing(title=f"Sampler of the text less that of the code: {about}", panels=panels),
    )


def _row(one: Compared, seed: int | None) -> Row:
    """Of one seed, or of the mean over them."""
    row: dict[str, float | str | None] = {
        "defense": one.label,
        "seed": "mean" if seed is None else str(seed),
        f"erased_{CODE}": one.erased[0],
        f"erased_{TEXT}": one.erased[1],
    }
    for kind in ("natural", "attack"):
        for sampler, runs in ((CODE, one.code), (TEXT, one.text)):
            row[f"{kind}_{sampler}"] = accuracy([r for r in runs if seed in (None, r.seed)], kind).value
        found = one.difference(kind, seed)
        row |= {f"{kind}_{name}": value for name, value in zip(("difference", "low", "high"), found, strict=True)}
    return row


def _said(one: Compared) -> str:
    natural, attack = one.difference("natural"), one.difference("attack")
    seeds = f"{len(one.code)} seed{'s' if len(one.code) > 1 else ''}"
    if attack.low > 0 or attack.high < 0:
        word = f"the sampler of the text leaks {'more' if attack.low > 0 else 'less'} than that of the code"
    else:
        word = "which sampler leaks more is not decidable at this size"
    return (
        f"{one.label}: {word}, {attack.signed} points of attack accuracy and {natural.signed} of natural accuracy "
        f"({seeds}; it erases {100 * one.erased[1]:.0f} % of an image, the code's {100 * one.erased[0]:.0f} %)"
    )


def _panel(compared: Sequence[Compared], kind: Kind) -> Panel:
    """The difference at each seed, and over all with its interval."""
    labels = [one.label for one in compared]
    seeds = [(one.label, one.difference(kind, run.seed).value) for one in compared for run in one.code]
    found = [one.difference(kind) for one in compared]
    series = [
        Series(
            name="mean, 95 %",
            x=labels,
            y=[one.value for one in found],
            low=[one.low for one in found],
            high=[one.high for one in found],
            kind="points",
        ),
        Series(name="a seed", x=[label for label, _ in seeds], y=[value for _, value in seeds], kind="points"),
        Series(name="no difference", x=labels, y=[0.0] * len(labels), kind="dashes"),
    ]
    y_title = "text less code, points"
    return Panel(series=series, x_title="MIDRE, with the code's sampler", y_title=y_title, title=f"{kind} accuracy")
