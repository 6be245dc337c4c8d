"""One picture of a sweep's reconstructions: a line for each defense of each setup, a column for each identity.

The identities and images are those of the dashboard: the first by label, the first restart of each, the same for every
defense. A green line stands below an image that the evaluator took for its identity, a red one below the others.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from midef.core import ResultRow
from midef.dashboards.page_data import Strip
from midef.dashboards.reconstructions import Fetch, write_grid
from midef.results.summary import by_setup, summarise

SIDE = 56
LINE = 3
GAP = 18
WORDS_PX = 170
COLOURS = {"hit": (0, 140, 60), "miss": (200, 40, 40)}
GREY = (150, 150, 150)


def draw(fetch: Fetch, rows: Sequence[ResultRow], picture: Path) -> str:
    """Write the picture; returns in words what it shows.

    Args:
        fetch: gives the folder of a stored artifact.
        rows: of one sweep.
        picture: its ending names the format.

    Raises:
        ValueError: if there is nothing to show.
    """
    lines: list[tuple[str, Strip | None]] = []
    rules = []
    columns = 0
    with tempfile.TemporaryDirectory() as folder:
        for group in by_setup(summarise(rows)).values():
            grid, problems = write_grid(group, fetch, Path(folder))
            if problems:
                raise ValueError("; ".join(problems))
            if not grid.labels:
                continue
            rules.append(grid.rule)
            columns = max(columns, len(grid.labels))
            lines += [(group[0].setup, None), *((strip.title, strip) for strip in grid.strips if strip.file)]
        if not lines:
            raise ValueError("no reconstructions to show")
        _drawn(lines, columns, Path(folder)).save(picture, quality=88)
    return f"Shown are {rules[0]}; green: the evaluator takes the image for its identity."


def _drawn(lines: Sequence[tuple[str, Strip | None]], columns: int, folder: Path) -> Image.Image:
    height = sum(GAP if strip is None else SIDE + LINE for _, strip in lines)
    canvas = Image.new("RGB", (WORDS_PX + columns * SIDE, height), "white")
    pen = ImageDraw.Draw(canvas)
    top = 0
    for words, strip in lines:
        if strip is None:
            pen.text((4, top + 3), words, fill="black")
            top += GAP
            continue
        pen.text((14, top + SIDE // 2 - 6), words, fill="black")
        with Image.open(folder / strip.file) as opened:
            shown = opened.convert("RGB").resize((len(strip.marks) * SIDE, SIDE), Image.Resampling.LANCZOS)
        canvas.paste(shown, (WORDS_PX, top))
        for i, mark in enumerate(strip.marks):
            left = WORDS_PX + i * SIDE
            pen.rectangle((left, top + SIDE, left + SIDE - 3, top + SIDE + LINE - 2), fill=COLOURS.get(mark, GREY))
        top += SIDE + LINE
    return canvas
