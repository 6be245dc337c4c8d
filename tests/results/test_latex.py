"""LaTeX tables: what a strict reader of the text accepts."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midef.core import ResultRow
from midef.core.errors import SpecError
from midef.core.text import latex
from midef.results.latex import latex_table
from midef.results.summary import summarise

Rows = Callable[..., list[ResultRow]]

ESCAPED = re.compile(
    r"\\[{}$&#_%]|\\text(backslash|asciitilde|asciicircum|bar|less|greater)\{\}|\\ldots\{\}"
    r"|\$(\\[a-z]+(?![a-z])|-)\$|\{\}(?=-)"
)
SPECIAL = re.compile(r"[\\{}$&#_%~^|<>]")


def unescaped(text: str) -> list[str]:
    """Characters with a meaning to LaTeX that stand bare, and those it has no letter for."""
    left = ESCAPED.sub("", text)
    return SPECIAL.findall(left) + [c for c in left if not (c.isascii() or (ord(c) < 0x180 and c.isalpha()))]


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=40) | st.text("\\{}$&#_%~^|<>-–●±†é漢 a", max_size=40))
def test_any_text_is_escaped(text: str) -> None:
    assert not unescaped(latex(text)), latex(text)
    assert "\n" not in latex(text) and not re.search(r"--", latex(text.replace("–", "").replace("—", "")))


def test_the_check_sees_what_is_not_escaped() -> None:
    assert unescaped("a_b") and unescaped(r"\input{x}") and unescaped("50 %") and unescaped("●")


CELL = re.compile(r"\\textbf\{(.*)\}")
FRAME = re.compile(r"\\(begin|end)\{(\w+)\}")


def test_a_table_is_whole(cell: Rows, lost: Rows, papers: list[ResultRow]) -> None:
    rows = [*cell("none", 0, 90.0, 50.0, within=2.0), *cell(r"a_b&\x{1}", 0, 80.0, 20.0, within=2.0)]
    rows += [*cell("none", 0, 90.0, 50.0, setup="two_2"), *(r for d in ("none", "a") for r in lost(d, setup="gone"))]
    text = latex_table(summarise(rows), papers)
    opened: list[str] = []
    for what, name in FRAME.findall(text):
        if what == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert not opened and text.count(r"\begin{tabular}") == 2
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    assert text.count(r"\toprule") == text.count(r"\midrule") == text.count(r"\bottomrule") == 2
    for kinds, body in re.findall(r"\\begin\{tabular\}\{(\w+)\}\n(.*?)\\end\{tabular\}", text, re.S):
        lines = [line for line in body.splitlines() if line.endswith(r"\\")]
        for line in lines:
            cells = re.split(r"(?<!\\)&", line.removesuffix(r"\\"))
            assert len(cells) == len(kinds), line
            for one in cells:
                found = CELL.fullmatch(one.strip())
                assert not unescaped(found[1] if found else one), one
    (caption, *_) = re.findall(r"\\caption\{(.*)\}", text)
    assert not unescaped(caption) and "95 \\% made up" in caption
    assert r"\label{tab:two-2}" in text
    assert all(line.startswith("%") for line in text.split(r"\end{table}")[-1].strip().splitlines())
    assert "attack not registered: ppa" in text


def test_chosen_columns_in_the_order_of_the_choice(cell: Rows) -> None:
    found = summarise(cell("none", 0, 90.0, 50.0))
    text = latex_table(found, columns=["att@1 %", "natural_accuracy"])
    assert r" & defense & att@1 \% & test acc \% \\" in text
    with pytest.raises(SpecError, match="no column 'atack_accuracy_at_1'; did you mean"):
        latex_table(found, columns=["atack_accuracy_at_1"])


def test_nothing_measured() -> None:
    assert latex_table([]).startswith("%")
