"""Text that a terminal, Markdown or a spreadsheet would obey."""

from __future__ import annotations

import csv
import io
import unicodedata

import pytest

from midef.core.text import markdown, printable, spreadsheet_cell

CONTROLS = [chr(n) for n in (*range(32), *range(127, 160))]
TURNS = list("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c\u2028\u2029")


@pytest.mark.parametrize("character", [*CONTROLS, *TURNS], ids=lambda c: f"U+{ord(c):04X}")
def test_a_terminal_is_not_told_what_to_do(character: str) -> None:
    shown = printable(f"a{character}b", keep="")
    assert shown.isprintable() and shown.startswith("a\\") and shown.endswith("b")


@pytest.mark.parametrize("text", ["José, 40 %", "名前　空白", "a\u00a0b", "→ ● [98.4, 99.8]", "\\x1b", ""])
def test_letters_of_any_alphabet_stay(text: str) -> None:
    assert printable(text) == text


def test_line_breaks_stay_where_they_may() -> None:
    assert printable("a\tb\nc\r") == "a\tb\nc\\r"
    assert printable("Jos\udce9, Jos\udcc3\udca9") == "Jos\\xe9, José"
    assert printable("\ud800") == "\\ud800"


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a|b", r"a\|b"),
        ("`rm`", r"\`rm\`"),
        ("<script>&lt;", "&lt;script>&amp;lt;"),
        ("[here](http://x)", r"[here\](http://x)"),
        ("![x](y)", r"![x\](y)"),
        ("[a]: http://x", r"[a\]: http://x"),
        ("two\r\nlines\u2028or three", "two lines or three"),
        ("**bold** _it_ ~~no~~ $x$", r"\*\*bold\*\* \_it\_ \~\~no\~\~ \$x\$"),
        ("\x1b[31m", r"\\x1b[31m"),
        ("tl_dmi [98.4, 99.8] (acc -0.8)", "tl_dmi [98.4, 99.8] (acc -0.8)"),
    ],
)
def test_markdown(text: str, escaped: str) -> None:
    assert markdown(text) == escaped


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t=", "\r@", " =", "＝", "＋"])
def test_a_spreadsheet_computes_no_text(begin: str) -> None:
    assert spreadsheet_cell(f"{begin}HYPERLINK(1)").startswith("'")


@pytest.mark.parametrize("text", ["-5.8", "+3", "-1e-3", "-12,000", "-5%", "midre(area_high=0.8)", "a-b", ""])
def test_numbers_and_ordinary_texts_stay(text: str) -> None:
    assert spreadsheet_cell(text) == text


def test_a_cell_is_read_back_as_one_cell() -> None:
    out = io.StringIO()
    csv.writer(out).writerow([spreadsheet_cell('=1+1",\n"x'), 2])
    assert list(csv.reader(io.StringIO(out.getvalue()))) == [['\'=1+1",\n"x', "2"]]


def test_every_control_character_was_tried() -> None:
    assert {c for c in map(chr, range(256)) if unicodedata.category(c) == "Cc"} == set(CONTROLS)
