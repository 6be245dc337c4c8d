"""What attacks on the styles of a StyleGAN2 share: the pool, candidates from its best, what the target is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from typing_extensions import override

from midef.attacks.base import SmallBudget, Task
from midef.attacks.latent_search.memory import images_at_once
from midef.attacks.latent_search.template import LatentSearch, Networks, Rows
from midef.attacks.priors.base import PublicPrior, style_generator
from midef.attacks.priors.style_gan2 import StyleGan2
from midef.core.lazy import torch
from midef.core.seeds import derive_seed
from midef.defenses.midre import IMAGENET_MEAN, IMAGENET_MEAN_NORMALISED

if TYPE_CHECKING:
    from torch import Tensor

    from midef.attacks.latent_search.styles import StylePool
    from midef.attacks.priors import Prior
    from midef.attacks.target_handle import TargetHandle
    from midef.nn.network import Forward

AT_224: Mapping[str, Any] = {"erase_fill": "normalised"}
"""What all published presets share: MIDRE's code for targets of 224 px fills erased squares in normalised space."""
AT_224_DOGS: Mapping[str, Any] = {**AT_224, "iterations": 100, "learning_rate": 0.01, "crop_low": 0.75}
"""PPA's config for dogs with AFHQ, which others took."""


SMALL_RATE = 0.05
"""Learning rate of PPA in small profiles, ten times the published one.

A coordinate moves by no more than rate times steps: 0.25 as published. Latents of the prior `renderer`, and w of the
small generators trained here, have second moment 1. On a `resnet18_tiny` of 40 identities and a StyleGAN2 of 700 steps,
50 steps of 0.005, 0.02 and 0.05 brought the target's mean confidence in 80 reconstructions to 0.41, 0.81 and 0.93. The
evaluator of `mini` named 3.8, 8.7 and 8.7 % of them (chance 2.5 %), 17.5, 21.3 and 28.7 % among its five likeliest
(chance 12.5 %). IF-GMI, whose features move images far, is as sure with the published rate, and keeps it.
"""


