"""`midef datasets card`."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

Midef = Callable[..., tuple[int, str, str]]
Spec = Callable[..., dict[str, Any]]
Yaml = Callable[..., Path]


def test_the_card_of_the_embedded_faces(midef: Midef) -> None:
    code, out, _ = midef("datasets", "card", "synthetic_faces(identities=12)")
    assert code == 0
    for word in ("licence", "consent", "source", "identities", "images", "fingerprint computed from its parameters"):
        assert re.search(rf"^{word}", out, re.M), word
    assert re.search(r"^identities +12$", out, re.M)


def test_the_card_of_own_images(midef: Midef, make_tree: Callable[..., Path]) -> None:
    folder = make_tree("people", {"ada": 6, "bob": 7})
    code, out, _ = midef("datasets", "card", f"image_folder(path={folder},licence=CC0,title=My people)")
    assert code == 0 and out.startswith("My people\n")
    assert re.search(r"^licence +CC0$", out, re.M) and re.search(r"^identities +2$", out, re.M)
    assert re.search(r"^fingerprint +[0-9a-f]{64}$", out, re.M)


def test_what_is_left_out_is_counted_in_card_and_plan(
    midef: Midef, make_tree: Callable[..., Path], spec: Spec, write_yaml: Yaml
) -> None:
    folder = make_tree("people", {"ada": 6, "bob": 7, "cyd": 2})
    (folder / "bob" / "9.tiff").write_bytes(b"")
    code, out, _ = midef("datasets", "card", f"image_folder(path={folder})")
    notes = [
        "1 file of a type that is not read (.tiff 1) is left out, for example bob/9.tiff",
        "1 more identity has fewer than min_images=6 images and is left out, for example cyd (2)",
    ]
    assert code == 0 and re.findall(r"^note +(.*)$", out, re.M) == notes
    private = {"name": "image_folder", "path": str(folder)}
    path = write_yaml(spec({"private": private, "protocol": {"identities": 2}}))
    placed = [f"setups[0].private (image_folder): {note}" for note in notes]
    _, out, _ = midef("plan", path)
    assert re.findall(r"^note: (.*)$", out.replace("\n  ", " "), re.M) == placed
    assert json.loads(midef("plan", path, "--json")[1])["notes"] == placed
    assert re.findall(r"^note     (.*)$", midef("doctor", path)[1], re.M) == placed


def test_a_truncated_image_is_found_by_card_plan_and_doctor(
    midef: Midef, make_tree: Callable[..., Path], spec: Spec, write_yaml: Yaml
) -> None:
    folder = make_tree("people", {"ada": 6, "bob": 7})
    broken = folder / "bob" / "3.png"
    broken.write_bytes(broken.read_bytes()[:-30])
    path = write_yaml(spec({"private": {"name": "image_folder", "path": str(folder)}, "protocol": {"identities": 2}}))
    for arguments in (("datasets", "card", f"image_folder(path={folder})"), ("plan", path), ("doctor", path)):
        code, out, err = midef(*arguments)
        assert code == 3 and "image_folder: 1 of 13 images cannot be read: bob/3.png: " in out + err, arguments


def test_a_published_set_is_looked_for_where_sweeps_look(
    midef: Midef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIDEF_DATA", str(tmp_path / "data"))
    code, _, err = midef("datasets", "card", "mnist")
    assert code == 3 and f"mnist: no such file {tmp_path}/data/mnist/MNIST/raw/train-images-idx3-ubyte" in err


def test_copies_and_near_copies_are_found(midef: Midef, make_tree: Callable[..., Path]) -> None:
    people, public = make_tree("people", {"ada": 6, "bob": 7}), make_tree("public", {"": 4}, seed=9)
    code, out, _ = midef("datasets", "check", people, "--against", f"image_folder(path={public},labelled=false)")
    assert code == 0 and "0 pairs are the same image, 0 more look alike" in out
    Image.open(people / "ada" / "0.png").save(public / "x.bmp")
    retouched = Image.open(people / "bob" / "6.png")
    retouched.putpixel((3, 3), (0, 0, 0))
    retouched.save(public / "y.png")
    code, out, _ = midef("datasets", "check", people, "--against", public)
    assert code == 5
    assert f"checked     {people}: 13 images" in out and f"checked     {public}: 6 images" in out
    assert f"same        {people}/ada/0.png and {public}/x.bmp are the same image\n" in out
    assert f"near        {people}/bob/6.png and {public}/y.png differ in " in out
    assert "1 pairs are the same image, 1 more look alike (at most 10 of 128 bits apart: look at them)" in out
    for i in range(3):
        shutil.copy(people / "ada" / "1.png", people / "ada" / f"copy{i}.png")
    code, out, _ = midef("datasets", "check", people, "--most", 1)
    assert code == 5 and out.count("are the same image\n") == 1 and "and 2 more; --most 3 names all" in out


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["check", "synthetic_faces"], 2, "synthetic_faces: its images are computed, there is nothing to compare"),
        (["check", "nowhere"], 2, "unknown dataset 'nowhere'"),
        (["card", "synthetic_faces", "--against", "x"], 2, "card takes no --against; say midef datasets check"),
    ],
)
def test_what_cannot_be_checked(midef: Midef, arguments: list[str], code: int, expected: str) -> None:
    found, _, err = midef("datasets", *arguments)
    assert found == code and expected in err


@pytest.mark.parametrize(
    ("dataset", "code", "expected"),
    [
        ("image_folder(path=nowhere)", 3, "no such file or folder"),
        ("image_foldr", 2, "unknown dataset 'image_foldr'; did you mean 'image_folder'?"),
        ("image_folder(pth=x)", 2, "dataset 'image_folder' has no parameter 'pth'; did you mean 'path'?"),
    ],
)
def test_a_card_that_cannot_be_made(midef: Midef, dataset: str, code: int, expected: str) -> None:
    found, _, err = midef("datasets", "card", dataset)
    assert found == code and expected in err
