"""What a defense of answers prepares, trained by the stage of substitutes and held in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch

from midef.core.recipe import ArtifactKey, Inputs, Recipe
from midef.core.seeds import derive_seed
from midef.defenses import DEFENSES, Defense
from midef.defenses.families.substitutes import INVERTER
from midef.defenses.stack import name_of
from midef.stages.substitute import Ask, DefendersImages, train
from midef.training.generative.loop import Report, TrainingRun

Files = Mapping[str, bytes]
"""Content of the files of one artifact, by name."""
AskBehind = Callable[[tuple[Defense, ...], Mapping[str, Files]], Ask]
"""The network behind the first parts of a defense, for the artifacts that these have."""


class Prepared(NamedTuple):
    """What was trained.

    Args:
        files: of each artifact by its role, `part.role`.
        facts: of its training, such as the error on images that it was not fitted to.
    """

    files: Mapping[str, Files]
    facts: Mapping[str, Any]


def roles_of(defense: Defense, *, network: str = "", public: str = "", resolution_px: int = 0) -> dict[str, Recipe]:
    """Recipes of the artifacts of a defense that answers, by role, `part.role`; a part sees what those before answer.

    Args:
        network, public: sha256 of the network and of the public images.
    """
    parts, found = defense.parts(), dict[str, Recipe]()
    images = Recipe("split", "given", {"sha256": public, "resolution_px": resolution_px})
    for i, part in enumerate(parts):
        before = [DEFENSES.describe(other).keyed for other in parts[:i]]
        behind = Recipe("target", "given", {"sha256": network, "defense": before})
        found |= {f"{name_of(part)}.{role}": recipe for role, recipe in part.serving(behind, images).items()}
    return found


def needs_private(roles: Mapping[str, Recipe]) -> bool:
    """Whether one of these recipes, or what it starts from, is trained with private images."""
    return any(recipe.component == INVERTER for role in roles.values() for recipe in role.walk())


def prepare(
    defense: Defense,
    roles: Mapping[str, Recipe],
    images: DefendersImages,
    ask_behind: AskBehind,
    *,
    classes: int,
    seed: int,
    device: torch.device,
    report: Report | None,
) -> Prepared:
    """Train every artifact of `roles`, and what these start from, each once; the global generators stay as they are.

    Args:
        report: gets the role and the position of its training.

    Raises:
        TrainingDiverged: if a loss or a weight is not finite.
    """
    done: dict[str, Files] = {}
    facts: dict[str, Any] = {}
    built: dict[ArtifactKey, Path] = {}
    devices = [device] if device.type == "cuda" else []
    with TemporaryDirectory(prefix="midef-guard-") as home, torch.random.fork_rng(devices), torch.enable_grad():
        for i, part in enumerate(defense.parts()):
            ask = ask_behind(defense.parts()[:i], dict(done))

            def folder_of(recipe: Recipe, role: str, ask: Ask = ask) -> Path:
                if recipe.key not in built:
                    folder = Path(home) / recipe.key.digest
                    folder.mkdir()
                    run = TrainingRun(
                        seed=derive_seed("substitute", seed), device=str(device), report=_saying(report, role)
                    )
                    inputs = Inputs(recipe.inputs, lambda needed: folder_of(needed, f"{role}.{needed.component}"))
                    facts[role] = train(recipe, images, ask, classes, inputs, run, folder)
                    built[recipe.key] = folder
                return built[recipe.key]

            for role, recipe in roles.items():
                if role.partition(".")[0] == name_of(part):
                    done[role] = {path.name: path.read_bytes() for path in sorted(folder_of(recipe, role).iterdir())}
    return Prepared(done, facts)


def _saying(report: Report | None, role: str) -> Report | None:
    return None if report is None else lambda where: report({"substitute": role, **where})


@contextmanager
def as_folders(files: Mapping[str, Files]) -> Iterator[Callable[[str], Path]]:
    """Folders of artifacts by role, as long as they are read."""
    with TemporaryDirectory(prefix="midef-guard-") as home:
        for role, content in files.items():
            (Path(home) / role).mkdir()
            for name, data in content.items():
                (Path(home) / role / name).write_bytes(data)
        yield lambda role: Path(home) / role
