"""Pictures of reconstructions: which seeds, restarts and identities a page keeps, and what each of them shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from midef.dashboards.page_data import Grid
from midef.dashboards.reconstructions import IDENTITIES, Extent, write_grid
from midef.results.summary import summarise


@pytest.fixture
def grid(cell: Any, shelf: Any, tmp_path: Path) -> tuple[Grid, Path, Any]:
    """Two defenses, two seeds: two restarts and two blocks of identities of each are kept."""
    rows = [row for defense in ("none", "bido") for seed in (0, 1) for row in cell(defense, seed)]
    extent = Extent(seeds=2, restarts=2, blocks=2)
    grid, problems = write_grid(summarise(rows), shelf.fetch, tmp_path, "00", extent=extent)
    assert not problems
    return grid, tmp_path, rows


def test_every_seed_restart_and_block_has_a_picture(grid: tuple[Grid, Path, Any]) -> None:
    found, out, _ = grid
    assert (found.seeds, found.restarts) == ((0, 1), 2)
    assert found.blocks == (tuple(range(8)), tuple(range(8, 16)))
    for strip in found.strips:
        keys = [(shot.seed, shot.restart, shot.block) for shot in strip.shots]
        assert sorted(keys) == [(s, r, b) for s in (0, 1) for r in (0, 1) for b in (0, 1)]
        assert (strip.file, strip.marks) == (strip.shots[0].file, strip.shots[0].marks)
        assert len({shot.file for shot in strip.shots}) == 8
        assert all((out / shot.file).is_file() for shot in strip.shots)
    assert found.private is not None
    assert [shot.block for shot in found.private.shots] == [0, 1]


def test_a_picture_shows_the_restart_that_it_says(grid: tuple[Grid, Path, Any], shelf: Any) -> None:
    found, out, rows = grid
    group = summarise(rows)
    for strip, row in zip(found.strips, group, strict=True):
        keys = {seed: (images, scores) for seed, images, scores in row.stored}
        for shot in strip.shots:
            images_key, scores_key = (next(shelf.root.glob(f"*/{key[-64:]}/{file}")) for key, file in zip(
                keys[shot.seed], ("images.npz", "per_image.npz"), strict=True))  # fmt: skip
            stored, scores = np.load(images_key), np.load(scores_key)
            labels = found.blocks[shot.block]
            at = [int(np.flatnonzero((stored["labels"] == label) & (stored["restarts"] == shot.restart))[0])
                  for label in labels]  # fmt: skip
            assert list(shot.marks) == ["hit" if scores["hit_at_1"][i] else "miss" for i in at]
            assert shot.fives == "".join("y" if scores["hit_at_5"][i] else "n" for i in at)
            drawn = np.asarray(Image.open(out / shot.file).convert("RGB"))
            assert (drawn == np.concatenate([stored["images"][i] for i in at], axis=2).transpose(1, 2, 0)).all()


def test_scores_without_the_five_best_say_so(cell: Any, shelf: Any, tmp_path: Path) -> None:
    rows = cell("none", 0)
    scores = next((shelf.root / "scores").glob("*/per_image.npz"))
    with np.load(scores) as stored:
        kept = {name: stored[name] for name in ("labels", "restarts", "hit_at_1")}
    np.savez(scores, **kept)
    grid, problems = write_grid(summarise(rows), shelf.fetch, tmp_path, "00")
    assert not problems
    assert grid.strips[0].shots[0].fives == "?" * IDENTITIES
    assert set(grid.strips[0].marks) <= {"hit", "miss"}


def test_a_page_of_many_cells_keeps_one_picture_a_defense() -> None:
    sizes = [Extent.of_page(cells) for cells in (1, 60, 61, 200, 600, 601, 3700)]
    pictures = [one.seeds * one.restarts * one.blocks for one in sizes]
    assert pictures == sorted(pictures, reverse=True)
    assert sizes[-1] == sizes[-2] == Extent()
