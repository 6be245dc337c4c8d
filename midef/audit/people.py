"""The people an audit could reconstruct best, and pictures of what was reconstructed."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midef.core import ArtifactKey, StoreError, outcomes
from midef.core.rows import ResultRow
from midef.results.compare import ATTACK
from midef.storage.arrays import read_arrays

if TYPE_CHECKING:
    import numpy as np

Fetch = Callable[[ArtifactKey], Path]
_UNREADABLE = (StoreError, OSError, KeyError, ValueError, IndexError, zipfile.BadZipFile)


@dataclass(frozen=True, kw_only=True)
class Person:
    """How often one attacked class was recognised in its reconstructions.

    Args:
        label: its number.
        name: of the class; "" where nobody gave names.
        hits: reconstructions by the attack with the highest accuracy that the judge takes for this class.
        images: its reconstructions by that attack.
        all_hits: the same, over all attacks.
        all_images: likewise.
    """

    label: int
    name: str
    hits: int
    images: int
    all_hits: int
    all_images: int

    @property
    def text(self) -> str:
        return self.name or f"class {self.label}"


@dataclass(frozen=True)
class People:
    """All attacked classes, the most often recognised first.

    Args:
        guessed: share of classes that guessing would recognise at least once in as many reconstructions, percent.
    """

    everybody: tuple[Person, ...] = ()
    guessed: float | None = None

    @property
    def found(self) -> int:
        """Classes that at least one reconstruction of at least one attack was taken for."""
        return sum(person.all_hits > 0 for person in self.everybody)


def people_of(rows: Iterable[ResultRow], winner: str, names: Sequence[str] = ()) -> People:
    """Attacked classes from the outcomes that rows keep.

    Args:
        rows: of attack accuracy, of the attacks that are results; others are passed over.
        winner: the attack with the highest accuracy.
        names: of the classes, in order.
    """
    import numpy as np

    of_all: dict[int, list[int]] = {}
    of_winner: dict[int, list[int]] = {}
    chance = None
    for row in rows:
        read = outcomes.read(row.outcomes) if row.metric == ATTACK and row.number is not None else None
        if read is None:
            continue
        chance = row.chance if row.chance is not None else chance
        for label in np.unique(read.identities).tolist():
            hits = read.hits[read.identities == label]
            for held in [of_all, *([of_winner] if row.attack == winner else [])]:
                count = held.setdefault(label, [0, 0])
                count[0] += int(hits.sum())
                count[1] += len(hits)
    people = [
        Person(
            label=label,
            name=names[label] if label < len(names) else "",
            hits=of_winner.get(label, [0, 0])[0],
            images=of_winner.get(label, [0, 0])[1],
            all_hits=hits,
            all_images=images,
        )
        for label, (hits, images) in of_all.items()
    ]
    people.sort(key=lambda p: (-p.hits / max(p.images, 1), -p.all_hits / p.all_images, p.label))
    guessed = None
    if chance is not None and people:
        missed = [(1 - chance / 100) ** person.all_images for person in people]
        guessed = 100 * (1 - sum(missed) / len(missed))
    return People(tuple(people), guessed)


@dataclass(frozen=True, eq=False)
class Picture:
    """One image of the report.

    Args:
        person: whom it is meant to show.
        image: uint8 [3, H, W].
        is_private: a private image, and no reconstruction.
        is_hit: the judge takes it for this class; None where that is not known.
    """

    person: str
    image: np.ndarray
    is_private: bool = False
    is_hit: bool | None = None


def pictures_of(
    row: ResultRow, fetch: Fetch, people: Sequence[Person], *, with_private: bool = False
) -> tuple[tuple[Picture, ...], str]:
    """Of each person the first reconstruction, and beside it a private image where that is asked for.

    Args:
        row: of the attack whose images are shown; it names what is stored.
        fetch: gives the folder of a stored artifact.
        people: who is shown, in this order.
        with_private: show private images; they are not even read without.

    Returns:
        Pictures, and what could not be read; "" for nothing.
    """
    if not row.reconstructions_key:
        return (), "no reconstructions are stored"
    try:
        made = _read(fetch, row.reconstructions_key, "images.npz", ("images", "labels", "restarts"))
        hits = _hits(fetch, row.scores_key, made)
        own = _read(fetch, row.scores_key, "exemplars.npz", ("images", "labels")) if with_private else None
    except _UNREADABLE as error:
        return (), f"images cannot be read: {error}"
    pictures = []
    for person in people:
        at = _first(made, person.label)
        if at is None:
            continue
        is_hit = None if hits is None else bool(hits[at])
        pictures.append(Picture(person.text, made["images"][at], is_hit=is_hit))
        if own is not None and (of_own := _first(own, person.label)) is not None:
            pictures.append(Picture(person.text, own["images"][of_own], is_private=True))
    return tuple(pictures), ""


def _read(fetch: Fetch, key: str, file: str, names: Sequence[str]) -> dict[str, Any]:
    return read_arrays(fetch(ArtifactKey.parse(key)) / file, names)


def _hits(fetch: Fetch, key: str, made: dict[str, Any]) -> Any:
    """Success of each reconstruction; None where nothing says it."""
    import numpy as np

    if not key:
        return None
    scores = _read(fetch, key, "per_image.npz", ("labels", "restarts", "hit_at_1"))
    is_same = all(np.array_equal(scores[name], made[name]) for name in ("labels", "restarts"))
    return scores["hit_at_1"] if is_same else None


def _first(arrays: dict[str, Any], label: int) -> int | None:
    """Position of the first image of a class, the lowest restart."""
    import numpy as np

    of_label = np.flatnonzero(arrays["labels"] == label)
    if not of_label.size:
        return None
    restarts = arrays.get("restarts")
    return int(of_label[0] if restarts is None else of_label[np.argmin(restarts[of_label])])
