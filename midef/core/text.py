"""Text from outside on its way out: to a terminal, a log, a Markdown table, a cell of a spreadsheet.

Names of files and identities, parameters, messages of other programs may hold anything. A terminal obeys some
characters, Markdown and spreadsheets obey others; here they become what they look like. Sizes become words for people.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from contextlib import suppress

_NUMBER = re.compile(r"[-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?%?")
_OBEYED = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""First characters of what a spreadsheet computes, those of full width too."""


def printable(text: str, keep: str = "\n\t") -> str:
    r"""Text for a terminal: control characters, marks that turn the direction of writing, and halves of characters as
    their codes.

    Args:
        text: may hold anything.
        keep: characters to leave as they are.

    >>> printable("a\x1b[2J\u202eb"), printable("Jos\udce9"), printable("a\tb\n", keep="")
    ('a\\x1b[2J\\u202eb', 'Jos\\xe9', 'a\\tb\\n')
    """
    if text.isprintable():
        return text
    with suppress(UnicodeEncodeError):  # of halves of characters; bytes of a file name that are no UTF-8 are told apart
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    shown = (c if c.isprintable() or c in keep or unicodedata.category(c) == "Zs" else _code(c) for c in text)
    return "".join(shown)


def _code(character: str) -> str:
    return character.encode("unicode_escape").decode()


def markdown(text: str) -> str:
    r"""Text for a line of GitHub's Markdown: no markup, no HTML, no link, no end of a table's cell.

    >>> print(markdown("a|b `c` <img> [x](http://y)"))
    a\|b \`c\` &lt;img> [x\](http://y)
    """
    text = printable(" ".join(text.splitlines()), keep="")
    text = text.replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;")
    text = re.sub(r"([|*`~$])", r"\\\1", text)
    text = re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)
    return re.sub(r"\](?=[(\[:])", r"\\]", text)  # brackets mean something in front of these only


def spreadsheet_cell(text: str) -> str:
    """Text for a cell of a CSV file: an apostrophe before what a spreadsheet would compute. Numbers stay.

    >>> spreadsheet_cell("=1+1"), spreadsheet_cell("-5.8"), spreadsheet_cell("-5.8 [-7, 1]")
    ("'=1+1", '-5.8', "'-5.8 [-7, 1]")
    """
    shown = printable(text)
    is_obeyed = text.startswith(_OBEYED) or text.lstrip().startswith(_OBEYED)
    return f"'{shown}" if is_obeyed and not _NUMBER.fullmatch(text.strip()) else shown


_LATEX = {
    **{mark: f"\\{mark}" for mark in "{}$&#_%"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "|": r"\textbar{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "…": r"\ldots{}", "–": "--", "—": "---", "’": "'"},
    **{"●": r"$\bullet$", "⊘": r"$\oslash$", "†": r"$\dagger$", "±": r"$\pm$", "×": r"$\times$", "−": "$-$"},
    **{"≤": r"$\leq$", "≥": r"$\geq$", "→": r"$\rightarrow$", "Δ": r"$\Delta$"},
}


def latex(text: str) -> str:
    r"""Text for a LaTeX document: no command, no mathematics, no end of a cell; letters with accents stay.

    What LaTeX has no letter for is shown as its code. Needs no package.

    >>> print(latex("tl_dmi 50 % & ● --set \\input{x} 漢"))
    tl\_dmi 50 \% \& $\bullet$ -{}-set \textbackslash{}input\{x\} U+6F22
    """
    line = printable(" ".join(text.splitlines()))
    shown = [_LATEX.get(c) or (c if _is_latin(c) else f"U+{ord(c):04X}") for c in line]
    for i in range(1, len(line)):  # two hyphens would become a dash
        if line[i - 1 : i + 1] == "--":
            shown[i] = "{}-"
    return "".join(shown)


def _is_latin(character: str) -> bool:
    return character.isascii() or (ord(character) < 0x180 and character.isalpha())


def readable(size_bytes: int) -> str:
    """A size in bytes for people.

    >>> readable(0), readable(999), readable(1_500_000), readable(73_000_000_000)
    ('0 B', '999 B', '1.5 MB', '73.0 GB')
    """
    size = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun, in the singular for one.

    Args:
        number: how many.
        noun: in the singular.
        plural: where it is not the noun with an s.

    >>> counted(1, "cell"), counted(3700, "cell"), counted(0, "identity", "identities")
    ('1 cell', '3,700 cells', '0 identities')
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def duration(seconds: float | None) -> str:
    """`45 s`, `12 min`, `3.5 h`; `unknown` where nothing is known.

    >>> duration(45.2), duration(725.0), duration(12600.0), duration(None)
    ('45 s', '12 min', '3.5 h', 'unknown')
    """
    if seconds is None:
        return "unknown"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def time_left(seconds: float | None, *, is_about: bool = False, is_least: bool = False) -> str:
    """A time left in words.

    Args:
        seconds: None where it is unknown.
        is_about: part of it is estimated.
        is_least: more work may come.

    >>> time_left(180.0, is_about=True), time_left(180.0, is_about=True, is_least=True), time_left(None)
    ('about 3 min', 'at least about 3 min', 'unknown')
    """
    if seconds is None:
        return duration(seconds)
    return f"{'at least ' if is_least else ''}{'about ' if is_about else ''}{duration(seconds)}"


def durations(seconds: Sequence[float]) -> str:
    """Several of them in one unit, that of the largest but one: `10 / 30 / 500 s`.

    Args:
        seconds: at least one, smallest first.

    >>> durations([185.0, 204.0, 246.0]), durations([0.2, 0.4, 12.0]), durations([36000.0])
    ('3.1 / 3.4 / 4.1 min', '0.2 / 0.4 / 12.0 s', '10.0 h')
    """
    middle = seconds[max(0, len(seconds) - 2)]
    unit, length = ("s", 1) if middle < 90 else ("min", 60) if middle < 5400 else ("h", 3600)
    digits = 0 if middle / length >= 20 else 1
    return " / ".join(f"{one / length:,.{digits}f}" for one in seconds) + f" {unit}"
