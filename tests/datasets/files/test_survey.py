"""One pass over the images of a data set: what is remembered, and when it is looked at again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL
import pytest
from PIL import Image

from midef.datasets.files import survey
from midef.datasets.files.folders import list_images
from midef.datasets.files.pixels import open_rgb, outline, pixel_id
from midef.datasets.files.survey import Survey

Pack = Callable[..., Path]


@pytest.fixture
def keep_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small passes are kept, too, and files that were written just now."""
    monkeypatch.setattr(survey, "WORTH_KEEPING_PX", 0)
    monkeypatch.setattr(survey, "SETTLED_S", -1e9)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Number of bytes of every image that was decoded."""
    sizes: list[int] = []
    monkeypatch.setattr(survey, "open_rgb", lambda data: sizes.append(len(data)) or open_rgb(data))
    return sizes


def look(root: Path) -> Survey:
    return survey.survey(root, list_images(root, levels=2))


@pytest.mark.usefixtures("keep_all")
@pytest.mark.parametrize("is_zip", [False, True], ids=["folder", "zip"])
def test_an_image_is_decoded_once_by_all_processes(
    faces: Path, pack: Pack, decoded: list[int], monkeypatch: pytest.MonkeyPatch, *, is_zip: bool
) -> None:
    root = pack(faces) if is_zip else faces
    first = look(root)
    assert len(decoded) == len(first.seen) == 37 and not first.failures
    monkeypatch.setattr(survey, "_recent", {})  # as another process
    assert look(root) == first and len(decoded) == 37


@pytest.mark.usefixtures("keep_all")
def test_a_changed_image_is_looked_at_again(faces: Path, decoded: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    before = look(faces).seen["bob/03.png"]
    Image.new("RGB", (12, 12)).save(faces / "bob" / "03.png")
    (faces / "ada" / "00.png").write_bytes(b"no image")
    monkeypatch.setattr(survey, "_recent", {})
    after = look(faces)
    assert len(decoded) == 39 and after.seen["bob/03.png"] != before
    assert after.failures == ["ada/00.png: cannot identify image file"] and "ada/00.png" not in after.seen


@pytest.mark.usefixtures("keep_all")
@pytest.mark.parametrize("has_new_process", [True, False], ids=["new process", "same process"])
def test_a_byte_that_changes_in_an_archive_is_seen(
    faces: Path, pack: Pack, monkeypatch: pytest.MonkeyPatch, *, has_new_process: bool
) -> None:
    """The archive's directory, with each member's size and crc32, stays as it was."""
    root = pack(faces)
    assert not look(root).failures
    content, image = bytearray(root.read_bytes()), (faces / "bob" / "03.png").read_bytes()
    content[content.index(image) + len(image) // 2] ^= 1
    root.write_bytes(content)
    if has_new_process:
        monkeypatch.setattr(survey, "_recent", {})
    assert look(root).failures == ["bob/03.png: Bad CRC-32 for file 'bob/03.png'"]


def test_an_archive_changed_just_now_is_not_remembered(faces: Path, pack: Pack, decoded: list[int]) -> None:
    root = pack(faces)
    look(root)
    look(root)
    assert len(decoded) == 74


def kept(root: Path) -> set[str]:
    return set(json.loads(survey.cache_file(root).read_text().partition("\n")[2]))


@pytest.mark.usefixtures("keep_all")
@pytest.mark.parametrize("is_zip", [False, True], ids=["folder", "zip"])
def test_files_that_are_gone_are_forgotten_and_those_of_another_pass_are_not(
    faces: Path, pack: Pack, decoded: list[int], *, is_zip: bool
) -> None:
    root = pack(faces) if is_zip else faces
    files = list_images(root, levels=2)
    survey.survey(root, files[:20])
    survey.survey(root, files[20:])
    assert len(kept(root)) == len(decoded) == 37, "a pass over other files of the place keeps those of the first"
    shutil.rmtree(faces / "cyd")
    if is_zip:
        pack(faces)
    look(root)
    assert kept(root) == {file.place for file in files if not file.name.startswith("cyd")}


@pytest.mark.usefixtures("keep_all")
def test_what_another_pillow_decoded_is_looked_at_again(
    faces: Path, decoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    look(faces)
    monkeypatch.setattr(survey, "_recent", {})
    monkeypatch.setattr(PIL, "__version__", "999.0")
    look(faces)
    assert len(decoded) == 74


def test_a_long_pass_says_how_far_it_is(
    faces: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    look(faces)
    assert not caplog.text
    monkeypatch.setattr(survey, "SAYS_AFTER_S", -1.0)
    look(faces)
    assert [record.getMessage() for record in caplog.records] == [
        f"looking at 37 images of {faces}, 0 done; the next time only at new ones"
    ]
    monkeypatch.setattr(survey, "SAYS_EVERY_S", -1.0)
    look(faces)
    assert "looking at 37 images" in caplog.text and " 36 done; " in caplog.text


def test_small_sets_and_files_changed_just_now_are_not_kept(faces: Path, decoded: list[int]) -> None:
    look(faces)
    look(faces)
    assert len(decoded) == 74 and not survey.cache_file(faces).exists()


@pytest.mark.usefixtures("keep_all")
@pytest.mark.parametrize("place", [0, 70, -3], ids=["checksum", "content", "end"])
def test_a_damaged_cache_is_ignored(
    faces: Path, decoded: list[int], monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    first = look(faces)
    content = bytearray(survey.cache_file(faces).read_bytes())
    content[place] ^= 1
    survey.cache_file(faces).write_bytes(content)
    monkeypatch.setattr(survey, "_recent", {})
    assert look(faces) == first and len(decoded) == 74


@pytest.mark.usefixtures("keep_all")
def test_without_a_place_for_the_cache_all_is_looked_at(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(survey, "cache_file", lambda root: tmp_path / "file" / "x.json")
    assert len(look(faces).seen) == 37


def test_pixels_are_compared_as_they_are_loaded(tmp_path: Path) -> None:
    """Grey is repeated, alpha dropped, a photo turned as its camera says; another size is another image."""
    grey = np.random.default_rng(0).integers(0, 256, (6, 8), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(grey).save(tmp_path / "a.pgm")
    Image.fromarray(grey).convert("RGBA").save(tmp_path / "b.png")
    Image.fromarray(grey[::-1, ::-1].copy()).save(tmp_path / "c.png", exif=exif)
    Image.fromarray(grey[::-1, ::-1].copy()).save(tmp_path / "d.bmp")
    Image.fromarray(grey.reshape(8, 6)).save(tmp_path / "e.png")
    ids = {p.stem: pixel_id(open_rgb(p.read_bytes())) for p in tmp_path.iterdir() if p.is_file()}
    assert ids["a"] == ids["b"] == ids["c"] and len({ids["a"], ids["d"], ids["e"]}) == 3


def test_the_outline_is_of_rows_and_columns() -> None:
    """A ramp to the right: every value is larger than its left neighbour, none than the one above."""
    ramp = Image.fromarray(np.tile(np.arange(0, 180, 10, dtype=np.uint8), (18, 1))).convert("RGB")
    assert outline(ramp) == "f" * 16 + "0" * 16
    assert outline(ramp.transpose(Image.Transpose.ROTATE_270)) == "0" * 16 + "f" * 16
