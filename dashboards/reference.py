"""What components say of themselves; the command line gathers it, since the dashboard imports no components."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class MetricFacts:
    """A metric.

    Args:
        name: as registered.
        column: title in tables.
        formula: how it is computed, in words.
        paper: where it comes from.
    """

    name: str
    column: str
    unit: str
    larger_is: str
    formula: str
    paper: str


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """A data set: its card, without counts."""

    name: str
    title: str
    licence: str
    consent: str
    source: str


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What pages say of components.

    Args:
        metrics: every registered one, by name.
        datasets: every registered one, by name.
        papers: what each registered component says of its paper, by kind (`attack`, `prior`, `defense`, `architecture`,
            `dataset`, `metric`) and name; a page has the BibTeX of those it uses.
    """

    metrics: Mapping[str, MetricFacts] = field(default_factory=dict)
    datasets: Mapping[str, DataFacts] = field(default_factory=dict)
    papers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
