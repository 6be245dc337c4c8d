"""GPU-hours of cells of the paper profile: as a plan predicts them, and from the steps measured in this run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gpu_measure import Measured

from midef.attacks import ATTACKS, PRIORS
from midef.core.choice import Choice
from midef.core.recipe import Recipe
from midef.sweep.library import load_spec
from midef.sweep.planning.estimate import Estimates
from midef.sweep.planning.gpu import REFERENCE
from midef.sweep.spec.resolve import PlannedCell, resolve

CELLS = {"S01": "GMI on VGG16", "S02": "KedMI on VGG16", "S20": "PPA on ResNet-18"}
"""Setups of the published matrix whose undefended cells are counted."""
SEARCHES = {"gmi": "gmi on", "kedmi": "kedmi on", "ppa": "ppa on"}
MEASURED_KINDS = ("target", "prior", "reconstructions")


@dataclass(frozen=True)
class Hours:
    """Hours of a node.

    Args:
        predicted: (low, expected, worst), by the rates of `midef plan --gpu-hours`.
        measured: from the loop of this run that does the same; None where there is none.
    """

    cell: str
    node: str
    predicted: tuple[float, float, float]
    measured: float | None


def hours_of(found: Sequence[Measured]) -> list[Hours]:
    """Of targets, priors and attacks of the cells; needs no data: sizes are the published ones."""
    sweep = resolve(load_spec("matrix37").model_copy(update={"profile": "paper"}), absent=True)
    estimates = Estimates(sweep.locations)
    said: list[Hours] = []
    for planned in sweep.cells:
        cell = planned.cell
        if cell.setup.id in CELLS and cell.seed == 0 and cell.defense.name == "none" and planned.answered_by:
            for recipe in _recipes(planned):
                low, expected, worst = (s / 3600 for s in REFERENCE.seconds(estimates.work(recipe)))
                measured = _measured_s(recipe, found, estimates)
                name = f"{recipe.kind} {_named(recipe)}"
                hours = None if measured is None else measured / 3600
                said.append(Hours(f"{cell.setup.id}, {CELLS[cell.setup.id]}", name, (low, expected, worst), hours))
    return said


def _recipes(cell: PlannedCell) -> list[Recipe]:
    """What a cell trains and searches, each once; what others published is not trained."""
    wanted = {
        recipe.key: recipe
        for recipe in cell.recipes.scores.walk()
        if recipe.kind in MEASURED_KINDS
        and ("public" in recipe.inputs or recipe.kind != "prior")
        and ("training" in recipe.params or recipe.kind != "target")
    }
    return list(wanted.values())


def _named(recipe: Recipe) -> str:
    return str(recipe.params["architecture"]["name"]) if recipe.kind == "target" else recipe.component


def _measured_s(recipe: Recipe, found: Sequence[Measured], estimates: Estimates) -> float | None:
    """Seconds of a node from the images a second of the loop that does its work; None where no loop does."""
    params: Mapping[str, Any] = recipe.params
    if recipe.kind == "target":
        name = f"training {_named(recipe)} "
        images = int(params["training"]["epochs"]) * estimates.sizes(recipe.inputs["private"]).train
    elif recipe.kind == "prior":
        name = f"generator {recipe.component} "
        prior = PRIORS.remake(Choice(recipe.component, params["params"], recipe.version))
        images = int(getattr(prior, "steps", 0)) * int(getattr(prior, "batch_size", 0))
    else:
        name = f"{SEARCHES.get(recipe.component, '-')} "
        attack: Any = ATTACKS.remake(Choice.from_plain(params["attack"]))
        identities = int(params["identities"])
        each = 1 if attack.per_identity else int(params["images_per_identity"])
        images = sum(attack.stage_steps) * identities * (attack.candidates_per_identity or each)
    rates = [one.images_s for one in found if one.loop.name.startswith(name) and one.loop.precision == "tf32"]
    return images / rates[0] if rates else None
