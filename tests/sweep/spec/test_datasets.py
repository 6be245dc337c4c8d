"""Data sets and published weights of this machine: what is missing, where files lie, what enters a key."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from midef.core import PreflightError
from midef.sweep.catalogue import read_spec
from midef.sweep.spec.load import parse_spec
from midef.sweep.spec.resolve import Sweep, resolve

Spec = Callable[..., dict[str, Any]]
Yaml = Callable[..., Path]
ProblemsOf = Callable[[dict[str, Any]], list[str]]


def folders_of(sweep: Sweep) -> set[str]:
    return {where["path"] for where in sweep.locations.values()}


def keys_of(sweep: Sweep) -> list[list[str]]:
    return [[str(r.key) for r in c.recipes.scores.walk()] for c in sweep.cells]


def test_a_profile_without_data_asks_for_some(spec: Spec, problems_of: ProblemsOf) -> None:
    found = problems_of(spec({"private": None, "public": None}, profile="paper"))
    assert [f.partition(":")[0] for f in found] == ["setups[0].private", "setups[0].public"]
    assert "no data set given, and the profile has none; name one: image_folder with a path" in found[0]


def test_a_missing_folder_is_a_matter_of_this_machine(spec: Spec, tmp_path: Path, problems_of: ProblemsOf) -> None:
    data = spec({"private": {"name": "image_folder", "path": str(tmp_path / "nowhere")}})
    (problem,) = problems_of(data)
    assert problem.startswith("setups[0].private: image_folder: no such file or folder")
    assert str(tmp_path / "nowhere") in problem
    with pytest.raises(PreflightError) as caught:
        resolve(parse_spec(data))
    assert caught.value.exit_code == 3


def test_all_that_is_missing_is_said_at_once(spec: Spec, tmp_path: Path, problems_of: ProblemsOf) -> None:
    roles = {role: {"name": "image_folder", "path": str(tmp_path / role)} for role in ("private", "public")}
    assert len(problems_of(spec(roles))) == 2


def test_a_class_with_one_image(spec: Spec, make_tree: Callable[..., Path], problems_of: ProblemsOf) -> None:
    folder = make_tree("people", {"ada": 6, "bob": 1, "cyd": 6})
    (problem,) = problems_of(spec({"private": {"name": "image_folder", "path": str(folder), "min_images": 1}}))
    assert "too few images" in problem and "bob (1)" in problem and "raise min_images to leave them out" in problem


def test_moving_the_data_keeps_every_key(own_images: dict[str, Any], write_yaml: Yaml, tmp_path: Path) -> None:
    before = resolve(read_spec(write_yaml(own_images)))
    shutil.move(tmp_path / "data", tmp_path / "moved" / "data")
    after = resolve(read_spec(write_yaml(own_images, "moved/sweep.yaml")))
    assert keys_of(after) == keys_of(before)
    assert [c.cell.digest for c in after.cells] == [c.cell.digest for c in before.cells]
    assert after.digest == before.digest
    assert folders_of(after).isdisjoint(folders_of(before))


def test_a_changed_image_changes_its_split_and_what_depends_on_it(
    own_images: dict[str, Any], write_yaml: Yaml, tmp_path: Path
) -> None:
    path = write_yaml(own_images)
    before = resolve(read_spec(path)).cells[0].recipes
    Image.new("RGB", (8, 8), "red").save(tmp_path / "data" / "private" / "ada" / "0.png")
    after = resolve(read_spec(path)).cells[0].recipes
    for role in ("private", "target", "evaluator", "reconstructions", "scores"):
        assert getattr(after, role).key != getattr(before, role).key, role
    assert after.public.key == before.public.key
    assert after.reconstructions.inputs["prior"].key == before.reconstructions.inputs["prior"].key


def test_weights_that_are_not_here_or_do_not_exist_are_said_before_anything_starts(
    spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problems_of: ProblemsOf
) -> None:
    monkeypatch.setenv("MIDEF_WEIGHTS", str(tmp_path))
    (problem,) = problems_of(spec({"architecture": "vgg16", "weights": "imagenet"}))
    assert "setups[0].weights: imagenet weights of vgg16: no file vgg16_bn-" in problem and "put it there" in problem
    (problem,) = problems_of(spec({"architecture": "vgg16", "weights": "imagnet"}))
    assert "did you mean 'imagenet'?" in problem
    both = {"architecture": "vgg16", "weights": "imagenet", "pretraining": {"name": "synthetic_faces", "seed": 3}}
    assert any("give pretraining or weights, not both" in problem for problem in problems_of(spec(both)))


def test_a_damaged_file_of_weights_is_read_once_and_refused(
    spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problems_of: ProblemsOf
) -> None:
    from midef.nn import named_file

    monkeypatch.setenv("MIDEF_WEIGHTS", str(tmp_path))
    (tmp_path / "vgg16_bn-6c64b313.pth").write_bytes(b"not it")
    read: list[Path] = []
    digest = named_file.sha256_of
    monkeypatch.setattr(named_file, "sha256_of", lambda path: read.append(path) or digest(path))
    data = spec({"architecture": "vgg16", "weights": "imagenet", "attack": ["gmi", "brep_mi", "mi_face"]})
    problems = problems_of(data)
    assert problems and all("is damaged or another file" in problem for problem in problems) and len(read) == 1
