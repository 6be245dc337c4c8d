"""`midef cite`: BibTeX of what a sweep uses."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midef.core.errors import SpecError
from midef.sweep.cli.options import SweepArguments, add_store_argument, add_sweep_arguments, parsed, say
from midef.sweep.cli.output import check_file
from midef.sweep.library import existing_store
from midef.sweep.result import EXIT_OK

if TYPE_CHECKING:
    from midef.core.choice import Choice
    from midef.core.registry import Registry
    from midef.sweep.spec.resolve import Sweep

HELP = "print BibTeX of every method, data set, network, metric and published number that a sweep uses"


@dataclass(frozen=True, kw_only=True)
class CiteArguments(SweepArguments):
    """The options of `midef cite`."""

    store: str
    uses: bool
    out: Path | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb to its parser."""
    add_sweep_arguments(parser, stored=True)
    add_store_argument(parser)
    parser.add_argument("--uses", action="store_true", help="say before each entry what it is cited for")
    parser.add_argument("--out", type=Path, help=".bib file to write instead of printing")


def run(args: argparse.Namespace) -> int:
    """Print the entries, or write them."""
    from midef.core.works import bibliography, works_of
    from midef.sweep.spec.resolve import resolve

    options = parsed(CiteArguments, args)
    if options.out is not None:
        check_file(options.out)
    is_file = Path(options.config).suffix in (".yaml", ".yml")
    sweep = resolve(options.spec(None if is_file else existing_store(options.store)), absent=True)
    uses: dict[str, list[str]] = {}
    works = []
    for what, paper in sorted(set(cited(sweep))):
        for work in works_of(paper):
            works.append(work)
            uses.setdefault(work.key, []).append(what)
    text = bibliography(works)
    if options.uses:
        for key, names in uses.items():
            text = text.replace(f"{{{key},\n", f"{{{key},\n  annote = {{{', '.join(dict.fromkeys(names))}}},\n", 1)
    if options.out is None:
        say(text)
        return EXIT_OK
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(f"{text}\n", encoding="utf-8")
    say(f"{len(uses) + 1} entries: {options.out.resolve()}")
    return EXIT_OK


def cited(sweep: Sweep) -> Iterator[tuple[str, str]]:
    """What a sweep uses, in words, with what each part says of its paper."""
    from midef.attacks import ATTACKS
    from midef.datasets import DATASETS
    from midef.defenses.stack import remake_defense
    from midef.models import ARCHITECTURES
    from midef.sweep.catalogue.published.rows import published_rows

    setups = {planned.cell.setup.id: planned.cell.setup for planned in sweep.cells}
    defenses = {planned.cell.defense for planned in sweep.cells}
    for setup in setups.values():
        yield from _of_choices(ATTACKS, [setup.attack])
        yield from _of_choices(DATASETS, [setup.private, setup.public, setup.pretraining])
        yield from _of_choices(ARCHITECTURES, [setup.architecture, setup.evaluator])
    for defense in defenses:
        yield from papers_in(remake_defense(defense))
    yield from _of_metrics(sweep)
    ours = {(planned.cell.setup.id, planned.cell.defense.name) for planned in sweep.cells}
    for row in published_rows():
        if (row.setup, row.defense_name) in ours:
            yield f"published numbers of {row.setup}", row.source


def _of_choices(registry: Registry[Any], choices: Iterable[Choice | None]) -> Iterator[tuple[str, str]]:
    for choice in choices:
        if choice is None:
            continue
        try:
            component = registry.remake(choice)
        except SpecError:  # a setup of a component that is not registered, which a plan says
            yield choice.name, ""
            continue
        yield from papers_in(component)


def _of_metrics(sweep: Sweep) -> Iterator[tuple[str, str]]:
    from midef.metrics import METRICS, chosen_metrics
    from midef.results.compare import COMPARED

    for name in {*chosen_metrics(sweep.spec.metrics), *COMPARED}:
        yield name, METRICS.get(name).paper


def papers_in(component: object) -> Iterator[tuple[str, str]]:
    """A component and those that it holds, such as the prior of an attack, with the paper of each."""
    cls = type(component)
    if (paper := getattr(cls, "paper", None)) is not None and hasattr(cls, "registered_name"):
        yield cls.registered_name, paper
    if is_dataclass(component) and not isinstance(component, type):
        for field in fields(component):
            value = getattr(component, field.name)
            for held in value if isinstance(value, list | tuple) else (value,):
                if is_dataclass(held):
                    yield from papers_in(held)
