"""Pictures of reconstructions: which seeds, restarts and identities a page keeps, and what each of them shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from midef.core import ArtifactKey
from midef.dashboards.build import build_page
from midef.dashboards.page_data import Grid
from midef.dashboards.pictures import hand_on
from midef.dashboards.reconstructions import IDENTITIES, Extent, write_grid
from midef.results.summary import summarise


@pytest.fixture
def grid(cell: Any, shelf: Any, tmp_path: Path) -> tuple[Grid, Path, Any]:
    """Two defenses, two seeds: two restarts and two blocks of identities of each are kept."""
    rows = [row for defense in ("none", "bido") for seed in (0, 1) for row in cell(defense, seed)]
    extent = Extent(seeds=2, restarts=2, blocks=2)
    grid, problems = write_grid(summarise(rows), shelf.fetch, tmp_path, extent=extent)
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
    grid, problems = write_grid(summarise(rows), shelf.fetch, tmp_path)
    assert not problems
    assert grid.strips[0].shots[0].fives == "?" * IDENTITIES
    assert set(grid.strips[0].marks) <= {"hit", "miss"}


def test_what_is_stored_of_each_reconstruction_is_beside_it(cell: Any, shelf: Any, tmp_path: Path) -> None:
    rows = cell("none", 0)
    scores = next((shelf.root / "scores").glob("*/per_image.npz"))
    with np.load(scores) as stored:
        kept = dict(stored)
    n = len(kept["labels"])
    best = (np.arange(n)[:, None] + np.arange(5)).astype(np.int32)
    distances = np.arange(n, dtype=np.float32) / 4
    distances[0] = np.nan
    np.savez(scores, **kept, best_5=best, nearest_distance=distances)
    grid, _ = write_grid(summarise(rows), shelf.fetch, tmp_path)
    (shot,) = grid.strips[0].shots
    at = [int(np.flatnonzero((kept["labels"] == label) & (kept["restarts"] == 0))[0]) for label in grid.labels]
    assert shot.best == tuple(tuple(range(i, i + 5)) for i in at)
    assert shot.nearest == (None, *(i / 4 for i in at[1:]))


def made(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (out / "img").iterdir()}


def test_a_picture_is_made_once_and_made_again_where_what_it_shows_changed(
    cell: Any, shelf: Any, tmp_path: Path
) -> None:
    rows = [*cell("none"), *cell("bido")]
    build_page(rows, shelf.fetch, tmp_path, store_name="s")
    first = made(tmp_path)
    build_page(rows, shelf.fetch, tmp_path, store_name="s")
    again = made(tmp_path)
    assert set(again) == set(first)
    kept = {name for name in first if not name.startswith("private")}
    assert kept and {name: again[name] for name in kept} == {name: first[name] for name in kept}
    key = ArtifactKey.parse(rows[-1].reconstructions_key)
    with np.load(shelf.fetch(key) / "images.npz") as stored:
        arrays = dict(stored)
    arrays["images"] = 255 - arrays["images"]
    shelf.put(key, "images.npz", **arrays)
    build_page(rows, shelf.fetch, tmp_path, store_name="s")
    third = made(tmp_path)
    theirs = kept - set(third)
    assert 0 < len(theirs) == len(kept) / 2, "those of the other defense stay, and the old ones are removed"
    build_page(cell("none"), shelf.fetch, tmp_path, store_name="s")
    assert len([name for name in made(tmp_path) if not name.startswith("private")]) == len(kept) / 2


def test_pictures_are_handed_on_without_private_ones(cell: Any, shelf: Any, tmp_path: Path) -> None:
    build_page(cell("none"), shelf.fetch, tmp_path / "1", store_name="s")
    hand_on(tmp_path / "1", tmp_path / "2")
    names = {name for name in made(tmp_path / "1") if not name.startswith("private")}
    assert names and set(made(tmp_path / "2")) == names < set(made(tmp_path / "1"))
    hand_on(tmp_path / "nowhere", tmp_path / "3")
    assert not (tmp_path / "3").exists()


def test_pictures_of_an_older_midef_are_removed(cell: Any, shelf: Any, tmp_path: Path) -> None:
    (tmp_path / "img").mkdir()
    for name in ("00-private.webp", "00-01.webp", "00-01-s0-r1-b2.webp", "holiday.webp"):
        (tmp_path / "img" / name).write_bytes(b"x")
    build_page(cell("none"), shelf.fetch, tmp_path, store_name="s")
    assert [name for name in made(tmp_path) if "-" in name.removeprefix("private-") or name == "holiday.webp"] == [
        "holiday.webp"
    ]


def test_a_page_of_many_cells_keeps_one_picture_a_defense() -> None:
    sizes = [Extent.of_page(cells) for cells in (1, 60, 61, 200, 600, 601, 3700)]
    pictures = [one.seeds * one.restarts * one.blocks for one in sizes]
    assert pictures == sorted(pictures, reverse=True)
    assert sizes[-1] == sizes[-2] == Extent()
