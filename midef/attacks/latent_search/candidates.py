"""More candidates than reconstructions: each identity keeps the best, as soon as all of its own are searched."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from midef.core.lazy import torch
from midef.core.traces import Traces

if TYPE_CHECKING:
    from torch import Tensor


class Searched(NamedTuple):
    """What a search of some rows gives: by (label, restart), and the course of its rows."""

    images: dict[tuple[int, int], Tensor]
    traits: dict[tuple[int, int], Tensor]
    latents: dict[tuple[int, int], Tensor]
    traces: Traces | None


Keep = Callable[[int, "Tensor", int], Sequence[int]]
"""Which of an identity's candidates [N, 3, H, W] it keeps, so many and the best first."""


class Keeper:
    """Takes candidates part by part, in the order of their identities, and hands on what identities keep.

    No more is held than the candidates of a part and those of one identity that is not yet complete.

    Args:
        kept: how many each identity keeps.
        candidates: of each identity, numbered from 0 where reconstructions have their restart.
        keep: called once for each identity, with all of its candidates, however they were parted.
    """

    def __init__(self, kept: Mapping[int, int], candidates: int, keep: Keep) -> None:
        self._kept, self._candidates, self._keep = kept, candidates, keep
        self._held = Searched({}, {}, {}, None)

    @property
    def rows(self) -> list[tuple[int, int]]:
        """All candidates, (label, number), those of an identity together."""
        return [(label, number) for label in self._kept for number in range(self._candidates)]

    def take(self, part: Searched) -> Searched:
        """What the identities keep that are complete with this part; restart 0 is the best."""
        now = Searched(
            {**self._held.images, **part.images},
            {**self._held.traits, **part.traits},
            {**self._held.latents, **part.latents},
            Traces.joined([self._held.traces, part.traces]),
        )
        given, courses = Searched({}, {}, {}, None), []
        tables = [(now.images, given.images), (now.traits, given.traits), (now.latents, given.latents)]
        for label in dict.fromkeys(label for label, _ in now.images):
            every = [(label, number) for number in range(self._candidates)]
            if not all(pair in now.images for pair in every):
                continue
            numbers = self._keep(label, torch.stack([now.images[pair] for pair in every]), self._kept[label])
            for table, kept in tables:
                kept |= {(label, restart): table[label, n] for restart, n in enumerate(numbers) if (label, n) in table}
                for pair in every:
                    table.pop(pair, None)
            if now.traces is not None:
                courses.append(now.traces.renumbered(label, numbers))
        left = {label for label, _ in now.images}
        self._held = now._replace(traces=None if now.traces is None else now.traces.of(left))
        return given._replace(traces=Traces.joined(courses))


def too_few(searched: int, kept: int) -> list[str]:
    """Why so many candidates of an identity cannot give as many as it keeps; nothing where none are searched (0)."""
    if not 0 < searched < kept:
        return []
    return [
        f"it searches {searched} candidates for each identity and cannot keep {kept} of them; raise candidates to "
        f"{kept} or more, or lower protocol.images_per_identity"
    ]
