"""Specifications from YAML files, with overrides and paths relative to the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from midef.core import SpecError
from midef.sweep.catalogue import read_spec
from midef.sweep.spec.load import parse_spec, read_yaml
from midef.sweep.spec.resolve import Sweep, resolve

Spec = Callable[..., dict[str, Any]]
Yaml = Callable[..., Path]


def folders_of(sweep: Sweep) -> set[str]:
    return {where["path"] for where in sweep.locations.values()}


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"no such file .*gone\.yaml; give a YAML file or one of: .*smoke"):
        read_spec(tmp_path / "gone.yaml")


def test_a_file_that_is_no_yaml(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("name: [unclosed\nseeds: }")
    with pytest.raises(SpecError, match=r"bad\.yaml, line 2: cannot be read as YAML: while parsing"):
        read_spec(tmp_path / "bad.yaml")


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(SpecError, match=r"bad\.yaml, line 1: cannot be read as YAML"):
        read_spec(tmp_path / "bad.yaml")


@pytest.mark.parametrize(("text", "kind"), [("- a\n- b\n", "list"), ("", "nothing"), ("hello", "str")])
def test_a_file_that_holds_no_mapping(tmp_path: Path, text: str, kind: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(SpecError, match=f"must hold a mapping with name, setups, defenses; it holds {kind}"):
        read_spec(tmp_path / "bad.yaml")


@pytest.mark.parametrize(
    ("override", "found"),
    [
        ("seeds=[3, 4]", lambda s: s.seeds == [3, 4]),
        ("setups.0.protocol.identities=3", lambda s: s.setups[0].protocol.identities == 3),
        ("setups.0.attack=[gmi, brep_mi]", lambda s: s.setups[0].attack == ["gmi", "brep_mi"]),
        ("training.epochs=2", lambda s: s.training == {"epochs": 2}),
        ("defenses.0=midre(area_high=0.3)", lambda s: s.defenses == ["midre(area_high=0.3)"]),
        ("setups.0.private.name=synthetic_faces", lambda s: s.setups[0].private["name"] == "synthetic_faces"),
    ],
)
def test_overrides(spec: Spec, write_yaml: Yaml, override: str, found: Callable[[Any], bool]) -> None:
    assert found(read_spec(write_yaml(spec()), [override]))


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("seeds", r"cannot read --set 'seeds'; write key\.path=value"),
        ("setups.one.id=x", r"--set setups\.one\.id=x does not fit the specification"),
        ("setups.4.id=x", r"--set setups\.4\.id=x does not fit the specification"),
        ("name.first=x", r"--set name\.first=x does not fit the specification"),
        ("seeds=[1", r"--set seeds=\[1: cannot be read as YAML"),
        ("sedes=[1]", r"--set sedes=\[1\]: sedes: unknown field; did you mean 'seeds'\?"),
    ],
)
def test_bad_overrides(spec: Spec, write_yaml: Yaml, override: str, expected: str) -> None:
    with pytest.raises(SpecError, match=expected):
        read_spec(write_yaml(spec()), [override])


def test_paths_are_relative_to_the_file(
    own_images: dict[str, Any], write_yaml: Yaml, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_yaml(own_images)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    sweep = resolve(read_spec(path))
    assert folders_of(sweep) == {str(tmp_path / "data" / "private"), str(tmp_path / "data" / "public")}


@pytest.mark.parametrize("form", [{"name": "image_folder"}, {"name": "image_folder", "min_images": 3}, "short"])
def test_paths_under_the_sweep_are_relative_to_the_file(
    own_images: dict[str, Any], write_yaml: Yaml, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: Any
) -> None:
    (tmp_path / "elsewhere" / "data").mkdir(parents=True)  # has a data/ too
    private = "image_folder(path=data/private)" if form == "short" else {**form, "path": "data/private"}
    (setup,) = own_images["setups"]
    kept = {key: value for key, value in setup.items() if key not in ("private", "public")}
    path = write_yaml({**own_images, "setups": [kept], "private": private, "public": setup["public"]})
    monkeypatch.chdir(tmp_path / "elsewhere")
    sweep = resolve(read_spec(path))
    assert folders_of(sweep) == {str(tmp_path / "data" / "private"), str(tmp_path / "data" / "public")}


def test_a_preset_in_the_name_is_no_reason_to_leave_a_path_relative(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("setups: []\nname: a\nprivate: {name: 'image_folder:x', path: people}\n")
    assert read_yaml(tmp_path / "s.yaml").data["private"]["path"] == str(tmp_path / "people")


@pytest.mark.parametrize("role", ["private", "setups.0.private"])
def test_paths_of_an_option_are_relative_to_where_the_command_runs(
    own_images: dict[str, Any], write_yaml: Yaml, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    path = write_yaml(own_images, "project/sweep.yaml")
    monkeypatch.chdir(tmp_path / "data")
    options = [f"{role}={{name: image_folder, path: private}}", "setups.0.public.path=public"]
    dropped = [] if role == "setups.0.private" else ["setups.0.private="]
    sweep = resolve(read_spec(path, [*dropped, *options]))
    assert folders_of(sweep) == {str(tmp_path / "data" / "private"), str(tmp_path / "data" / "public")}


def test_paths_of_a_library_call_are_relative_to_where_it_runs(
    own_images: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sweep = resolve(parse_spec(own_images))
    monkeypatch.chdir("/")
    assert folders_of(sweep) == {str(tmp_path / "data" / "private"), str(tmp_path / "data" / "public")}
