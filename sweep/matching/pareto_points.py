"""Points of a Pareto front: what is known of each strength, and which of them are on the front."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from midef.core.accuracy import Accuracy, accuracy_of
from midef.core.choice import Choice
from midef.core.gates import excluded_because, stored_evaluator_gate, target_gate

ATTACK_METRIC, NATURAL_METRIC = "attack_accuracy_at_1", "natural_accuracy"
WORST_ACCURACY, WORST_ATTACK = 0.0, 100.0


@dataclass(frozen=True)
class ParetoPoint:
    """One strength that was trained and attacked.

    Args:
        choice: the defense at the strength.
        strength: value of the parameter.
        accuracy: percent on the select split; 0 if the training diverged.
        attack: attack accuracy, percent; 100 if it was not measured.
        remark: why one of them is missing or says nothing; the strength is then not on the front.
        on_front: no other point is at least as good in both and better in one.
        attack_low: lower end of the interval of the attack accuracy; None where none was kept.
    """

    choice: Choice
    strength: float
    accuracy: float
    attack: float
    remark: str = ""
    on_front: bool = False
    attack_low: float | None = None

    def attack_accuracy(self, chance: float) -> Accuracy:
        """Attack accuracy beside chance, in percent."""
        return accuracy_of(self.attack, chance, low=self.attack_low)


@dataclass(frozen=True)
class AttackScore:
    """What the scores of a cell say about a front.

    Args:
        attack: attack accuracy, percent; None where it was not measured.
        low: lower end of its interval.
        remark: why it is missing, or no result; "" for a result.
    """

    attack: float | None
    low: float
    remark: str


def read_attack(
    folder: Path, facts: Mapping[str, Any], accuracy: float, *, select_images: int | None, chance: float | None
) -> AttackScore:
    """The attack accuracy in stored scores, and why it says nothing where target network or evaluator guess.

    Args:
        folder: of the scores.
        facts: that they keep.
        accuracy: of the target network on the select split, percent.
        select_images: of that split; None where unknown.
        chance: percent; None where unknown, nothing is then taken for guessing.
    """
    entries = {e["metric"]: e for e in json.loads((folder / "measurements.json").read_text(encoding="utf-8"))}
    measured = entries.get(ATTACK_METRIC, {"value": None, "reason": "not measured"})
    if measured["value"] is None:
        return AttackScore(None, 0.0, f"{ATTACK_METRIC}: {measured['reason']}")
    value = float(measured["value"])
    low = accuracy_of(value, chance or 0.0, low=measured.get("low"), n=measured.get("n")).low
    if chance is None:
        return AttackScore(value, low, "")
    judge = stored_evaluator_gate(facts, chance, report_images=entries.get(NATURAL_METRIC, {}).get("n"))
    gates = (target_gate(accuracy_of(accuracy, chance, n=select_images)), judge)
    return AttackScore(value, low, excluded_because(gate for gate in gates if gate is not None))


def mark_front(points: Sequence[ParetoPoint], *, has_result: bool = True) -> list[ParetoPoint]:
    """Each strength once, in the order they were tried, those that no other one dominates marked.

    Args:
        points: as tried.
        has_result: the attack finds something in the setup; without that no point is on the front.
    """
    once = list({point.choice: point for point in reversed(points)}.values())[::-1]
    complete = [(point.accuracy, point.attack) for point in once if not point.remark]

    def is_dominated(point: ParetoPoint) -> bool:
        here = (point.accuracy, point.attack)
        return any(acc >= here[0] and att <= here[1] and (acc, att) != here for acc, att in complete)

    return [replace(p, on_front=has_result and not p.remark and not is_dominated(p)) for p in once]
