"""What the numbers mean and where they come from."""

# ruff: noqa: E501  # definitions are sentences

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from midef.core.errors import StoreError
from midef.core.recipe import ArtifactKey
from midef.core.rows import ResultRow
from midef.core.works import bibliography, works_of
from midef.dashboards.reference import DataFacts, Reference
from midef.dashboards.views.base import Pieces, Shown, View
from midef.dashboards.views.sheet import Sheet, words
from midef.results.compare import DELTA_FROM_POINTS, MARGIN_POINTS
from midef.results.dictionary import data_dictionary

UNKNOWN = "unknown"
INTERVALS = (
    (
        "accuracy of one run",
        "Wilson's interval of as many images as independent ones would tell as much: N / (1 + correlation x (images of an "
        "identity - 1)), the correlation of hits of one identity estimated, and taken as 1 where hits or misses are too rare to "
        "show it. 95 %.",
    ),
    ("distance or other mean of one run", "Student's t, with the identities as its observations. 95 %."),
    (
        "over seeds, from three on",
        "Each side is the root of the sum of the squares of two: the interval within a run, and Student's t over the seeds. "
        "With one or two seeds the interval within a run is shown.",
    ),
    (
        "difference of two models",
        "Per identity, over the images both answered, Student's t with two further identities that differ by as much in opposite "
        "directions; over seeds joined with Student's t over the differences by seed.",
    ),
    (
        "worst of several attacks",
        "From the highest lower end at the level 1 - .05 / k (Clopper and Pearson, Bonferroni) to the highest ordinary upper end.",
    ),
)
FORMULAE = (
    ("test accuracy", "100 x correct images of the report split / its images; higher is more useful."),
    (
        "attack accuracy@k",
        "100 x reconstructions whose attacked identity is among the k largest logits of the evaluator / all reconstructions; "
        "lower is more private.",
    ),
    ("KNN distance", "mean over reconstructions of the squared distance, in the evaluator's features, to the nearest private "
     "image of the same identity; higher is more private."),
    (
        "Delta",
        "(attack accuracy without defense - with) / (test accuracy without - with). Said only where the interval of the lost "
        f"accuracy excludes 0 and the loss is at least {DELTA_FROM_POINTS:g} point; otherwise both differences are.",
    ),
    ("front", "defenses that no other of the setup beats in both test accuracy and attack accuracy."),
    ("matched", "test accuracy on the select split, mean over seeds, within the tolerance of the target."),
    ("loses no more than 1 point", f"the whole interval of the loss ends at {MARGIN_POINTS:g} point or below, and reaches 0."),
)  # fmt: skip
_PATH = re.compile(r"^(?:~|[A-Za-z]:)?[/\\](?:[^/\\\n]+[/\\])+")


@dataclass(frozen=True, kw_only=True)
class DefinitionsData:
    """Data of the view.

    Args:
        intervals: name and method.
        formulae: name and formula.
        metrics: measured on this page.
        dictionary: columns of the result rows.
        specifications: title and YAML of each sweep of the page.
        provenance: code, packages, devices and how many cells each has.
        datasets: with licence and consent.
        cite: how to.
        bibtex: entries; "" without.
    """

    intervals: tuple[tuple[str, str], ...]
    formulae: tuple[tuple[str, str], ...]
    metrics: Sheet
    dictionary: Sheet
    specifications: tuple[tuple[str, str], ...]
    provenance: Sheet
    datasets: Sheet
    cite: str
    bibtex: str


def definitions_data(shown: Shown) -> DefinitionsData:
    """Definitions of everything on the page."""
    measured = [row for row in shown.rows if row.origin == "measured"]
    reference = shown.reference or Reference()
    specs = [json.loads(plan.spec_json) for plan in shown.plans]
    return DefinitionsData(
        intervals=INTERVALS,
        formulae=FORMULAE,
        metrics=_metrics(measured, reference),
        dictionary=_dictionary(),
        specifications=tuple((f"{spec['name']}, profile {spec.get('profile')}", as_yaml(spec)) for spec in specs),
        provenance=_provenance(shown, measured),
        datasets=_datasets(measured, specs, reference),
        cite="Cite midef (CITATION.cff), and the papers of the methods and published numbers that you report: those of this "
        "page are below; `midef cite SWEEP` writes those of a sweep.",
        bibtex=bibtex_of(measured, shown.published, reference) if reference.papers else "",
    )


_ROLES = {
    **{"defense": ("defense",), "attack": ("attack", "prior"), "architecture": ("architecture",)},
    **{"evaluator": ("architecture",), "private": ("dataset",), "public": ("dataset",), "metric": ("metric",)},
}
"""Columns of a row that name components, and the kinds of those."""
_WORD = re.compile(r"\w+")


def bibtex_of(rows: Iterable[ResultRow], published: Iterable[ResultRow], reference: Reference) -> str:
    """BibTeX of every component that rows name, parts of others included, and of the published numbers of their setups.

    Args:
        rows: measured.
        published: of any setups and defenses.
        reference: with the papers of components.
    """
    measured = list(rows)
    cited: set[str] = set()
    for column, kinds in _ROLES.items():
        names = {word for label in {getattr(row, column) for row in measured} for word in _WORD.findall(label)}
        cited |= {paper for kind in kinds for name, paper in reference.papers[kind].items() if name in names}
    ours = {(row.setup, row.defense_name) for row in measured}
    cited |= {row.source for row in published if (row.setup, row.defense_name) in ours}
    return bibliography(work for paper in sorted(cited) for work in works_of(paper))


