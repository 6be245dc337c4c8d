"""Specifications that extend another: `extends: base.yaml`, or `extends: smoke` for a named sweep.

What a file says itself is laid over what it extends, by these rules alone:

- mappings are merged key by key, to any depth;
- everything else replaces what stood there: lists as a whole, texts, numbers, truth values, null;
- a mapping that names another component than the one below it (another `name`) replaces it as a whole;
- `name` is not inherited: two different sweeps never share one by accident.

A file that is extended may extend another. Its path is relative to the folder of the file that names it, and so are the
paths of data sets in it. A problem is reported with the file and the line that the value comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from midef.core.conversion import shown
from midef.core.errors import Problem, SpecError, did_you_mean
from midef.sweep.spec.document import Document
from midef.sweep.spec.lines import Lines, Place
from midef.sweep.spec.load import read_yaml
from midef.sweep.spec.paths import absolute, absolute_in
from midef.sweep.spec.schema import SweepSpec

KEY = "extends"
SUFFIXES = (".yaml", ".yml")
Named = Mapping[str, Callable[[], SweepSpec]]
"""Functions that return the named sweeps."""


def read_extended(path: Path, named: Named) -> Document:
    """Plain data of a specification in a YAML file, with what it extends.

    Args:
        path: the file.
        named: sweeps that can be extended by name.

    Raises:
        SpecError: if a file cannot be read, or one extends itself through others; it names the file and the line.
    """
    return with_base(read_yaml(path, list(named)), path.parent, named, path)


def with_base(document: Document, folder: Path, named: Named, path: Path | None = None) -> Document:
    """A document laid over what it extends; the document itself where it extends nothing.

    Args:
        document: whose `extends` is followed.
        folder: that a relative path in it starts from.
        named: sweeps that can be extended by name.
        path: of the document, where it is a file.

    Raises:
        SpecError: as `read_extended`.
    """
    if KEY not in document.data:
        return document
    merged = _followed(document, folder, named, () if path is None else (path.resolve(),))
    if "name" in document.data:
        return merged
    where = document.lines.where
    needed = Problem(f"{where}: name: give one; it is not inherited from what the sweep extends", at=("name",))
    data = {key: value for key, value in merged.data.items() if key != "name"}
    return Document(data, merged.lines, [*merged.problems, needed])


def _followed(document: Document, folder: Path, named: Named, chain: tuple[Path, ...]) -> Document:
    """The document over its base, whose own base is followed first.

    Args:
        chain: files that led here, the first one first.
    """
    if KEY not in document.data:
        return document
    where, written = document.lines.find((KEY,)), document.data[KEY]
    if not isinstance(written, str) or not written.strip():
        raise SpecError(f"{where}: {KEY}: expected one YAML file or the name of a sweep, got {shown(written)}")
    own = Document({k: v for k, v in document.data.items() if k != KEY}, document.lines, document.problems)
    if not written.endswith(SUFFIXES):
        if written not in named:
            raise SpecError(
                f"{where}: {KEY}: unknown sweep {written!r}; {did_you_mean(written, list(named))}, or a YAML file"
            )
        return _merged(Document(named[written]().model_dump(exclude_unset=True), Lines(written)), own, folder)
    path = absolute(written, folder)
    if path in chain:
        way = " -> ".join(step.name for step in (*chain[chain.index(path) :], path))
        raise SpecError(f"{where}: {KEY}: files extend each other in a circle: {way}")
    try:
        base = read_yaml(path, list(named))
    except SpecError as error:
        raise SpecError(f"{where}: {KEY}: {error}") from error
    return _merged(_followed(base, path.parent, named, (*chain, path)), own, folder)


def _merged(base: Document, own: Document, folder: Path) -> Document:
    """One document over another; problems of what is replaced are no problems.

    Args:
        folder: that a path of `own` starts from, where the base alone says which data set it is of.
    """
    replaced: list[Place] = []
    data, lines = _laid_over(base.data, base.lines, own.data, own.lines, (), replaced)
    absolute_in(data, folder)  # those of the base are absolute already
    left = [p for p in base.problems if not any(tuple(p.at[: len(place)]) == place for place in replaced)]
    return Document(data, lines, [*left, *own.problems])


def _laid_over(
    below: Any, lines_below: Lines, above: Any, lines: Lines, place: Place, replaced: list[Place]
) -> tuple[Any, Lines]:
    """A value over another, and where its parts were written; `replaced` gains the places of what is gone."""
    if not (isinstance(below, dict) and isinstance(above, dict)) or (place and _is_another(below, above)):
        replaced.append(place)
        return above, lines
    data, inside = dict(below), dict(lines_below.inside)
    for key, value in above.items():
        line = lines.inside.get(key, Lines(lines.where))
        if key in data:
            line_below = lines_below.inside.get(key, Lines(lines_below.where))
            data[key], inside[key] = _laid_over(data[key], line_below, value, line, (*place, key), replaced)
        else:
            data[key], inside[key] = value, line
    for key in below:
        inside.setdefault(key, Lines(lines_below.where))  # a named sweep has no lines
    return data, Lines(lines.where, inside)


def _is_another(below: Mapping[str, Any], above: Mapping[str, Any]) -> bool:
    """Whether two mappings name two components."""
    return "name" in above and "name" in below and above["name"] != below["name"]
