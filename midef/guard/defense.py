"""Defenses that can stand before a network that is already trained."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from midef.core.choice import Choice
from midef.core.errors import SpecError
from midef.defenses import DEFENSES, Defense, Stack, choose_defense, remake_defense
from midef.defenses.base import STACK
from midef.defenses.stack import name_of


def guarding(written: str | Mapping[str, Any] | Defense) -> tuple[Defense, Choice]:
    """The defense that a person writes, and its choice.

    Raises:
        SpecError: with every problem: what cannot be read, and every part that changes the training of a network.
    """
    choice = _choice(written) if isinstance(written, Defense) else choose_defense(written)
    defense = remake_defense(choice)
    if trained := [part for part in defense.parts() if part.acts_on_training]:
        rest = "+".join(DEFENSES.describe(part).label for part in defense.parts() if not part.acts_on_training)
        guarded = f"guard that network with {rest!r}" if rest else f"guard one with {' or '.join(_answering())}"
        raise SpecError(
            [
                f"{name_of(part)} changes how a network is trained, and this one is trained already: train it under "
                f"{name_of(part)} first (a sweep, or midef.stages), and {guarded}"
                for part in trained
            ]
        )
    return defense, choice


def warn_of_joint_answers(defense: Defense) -> None:
    """Warn where an answer depends on what else is asked in the same call."""
    for part in defense.parts():
        if part.answers_jointly:
            alone = " Write alignment=per_query for answers that do not." if hasattr(part, "alignment") else ""
            warnings.warn(
                f"{name_of(part)} answers the queries of one call jointly: an image has another answer beside other "
                f"images, and a person who asks it twice sees two.{alone}",
                stacklevel=3,
            )


def takes_gradients(defense: Defense) -> list[str]:
    """Names of the parts that differentiate to answer."""
    return [name_of(part) for part in defense.parts() if part.takes_gradients and not getattr(part, "is_off", False)]


def _choice(defense: Defense) -> Choice:
    parts: Sequence[Defense] = defense.parts()
    if problems := [
        f"{type(part).__name__} is not registered, so it could not be loaded again; give its class "
        "@DEFENSES.add(NAME) (docs/add_a_method.md)"
        for part in parts
        if not hasattr(type(part), "registered_name")
    ]:
        raise SpecError(problems)
    chosen = [DEFENSES.describe(part) for part in parts]
    if not isinstance(defense, Stack):
        return chosen[0]
    return Choice(STACK, {"members": [one.keyed for one in chosen]}, 1, "+".join(one.label for one in chosen))


def _answering() -> list[str]:
    """Names of the defenses that change answers."""
    return [name for name in DEFENSES.names() if DEFENSES.get(name).answer is not Defense.answer]
