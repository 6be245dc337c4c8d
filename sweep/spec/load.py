"""Specifications from YAML files and plain data: reading, overrides, validation against the schema."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from midef.core.conversion import exponent_hint, shown
from midef.core.errors import Problem, SpecError
from midef.sweep.spec.document import MAX_DEPTH, Document, read_document, read_file
from midef.sweep.spec.lines import Lines, Place, shown_place
from midef.sweep.spec.matching import FrontSpec, MatchSpec, RangeSpec
from midef.sweep.spec.paths import absolute_in
from midef.sweep.spec.schema import ProtocolSpec, SetupSpec, SweepSpec

_TURNS = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
_MARKS = "\u200e\u200f\u061c"
_MOST_PROBLEMS = 1000
"""Problems of a file that are looked for; more are no help."""


def read_yaml(path: Path, named: Sequence[str] = ()) -> Document:
    """Plain data of a specification in a YAML file, its relative paths of data sets made absolute.

    Args:
        path: the file; data sets' paths in it are relative to its folder.
        named: named sweeps, listed in the error if there is no such file.

    Raises:
        SpecError: if the file cannot be read as a mapping.
    """
    try:
        document = read_file(path)
    except FileNotFoundError:
        raise SpecError(f"no such file {path}; give a YAML file or one of: {', '.join(named)}") from None
    if not isinstance(document.data, dict):
        holds = type(document.data).__name__
        raise SpecError(
            f"{path}, line 1: must hold a mapping with name, setups, defenses; it holds "
            + ("nothing" if document.data is None else holds)
        )
    absolute_in(document.data, path.parent)
    return replace(document, lines=Lines(path.name, document.lines.inside))


def override(document: Document, text: str) -> Document:
    """Apply `a.b.0.c=value` to a document, its data in place; the value is read as YAML.

    Raises:
        SpecError: if the text cannot be read, or names a place that the data cannot have.
    """
    written, equals, value = text.partition("=")
    if not equals:
        raise SpecError(f"cannot read --set {text!r}; write key.path=value")
    option = f"--set {text if len(text) <= 80 else text[:80] + '...'}"
    keys = written.split(".")
    if len(keys) > MAX_DEPTH:
        raise SpecError(f"{option} does not fit the specification: more than {MAX_DEPTH} keys")
    place: list[str | int] = []
    inside: Any = document.data
    for key in keys[:-1]:
        place.append(_step(inside, key, option, place))
        if isinstance(inside, dict) and inside.get(key) is None:
            inside[key] = {}
        inside = inside[place[-1]]
    place.append(_step(inside, keys[-1], option, place))
    given = read_document(value, option, tuple(place))
    inside[place[-1]] = given.data
    kept = [problem for problem in document.problems if tuple(problem.at[: len(place)]) != tuple(place)]
    return Document(document.data, document.lines.replaced(place, option), [*kept, *given.problems])


def _step(inside: Any, key: str, option: str, place: Sequence[str | int]) -> str | int:
    """The key of a mapping, or the position in a list."""
    where = shown_place(place) or "the sweep"
    if isinstance(inside, dict):
        return key
    if not isinstance(inside, list):
        raise SpecError(f"{option} does not fit the specification: {where} holds {shown(inside)}, which has no {key!r}")
    if not (key.isascii() and key.isdigit() and len(key) < 10 and int(key) < len(inside)):
        last = f"positions 0 to {len(inside) - 1}" if inside else "no positions"
        raise SpecError(f"{option} does not fit the specification: {where} is a list with {last}, got {key!r}")
    return int(key)


def parse_spec(data: Mapping[str, Any], where: str = "sweep") -> SweepSpec:
    """Check plain data against the schema.

    Args:
        data: the specification.
        where: file or name it comes from, the beginning of each problem.

    Raises:
        SpecError: every problem at once.
    """
    return parse_document(Document(data, Lines(where)))


def parse_document(document: Document) -> SweepSpec:
    """Check a document against the schema; the specification remembers where its values were written.

    Raises:
        SpecError: every problem at once.
    """
    data, lines = document.data, document.lines
    problems = [*document.problems]
    problems += [_located(p, lines) for p in _unprintable(data, ())]
    known = {problem.at for problem in problems}
    try:
        spec = SweepSpec.model_validate(data)
    except ValidationError as error:
        found = (_of_schema(item, data) for item in error.errors()[:_MOST_PROBLEMS])
        problems += [_located(p, lines) for p in found if not any(p.at[: len(at)] == at for at in known)]
    if problems:
        raise SpecError(list(dict.fromkeys(problems)))
    return spec.written_at(lines)


def _located(problem: Problem, lines: Lines) -> Problem:
    """The problem with its place, as the file or the option has it."""
    found, place = lines.find(problem.at), shown_place(problem.at)
    between = "." if found == lines.where and not lines.inside else ": "
    return Problem(f"{found}{between if place else ''}{place}: {problem}", at=problem.at)


def _of_schema(item: Mapping[str, Any], data: Any) -> Problem:
    """A problem that pydantic found."""
    place = _place_of(item["loc"], data)
    if item["type"] == "extra_forbidden":
        known = _known_fields(item["loc"])
        near = get_close_matches(str(item["loc"][-1])[:100], known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}"
        return Problem(f"unknown field{hint}", at=place)
    text = item["msg"].removeprefix("Value error, ")
    if item["type"] == "missing" or ", got " in text:
        return Problem(text, at=place)
    return Problem(f"{text}, got {shown(item['input'])}{exponent_hint(item['input'])}", at=place)


def _place_of(loc: Sequence[str | int], data: Any) -> Place:
    """Keys and positions that lead to a value, without the names pydantic gives the members of a union."""
    place: list[str | int] = []
    for i, step in enumerate(loc):
        is_there = (isinstance(data, list) and isinstance(step, int) and step < len(data)) or (
            isinstance(data, Mapping) and step in data
        )
        if is_there:
            data = data[step]
        elif not (isinstance(data, Mapping) and i == len(loc) - 1):  # a missing field is named, too
            continue
        place.append(step)
    return tuple(place)


def _unprintable(data: Any, place: Place) -> Iterator[Problem]:
    """Texts that hold a character which no file and no table can, and what is nested without end."""
    if len(place) > MAX_DEPTH:
        yield Problem(f"nested deeper than {MAX_DEPTH} mappings and lists", at=place[:1])
    elif isinstance(data, str):
        odd = None if data.isprintable() else next(filter(_is_odd, data), None)
        if odd is not None:
            yield Problem(f"holds the character U+{ord(odd):04X}, which is no part of a text; leave it out", at=place)
    elif isinstance(data, Mapping):
        for key, value in data.items():
            yield from _unprintable(key, (*place, key))
            yield from _unprintable(value, (*place, key))
    elif isinstance(data, list | tuple):
        for i, value in enumerate(data):
            yield from _unprintable(value, (*place, i))


def _is_odd(character: str) -> bool:
    """Whether it is a control character, half of a character, or turns the direction of writing."""
    is_control = unicodedata.category(character) in ("Cc", "Cs") and character not in "\t\n"
    return is_control or unicodedata.bidirectional(character) in _TURNS or character in _MARKS


def _known_fields(loc: tuple[int | str, ...]) -> list[str]:
    """Fields of the model that an unknown field was found in."""
    models: dict[str, type[BaseModel]] = {"setups": SetupSpec, "match": MatchSpec, "front": FrontSpec}
    model = models.get(str(loc[0]), SweepSpec) if len(loc) > 1 else SweepSpec
    if "protocol" in loc[1:-1]:
        model = ProtocolSpec
    elif "ranges" in loc[1:-1]:
        model = RangeSpec
    return sorted(model.model_fields)
