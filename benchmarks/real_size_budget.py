"""Budget of the real-size run: what is cut, in which shares of the time, from measured seconds of each step.

The time model: seconds = what is spent already + a reserve for judging + sum over cuts of count x seconds of one. Each
cut has a declared share of the time; where its published count takes less, the others share what is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor, log10
from pathlib import Path
from typing import Any

LFW: Mapping[str, str] = {
    "licence": "no formal licence, research use",
    "consent": "none recorded, news photographs",
    "source": "Huang et al., UMass Amherst TR 07-49, 2007",
}
SWEEP = "real-size"


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A count that time decides.

    Args:
        name: of the work, as tables show it.
        unit: what is counted.
        published: count in the papers, and the most that is done.
        share: of the time, > 0; only ratios matter.
        least: count below which the work makes no sense.
        part: of the run, "a", "b" or "ab".
    """

    name: str
    unit: str
    published: int
    share: float
    least: int = 1
    part: str = "a"


@dataclass(frozen=True, kw_only=True)
class Size:
    """Networks, resolutions and published counts of a run.

    Args:
        seconds_each: of measured work, for the rate of each cut.
        reserve_s: for reading the judge and judging, not measured beforehand.
        people: fields of the private data set.
        priors: fields of each prior beside its count.
    """

    profile: str
    target_a: str
    target_b: str
    px_a: int
    px_b: int
    training_a: Mapping[str, Any]
    training_b: Mapping[str, Any]
    tl_dmi: str
    people: Mapping[str, Any]
    identities: int
    restarts: int
    priors: Mapping[str, Mapping[str, Any]]
    pool: int
    cuts: tuple[Cut, ...]
    seconds_each: float
    reserve_s: float
    pretraining_min_images: int
    judge_px: int = 112


