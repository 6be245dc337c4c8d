"""Specifications from YAML files, with overrides and paths relative to the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from midef.core import SpecError
from midef.sweep.catalogue import read_spec
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
    with pytest.raises(SpecError, match=r"bad\.yaml cannot be read as YAML: (?s:.*)line 2"):
        read_spec(tmp_path / "bad.yaml")


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(SpecError, match=r"bad\.yaml cannot be read as YAML"):
        read_spec(tmp_path / "bad.yaml")


@pytest.mark.parametrize(("text", "kind"), [("- a\n- b\n", "list"), ("", "NoneType"), ("hello", "str")])
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
        ("setups.one.id=x", r"--set 'setups\.one\.id=x' does not fit the specification"),
        ("setups.4.id=x", r"--set 'setups\.4\.id=x' does not fit the specification"),
        ("name.first=x", r"--set 'name\.first=x' does not fit the specification"),
        ("seeds=[1", r"--set 'seeds=\[1' does not fit the specification"),
        ("sedes=[1]", r"sweep\.yaml\.sedes: unknown field; did you mean 'seeds'\?"),
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
