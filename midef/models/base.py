"""Interface of all architectures: facts before a network is built, and the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from midef.core.registry import Registry
from midef.nn.named_file import NamedFile
from midef.nn.stem import stem_work

if TYPE_CHECKING:
    from torch import Tensor

    from midef.nn.network import TargetModel

ARCHITECTURES: Registry[Architecture] = Registry("architecture", "midef.models")


@dataclass(frozen=True)
class ModelFacts:
    """Facts about a network that a defense may use without building it.

    Args:
        blocks: names of the chain of blocks, input first.
        taps: the blocks whose outputs a regulariser looks at by default.
        units: the finest pieces that can be frozen, input first: block names, or `block.part` where a block has parts.
        skip_stages: blocks with skip connections, by stage.
        skip_kinds: kinds of its skips, where there are several.
        skips_concatenate: True if skips are concatenations, so that scaling them cuts channels.
        has_attention: True if some layers are attention.
        frozen: blocks whose weights do not train.
        head_is_linear, head_has_batch_norm: of the head as a defense made it.
        weightless: blocks without weights.
        pretrained: whether training starts from weights learned on other data.
        draws: whether layers draw random numbers while training, as dropout and stochastic depth do. True until an
            architecture says otherwise: several processes would draw other numbers than one.
    """

    family: str
    blocks: tuple[str, ...]
    taps: tuple[str, ...]
    has_batch_norm: bool
    units: tuple[str, ...] = ()
    skip_stages: tuple[tuple[str, ...], ...] = ()
    skip_kinds: tuple[str, ...] = ()
    skips_concatenate: bool = False
    has_attention: bool = False
    frozen: frozenset[str] = frozenset()
    head_is_linear: bool = True
    head_has_batch_norm: bool = False
    weightless: frozenset[str] = frozenset()
    pretrained: bool = False
    draws: bool = True

    def __post_init__(self) -> None:
        if not self.units:
            object.__setattr__(self, "units", self.blocks)

    @property
    def has_skips(self) -> bool:
        return any(self.skip_stages)


@dataclass(frozen=True, kw_only=True)
class PublishedFile:
    """The one weight file an architecture is published with.

    Args:
        weights: name of the weights, after the images they were learned on.
        name: of the file.
        sha256: hexadecimal, or its first digits as far as they are published; "" where none are.
        source: where to get it.
        also: other names it is handed out under, whose content is not compared.
        size_mib: as published, in MiB; 0 where it is not.
        named: our tensor below `blocks` -> its name there.
        head: beginnings of the names there that are not part of the trunk.
    """

    weights: str
    name: str
    sha256: str
    source: str
    also: tuple[str, ...] = ()
    size_mib: float = 0.0
    named: Callable[[str], str] = str
    head: tuple[str, ...] = ("head.",)

    @property
    def file(self) -> NamedFile:
        """The file, whatever network it holds."""
        return NamedFile(name=self.name, source=self.source, sha256=self.sha256, also=self.also, size_mib=self.size_mib)


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Base of all architectures: a frozen dataclass that builds a `TargetModel`.

    Args:
        family: what it shares with its siblings of other depths.
        is_small: it has fewer than two million weights, so that tests run it; others are only counted.
        gflop_64px: billion operations (multiplications and additions) to classify an image of 64 px; 0 where they were
            not counted. Only for estimates of how long work takes.
        judges_only: it is an evaluator and nothing else; see `Judge`.
        published: its own weight file, where it has one.
    """

    paper: ClassVar[str] = ""
    version: ClassVar[int] = 1
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    family: ClassVar[str] = ""
    is_small: ClassVar[bool] = False
    gflop_64px: ClassVar[float] = 0.0
    judges_only: ClassVar[bool] = False
    published: ClassVar[PublishedFile | None] = None

    def gflop(self, resolution_px: int) -> float:
        """Billion operations to classify an image of this resolution, about."""
        counted = self.gflop_64px or (0.05 if self.is_small else 8.0)
        return counted * (resolution_px / 64) ** 2 * stem_work(getattr(self, "stem", ""), resolution_px)

    def facts(self) -> ModelFacts:
        """Names of blocks and taps, without building anything."""
        raise NotImplementedError

    def problems(self, resolution_px: int) -> list[str]:
        """Reasons why it cannot work at this resolution, or which weight file is missing."""
        return []

    def build(self, n_classes: int, resolution_px: int) -> TargetModel:
        """A network with fresh weights, drawn from torch's global generator."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Judge(Architecture):
    """Base of evaluators from elsewhere: published weights that stay as they are, and a head fitted on the features.

    A judge is refused as a target and as a network that an attack names. Nothing here trains it.

    Args:
        head: `centre`, a logit is the cosine, -1 to 1, of a feature and the mean feature of a class; `linear`, the
            logits of a linear layer, a convex fit. Both see the private training images only. Only ranks of logits
            are used: their scale means nothing between heads.
    """

    judges_only: ClassVar[bool] = True

    head: Literal["centre", "linear"] = "centre"

    @staticmethod
    def frozen(model: TargetModel) -> TargetModel:
        """The same network, its trunk held in eval mode and without slopes of its weights."""
        model.hold_in_eval(["blocks"])
        model.train(model.training)
        model.blocks.requires_grad_(False)
        return model

    def fitted_head(self, features: Tensor, labels: Tensor, n_classes: int) -> tuple[Tensor, Tensor]:
        """Weight [K, D] and bias [K] of the head.

        Args:
            features: of private training images, float64, [N, D].
            labels: [N].
            n_classes: K.
        """
        from midef.nn import fitted_head

        fit = {"centre": fitted_head.centre_head, "linear": fitted_head.linear_head}[self.head]
        return fit(features, labels, n_classes)