def _metrics(rows: Iterable[ResultRow], reference: Reference) -> Sheet:
    first = {row.metric: row for row in rows}
    names = sorted(first)
    facts = [reference.metrics.get(name) for name in names]
    return Sheet(
        name="metrics",
        caption="Metrics",
        columns=(
            words("metric", "metric", names),
            words("column", "column", (first[name].column or None for name in names)),
            words("unit", "unit", (first[name].unit for name in names)),
            words("larger_is", "larger is", (first[name].larger_is for name in names)),
            words("formula", "what it is", (one.formula if one else None for one in facts), long=True),
            words("paper", "paper", (one.paper or None if one else None for one in facts), long=True),
        ),
    )


def _dictionary() -> Sheet:
    columns = data_dictionary()
    return Sheet(
        name="dictionary",
        caption="Columns of the result rows",
        columns=(
            words("name", "column", (one.name for one in columns)),
            words("type", "type", (f"{one.type}{' or null' if one.is_nullable else ''}" for one in columns)),
            words("since", "since", (str(one.since) for one in columns)),
            words("meaning", "meaning", (one.meaning for one in columns), long=True),
        ),
    )


def as_yaml(spec: Mapping[str, Any]) -> str:
    """A specification without what is not set, and without the folders of paths: they say who built the page."""
    import yaml

    text: str = yaml.safe_dump(_without(spec), sort_keys=False, allow_unicode=True, width=100)
    return text


def _without(value: Any) -> Any:
    if isinstance(value, Mapping):
        kept = {name: _without(one) for name, one in value.items()}
        return {name: one for name, one in kept.items() if one is not None and one != {} and one != [] and one != ""}
    if isinstance(value, list | tuple):
        return [_without(one) for one in value]
    return _PATH.sub(".../", value) if isinstance(value, str) else value


def _provenance(shown: Shown, rows: Sequence[ResultRow]) -> Sheet:
    """Cells by code and device, with the packages of one of them."""
    cells: Counter[tuple[str, str]] = Counter()
    example: dict[tuple[str, str], str] = {}
    for row in {row.cell: row for row in rows if row.reconstructions_key}.values():
        built = row.code_version, row.device
        cells[built] += 1
        example.setdefault(built, row.reconstructions_key)
    order = [built for built, _ in cells.most_common()]
    return Sheet(
        name="provenance",
        caption="Code and machines",
        columns=(
            words("code", "midef", (code or UNKNOWN for code, _ in order)),
            words("device", "device", (device or UNKNOWN for _, device in order)),
            words("packages", "packages", (_packages(shown, example[built]) for built in order)),
            words("cells", "cells", (str(cells[built]) for built in order)),
        ),
    )


def _packages(shown: Shown, key: str) -> str:
    for store in shown.stores:
        try:
            packages = store.artifacts.meta(ArtifactKey.parse(key))["packages"]
        except StoreError:
            continue
        return ", ".join(f"{name} {version}" for name, version in sorted(packages.items())) or UNKNOWN
    return UNKNOWN


def _datasets(rows: Sequence[ResultRow], specs: Sequence[Mapping[str, Any]], reference: Reference) -> Sheet:
    """Data that was used; what a specification says of its own counts before what is registered."""
    own = {_identity(given): given for spec in specs for given in _given(spec) if given.get("title")}
    used = {_name(label) for row in rows for label in (row.private, row.public) if label}
    facts = [_own_facts(given) for given in own.values()]
    told = {one.name for one in facts}
    facts += [
        reference.datasets.get(name, DataFacts(name=name, title=name, licence="", consent="", source=""))
        for name in sorted(used - told)
    ]
    return Sheet(
        name="datasets",
        caption="Data sets",
        columns=(
            words("name", "data set", (one.name for one in facts)),
            words("title", "title", (one.title or UNKNOWN for one in facts), long=True),
            words("licence", "licence", (one.licence or UNKNOWN for one in facts), long=True),
            words("consent", "consent", (one.consent or UNKNOWN for one in facts), long=True),
            words("source", "source", (one.source or UNKNOWN for one in facts), long=True),
        ),
    )


def _given(spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for setup in spec.get("setups") or []:
        yield from (one for role in ("private", "public") if isinstance(one := setup.get(role), Mapping))


def _identity(given: Mapping[str, Any]) -> str:
    return f"{given.get('name')} {given['title']}"


def _own_facts(given: Mapping[str, Any]) -> DataFacts:
    texts = {name: str(given.get(name) or "") for name in ("name", "title", "licence", "consent", "source")}
    return DataFacts(**texts)


def _name(label: str) -> str:
    return label.partition("(")[0].partition(":")[0]


def pieces(shown: Shown) -> Pieces:
    """One piece."""
    yield "definitions", definitions_data(shown)


VIEW = View(name="definitions", title="Definitions", pieces=pieces)
