"""Setup and Cell: one measurement of the matrix, as plain data."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Literal, get_args, get_origin, get_type_hints

from typing_extensions import override

from midef.core.canonical import canonical_json, json_of_plain, plain, sha256
from midef.core.choice import Choice
from midef.core.match import Match


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Attacked identities, images of each, and how these are evaluated. The defaults are the papers' 300 x 5.

    Args:
        identities: labels 0 to identities - 1 are attacked.
        images_per_identity: reconstructions per identity, from independent restarts.
        evaluator_resolution_px: reconstructions are resized to this before they are evaluated.
        resize: `pil_uint8`, 8-bit through Pillow's bilinear filter (the papers' low2high), or `float`, bilinear on
            tensors.
        counted: `all` reconstructions, or per identity the `best_by_target`, the restart the target gives the highest
            score (GMI's original protocol; it inflates accuracies, so never compare the two).
        group_size: identities per group, in order, for the spread.
        spread: `restarts`, mean over groups of the sample standard deviation of a group's accuracy over restarts;
            `groups`, sample standard deviation of the groups' means; `population`, population standard deviation of the
            accuracy of all identities over restarts (MIBench); `variance`, mean over groups of the sample variance over
            restarts, of fractions (what KedMI's and PLG-MI's codes print).
        knn_reference: private images that the KNN distance looks at: those the target learned or picked its checkpoint
            from (`train`; the papers know no third split), or all (`train+report`).
        victims: private images whose served scores an attacker observed and inverts, where an attack does: those of the
            `report` split, which the target never saw, or those it was trained on (`train`: Yang et al., CCS 2019, and
            the LPA data-poisoning paper, eq. 4 and definition 1). Restart r of an identity is its r-th such image.
        judge: whose logits decide attack accuracy: those of the independent `evaluator`, or of the `target` itself, its
            weights without what its defense does to answers, at its own resolution. That one was attacked, and is no
            independent judge: it recognises what fools it alone, too.
    """

    identities: int = 300
    images_per_identity: int = 5
    evaluator_resolution_px: int = 112
    resize: Literal["pil_uint8", "float"] = "pil_uint8"
    counted: Literal["all", "best_by_target"] = "all"
    group_size: int = 60
    spread: Literal["restarts", "groups", "population", "variance"] = "restarts"
    knn_reference: Literal["train", "train+report"] = "train"
    victims: Literal["report", "train"] = "report"
    judge: Literal["evaluator", "target"] = "evaluator"

    def __post_init__(self) -> None:
        for name in ("identities", "images_per_identity", "evaluator_resolution_px", "group_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name, annotation in get_type_hints(type(self)).items():
            if get_origin(annotation) is Literal and getattr(self, name) not in get_args(annotation):
                known = ", ".join(get_args(annotation))
                raise ValueError(f"{name} must be one of {known}, got {getattr(self, name)!r}")

    @property
    def keyed(self) -> dict[str, Any]:
        """Fields as the digests of cells hold them: those that came later only where they are not the default."""
        return {
            f.name: value for f in fields(self) if (value := getattr(self, f.name)) != f.default or f.name not in _LATER
        }

    @property
    def scoring(self) -> dict[str, Any]:
        """Fields that decide how reconstructions are evaluated, not which are made; JSON data."""
        names = ("resize", "counted", "group_size", "spread", "knn_reference", "judge")
        return {name: value for name, value in self.keyed.items() if name in names}


_LATER = {"victims", "judge"}
"""Fields of a protocol that older cells do not have: their digests hold none of them."""


@dataclass(frozen=True)
class StandIn:
    """Part of a published setup that a smaller profile replaced, or a remark on the setup as a whole.

    Args:
        by: what is used here; the remark, where nothing is named as replaced.
        replaced: what the publication used.
        role: of a component whose name does not say it: `private`, `public`, `evaluator`.
    """

    by: str
    replaced: str = ""
    role: str = ""

    @override
    def __str__(self) -> str:
        return f"{self.by} for {self.published}" if self.replaced else self.by

    @property
    def published(self) -> str:
        """What the publication used, with its role: `celeba (private)`."""
        return self.replaced + (f" ({self.role})" if self.role else "")

    @staticmethod
    def join(stand_ins: Iterable[StandIn]) -> str:
        """As rows and keys hold them; `read` is the inverse."""
        return "; ".join(map(str, stand_ins))

    @classmethod
    def read(cls, text: str) -> tuple[StandIn, ...]:
        """Stand-ins of a row."""
        return tuple(cls(*_STAND_IN.fullmatch(part).groups(default="")) for part in text.split("; ") if part)  # type: ignore[union-attr]


_STAND_IN = re.compile(r"(.*?)(?: for (.*?)(?: \((private|public|evaluator)\))?)?")


_STARTS_FROM = ", from "
_JUDGED_BY_TARGET = "; judge: the target itself"


def is_judged_by_target(evaluator: str) -> bool:
    """Whether the accuracy beside an evaluator's name, as `Setup.evaluator_text` writes it, is the target's own."""
    return evaluator.endswith(_JUDGED_BY_TARGET)


def weights_of_evaluator(text: str) -> str:
    """Published weights that an evaluator started from, as `Setup.evaluator_text` names them; "" for none.

    >>> weights_of_evaluator("facenet112, from ms1m"), weights_of_evaluator("resnet18_tiny")
    ('ms1m', '')
    """
    text = text.removesuffix(_JUDGED_BY_TARGET)
    return text.rpartition(_STARTS_FROM)[2] if _STARTS_FROM in text else ""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """One row of the matrix: attack, architecture, private and public data, resolution and protocol.

    Args:
        pretraining: labelled images that every target's backbone learns first.
        weights: published weights that the targets' backbone starts from, with the sha256 of their file. Without them
            and without `pretraining` it starts from fresh weights.
        evaluator_weights: the same, of the evaluator's backbone.
        certainty: of a row of a published matrix, `certain` or `inferred`; shown with every result.
        settings: of such a row, whose its settings are, as `midef.core.certainty.join_settings` writes it.
        stand_ins: what of a published row was replaced by something smaller; shown with every result.
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
    weights: Choice | None = None
    evaluator_weights: Choice | None = None
    certainty: str = ""
    settings: str = ""
    stand_ins: tuple[StandIn, ...] = ()

    @cached_property
    def plain(self) -> dict[str, Any]:
        """As JSON data, with every parameter; read it, never change it."""
        keyed: dict[str, Any] = {
            n: getattr(self, n).keyed for n in ("attack", "architecture", "private", "public", "evaluator")
        }
        for name in ("pretraining", "weights", "evaluator_weights"):
            if getattr(self, name) is not None:
                keyed[name] = getattr(self, name).keyed
        shown = {"certainty": self.certainty, "settings": self.settings, "stand_ins": StandIn.join(self.stand_ins)}
        keyed |= {name: text for name, text in shown.items() if text}
        as_json: dict[str, Any] = plain(
            {"id": self.id, **keyed, "resolution_px": self.resolution_px, "protocol": self.protocol.keyed}
        )
        return as_json

    @property
    def evaluator_text(self) -> str:
        """The evaluator as shown: the architecture and the published weights it started from, and where it decides
        nothing about attack accuracy, who does; the accuracy beside it is the judge's then."""
        start = "" if self.evaluator_weights is None else f"{_STARTS_FROM}{self.evaluator_weights.name}"
        judge = _JUDGED_BY_TARGET if self.protocol.judge == "target" else ""
        return self.evaluator.label + start + judge

    @property
    def target(self) -> str:
        """The target as shown: the architecture and what its backbone was pre-trained on."""
        start = "" if self.pretraining is None else f", pre-trained on {self.pretraining.label}"
        published = "" if self.weights is None else f", from {self.weights.name} weights"
        return self.architecture.label + start + published


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Setup x defense x seed, under a profile.

    Args:
        scores: digest of the artifact that answers it.
        match: of a cell whose defense was brought to a given accuracy. The same defense in another sweep is another
            cell, answered by the same artifacts.
    """

    setup: Setup
    defense: Choice
    seed: int
    profile: str
    scores: str = ""
    match: Match | None = None

    @cached_property
    def digest(self) -> str:
        """Names the cell's result file."""
        # The canonical JSON of a mapping of these, put together from texts that the cells of a setup share.
        match = "" if self.match is None else f'"match":{canonical_json(self.match)},'
        text = (
            f'{{"defense":{self.defense.keyed_json},{match}"profile":{json_of_plain(self.profile)},'
            f'"scores":{json_of_plain(self.scores)},"seed":{json_of_plain(self.seed)},'
            f'"setup":{json_of_plain(self.setup.plain)}}}'
        )
        return sha256(text)
