"""Stage: attack one target."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from midef.attacks import ATTACKS, AccessLevel, Attack
from midef.attacks.base import Task
from midef.attacks.latent_search.memory import memory_share
from midef.attacks.target_handle import TargetHandle
from midef.core.choice import Choice
from midef.core.errors import DataError, MidefError, few
from midef.core.recipe import Inputs, Recipe
from midef.core.seeds import derive_seed
from midef.datasets import Splits
from midef.stages.build import BuildContext
from midef.stages.handle import handle_of, served_scores
from midef.stages.split import load as load_splits
from midef.stages.target import TargetSpec
from midef.stages.target import load as load_target
from midef.storage.traces import write_traces

OBSERVED = "observed.npz"
"""File of the scores that an attacker observed [N, K]."""
OBSERVED_AT_ONCE = 512
"""Images in a call whose answers are observed. A defense that answers jointly fills its windows with them."""


@dataclass(frozen=True, kw_only=True)
class AttackSpec:
    """An attack on a target, decoded from its recipe.

    Args:
        identities: labels 0 to identities - 1 are attacked.
        images_per_identity: restarts.
        seed: of everything the attack draws.
        kept_px: of the reconstructions, where that is more than the target takes; else None.
        victims: split of the private images whose scores the attacker observed, `report` or `train`.
    """

    attack: Attack
    target: TargetSpec
    identities: int
    images_per_identity: int
    seed: int
    kept_px: int | None
    victims: str

    @classmethod
    def of(cls, recipe: Recipe) -> AttackSpec:
        """Decode the recipe of reconstructions."""
        return cls(
            attack=ATTACKS.remake(Choice.from_plain(recipe.params["attack"])),
            target=TargetSpec.of(recipe.inputs["target"]),
            identities=recipe.params["identities"],
            images_per_identity=recipe.params["images_per_identity"],
            seed=derive_seed("attack", recipe.params["seed"]),
            kept_px=recipe.params.get("kept_px"),
            victims=victims_of(recipe),
        )


def build(recipe: Recipe, inputs: Inputs, context: BuildContext, folder: Path) -> dict[str, Any]:
    """Write `images.npz`: 8-bit reconstructions with their labels, restarts and whether the attack found them.

    They are of the size the target takes; where the prior draws at more, and the evaluator takes more, of the
    evaluator's (`kept_px` of the recipe).

    Where the attack knows the traits of each image, they are the array `traits` of it. `traces.npz` holds the course of
    the search, of an attack that takes steps; `observed.npz` the scores that the attacker observed, of one that does.
    """
    spec, device = AttackSpec.of(recipe), context.device
    attack = spec.attack
    splits = load_splits(inputs.path("private"))
    n_classes = len(splits.class_names)
    if spec.identities > n_classes:
        raise DataError(f"the protocol attacks {spec.identities} identities, the private set has {n_classes}; lower it")
    model = load_target(spec.target, inputs.path("target"), context, n_classes)
    handle = handle_of(spec.target, model, attack.access, context)
    labels = torch.arange(spec.identities).repeat_interleave(spec.images_per_identity)
    restarts = torch.arange(spec.images_per_identity).repeat(spec.identities)
    observed = None
    if attack.needs_observed_scores:
        # What the attacker overheard. The victims asked, not the attacker: another handle, other queries.
        served = handle_of(spec.target, model, AccessLevel.SCORES, context)
        seen = victims(splits, spec.victims, labels, restarts)
        observed = observed_scores(served, seen, spec.seed)
        np.savez_compressed(folder / OBSERVED, scores=observed.numpy())
    task = Task(labels, restarts, spec.target.resolution_px, spec.seed, device, observed, spec.kept_px)
    torch.manual_seed(derive_seed("answers", spec.seed))
    start = time.monotonic()
    before = memory_share.set(context.memory_share)
    try:
        reconstructions = attack.reconstruct(handle, inputs, task)
    finally:
        memory_share.reset(before)
    attack_s = time.monotonic() - start
    asked_px = spec.kept_px or spec.target.resolution_px
    if (given_px := reconstructions.images.shape[-1]) != asked_px:
        raise MidefError(
            f"{recipe.component} was asked for images of {asked_px} px, it gave {given_px}; only an attack that gives "
            "what Task.kept_px asks for may say more in drawn_px than the target takes"
        )
    broken = int((~torch.isfinite(reconstructions.images).flatten(1).all(dim=1)).sum())
    if broken:
        raise MidefError(
            f"{recipe.component} diverged: {broken} of {len(labels)} reconstructions hold values that are no "
            "numbers; lower its learning_rate",
            failure="diverged",
        )
    # truncated, as in the low2high step of the papers
    images = (reconstructions.images.clamp(0, 1) * 255).to(torch.uint8)
    known: dict[str, Any] = {}
    if reconstructions.traits is not None:
        known["traits"] = reconstructions.traits.float().cpu().numpy()
    np.savez_compressed(
        folder / "images.npz",
        images=images.numpy(),
        labels=reconstructions.labels.numpy(),
        restarts=reconstructions.restarts.numpy(),
        found=reconstructions.found.numpy(),
        **known,
    )
    course: dict[str, float] = {}
    if reconstructions.traces is not None:
        write_traces(folder, reconstructions.traces)
        course = reconstructions.traces.course
    prepared = [needed.key for needed in recipe.walk() if needed.kind in ("prior", "surrogate", "inverter")]
    asked = sum(context.store.artifacts.meta(key)["facts"]["queries"] for key in prepared)
    facts = {"queries": handle.queries + asked, "attack_s": attack_s, "found": int(reconstructions.found.sum())}
    return {**facts, **course}


def observed_scores(handle: TargetHandle, seen: Tensor, seed: int) -> Tensor:
    """Scores [N, K] of private images [N, 3, H, W] in [0, 1] as an attacker observes them, always by the same calls.

    Args:
        seed: of the attack.
    """
    return served_scores(handle, seen, seed=derive_seed("observed", seed), at_once=OBSERVED_AT_ONCE)


def victims_of(reconstructions: Recipe) -> str:
    """Split of the private images that reconstructions are made from, where the attack observed scores."""
    split: str = reconstructions.params.get("victims", "report")
    return split


def victims(splits: Splits, split: str, labels: Tensor, restarts: Tensor) -> Tensor:
    """The restart-th image of each identity [N, 3, H, W] float, starting over where an identity has fewer.

    Args:
        split: which of the private images these are, `report` or `train`.

    Raises:
        DataError: if an identity has none.
    """
    return splits.parts[split].images[_rows(splits, split, labels, restarts)].float() / 255


def repeated_victims(splits: Splits, split: str, labels: Tensor, restarts: Tensor) -> int:
    """How many of these `victims` are images that another of them is, too."""
    return len(labels) - len(set(_rows(splits, split, labels, restarts)))


def _rows(splits: Splits, split: str, labels: Tensor, restarts: Tensor) -> list[int]:
    """Positions in the split of the victims [N]."""
    images = splits.parts[split]
    of_identity = {label: torch.nonzero(images.labels == label).squeeze(1) for label in labels.unique().tolist()}
    if empty := [str(label) for label, rows in of_identity.items() if not len(rows)]:
        raise DataError(
            f"{'identity' if len(empty) == 1 else 'identities'} {few(empty)} {'has' if len(empty) == 1 else 'have'} no "
            f"image in the {split} split, whose answers the attacker observes; {_MORE_IMAGES[split]}"
        )
    pairs = zip(labels.tolist(), restarts.tolist(), strict=True)
    return [int(of_identity[label][restart % len(of_identity[label])]) for label, restart in pairs]


_MORE_IMAGES = {
    "report": "raise report_fraction or min_images, or set protocol.victims: train",
    "train": "raise min_images, or set protocol.victims: report",
}
