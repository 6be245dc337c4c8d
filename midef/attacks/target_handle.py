"""The target as an attacker sees it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from midef.attacks.access import AccessLevel
from midef.core.errors import AccessError
from midef.core.in_step import in_step
from midef.defenses import Defense
from midef.defenses.families.low_rank import LowRankHead
from midef.defenses.serving import Serving
from midef.nn.network import Forward, TargetModel, freeze_
from midef.nn.resize import resized

Answer = TypeVar("Answer")

CHUNK = 512
"""Images `in_chunks` asks about at once. Changes memory and speed; results only of defenses that answer jointly."""


class BlackBoxModel(Protocol):
    """A target that nobody here holds: it can only be asked."""

    @property
    def name(self) -> str:
        """Its name in messages."""

    @property
    def access(self) -> AccessLevel:
        """What it answers, scores or labels."""

    @property
    def n_classes(self) -> int:
        """Classes K."""

    def __call__(self, images: Tensor) -> Tensor:
        """Scores [B, K], or labels [B] int64, of images [B, 3, H, W] in [0, 1], on their device."""


class TargetHandle:
    """Offers what the access level allows, and counts queries (one per image).

    A white-box attacker holds the weights, so `run` answers without what the defense does to answers; `scores` and
    `labels` answer through it. Of a model that can only be asked, the access level is at most what it answers.

    Args:
        model: a network, or a model that can only be asked.
        seed: of the server, which is the same for all who ask it.
        artifacts: folder of what the answers of the defense need, by role; None where they need none.
        resolution_px: of the images that the target takes; None where all images of an attack have it.
    """

    def __init__(
        self,
        model: TargetModel | BlackBoxModel,
        defense: Defense,
        access: AccessLevel,
        *,
        device: str = "cpu",
        seed: int = 0,
        artifacts: Callable[[str], Path] | None = None,
        resolution_px: int | None = None,
    ) -> None:
        self.access = access
        if isinstance(model, nn.Module):
            freeze_(model)
            self._model: TargetModel | None = model.to(device)
            self._black_box: BlackBoxModel | None = None
        else:
            self._model, self._black_box = None, model
            self.access = min(access, model.access)
        self._n_classes = model.n_classes
        self._serving = Serving(defense, model.n_classes, device=device, path=artifacts, secret=seed)
        self.device = device
        self.resolution_px = resolution_px
        self.queries = 0
        self._drifting: TargetModel | None = None

    @property
    def n_classes(self) -> int:
        return self._n_classes

    def lay_out(self, layout: torch.memory_format) -> None:
        """Change how the weights lie in memory; answers stay the same up to rounding."""
        if self._model is not None:
            self._model.to(memory_format=layout)

    @in_step
    def sized(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, H] at the resolution that the target takes."""
        return images if self.resolution_px is None else resized(images, self.resolution_px)

    @in_step
    def run(self, images: Tensor) -> Forward:
        """Logits and features with gradients to `images` [B, 3, H, W] in [0, 1]; the weights are frozen.

        Raises:
            AccessError: below white-box access.
        """
        model = self._held("run")
        self.queries += len(images)
        result: Forward = model(images)
        return result

    @in_step
    def run_and_skip_activation(self, images: Tensor) -> tuple[Forward, Forward]:
        """What `run` gives, and the same with logits computed without the activation inside a head of low rank.

        One query for each image. The two are equal where the head has no activation inside.

        Raises:
            AccessError: below white-box access.
        """
        seen, head = self.run(images), self._held("run_and_skip_activation").head
        return seen, seen._replace(logits=head.linear(seen.features)) if isinstance(head, LowRankHead) else seen

    @torch.no_grad()
    def run_in_train_mode(self, images: Tensor) -> Tensor:
        """Logits [B, K] as released codes get them that forget to call `eval()`: batch statistics, active dropout.

        Statistics drift in a copy; `run` and served answers stay as they are. For faithful comparisons only.

        Raises:
            AccessError: below white-box access.
        """
        model = self._held("run_in_train_mode")
        self.queries += len(images)
        if self._drifting is None:
            self._drifting = copy.deepcopy(model).train()
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

    @in_step
    @torch.no_grad()
    def _serve(self, images: Tensor) -> Tensor:
        self.queries += len(images)
        probabilities = self._probabilities(images)
        with torch.autocast(images.device.type, enabled=False):  # how the attacker computes is not the server's affair
            return self._serving(images, probabilities)

    def _probabilities(self, images: Tensor) -> Tensor:
        """Probabilities [B, K] of the target; of one that answers with labels 1 for the label."""
        if self._model is not None:
            return torch.softmax(self._model(images).logits.float(), dim=1)
        assert self._black_box is not None, "a handle is made on one of the two"
        answers = self._black_box(images)
        return answers.float() if answers.ndim == 2 else F.one_hot(answers, self._n_classes).float()

    def _held(self, what: str) -> TargetModel:
        """The network of an attacker who holds it."""
        self._allow(AccessLevel.WHITE_BOX, what)
        assert self._model is not None, "a model that can only be asked is below white box"
        return self._model

    def _allow(self, needed: AccessLevel, what: str) -> None:
        if self.access >= needed:
            return
        if self._black_box is not None and self._black_box.access < needed:
            raise AccessError(
                f"{self._black_box.name} can only be asked, for {self._black_box.access.words}; the attack asked for "
                f"{what!r}. Choose an attack of this access level, or give the network itself"
            )
        raise AccessError(f"this attack has access level '{self.access.words}' but asked for {what!r}")
