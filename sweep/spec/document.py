"""YAML text as plain data, with the line of every value; what YAML would read in a surprising way is refused.

A specification needs mappings, lists, text, numbers, truth values and null. Everything else that YAML can do (tags,
numbers to base 8 or 60, the same key twice, aliases that multiply) changes a value without a word, or takes for ever.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midef.core.errors import Problem, SpecError
from midef.sweep.spec.lines import Lines, Place, shown_place
from midef.sweep.spec.scalars import Unclear, read_scalar

if TYPE_CHECKING:
    from yaml.events import AliasEvent, Event, ScalarEvent

MAX_BYTES = 2**20
"""Largest file; the published matrix of 37 setups takes a fiftieth of it."""
MAX_VALUES = 50_000
"""Most values of a file, those of an alias counted wherever it stands."""
MAX_KEYS = 1000
"""Most keys of one mapping."""
MAX_DEPTH = 32
"""Deepest nesting of mappings and lists."""

_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "seq", "map"))
_TEXT = "tag:yaml.org,2002:str"


@dataclass(frozen=True)
class Document:
    """Content of a YAML text.

    Args:
        data: plain data.
        lines: where each value stands.
        problems: what has to be written another way; the data then holds a guess in its place.
    """

    data: Any
    lines: Lines
    problems: Sequence[Problem] = ()


def read_file(path: Path) -> Document:
    """Content of a YAML file.

    Raises:
        FileNotFoundError: if there is none.
        SpecError: if it is no ordinary file, is no YAML in UTF-8, or is too large to be a specification.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "no ordinary file"
            raise SpecError(f"{path} is {kind}; give a YAML file")
        if status.st_size > MAX_BYTES:
            raise SpecError(f"{path} has {status.st_size:,} bytes; a specification has at most {MAX_BYTES:,}")
        content = path.read_bytes()
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise SpecError(f"{path} cannot be read: {error}") from error
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise SpecError(f"{path}, line 1: cannot be read as YAML: it is in UTF-16; save it in UTF-8")
    try:
        return read_document(content.decode("utf-8-sig"), path.name)
    except UnicodeDecodeError as error:
        line, byte = content.count(b"\n", 0, error.start) + 1, content[error.start]
        said = f"byte {byte:#04x} is no text in UTF-8; save it in UTF-8"
        raise SpecError(f"{path}, line {line}: cannot be read as YAML: {said}") from error


def read_document(text: str, name: str, within: Place = ()) -> Document:
    """Content of a YAML text.

    Args:
        text: one document.
        name: of the file, or the option that the text was given with; begins each problem.
        within: the place that an option gives.

    Raises:
        SpecError: if it cannot be parsed, or is too large to be a specification.
    """
    import yaml  # here: a named sweep is planned without it

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _Reader(yaml.parse(text, Loader=loader), name, within).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = " ".join(part for part in (error.context, error.problem) if part)
        where = name if mark is None or within else f"{name}, line {mark.line + 1}"
        tab = mark is not None and "\t" in "".join(text.splitlines()[mark.line : mark.line + 1])
        hint = "; indent with blanks, not with tabs" if tab else ""
        raise SpecError(f"{where}: cannot be read as YAML: {said}{hint}") from error
    except yaml.reader.ReaderError as error:
        at = next((i for i, c in enumerate(text) if not c.isprintable() and c not in "\n\r\t"), 0)
        where = name if within else f"{name}, line {text.count(chr(10), 0, at) + 1}"
        raise SpecError(
            f"{where}: cannot be read as YAML: the character {text[at : at + 1]!r} is not allowed"
        ) from error
    except UnicodeEncodeError as error:
        raise SpecError(f"{name}: cannot be read as YAML: {text[error.start]!r} is no character of Unicode") from error


@dataclass(frozen=True)
class _Value:
    """A value, where it stands, and how many values it holds, itself included."""

    data: Any
    lines: Lines
    size: int = 1


