"""`extends:` in a specification: how it is merged, what is refused, and which file an error names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from midef.core.errors import SpecError
from midef.sweep.catalogue import named_sweeps, read_spec
from midef.sweep.library import load_spec

Yaml = Callable[..., Path]


@pytest.fixture
def base(write_yaml: Yaml, spec: Callable[..., dict[str, Any]]) -> Path:
    """`base.yaml`: two defenses, two seeds, fields of a training, private images of the sweep."""
    whole = spec(defenses=["none", "midre"], seeds=[0, 1], training={"epochs": 7, "batch_size": 16})
    return write_yaml({**whole, "name": "base", "private": {"name": "image_folder", "path": "faces"}}, "base.yaml")


def test_mappings_are_merged_and_everything_else_replaced(base: Path, write_yaml: Yaml) -> None:
    own = {"extends": "base.yaml", "name": "own", "seeds": [5], "training": {"epochs": 3}, "defenses": ["none"]}
    merged, below = read_spec(write_yaml(own, "own.yaml")), read_spec(base)
    assert merged.name == "own" and merged.seeds == [5] and merged.defenses == ["none"]
    assert merged.training == {"epochs": 3, "batch_size": 16}
    assert merged.setups == below.setups and merged.profile == below.profile


def test_null_replaces_and_another_component_replaces_as_a_whole(base: Path, write_yaml: Yaml) -> None:
    same = {"extends": "base.yaml", "name": "a", "private": {"path": "others"}}
    assert read_spec(write_yaml(same, "a.yaml")).private == {
        "name": "image_folder",
        "path": str(base.parent / "others"),
    }
    other = {"extends": "base.yaml", "name": "b", "private": {"name": "synthetic_faces", "identities": 4}}
    assert read_spec(write_yaml(other, "b.yaml")).private == {"name": "synthetic_faces", "identities": 4}
    assert read_spec(write_yaml({"extends": "base.yaml", "name": "c", "private": None}, "c.yaml")).private is None


def test_a_chain_over_folders_and_a_named_sweep(base: Path, write_yaml: Yaml) -> None:
    write_yaml({"extends": "../base.yaml", "seeds": [8]}, "in/middle.yaml")
    top = write_yaml({"extends": "in/middle.yaml", "name": "top"}, "top.yaml")
    spec = read_spec(top)
    assert spec.seeds == [8] and spec.training["epochs"] == 7
    assert spec.private == {"name": "image_folder", "path": str(base.parent / "faces")}, "relative to base.yaml"
    smoke = named_sweeps()["smoke"]()
    spec = read_spec(write_yaml({"extends": "smoke", "name": "mine", "seeds": [3]}, "mine.yaml"))
    assert spec.setups == smoke.setups and spec.seeds == [3] and spec.name == "mine"


def test_overrides_and_plain_data(base: Path, write_yaml: Yaml, monkeypatch: pytest.MonkeyPatch) -> None:
    own = write_yaml({"extends": "base.yaml", "name": "own"}, "own.yaml")
    assert read_spec(own, ["training.epochs=2", "seeds=[9]"]).training["epochs"] == 2
    monkeypatch.chdir(base.parent)
    assert load_spec({"extends": "base.yaml", "name": "plain", "seeds": [4]}).training["epochs"] == 7


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"extends": "no.yaml", "name": "x"}, "own.yaml, line 1: extends: no such file "),
        ({"extends": "smoky", "name": "x"}, "own.yaml, line 1: extends: unknown sweep 'smoky'; did you mean 'smoke'"),
        ({"name": "x", "extends": ["a.yaml"]}, "own.yaml, line 2: extends: expected one YAML file or the name of a"),
        ({"name": "x", "extends": ""}, "own.yaml, line 2: extends: expected one YAML file or the name of a sweep"),
        ({"extends": "base.yaml"}, "own.yaml: name: give one; it is not inherited from what the sweep extends"),
        ({"extends": "base.yaml", "name": "x", "seeds": ["a"]}, "own.yaml, line 4: seeds[0]: "),
        ({"extends": "own.yaml", "name": "x"}, "files extend each other in a circle: own.yaml -> own.yaml"),
    ],
    ids=str,
)
@pytest.mark.usefixtures("base")
def test_what_is_refused_names_the_file(write_yaml: Yaml, written: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError) as caught:
        read_spec(write_yaml(written, "own.yaml"))
    assert said in str(caught.value) and len(caught.value.problems) == 1


def test_a_circle_is_refused_with_the_way_round(write_yaml: Yaml) -> None:
    write_yaml({"extends": "c.yaml"}, "b.yaml")
    write_yaml({"extends": "b.yaml"}, "c.yaml")
    with pytest.raises(SpecError, match=r"c\.yaml, line 1: extends: .* circle: b\.yaml -> c\.yaml -> b\.yaml"):
        read_spec(write_yaml({"name": "a", "extends": "b.yaml"}, "a.yaml"))


def test_a_problem_of_the_base_names_the_base_unless_it_is_replaced(base: Path, write_yaml: Yaml) -> None:
    text = base.read_text().replace("epochs: 7", "epochs: 07").replace("seeds:\n- 0", "seeds:\n- x")
    base.write_text(text)
    own = {"extends": "base.yaml", "name": "own"}
    with pytest.raises(SpecError) as caught:
        read_spec(write_yaml(own, "own.yaml"))
    assert len(caught.value.problems) == 2 and all(p.startswith("base.yaml, line ") for p in caught.value.problems)
    mended = read_spec(write_yaml({**own, "seeds": [1], "training": {"epochs": 2}}, "own.yaml"))
    assert mended.seeds == [1] and mended.training["epochs"] == 2
