"""Checkpoints of undefended and TL-DMI trainings: attack accuracy at equal natural accuracy."""

from __future__ import annotations

from midef.sweep.catalogue.tl_dmi_part import tl_dmi_part
from midef.sweep.spec.schema import SweepSpec


def tl_dmi_checkpoints() -> SweepSpec:
    """Four checkpoints of the undefended training and of two cuts of TL-DMI, on one backbone, as in its Fig. 1-III.

    For `midef analyse checkpoints`. It shares what `tl_dmi_part` stores.
    """
    trained = ("", "tl_dmi(cut=block3.conv1)", "tl_dmi(cut=block5.conv1)")
    stops = tuple(f"early_stop(at={share})" for share in (0.1, 0.25, 0.5))
    stopped = [f"{name}+{stop}" if name else stop for name in trained for stop in stops]
    return SweepSpec(
        name="tl_dmi_checkpoints",
        profile="mini",
        setups=tl_dmi_part().setups,
        defenses=["none", *trained[1:], *stopped],
    )
