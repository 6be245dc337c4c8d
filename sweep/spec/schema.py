"""Sweep specification: pydantic models of what is written in YAML or Python."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr

from midef.core.certainty import Basis, Setting
from midef.core.conversion import shown
from midef.metrics import STANDARD
from midef.sweep.spec.lines import Lines
from midef.sweep.spec.matching import FrontSpec, MatchSpec
from midef.sweep.spec.profiles import AUTO, TRAINED, Workers
from midef.sweep.spec.values import ComponentSpec, Seed, Strict


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _few(value: Any) -> Any:
    """Refuse a list that is too long before a single item of it is looked at."""
    if isinstance(value, list | tuple) and len(value) > MAX_ITEMS:
        raise ValueError(f"expected at most {MAX_ITEMS:,} items, got {len(value):,}; split the sweep")
    return value


def _plain_id(setup_id: str) -> str:
    """Refuse an id that passes for a path, or that no table shows as it is."""
    if setup_id and (not _ID.fullmatch(setup_id) or not setup_id.strip(". ")):
        raise ValueError("an id has letters, digits, blanks and . _ = + , : ( ) - in it, and is more than dots")
    return setup_id


_ID = re.compile(r"[\w .=+,:()-]*")
OneOrSeveral = Annotated[list[ComponentSpec], BeforeValidator(_few), BeforeValidator(_as_list)]
MAX_ITEMS = 1000
"""Most setups as written, and most attacks, networks or defenses of one list; the published matrix has 37 setups."""
MAX_NAME = 80
"""Longest name of a sweep and longest id of a setup as written, in characters."""
_MOST_PROCESSES = 1024


def _processes(value: Any) -> Any:
    """Refuse what is no number of processes, where a union would name both of its members."""
    counts = value.values() if isinstance(value, dict) else [value]
    if isinstance(value, dict) and (others := [kind for kind in value if kind not in TRAINED]):
        raise ValueError(f"processes are those of target and evaluator, not of {shown(others[0])}")
    for count in counts:
        is_whole = isinstance(count, int) and not isinstance(count, bool)
        if value is not None and count != AUTO and not (is_whole and 0 <= count <= _MOST_PROCESSES):
            raise ValueError(
                f"expected a whole number from 0 (train in the node's process) to {_MOST_PROCESSES}, or {AUTO}, for "
                f"all or as {{target: 2, evaluator: {AUTO}}}"
            )
    return value


class ProtocolSpec(Strict):
    """Fields of `midef.core.Protocol`; what is left out comes from the profile."""

    identities: int | None = Field(default=None, ge=1)
    images_per_identity: int | None = Field(default=None, ge=1, le=10_000)
    evaluator_resolution_px: int | None = Field(default=None, ge=8, le=2048)
    resize: Literal["pil_uint8", "float"] | None = None
    counted: Literal["all", "best_by_target"] | None = None
    group_size: int | None = Field(default=None, ge=1, le=1_000_000)
    spread: Literal["restarts", "groups", "population", "variance"] | None = None
    knn_reference: Literal["train", "train+report"] | None = None
    victims: Literal["report", "train"] | None = None
    judge: Literal["evaluator", "target"] | None = None


class SetupSpec(Strict):
    """One row of the matrix; several where `attack` or `architecture` is a list. The profile says what is left out.

    Args:
        pretraining: a labelled data set that the targets' backbone learns first; without it and without `weights`, a
            backbone starts from fresh weights.
        weights: published weights (imagenet, ms1m) that the targets' backbone starts from.
        evaluator_weights: published weights that the evaluator's backbone starts from.
        defenses: of this row, in place of those of the sweep.
        training: of this row; the sweep's training changes fields of it.
        evaluator_training: of this row; the sweep's changes fields of it.
        certainty: whether a published matrix names this row or it was inferred; shown with results.
        settings: whose the settings of such a row are (attack, protocol, weights, training, evaluator: each paper, code
            or ours); shown with results.
        unregistered: `refuse` keeps a row whose attack, network or data set is not registered, as refused cells.
    """

    id: Annotated[str, AfterValidator(_plain_id)] = Field(default="", max_length=MAX_NAME)
    attack: OneOrSeveral = Field(min_length=1)
    architecture: OneOrSeveral = Field(default_factory=list)
    private: ComponentSpec | None = None
    public: ComponentSpec | None = None
    pretraining: ComponentSpec | None = None
    weights: str = ""
    evaluator_weights: str = ""
    evaluator: ComponentSpec | None = None
    resolution_px: int | None = Field(default=None, ge=8, le=2048)
    protocol: ProtocolSpec = ProtocolSpec()
    defenses: Annotated[list[ComponentSpec], BeforeValidator(_few)] = Field(default_factory=list)
    training: dict[str, Any] = Field(default_factory=dict)
    evaluator_training: dict[str, Any] = Field(default_factory=dict)
    certainty: Literal["", "certain", "inferred"] = ""
    settings: dict[Setting, Basis] = Field(default_factory=dict)
    unregistered: Literal["error", "refuse"] = "error"

    def setup_id(self, attack: str, architecture: str, private: str) -> str:
        """Id of one setup of this row: the row's own, with what differs between its setups."""
        name = self.id or f"{architecture}-{private}"
        if len(self.attack) > 1 or not self.id:
            name = re.sub(r"[^\w.=-]+", "_", attack).strip("_") + f"-{name}"
        return f"{name}-{architecture}" if len(self.architecture) > 1 and self.id else name


