"""MIDRE's two samplers of the erased square, at two ranges of its area."""

from __future__ import annotations

from midef.sweep.catalogue.smoke import SEARCH
from midef.sweep.spec.schema import SetupSpec, SweepSpec


def midre_samplers() -> SweepSpec:
    """The released code's sampler and the one of the text, five seeds of each. For `midef analyse erasing_samplers`."""
    return SweepSpec(
        name="midre_samplers",
        profile="mini",
        setups=[SetupSpec(id="faces", attack=[SEARCH])],
        defenses=[
            "midre",
            "midre(sampler=reject_joint)",
            "midre(area_high=0.8)",
            "midre(area_high=0.8,sampler=reject_joint)",
        ],
        seeds=[0, 1, 2, 3, 4],
    )
