"""Data sets and weights that are not on this machine, for a plan that only counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from typing_extensions import override

from midef.core.choice import Choice
from midef.datasets import Dataset

ABSENT = "absent"
"""In place of the digest of a file that is not here. What is planned so has another key than what a run builds."""


@dataclass(frozen=True, kw_only=True)
class Absent(Dataset):
    """A data set whose files are not here: nothing of it can be checked, and it holds as many people as are asked for.

    Args:
        of: the set.
    """

    of: Dataset

    @property
    @override
    def is_labelled(self) -> bool:
        return self.of.is_labelled

    @override
    def n_identities(self) -> int:
        return 1_000_000

    @override
    def sizes(self) -> Mapping[str, int]:
        return self.of.published_sizes()

    @override
    def members(self) -> frozenset[str]:
        return frozenset()


def keyed_as_absent(choice: Choice, places: set[str]) -> Choice:
    """The choice with a word in place of the digest of its files.

    Args:
        places: fields that say where its files lie.
    """
    params = {name: value for name, value in choice.params.items() if name not in places}
    return Choice(choice.name, {**params, "fingerprint": ABSENT}, choice.version, choice.label)
