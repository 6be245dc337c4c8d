"""The figures over strengths: drawn from the committed tables, every line told apart and labelled."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "defenses"
PAGE = """
| none (strengths) | | 99.0 [98.7, 99.3] | 34.4 [28.3, 40.0] | |
| MIDRE | area_high 0.1 | 99.0 [99.0, 99.0] | 45.6 [45.0, 46.7] | not monotone |
|  | area_high 0.8 | 92.2 [89.7, 94.0] | 44.4 [38.3, 56.7] |  |
| Negative label smoothing | alpha -0.02 | 98.9 [98.3, 99.3] | 34.4 [25.0, 43.3] | falls |

  | share left out | random place (RE) | fixed place (FE) | whole images (EE) |
  | --- | --- | --- | --- |
  | 0.1 | 99.0 / 45.6 | 98.8 / 33.3 | 98.6 / 31.7 |
  | 0.3 | 96.2 / 40.0 | 89.7 / 27.2 | 98.7 / 38.3 |
"""


@pytest.fixture(scope="module")
def figures() -> Any:
    """The module of the script, which is no part of the package."""
    spec = importlib.util.spec_from_file_location("strength_figures", FOLDER / "figures.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_a_page_gives_the_numbers_of_its_table(figures: Any) -> None:
    drawn = figures.figures_of_page(PAGE)
    assert set(drawn) == {"midre", "nls", "erasing_variants"}
    test, attack = drawn["midre"].data
    assert (list(test.x), list(test.y), list(attack.y)) == ([0.1, 0.8], [99.0, 92.2], [45.6, 44.4])
    assert list(attack.error_y.array) == pytest.approx([1.1, 12.3])
    assert list(drawn["nls"].data[0].x) == [-0.02]


def test_dotted_lines_are_labelled_and_no_bar_has_zero_width(figures: Any) -> None:
    midre = figures.figures_of_page(PAGE)["midre"]
    lines = [shape.y0 for shape in midre.layout.shapes]
    assert lines == [99.0, 34.4]
    texts = [note.text for note in midre.layout.annotations]
    assert texts == ["no defense<br>99.0", "no defense<br>34.4", "point without a bar: equal in all seeds"]
    assert list(midre.data[0].error_y.array) == [None, pytest.approx(1.8)]  # 99.0 in every seed


def test_three_ways_of_erasing_are_told_apart(figures: Any) -> None:
    drawn = figures.figures_of_page(PAGE)["erasing_variants"]
    looks = [(trace.line.color, trace.line.dash) for trace in drawn.data]
    assert len(set(looks)) == len(looks) == 6
    assert len({trace.line.color for trace in drawn.data}) == 3
    values = {trace.name: list(trace.y) for trace in drawn.data}
    assert values["attack, fixed place (FE)"] == [33.3, 27.2]
    assert [note.text for note in drawn.layout.annotations] == ["means over three seeds; their range is not stored"]


def test_the_committed_page_has_every_figure(figures: Any) -> None:
    drawn = figures.figures_of_page((FOLDER / "README.md").read_text("utf-8"))
    assert set(drawn) == {*figures.PANELS, "erasing_variants"}
