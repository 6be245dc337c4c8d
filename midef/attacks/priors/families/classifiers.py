"""Families of classifiers an attacker trains in place of the target, and the published weights they may start from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from midef.nn.named_file import NamedFile

Family = Literal["efficientnet", "densenet", "cnn_tiny"]
StartWeights = Literal["none", "imagenet"]


def family_problems(family: Family, weights: StartWeights, resolution_px: int) -> list[str]:
    """Why networks of this family cannot start so, or cannot see this resolution. Opens no file."""
    problems = []
    if family == "cnn_tiny" and weights == "imagenet":
        problems.append("cnn_tiny has no imagenet weights; choose weights=none")
    least_px = {"efficientnet": 32, "densenet": 32, "cnn_tiny": 8}[family]
    if resolution_px < least_px:
        advice = "a larger resolution_px" if family == "cnn_tiny" else "family=cnn_tiny"
        problems.append(f"{family} needs at least {least_px} px, not {resolution_px}; choose {advice}")
    return problems


def start_files(family: Family, count: int, weights: StartWeights) -> list[NamedFile]:
    """The published files that these networks start from."""
    if weights == "none" or family == "cnn_tiny":
        return []
    from midef.attacks.priors.networks.students import published_file

    return [published_file(family, index) for index in range(count)]


def missing_files(family: Family, count: int, weights: StartWeights) -> list[str]:
    """A sentence for each published file that these networks start from and that is not here."""
    if weights == "none" or family == "cnn_tiny":
        return []
    from midef.attacks.priors.networks.students import find_published
    from midef.core.errors import DataError, PreflightError

    problems = []
    for index in range(count):
        try:
            find_published(family, index)
        except (PreflightError, DataError) as error:
            problems.append(str(error))
    return problems
