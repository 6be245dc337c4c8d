"""Other values of a component's parameters, as valid as the ones it has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any, TypeVar, get_args, get_type_hints

from midef.attacks import PRIORS, Prior
from midef.core import Registry, SpecError

C = TypeVar("C")


def changed(registry: Registry[C], component: C, field_name: str) -> C:
    """The component with another valid value of one field; one more changes with it only where it must.

    Raises:
        AssertionError: if no such value is known here.
    """
    name: str = type(component).registered_name  # type: ignore[attr-defined]
    params = {f.name: getattr(component, f.name) for f in fields(component)}  # type: ignore[arg-type]
    for rest in _rests(component, field_name):
        for value in _others(component, field_name):
            try:
                other = registry.make(name, {**params, **rest, field_name: value})
            except SpecError:
                continue
            if getattr(other, field_name) != params[field_name]:
                return other
    where = f"{type(component).__name__}.{field_name}"
    raise AssertionError(f"no other valid value is known for {where}; widen midef.testing.values")


def _rests(component: Any, field_name: str) -> Iterator[dict[str, Any]]:
    """Changes of no other field, then of one."""
    yield {}
    for f in fields(component):
        if f.name != field_name and not isinstance(getattr(component, f.name), Prior):
            for value in _others(component, f.name):
                yield {f.name: value}


def _others(component: Any, field_name: str) -> Iterator[Any]:
    value = getattr(component, field_name)
    hint = get_type_hints(type(component))[field_name]
    if isinstance(value, Prior):
        yield changed(PRIORS, value, fields(value)[0].name)
    elif isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (value + 1, 2 * value, max(1, value // 2), 1, 5, 16)
    elif isinstance(value, float):
        yield from (0.9 * value, 0.5, 0.2, 0.05, 2.0, 0.0)
    elif isinstance(value, str):
        words = [word for word in get_args(hint) if isinstance(word, str)]
        yield from words or ["block1.conv1", "other"]
    elif isinstance(value, tuple):
        yield from ((1,), ("mlp",), (0.5,))
    elif value is None:
        yield from (3, 6, 0.5, "other")
