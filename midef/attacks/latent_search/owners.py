"""Who owns the rows of a latent search: reconstructions, identities or candidates; what is drawn from their rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from midef.attacks.base import Reconstructions, Task
from midef.attacks.latent_search.candidates import Keeper, Searched, too_few
from midef.attacks.latent_search.loop import Ended, run_stages
from midef.attacks.latent_search.memory import images_at_once, in_parts, one_by_one
from midef.attacks.latent_search.rows import Networks, Pair, known_traits, nan_where, not_finite_rows, rows_of
from midef.core.errors import SpecError
from midef.core.lazy import torch
from midef.core.position import share
from midef.core.traces import Traces

if TYPE_CHECKING:
    from torch import Tensor

    from midef.attacks.latent_search.template import LatentSearch
    from midef.attacks.target_handle import TargetHandle


@dataclass(frozen=True)
class OwnedSearch:
    """The search of all reconstructions of a task.

    A row belongs to a reconstruction, to an identity whose reconstructions are all drawn from it (`per_identity`), or
    to a candidate, of which the identity keeps some.

    Args:
        networks: of the attack's priors.
    """

    attack: LatentSearch
    handle: TargetHandle
    networks: Networks
    task: Task

    @cached_property
    def pairs(self) -> list[Pair]:
        """The reconstructions, in the order of the task."""
        return list(zip(self.task.labels.tolist(), self.task.restarts.tolist(), strict=True))

    def reconstructions(self) -> Reconstructions:
        """Choose where to start, search, and draw what was found."""
        attack, task, pairs = self.attack, self.task, self.pairs
        owners = sorted({self._owner(*pair) for pair in pairs}) if attack.per_identity else pairs
        keeper = self._keeper() if attack.candidates_per_identity else None
        owners = owners if keeper is None else keeper.rows
        with share(0.0, first := attack.choosing_share(len(owners))):
            chosen = attack.choose(self.handle, self.networks, task)
        chunk = max(1, images_at_once(task.device, self.networks.get("generator")) // attack.images_per_row)

        def part_of(begin: int, end: int) -> Searched:
            with share(*(first + (1 - first) * rows / len(owners) for rows in (begin, end))):
                return self.found(owners[begin:end], chosen)

        def larger(kept: Searched) -> Searched:
            return self._larger(kept, chunk)

        parts = one_by_one(len(owners), chunk, self.handle, part_of)
        found = list(parts if keeper is None else map(larger, map(keeper.take, parts)))
        images = {pair: image for part in found for pair, image in part.images.items()}
        traits = {pair: known for part in found for pair, known in part.traits.items()}
        latents = {pair: latent for part in found for pair, latent in part.latents.items()}
        return Reconstructions(
            torch.stack([images[pair] for pair in pairs]).clamp(0, 1),
            task.labels,
            task.restarts,
            torch.ones_like(task.labels).bool(),
            torch.stack([traits[pair] for pair in pairs]) if traits else None,
            Traces.joined([part.traces for part in found]),
            torch.stack([latents[pair] for pair in pairs]) if attack.latents_give_images else None,
        )

    def found(self, owners: Sequence[Pair], chosen: Mapping[Pair, Tensor]) -> Searched:
        """Search the rows of these owners together; give what is drawn from them, and the course.

        Args:
            chosen: latents to start from; empty where none were chosen.
        """
        from midef.attacks.latent_search.recording import StepRecorder

        recorder = StepRecorder(owners, sum(self.attack.stage_steps))
        begin = torch.stack([chosen[owner] for owner in owners]) if chosen else None
        rows = replace(rows_of("latent", owners, self.task), chosen=begin, recorder=recorder)
        ended = run_stages(self.attack, self.handle, self.networks, rows, self.task)
        return self._drawn(owners, ended)._replace(traces=recorder.traces())

    def _drawn(self, owners: Sequence[Pair], ended: Ended) -> Searched:
        """Images of what these owners own, and what is known of them.

        Images of candidates are those the target is shown, by which they are chosen; others are as large as asked.
        """
        attack, task, networks = self.attack, self.task, self.networks
        shown = networks if attack.candidates_per_identity else shown_at(networks, task.kept_px)
        row_of = {owner: i for i, owner in enumerate(owners)}
        pairs = self.pairs if attack.per_identity else owners
        waiting = [pair for pair in pairs if self._owner(*pair) in row_of]
        drawn_of = Searched({}, {}, {}, None)
        while waiting:
            part, waiting = waiting[: len(owners)], waiting[len(owners) :]  # no more at once than were searched: memory
            which = [row_of[self._owner(*pair)] for pair in part]
            final = replace(rows_of("sample", part, task), stage=ended.stage)
            with torch.no_grad(), attack.autocast(task):
                latents, drawn = attack.final_images(shown, [t.detach()[which] for t in ended.searched], final)
                drawn = drawn.float()
                is_lost = ended.lost[which] | not_finite_rows([latents])
                drawn_of.images.update(zip(part, nan_where(is_lost, drawn).cpu(), strict=True))
                drawn_of.latents.update(zip(part, latents.cpu(), strict=True))
                if (known := known_traits(networks["generator"], latents)) is not None:
                    drawn_of.traits.update(zip(part, known, strict=True))
        return drawn_of

    def _larger(self, kept: Searched, at_once: int) -> Searched:
        """What identities keep, whose images are those the target was shown: drawn again if larger ones are asked for.

        Args:
            at_once: images that are drawn together, as memory holds.
        """
        attack, task = self.attack, self.task
        if task.kept_px is None or not kept.images:
            return kept
        pairs, networks = list(kept.images), shown_at(self.networks, task.kept_px)

        def part(begin: int, end: int) -> Tensor:
            some = pairs[begin:end]
            latents = torch.stack([kept.latents[pair] for pair in some]).to(task.device)
            with torch.no_grad(), attack.autocast(task):
                drawn = attack.draw(networks, latents, rows_of("sample", some, task)).float().cpu()
            return nan_where(not_finite_rows([torch.stack([kept.images[pair] for pair in some])]), drawn)

        images = torch.cat(in_parts(len(pairs), at_once, self.handle, part))
        return kept._replace(images=dict(zip(pairs, images, strict=True)))

    def _owner(self, label: int, restart: int) -> Pair:
        """The row that a reconstruction is drawn from: its own, or the one of its identity."""
        return label, -1 if self.attack.per_identity else restart

    def _keeper(self) -> Keeper:
        kept: dict[int, int] = {}
        for label, restart in self.pairs:
            kept[label] = max(kept.get(label, 0), restart + 1)
        if problems := too_few(self.attack.candidates_per_identity, max(kept.values(), default=0)):
            raise SpecError(problems)

        def keep(label: int, images: Tensor, count: int) -> Sequence[int]:
            return self.attack.keep(self.handle, self.networks, label, images, count, self.task)

        return Keeper(kept, self.attack.candidates_per_identity, keep)


def shown_at(networks: Networks, px: int | None) -> Networks:
    """The same networks, with a generator whose images have so many px, see `Prior.drawn_px`; None changes nothing."""
    if px is None:
        return networks
    generator: Any = networks["generator"]
    return {**networks, "generator": generator.showing(px)}
