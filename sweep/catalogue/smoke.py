"""The first sweep a user runs: minutes on two cores, no files needed."""

from __future__ import annotations

from typing import Any

from midef.sweep.spec.schema import SetupSpec, SweepSpec

SEARCH: dict[str, Any] = {
    "name": "pool_search",
    "prior": "renderer",
    "iterations": 50,
    "learning_rate": 0.1,
    "prior_weight": 0.1,
    "shift": 0.0,
}
"""The attack: its generator is how the faces are drawn, so no prior has to be trained and none can be too weak."""


def smoke() -> SweepSpec:
    """A strong attack through the ideal prior, on no defense, MIDRE at two areas and BiDO, with three seeds.

    benchmarks/smoke tells how data, budgets and attack were chosen.
    """
    return SweepSpec(
        name="smoke",
        profile="smoke",
        setups=[SetupSpec(id="faces", attack=[SEARCH])],
        defenses=["none", "midre", "midre(area_high=0.6)", "bido"],
        seeds=[0, 1, 2],
    )
