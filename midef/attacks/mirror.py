"""MIRROR: model inversion by clipping styles to what the generator gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

from midef.attacks.access import AccessLevel
from midef.attacks.base import ATTACKS, Task
from midef.attacks.latent_search.memory import images_at_once, in_parts
from midef.attacks.latent_search.style_search import AT_224, StyleSearch
from midef.attacks.latent_search.template import Networks, Rows
from midef.core.lazy import F, torch
from midef.core.seeds import derive_seed
from midef.training.generative.pseudo_private import ramp

if TYPE_CHECKING:
    from torch import Tensor

    from midef.attacks.latent_search.styles import NormalSpace
    from midef.attacks.target_handle import TargetHandle
    from midef.nn.network import Forward


@ATTACKS.add("mirror")
@dataclass(frozen=True, kw_only=True)
class Mirror(StyleSearch):
    """Minimise the cross entropy over styles, one for each layer, clipped to where the mapping network's output lies.

    Before its last leaky ReLU the mapping network's output is about normal (P space). After each step every coordinate
    is clipped there to the mean of the pool +- clip_std standard deviations. Each candidate ends with its latent of the
    lowest loss. If fewer candidates are kept than searched, those that agree are the first, see `agreeing_first`. With
    the prior `renderer` there is no leaky ReLU: its latents, which are normal, are clipped themselves.

    Args:
        iterations: of the search.
        learning_rate: of Adam at its highest, > 0; it rises in the first 5 % of the steps and falls in the last 25 %.
        identity_weight: of the cross entropy, > 0.
        clip_std: > 0, larger lets styles go further from those that the generator knows.
        agreement: whether candidates that agree come first; False goes by the target's logit alone.

    Presets: `mirror` is the released code's default; `tldmi` is TL-DMI's table, 8 images of 8 candidates.

    Source: An et al., NDSS 2022, white-box attack, and released code: 8 candidates, of which one is the output. Half
    the images of a step are mirrored. We read that styles are truncated when they are drawn, in the search as in the
    pool, and that means and deviations are those of the untruncated ones.
    We differ: mirroring is drawn for each image, not for the batch; the generator is a StyleGAN2, where theirs is
    StyleGAN's first version of 256 px; more than one image may be kept.
    """

    paper: ClassVar[str] = "An et al., NDSS 2022"
    access: ClassVar[AccessLevel] = AccessLevel.WHITE_BOX
    strength: ClassVar[int] = 4
    judges_mirrored: ClassVar[bool] = False
    keeps_best: ClassVar[bool] = True
    records: ClassVar[str] = "loss, confidence, gradient norm, of the candidates that are kept"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "mirror": AT_224,
        "tldmi": {**AT_224, "iterations": 500},
    }

    pool: int = 100_000
    candidates: int = 8
    psi: float = 0.7
    iterations: int = 20_000
    learning_rate: float = 0.25
    identity_weight: float = 10.0
    clip_std: float = 1.0
    agreement: bool = True

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.learning_rate, self.identity_weight, self.clip_std) <= 0:
            given = f"{self.learning_rate}, {self.identity_weight}, {self.clip_std}"
            raise ValueError(f"needs learning_rate, identity_weight and clip_std > 0, got {given}")

    @override
    def keep_queries(self, count: int) -> int:
        return self.candidates if count < self.candidates else 0

    # ------------------------------------------------------------ P space

    @property
    def space(self) -> NormalSpace:
        from midef.attacks.latent_search.styles import NormalSpace

        return NormalSpace(is_styled=not self.prior.latents_are_styles)

    @override
    def starts(self, generator: Any, w: Tensor) -> Tensor:
        return w

    @override
    def rows_of(self, generator: Any, latents: Tensor) -> Tensor:
        rows: Tensor = generator.styles(latents, self.psi, self.cutoff)
        return rows

    @override
    def choose(self, handle: TargetHandle, networks: Networks, task: Task) -> Mapping[tuple[int, int], Tensor]:
        """A style for each layer, then two rows with the bounds in P space: [layers + 2, Z]."""
        pool = self.scored_pool(handle, networks, derive_seed("pool", task.seed), task)
        mean, deviation = self.space.spread(pool.starts)
        bounds = torch.stack([mean - self.clip_std * deviation, mean + self.clip_std * deviation])
        layers = 1 if self.prior.latents_are_styles else int(networks["generator"].num_ws)  # type: ignore[arg-type]
        return {
            (label, number): torch.cat([start.expand(layers, -1), bounds])
            for label in sorted(set(task.labels.tolist()))
            for number, start in enumerate(pool.surest(label, self.candidates))
        }

    # ------------------------------------------------------------ the open steps

    @override
    def start(self, networks: Networks, rows: Rows) -> list[Tensor]:
        assert rows.chosen is not None, "a search of styles starts from its pool"
        return [rows.chosen[:, :-2].clone()]

    @override
    def constrain_(self, searched: list[Tensor], rows: Rows) -> None:
        assert rows.chosen is not None, "a search of styles starts from its pool"
        with torch.no_grad():
            searched[0].copy_(self.space.clipped(searched[0], rows.chosen[:, -2:-1], rows.chosen[:, -1:]))

    @override
    def latents(self, searched: list[Tensor], rows: Rows) -> Tensor:
        return searched[0][:, 0] if self.prior.latents_are_styles else searched[0]

    @override
    def final_latents(self, searched: list[Tensor], rows: Rows) -> Tensor:
        return self.latents(searched, rows)

    @override
    def optimizer(self, searched: list[Tensor]) -> torch.optim.Optimizer:
        return torch.optim.Adam(searched, lr=self.learning_rate)

    @override
    def rate(self, progress: float) -> float:
        return ramp(progress)

    @override
    def views(self, images: Tensor, rows: Rows) -> list[Tensor]:
        from midef.datasets.files.augment import mirrored

        return [mirrored(images, rows.noise.uniform(1)[:, 0] < 0.5)]

    @override
    def identity_loss(self, networks: Networks, seen: list[Forward], labels: Tensor) -> Tensor:
        return self.identity_weight * F.cross_entropy(seen[0].logits.float(), labels, reduction="none")

    @override
    def keep(
        self, handle: TargetHandle, networks: Networks, label: int, images: Tensor, count: int, task: Task
    ) -> Sequence[int]:
        from midef.attacks.latent_search.selection import best_first

        if count == len(images):
            return range(count)

        def ask(begin: int, end: int) -> Tensor:
            return self.ask(handle, networks, images[begin:end].to(task.device))[0].logits.double().cpu()

        with torch.no_grad(), self.autocast(task):
            logits = torch.cat(in_parts(len(images), images_at_once(task.device), handle, ask))
        return (agreeing_first(logits, label) if self.agreement else best_first(logits[:, label], len(logits)))[:count]


def agreeing_first(logits: Tensor, label: int) -> list[int]:
    """Candidates by what the target says of them [N, K]: those of the largest group that agree, then the others.

    A group shares two of the labels that are among each one's five likeliest, the attacked one aside; where no two
    candidates share two, one. Of groups of one size, the one with the larger logit of the attacked label. Within both
    parts the larger such logit is first; what is no number comes last.
    """
    from midef.attacks.latent_search.selection import best_first

    order = best_first(logits[:, label], len(logits))
    likely = {
        i: set(logits[i].topk(min(5, logits.shape[1])).indices.tolist()) - {label}
        for i in order
        if logits[i].isfinite().all()
    }
    for shared in (2, 1):
        met = {labels for own in likely.values() for labels in combinations(sorted(own), shared)}
        groups = [[i for i in likely if set(labels) <= likely[i]] for labels in sorted(met)]
        largest = max(groups, key=lambda group: (len(group), logits[group[0], label].item()), default=[])
        if len(largest) > 1:
            return largest + [i for i in order if i not in largest]
    return order
