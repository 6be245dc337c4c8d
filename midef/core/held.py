"""Components held by components, that may be exchanged for others of their kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass
from typing import TYPE_CHECKING, Any

from midef.core.conversion import shown
from midef.core.errors import SpecError

if TYPE_CHECKING:
    from midef.core.registry import Registry

HELD = "held"
"""Metadata of a field that holds another component: what it is by default, and which others may stand there."""


@dataclass(frozen=True)
class Held:
    """A field of a component that holds another component: a `usual` one, or any other that `fits`.

    Where it is the usual one, it is written and keyed by its parameters alone; another one has its `name` among them.

    Args:
        registry: of what the field holds.
        usual: what it holds where nothing is written, and where parameters are written without a name.
        fits: why a class cannot stand there, "" if it can.
    """

    registry: Registry[Any]
    usual: type
    fits: Callable[[type], str]

    @property
    def metadata(self) -> dict[str, Any]:
        """Of the dataclass field, whose default factory is the usual component."""
        return {"shown": False, HELD: self}

    @property
    def others(self) -> list[str]:
        """Names of what may stand in the place of the usual one."""
        return [
            name
            for name in self.registry.names()
            if (cls := self.registry.get(name)) is not self.usual and not self.fits(cls)
        ]

    def normal(self, written: Any) -> Any:
        """What a person wrote as a mapping, with a `name` unless it is the usual one; a component as it is.

        Raises:
            SpecError: for a text that cannot be read, an unknown name or preset.
        """
        if not (isinstance(written, str) or (isinstance(written, Mapping) and "name" in written)):
            return written
        name, params = self.registry.complete(written)
        return params if self.registry.get(name) is self.usual else {"name": name, **params}

    def make(self, written: Any) -> Any:
        """The component that was written.

        Raises:
            SpecError: with everything that is wrong with it; if it is of no use here, saying why.
        """
        written = self.normal(written)
        if isinstance(written, Mapping):
            params = {key: value for key, value in written.items() if key != "name"}
            written = self.registry.make(written.get("name", self.usual.registered_name), params)  # type: ignore[attr-defined]
        if not is_dataclass(written) or isinstance(written, type):
            raise SpecError(
                f"expected the name of a {self.registry.kind} or a mapping of parameters, got {shown(written)}"
            )
        if reason := self.fits(type(written)):
            name = self.registry.describe(written).name
            raise SpecError(f"{self.registry.kind} {name!r} cannot stand here: {reason}")
        return written

    def described(self, component: Any) -> dict[str, Any]:
        """The parameters of a component, with its name unless it is the usual one."""
        choice = self.registry.describe(component)
        return dict(choice.params) if type(component) is self.usual else {"name": choice.name, **choice.params}