@dataclass(frozen=True, kw_only=True)
class StyleSearch(LatentSearch):
    """Search styles w from the entries of a pool that the target is surest of, several candidates for each identity.

    One pool serves all identities of a run; another seed of the attack draws another one. Images are the prior's view
    (centre crop, resized to the target's size) and are not clipped. With a prior that has no styles, w is its latent
    and nothing is truncated. What an identity keeps is drawn anew at the evaluator's size, the crop resized straight to
    it, where the generator draws more pixels than the target takes and the evaluator takes more, too; else it is what
    the target sees. We differ from all released codes of this family: reconstructions are stored, clipped and in 8
    bits, and an evaluator that takes less than the target judges the target's view made smaller.

    Args:
        pool: latents that the target judges, >= candidates.
        candidates: searched for each identity, >= 1; `protocol.images_per_identity` of them are kept, the first of the
            pool's order where a subclass does not choose.
        psi: of the truncation, w_avg + psi (w - w_avg), 0 to 1; 1 truncates nothing.
        cutoff: how many rows of w are truncated, the first ones, >= 1.
        erase_fill: what the adaptive attacker fills squares with: `imagenet_mean` in [0, 1]; `normalised`, the same
            numbers after Normalize(0.5, 0.5), where MIDRE's released code writes them for targets of 224 px.
        prior: `style_gan2`, or one whose latents may be searched in place of styles.
    """

    judges_mirrored: ClassVar[bool] = True
    """True where the pool is judged by the mean over an image and its mirror image."""

    pool: int = 2000
    candidates: int = 200
    psi: float = 0.5
    cutoff: int = 8
    erase_fill: Literal["imagenet_mean", "normalised"] = "imagenet_mean"
    prior: PublicPrior = field(default_factory=StyleGan2, metadata=style_generator(StyleGan2))

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.candidates <= self.pool:
            raise ValueError(f"needs 1 <= candidates <= pool, got {self.candidates}, {self.pool}")
        if not 0 <= self.psi <= 1 or self.cutoff < 1:
            raise ValueError(f"needs 0 <= psi <= 1 and cutoff >= 1, got {self.psi}, {self.cutoff}")

    @override
    @classmethod
    def small(cls, budget: SmallBudget) -> Mapping[str, Any]:
        return {
            "pool": 5 * budget.search,
            "candidates": max(4, budget.search // 25),
            "iterations": min(50, budget.search),
            "prior": StyleGan2.small(budget),
        }

    @property
    @override
    def priors(self) -> Mapping[str, Prior]:
        return {"prior": self.prior}

    @property
    @override
    def candidates_per_identity(self) -> int:
        return self.candidates

    @property
    @override
    def erase_colour(self) -> tuple[float, float, float]:
        return IMAGENET_MEAN if self.erase_fill == "imagenet_mean" else IMAGENET_MEAN_NORMALISED

    @override
    def queries(self, *, reconstructions: int, identities: int) -> int:
        searched = sum(self.stage_steps) * self.n_views * self.candidates * identities
        asked = self.keep_queries(reconstructions // max(1, identities)) * identities
        return self.pool * (1 + self.judges_mirrored) + searched + asked

    def keep_queries(self, count: int) -> int:
        """Images that `keep` shows the target for an identity that keeps so many."""
        return 0

    @override
    def images_drawn(self, *, reconstructions: int, identities: int) -> int:
        return self.pool + sum(self.stage_steps) * self.candidates * identities

    @override
    def choosing_share(self, rows: int) -> float:
        return self.pool / (self.pool + 3 * sum(self.stage_steps) * self.n_views * rows)  # a step also goes back

    # ------------------------------------------------------------ rows of w

    def judged_rows(self, generator: Any, w: Tensor) -> Tensor:
        """Rows [N, num_ws, Z] of the images by which the pool is judged, of w [N, Z]."""
        rows: Tensor = generator.styles(w, self.psi, self.cutoff)
        return rows

    def starts(self, generator: Any, w: Tensor) -> Tensor:
        """What a search starts from [N, ...], of w [N, Z]; of latents where the prior has no styles."""
        raise NotImplementedError

    def rows_of(self, generator: Any, latents: Tensor) -> Tensor:
        """Rows [N, num_ws, Z] to draw, of what is searched."""
        raise NotImplementedError

    # ------------------------------------------------------------ the open steps

    def scored_pool(self, handle: TargetHandle, networks: Networks, seed: int, task: Task) -> StylePool:
        """A pool drawn from a seed, with what the target says of it."""
        from midef.attacks.latent_search.styles import StylePool, has_styles, judged, pool_latents

        generator: Any = networks["generator"]
        latents = pool_latents(seed, self.pool, int(generator.latent_dim)).to(task.device)

        def judge(images: Tensor) -> Tensor:
            views = [images, images.flip(3)] if self.judges_mirrored else [images]
            scores = [self.ask(handle, networks, view)[0].logits.double().softmax(dim=1) for view in views]
            return torch.stack(scores).mean(dim=0)

        def rows(w: Tensor) -> Tensor:
            return self.judged_rows(generator, w)

        with torch.no_grad(), self.autocast(task):
            scores = judged(generator, latents, rows, judge, handle, images_at_once(task.device, generator))
            starts = self.starts(generator, generator.mapping(latents) if has_styles(generator) else latents)
        return StylePool(starts, scores)

    @override
    def choose(self, handle: TargetHandle, networks: Networks, task: Task) -> Mapping[tuple[int, int], Tensor]:
        pool = self.scored_pool(handle, networks, derive_seed("pool", task.seed), task)
        return {
            (label, number): start
            for label in sorted(set(task.labels.tolist()))
            for number, start in enumerate(pool.surest(label, self.candidates))
        }

    @override
    def draw(self, networks: Networks, latents: Tensor, rows: Rows) -> Tensor:
        return self.drawn(networks["generator"], latents)

    def drawn(self, generator: Any, latents: Tensor, *, clip: bool = False) -> Tensor:
        """Images [N, 3, px, px] about [0, 1] of what is searched, clipped to that before the view if so said."""
        from midef.attacks.latent_search.styles import has_styles, shown

        if not has_styles(generator):
            images: Tensor = generator(latents)
            return images
        return shown(generator, generator.synthesis(self.rows_of(generator, latents)), clip=clip)

    @override
    def keep(
        self, handle: TargetHandle, networks: Networks, label: int, images: Tensor, count: int, task: Task
    ) -> Sequence[int]:
        return range(count)


@dataclass(frozen=True, kw_only=True)
class PoincareSearch(StyleSearch):
    """Adam on the Poincare loss of one random crop of the image in each step; all layers share one w.

    Args:
        iterations: steps of the search.
        learning_rate: of Adam, whose betas are both 0.1, > 0; a coordinate of w moves by about this in a step.
        rate_drops: shares of the steps, 0 to 1, from which on the learning rate is a tenth of what it was.
        crop_low: least share of the area that a crop of a step keeps, (0, 1]; it is resized to the whole.
        score_with_single_w: the pool is judged by images whose every layer has the truncated w, which is what the
            search starts from (MIBench); False truncates the first `cutoff` rows alone, so that a search starts from
            another image than was judged (PPA's released code).
        clip_in_loop: whether images are clipped to [-1, 1] in every step, and where candidates are ranked.

    Source: Struppek et al., ICML 2022 (PPA), released code. We differ: every image has a crop of its own, where
    torchvision crops all images of a batch alike, so that no image depends on its batch; losses are summed over a
    batch, not averaged, which Adam does not notice but for its epsilon; the discriminator, whose weight is 0 in every
    released config, is left out.
    """

    iterations: int = 50
    learning_rate: float = 0.005
    rate_drops: tuple[float, ...] = ()
    crop_low: float = 0.9
    score_with_single_w: bool = False
    clip_in_loop: bool = False

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        if self.learning_rate <= 0 or not 0 < self.crop_low <= 1:
            raise ValueError(
                f"needs learning_rate > 0 and 0 < crop_low <= 1, got {self.learning_rate}, {self.crop_low}"
            )
        if not all(0 <= drop <= 1 for drop in self.rate_drops):
            raise ValueError(f"needs rate_drops from 0 to 1, shares of the steps, got {self.rate_drops}")

    @override
    def judged_rows(self, generator: Any, w: Tensor) -> Tensor:
        return (
            self.rows_of(generator, self.starts(generator, w))
            if self.score_with_single_w
            else super().judged_rows(generator, w)
        )

    @override
    def starts(self, generator: Any, w: Tensor) -> Tensor:
        from midef.attacks.latent_search.styles import has_styles

        if not has_styles(generator):
            return w
        first: Tensor = generator.styles(w, self.psi, self.cutoff)[:, 0]
        return first

    @override
    def rows_of(self, generator: Any, latents: Tensor) -> Tensor:
        rows: Tensor = generator.styles(latents)
        return rows

    @override
    def optimizer(self, searched: list[Tensor]) -> torch.optim.Optimizer:
        return torch.optim.Adam(searched, lr=self.learning_rate, betas=(0.1, 0.1))

    @override
    def rate(self, progress: float) -> float:
        return float(0.1 ** sum(progress >= drop for drop in self.rate_drops))

    @override
    def draw(self, networks: Networks, latents: Tensor, rows: Rows) -> Tensor:
        return self.drawn(networks["generator"], latents, clip=self.clip_in_loop)

    @override
    def views(self, images: Tensor, rows: Rows) -> list[Tensor]:
        from midef.attacks.latent_search.views import CROP_DRAWS, randomly_cropped

        return [randomly_cropped(images, rows.noise.uniform(CROP_DRAWS), scale=(self.crop_low, 1.0))]

    @override
    def identity_loss(self, networks: Networks, seen: list[Forward], labels: Tensor) -> Tensor:
        from midef.attacks.latent_search.poincare import poincare_loss

        return poincare_loss(seen[0].logits, labels)