class SweepSpec(Strict):
    """Setups x defenses x seeds under a profile.

    Args:
        training: fields of the profile's recipe to change, or a published recipe (`preset: facescrub-224`) and what
            differs from it.
        evaluator_training: the same, of evaluators.
        pretraining_training: what differs from `training` where backbones are pre-trained.
        regressor_images: images that the network is trained on which reads traits from images of other attacks than
            those that know them; 64 px takes four times as long as 32 px.
        metrics: names of metrics, or of groups of them: `standard`, what is measured where nothing is written;
            `answers`, which needs undefended targets beside retrained ones; `faces`, `images` and `extraction`, which
            cost more or need a file in $MIDEF_WEIGHTS; `all`. They replace the standard ones: write `[standard,
            images]` for both. Natural accuracy and attack accuracy@1 are always measured: defenses are compared by
            them.
        private: private data set of every setup that names none.
        public: public data set of every setup that names none.
        stand_ins: the setups name published networks, data and recipes, which a small profile replaces by its own (and
            data sets by `private` and `public`); profile `paper` takes them as they are.
        train_workers: processes of a training, for all kinds or by kind (`target`, `evaluator`; a kind that is left out
            is `auto`), instead of the profile's. It changes no key, and results by rounding alone, unless a number
            above 1 is written and layers or a loss draw (dropout, MID). See `Profile`.
        match: accuracy that `midef match` brings all defenses to.
        front: defense whose trade-off `midef match` searches.
    """

    name: str = Field(pattern=r"^\.*[\w-][\w.-]*$", max_length=MAX_NAME)
    profile: str = "smoke"
    setups: Annotated[list[SetupSpec], BeforeValidator(_few)] = Field(min_length=1)
    defenses: Annotated[list[ComponentSpec], BeforeValidator(_few)] = Field(default_factory=list)
    seeds: list[Seed] = Field(default_factory=lambda: [0], min_length=1)
    training: dict[str, Any] = Field(default_factory=dict)
    evaluator_training: dict[str, Any] = Field(default_factory=dict)
    pretraining_training: dict[str, Any] = Field(default_factory=dict)
    regressor_images: int | None = Field(default=None, ge=2, le=100_000_000)
    metrics: Annotated[list[str], BeforeValidator(_few), BeforeValidator(_as_list)] = Field(
        default_factory=lambda: [STANDARD], min_length=1
    )
    private: ComponentSpec | None = None
    public: ComponentSpec | None = None
    stand_ins: bool = False
    train_workers: Annotated[
        Workers | dict[Literal["target", "evaluator"], Workers] | None, BeforeValidator(_processes)
    ] = None
    match: MatchSpec | None = None
    front: FrontSpec | None = None
    _lines: Lines = PrivateAttr(default=Lines("sweep"))

    @property
    def lines(self) -> Lines:
        """Where its values were written; no part of equality."""
        return self._lines

    def written_at(self, lines: Lines) -> Self:
        """The same specification, which remembers where its values were written."""
        made = self.model_copy()
        made._lines = lines
        return made
