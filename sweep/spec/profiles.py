"""Profiles: the same setups at another budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from midef.attacks import SmallBudget
from midef.core.conversion import shown
from midef.core.errors import SpecError, did_you_mean

AUTO: Final = "auto"
Workers: TypeAlias = int | Literal["auto"]
TRAINED = ("target", "evaluator")
"""Kinds of artifacts that Ray Train can train."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A budget. Everything a sweep leaves open is taken from here.

    Args:
        about: shown by `midef list`.
        training: fields of `TrainingRecipe`, of targets.
        evaluator_training: the same, of evaluators.
        protocol: fields of `Protocol`.
        train_workers: processes that train a target or evaluator, for both or by kind. 0 trains in the node's process,
            1 or more through Ray Train; `auto` is decided where the run knows its Ray, see
            `midef.sweep.planning.trainings`.
        cpus: per node.
        gpus: share of a GPU per node, by kind, where the cluster has GPUs.
        stand_ins: role (architecture, evaluator, private, public, weights, defense) -> name in a published matrix ->
            what this profile puts in its place; none where it takes the published ones.
        student: architecture of the students that learn from reconstructions, where a metric needs them, `weights` that
            they start from where the file is here, and their `epochs` where they are not the papers'.
        small: what attacks make their parameters of, see `Attack.small`; None leaves them at their papers' budgets.
    """

    name: str
    about: str
    resolution_px: int
    architecture: str
    evaluator: str
    training: dict[str, Any]
    evaluator_training: dict[str, Any]
    protocol: dict[str, Any]
    private: dict[str, Any] = field(default_factory=dict)
    public: dict[str, Any] = field(default_factory=dict)
    train_workers: Workers | Mapping[str, Workers] = AUTO
    cpus: int = 1
    gpus: dict[str, float] = field(default_factory=dict)
    stand_ins: dict[str, dict[str, Any]] = field(default_factory=dict)
    small: SmallBudget | None = None
    student: dict[str, Any] = field(default_factory=lambda: {"architecture": "resnet50", "weights": "imagenet"})

    def workers_for(self, kind: str) -> Workers:
        """Processes that train an artifact of this kind; 0 for one that is not trained, and where the node does it."""
        if kind not in TRAINED:
            return 0
        return self.train_workers.get(kind, AUTO) if isinstance(self.train_workers, Mapping) else self.train_workers

    def ordered_workers(self, kind: str) -> int | None:
        """The number of processes where one is written; None where it is `auto`."""
        workers = self.workers_for(kind)
        return None if workers == AUTO else workers


_SMALL_TRAINING = {
    "optimizer": "adamw",
    "learning_rate": 3e-3,
    "batch_size": 64,
    "schedule": "cosine",
    "warmup": 0.1,
    "flip": 0.5,
}

_PUBLIC = {
    "name": "synthetic_faces",
    "population": "public",
    "train_images": 8,
    "select_images": 1,
    "report_images": 1,
    "difficulty": 0.2,
}

_TINY_NETWORKS = {
    **{"vgg16": "vgg16_tiny", "ir152": "ir152_tiny", "facenet64": "facenet64_tiny"},
    **dict.fromkeys(("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"), "resnet18_tiny"),
    **dict.fromkeys(("densenet121", "densenet161", "densenet169", "densenet201"), "densenet121_tiny"),
    **{"resnest50": "resnest101_tiny", "resnest101": "resnest101_tiny", "maxvit_t": "maxvit_t_tiny"},
    **{"inception_v3": "inception_v3_tiny", "inception_v1": "resnet18_tiny"},  # the former is slow to learn
    **{"resnet34_vmi": "resnet34_vmi_tiny", "vit_b16": "vit_b16_tiny"},
    **dict.fromkeys(("swin_v2_t", "swin_v2_s", "swin_v2_b"), "swin_v2_t_tiny"),
}
# Never of the target's family: the face networks are judged by a ResNet, everything else by a VGG.
_TINY_EVALUATORS = {"facenet112": "resnet18_tiny"} | dict.fromkeys(
    ("inception_v3", "inception_v1", "resnet50", "maxvit_t"), "vgg16_tiny"
)


def _synthetic(private: dict[str, Any], public: dict[str, Any], other: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Stand-ins for published rows.

    Args:
        other: a labelled set of other people, which backbones learn first.
    """
    from_elsewhere = {**public, "seed": 1, "difficulty": 0.4}
    return {
        "architecture": dict(_TINY_NETWORKS),
        "evaluator": dict(_TINY_EVALUATORS),
        "private": dict.fromkeys(("celeba", "facescrub", "vggface2", "stanford_dogs"), private),
        "public": {"celeba": public} | dict.fromkeys(("ffhq_thumbnails", "ffhq", "afhq_dogs"), from_elsewhere),
        "weights": dict.fromkeys(("imagenet", "ms1m"), other),
        "pretraining": {"vggface2": {**other, "identities": 3 * other["identities"]}},
        # its stand-in is stored with fresh weights in small runs, from before its published file could be read
        "fresh": {"resnest101": "fresh weights"},
        "defense": {"tl_dmi": "tl_dmi", "dp_sgd": "dp_sgd(batch_norm=group)"},
        "defense of fresh weights": {"tl_dmi": "tl_dmi(fresh=true)"},
    }


