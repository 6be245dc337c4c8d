"""`midef analyse`: one analysis of what a sweep has stored."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from midef.core.errors import SpecError, StoreError
from midef.sweep.cli.options import SweepArguments, add_store_argument, add_sweep_arguments, parsed, say
from midef.sweep.cli.output import check_file
from midef.sweep.result import EXIT_OK

if TYPE_CHECKING:
    from midef.analysis import Analysis
    from midef.core.choice import Choice
    from midef.results.findings import Findings
    from midef.storage import Store
    from midef.sweep.spec.resolve import Sweep

HELP = "analyse why defenses work, on what a sweep has stored"


@dataclass(frozen=True, kw_only=True)
class AnalyseArguments(SweepArguments):
    """The options of `midef analyse`."""

    analysis: str
    store: str
    out: Path | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb to its parser."""
    add_store_argument(parser)
    parser.add_argument(
        "analysis", metavar="NAME", help="one of `midef list analyses`; parameters as in NAME(images=64)"
    )
    add_sweep_arguments(parser, stored=True)
    parser.add_argument("--out", type=Path, help="HTML file of the figure (default NAME.html); the rows go beside it")


def run(args: argparse.Namespace) -> int:
    """Write the figure and the rows, print them and what they say."""
    from midef.analysis import ANALYSES
    from midef.results.findings import text_table
    from midef.storage import Store

    options = parsed(AnalyseArguments, args)
    name, params = ANALYSES.complete(options.analysis)
    analysis = ANALYSES.make(name, params)
    out = options.out or Path(f"{name}.html")
    rows = out.with_suffix(".parquet")
    if rows == out:
        raise SpecError(
            f"--out {out} is where the rows would go; give the name of the figure, {out.with_suffix('.html')}"
        )
    check_file(out)
    check_file(rows)
    if analysis.reads_sweep:
        store = Store.open(options.store, create=False)
        sweep = options.sweep(store)
        findings = found(analysis, sweep, store)
        write(findings, analysis, sweep.name, out)
        keep(findings, ANALYSES.describe(analysis), sweep, store)
    else:
        say(f"{name} reads no sweep and no store; its findings are in the files below and not kept for the dashboard\n")
        findings = analysis.standalone()
        write(findings, analysis, None, out)
    say(text_table(findings.rows))
    say(f"\n{name}: {findings.verdict}")
    say(f"figure: {out.resolve()}\nrows: {rows.resolve()}")
    return EXIT_OK


def found(analysis: Analysis, sweep: Sweep, store: Store) -> Findings:
    """What an analysis finds in those cells of a sweep that it is about.

    Raises:
        SpecError: if the sweep has not the cells it needs.
        MissingArtifact: if the sweep has not been run that far.
    """
    from midef.analysis import AnalysedCell, analyse

    cells = [AnalysedCell(planned.cell, planned.recipes) for planned in sweep.cells if not planned.refused]
    return analyse(analysis, cells, store)


def write(findings: Findings, analysis: Analysis, sweep: str | None, out: Path) -> None:
    """The figure at `out`, the rows beside it.

    Args:
        sweep: name of the analysed one; None for an analysis that reads none.
    """
    import midef
    from midef.analysis import ANALYSES
    from midef.dashboards.figures.analysis import draw
    from midef.dashboards.figures.analysis import write as write_figure
    from midef.results.findings import to_parquet

    write_figure(draw(findings.drawing), out)
    about = {"analysis": ANALYSES.describe(analysis).keyed, "sweep": sweep, "midef": midef.__version__}
    out.with_suffix(".parquet").write_bytes(to_parquet(findings, about))


def keep(findings: Findings, analysis: Choice, sweep: Sweep, store: Store) -> None:
    """Store the findings, for the dashboard; a store that cannot be written costs nobody the figure."""
    from midef.analysis import ANALYSES
    from midef.core.code_version import code_version
    from midef.core.setup import StandIn
    from midef.results.stored_findings import StoredFindings, write_findings

    cells = [planned.cell for planned in sweep.cells if not planned.refused]
    over = ANALYSES.get(analysis.name).over
    setups = list(dict.fromkeys(cell.setup for cell in (cells if over == "sweep" else cells[:1])))
    stored = StoredFindings(
        name=analysis.name,
        params=analysis.params,
        sweep=sweep.name,
        sweep_digest=sweep.digest,
        profile=sweep.profile.name,
        setup=", ".join(setup.id for setup in setups),
        seed=cells[0].seed if over == "seed" else None,
        stand_ins=StandIn.join(dict.fromkeys(each for setup in setups for each in setup.stand_ins)),
        findings=findings,
        code=code_version(),
    )
    try:
        write_findings(store, stored)
    except StoreError as error:
        say(f"warning: the findings are not kept in the store: {error}")
