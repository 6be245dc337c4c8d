"""One attack on one undefended target, stopped after few and after many iterations."""

from __future__ import annotations

from midef.sweep.catalogue.smoke import SEARCH
from midef.sweep.catalogue.tl_dmi_part import tl_dmi_part
from midef.sweep.spec.schema import SetupSpec, SweepSpec


def tl_dmi_course() -> SweepSpec:
    """The undefended target of `tl_dmi_part` under its attack with 1 to 50 iterations.

    For `midef analyse fisher_course`.
    """
    (setup,) = tl_dmi_part().setups
    return SweepSpec(
        name="tl_dmi_course",
        profile="mini",
        setups=[
            SetupSpec(id=f"faces-{count:02d}", attack=[{**SEARCH, "iterations": count}], pretraining=setup.pretraining)
            for count in (1, 5, 15, 50)
        ],
        defenses=["none"],
    )
