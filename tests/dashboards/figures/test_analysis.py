"""Figures of the analyses: what is drawn, and that a small profile is named in the figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from midef.dashboards.figures.analysis import fisher_figure, rank_figure, write

STAMP = "mini profile; stands in: " + "; ".join(f"network{i}_tiny for network{i}" for i in range(8)) + " <b>"


def figures(stamp: str = "") -> list[Any]:
    units = [
        {"unit": "block1", "classifying": 1.0, "inverting": 3.0},
        {"unit": "head", "classifying": 3.0, "inverting": 1.0},
    ]
    curve = [{"rank": 0, "share": 1.0}, {"rank": 8, "share": 0.25}]
    return [fisher_figure(units, "units", stamp), rank_figure(curve, [{"defense": "loft", **curve[1]}], "rank", stamp)]


def test_shares_are_in_percent() -> None:
    fisher, rank = figures()
    assert [list(bars.y) for bars in fisher.data] == [[25.0, 75.0], [75.0, 25.0]]
    assert [list(trace.y) for trace in rank.data] == [[100.0, 25.0], [25.0]]


@pytest.mark.parametrize("which", [0, 1])
def test_the_stamp_is_in_the_figure_as_text(which: int) -> None:
    (note,) = figures(STAMP)[which].layout.annotations
    assert note.text.replace("<br>", " ") == STAMP.replace("<b>", "&lt;b&gt;")
    assert "<br>" in note.text  # long ones are broken
    assert not figures()[which].layout.annotations


def test_a_written_figure_cannot_be_uploaded(tmp_path: Path) -> None:
    write(figures()[0], tmp_path / "deep" / "figure.html")
    html = (tmp_path / "deep" / "figure.html").read_text()
    assert '"showSendToCloud": false' in html and '"displaylogo": false' in html
