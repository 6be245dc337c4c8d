"""A cell of a sweep with the artifacts that answer it. Those of most are named when somebody asks for them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from midef.core.certainty import settings_word
from midef.core.setup import Cell

if TYPE_CHECKING:
    from midef.core.choice import Choice
    from midef.stages import CellRecipes, SetupRecipes


@dataclass(frozen=True)
class PlannedCell:
    """A cell with the artifacts that answer it.

    Args:
        answered_by: None for a cell whose setup names a component that is not registered.
        refused: why this defense cannot meet this setup, "" if it can.
    """

    cell: Cell
    answered_by: CellRecipes | None
    refused: str = ""

    @property
    def recipes(self) -> CellRecipes:
        """
        Raises:
            ValueError: of a cell whose setup names a component that is not registered.
        """
        if self.answered_by is None:
            raise ValueError(f"{self.cell.setup.id} has no recipes: {self.refused}")
        return self.answered_by

    @property
    def manifest_line(self) -> dict[str, str | int | float | None]:
        """What the manifest of a sweep or an audit says of it."""
        cell = self.cell
        return {
            "cell": cell.digest,
            "setup": cell.setup.id,
            "defense": cell.defense.label,
            "attack": cell.setup.attack.label,
            "certainty": cell.setup.certainty,
            "settings": settings_word(cell.setup.settings),
            "seed": cell.seed,
            "profile": cell.profile,
            "refused": self.refused,
            "pieces": self._pieces,
        }

    @property
    def _pieces(self) -> str:
        """Keys of the artifacts that answer it, inputs first, with blanks between: where their logs are found."""
        if self.answered_by is None or self.refused:
            return ""
        return " ".join(self.answered_by.scores.names)


def named_later(of: SetupRecipes, defense: Choice, seed: int, *, profile: str, refused: str = "") -> PlannedCell:
    """A cell whose artifacts, and with them its digest, are named when they are first asked for.

    Equal to one that was named at once. A choice among the cells of a sweep by setup, defense or seed names only those
    that are chosen.

    Args:
        of: recipes of the cells of its setup.
        refused: why this defense cannot meet this setup, "" if it can.
    """
    cell = _LaterCell(setup=of.setup, defense=defense, seed=seed, profile=profile)
    planned = _LaterPlanned(cell, None, refused)
    del vars(cell)["scores"], vars(planned)["answered_by"]  # the properties below answer instead
    vars(cell)["of"] = of
    return planned


class _LaterCell(Cell):
    of: SetupRecipes

    @cached_property
    def recipes(self) -> CellRecipes:
        return self.of.of(self.defense, self.seed)

    @cached_property
    @override
    def scores(self) -> str:
        return self.recipes.scores.key.digest

    @override
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cell) and _values(self) == _values(other)

    @override
    def __hash__(self) -> int:
        return hash(tuple(_values(self).values()))

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        return _plain, (Cell, _values(self))


class _LaterPlanned(PlannedCell):
    cell: _LaterCell

    @cached_property
    @override
    def answered_by(self) -> CellRecipes | None:
        return self.cell.recipes

    @override
    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlannedCell) and _values(self) == _values(other)

    @override
    def __hash__(self) -> int:
        return hash(tuple(_values(self).values()))

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        return _plain, (PlannedCell, _values(self))


def _values(planned: Cell | PlannedCell) -> dict[str, Any]:
    return {f.name: getattr(planned, f.name) for f in fields(planned)}


def _plain(cls: type, values: dict[str, Any]) -> Any:
    """A copy, or what a pickle held: without the recipes that the other cells of the setup share."""
    return cls(**values)
