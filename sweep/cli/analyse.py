"""`midef analyse`: the two analyses that justify defenses, on the targets a sweep has stored."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from midef.core.errors import MissingArtifact, SpecError
from midef.sweep.cli.options import SweepArguments, add_store_argument, add_sweep_arguments, parsed, say
from midef.sweep.cli.output import check_file
from midef.sweep.result import EXIT_OK

if TYPE_CHECKING:
    from plotly.graph_objects import Figure
    from torch import Tensor

    from midef.core.recipe import Recipe
    from midef.nn.network import TargetModel
    from midef.storage import Store
    from midef.sweep.spec.resolve import PlannedCell, Sweep

HELP = "analyse why defenses work: Fisher information by layer, or the rank of the head"
Kind: TypeAlias = Literal["fisher", "rank"]
Row: TypeAlias = dict[str, float | str]
_LIMIT = 256
"""Images at most whose single gradients are taken, per loss."""


@dataclass(frozen=True, kw_only=True)
class AnalyseArguments(SweepArguments):
    """The options of `midef analyse`."""

    kind: Kind
    store: str
    out: Path | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb to its parser."""
    add_store_argument(parser)
    parser.add_argument("kind", choices=("fisher", "rank"), help="analysis")
    add_sweep_arguments(parser)
    parser.add_argument("--out", type=Path, help="HTML file of the figure (default KIND.html)")


def run(args: argparse.Namespace) -> int:
    """Write the figure, print its numbers."""
    from midef.storage import Store

    options = parsed(AnalyseArguments, args)
    out = options.out or Path(f"{options.kind}.html")
    check_file(out)
    rows = analyse(options.kind, options.sweep(), Store.open(options.store, create=False), out)
    say(table(rows))
    say(f"\nfigure: {out.resolve()}")
    return EXIT_OK


def analyse(kind: Kind, sweep: Sweep, store: Store, out: Path) -> list[Row]:
    """Run one analysis on the first setup and seed of a sweep, write its figure, return its numbers.

    Raises:
        SpecError: if the sweep has no undefended cell.
        MissingArtifact: if the sweep has not been run that far.
    """
    from midef.dashboards.figures.analysis import write
    from midef.stages.recipes import NO_DEFENSE

    cells = [c for c in sweep.cells if not c.refused and c.cell.setup == sweep.cells[0].cell.setup]
    cells = [c for c in cells if c.cell.seed == sweep.cells[0].cell.seed]
    plain = next((c for c in cells if c.cell.defense.name == NO_DEFENSE.name), None)
    if plain is None:
        raise SpecError(f"sweep {sweep.name}: the analysis starts from the undefended target; add `none` to defenses")
    rows, figure = _fisher(plain, store) if kind == "fisher" else _rank(plain, cells, store)
    write(figure, out)
    return rows


def table(rows: Sequence[Mapping[str, float | str]]) -> str:
    """Aligned columns."""
    texts = [[f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()] for row in rows]
    head = list(rows[0])
    widths = [max(len(line[i]) for line in [head, *texts]) for i in range(len(head))]
    return "\n".join(
        "  ".join(v.ljust(w) for v, w in zip(line, widths, strict=True)).rstrip() for line in [head, *texts]
    )


def _fisher(plain: PlannedCell, store: Store) -> tuple[list[Row], Figure]:
    import torch

    from midef.analysis.fisher import fisher_by_unit
    from midef.dashboards.figures.analysis import fisher_figure
    from midef.stages.resize import low_to_high
    from midef.stages.split import load as load_splits
    from midef.stages.target import TargetSpec
    from midef.storage.arrays import read_arrays

    splits = load_splits(_stored(plain.recipes.private, store))
    model = _target(plain.recipes.target, store, len(splits.class_names))
    made = read_arrays(_stored(plain.recipes.reconstructions, store) / "images.npz", ("images", "labels"))
    reconstructions, labels = (torch.from_numpy(array) for array in made.values())
    report = splits.report
    reconstructions = low_to_high(reconstructions[:_LIMIT], report.images.shape[-1])
    chosen = torch.linspace(0, len(report) - 1, min(len(report), _LIMIT)).long()
    rows = fisher_by_unit(
        model,
        TargetSpec.of(plain.recipes.target).facts.units,
        images=report.images[chosen].float() / 255,
        labels=report.labels[chosen],
        reconstructions=reconstructions.float() / 255,
        reconstructed=labels[:_LIMIT],
        private=splits.train.images.float() / 255,
        private_labels=splits.train.labels,
    )
    plain_rows = [vars(row) for row in rows]
    setup = plain.cell.setup
    title = f"Fisher information by unit: {setup.target}<br>reconstructions of {setup.attack.label}"
    return plain_rows, fisher_figure(plain_rows, title)


def _rank(plain: PlannedCell, cells: list[PlannedCell], store: Store) -> tuple[list[Row], Figure]:
    import torch

    from midef.analysis.rank import error_against_rank, feature_covariance, ideal_inversion_error
    from midef.dashboards.figures.analysis import rank_figure
    from midef.defenses.families.low_rank import LowRankHead
    from midef.stages.split import load as load_splits

    splits = load_splits(_stored(plain.recipes.private, store))
    images, classes = splits.train.images, len(splits.class_names)
    model = _target(plain.recipes.target, store, classes)
    head = model.head
    assert isinstance(head, torch.nn.Linear), "the undefended head of every architecture is one linear layer"
    largest = min(head.weight.shape)
    ranks = sorted({0, largest, *(round(largest * i / 40) for i in range(41))})
    weight = head.weight.detach()
    curve = [vars(point) for point in error_against_rank(weight, feature_covariance(_features(model, images)), ranks)]
    heads = []
    for planned in cells:
        if planned is plain:
            continue
        defended = _target(planned.recipes.target, store, classes)
        if not isinstance(defended.head, LowRankHead):
            continue
        spread = feature_covariance(_features(defended, images))
        seen = defended.head.directions()
        error, rank = ideal_inversion_error(seen, spread), min(seen.shape)
        heads.append({"defense": planned.cell.defense.label, "rank": rank, "share": error / float(spread.trace())})
    title = f"Ideal inversion error against rank: {plain.cell.setup.target}, {head.in_features} features"
    rows = [{"head": "none, cut", **row} for row in curve]
    rows += [{"head": h["defense"], "rank": h["rank"], "error": "", "share": h["share"]} for h in heads]
    return rows, rank_figure(curve, heads, title)


def _features(model: TargetModel, images: Tensor) -> Tensor:
    import torch

    with torch.no_grad():
        return torch.cat([model(part.float() / 255).features for part in images.split(256)])


def _target(recipe: Recipe, store: Store, classes: int) -> TargetModel:
    from midef.stages import BuildContext
    from midef.stages.target import TargetSpec, load

    return load(TargetSpec.of(recipe), _stored(recipe, store), BuildContext(store=store), classes)


def _stored(recipe: Recipe, store: Store) -> Path:
    try:
        return store.artifacts.fetch(recipe.key)
    except MissingArtifact:
        raise MissingArtifact(
            f"the {recipe.kind} {recipe.key.short} is not stored yet; `midef run` the sweep first"
        ) from None
