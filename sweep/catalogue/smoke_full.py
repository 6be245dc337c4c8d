"""The smoke sweep with every defense of the five source papers and five seeds."""

from __future__ import annotations

from midef.sweep.catalogue.smoke import SEARCH, smoke
from midef.sweep.spec.schema import SetupSpec, SweepSpec


def smoke_full() -> SweepSpec:
    """What `smoke` runs, NLS, LoFt, MID, Trap-MID and TL-DMI, with five seeds; what `smoke` stored is not built again.

    TL-DMI freezes layers that learned other people before, so it has a row of its own, whose undefended targets start
    from the same layers.
    """
    short = smoke()
    others = {"name": "synthetic_faces", "identities": 120, "difficulty": 0.2, "seed": 7}
    return SweepSpec(
        name="smoke_full",
        profile="smoke",
        setups=[
            SetupSpec(id="faces", attack=[SEARCH], defenses=[*short.defenses, "nls", "loft", "mid", "trap_mid"]),
            SetupSpec(id="faces-pretrained", attack=[SEARCH], pretraining=others, defenses=["none", "tl_dmi"]),
        ],
        seeds=[0, 1, 2, 3, 4],
    )
