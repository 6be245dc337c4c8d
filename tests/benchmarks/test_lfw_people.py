"""The lists of LFW's public people, on a small archive."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from query_time.lfw_people import most_photographed, write_lists

from midef.datasets import DATASETS


def archive(path: Path, names: Sequence[str]) -> Path:
    with zipfile.ZipFile(path, "w") as opened:
        for i, name in enumerate(names):
            pixels = np.random.default_rng(i).integers(0, 256, (16, 16, 3), dtype=np.uint8)
            held = io.BytesIO()
            Image.fromarray(pixels).save(held, "png")
            opened.writestr(name, held.getvalue())
    return path


def test_the_people_with_the_most_photographs_are_listed_and_can_be_read(tmp_path: Path) -> None:
    counts = {"Ada": 9, "Bo_B": 2, "Cy": 7, "Di": 7, "Ed": 1}
    names = [f"images/{who}_{i:04d}.png" for who, count in counts.items() for i in range(1, count + 1)]
    public = archive(tmp_path / "public.zip", names)
    private = archive(tmp_path / "private.zip", ["Flo/Flo_0001.png"])
    assert write_lists(private, public, tmp_path / "lists", 2) == "2 people: 14 images in train.txt, 2 in report.txt"
    listed = {part: (tmp_path / "lists" / f"{part}.txt").read_text().split() for part in ("train", "report")}
    assert listed["report"] == ["images/Ada_0009.png", "images/Cy_0007.png"], "between equals the name decides"
    assert sorted(listed["train"] + listed["report"]) == [n for n in names if "Ada" in n or "Cy" in n]
    lists = {f"{part}_list": str(tmp_path / "lists" / f"{part}.txt") for part in listed}
    splits = DATASETS.make("image_folder", {"path": str(public), "labelled": False, **lists}).load(16)
    assert {name: len(part) for name, part in splits.parts.items()} == {"train": 13, "select": 1, "report": 2}


def test_nobody_is_private_and_public_and_too_few_people_are_said(tmp_path: Path) -> None:
    public = archive(tmp_path / "public.zip", [f"images/Ada_{i:04d}.png" for i in range(3)])
    private = archive(tmp_path / "private.zip", ["Ada/Ada_0001.png"])
    with pytest.raises(ValueError, match="private and public at once: Ada; bring photographs of other people"):
        write_lists(private, public, tmp_path / "lists", 1)
    with pytest.raises(ValueError, match="needs 2 people with two photographs, found 1; ask for fewer"):
        most_photographed(["images/Ada_0001.png", "images/Ada_0002.png", "images/Bo_0001.png"], 2)
