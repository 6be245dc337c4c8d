"""The first sweep a user runs: minutes on two cores, no files needed."""

from __future__ import annotations

from midef.sweep.spec.schema import SetupSpec, SweepSpec


def smoke() -> SweepSpec:
    """White-box GMI against no defense and one defense on the images, one on the loss, one on the head, two seeds."""
    return SweepSpec(
        name="smoke",
        profile="smoke",
        setups=[SetupSpec(attack=["gmi"])],
        defenses=["none", "midre", "bido", "loft"],
        seeds=[0, 1],
    )