_SHARES = {
    **{"target": 1.0, "evaluator": 1.0, "prior": 0.5, "surrogate": 0.5, "inverter": 0.5, "substitute": 0.5},
    **{"regressor": 0.25, "reconstructions": 0.5, "student": 0.5, "scores": 0.25},
}
_SMALL_STUDENT = {"architecture": "resnet18_tiny", "epochs": 20}

_SMOKE_PRIVATE = {"name": "synthetic_faces", "identities": 120, "difficulty": 0.2}
_SMOKE_PUBLIC = {**_PUBLIC, "identities": 600}

SMOKE = Profile(
    name="smoke",
    about="minutes on 2 cores: tiny siblings on synthetic faces at 32 px",
    resolution_px=32,
    architecture="vgg16_tiny",
    evaluator="resnet18_tiny",
    training={**_SMALL_TRAINING, "epochs": 12},
    evaluator_training={**_SMALL_TRAINING, "epochs": 6, "batch_size": 32},
    small=SmallBudget(latent_dim=64, steps=1000, search=100, epochs=5, inverter_width=16),
    student=_SMALL_STUDENT,
    protocol={"identities": 120, "images_per_identity": 1, "evaluator_resolution_px": 32},
    private=_SMOKE_PRIVATE,
    public=_SMOKE_PUBLIC,
    stand_ins=_synthetic(_SMOKE_PRIVATE, _SMOKE_PUBLIC, {**_SMOKE_PRIVATE, "seed": 7}),
)

_MINI_PRIVATE = {"name": "synthetic_faces", "identities": 40, "difficulty": 0.2}
_MINI_PUBLIC = {**_PUBLIC, "identities": 300}

MINI = Profile(
    name="mini",
    about="the published matrix in an hour on 2 cores: tiny siblings at 32 px, on synthetic faces or your own images",
    resolution_px=32,
    architecture="vgg16_tiny",
    evaluator="resnet18_tiny",
    training={**_SMALL_TRAINING, "epochs": 12},
    evaluator_training={**_SMALL_TRAINING, "epochs": 12, "jitter_px": 2},
    small=SmallBudget(latent_dim=64, steps=600, search=100, epochs=5, inverter_width=16),
    student=_SMALL_STUDENT,
    protocol={"identities": 40, "images_per_identity": 2, "evaluator_resolution_px": 32},
    private=_MINI_PRIVATE,
    public=_MINI_PUBLIC,
    gpus=_SHARES,
    stand_ins=_synthetic(_MINI_PRIVATE, _MINI_PUBLIC, {**_MINI_PRIVATE, "seed": 7}),
)

_SMALL_PRIVATE = {"name": "synthetic_faces", "identities": 200, "difficulty": 0.2}
_SMALL_PUBLIC = {**_PUBLIC, "identities": 800}

SMALL = Profile(
    name="small",
    about="hours on 2 cores, or minutes on a GPU: tiny siblings at 64 px, on synthetic faces or your own images",
    resolution_px=64,
    architecture="vgg16_tiny",
    evaluator="resnet18_tiny",
    training={**_SMALL_TRAINING, "epochs": 30},
    evaluator_training={**_SMALL_TRAINING, "epochs": 30, "jitter_px": 3},
    small=SmallBudget(latent_dim=100, steps=1500, search=200, epochs=20, inverter_width=32),
    student=_SMALL_STUDENT,
    protocol={"identities": 60, "images_per_identity": 5, "evaluator_resolution_px": 64},
    private=_SMALL_PRIVATE,
    public=_SMALL_PUBLIC,
    gpus=_SHARES,
    stand_ins=_synthetic(_SMALL_PRIVATE, _SMALL_PUBLIC, {**_SMALL_PRIVATE, "seed": 7}),
)

PAPER = Profile(
    name="paper",
    about="published recipes at 64 px (VGG16, 200 epochs, GMI 2,400 steps); bring your own data",
    resolution_px=64,
    architecture="vgg16",
    evaluator="facenet112",
    training={},
    evaluator_training={"learning_rate": 0.01, "epochs": 30},
    protocol={"identities": 300, "images_per_identity": 5, "evaluator_resolution_px": 112},
    gpus={
        "target": 1.0,
        "evaluator": 1.0,
        "prior": 1.0,
        "surrogate": 1.0,
        "inverter": 0.5,
        "substitute": 0.5,
        "regressor": 0.25,
        "reconstructions": 1.0,
        "student": 1.0,
        "scores": 0.25,
    },
)

PROFILES = {p.name: p for p in (SMOKE, MINI, SMALL, PAPER)}


def profile_named(name: str) -> Profile:
    """The profile of this name.

    Raises:
        SpecError: names the nearest one.
    """
    if name not in PROFILES:
        raise SpecError(f"unknown profile {shown(name)}; {did_you_mean(name, PROFILES)}")
    return PROFILES[name]