REAL = Size(
    profile="small",  # a row of the profile `paper` would pass for uncut
    target_a="vgg16",
    target_b="resnet18",
    px_a=64,
    px_b=224,
    training_a={"preset": "tl-dmi-vgg16"},
    training_b={"preset": "facescrub-224"},
    tl_dmi="tl_dmi:celeba-vgg16",
    people={"min_images": 20, "max_images": 60},
    identities=42,
    restarts=5,
    priors={"wgan_gp": {}, "plg_gan": {}, "style_gan2": {"resolution_px": 64, "mirror": True}},
    pool=2000,
    cuts=(
        Cut(name="backbones", unit="epochs", published=200, share=8, least=4, part="ab"),
        Cut(name="targets at 64 px", unit="epochs", published=200, share=16, least=4),
        Cut(name="WGAN-GP", unit="critic steps", published=120 * 468, share=14, least=50),
        Cut(name="PLG-MI's generators", unit="steps", published=30_000, share=26, least=20),
        Cut(name="GMI", unit="iterations", published=2400, share=6, least=50),
        Cut(name="PLG-MI", unit="iterations", published=600, share=5, least=20),
        Cut(name="targets at 224 px", unit="epochs", published=100, share=8, least=4, part="b"),
        Cut(name="StyleGAN2", unit="steps", published=3_467_000 // 64, share=13, least=20, part="b"),
        Cut(name="PPA", unit="candidates", published=200, share=4, least=5, part="b"),
    ),
    seconds_each=1.5,
    reserve_s=60.0,
    pretraining_min_images=5,
)

SMOKE = Size(
    profile="small",
    target_a="vgg16_tiny",
    target_b="resnet18_tiny",
    px_a=32,
    px_b=32,
    training_a={"optimizer": "adamw", "learning_rate": 3e-3, "schedule": "cosine", "warmup": 0.1},
    training_b={"optimizer": "adamw", "learning_rate": 3e-3, "schedule": "cosine", "warmup": 0.1},
    tl_dmi="tl_dmi",
    people={"min_images": 40, "max_images": 24},
    identities=13,
    restarts=2,
    priors={
        "wgan_gp": {"width": 8, "latent_dim": 32, "batch_size": 16},
        "plg_gan": {"width": 8, "latent_dim": 32, "batch_size": 16, "critic_steps": 2},
        "style_gan2": {
            "resolution_px": 16,
            "latent_dim": 32,
            "channel_base": 256,
            "channel_max": 16,
            "batch_size": 16,
            "mirror": True,
        },
    },
    pool=100,
    cuts=(
        Cut(name="backbones", unit="epochs", published=12, share=8, part="ab"),
        Cut(name="targets at 32 px", unit="epochs", published=30, share=16),
        Cut(name="WGAN-GP", unit="critic steps", published=200, share=14),
        Cut(name="PLG-MI's generators", unit="steps", published=20, share=26),
        Cut(name="GMI", unit="iterations", published=100, share=6),
        Cut(name="PLG-MI", unit="iterations", published=20, share=5),
        Cut(name="targets at 32 px, B", unit="epochs", published=16, share=8, part="b"),
        Cut(name="StyleGAN2", unit="steps", published=100, share=13, part="b"),
        Cut(name="PPA", unit="candidates", published=4, share=4, least=2, part="b"),
    ),
    seconds_each=0.2,
    reserve_s=40.0,
    pretraining_min_images=9,
)


def published_counts(size: Size) -> dict[str, int]:
    """Counts as published, by name of the cut."""
    return {cut.name: cut.published for cut in size.cuts}


def allocate(seconds: float, cuts: Sequence[Cut], each_s: Mapping[str, float]) -> dict[str, int]:
    """Counts that together take about so many seconds, by name of the cut.

    Each gets its share of the seconds. What a published count leaves over goes to the others by their shares; none gets
    less than its least count, for which the others give.

    Args:
        each_s: seconds of one, by name of the cut; > 0.
    """
    counts: dict[str, int] = {}
    open_cuts = list(cuts)
    while open_cuts:
        shares = sum(cut.share for cut in open_cuts)
        wished = {cut.name: seconds * cut.share / shares / each_s[cut.name] for cut in open_cuts}
        fixed = [cut for cut in open_cuts if wished[cut.name] <= cut.least]
        fixed = fixed or [cut for cut in open_cuts if wished[cut.name] >= cut.published]
        if not fixed:
            return counts | {name: round_down(count) for name, count in wished.items()}
        for cut in fixed:
            counts[cut.name] = cut.published if wished[cut.name] >= cut.published else cut.least
            seconds -= counts[cut.name] * each_s[cut.name]
        seconds = max(0.0, seconds)
        open_cuts = [cut for cut in open_cuts if cut.name not in counts]
    return counts


def round_down(count: float) -> int:
    """Two digits, and zeros: 23,417 is 23,000."""
    whole = max(1, floor(count))
    unit = 10 ** max(0, floor(log10(whole)) - 1)
    return whole // unit * unit


def document(
    size: Size, counts: Mapping[str, int], data: Path, work: Path, *, precision: str, judge: str
) -> dict[str, Any]:
    """The sweep, as a YAML file would say it.

    Args:
        counts: of the cuts, by name.
        data: folder with the files of LFW, see benchmarks/lfw/README.md.
        work: folder with `pretraining.zip`.
        precision: of the networks of classifiers and of searches; generators train in the device's usual precision.
        judge: architecture that evaluates.
    """
    of = [counts[cut.name] for cut in size.cuts]
    backbones, targets_a, wgan, plg, gmi, plg_mi, targets_b, style, candidates = of
    title = "Labeled Faces in the Wild"
    shared: dict[str, Any] = {
        "private": {
            "name": "image_folder",
            "path": str(data / "lfw_private.zip"),
            "train_list": str(data / "lfw_private_train.txt"),
            "report_list": str(data / "lfw_private_test.txt"),
            **size.people,
            "title": f"{title}, people with at least {size.people['min_images']} photographs",
            **LFW,
        },
        "public": {
            "name": "image_folder",
            "path": str(data / "lfw_public.zip"),
            "labelled": False,
            "title": f"{title}, other people",
            **LFW,
        },
        "pretraining": {
            "name": "image_folder",
            "path": str(work / "pretraining.zip"),
            "min_images": size.pretraining_min_images,
            "title": f"{title}, public people with several photographs",
            **LFW,
        },
        "evaluator": judge,
        "protocol": {
            "identities": size.identities,
            "images_per_identity": size.restarts,
            "evaluator_resolution_px": size.judge_px,
        },
    }
    part_a = {
        **shared,
        "architecture": size.target_a,
        "resolution_px": size.px_a,
        "training": {**size.training_a, "epochs": targets_a, "precision": precision},
        "defenses": ["none", "midre", "bido", size.tl_dmi],
    }
    gmi_attack = {
        "name": "gmi",
        "preset": "kedmi",  # a preset: small profiles have smaller networks otherwise
        "iterations": gmi,
        "precision": precision,
        "prior": {"steps": wgan, **size.priors["wgan_gp"]},
    }
    plg_attack = {
        "name": "plg_mi",
        "preset": "orig",
        "iterations": plg_mi,
        "precision": precision,
        "prior": {"steps": plg, **size.priors["plg_gan"], "range": "clamp"},
    }
    ppa_attack = {
        "name": "ppa",
        "preset": "midre",
        "pool": size.pool,
        "candidates": candidates,
        "precision": precision,
        "prior": {"steps": style, **size.priors["style_gan2"]},
    }
    part_b = {
        **shared,
        "id": "b-ppa",
        "attack": ppa_attack,
        "architecture": size.target_b,
        "resolution_px": size.px_b,
        "training": {**size.training_b, "epochs": targets_b, "precision": precision},
        "defenses": ["none", "midre"],
    }
    return {
        "name": SWEEP,
        "profile": size.profile,
        "setups": [
            {"id": "a-gmi", "attack": gmi_attack, **part_a},
            {"id": "a-plg-mi", "attack": plg_attack, **part_a},
            part_b,
        ],
        "pretraining_training": {"epochs": backbones},
        "seeds": [0],
    }
