"""Text tables of a given width: nothing is lost, no line is longer."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midef.core import ResultRow
from midef.results.layout import TextColumn, column_blocks, fitted_table, wrapped
from midef.results.render import text_table
from midef.results.summary import summarise

Rows = Callable[..., list[ResultRow]]


@settings(max_examples=60, deadline=None)
@given(st.text("ab ,;(=%[1.]-", max_size=120).map(str.strip), st.integers(8, 40))
def test_wrapping_loses_nothing_but_white_space(text: str, width: int) -> None:
    lines = wrapped(text, width)
    assert all(len(line) <= width for line in lines)
    assert re.sub(r"\s", "", "".join(lines)) == re.sub(r"\s", "", text)


def test_intervals_and_percentages_stay_whole() -> None:
    text = "leaks 26.2 less [12.2, 39.2] of 100 %, not resolved [-1.5, 3.0]"
    for width in range(16, 60):
        said = "\n".join(wrapped(text, width))
        assert all(whole in said for whole in ("[12.2, 39.2]", "100 %", "[-1.5, 3.0]"))


def test_blocks_repeat_the_leading_columns_and_show_every_cell_once() -> None:
    names = tuple(f"defense_{i}(alpha={'1' * 40})" for i in range(2))
    columns = [TextColumn("", ("●", "")), TextColumn("defense", names)]
    columns += [TextColumn(f"metric {i}", (f"{i}.1", f"{i}.2"), "right") for i in range(9)]
    columns += [TextColumn("words", ("long " * 30, "short"))]
    blocks = column_blocks(columns, 60, repeated=2)
    assert len(blocks) > 2 and all(len(line) <= 60 for block in blocks for line in block)
    for block in blocks:
        assert "defense" in block[0] and any(line.startswith("●") for line in block)
    text = "\n".join("\n".join(block) for block in blocks)
    assert all(text.count(f"{i}.{k}") == 1 for i in range(9) for k in (1, 2)) and text.count("long") == 30
    (whole,) = column_blocks(columns, None, repeated=2)
    assert len(whole) == 4


@pytest.mark.parametrize("width", [40, 100])
def test_no_table_is_wider_than_it_may_be(cell: Rows, lost: Rows, papers: list[ResultRow], width: int) -> None:
    """Long names, long reasons, a refused setup, published numbers, forty attributes in a data set's name."""
    long_name = f"midre({','.join(f'parameter_{i}={i}' for i in range(12))})"
    rows = [*cell("none", 0, 90.0, 50.0, within=5.0), *cell("bido", 0, 85.0, 30.0, within=5.0)]
    rows += cell(long_name, 0, 80.0, 20.0, within=5.0, private=f"data({'x' * 150})", stand_ins="a for b; " * 30)
    rows += [r for d in ("none", "a") for r in lost(d, setup="gone", reason="no file " * 20)]
    found = summarise(rows)
    text, wide = text_table(found, papers, width=width), text_table(found, papers)
    assert max(map(len, text.splitlines())) <= width < max(map(len, wide.splitlines()))
    squeezed = re.sub(r"\s", "", text)
    for value in ("80.0[75.0,85.0]", "79.85/43.53", "refused:" + "nofile" * 20):
        assert value in squeezed
    assert all(f"parameter_{i}={i}" in squeezed for i in range(12))


def test_a_heading_is_wrapped_where_numbers_are_not() -> None:
    name = TextColumn("setup", ("mine", "yours"))
    numbers = TextColumn(
        "att@1 % midre(area_high=0.3695)", ("21.2 [8.8, 40.6]", "3.0 [1.2, 7.1]"), "right", is_whole=True
    )
    wide = fitted_table([name, numbers], 100)
    narrow = fitted_table([name, numbers], 26)
    assert max(map(len, wide)) == 5 + 2 + len(numbers.header) and max(map(len, narrow)) <= 26
    assert "21.2 [8.8, 40.6]" in "\n".join(narrow) and "area_high=" in "".join(narrow)
