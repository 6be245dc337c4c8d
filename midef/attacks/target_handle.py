"""The target as an attacker sees it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from midef.attacks.access import AccessLevel
from midef.core.errors import AccessError
from midef.defenses import Defense
from midef.defenses.serving import Serving
from midef.nn.network import Forward, TargetModel, freeze_
from midef.nn.resize import resized

Answer = TypeVar("Answer")

CHUNK = 512
"""Images `in_chunks` asks about at once. Changes memory and speed; results only of defenses that answer jointly."""


class TargetHandle:
    """Offers what the access level allows, and counts queries (one per image).

    A white-box attacker holds the weights, so `run` answers without what the defense does to answers; `scores` and
    `labels` answer through it.

    Args:
        seed: of the server, which is the same for all who ask it.
        artifacts: folder of what the answers of the defense need, by role; None where they need none.
        resolution_px: of the images that the target takes; None where all images of an attack have it.
    """

    def __init__(
        self,
        model: TargetModel,
        defense: Defense,
        access: AccessLevel,
        *,
        device: str = "cpu",
        seed: int = 0,
        artifacts: Callable[[str], Path] | None = None,
        resolution_px: int | None = None,
    ) -> None:
        freeze_(model)
        self._model = model.to(device)
        self._serving = Serving(defense, model.n_classes, device=device, path=artifacts, secret=seed)
        self.access = access
        self.device = device
        self.resolution_px = resolution_px
        self.queries = 0
        self._drifting: TargetModel | None = None

    @property
    def n_classes(self) -> int:
        return self._model.n_classes

    def lay_out(self, layout: torch.memory_format) -> None:
        """Change how the weights lie in memory; answers stay the same up to rounding."""
        self._model.to(memory_format=layout)

    def sized(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, H] at the resolution that the target takes."""
        return images if self.resolution_px is None else resized(images, self.resolution_px)

    def run(self, images: Tensor) -> Forward:
        """Logits and features with gradients to `images` [B, 3, H, W] in [0, 1]; the weights are frozen.

        Raises:
            AccessError: below white-box access.
        """
        self._allow(AccessLevel.WHITE_BOX, "run")
        self.queries += len(images)
        result: Forward = self._model(images)
        return result

    @torch.no_grad()
    def run_in_train_mode(self, images: Tensor) -> Tensor:
        """Logits [B, K] as released codes get them that forget to call `eval()`: batch statistics, active dropout.

        Statistics drift in a copy; `run` and served answers stay as they are. For faithful comparisons only.

        Raises:
            AccessError: below white-box access.
        """
        self._allow(AccessLevel.WHITE_BOX, "run_in_train_mode")
        self.queries += len(images)
        if self._drifting is None:
            self._drifting = copy.deepcopy(self._model).train()
        logits: Tensor = self._drifting(images).logits
        return logits

    def scores(self, images: Tensor) -> Tensor:
        """Served probabilities [B, K], without gradients.

        Raises:
            AccessError: with label-only access.
        """
        self._allow(AccessLevel.SCORES, "scores")
        return self._serve(images)

    def labels(self, images: Tensor) -> Tensor:
        """Served labels [B] int64."""
        return self._serve(images).argmax(dim=1)

    def in_chunks(self, ask: Callable[[Tensor], Answer], images: Tensor) -> Iterator[Answer]:
        """Answers to images [N, 3, H, W] uint8 at the resolution the target takes, `CHUNK` at a time, no gradients.

        Args:
            ask: a question of this handle, such as `run` or `scores`.
        """
        for part in images.split(CHUNK):
            with torch.no_grad():
                answer = ask(self.sized(part.to(self.device).float() / 255))
            yield answer

    @torch.no_grad()
    def _serve(self, images: Tensor) -> Tensor:
        self.queries += len(images)
        return self._serving(images, torch.softmax(self._model(images).logits.float(), dim=1))

    def _allow(self, needed: AccessLevel, what: str) -> None:
        if self.access < needed:
            raise AccessError(f"this attack has access level '{self.access.words}' but asked for {what!r}")
