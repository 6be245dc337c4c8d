"""Where a network that only judges may stand: as an evaluator, with its own published weights, and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from midef.core.choice import Choice
from midef.models import ARCHITECTURES


def problems_as_target(architecture: Choice) -> list[str]:
    """Why a network cannot be trained as a target."""
    if not ARCHITECTURES.get(architecture.name).judges_only:
        return []
    return [
        f"{architecture.name} only judges: it is never a target, a network of an attack or a start of a training; "
        f"write evaluator: {architecture.name}, and choose another architecture here"
    ]


def weights_of_judge(architecture: Choice) -> str:
    """Name of the published weights that an architecture which only judges has; "" for any other."""
    made = ARCHITECTURES.get(architecture.name)
    return made.published.weights if made.judges_only and made.published is not None else ""


def problems_of_attack(attack: Choice) -> list[str]:
    """Why an attack cannot use the networks that its parameters name, however deep."""
    return [
        f"{attack.label} names {judge}, which only judges; choose another network for the attack"
        for judge in dict.fromkeys(_named_judges(attack.params))
    ]


def _named_judges(params: Any) -> list[str]:
    if isinstance(params, str):
        name = re.split(r"[:(]", params)[0].strip()
        return [name] if name in ARCHITECTURES.names() and ARCHITECTURES.get(name).judges_only else []
    inside = params.values() if isinstance(params, Mapping) else params if isinstance(params, list | tuple) else ()
    return [name for value in inside for name in _named_judges(value)]
