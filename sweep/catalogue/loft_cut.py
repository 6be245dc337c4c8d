"""LoFt's Fig. 3: the trained head cut to lower ranks, and nothing trained."""

from __future__ import annotations

from midef.sweep.catalogue.smoke import SEARCH
from midef.sweep.spec.schema import SetupSpec, SweepSpec

RANKS = (5, 10, 20, 40, 80)


def loft_cut() -> SweepSpec:
    """The undefended head of the smoke setting, of rank 120, cut to lower ranks without fine-tuning, and attacked.

    `midef analyse low_rank_heads loft_cut` compares what accuracy and the attack keep.
    """
    return SweepSpec(
        name="loft_cut",
        profile="smoke",
        setups=[SetupSpec(id="faces", attack=[SEARCH])],
        defenses=["none", *(f"loft(rank={rank},activation=identity,fine_tune=false)" for rank in RANKS)],
    )
