"""Answers of a target to queries, changed by the parts of its defense that say so. White-box attackers see none."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midef.core.errors import MidefError, SpecError
from midef.core.lazy import torch
from midef.core.seeds import derive_seed
from midef.defenses.stack import name_of

if TYPE_CHECKING:
    from torch import Tensor

    from midef.defenses.base import Defense


@dataclass(frozen=True)
class Query:
    """Images that a target is asked about at once, and what it says of them.

    Args:
        images: [B, 3, H, W] in [0, 1].
        probabilities: [B, K] of the network, or of the part before in a stack; rows sum to 1.
        labels: [B] int64, the classes that the network predicts, whatever the parts before made of them.
        secret: of the server, with its purpose; attackers do not know it.
    """

    images: Tensor
    probabilities: Tensor
    labels: Tensor
    secret: int = 0

    def __len__(self) -> int:
        return len(self.probabilities)

    @cached_property
    def digests(self) -> tuple[str, ...]:
        """One for each image, of its 8-bit pixels: equal images have equal random streams, and nothing else enters."""
        pixels = (self.images.detach().clamp(0, 1) * 255).round().to(torch.uint8).cpu().contiguous().numpy()
        return tuple(hashlib.sha256(image.tobytes()).hexdigest() for image in pixels)

    def normal(self, columns: int) -> Tensor:
        """[B, columns] standard normal, each row from its image's own stream."""
        return self._rows(lambda rng: torch.randn(columns, generator=rng))

    def uniform(self, columns: int) -> Tensor:
        """[B, columns] uniform in [0, 1), each row from its image's own stream."""
        return self._rows(lambda rng: torch.rand(columns, generator=rng))

    def rows(self, index: slice) -> Query:
        """The query about some of the images only."""
        return Query(self.images[index], self.probabilities[index], self.labels[index], self.secret)

    def _rows(self, draw: Callable[[Any], Tensor]) -> Tensor:
        seeds = [derive_seed("answer", self.secret, digest) for digest in self.digests]
        drawn = [draw(torch.Generator().manual_seed(seed)) for seed in seeds]
        return torch.stack(drawn).to(self.probabilities)  # drawn on the CPU: the same numbers on every device


@dataclass(frozen=True)
class Served:
    """A target that a server holds, for a part of its defense to prepare its answers.

    Args:
        path: the folder of an artifact by its role, of those that the part asks for in `serving`.
    """

    n_classes: int
    resolution_px: int
    device: str
    path: Callable[[str], Path]


Answering = Callable[["Defense", Query, Any], "Tensor"]
"""Served probabilities [B, K] of a part, for a query and the part's state."""


def answered(part: Defense, query: Query, state: Any) -> Tensor:
    """What the part answers."""
    return part.answer(query, state)


class Serving:
    """Answers with the probabilities of a network, changed by the parts of its defense in the order of the stack.

    A part is given the probabilities that the part before it gives, and always the labels of the network. Each part has
    random streams of its own.

    Args:
        path: the folder of an artifact by its role, `part.role`; None where the defense needs none.
        secret: seeds the random streams of the parts. The same image asked twice gets the same answer, whoever asks.
        answering: in place of the plain call of a part, such as a compiled one.
    """

    def __init__(
        self,
        defense: Defense,
        n_classes: int,
        *,
        device: str = "cpu",
        path: Callable[[str], Path] | None = None,
        secret: int = 0,
        answering: Answering = answered,
    ) -> None:
        self.parts: Sequence[Defense] = [part for part in defense.parts() if part.changes_answers]
        self.n_classes = n_classes
        self.device = device
        self._path = path
        self._secret = secret
        self._answering = answering
        self._states: list[Any] | None = None

    def __call__(self, images: Tensor, probabilities: Tensor) -> Tensor:
        """Served probabilities [B, K], without gradients.

        Args:
            images: [B, 3, H, W] in [0, 1].
            probabilities: [B, K] of the network.

        Raises:
            MidefError: if a part answers finite probabilities with numbers that are not finite.
        """
        if not self.parts:
            return probabilities
        query = Query(images.detach(), probabilities.detach(), probabilities.argmax(dim=1))
        for part, state in zip(self.parts, self.states(images.shape[-1]), strict=True):
            query = replace(query, secret=derive_seed(self._secret, name_of(part)))
            answers = self._answering(part, query, state).detach()
            if torch.isfinite(query.probabilities).all() and not torch.isfinite(answers).all():
                raise MidefError(f"{name_of(part)} answered with numbers that are not finite", failure="diverged")
            query = replace(query, probabilities=answers)
        return query.probabilities

    def states(self, resolution_px: int) -> list[Any]:
        """What each part answers with; read from the artifacts once, when the first query comes or this is called."""
        if self._states is None:
            self._states = [part.answer_state(self._served_to(part, resolution_px)) for part in self.parts]
        return self._states

    def _served_to(self, part: Defense, resolution_px: int) -> Served:
        def path(role: str) -> Path:
            if self._path is None:
                raise SpecError(
                    f"{name_of(part)} answers with the help of {role!r}, which was not given; serve a stored target by "
                    "midef.stages.handle"
                )
            return self._path(f"{name_of(part)}.{role}")

        return Served(self.n_classes, resolution_px, self.device, path)
