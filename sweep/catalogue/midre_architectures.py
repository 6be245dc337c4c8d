"""Figure 5 of the MIDRE paper: natural against attack accuracy of every defense on six architectures."""

from __future__ import annotations

from midef.sweep.catalogue.published.tables import numbered, tables
from midef.sweep.spec.schema import SweepSpec


def midre_architectures() -> SweepSpec:
    """The rows of tables B.9 and B.10 without DenseNet-121, which the figure lacks.

    For `midef analyse accuracy_scatter`. The cells are those of `matrix37`, whose artifacts serve both.
    """
    published = tables()
    rows = [row for row in (*published["B.9"], *published["B.10"]) if row.architecture != ["densenet121"]]
    return SweepSpec(name="midre_architectures", profile="mini", stand_ins=True, setups=numbered("F", rows), seeds=[0])
