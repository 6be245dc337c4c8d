"""Data sets and published weights of a specification: reading each once, and where its files lie."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

from midef.core.canonical import canonical_json
from midef.core.choice import Choice
from midef.core.errors import DataError, PreflightError, SpecError
from midef.core.recipe import Recipe, each_once
from midef.datasets import DATASETS, Dataset
from midef.datasets.files.copies import same_image
from midef.datasets.files.places import whereabouts
from midef.metrics import METRICS
from midef.metrics.extractors import EXTRACTORS
from midef.models import ARCHITECTURES
from midef.stages import StudentPlan, place_dataset, place_extractors, place_weights, published_recipe
from midef.sweep.spec.absent import ABSENT, Absent, keyed_as_absent
from midef.sweep.spec.checks import Problems
from midef.sweep.spec.needed import Needs
from midef.sweep.spec.values import ComponentSpec


def data_folder() -> Path:
    """Folder of published data sets unless a sweep names another: $MIDEF_DATA, each set in a folder of its name."""
    return Path(os.environ.get("MIDEF_DATA") or "~/.cache/midef/data").expanduser()


def location_fields(name: str) -> set[str]:
    """Fields of a data set that say where its files lie; none for an unknown name."""
    if name not in DATASETS.names():
        return set()
    return {f.name for f in fields(cast(Any, DATASETS.get(name))) if f.metadata.get("location")}


def or_path(written: str, *, labelled: bool) -> ComponentSpec:
    """A data set as written, or the images at a path where a file or folder is called so.

    Args:
        labelled: whether images at a path have identities.

    Raises:
        DataError: for what is no data set and cannot be a path, as one that is too long.
    """
    if written.partition("(")[0].partition(":")[0] in DATASETS.names() or not (place := whereabouts(written)).exists():
        return written
    return {"name": "image_folder", "path": str(place), "labelled": labelled}


def with_default_folder(written: ComponentSpec) -> ComponentSpec:
    """A published data set without a place is looked for in its folder of `data_folder`."""
    name, preset, params = DATASETS.parse(written)
    places = location_fields(name) & {"root", "path"}
    if name == "image_folder" or not places or any(params.get(place) for place in places):
        return written
    place = "root" if "root" in places else "path"
    return {"name": name, **({"preset": preset} if preset else {}), **params, place: str(data_folder() / name)}


def _from_common_folder(one: str, other: str) -> tuple[str, str]:
    """Two absolute paths, from the last folder that holds both.

    >>> _from_common_folder("/data/people/s1/1.pgm", "/data/public/x.pgm")
    ('people/s1/1.pgm', 'public/x.pgm')
    """
    above = os.path.commonpath([one, other])
    return (one, other) if len(above) < 2 else (os.path.relpath(one, above), os.path.relpath(other, above))


class DatasetReader:
    """Reads each data set and each file of published weights once.

    Args:
        problems: gets what is wrong with the specification.
        missing: gets what this machine lacks.
        needs: gets every file that is read, whether it is here or not.
        absent: go on with what it lacks, for a plan that only counts.
    """

    def __init__(self, problems: Problems, missing: Problems, needs: Needs, *, absent: bool = False) -> None:
        self.problems, self.missing, self.needs, self.absent = problems, missing, needs, absent
        self._read: dict[str, tuple[Choice, Dataset] | None] = {}
        self._lacking: dict[str, tuple[str, Sequence[str]]] = {}  # a data set as written -> label, why it is not read
        self._places: dict[str, dict[str, Any]] = {}  # keyed choice -> fields that say where its files lie
        self._pixel_ids: dict[int, Mapping[str, str]] = {}  # by id of the data set, which stays in `_read`
        self.notes: list[str] = []
        """What to know of the data sets before using them: what was left out, each with its place."""
        self._weights: dict[tuple[str, str], tuple[Choice, dict[str, Any]] | None] = {}
        self._weight_places: dict[str, dict[str, Any]] = {}  # digest of published weights -> the same
        self._extractors: dict[tuple[str, ...], dict[str, Recipe]] = {}

    def dataset(self, written: ComponentSpec, place: str) -> tuple[Choice, Dataset] | None:
        """The choice with a fingerprint instead of paths, and the data set; None after a problem was noted."""
        if not written:
            self.problems.append(
                f"{place}: no data set given, and the profile has none; name one: image_folder with a path"
            )
            return None
        text = json.dumps(written, sort_keys=True, default=str)
        if text not in self._read:
            self._read[text] = self._read_once(written, text, place)
        if text in self._lacking:
            self.needs.dataset(*self._lacking[text], place)
        return self._read[text]

    def named(self, written: ComponentSpec, place: str) -> Choice | None:
        """The choice without looking for its files; None after a problem was noted."""
        try:
            choice = DATASETS.choose(with_default_folder(written))
        except SpecError as error:
            self.problems.take(place, error)
            return None
        params = {name: value for name, value in choice.params.items() if name not in location_fields(choice.name)}
        return Choice(choice.name, params, choice.version, choice.label)

    def is_here(self, written: ComponentSpec) -> bool:
        """Whether a data set looks complete, which opens no image; True of one that cannot be chosen."""
        try:
            choice = DATASETS.choose(with_default_folder(written))
        except SpecError:
            return True
        return not DATASETS.make(choice.name, choice.params).problems()

    def _read_once(self, written: ComponentSpec, text: str, place: str) -> tuple[Choice, Dataset] | None:
        try:
            choice = DATASETS.choose(with_default_folder(written))
        except SpecError as error:
            self.problems.take(place, error)
            return None
        dataset = DATASETS.make(choice.name, choice.params)
        if missing := dataset.problems():
            self._lacking[text] = (choice.label, missing)
            self.missing.extend(f"{place}: {p}" for p in missing)
            return (keyed_as_absent(choice, location_fields(choice.name)), Absent(of=dataset)) if self.absent else None
        try:
            found = dataset.examine()
            keyed, where = (choice, {}) if found.problems else place_dataset(choice)
        except DataError as error:
            self._lacking[text] = (choice.label, [str(error)])
            self.missing.take(place, error)
            return None
        self.notes += [f"{place} ({choice.label}): {note}" for note in found.notes]
        if found.problems:
            self._lacking[text] = (choice.label, found.problems)
            self.missing.extend(f"{place}: {p}" for p in found.problems)
            return None
        self._places[canonical_json(keyed.keyed)] = where
        return keyed, dataset

    def shared(self, one: Dataset, other: Dataset) -> list[str]:
        """Images, equal in every pixel, or people that are in both data sets: a sentence or an id for each."""
        if type(one) is not type(other) or not one.is_numbered:
            ours, theirs = self._pixels_of(one), self._pixels_of(other)
            if both := ours.keys() & theirs.keys():
                pairs = sorted((ours[pixels], theirs[pixels]) for pixels in both)
                return [same_image(*_from_common_folder(*pair)) for pair in pairs]
            if ours and theirs:
                return []
        return sorted(one.members() & other.members())

    def _pixels_of(self, dataset: Dataset) -> Mapping[str, str]:
        if id(dataset) not in self._pixel_ids:
            self._pixel_ids[id(dataset)] = dataset.pixel_ids()
        return self._pixel_ids[id(dataset)]

    def weights(self, name: str, architecture: Choice | None, resolution_px: int, place: str) -> Choice | None:
        """Published weights with the digest of their file; None where none are asked for, or after a problem was noted.

        Args:
            name: `imagenet`, `ms1m`; "" asks for none.
            architecture: network that starts from them; None after a problem with it.
            resolution_px: that the network is built for.
            place: in the specification.
        """
        if not name or architecture is None:
            return None
        from midef.models.pretrained import misfits, weights_folder

        if unfit := misfits(name, ARCHITECTURES.remake(architecture), resolution_px):
            self.problems += [f"{place}: {problem}" for problem in unfit]
            return None
        self._needs_weights(name, architecture, place)
        key = (name, architecture.name)
        if key not in self._weights:
            try:
                self._weights[key] = place_weights(name, architecture, weights_folder())
            except (PreflightError, DataError) as error:
                self.needs.lacks([str(error)])
                self.missing.take(place, error)
                self._weights[key] = (Choice(name, {"sha256": ABSENT}, 1, name), {}) if self.absent else None
        read = self._weights[key]
        if read is None:
            return None
        choice, where = read
        self._weight_places[published_recipe(choice, architecture, resolution_px).key.digest] = where
        return choice

    def _needs_weights(self, name: str, architecture: Choice, place: str) -> None:
        from midef.models.pretrained import published_file

        self.needs.file(published_file(name, architecture.name), f"{name} weights of {architecture.name}", place)

    def extractors(self, metrics: Sequence[str], place: str, *, needed_by: str) -> dict[str, Recipe]:
        """Weights of the extractors that metrics read, as far as their files are here; notes what is refused without.

        Args:
            metrics: names.
            place: in the specification.
            needed_by: place of the setup they are measured in.
        """
        from midef.models.pretrained import weights_folder

        for name in metrics:
            for extractor in METRICS.get(name).extractors:
                self.needs.file(EXTRACTORS.get(extractor).file, f"metric {name}", needed_by)
        key = tuple(metrics)
        if key not in self._extractors:
            self._extractors[key] = {}
            try:
                self._extractors[key], where, missing = place_extractors(metrics, weights_folder())
            except DataError as error:
                self.needs.lacks([str(error)])
                self.missing.take(place, error)
            else:
                self._weight_places |= where
                self.notes += [f"{place}: {line}" for line in missing]
        return self._extractors[key]

    def student(self, written: Mapping[str, Any], resolution_px: int, place: str) -> StudentPlan:
        """Students as a profile plans them, from published weights where their file is here.

        Args:
            written: `architecture`, `weights` and `epochs` of a profile.
            resolution_px: of the images it sees.
            place: in the specification.

        Raises:
            SpecError: if there is no such architecture.
        """
        from midef.models.pretrained import misfits, weights_folder

        architecture, name = ARCHITECTURES.choose(written["architecture"]), written.get("weights", "")
        weights = None
        if name and not misfits(name, ARCHITECTURES.remake(architecture), resolution_px):
            self._needs_weights(name, architecture, place)
            key = (name, architecture.name)
            if key not in self._weights:
                with suppress(PreflightError):  # then it starts fresh, and the row says so
                    self._weights[key] = place_weights(name, architecture, weights_folder())
            if (read := self._weights.get(key)) is not None:
                weights, where = read
                self._weight_places[published_recipe(weights, architecture, resolution_px).key.digest] = where
        return StudentPlan(architecture=architecture, weights=weights, epochs=written.get("epochs"))

    def locations(self, roots: Iterable[Recipe]) -> dict[str, dict[str, Any]]:
        """Where files lie: digest of each split that `roots` need, and of published weights -> fields."""
        places = dict(self._weight_places)
        for recipe in each_once(roots) if any(self._places.values()) else ():
            if recipe.kind == "split":
                keyed = {
                    "name": recipe.component,
                    "params": recipe.params["params"],
                    "version": recipe.params["component_version"],
                }
                places.setdefault(recipe.key.digest, self._places.get(canonical_json(keyed), {}))
        return {digest: where for digest, where in places.items() if where}
