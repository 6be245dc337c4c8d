"""TL-DMI's backbones that learned data ever further from the private images."""

from __future__ import annotations

from typing import Any

from midef.sweep.catalogue.smoke import SEARCH
from midef.sweep.spec.schema import SetupSpec, SweepSpec

OTHERS: dict[str, Any] = {"name": "synthetic_faces", "identities": 40, "seed": 7}
"""People who are drawn by the same program as the private ones, and are not among them."""


def tl_dmi_pretraining() -> SweepSpec:
    """TL-DMI at three cuts, and no defense, on backbones that learned other data, the nearest first.

    For `midef analyse pretraining_data`. The first is that of `tl_dmi_part` and `tl_dmi_checkpoints`, which share
    its cells; the second has the same people in ten times the pose, expression, light and noise; the third are articles
    of clothing, which need files. Any other data set in the place of the third:
    `--set 'setups.2.pretraining=cifar10(images_per_class=100)'`.
    """
    learned: dict[str, Any] = {
        "faces-pretrained": {**OTHERS, "difficulty": 0.2},
        "hard-faces-pretrained": {**OTHERS, "difficulty": 2.0},
        "clothing-pretrained": {"name": "fashion_mnist", "images_per_class": 100},
    }
    return SweepSpec(
        name="tl_dmi_pretraining",
        profile="mini",
        setups=[SetupSpec(id=name, attack=[SEARCH], pretraining=data) for name, data in learned.items()],
        defenses=["none", "tl_dmi(cut=block2.conv1)", "tl_dmi(cut=block3.conv1)", "tl_dmi(cut=block5.conv1)"],
    )
