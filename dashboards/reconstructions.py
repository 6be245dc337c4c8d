"""The reconstructions of one setup: the same identities for every defense, picked by a rule and not by eye."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from midef.core import ArtifactKey, StoreError
from midef.dashboards.page_data import Grid, Shot, Strip
from midef.dashboards.pictures import content_of, picture
from midef.results.summary import SummaryRow
from midef.storage.arrays import read_arrays

IDENTITIES = 8


@dataclass(frozen=True, kw_only=True)
class Extent:
    """How many pictures of a defense a page keeps.

    Args:
        seeds: of the sweep, the common one first.
        restarts: of each identity.
        blocks: of `IDENTITIES` identities.
    """

    seeds: int = 1
    restarts: int = 1
    blocks: int = 1

    @classmethod
    def of_page(cls, cells: int) -> Extent:
        """All that is worth choosing from on a small page; of thousands of cells one picture a defense.

        Args:
            cells: defenses with reconstructions, times their seeds.
        """
        return next((extent for most, extent in _EXTENTS if cells <= most), cls())


_EXTENTS = (
    (60, Extent(seeds=3, restarts=3, blocks=3)),
    (200, Extent(seeds=3, restarts=2, blocks=2)),
    (600, Extent(seeds=2, restarts=1, blocks=2)),
)
"""By the largest number of cells. A picture takes about 10 ms to write and 10 kB."""

Fetch = Callable[[ArtifactKey], Path]
Arrays = dict[str, Any]

_UNREADABLE = (StoreError, OSError, KeyError, ValueError, zipfile.BadZipFile)


class _Source(NamedTuple):
    """Stored reconstructions of a defense, images apart: they are read when they are drawn.

    Args:
        row: its summary.
        seed: whose reconstructions are shown.
        images_key: of the reconstructions.
        scores_key: of their scores, "" without.
        names: labels and restarts of the images; None if there are none.
        reason: why there are none.
    """

    row: SummaryRow
    seed: int = 0
    images_key: str = ""
    scores_key: str = ""
    names: Arrays | None = None
    reason: str = ""


class _Writer:
    """Writes the pictures of one setup to a folder, and collects what cannot be read.

    Args:
        fetch: gives the folder of a stored artifact.
        out: folder of the page.
    """

    def __init__(self, fetch: Fetch, out: Path) -> None:
        self.fetch, self.out = fetch, out
        self.warnings: list[str] = []

    def warn(self, row: SummaryRow, problem: str) -> None:
        self.warnings.append(f"{row.setup}, {row.defense}: {problem}")

    def source(self, row: SummaryRow, seed: int) -> _Source:
        """Reconstructions of a seed, or of the first there is."""
        stored = next((one for one in row.stored if one[0] == seed), row.stored[0] if row.stored else None)
        if stored is None:
            return _Source(row, reason=row.problems[0].reason if row.problems else "no reconstructions are stored")
        try:
            return _Source(row, *stored, _read(self.fetch, stored[1], "images.npz", ("labels", "restarts")))
        except _UNREADABLE as error:
            self.warn(row, f"reconstructions cannot be read: {error}")
            return _Source(row, *stored, reason=f"cannot be read: {error}")

    def strip(self, source: _Source, blocks: Sequence[Sequence[int]], seed: int, extent: Extent) -> Strip:
        """Row of the grid of one defense: pictures of its source, then those of further seeds.

        Args:
            source: reconstructions of the seed that is shown first.
            blocks: identities of each block.
            seed: that the other defenses show.
            extent: what is kept.
        """
        row = source.row
        if source.names is None:
            return Strip(row.defense, reason=source.reason)
        try:
            shots = self._shots(source, blocks, extent)
        except (*_UNREADABLE, IndexError) as error:
            self.warn(row, f"reconstructions cannot be read: {error}")
            return Strip(row.defense, reason=f"cannot be read: {error}")
        others = [one for one in row.stored if one[0] != source.seed and one[0] in row.shown_seeds]
        for other in others[: extent.seeds - 1]:
            further = self.source(row, other[0])
            try:
                shots += self._shots(further, blocks, extent) if further.names is not None else []
            except (*_UNREADABLE, IndexError) as error:
                self.warn(row, f"reconstructions of seed {other[0]} cannot be read: {error}")
        title = row.defense if source.seed == seed else f"{row.defense} (seed {source.seed})"
        return Strip(title, shots[0].file, shots[0].marks, shots=tuple(shots))

    def _shots(self, source: _Source, blocks: Sequence[Sequence[int]], extent: Extent) -> list[Shot]:
        """Write the pictures of one seed, those apart that the folder has."""
        row, names = source.row, source.names
        assert names is not None
        scores, problem = (Arrays(), "") if row.is_excluded else _scores(self.fetch, source.scores_key, names)
        if problem:
            self.warn(row, problem)
        without = "excluded" if row.is_excluded else "unknown"  # a sign would say that somebody judged them
        content = content_of(self.fetch(ArtifactKey.parse(source.images_key)) / "images.npz")

        @cache
        def images() -> Any:
            # One cell at a time: at 224 px the images of a setup do not fit in memory together.
            return _read(self.fetch, source.images_key, "images.npz", ("images",))["images"]

        shots = []
        for restart in range(extent.restarts):
            for block, labels in enumerate(blocks):
                picks = [_restart(names, label, restart) for label in labels]
                if restart and all(pick is None for pick in picks):
                    continue
                file = picture(self.out, [source.images_key, content, picks], partial(_picked, images, picks))
                marks = (
                    "absent" if p is None else without if not scores else "hit" if scores["hit_at_1"][p] else "miss"
                    for p in picks
                )
                fives = (
                    "?" if p is None or "hit_at_5" not in scores else "ny"[int(scores["hit_at_5"][p])] for p in picks
                )
                best, nearest = scores.get("best_5"), scores.get("nearest_distance")
                shots.append(
                    Shot(
                        source.seed,
                        restart,
                        block,
                        file,
                        tuple(marks),
                        "".join(fives),
                        () if best is None else tuple(() if p is None else tuple(map(int, best[p])) for p in picks),
                        () if nearest is None else tuple(None if p is None else _finite(nearest[p]) for p in picks),
                    )
                )
        return shots

    def private_strip(self, scores_keys: Sequence[str], blocks: Sequence[Sequence[int]], setup: str) -> Strip:
        """Row of the grid with private exemplars of the identities."""
        problem = "no scores are stored, so there are no private exemplars"
        for key in scores_keys:
            try:
                exemplars = _read(self.fetch, key, "exemplars.npz", ("images", "labels"))
            except _UNREADABLE as error:
                problem = f"private exemplars cannot be read: {error}"
                continue
            by_label = {int(label): i for i, label in reversed(list(enumerate(exemplars["labels"])))}
            shots = []
            for block, labels in enumerate(blocks):
                picks = [by_label.get(label) for label in labels]
                images = partial(_picked, partial(exemplars.__getitem__, "images"), picks)
                file = picture(self.out, [key, "exemplars", picks], images, is_private=True)
                marks = tuple("absent" if p is None else "private" for p in picks)
                shots.append(Shot(0, 0, block, file, marks, "?" * len(picks)))
            return Strip("private", shots[0].file, shots[0].marks, shots=tuple(shots))
        self.warnings.append(f"{setup}: {problem}")
        return Strip("private", reason=problem)


def write_grid(
    group: Sequence[SummaryRow],
    fetch: Fetch,
    out: Path,
    *,
    with_private_exemplars: bool = False,
    extent: Extent | None = None,
) -> tuple[Grid, list[str]]:
    """Write the pictures of one setup to `out`/img.

    A picture that cannot be read is a strip with a reason.

    Args:
        group: summary rows of the setup.
        fetch: gives the folder of a stored artifact.
        out: folder of the page.
        with_private_exemplars: show private images of people; unless they are generated, they are not even read
            without.
        extent: how many pictures of a defense are written; one by default.

    Returns:
        What the pictures show, and warnings about what could not be read.
    """
    import numpy as np

    writer, seed, extent = _Writer(fetch, out), _common_seed(group), extent or Extent()
    sources = [writer.source(row, seed) for row in group]
    attacked = {int(label) for one in sources if one.names is not None for label in np.unique(one.names["labels"])}
    kept = sorted(attacked)[: IDENTITIES * extent.blocks]
    blocks = tuple(tuple(kept[i : i + IDENTITIES]) for i in range(0, len(kept), IDENTITIES))
    labels = blocks[0] if blocks else ()
    strips = tuple(writer.strip(source, blocks, seed, extent) for source in sources)
    private: Strip | None = None
    if labels and not (with_private_exemplars or all(row.shows_nobody for row in group)):
        private = Strip("private", reason="withheld: pictures of people; build with private exemplars to show them")
    elif labels:
        private = writer.private_strip([one.scores_key for one in sources if one.scores_key], blocks, group[0].setup)
    rule = (
        f"the first {len(labels)} attacked identities by label, the first restart of each, seed {seed}; "
        "the same for every defense"
    )
    shots = [shot for strip in strips for shot in strip.shots]
    return (
        Grid(
            labels,
            rule if labels else "",
            private,
            strips,
            blocks,
            tuple(dict.fromkeys([seed, *sorted({shot.seed for shot in shots})])) if shots else (),
            1 + max((shot.restart for shot in shots), default=-1),
        ),
        writer.warnings,
    )


def _common_seed(group: Sequence[SummaryRow]) -> int:
    """The lowest seed that all defenses with reconstructions share, else the lowest there is; of those that are
    compared, where any is."""
    compared = [row for row in group if not row.has_own_seeds]
    seeds = [{seed for seed, *_ in row.stored} for row in compared or group if row.stored]
    if not seeds:
        return 0
    return min(set.intersection(*seeds) or set.union(*seeds))


def _read(fetch: Fetch, key: str, file: str, names: Sequence[str], more: Sequence[str] = ()) -> Arrays:
    """Arrays of a stored file; those of `more` where it holds them."""
    path = fetch(ArtifactKey.parse(key)) / file
    columns = read_arrays(path, names) | (read_arrays(path, more, optional=True) if more else {})
    if len({len(a) for a in columns.values()}) != 1:
        raise ValueError(f"{file} holds arrays of different length")
    return columns


def _scores(fetch: Fetch, scores_key: str, images: Arrays) -> tuple[Arrays, str]:
    """What is stored of each reconstruction, its success at least; or nothing, and why not."""
    import numpy as np

    if not scores_key:
        return {}, "no scores are stored, successes are unknown"
    more = ("hit_at_5", "best_5", "nearest_distance")
    try:
        scores = _read(fetch, scores_key, "per_image.npz", ("labels", "restarts", "hit_at_1"), more=more)
    except _UNREADABLE as error:
        return {}, f"scores cannot be read, successes are unknown: {error}"
    if not all(np.array_equal(scores[name], images[name]) for name in ("labels", "restarts")):
        return {}, "scores are of other images than the reconstructions, successes are unknown"
    return scores, ""


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _picked(images: Callable[[], Any], picks: Sequence[int | None]) -> list[Any]:
    """The picked images, None for one that is not there."""
    return [None if p is None else images()[p] for p in picks]


def _restart(images: Arrays, label: int, number: int) -> int | None:
    """Position of the first, second ... restart of an identity."""
    import numpy as np

    of_label = np.flatnonzero(images["labels"] == label)
    order = of_label[np.argsort(images["restarts"][of_label], kind="stable")]
    return int(order[number]) if number < order.size else None
