"""TL-DMI's control: train the first units on private images and freeze those behind them, instead of the reverse."""

from __future__ import annotations

from midef.sweep.catalogue.smoke import SEARCH
from midef.sweep.spec.schema import SetupSpec, SweepSpec


def tl_dmi_part() -> SweepSpec:
    """Pairs of targets on one backbone: one freezes the first units, the other trains these and freezes those behind.

    Each pair shares what trains behind the range, as section 7.2 of TL-DMI does; the last pair shares the head alone.
    For `midef analyse trained_part`.
    """
    others = {"name": "synthetic_faces", "identities": 40, "difficulty": 0.2, "seed": 7}
    return SweepSpec(
        name="tl_dmi_part",
        profile="mini",
        setups=[SetupSpec(id="faces-pretrained", attack=[SEARCH], pretraining=others)],
        defenses=[
            "none",
            "tl_dmi(cut=block2.conv1)",
            "tl_dmi(where=range,start=block3.conv1,cut=block4.conv1)",
            "tl_dmi(cut=block3.conv1)",
            "tl_dmi(where=range,start=block4.conv1,cut=block5.conv1)",
            "tl_dmi(where=last,cut=block4.conv1)",
        ],
    )
