"""Setup and Cell: what is measured, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from midef.core.canonical import json_of_plain, plain, sha256
from midef.core.choice import Choice


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Which identities are attacked, how often, and how the images reach the evaluator.

    identities: the first so many labels are attacked; images_per_identity: reconstructions per identity;
    evaluator_resolution_px: reconstructions are resized to this (8-bit, bilinear) before they are judged.
    """

    identities: int = 300
    images_per_identity: int = 5
    evaluator_resolution_px: int = 112

    def __post_init__(self) -> None:
        for name in ("identities", "images_per_identity", "evaluator_resolution_px"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class Setup:
    """One row of the matrix: attack, architecture, private and public data, resolution and protocol.

    pretraining: labelled images that every target's backbone learns first; None starts from fresh weights.
    """

    id: str
    attack: Choice
    architecture: Choice
    private: Choice
    public: Choice
    evaluator: Choice
    resolution_px: int
    protocol: Protocol
    pretraining: Choice | None = None

    @cached_property
    def plain(self) -> dict[str, Any]:
        """As JSON data, with every parameter; read it, never change it."""
        keyed = {n: getattr(self, n).keyed for n in ("attack", "architecture", "private", "public", "evaluator")}
        if self.pretraining is not None:
            keyed["pretraining"] = self.pretraining.keyed
        return {"id": self.id, **keyed, "resolution_px": self.resolution_px, "protocol": plain(self.protocol)}

    @property
    def target(self) -> str:
        """The target as shown: the architecture and what its backbone was pre-trained on."""
        start = "" if self.pretraining is None else f", pre-trained on {self.pretraining.label}"
        return self.architecture.label + start


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Setup x defense x seed, under a profile; `scores` is the digest of the artifact that answers it."""

    setup: Setup
    defense: Choice
    seed: int
    profile: str
    scores: str = ""

    @cached_property
    def digest(self) -> str:
        """Names the cell's result file."""
        content = {
            "setup": self.setup.plain,
            "defense": self.defense.keyed,
            "seed": self.seed,
            "profile": self.profile,
            "scores": self.scores,
        }
        return sha256(json_of_plain(content))
