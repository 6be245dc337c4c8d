r"""How a component is written on one line, on the command line, in YAML and in reports: `name:preset(parameter=value)`.

Values are bare text, quoted text where they hold a comma or an unpaired bracket (`image_folder(path="/data/a,b.zip")`),
lists `[1, 2]`, mappings `{steps: 10}` and `None`. In quotes a backslash stands before a quote or a backslash only, so
`"C:\data"` is what it looks like. What a value means is up to the parameter's declared type.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_HEAD = re.compile(r"(?P<name>[\w-]+)(?::(?P<preset>[\w.-]+))?")
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_QUOTES = "\"'"
_MAX_DEPTH = 32


class GrammarError(ValueError):
    """A text that cannot be read, and where.

    Args:
        at: character, counted from 1.
    """

    def __init__(self, message: str, at: int) -> None:
        super().__init__(f"character {at}: {message}")


@dataclass(frozen=True)
class Call:
    """A component as written, unchecked."""

    name: str
    preset: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)


def read_call(text: str) -> Call:
    """Read one component; values are text, lists, mappings and None.

    Raises:
        GrammarError: names the character.
    """
    reader = _Reader(text)
    call = reader.call()
    reader.end()
    return call


def split_parts(text: str) -> list[str]:
    """The components of a stack: `midre(area_high=4e+1)+nls` is two.

    Raises:
        GrammarError: names the character.
    """
    reader = _Reader(text)
    parts: list[str] = []
    while True:
        start = reader.at
        reader.call()
        parts.append(text[start : reader.at].strip())
        if reader.peek() != "+":
            break
        reader.at += 1
    reader.end()
    return parts


def write_call(name: str, params: Mapping[str, Any]) -> str:
    """Write one component as `read_call` reads it back, numbers as short as they stay equal."""
    return f"{name}({','.join(f'{key}={_written(value)}' for key, value in params.items())})" if params else name


def _written(value: Any, *, inside: bool = False) -> str:
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_written(item, inside=True) for item in value)}]"
    if isinstance(value, Mapping):
        pairs = (f"{_key(key)}: {_written(item, inside=True)}" for key, item in value.items())
        return f"{{{', '.join(pairs)}}}"
    if not isinstance(value, str):
        return str(value)
    return _quoted(value) if (inside and not value) or not _is_read_bare(value) else value


def _is_read_bare(text: str) -> bool:
    """Whether it needs no quotes, in a call, a list or a mapping."""
    try:
        read = read_call(f"x(a={text},b=[0, {text}],c={{d: {text}}})").params
    except GrammarError:
        return False
    return read == {"a": text, "b": ["0", text] if text else ["0"], "c": {"d": text}}


def _key(text: str) -> str:
    return text if re.fullmatch(r"[\w.-]+", text) else _quoted(text)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0

    def wrong(self, message: str, at: int | None = None) -> GrammarError:
        return GrammarError(message, (self.at if at is None else at) + 1)

    def peek(self) -> str:
        """The next character that is no space; "" at the end."""
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1
        return self.text[self.at : self.at + 1]

    def end(self) -> None:
        if self.peek():
            raise self.wrong(f"unexpected {self.peek()!r}")

    def quote_is_next(self) -> bool:
        return self.peek() in ('"', "'")

    def call(self) -> Call:
        self.peek()
        head = _HEAD.match(self.text, self.at)
        if head is None:
            raise self.wrong("no name; write name, name:preset or name(parameter=value)")
        self.at = head.end()
        params = self.pairs("(", "=") if self.text[self.at : self.at + 1] == "(" else {}
        return Call(head["name"], head["preset"], params)

    def pairs(self, opening: str, between: str) -> dict[str, Any]:
        """`(key=value, ...)` or `{key: value, ...}`."""
        start, closing = self.at, _CLOSING[opening]
        pairs: dict[str, Any] = {}
        self.at += 1
        while self.peek() != closing:
            at = self.at
            key = self.quoted() if self.quote_is_next() else self.word(between + "," + closing)
            if self.peek() != between:
                if not self.peek():
                    raise self.wrong(f"{opening!r} is never closed", start)
                form = "parameter=value" if between == "=" else "key: value"
                raise self.wrong(f"cannot read {key!r}; write {form}{self.in_quotes(pairs, key, between)}", at)
            self.at += 1
            if key in pairs:
                raise self.wrong(f"{key!r} is given twice", at)
            pairs[key] = self.value("," + closing)
            self.comma(closing, start)
        self.at += 1
        return pairs

    @staticmethod
    def in_quotes(pairs: Mapping[str, Any], rest: str, between: str) -> str:
        """What to write if a comma before `rest` was part of a value."""
        last = next(reversed(list(pairs)), "")
        value = pairs.get(last)
        if not isinstance(value, str):
            return ""
        quoted = f"{last}{between}{_quoted(f'{value}, {rest}')}"
        return f"; a value with a comma stands in quotes, {quoted}, or in a mapping of a YAML file"

    def items(self, opening: str) -> list[Any]:
        start, closing = self.at, _CLOSING[opening]
        items: list[Any] = []
        self.at += 1
        while self.peek() != closing:
            items.append(self.value("," + closing))
            self.comma(closing, start)
        self.at += 1
        return items

    def comma(self, closing: str, start: int) -> None:
        """Past a comma, up to the closing bracket."""
        if self.peek() == ",":
            self.at += 1
        elif not self.peek():
            raise self.wrong(f"{self.text[start]!r} is never closed", start)
        elif self.peek() != closing:
            raise self.wrong(f"unexpected {self.peek()!r}; write ',' or {closing!r}")

    def word(self, ends: str) -> str:
        """Up to one of `ends`, without spaces around."""
        start = self.at
        while self.at < len(self.text) and self.text[self.at] not in ends:
            self.at += 1
        return self.text[start : self.at].strip()

    def value(self, ends: str) -> Any:
        if self.quote_is_next():
            return self.quoted()
        following = self.peek()
        if following in ("[", "(", "{"):
            self.depth += 1
            if self.depth > _MAX_DEPTH:
                raise self.wrong(f"more than {_MAX_DEPTH} brackets inside each other")
            inside = self.pairs("{", ":") if following == "{" else self.items(following)
            self.depth -= 1
            return inside
        bare = self.bare(ends)
        return None if bare == "None" else bare

    def quoted(self) -> str:
        start, quote = self.at, self.text[self.at]
        self.at += 1
        characters: list[str] = []
        while self.at < len(self.text) and self.text[self.at] != quote:
            if self.text[self.at] == "\\" and self.text[self.at + 1 : self.at + 2] in (quote, "\\"):
                self.at += 1
            characters.append(self.text[self.at])
            self.at += 1
        if self.at >= len(self.text):
            raise self.wrong("the quote is never closed", start)
        self.at += 1
        return "".join(characters)

    def bare(self, ends: str) -> str:
        """Text up to one of `ends`, outside brackets; in brackets a quote counts where a value begins: `f(x="a,b")`."""
        start, begins = self.at, True
        opened: list[int] = []
        while self.at < len(self.text) and (opened or self.text[self.at] not in ends):
            now = self.text[self.at]
            if opened and begins and now in _QUOTES:
                self.quoted()
                begins = False
                continue
            if now in _CLOSING:
                opened.append(self.at)
            elif now in ")]}":
                if not opened or _CLOSING[self.text[opened[-1]]] != now:
                    raise self.wrong(f"{now!r} closes nothing")
                opened.pop()
            begins = now in "([{,=:" or (begins and now.isspace())
            self.at += 1
        if opened:
            raise self.wrong(f"{self.text[opened[-1]]!r} is never closed", opened[-1])
        return self.text[start : self.at].strip()
