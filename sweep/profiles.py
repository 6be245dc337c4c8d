"""Profiles: the same setups at another budget."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from midef.core.errors import SpecError, did_you_mean


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A budget. Everything a sweep leaves open is taken from here.

    training, evaluator_training: fields of `TrainingRecipe`; attacks: parameters by attack name; protocol: fields of
    `Protocol`; train_workers: 0 trains targets and evaluators in the node's process, 1 or more through Ray Train;
    cpus: per node; gpus: share of a GPU per node, by kind, where the cluster has GPUs; about: shown by `midef list`.
    """

    name: str
    about: str
    resolution_px: int
    architecture: str
    evaluator: str
    training: dict[str, Any]
    evaluator_training: dict[str, Any]
    attacks: dict[str, dict[str, Any]]
    protocol: dict[str, Any]
    private: dict[str, Any] = field(default_factory=dict)
    public: dict[str, Any] = field(default_factory=dict)
    train_workers: int = 0
    cpus: int = 1
    gpus: dict[str, float] = field(default_factory=dict)


_SMALL_TRAINING = {
    "optimizer": "adamw",
    "learning_rate": 3e-3,
    "batch_size": 64,
    "schedule": "cosine",
    "warmup": 0.1,
    "flip": 0.5,
}
# The Wasserstein objective needs tens of thousands of steps; a small budget draws usable faces with the other one only.
_SMALL_PRIOR = {
    "latent_dim": 64,
    "width": 16,
    "steps": 3000,
    "batch_size": 32,
    "learning_rate": 1e-3,
    "critic_steps": 1,
    "objective": "non_saturating",
}

_PUBLIC = {
    "name": "synthetic_faces",
    "population": "public",
    "train_images": 8,
    "select_images": 1,
    "report_images": 1,
    "difficulty": 0.2,
}

SMOKE = Profile(
    name="smoke",
    about="minutes on 2 cores: tiny siblings on synthetic faces at 32 px",
    resolution_px=32,
    architecture="vgg16_tiny",
    evaluator="resnet18_tiny",
    training={**_SMALL_TRAINING, "epochs": 12},
    evaluator_training={**_SMALL_TRAINING, "epochs": 10, "jitter_px": 2},
    attacks={
        "gmi": {"iterations": 100, "prior": _SMALL_PRIOR},
        "brep_mi": {"patience": 20, "pool_batches": 100, "prior": _SMALL_PRIOR},
        "inversion_model": {"prior": {"width": 16, "epochs": 5}},
    },
    protocol={"identities": 120, "images_per_identity": 1, "evaluator_resolution_px": 32},
    private={"name": "synthetic_faces", "identities": 120, "difficulty": 0.2},
    public={**_PUBLIC, "identities": 600},
)

MINI = Profile(
    name="mini",
    about="an hour on 2 cores, or minutes on a GPU: tiny siblings at 64 px, on synthetic faces or your own images",
    resolution_px=64,
    architecture="vgg16_tiny",
    evaluator="resnet18_tiny",
    training={**_SMALL_TRAINING, "epochs": 30},
    evaluator_training={**_SMALL_TRAINING, "epochs": 30, "jitter_px": 3},
    attacks={
        "gmi": {"iterations": 200, "prior": {**_SMALL_PRIOR, "latent_dim": 100}},
        "brep_mi": {"patience": 20, "pool_batches": 100, "prior": {**_SMALL_PRIOR, "latent_dim": 100}},
        "inversion_model": {"prior": {"width": 32, "epochs": 20}},
    },
    protocol={"identities": 60, "images_per_identity": 5, "evaluator_resolution_px": 64},
    private={"name": "synthetic_faces", "identities": 200, "difficulty": 0.2},
    public={**_PUBLIC, "identities": 800},
    gpus={"target": 1.0, "evaluator": 1.0, "prior": 0.5, "inverter": 0.5, "reconstructions": 0.5, "scores": 0.25},
)

PAPER = Profile(
    name="paper",
    about="published recipes at 64 px (VGG16, 200 epochs, GMI 2,400 steps); bring your own data; targets on Ray Train",
    resolution_px=64,
    architecture="vgg16",
    evaluator="facenet112",
    training={},
    evaluator_training={"learning_rate": 0.01, "epochs": 30},
    attacks={},
    protocol={"identities": 300, "images_per_identity": 5, "evaluator_resolution_px": 112},
    train_workers=1,
    gpus={"target": 1.0, "evaluator": 1.0, "prior": 1.0, "inverter": 0.5, "reconstructions": 1.0, "scores": 0.25},
)

PROFILES = {p.name: p for p in (SMOKE, MINI, PAPER)}


def profile_named(name: str) -> Profile:
    """The profile of this name.

    Raises:
        SpecError: names the nearest one.
    """
    if name not in PROFILES:
        raise SpecError(f"profile: unknown profile {name!r}; {did_you_mean(name, PROFILES)}")
    return PROFILES[name]
