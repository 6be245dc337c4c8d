"""The inversion network of Yang et al.: from an answer of the target back to an image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

from midef.attacks._access import AccessLevel
from midef.attacks.priors._base import PRIORS, Prior
from midef.core.lazy import torch
from midef.core.seeds import derive_seed

if TYPE_CHECKING:
    from torch import Tensor, nn

    from midef.attacks._handle import TargetHandle
    from midef.core.recipe import Inputs
    from midef.datasets import Splits


@PRIORS.add("tcnn")
@dataclass(frozen=True, kw_only=True)
class Tcnn(Prior):
    """Transposed CNN trained on (served scores, public image) pairs of one target.

    width: channels before the last layer (128 in the paper); top: how many of the largest scores are known, None all.

    Source: Yang et al., CCS 2019, and released code: Adam 2e-4, betas (0.5, 0.999), amsgrad, batch 128, 100 epochs.
    We differ: the last epoch is kept, see `fit_inverter`.
    """

    paper: ClassVar[str] = "Yang et al., CCS 2019"
    kind: ClassVar[str] = "inverter"
    asks: ClassVar[AccessLevel | None] = AccessLevel.SCORES

    width: int = 128
    epochs: int = 100
    batch_size: int = 128
    learning_rate: float = 2e-4
    top: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.width, self.epochs) < 1 or self.batch_size < 2 or (self.top is not None and self.top < 1):
            raise ValueError("needs width, epochs and top >= 1 and batch_size >= 2")
        if self.learning_rate <= 0:
            raise ValueError(f"needs learning_rate > 0, got {self.learning_rate}")

    @override
    def networks(self, resolution_px: int, n_classes: int) -> dict[str, nn.Module]:
        from midef.attacks.priors._networks import TransposedCnn

        return {"inverter": TransposedCnn(n_classes, resolution_px, self.width)}

    @override
    def fit(
        self,
        networks: dict[str, nn.Module],
        public: Splits,
        handle: TargetHandle | None,
        *,
        inputs: Inputs,
        device: str,
        report: Callable[[dict[str, Any]], None] | None = None,
    ) -> dict[str, Any]:
        from midef.training.inverter import fit_inverter

        assert handle is not None, "an inverter is trained on answers of its target"
        fitting = torch.cat([public.train.images, public.report.images])
        return fit_inverter(
            networks["inverter"],
            self.ask(handle, fitting),
            fitting,
            held_answers=self.ask(handle, public.select.images),
            held_images=public.select.images,
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            seed=derive_seed("prior", self.seed),
            device=device,
            report=report,
        )

    def ask(self, handle: TargetHandle, images: Tensor) -> Tensor:
        """Features of the served scores of images [N, 3, H, W] uint8."""
        from midef.training.inverter import score_features

        answers = [handle.scores(part.to(handle.device).float() / 255).cpu() for part in images.split(512)]
        return score_features(torch.cat(answers), top=self.top)
