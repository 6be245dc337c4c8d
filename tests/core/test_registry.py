from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

from midef.core import Choice, Registry, SpecError
from midef.core.canonical import ADDED_LATER, plain


class Tool:
    """What the toy registry holds."""


PACKAGE = "toy_tools_of_test_registry"
TOOLS: Registry[Tool] = Registry("tool", PACKAGE)


@TOOLS.add("saw")
@dataclass(frozen=True, kw_only=True)
class Saw(Tool):
    version: ClassVar[int] = 2
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"fine": {"teeth": 40}, "paper-1": {"length_m": 1.5}}

    teeth: int = 20
    length_m: float = 0.5
    kind: Literal["hand", "band"] = "hand"
    colour: str | None = None
    path: str = field(default="", metadata={"shown": False})

    def __post_init__(self) -> None:
        if self.teeth < 1:
            raise ValueError(f"needs teeth >= 1, got {self.teeth}")


@TOOLS.add("hammer")
@dataclass(frozen=True, kw_only=True)
class Hammer(Tool):
    weights: tuple[float, ...] = (1.0,)


@TOOLS.add("axe")
@dataclass(frozen=True, kw_only=True)
class Axe(Tool):
    edge_cm: float = 12.0
    blades: int = field(default=1, metadata=ADDED_LATER)


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for the registry to search."""
    folder = tmp_path / PACKAGE
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for name in [name for name in sys.modules if name.split(".")[0] == PACKAGE]:
        del sys.modules[name]


def refusal(wanted: str | Mapping[str, Any]) -> SpecError:
    with pytest.raises(SpecError) as caught:
        TOOLS.choose(wanted)
    return caught.value


@pytest.mark.parametrize(
    "wanted",
    ["saw(length_m=1)", "saw(length_m=1.0)", {"name": "saw", "length_m": 1}, {"name": "saw", "length_m": "1"}],
    ids=str,
)
def test_values_take_their_declared_type_before_they_are_keyed(wanted: str | Mapping[str, Any]) -> None:
    choice = TOOLS.choose(wanted)
    assert choice.keyed_json == TOOLS.choose({"name": "saw", "length_m": 1.0}).keyed_json
    assert type(choice.params["length_m"]) is float


def test_a_parameter_added_later_enters_the_key_only_with_another_value() -> None:
    """Keys made before there was one stay; nested components are written the same way."""
    assert TOOLS.choose("axe").params == {"edge_cm": 12.0}
    assert TOOLS.choose("axe(blades=1)").keyed_json == TOOLS.choose("axe").keyed_json
    assert TOOLS.choose("axe(blades=2)").params == {"edge_cm": 12.0, "blades": 2}
    assert TOOLS.remake(TOOLS.choose("axe")) == Axe()
    assert TOOLS.remake(TOOLS.choose("axe(blades=2)")) == Axe(blades=2)
    assert plain({"axe": Axe()}) == {"axe": {"edge_cm": 12.0}}
    assert plain(Axe(blades=2)) == {"edge_cm": 12.0, "blades": 2}


def test_a_choice_holds_every_parameter_and_the_version() -> None:
    choice = TOOLS.choose("saw")
    assert choice.params == {"teeth": 20, "length_m": 0.5, "kind": "hand", "colour": None, "path": ""}
    assert choice.version == 2
    assert TOOLS.remake(choice) == Saw()


@pytest.mark.parametrize(
    ("wanted", "label"),
    [
        ("saw", "saw"),
        ("saw(length_m=0.5)", "saw"),
        ("saw(length_m=2, teeth=3)", "saw(teeth=3,length_m=2)"),
        ("saw:fine", "saw(teeth=40)"),
        ({"name": "saw", "path": "somewhere"}, "saw"),
    ],
    ids=str,
)
def test_the_label_shows_what_differs_from_the_defaults(wanted: str | Mapping[str, Any], label: str) -> None:
    assert TOOLS.choose(wanted).label == label


@pytest.mark.parametrize(
    "wanted",
    ["saw:paper-1(teeth=5)", {"name": "saw:paper-1", "teeth": 5}, {"name": "saw", "preset": "paper-1", "teeth": 5}],
)
def test_parameters_override_the_preset(wanted: str | Mapping[str, Any]) -> None:
    assert TOOLS.remake(TOOLS.choose(wanted)) == Saw(teeth=5, length_m=1.5)


@pytest.mark.parametrize("wanted", ["SAW", "Saw", "saww", "swa"])
def test_an_unknown_name_is_answered_with_the_nearest(wanted: str) -> None:
    assert str(refusal(wanted)) == f"unknown tool {wanted!r}; did you mean 'saw'? Known: axe, hammer, saw"


def test_a_far_off_name_is_answered_with_all_known() -> None:
    assert str(refusal("screwdriver_2000")) == "unknown tool 'screwdriver_2000'; Known: axe, hammer, saw"


def test_an_unknown_preset_is_answered_with_the_nearest() -> None:
    assert str(refusal("saw:fin")) == "tool 'saw' has no preset 'fin'; did you mean 'fine'? Known: fine, paper-1"
    assert str(refusal("hammer:fine")) == "tool 'hammer' has no preset 'fine'; Known: none"


def test_every_problem_is_told_at_once() -> None:
    error = refusal({"name": "saw", "teet": 3, "lenght_m": 2, "kind": "chain", "teeth": "many"})
    assert len(error.problems) == 4
    for part in (
        "tool 'saw' has no parameter 'teet'; did you mean 'teeth'?",
        "tool 'saw' has no parameter 'lenght_m'; did you mean 'length_m'?",
        "tool 'saw', kind: Input should be 'hand' or 'band', got 'chain'",
        "tool 'saw', teeth: ",
    ):
        assert any(problem.startswith(part) for problem in error.problems), part
    assert str(error).startswith("4 problems:\n  1. ")


def test_a_check_of_the_component_speaks_in_its_own_words() -> None:
    assert str(refusal("saw(teeth=0)")) == "tool 'saw': needs teeth >= 1, got 0"


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", float("nan")], ids=str)
def test_numbers_that_cannot_be_keyed_are_refused_as_configuration(value: Any) -> None:
    message = str(refusal({"name": "saw", "length_m": value}))
    assert message.startswith("tool 'saw', length_m: ") and "finite" in message
    assert "finite" in str(refusal({"name": "hammer", "weights": [1.0, value]}))


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("saw(teeth)", "cannot read tool 'saw(teeth)', character 5: cannot read 'teeth'; write parameter=value"),
        ("saw(teeth=3", "cannot read tool 'saw(teeth=3', character 4: '(' is never closed"),
        ("", "cannot read tool '', character 1: no name; write name, name:preset or name(parameter=value)"),
        ({"teeth": 3}, "a tool needs a 'name'; got {'teeth': 3}"),
        ({"name": 3}, "a tool needs a 'name'"),
    ],
    ids=str,
)
def test_what_cannot_be_read_is_refused(wanted: str | Mapping[str, Any], message: str) -> None:
    assert message in str(refusal(wanted))


def test_a_choice_of_other_maths_is_refused() -> None:
    with pytest.raises(SpecError, match="tool 'saw' is version 2 here, the recipe asks for version 1; plan again"):
        TOOLS.remake(Choice("saw", {}, 1))


def test_two_components_cannot_share_a_name() -> None:
    with pytest.raises(ValueError, match=r"two tools are registered as 'saw': .* and .*"):

        @TOOLS.add("saw")
        class Other(Tool):
            pass


def test_plain_files_are_found_and_plumbing_is_not(package: Path) -> None:
    found: Registry[Tool] = Registry("tool", PACKAGE, beside=("bench",))
    (package / "bench.py").write_text("import builtins; builtins.searched_by_test.append('bench')")
    (package / "planes.py").write_text("import builtins; builtins.searched_by_test.append('planes')")
    (package / "_base.py").write_text("import builtins; builtins.searched_by_test.append('_base')")
    (package / "inner").mkdir()
    (package / "inner" / "__init__.py").write_text("import builtins; builtins.searched_by_test.append('inner')")
    import builtins

    builtins.searched_by_test = seen = []  # type: ignore[attr-defined]
    try:
        assert found.names() == [] == found.names()
    finally:
        del builtins.searched_by_test  # type: ignore[attr-defined]
    assert seen == ["planes"]


def test_iterates_by_name() -> None:
    assert list(TOOLS) == [Axe, Hammer, Saw]
    assert TOOLS.get("saw") is Saw
