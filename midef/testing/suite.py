"""What every suite does: which components it asks, and the questions that are the same for every kind."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, ClassVar

import pytest

from midef.core import Choice, Registry, SpecError
from midef.core.canonical import keyed_fields, plain


class Contract:
    """Base of the suites. Tests that ask for `name` run once for each component.

    Args:
        names: the components asked; every registered one where it is not given.
    """

    registry: ClassVar[Registry[Any]]
    names: ClassVar[Sequence[str] | None] = None

    @classmethod
    def asked(cls) -> list[str]:
        """Registered names of the components this class asks."""
        return cls.registry.names() if cls.names is None else list(cls.names)

    @classmethod
    def cases(cls) -> Mapping[str, Sequence[Any]]:
        """Values of the arguments that tests are repeated for."""
        presets = [f"{name}:{preset}" for name in cls.asked() for preset in cls.registry.get(name).presets]
        return {"name": cls.asked(), "preset": presets}

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Repeat a test for every value of the cases it asks for."""
        for argument, values in self.cases().items():
            if argument in metafunc.fixturenames:
                metafunc.parametrize(argument, values, ids=[v if isinstance(v, str) else str(v) for v in values])

    @classmethod
    def needed(cls, name: str) -> dict[str, Any]:
        """Parameters without which a component cannot be made."""
        return {}

    def test_says_what_it_is_and_where_it_comes_from(self, name: str) -> None:
        cls = self.registry.get(name)
        doc = cls.__dict__.get("__doc__") or ""
        assert doc and not doc.startswith(f"{cls.__name__}("), "write a docstring; dataclass made this one"
        assert isinstance(cls.version, int) and cls.version >= 1
        assert cls.registered_name == name

    def test_is_made_with_its_defaults_and_stays_as_it_is(self, name: str) -> None:
        component = self.registry.make(name, self.needed(name))
        assert component == self.registry.make(name, self.needed(name)) and type(component) is self.registry.get(name)
        for f in fields(component):
            with pytest.raises(AttributeError):
                setattr(component, f.name, getattr(component, f.name))

    def test_an_unknown_parameter_is_refused_with_the_nearest(self, name: str) -> None:
        known = [f.name for f in fields(self.registry.get(name))]
        wrong = f"{known[0]}x" if known else "strength"
        with pytest.raises(SpecError) as caught:
            self.registry.make(name, {**self.needed(name), wrong: 1})
        assert f"{self.registry.kind} {name!r} has no parameter {wrong!r}" in str(caught.value)
        assert (f"did you mean {known[0]!r}?" if known else "Known: none") in str(caught.value)

    def test_a_choice_comes_back(self, name: str) -> None:
        choice = self.registry.choose({"name": name, **self.needed(name)})
        assert Choice.from_plain(json.loads(choice.keyed_json)) == choice
        assert self.registry.remake(choice) == self.registry.make(name, self.needed(name))
        assert set(choice.params) == {f.name for f in keyed_fields(self.registry.remake(choice))}

    def test_a_preset_sets_what_it_says(self, preset: str) -> None:
        name, _, word = preset.partition(":")
        choice = self.registry.choose({"name": preset, **self.needed(name)})
        for parameter, value in self.registry.get(name).presets[word].items():
            chosen = choice.params[parameter]
            if isinstance(value, Mapping):  # of a prior: what the preset says of it
                chosen = {key: chosen[key] for key in value}
            assert chosen == plain(value)

    def test_the_label_of_a_preset_is_read_back(self, preset: str) -> None:
        name = preset.partition(":")[0]
        cls = self.registry.get(name)
        hidden = {f.name for f in fields(cls) if not f.metadata.get("shown", True)}
        choice = self.registry.choose({"name": preset, **self.needed(name)})
        again = self.registry.choose(choice.label) if not self.needed(name) else choice
        assert {k: v for k, v in again.params.items() if k not in hidden} == {
            k: v for k, v in choice.params.items() if k not in hidden
        }
