"""What registered components say of themselves, for the dashboard; no torch is loaded."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from midef.core.registry import Registry
    from midef.dashboards.reference import DataFacts, Reference


def reference() -> Reference:
    """Every registered metric and data set, and the papers of all components."""
    from midef.dashboards.reference import MetricFacts, Reference
    from midef.datasets import DATASETS
    from midef.metrics import METRICS, column_title

    metrics = {}
    for name in METRICS.names():
        cls = METRICS.get(name)
        metrics[name] = MetricFacts(
            name=name,
            column=column_title(name),
            unit=cls.unit,
            larger_is=cls.larger_is,
            formula=first_paragraph(cls),
            paper=cls.paper,
        )
    return Reference(
        metrics=metrics,
        datasets={name: data_facts(name, DATASETS.get(name)) for name in DATASETS.names()},
        papers=papers(),
    )


def papers() -> dict[str, dict[str, str]]:
    """What each component says of its paper, by kind and name."""
    from midef.attacks import ATTACKS
    from midef.attacks.priors import PRIORS
    from midef.datasets import DATASETS
    from midef.defenses import DEFENSES
    from midef.metrics import METRICS
    from midef.models import ARCHITECTURES

    registries: dict[str, Registry[Any]] = {
        **{"attack": ATTACKS, "prior": PRIORS, "defense": DEFENSES, "architecture": ARCHITECTURES},
        **{"dataset": DATASETS, "metric": METRICS},
    }
    return {kind: {name: one.get(name).paper for name in one.names()} for kind, one in registries.items()}


def first_paragraph(cls: type) -> str:
    """What a class is, in one line."""
    return " ".join((inspect.getdoc(cls) or "").partition("\n\n")[0].split())


def data_facts(name: str, cls: type[Any]) -> DataFacts:
    """Licence and consent of a data set, as far as its class knows them without its files."""
    from midef.core.errors import MidefError
    from midef.dashboards.reference import DataFacts
    from midef.datasets.base import Card

    card = getattr(cls, "facts", None)
    if not isinstance(card, Card) and getattr(cls, "is_generated", False):
        try:
            card = cls().card()
        except (MidefError, TypeError):
            card = None
    if not isinstance(card, Card):
        return DataFacts(name=name, title=first_paragraph(cls), licence="", consent="", source="")
    return DataFacts(name=name, title=card.title, licence=card.licence, consent=card.consent, source=card.source)
