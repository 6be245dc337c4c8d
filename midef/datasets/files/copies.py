"""Images of one data set that are equal in every pixel: in two splits, or of two identities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

SHOWN = 3  # so many pairs are named


class Copies(NamedTuple):
    """Lines about equal images.

    Args:
        across_identities: images that stand under two identities: one of the labels is wrong.
        reported: images of the report split that the target was trained or chosen on.
        selected: images that pick checkpoints and are trained on; what is reported does not show them.
    """

    across_identities: list[str]
    reported: list[str]
    selected: list[str]


def find_copies(splits: Mapping[str, Sequence[tuple[str, int]]], ids: Mapping[str, str]) -> Copies:
    """Pairs of equal images, as sentences that name both.

    Args:
        splits: name and label of each image of `train`, `select` and `report`; label -1 where there are none.
        ids: what is equal for equal images, by name; images without one are passed over.
    """
    places: dict[str, list[tuple[str, int, str]]] = {}
    for split, entries in splits.items():
        for name, label in entries:
            if name in ids:
                places.setdefault(ids[name], []).append((split, label, name))
    found = Copies([], [], [])
    for equal in places.values():
        if len(equal) == 1:
            continue
        first = equal[0]
        other = next((one for one in equal if one[1] != first[1]), None)
        if other is not None:
            found.across_identities.append(same_image(first[2], other[2]))
        elif first[1] >= 0:
            by_split = {split: name for split, _, name in reversed(equal)}
            if "report" in by_split and len(by_split) > 1:
                kept = by_split.get("train") or by_split["select"]
                found.reported.append(same_image(kept, by_split["report"]))
            elif len(by_split) > 1:
                found.selected.append(same_image(by_split["train"], by_split["select"]))
    return found


def copy_problems(copies: Copies) -> list[str]:
    """Problems of a set whose owner can remove the copies."""
    problems = []
    if found := copies.across_identities:
        problems.append(
            f"{_images(found)} under two identities, so that one label is wrong: {few_pairs(found)}; remove one of each"
        )
    if found := copies.reported:
        problems.append(
            f"{_images(found, 'of the report split ')} also in train or select: {few_pairs(found)}; remove the copies, "
            "they flatter the reported accuracy"
        )
    return problems


def copy_notes(copies: Copies, *, published: bool) -> list[str]:
    """Notes about copies that stay.

    Args:
        published: True for a set that is used as it was published: its copies are told, not refused.
    """
    notes = []
    if copies.selected:
        notes.append(f"{_images(copies.selected)} in train and in select, for example {copies.selected[0]}")
    if published and copies.reported:
        images = _images(copies.reported, "of the report split ")
        notes.append(f"{images} also in train or select, for example {copies.reported[0]}")
    if published and copies.across_identities:
        example = copies.across_identities[0]
        notes.append(f"{_images(copies.across_identities)} under two identities, for example {example}")
    return notes


def same_image(one: str, other: str) -> str:
    """A sentence that names two equal images."""
    return f"{one} and {other} are the same image"


def few_pairs(pairs: Sequence[str]) -> str:
    """The first sentences, and how many more there are."""
    more = f" and {len(pairs) - SHOWN:,} more" if len(pairs) > SHOWN else ""
    return ", ".join(pairs[:SHOWN]) + more


def _images(found: Sequence[str], which: str = "") -> str:
    return f"1 image {which}is" if len(found) == 1 else f"{len(found):,} images {which}are"
