"""Latent search of PLG-MI and LOKT: a class-conditional generator, two views, a max-margin loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from midef.attacks.latent_search.template import LatentSearch, Networks, Rows
from midef.core.lazy import F, torch

if TYPE_CHECKING:
    from torch import Tensor

    from midef.nn.network import Forward


def max_margin(logits: Tensor, labels: Tensor) -> Tensor:
    """The largest other logit minus that of the label: [N, K], [N] -> [N], below 0 where the label wins. K >= 2.

    Its slope stays -1 and +1 however sure the target is, where that of cross entropy vanishes.
    Source: Yuan et al., AAAI 2023 (PLG-MI), equation of the max-margin loss.
    """
    of_label = logits.gather(1, labels[:, None]).squeeze(1)
    others = logits.masked_fill(F.one_hot(labels, logits.shape[1]).bool(), -torch.inf)
    return others.amax(dim=1) - of_label


@dataclass(frozen=True, kw_only=True)
class ConditionalSearch(LatentSearch):
    """Adam over latents of G(z, y), each step on two views of the image, drawn anew; the latents are not bounded.

    The loss of a view is `max_margin`, averaged over the networks that see it. A subclass names its `priors` and, where
    other networks than the target look, `ask`.

    Args:
        iterations: steps of the search.
        learning_rate: of Adam, > 0.

    Source: Yuan et al., AAAI 2023 (PLG-MI), section on image reconstruction, and released code, which LOKT's copies.
    """

    n_views: ClassVar[int] = 2

    iterations: int = 600
    learning_rate: float = 0.1

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        if self.learning_rate <= 0:
            raise ValueError(f"needs learning_rate > 0, got {self.learning_rate}")

    @override
    def optimizer(self, searched: list[Tensor]) -> torch.optim.Optimizer:
        return torch.optim.Adam(searched, lr=self.learning_rate)

    @override
    def draw(self, networks: Networks, latents: Tensor, rows: Rows) -> Tensor:
        images: Tensor = networks["generator"](latents, rows.labels)
        return images.clamp(0, 1)

    @override
    def views(self, images: Tensor, rows: Rows) -> list[Tensor]:
        from midef.attacks.latent_search.views import VIEW_DRAWS, slightly_changed

        return [slightly_changed(images, rows.noise.uniform(VIEW_DRAWS), jitter_p=1.0) for _ in range(self.n_views)]

    @override
    def identity_loss(self, networks: Networks, seen: list[Forward], labels: Tensor) -> Tensor:
        return torch.stack([max_margin(one.logits.float(), labels) for one in seen]).mean(dim=0)
