"""What every analysis is: the cells it needs, what must be stored of them, and what it finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, cast

from midef.core.errors import MissingArtifact, SpecError
from midef.core.registry import Registry

if TYPE_CHECKING:
    from midef.core.recipe import Recipe
    from midef.core.setup import Cell
    from midef.defenses import Defense
    from midef.results.findings import Findings
    from midef.stages.cell_recipes import CellRecipes
    from midef.storage import Store

Over: TypeAlias = Literal["seed", "setup", "sweep"]

ANALYSES: Registry[Analysis] = Registry("analysis", "midef.analysis")


@dataclass(frozen=True)
class AnalysedCell:
    """A cell of a sweep, and the artifacts that answer it."""

    cell: Cell
    recipes: CellRecipes

    @property
    def label(self) -> str:
        """Of its defense."""
        return self.cell.defense.label

    @property
    def answering(self) -> list[Defense]:
        """The parts of its defense that change answers, in their order."""
        from midef.defenses.stack import remake_defense

        return [part for part in remake_defense(self.cell.defense).parts() if part.changes_answers]


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """Base of all analyses: a frozen dataclass whose fields are its parameters.

    Args:
        needs: the cells it needs, as `midef list` says it; NO_SWEEP where `standalone` makes all it needs.
        over: which cells it is about: those of the first setup and seed, of the first setup with all seeds, or all.
    """

    paper: ClassVar[str] = ""
    version: ClassVar[int] = 1
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    needs: ClassVar[str]
    over: ClassVar[Over] = "seed"

    @property
    def reads_sweep(self) -> bool:
        """Whether it analyses cells of a sweep."""
        return type(self).standalone is Analysis.standalone

    def standalone(self) -> Findings:
        """The numbers, what they say, and their figure, of an analysis that makes its own data and reads no sweep.

        One that overrides it overrides nothing else.
        """
        raise NotImplementedError

    def problems(self, cells: Sequence[AnalysedCell]) -> list[str]:
        """Why these cells cannot be analysed; each a sentence with what to do.

        Args:
            cells: those it is about, see `over`; at least one.
        """
        raise NotImplementedError

    def requires(self, cells: Sequence[AnalysedCell]) -> Sequence[Recipe]:
        """What must be stored; asked where there are no problems."""
        raise NotImplementedError

    def analyse(self, cells: Sequence[AnalysedCell], store: Store) -> Findings:
        """The numbers, what they say, and their figure. Everything required is stored."""
        raise NotImplementedError


def analyse(analysis: Analysis, cells: Sequence[AnalysedCell], store: Store) -> Findings:
    """Analyse some cells: those of them that the analysis is about.

    Raises:
        SpecError: if they are not what the analysis needs, or it needs none.
        MissingArtifact: with everything that is not stored yet.
    """
    name = cast(Any, type(analysis)).registered_name
    if not analysis.reads_sweep:
        raise SpecError(f"{name} reads no sweep; call its standalone()")
    if not cells:
        raise SpecError(f"{name}: every cell of the sweep is refused; `midef plan` says why")
    first = cells[0].cell
    chosen = chosen_cells(analysis, cells)
    if problems := analysis.problems(chosen):
        about = "the sweep" if analysis.over == "sweep" else first.setup.id
        raise SpecError([f"{name} of {about}: {problem}" for problem in problems])
    needed = {recipe.key: recipe for recipe in analysis.requires(chosen)}
    missing = [f"{recipe.kind} {key.short}" for key, recipe in needed.items() if not store.artifacts.has(key)]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise MissingArtifact(f"the {', the '.join(missing)} {verb} not stored yet; `midef run` the sweep first")
    return analysis.analyse(chosen, store)


def chosen_cells(analysis: Analysis, cells: Sequence[AnalysedCell]) -> list[AnalysedCell]:
    """Those of the cells that an analysis is about, see `Analysis.over`.

    Args:
        cells: at least one.
    """
    first = cells[0].cell
    if analysis.over == "sweep":
        return list(cells)
    of_setup = [cell for cell in cells if cell.cell.setup == first.setup]
    return of_setup if analysis.over == "setup" else [cell for cell in of_setup if cell.cell.seed == first.seed]


def undefended(cells: Sequence[AnalysedCell]) -> AnalysedCell | None:
    """The cell without a defense."""
    from midef.stages.recipes import NO_DEFENSE

    return next((c for c in cells if c.cell.defense.name == NO_DEFENSE.name), None)


NEEDS_UNDEFENDED = "it starts from the undefended target; add `none` to defenses"
"""The problem of cells among which no undefended one is."""

NO_SWEEP = "no sweep"
"""What an analysis needs that makes its own data."""
