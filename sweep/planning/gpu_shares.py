"""Share of a GPU that a node holds: what equal work took of its memory before, on a ladder; the profile's without."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from midef.core.canonical import digest
from midef.core.errors import MidefError
from midef.core.recipe import ArtifactKey, Recipe

if TYPE_CHECKING:
    from midef.storage import Store

log = logging.getLogger(__name__)

LADDER = (1 / 8, 1 / 4, 1 / 2, 1.0)
"""Shares that are given: few, because Tune keeps processes by what they hold."""
SAFETY = 1.5
"""Times the most that equal work took: other seeds, defenses of the same name and drivers allocate otherwise."""
PROCESS_MB = 1024.0
"""MiB of a GPU that a process takes beside what its allocator counts: CUDA's context, kernels, libraries."""
_READ = 48
"""Stored artifacts whose memory is read, per kind: one request each where the store is remote."""


def share_of(peak_mb: float, card_mb: float) -> float:
    """The smallest share of the ladder in which work fits that took so much memory.

    Args:
        peak_mb: MiB that equal work took at most, as its allocator counted; above 0.
        card_mb: MiB of the smallest GPU; above 0.
    """
    needed = (SAFETY * peak_mb + PROCESS_MB) / card_mb
    return next((share for share in LADDER if share >= needed), 1.0)


def allocated_fraction(share: float, card_mb: float) -> float:
    """Fraction of a GPU's memory that the allocator of a process may take which holds this share of it, 0 to 1.

    What the process takes beside is part of its share where others hold the rest, or all of them together would take
    more than there is. A share of a small GPU leaves the allocator half of it at least.
    """
    if share >= 1:
        return 1.0
    return max(share / 2, share - PROCESS_MB / card_mb)


def footprint(recipe: Recipe) -> str:
    """Names what takes equally much memory: the same work at the same sizes, whatever the seed.

    Of a defense the name counts, not its strength; of networks that are only used their architecture.
    """
    inputs = {role: _used(needed) for role, needed in recipe.inputs.items()}
    about = [recipe.kind, recipe.component, _sizes(recipe.params), inputs]
    return f"{recipe.kind}:{digest(about)[:16]}"


def _sizes(params: Mapping[str, Any]) -> dict[str, Any]:
    sizes = {name: value for name, value in params.items() if name != "seed"}
    if "defense" in sizes:
        sizes["defense"] = str(sizes["defense"].get("name", ""))
    return sizes


def _used(recipe: Recipe) -> list[Any]:
    """What of an input decides the memory of its user: networks by architecture, anything else by its parameters."""
    if "architecture" in recipe.params:
        return [recipe.component, recipe.params["architecture"]]
    return [recipe.component, _sizes(recipe.params)]


def read_peaks(store: Store, footprints: Iterable[str]) -> dict[str, float]:
    """Most memory, in MiB, that stored artifacts took on a GPU, by footprint; those that were built whole alone."""
    sought = set(footprints)
    peaks: dict[str, float] = defaultdict(float)
    read: Counter[str] = Counter()
    for kind in sorted({one.partition(":")[0] for one in sought}):
        for key in sorted(store.artifacts.keys(kind))[:_READ]:
            try:
                facts = store.artifacts.meta(key)["facts"]
                on_gpu = not str(facts.get("device", "cpu")).startswith("cpu")
                if on_gpu and facts.get("micro_batches", 1) == 1:
                    about = footprint(store.artifacts.recipe(key))
                    peaks[about] = max(peaks[about], float(facts.get("peak_memory_mb", 0.0)))
            except (MidefError, KeyError) as error:
                log.warning("no memory is read from %s: %s", key.short, error)
            read[kind] += 1
    return {about: peak for about, peak in peaks.items() if about in sought and peak > 0}


@dataclass(frozen=True, kw_only=True)
class GpuShares:
    """Shares of a GPU by artifact. They decide where a node runs and when, never what it makes: no key knows them.

    Args:
        by_kind: of the profile: what a node holds that was never measured, and the most that a measured one gets.
        peaks: MiB that work of a footprint took at most.
        card_mb: MiB of the smallest GPU; 0 where it is not known, and nothing is measured.
    """

    by_kind: Mapping[str, float] = field(default_factory=dict)
    peaks: Mapping[str, float] = field(default_factory=dict)
    card_mb: float = 0.0
    _whole: set[ArtifactKey] = field(default_factory=set, init=False, repr=False, compare=False)
    _known: dict[ArtifactKey, float] = field(default_factory=dict, init=False, repr=False, compare=False)

    def of(self, recipe: Recipe) -> float:
        """Of the node of this artifact, if its own process does the work; 0 if it holds no GPU."""
        usual = self.by_kind.get(recipe.kind, 0.0)
        if not usual or not self.card_mb or not self.peaks:
            return usual
        if recipe.key in self._whole:
            return 1.0
        if recipe.key not in self._known:
            peak = self.peaks.get(footprint(recipe), 0.0)
            self._known[recipe.key] = min(usual, share_of(peak, self.card_mb)) if peak else usual
        return self._known[recipe.key]

    def is_measured(self, recipe: Recipe) -> bool:
        """Whether memory of equal work made this share smaller than the profile's."""
        return self.of(recipe) < self.by_kind.get(recipe.kind, 0.0)

    def give_whole(self, recipe: Recipe) -> bool:
        """Give this artifact a whole GPU from now on, because memory ran out at a measured share; whether it is new."""
        if recipe.key in self._whole or not self.is_measured(recipe):
            return False
        self._whole.add(recipe.key)
        return True

    def text(self, recipes: Iterable[Recipe]) -> str:
        """One line: how many of these nodes hold which share; "" where none does, or no GPU is known."""
        held = [(self.of(recipe), self.is_measured(recipe)) for recipe in recipes]
        counts = Counter(share for share, _ in held if share)
        if not counts or not self.card_mb:
            return ""
        measured = sum(one for _, one in held)
        said = ", ".join(f"{counts[share]:,} at {_words(share)}" for share in sorted(counts, reverse=True))
        return f"nodes by share of a GPU of {self.card_mb / 1024:.0f} GiB: {said}; {measured:,} by measured memory"


def _words(share: float) -> str:
    return f"1/{1 / share:g}" if share < 1 else f"{share:g}"


def shares_for(
    by_kind: Mapping[str, float], recipes: Iterable[Recipe], store: Store | None, card_mb: float
) -> GpuShares:
    """Shares of the nodes of a plan; the profile's alone where no store or no GPU is known.

    Args:
        by_kind: shares of the profile; empty without GPUs.
        recipes: that are to be built, or may be.
        card_mb: MiB of the smallest GPU, 0 if unknown.
    """
    if store is None or not card_mb or not by_kind:
        return GpuShares(by_kind=by_kind, card_mb=card_mb)
    sought = {footprint(recipe) for recipe in recipes if by_kind.get(recipe.kind)}
    return GpuShares(by_kind=by_kind, peaks=read_peaks(store, sought), card_mb=card_mb)
