"""Which files of this machine a sweep reads, who needs each, and whether it is there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from midef.core.errors import DataError, PreflightError
from midef.nn.named_file import NamedFile


class Needing(Protocol):
    """An attack or a prior: `files` that it starts from."""

    def files(self) -> list[NamedFile]:
        """Published files that it needs."""
        ...


@dataclass
class Need:
    """A published file or a data set.

    Args:
        about: what it is to whom, each once.
        places: in the specification that need it, each once.
        problems: of a data set, each a sentence; those of a file are found by `state_of`.
    """

    about: dict[str, None] = field(default_factory=dict)
    places: dict[str, None] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    def add(self, about: str, place: str) -> None:
        """Note one more who needs it."""
        self.about[about] = None
        self.places[place] = None


@dataclass
class Needs:
    """What a sweep reads from this machine, noted while it is resolved, however much of it is missing.

    Args:
        files: published files, in the order they were met.
        datasets: that cannot be read, by their problems.
        refused: setups that cannot run, by why.
        said: sentences of a plan about these files.
    """

    files: dict[NamedFile, Need] = field(default_factory=dict)
    datasets: dict[tuple[str, ...], Need] = field(default_factory=dict)
    refused: dict[str, Need] = field(default_factory=dict)
    said: dict[str, None] = field(default_factory=dict)

    def file(self, file: NamedFile, about: str, place: str) -> None:
        """Note a published file."""
        self.files.setdefault(file, Need()).add(about, place)

    def of(self, components: Iterable[Needing], about: str, place: str) -> None:
        """Note the published files of an attack and its priors."""
        for component in components:
            for file in component.files():
                self.file(file, about, place)

    def dataset(self, label: str, problems: Sequence[str], place: str) -> None:
        """Note a data set, and why it cannot be read here."""
        self.datasets.setdefault(tuple(problems), Need(problems=tuple(problems))).add(label, place)

    def refuse(self, reason: str, place: str) -> None:
        """Note a setup that cannot run, so that what it needs is not known."""
        self.refused.setdefault(reason, Need()).add(reason, place)

    def lacks(self, problems: Iterable[str]) -> None:
        """Note what is said of files that are missing or damaged."""
        self.said.update(dict.fromkeys(problems))

    def problems(self) -> list[str]:
        """Everything noted here that is wrong, as sentences."""
        return [*self.said, *(problem for need in self.datasets.values() for problem in need.problems)]


@dataclass(frozen=True, kw_only=True)
class FileState:
    """A published file as it is here.

    Args:
        is_here: a file of its name is.
        problem: why that cannot be used, "" if it can.
        about: its size and digest, and what they were compared with.
    """

    is_here: bool
    problem: str = ""
    about: str = ""


def state_of(file: NamedFile, folder: Path) -> FileState:
    """Look for a file and compare its sha256 with the published one; where none is published, its size."""
    if not file.inside(folder):
        return FileState(is_here=False)
    try:
        path = file.find(folder)
        digest = file.digest(path)
    except (PreflightError, DataError) as error:
        return FileState(is_here=True, problem=str(error))
    size_mib = path.stat().st_size / 2**20
    if digits := file.digits(path):
        return FileState(is_here=True, about=f"{shown_size(size_mib)}, sha256 {digits[:8]} as published")
    text = f"{shown_size(size_mib)}, sha256 {digest[:8]}, none is published"
    if file.size_mib and path.name == file.name and abs(size_mib - file.size_mib) > 0.05 * file.size_mib:
        text += f"; {shown_size(file.size_mib)} is published: converted, or cut short"
    return FileState(is_here=True, about=text)


def shown_size(mib: float) -> str:
    """
    >>> shown_size(107), shown_size(44.661), shown_size(0.001), shown_size(1161.02)
    ('107 MiB', '44.7 MiB', '0.001 MiB', '1161 MiB')
    """
    return f"{mib:.0f} MiB" if mib >= 100 else f"{mib:.3g} MiB"
