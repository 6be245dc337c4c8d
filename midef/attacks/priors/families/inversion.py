"""Base of the inversion networks, which learn from answers of their target that the attacker may change first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from typing_extensions import override

from midef.attacks.access import AccessLevel
from midef.attacks.priors.base import PRIORS, TargetedPrior
from midef.core.errors import AccessError
from midef.core.lazy import torch
from midef.core.seeds import derive_seed
from midef.datasets.base import Half, half_of
from midef.training.generative.inverter import AnsweredImages

if TYPE_CHECKING:
    from torch import Tensor

    from midef.attacks.base import Task
    from midef.attacks.target_handle import TargetHandle
    from midef.datasets import Splits


SMALLEST_ANSWER = 1e-7
"""Scores that noise makes smaller are set to it."""


@dataclass(frozen=True, kw_only=True)
class Inverter(TargetedPrior):
    """Base of priors trained on (answer, public image) pairs of one target, to be fed answers for private images.

    Args:
        answers: what the attacker who expects a defense of the answers does to each of them, to those it trains on and
            to those it observes alike: nothing (`as_served`), `noise`, or `softmax` once more, which brings all scores
            close together.
        answer_noise: standard deviation of `noise`, > 0, larger hides more of what the defense wrote into the small
            scores, and more of what they tell.
        half: of the public images that it is trained on, `all` or one of two that have none in common: `first` and
            `second` hold every other image, the held-out ones too. A defender of answers with the other half has
            trained on none of these.
        seed: of the networks' start, the order of the pairs, and the noise.

    The noise is normal, one draw for each answer (not one for each epoch); what falls below `SMALLEST_ANSWER` is set to
    it, as 0 would be minus infinity to a network that is fed logarithms, and the vector is divided by its sum, so it
    stays a distribution.

    Source: the adaptive attackers "random" and "softmax" of the LPA data-poisoning paper. It does not state the noise:
    its size, its law and how the vector is made a distribution again are our choice.
    """

    kind: ClassVar[str] = "inverter"
    asks: ClassVar[AccessLevel] = AccessLevel.SCORES

    answers: Literal["as_served", "noise", "softmax"] = "as_served"
    answer_noise: float = 1e-3
    half: Half = "all"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.answer_noise <= 0:
            raise ValueError(f"needs answer_noise > 0, got {self.answer_noise}; choose answers='as_served' for none")

    def answered(self, handle: TargetHandle, public: Splits) -> AnsweredImages:
        """His half of the public images with the target's answers, as this attacker uses them; `select` is held out."""
        fitting, held = half_of(torch.cat([public.train.images, public.report.images]), public.select.images, self.half)
        return AnsweredImages(
            answers=self.ask(handle, fitting, part="fitting"),
            images=fitting,
            held_answers=self.ask(handle, held, part="held out"),
            held_images=held,
        )

    @override
    def images_trained_on(self, public_images: int) -> int:
        return super().images_trained_on(public_images if self.half == "all" else -(-public_images // 2))

    def ask(self, handle: TargetHandle, images: Tensor, *, part: str) -> Tensor:
        """Answers [N, K] to images [N, 3, H, W] uint8, as this attacker uses them.

        Args:
            part: names the noise of these answers.
        """
        served = torch.cat([scores.cpu() for scores in handle.in_chunks(handle.scores, images)])
        rng = torch.Generator().manual_seed(derive_seed("answer noise", self.seed, part))
        return self._used(served, torch.randn(served.shape, generator=rng))

    def observed(self, task: Task) -> Tensor:
        """The answers [N, K] overheard for private images, changed as those in training; each row has noise of its own.

        Raises:
            AccessError: if the task has none.
        """
        from midef.attacks.priors.networks.dcgan import standard_latents

        if task.observed is None:
            name = PRIORS.describe(self).name
            raise AccessError(f"{name} needs the observed scores of one private image per reconstruction, got none")
        pairs = zip(task.labels.tolist(), task.restarts.tolist(), strict=True)
        seeds = [derive_seed("answer noise", task.seed, *pair) for pair in pairs]
        served = task.observed.cpu()
        return self._used(served, standard_latents(seeds, served.shape[1]))

    def _used(self, served: Tensor, noise: Tensor) -> Tensor:
        if self.answers == "noise":
            return noisy_answers(served, self.answer_noise * noise)
        return served.softmax(dim=1) if self.answers == "softmax" else served


def noisy_answers(answers: Tensor, noise: Tensor) -> Tensor:
    """Answers [N, K] plus noise [N, K], clipped at `SMALLEST_ANSWER`; rows sum to 1."""
    clipped = (answers + noise).clamp(min=SMALLEST_ANSWER)
    return clipped / clipped.sum(dim=1, keepdim=True)
