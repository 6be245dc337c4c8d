"""The reconstructions of one setup: the same identities for every defense, picked by a rule and not by eye."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from midef.core import ArtifactKey, StoreError
from midef.results.summary import SummaryRow

IDENTITIES = 8
LARGEST_PX = 112
GENERATED = "synthetic_faces"

Fetch = Callable[[ArtifactKey], Path]


@dataclass(frozen=True)
class Strip:
    """One row of the grid. file: one picture of all identities side by side, relative to the page, or "" with a reason.

    marks, by identity: "hit" or "miss" under the evaluator, "unknown" without scores, "private", "absent".
    """

    title: str
    file: str = ""
    marks: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Grid:
    """labels: the identities, in column order; private: the exemplars, or why they are not shown."""

    labels: tuple[int, ...] = ()
    rule: str = ""
    private: Strip | None = None
    strips: tuple[Strip, ...] = ()
    warnings: tuple[str, ...] = field(default=())


def is_generated(private: str) -> bool:
    """Whether the private data set, given by its label, shows nobody: its faces are drawn by a program."""
    return private.partition("(")[0].partition(":")[0] == GENERATED


def write_grid(
    group: Sequence[SummaryRow],
    fetch: Fetch,
    out: Path,
    prefix: str,
    *,
    with_private_exemplars: bool = False,
) -> Grid:
    """Write the pictures of one setup to `out`/img and say what they show.

    Private exemplars are not even read unless they are generated or `with_private_exemplars` is set.
    A picture that cannot be read is a strip with a reason.
    """
    import numpy as np

    warnings: list[str] = []
    seed = _common_seed(group)
    sources = [_source(row, seed) for row in group]
    found: list[dict[str, Any] | str] = []  # labels and restarts, or why there are none
    for row, source in zip(group, sources, strict=True):
        if source is None:
            found.append(row.problems[0].reason if row.problems else "no reconstructions are stored")
            continue
        try:
            found.append(_read(fetch, source[1], "images.npz", ("labels", "restarts")))
        except _UNREADABLE as error:
            found.append(f"cannot be read: {error}")
            warnings.append(f"{row.setup}, {row.defense}: reconstructions cannot be read: {error}")
    attacked = {int(label) for names in found if not isinstance(names, str) for label in np.unique(names["labels"])}
    labels = tuple(sorted(attacked)[:IDENTITIES])
    strips = []
    for i, (row, source, names) in enumerate(zip(group, sources, found, strict=True)):
        if source is None or isinstance(names, str):
            strips.append(Strip(row.defense, reason=str(names)))
            continue
        its_seed, images_key, scores_key = source
        hits, problem = _hits(fetch, scores_key, names)
        if problem:
            warnings.append(f"{row.setup}, {row.defense}: {problem}")
        picks = [_first_restart(names, label) for label in labels]
        marks = ["absent" if p is None else "unknown" if hits is None else "hit" if hits[p] else "miss" for p in picks]
        file = f"img/{prefix}-{i:02d}.webp"
        try:
            # One defense at a time: at 224 px the images of a setup do not fit in memory together.
            images = _read(fetch, images_key, "images.npz", ("images",))["images"]
            _write_strip([None if p is None else images[p] for p in picks], out / file)
        except (*_UNREADABLE, IndexError) as error:
            strips.append(Strip(row.defense, reason=f"cannot be read: {error}"))
            warnings.append(f"{row.setup}, {row.defense}: reconstructions cannot be read: {error}")
            continue
        title = row.defense if its_seed == seed else f"{row.defense} (seed {its_seed})"
        strips.append(Strip(title, file, tuple(marks)))
    allowed = with_private_exemplars or all(is_generated(row.private) for row in group)
    private: Strip | None = None
    if labels and not allowed:
        private = Strip("private", reason="withheld: pictures of people; build with private exemplars to show them")
    elif labels:
        private, problem = _private_strip(fetch, [s[2] for s in sources if s and s[2]], labels, out, prefix)
        warnings += [f"{group[0].setup}: {problem}"] if problem else []
    rule = (
        f"the first {len(labels)} attacked identities by label, the first restart of each, seed {seed}; "
        "the same for every defense"
    )
    return Grid(labels, rule if labels else "", private, tuple(strips), tuple(warnings))


_UNREADABLE = (StoreError, OSError, KeyError, ValueError, zipfile.BadZipFile)


def _common_seed(group: Sequence[SummaryRow]) -> int:
    """The lowest seed that all defenses with reconstructions share, else the lowest there is."""
    seeds = [{seed for seed, *_ in row.stored} for row in group if row.stored]
    if not seeds:
        return 0
    return min(set.intersection(*seeds) or set.union(*seeds))


def _source(row: SummaryRow, seed: int) -> tuple[int, str, str] | None:
    return next((s for s in row.stored if s[0] == seed), row.stored[0] if row.stored else None)


def _read(fetch: Fetch, key: str, file: str, names: Sequence[str]) -> dict[str, Any]:
    import numpy as np

    with np.load(fetch(ArtifactKey.parse(key)) / file, allow_pickle=False) as arrays:
        found = {name: arrays[name] for name in names}
    if len({len(a) for a in found.values()}) != 1:
        raise ValueError(f"{file} holds arrays of different length")
    return found


def _hits(fetch: Fetch, scores_key: str, images: dict[str, Any]) -> tuple[Any, str]:
    """Success @1 of each reconstruction, or None and why not."""
    import numpy as np

    if not scores_key:
        return None, "no scores are stored, successes are unknown"
    try:
        scores = _read(fetch, scores_key, "per_image.npz", ("labels", "restarts", "hit_at_1"))
    except _UNREADABLE as error:
        return None, f"scores cannot be read, successes are unknown: {error}"
    if not all(np.array_equal(scores[name], images[name]) for name in ("labels", "restarts")):
        return None, "scores are of other images than the reconstructions, successes are unknown"
    return scores["hit_at_1"], ""


def _first_restart(images: dict[str, Any], label: int) -> int | None:
    import numpy as np

    mine = np.flatnonzero(images["labels"] == label)
    return int(mine[np.argmin(images["restarts"][mine])]) if mine.size else None


def _private_strip(
    fetch: Fetch, scores_keys: list[str], labels: tuple[int, ...], out: Path, prefix: str
) -> tuple[Strip | None, str]:
    problem = "no scores are stored, so there are no private exemplars"
    for key in scores_keys:
        try:
            exemplars = _read(fetch, key, "exemplars.npz", ("images", "labels"))
        except _UNREADABLE as error:
            problem = f"private exemplars cannot be read: {error}"
            continue
        by_label = {int(label): i for i, label in reversed(list(enumerate(exemplars["labels"])))}
        picks = [by_label.get(label) for label in labels]
        file = f"img/{prefix}-private.webp"
        _write_strip([None if p is None else exemplars["images"][p] for p in picks], out / file)
        marks = tuple("absent" if p is None else "private" for p in picks)
        return Strip("private", file, marks), ""
    return Strip("private", reason=problem), problem


def _write_strip(images: Sequence[Any], path: Path) -> None:
    """uint8 [3, H, W] images side by side; a missing one is white. Above `LARGEST_PX` they are reduced."""
    import numpy as np
    from PIL import Image

    shape = next((image.shape for image in images if image is not None), (3, 1, 1))
    blank = np.full(shape, 255, np.uint8)
    strip = np.concatenate([blank if image is None else image for image in images], axis=2).transpose(1, 2, 0)
    picture = Image.fromarray(np.ascontiguousarray(strip))
    height = shape[1]
    if height > LARGEST_PX:
        picture = picture.resize((round(picture.width * LARGEST_PX / height), LARGEST_PX), Image.Resampling.LANCZOS)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, "WEBP", lossless=height <= LARGEST_PX, quality=90)
