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

# Priors of the other attacks, about as much work: per target minutes of one core at 64 px, seconds at 32 px.
# Fewer steps need larger betas, so that the last one still ends in noise.
_TINY_DIFFUSION = {"width": 16, "noise_steps": 50, "beta_last": 0.16, "batch_size": 64, "learning_rate": 2e-3}
_TINY_STUDENTS = {"family": "cnn_tiny", "weights": "none", "batch_size": 64, "learning_rate": 0.1}


def _small_attacks(latent_dim: int, *, steps: int, search: int) -> dict[str, dict[str, Any]]:
    """Parameters by attack name. steps: of each generator that depends on the target; search: of each latent search."""
    prior = {**_SMALL_PRIOR, "latent_dim": latent_dim}
    kedmi = {"latent_dim": latent_dim, "width": 16, "steps": steps, "batch_size": 32, "learning_rate": 1e-3}
    conditional = {"latent_dim": latent_dim, "width": 8, "batch_size": 32, "learning_rate": 5e-4}
    students = {**_TINY_STUDENTS, "epochs": 3}
    surrogates = {
        **_TINY_STUDENTS,
        "latents_per_class": 50,
        "steps": steps // 2,
        "gan": {**conditional, "iterations": steps, "warm_up": steps // 10, "discriminator_steps": 1},
    }
    return {
        "gmi": {"iterations": search, "prior": prior},
        "kedmi": {"iterations": search, "prior": {**kedmi, "discriminator_steps": 1}},
        "lomma_gmi": {"iterations": search, "prior": prior, "students": students},
        "lomma_kedmi": {"iterations": search, "prior": {**kedmi, "discriminator_steps": 1}, "students": students},
        "plg_mi": {"iterations": search, "prior": {**conditional, "steps": steps, "critic_steps": 1}},
        "vmi": {
            "iterations": search // 2,
            "batch": 8,
            "learning_rate": 1e-3,
            "levels": 2,
            "flow_steps": 4,
            "prior": prior,
        },
        "brep_mi": {"patience": 20, "pool_batches": 100, "prior": prior},
        # with so few episodes agents must explore every dimension for itself, and learn ten times as fast
        "rlb_mi": {
            **{"episodes": 2 * search, "batch_size": 64, "hidden": 64, "start_after": 64, "learning_rate": 5e-3},
            **{"noise": "per_dim", "prior": prior},
        },
        "lokt": {"iterations": search, "surrogates": surrogates},
        "mi_face": {"iterations": 2 * search},
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
        **_small_attacks(64, steps=1000, search=100),
        "inversion_model": {"prior": {"width": 16, "epochs": 5}},
        "diffusion_inverter": {"prior": {**_TINY_DIFFUSION, "epochs": 2}},
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
        **_small_attacks(100, steps=1500, search=200),
        "inversion_model": {"prior": {"width": 32, "epochs": 20}},
        "diffusion_inverter": {"prior": {**_TINY_DIFFUSION, "epochs": 3}},
    },
    protocol={"identities": 60, "images_per_identity": 5, "evaluator_resolution_px": 64},
    private={"name": "synthetic_faces", "identities": 200, "difficulty": 0.2},
    public={**_PUBLIC, "identities": 800},
    gpus={
        "target": 1.0,
        "evaluator": 1.0,
        "prior": 0.5,
        "surrogate": 0.5,
        "inverter": 0.5,
        "reconstructions": 0.5,
        "scores": 0.25,
    },
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
    gpus={
        "target": 1.0,
        "evaluator": 1.0,
        "prior": 1.0,
        "surrogate": 1.0,
        "inverter": 0.5,
        "reconstructions": 1.0,
        "scores": 0.25,
    },
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
