"""Every attack against every defense, as small as it goes: shows that all pairs work together, not how well."""

from __future__ import annotations

from typing import Any

from midef.attacks import ATTACKS
from midef.defenses import DEFENSES, Defense
from midef.sweep.spec.schema import ProtocolSpec, SetupSpec, SweepSpec

_GAN: dict[str, Any] = {"width": 4, "latent_dim": 16, "batch_size": 16}
_WGAN = {**_GAN, "steps": 20}
_KEDMI = {**_GAN, "steps": 20, "discriminator_steps": 2}
_STYLE = {"latent_dim": 16, "channel_base": 256, "channel_max": 8, "steps": 10, "batch_size": 8}
_STYLES = {"pool": 16, "iterations": 5, "prior": _STYLE}
_STUDENTS = {"family": "cnn_tiny", "count": 2, "weights": "none", "epochs": 1, "batch_size": 16}
_SURROGATES = {
    "family": "cnn_tiny",
    "count": 2,
    "weights": "none",
    "batch_size": 16,
    "steps": 10,
    "latents_per_class": 4,
}
BUDGETS: dict[str, dict[str, Any]] = {
    "gmi": {"iterations": 5, "prior": _WGAN},
    "kedmi": {"iterations": 5, "prior": _KEDMI},
    "lomma_gmi": {"iterations": 5, "prior": _WGAN, "students": _STUDENTS},
    "lomma_kedmi": {"iterations": 5, "prior": _KEDMI, "students": _STUDENTS},
    "plg_mi": {"iterations": 5, "prior": {**_GAN, "steps": 10, "critic_steps": 1, "top": 10}},
    "vmi": {"iterations": 5, "batch": 4, "levels": 2, "flow_steps": 2, "hidden": 16, "prior": _WGAN},
    "brep_mi": {"patience": 3, "pool_batches": 4, "prior": _WGAN},
    "rlb_mi": {"episodes": 12, "batch_size": 8, "start_after": 4, "hidden": 16, "prior": _WGAN},
    "lokt": {
        "iterations": 5,
        "surrogates": {**_SURROGATES, "gan": {**_GAN, "iterations": 10, "warm_up": 2, "discriminator_steps": 1}},
    },
    "inversion_model": {"prior": {"width": 8, "epochs": 2}},
    "diffusion_inverter": {"prior": {"width": 8, "noise_steps": 10, "epochs": 2, "batch_size": 16}},
    "mi_face": {"iterations": 10},
    "if_gmi": {**_STYLES, "candidates": 2, "layer_iterations": 2},
    "mirror": {**_STYLES, "candidates": 2},
    "mirror_black_box": {"pool": 16, "population": 6, "generations": 3, "prior": _STYLE},
    "ppa": {**_STYLES, "candidates": 2, "selection_rounds": 2},
    "ppdg_mi": {
        **_STYLES,
        **{"candidates": 2, "selection_rounds": 2, "pseudo_private": 2, "features": "discriminator"},
        **{"inversion_steps": 2, "tuning_steps": 2},
    },
    "pool_search": {"pool": 16, "iterations": 5, "prior": _WGAN},
}
"""Parameters of each attack that make it run in about a second; an attack without an entry runs with smoke's."""

WRITTEN_AS: dict[str, str] = {"dp_sgd": "dp_sgd(batch_norm=group)", "tl_dmi": "tl_dmi(fresh=true)"}
"""Defenses that need a parameter to work on a fresh network with batch norm, as they are written."""


def _written(name: str) -> str:
    """A defense as it is written; one that trains a substitute for its answers with a small one."""
    cls = DEFENSES.get(name)
    return DEFENSES.choose({"name": name, **cls.small}).label if cls.serving is not Defense.serving else name


def every_pair() -> SweepSpec:
    """Every attack against every defense at the smallest budget, on a target with skip connections."""
    people = {"name": "synthetic_faces", "identities": 8, "difficulty": 0.2}
    return SweepSpec(
        name="every_pair",
        profile="smoke",
        setups=[
            SetupSpec(
                attack=[{"name": name, **BUDGETS.get(name, {})} for name in ATTACKS.names()],
                architecture=["resnet18_tiny"],
                evaluator="vgg16_tiny",
                private=people,
                public={**people, "population": "public", "identities": 12},
                protocol=ProtocolSpec(identities=8, images_per_identity=1),
            )
        ],
        defenses=[WRITTEN_AS.get(name) or _written(name) for name in DEFENSES.names()],
        training={"epochs": 3},
        evaluator_training={"epochs": 3},
        regressor_images=2000,
    )
