"""Private and public images of an audit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from midef.core.choice import Choice
from midef.core.errors import PreflightError, SpecError
from midef.datasets import DATASETS, Dataset
from midef.sweep.spec.checks import Problems, check_disjoint
from midef.sweep.spec.datasets import DatasetReader
from midef.sweep.spec.needed import Needs

_SPLIT_BY = {"train_list", "report_list"}
"""Fields of a data set that takes some images of its folder alone."""
DataSource = str | Path | Mapping[str, Any]
"""Images: a folder, an archive, or a data set as a sweep names it."""


@dataclass(frozen=True)
class Data:
    """Private and public images, checked.

    Args:
        private, public: with a fingerprint in the place of paths.
        classes: names of the private classes, sorted.
        sizes: images of the train, select and report split of the private data.
        reader: knows where their files lie.
    """

    private: Choice
    public: Choice | None
    private_set: Dataset
    public_set: Dataset | None
    reader: DatasetReader

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Images of the train, select and report split of the private data."""
        sizes = self.private_set.sizes()
        return sizes.get("train", 0), sizes.get("select", 0), sizes.get("report", 0)


def written_data(source: DataSource, *, labelled: bool) -> dict[str, Any] | str:
    """Images as a sweep names them; a path is a folder or archive of images.

    Args:
        labelled: whether images at a path lie in a folder for each person.
    """
    if isinstance(source, Mapping):
        return dict(source)
    text = str(source)
    if isinstance(source, str) and text.partition("(")[0].partition(":")[0] in DATASETS.names():
        return text
    return {"name": "image_folder", "path": str(Path(text).expanduser().absolute()), "labelled": labelled}


def _place(source: DataSource) -> Path | None:
    """The folder or archive of images; None of a data set by name."""
    written = written_data(source, labelled=True)
    if isinstance(written, str) or "path" not in written or written.keys() & _SPLIT_BY:
        return None
    return Path(str(written["path"])).resolve()


def read_data(private: DataSource, public: DataSource | None) -> Data:
    """Private and public images.

    Raises:
        SpecError, PreflightError: with all that is wrong: what cannot be read, private images among the public ones.
    """
    if public is not None and _place(private) is not None and _place(private) == _place(public):
        raise SpecError(
            f"private and public images are the same ones, in {_place(private)}; an attacker has no private ones"
        )
    problems, missing = Problems(), Problems()
    reader = DatasetReader(problems, missing, Needs())
    ours = reader.dataset(written_data(private, labelled=True), "private")
    theirs = None if public is None else reader.dataset(written_data(public, labelled=False), "public")
    if ours is not None and not ours[1].is_labelled:
        problems.append("private: private images lie in a folder for each class, named after it; these have no classes")
    if ours is not None and theirs is not None:
        check_disjoint(ours, theirs, reader.shared, "public", problems)
    if problems:
        raise SpecError(problems)
    if missing:
        raise PreflightError(missing.grouped())
    assert ours is not None
    return Data(ours[0], theirs and theirs[0], ours[1], theirs and theirs[1], reader)