class _Reader:
    """Makes plain data of the events of a parser.

    Args:
        events: of one text.
        name: of the file or the option.
        within: the place that an option gives.
    """

    def __init__(self, events: Iterator[Event], name: str, within: Place) -> None:
        self.events, self.name, self.within = events, name, within
        self.problems: list[Problem] = []
        self.anchors: dict[str, _Value | None] = {}  # None while the value is being read
        self.size = 0

    def document(self) -> Document:
        """The only document of the text; None where it is empty."""
        from yaml.events import DocumentStartEvent, StreamEndEvent

        next(self.events)  # start of the stream
        start = next(self.events)
        if isinstance(start, StreamEndEvent):
            return Document(None, Lines(f"{self.name}, line 1"))
        value = self.value(next(self.events), self.within)
        next(self.events)  # end of the document
        after = next(self.events)
        if isinstance(after, DocumentStartEvent):
            self.refuse(after, "a second document begins here; give one sweep per file")
        return Document(value.data, value.lines, self.problems)

    def where(self, event: Event) -> str:
        """Where it stands, in words."""
        return self.name if self.within else f"{self.name}, line {_line(event)}"

    def note(self, event: Event, place: Place, text: str) -> None:
        """Note a problem and go on."""
        shown = shown_place(place)
        self.problems.append(Problem(f"{self.where(event)}: {shown + ': ' if shown else ''}{text}", at=place))

    def refuse(self, event: Event, text: str) -> None:
        """Stop reading.

        Raises:
            SpecError: with the problems before.
        """
        raise SpecError([*self.problems, f"{self.where(event)}: {text}"])

    def count(self, event: Event, size: int) -> None:
        """Count values towards the limit."""
        self.size += size
        if self.size > MAX_VALUES:
            self.refuse(event, f"more than {MAX_VALUES:,} values, those of an alias counted wherever it stands")

    def value(self, event: Event, place: Place) -> _Value:
        """The value that begins with an event."""
        from yaml.events import AliasEvent, CollectionStartEvent, MappingStartEvent, ScalarEvent

        if isinstance(event, AliasEvent):
            return self.alias(event)
        assert isinstance(event, ScalarEvent | CollectionStartEvent), event
        self.count(event, 1)
        if len(place) > MAX_DEPTH:
            self.refuse(event, f"nested deeper than {MAX_DEPTH} mappings and lists")
        if event.tag not in (None, "!") and event.tag not in _TAGS:
            tag = str(event.tag).replace("tag:yaml.org,2002:", "!!")
            self.note(event, place, f"the tag {tag} is not supported; leave it out")
        if event.anchor:
            self.anchors[event.anchor] = None
        if isinstance(event, ScalarEvent):
            made = self.scalar(event, place)
        elif isinstance(event, MappingStartEvent):
            made = self.mapping(event, place)
        else:
            made = self.sequence(event, place)
        if event.anchor:
            self.anchors[event.anchor] = made
        return made

    def alias(self, event: AliasEvent) -> _Value:
        """A copy of the value that was named: a later change of one is no change of the other."""
        name = str(event.anchor)
        if name not in self.anchors:
            self.refuse(event, f"*{name} names no value before it; write &{name} in front of one")
        named = self.anchors[name]
        if named is None:
            self.refuse(event, f"*{name} stands inside the value it names; that has no end")
        assert named is not None
        self.count(event, named.size)
        return _Value(deepcopy(named.data), named.lines, named.size)

    def scalar(self, event: ScalarEvent, place: Place) -> _Value:
        """Text, a number, a truth value or null."""
        lines = Lines(self.where(event))
        is_text = event.implicit[1] or event.tag in ("!", _TEXT)
        try:
            return _Value(read_scalar(event.value, is_text=is_text), lines)
        except Unclear as unclear:
            self.note(event, place, str(unclear))
            return _Value(event.value, lines)

    def sequence(self, start: Event, place: Place) -> _Value:
        """A list."""
        from yaml.events import SequenceEndEvent

        items: list[_Value] = []
        while not isinstance(event := next(self.events), SequenceEndEvent):
            items.append(self.value(event, (*place, len(items))))
        lines = Lines(self.where(start), {i: item.lines for i, item in enumerate(items)})
        return _Value([item.data for item in items], lines, 1 + sum(item.size for item in items))

    def mapping(self, start: Event, place: Place) -> _Value:
        """A mapping; what `<<` merges into it stands below what it says itself."""
        from yaml.events import MappingEndEvent

        entries: dict[str, _Value] = {}
        written: dict[str, list[int]] = {}
        below: list[_Value] = []
        while not isinstance(event := next(self.events), MappingEndEvent):
            key, is_merge = self.key(event, place)
            if len(written) >= MAX_KEYS:
                self.refuse(event, f"more than {MAX_KEYS:,} keys in one mapping")
            value = self.value(next(self.events), (*place, key))
            if is_merge:
                below += self.merged(event, value, place)
                continue
            written.setdefault(key, []).append(_line(event))
            at = value.lines if value.lines.inside else Lines(self.where(event))
            entries[key] = _Value(value.data, Lines(self.where(event), at.inside), value.size)
        for key, numbers in written.items():
            if len(numbers) > 1:
                text = (
                    f"{self.name}: {shown_place((*place, key))} is given {_times(len(numbers))}, in {_lines(numbers)}"
                )
                self.problems.append(Problem(text, at=(*place, key)))
        for other in below:
            for key in other.data:
                entries.setdefault(key, _Value(other.data[key], other.lines.inside[key]))
        lines = Lines(self.where(start), {key: value.lines for key, value in entries.items()})
        data = {key: value.data for key, value in entries.items()}
        return _Value(data, lines, 1 + sum(1 + value.size for value in entries.values()))

    def key(self, event: Event, place: Place) -> tuple[str, bool]:
        """A key, which is text, and whether it is `<<`, which merges."""
        from yaml.events import AliasEvent, ScalarEvent

        value = self.value(event, place)
        if isinstance(event, ScalarEvent) and event.implicit[0] and event.value == "<<":
            return event.value, True
        if isinstance(value.data, str):
            return value.data, False
        shown = event.value if isinstance(event, ScalarEvent) else str(value.data)[:40]
        if isinstance(event, ScalarEvent | AliasEvent) and not isinstance(value.data, list | dict):
            self.note(event, place, f"the key {shown} is read as {_kind(value.data)}; write it in quotes, as text")
        else:
            self.note(event, place, f"a key is text, not {_kind(value.data)}; write key: value")
        return shown, False

    def merged(self, event: Event, value: _Value, place: Place) -> list[_Value]:
        """The mappings that `<<` names, the first one first."""
        parts = [value]
        if isinstance(value.data, list):
            parts = [_Value(data, value.lines.inside[i]) for i, data in enumerate(value.data)]
        if all(isinstance(part.data, dict) for part in parts):
            return parts
        self.note(event, place, "<< merges a mapping, or a list of mappings; write <<: *name")
        return []


def _line(event: Event) -> int:
    """Line that it begins in, from 1."""
    assert event.start_mark is not None
    return event.start_mark.line + 1


def _kind(data: Any) -> str:
    """What a value is, in YAML's words."""
    kinds = {bool: "a truth value", dict: "a mapping", list: "a list", type(None): "null"}
    return kinds.get(type(data), "a number")


def _times(count: int) -> str:
    return "twice" if count == 2 else f"{count} times"


def _lines(numbers: Sequence[int]) -> str:
    different = list(dict.fromkeys(numbers))
    if len(different) == 1:
        return f"line {different[0]}"
    first = ", ".join(map(str, islice(different, min(len(different) - 1, 10))))
    return f"lines {first} and {different[-1]}"
