"""Networks that guess: nothing is matched to their accuracy, and none of them is a match."""

from __future__ import annotations

from dataclasses import replace

from midef.core.accuracy import accuracy_of
from midef.core.gates import excluded_because, match_target_gate, target_gate, written_target_problem
from midef.core.recipe import Recipe
from midef.stages.recipes import NO_DEFENSE
from midef.storage import Store
from midef.sweep.matching.case import Case, StrengthResult
from midef.sweep.spec.resolve import Sweep


def target_problems(target: float, sweep: Sweep) -> list[str]:
    """Why nothing is matched to an accuracy as it is written, in percent; by the identities of the private data."""
    counts = sorted({entry.identities for entry in sweep.entries if entry.identities and not entry.refused})
    reasons = (written_target_problem(target, count) for count in counts)
    return [f"match.target: {reason}" for reason in reasons if reason]


def reference_problem(case: Case, accuracy: float, target: float, store: Store) -> str:
    """Why nothing can be matched to what the reference reached; "" if it can.

    Args:
        case: a defense on the same network and data.
        accuracy: of the reference on the select split, percent.
        target: what it makes the target, percent.
        store: where the select split is.
    """
    chance, reference = case.chance, case.spec.reference
    if chance is None or reference is None:
        return ""
    network = target_gate(accuracy_of(accuracy, chance, n=_images(case, store)))
    gate = network or match_target_gate(target, chance)
    return "" if gate is None else f"its reference, {reference[0]}: {gate.reason}"


def without_guessing(case: Case, result: StrengthResult, store: Store) -> StrengthResult:
    """The result, `at chance` where it would call a network matched that guesses."""
    outcome = replace(result.outcome, select_images=_images(case, store))
    if outcome.state == "matched" and (reason := excluded_because(outcome.gates)):
        outcome = replace(outcome, state="at chance", reason=reason)
    return replace(result, outcome=outcome)


def select_images(split: Recipe, store: Store) -> int | None:
    """Images of the select split of private data; None where it is not stored."""
    return store.artifacts.meta(split.key)["facts"].get("select") if store.artifacts.has(split.key) else None


def _images(case: Case, store: Store) -> int | None:
    return select_images(case.target(NO_DEFENSE, case.seeds[0]).inputs["private"], store)
