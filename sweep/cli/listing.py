"""`midef list`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias, TypeVar

from midef.core.certainty import with_certainty
from midef.core.errors import SpecError, did_you_mean
from midef.sweep.cli.options import parsed, say
from midef.sweep.cli.terminal import text_width
from midef.sweep.result import EXIT_OK

if TYPE_CHECKING:
    from midef.attacks import Attack, Prior
    from midef.core.registry import Registry
    from midef.core.rows import ResultRow
    from midef.defenses import Defense
    from midef.metrics import Metric

Entry: TypeAlias = dict[str, str]
C = TypeVar("C", bound="_Described")

HELP = "list components, profiles, named sweeps or published numbers"
LISTED = (
    *("defenses", "attacks", "priors", "datasets", "architectures", "metrics", "analyses"),
    *("profiles", "sweeps", "published"),
)


class _Described(Protocol):
    """A registered class, as far as every list shows it."""

    paper: ClassVar[str]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]]


@dataclass(frozen=True, kw_only=True)
class ListArguments:
    """The options of `midef list`."""

    what: str
    filter: list[str]
    columns: str
    markdown: bool
    json: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb to its parser."""
    parser.add_argument("what", choices=LISTED, help="what to list")
    parser.add_argument(
        "--filter", action="append", default=[], metavar="TEXT", help="only entries that hold this text (repeatable)"
    )
    parser.add_argument(
        "--columns", default="", metavar="A,B", help="columns to print, in this order; 'all' for every one"
    )
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print the entries as a table."""
    options = parsed(ListArguments, args)
    every = list_entries(options.what)
    columns = chosen_names(options.columns, list(every[0]))
    entries = filtered(every, options.filter)
    if columns:
        entries = [{name: entry[name] for name in columns} for entry in entries]
    if options.json:
        say(json.dumps(entries, indent=1))
    elif not entries:
        texts = " and ".join(map(repr, options.filter))
        say(f"none of the {len(every)} {options.what} holds {texts}")
    elif options.markdown:
        say(markdown(entries))
    else:
        say(_text(entries, options.what, is_chosen=bool(columns)))
    return EXIT_OK


def chosen_names(text: str, known: list[str]) -> list[str]:
    """Names of columns in a text such as `name,presets`; `all` means every one, and "" none.

    Raises:
        SpecError: for each that is not known.
    """
    names = [name for part in text.split(",") if (name := part.strip())]
    if names == ["all"]:
        return known
    if unknown := [name for name in names if name not in known]:
        raise SpecError([f"no column {name!r}; {did_you_mean(name, known)}" for name in unknown])
    return names


def filtered(entries: list[Entry], texts: list[str]) -> list[Entry]:
    """Entries that hold every text in one of their columns, in capitals or not."""
    return [
        entry
        for entry in entries
        if all(any(text.lower() in value.lower() for value in entry.values()) for text in texts)
    ]


_SHORT = ("name", "package", "paper", "meaning", "source", "setup", "defense", "metric", "value")
"""Columns that a terminal shows where it has no room for all."""


def _text(entries: list[Entry], what: str, *, is_chosen: bool) -> str:
    """A table that fits the terminal; where all columns together would not, those of `_SHORT`, and what is left out."""
    from midef.results.layout import TextColumn, fitted_table, wrapped

    names = list(entries[0])
    columns = {name: TextColumn(name, tuple(entry[name] for entry in entries)) for name in names}
    width = text_width()
    is_wide = sum(column.width + 2 for column in columns.values()) > width
    shown = [name for name in names if is_chosen or not is_wide or name in _SHORT]
    lines = fitted_table([columns[name] for name in shown], width)
    if left := [name for name in names if name not in shown]:
        hint = f"not shown: {', '.join(left)}; midef list {what} --columns all, --markdown or --json has them"
        lines += ["", *wrapped(hint, width)]
    return "\n".join(lines)


def markdown(entries: list[Entry]) -> str:
    """The entries as a table."""
    rows = [[value.replace("|", "\\|") for value in entry.values()] for entry in entries]
    head, *body = ["| " + " | ".join(row) + " |" for row in (list(entries[0]), *rows)]
    return "\n".join([head, "|" + " --- |" * len(entries[0]), *body])


def list_entries(what: str, *, packages: bool = True) -> list[Entry]:
    """Entries of a list, by column; all have the same columns.

    Args:
        what: one of LISTED.
        packages: whether components that packages of others add are listed.
    """
    from midef.analysis import ANALYSES
    from midef.attacks import ATTACKS, PRIORS
    from midef.datasets import DATASETS
    from midef.defenses import DEFENSES
    from midef.metrics import METRICS
    from midef.models import ARCHITECTURES
    from midef.sweep.catalogue import named_sweeps
    from midef.sweep.catalogue.published.rows import published_rows
    from midef.sweep.spec.profiles import PROFILES

    match what:
        case "defenses":
            return _components(DEFENSES, packages, lambda cls: _defense_columns(cls, packages))
        case "attacks":
            return _components(ATTACKS, packages, _attack_columns)
        case "priors":
            return _components(PRIORS, packages, lambda cls: {"presets": _presets(cls)})
        case "datasets":
            return _components(DATASETS, packages)
        case "architectures":
            return _components(ARCHITECTURES, packages)
        case "metrics":
            return _components(METRICS, packages, _metric_columns)
        case "analyses":
            return _components(ANALYSES, packages, lambda cls: {"needs": cls.needs})
        case "profiles":
            return [{"name": p.name, "meaning": p.about} for p in PROFILES.values()]
        case "sweeps":
            return [{"name": n, "meaning": (f.__doc__ or "").splitlines()[0]} for n, f in named_sweeps().items()]
        case _:
            return [_published_entry(row) for row in published_rows()]


def _metric_columns(cls: type[Metric]) -> Entry:
    from midef.metrics.extractors import EXTRACTORS

    files = dict.fromkeys(EXTRACTORS.get(name).file.name for name in cls.extractors)
    return {"unit": cls.unit, "larger is": cls.larger_is, "group": cls.group, "needs": ", ".join(files)}


def _names(registry: Registry[Any], packages: bool) -> list[str]:
    return [name for name in registry.names() if packages or registry.origin(name) is None]


def _components(
    registry: Registry[C], packages: bool, columns: Callable[[type[C]], Entry] = lambda cls: {}
) -> list[Entry]:
    """One entry per registered class: name, paper, the columns of its kind, and what it is.

    Where packages of others have added some, a column says which package each comes from.
    """
    entries = []
    names = _names(registry, packages)
    others_take_part = any(registry.origin(name) for name in names)
    for name in names:
        cls = registry.get(name)
        meaning = (cls.__doc__ or "").strip().splitlines()[0]
        where = {"package": str(registry.origin(name) or "midef")} if others_take_part else {}
        entries.append({"name": name, **where, "paper": cls.paper, **columns(cls), "meaning": meaning})
    return entries


def _defense_columns(cls: type[Defense], packages: bool) -> Entry:
    return {
        "acts on": cls.acts_on,
        "presets": _presets(cls),
        "combines with": _combines_with(cls, packages),
        "tuned by": _tuned_by(cls),
    }


def _attack_columns(cls: type[Attack]) -> Entry:
    return {
        "access": cls.access.words,
        "trained before": _trained_before(cls()),
        "presets": _presets(cls),
        "recorded per step": cls.records or "-",
    }


def _published_entry(row: ResultRow) -> Entry:
    spread = "" if row.spread is None else f" +- {row.spread:g}"
    return {
        "source": row.source,
        "setup": with_certainty(row.setup, row.certainty, row.settings) or "-",
        "attack": row.attack,
        "architecture": row.architecture,
        "defense": row.defense,
        "metric": row.metric,
        "value": "-" if row.value is None else f"{row.value:g}{spread}",
        "remark": row.remark or "-",
    }


def _presets(cls: type[_Described]) -> str:
    return ", ".join(cls.presets) or "-"


def _tuned_by(defense: type[Defense]) -> str:
    """The strength accuracy matching searches, and which end hides more; or why there is none."""
    from midef.defenses import NotTuned

    tuning = defense.tuning
    if isinstance(tuning, NotTuned):
        return f"no: {tuning.reason}"
    also = "".join(f", {name} = {times:g} x" for name, times in tuning.tied.items())
    hides = "larger" if tuning.larger_hides else "smaller"
    return f"{tuning.parameter} {tuning.low:g} to {tuning.high:g}{also}; {hides} hides more"


def _trained_before(component: Attack | Prior) -> str:
    """The priors an attack starts from, and theirs, and for whom each is trained."""
    from midef.attacks import PRIORS, Prior
    from midef.core.held import HELD

    priors: list[str] = []
    for parameter in fields(component):
        if isinstance(prior := getattr(component, parameter.name), Prior):
            whom = "once for all" if prior.asks is None else f"per target, asks {prior.asks.words}"
            earlier = _trained_before(prior)
            held = parameter.metadata.get(HELD)
            also = f", or {' or '.join(held.others)}" if held is not None and held.others else ""
            priors += [*([earlier] if earlier != "-" else []), f"{PRIORS.describe(prior).name} ({whom}){also}"]
    return "; ".join(priors) or "-"


def _combines_with(defense: type[Defense], packages: bool) -> str:
    """Which defenses can stand in one stack with it, as a short sentence."""
    from midef.defenses import DEFENSES

    others = {name: DEFENSES.get(name) for name in _names(DEFENSES, packages) if DEFENSES.get(name) is not defense}
    barred = [name for name, cls in others.items() if defense.clash_with(cls) or cls.clash_with(defense)]
    if defense.acts_on == "nothing":
        return "-"
    return f"all but {', '.join(barred)}" if barred else "all"
