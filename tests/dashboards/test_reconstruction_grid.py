"""The picture of reconstructions in a page of numbers: a line for each defense, and which images were hits."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "reconstruction_grid.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reconstruction_grid_under_test", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_line_for_each_defense_and_a_mark_below_each_image(
    script: ModuleType, cell: Any, shelf: Any, tmp_path: Path
) -> None:
    defenses = ("none", "bido")
    rows = [row for defense in defenses for row in cell(defense, 0)]
    said = script.draw(shelf.fetch, rows, tmp_path / "grid.png")
    assert "first 8 attacked identities" in said
    pixels = np.asarray(Image.open(tmp_path / "grid.png"))
    assert pixels.shape == (script.GAP + 2 * (script.SIDE + script.LINE), script.WORDS_PX + 8 * script.SIDE, 3)
    seen: set[bool] = set()
    for line, defense in enumerate(defenses):
        of_defense = next(row for row in rows if row.defense == defense)
        with np.load(next((shelf.root / "scores").glob(f"*{of_defense.scores_key[-20:]}")) / "per_image.npz") as scores:
            first = scores["restarts"] == 0
            hits = scores["hit_at_1"][first][:8]
        below = script.GAP + (line + 1) * (script.SIDE + script.LINE) - 2
        marks = pixels[below, script.WORDS_PX + script.SIDE // 2 :: script.SIDE]
        assert [tuple(mark) == script.COLOURS["hit"] for mark in marks] == hits.tolist()
        seen |= set(hits.tolist())
    assert seen == {True, False}


def test_without_reconstructions_it_says_so(script: ModuleType, cell: Any, shelf: Any, tmp_path: Path) -> None:
    rows = cell("none", 0, reconstructions_key="", scores_key="")
    with pytest.raises(ValueError, match="no reconstructions"):
        script.draw(shelf.fetch, rows, tmp_path / "grid.png")
