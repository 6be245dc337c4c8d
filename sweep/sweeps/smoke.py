"""The first sweep a user runs: minutes on two cores, no files needed."""

from __future__ import annotations

from sweep.spec import SetupSpec, SweepSpec


def smoke() -> SweepSpec:
    """White-box GMI against four defenses and none, two seeds."""
    return SweepSpec(
        name="smoke",
        profile="smoke",
        setups=[SetupSpec(attack=["gmi"])],
        defenses=["none", "midre", "loft", "midre+nls"],
        seeds=[0, 1],
    )
