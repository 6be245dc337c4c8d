"""Components that hold another component: a usual one, or another one by name."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest

from midef.core import Choice, Registry, SpecError
from midef.core.held import Held

PACKAGE = "toy_boxes_of_test_held"
TOOLS: Registry[Any] = Registry("tool", PACKAGE)
BOXES: Registry[Any] = Registry("box", PACKAGE)


@TOOLS.add("saw")
@dataclass(frozen=True, kw_only=True)
class Saw:
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"fine": {"teeth": 40}}

    teeth: int = 20
    length_m: float = 0.5


@TOOLS.add("hammer")
@dataclass(frozen=True, kw_only=True)
class Hammer:
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"heavy": {"weight_kg": 9.0}}

    weight_kg: float = 1.0


@TOOLS.add("thread")
@dataclass(frozen=True, kw_only=True)
class Thread:
    pass


def is_hard(cls: type) -> str:
    return "it is soft; give saw or hammer" if cls is Thread else ""


@BOXES.add("box")
@dataclass(frozen=True, kw_only=True)
class Box:
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"full": {"wide": True, "tool": {"teeth": 99}}}

    wide: bool = False
    tool: Any = field(default_factory=Saw, metadata=Held(TOOLS, Saw, is_hard).metadata)


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder for the registries to search."""
    (tmp_path / PACKAGE).mkdir()
    (tmp_path / PACKAGE / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop(PACKAGE, None)


def test_the_usual_one_is_keyed_and_labelled_by_its_parameters_alone() -> None:
    """As where a field can hold nothing else, so that keys of stored results stay."""
    plain = BOXES.choose("box")
    assert plain.params == {"wide": False, "tool": {"teeth": 20, "length_m": 0.5}} and plain.label == "box"
    forms: list[str | dict[str, Any]] = [
        "box(tool=saw(teeth=40))", "box(tool=saw:fine)", "box(tool={teeth: 40})", "box(tool={name: saw, teeth: 40})",
        "box(tool={name: saw, preset: fine})", {"name": "box", "tool": "saw:fine"},
        {"name": "box", "tool": {"teeth": 40}},
    ]  # fmt: skip
    for form in forms:
        choice = BOXES.choose(form)
        assert choice.params == {"wide": False, "tool": {"teeth": 40, "length_m": 0.5}}, form
        assert choice.label == "box"
        assert BOXES.remake(choice) == Box(tool=Saw(teeth=40))


@pytest.mark.parametrize(
    "form",
    [
        "box(tool=hammer:heavy)",
        "box(tool=hammer(weight_kg=9))",
        "box(tool={name: hammer, weight_kg: 9})",
        "box(tool={name: hammer:heavy})",
        {"name": "box", "tool": {"name": "hammer", "preset": "heavy"}},
    ],
    ids=str,
)
def test_another_one_is_written_by_name_and_read_back_from_its_label(form: str | Mapping[str, Any]) -> None:
    choice = BOXES.choose(form)
    assert choice.params == {"wide": False, "tool": {"name": "hammer", "weight_kg": 9.0}}
    assert choice.label == "box(tool={name: hammer, weight_kg: 9})"
    assert BOXES.choose(choice.label) == choice == BOXES.describe(Box(tool=Hammer(weight_kg=9)))
    assert BOXES.remake(Choice.from_plain(choice.keyed)) == Box(tool=Hammer(weight_kg=9))


def test_a_preset_for_the_usual_one_is_not_mixed_into_another_one() -> None:
    assert BOXES.choose("box:full").params["tool"] == {"teeth": 99, "length_m": 0.5}
    assert BOXES.choose("box:full(tool={length_m: 2})").params["tool"] == {"teeth": 99, "length_m": 2.0}
    other = BOXES.choose("box:full(tool=hammer)")
    assert other.params == {"wide": True, "tool": {"name": "hammer", "weight_kg": 1.0}}
    assert "tool={name: hammer" in other.label and BOXES.choose(other.label) == other


@pytest.mark.parametrize(
    ("form", "problem"),
    [
        ("box(tool=hamer)", "box 'box', tool: unknown tool 'hamer'; did you mean 'hammer'?"),
        ("box(tool=thread)", "box 'box', tool: tool 'thread' cannot stand here: it is soft; give saw or hammer"),
        ("box(tool=hammer:big)", "box 'box', tool.preset: tool 'hammer' has no preset 'big'; "),
        ("box(tool={teath: 3})", "box 'box', tool.teath: tool 'saw' has no parameter 'teath'; did you mean 'teeth'?"),
        ("box(tool={name: hammer, teeth: 3})", "box 'box', tool.teeth: tool 'hammer' has no parameter 'teeth'; "),
        ({"name": "box", "tool": 3}, "box 'box', tool: expected the name of a tool or a mapping of parameters, got 3"),
        ("box(tool={teeth: many})", "box 'box', tool.teeth: tool 'saw', teeth: Input should be a valid integer"),
    ],
    ids=str,
)
def test_what_cannot_stand_there_is_named_with_its_place(form: str | Mapping[str, Any], problem: str) -> None:
    with pytest.raises(SpecError) as caught:
        BOXES.choose(form)
    (found,) = caught.value.problems
    assert found.startswith(problem)
    assert getattr(found, "at", ())[0] == "tool"


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        BOXES.choose({"name": "box", "wide": "very", "high": 1, "tool": {"teeth": 0.5, "weight_kg": 1}})
    assert len(caught.value.problems) == 4
