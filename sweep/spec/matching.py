"""Accuracy-matching sections of the specification: `match` and `front`."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any, Literal

from pydantic import Field, field_validator

from midef.sweep.spec.values import Seed, Strict

_MINUS = re.compile(r"^(?P<defense>.+?)\s+-\s*(?P<points>\d+(?:\.\d*)?|\.\d+)\s*$")


class RangeSpec(Strict):
    """Ends of the strengths to search.

    Args:
        low: lower end; None is the defense's own.
        high: upper end; None is the defense's own.
    """

    low: float | None = None
    high: float | None = None


class MatchSpec(Strict):
    """Accuracy that every defense is brought to, on the select split.

    Args:
        target: percent; or a defense, whose accuracy it is (`none`, `midre(area_high=0.8)`); or a defense minus points
            (`none - 2`, with a blank before the sign).
        tolerance: points.
        trainings: most trainings of one defense on one network and data set, confirmations included.
        confirm: further seeds that the mean is taken over, beside the sweep's (default: none; two where the sweep has
            one).
        ranges: other ends of the strengths, by the defense as written or by its name.
        unmatched: a defense that cannot reach the target is attacked at its `closest` strength and marked, or not
            attacked (`skip`).
    """

    target: float | str = "none"
    tolerance: float = Field(default=0.5, gt=0, le=50)
    trainings: int = Field(default=30, ge=3, le=10_000)
    confirm: list[Seed] | None = None
    ranges: dict[str, RangeSpec] = Field(default_factory=dict)
    unmatched: Literal["closest", "skip"] = "closest"

    @field_validator("target", mode="before")
    @classmethod
    def _number(cls, target: Any) -> Any:
        """Read a percentage in quotes, or from the command line, as a number."""
        if isinstance(target, bool):
            raise ValueError("a target is a percentage or a defense; YAML reads yes, no, on and off as truth values")
        if isinstance(target, str):
            with suppress(ValueError):  # of a defense
                return float(target)
        return target

    @field_validator("target")
    @classmethod
    def _percent(cls, target: float | str) -> float | str:
        if isinstance(target, float) and not 0 < target <= 100:
            raise ValueError(f"a target accuracy is a percentage above 0 and at most 100, got {target:g}")
        if isinstance(target, str) and (parts := _MINUS.match(target)) and float(parts["points"]) >= 100:
            raise ValueError(f"a target below that of a defense is less than 100 points below it, got {target!r}")
        return target

    @property
    def reference(self) -> tuple[str, float] | None:
        """The defense whose accuracy is the target, and the points below it; None for a number."""
        if not isinstance(self.target, str):
            return None
        parts = _MINUS.match(self.target)
        return (parts["defense"].strip(), float(parts["points"])) if parts else (self.target.strip(), 0.0)

    @property
    def target_text(self) -> str:
        """The target in words: `88.5 %`, `the accuracy of none`, `none minus 2 points`."""
        if self.reference is None:
            return f"{self.target:g} %"
        defense, points = self.reference
        return f"{defense} minus {points:g} points" if points else f"the accuracy of {defense}"


class FrontSpec(Strict):
    """Search of the Pareto front of one defense: accuracy up, attack accuracy down, over its strength.

    In a sweep with `front` and `match` the front is searched and nothing is matched; of `match`, `ranges` apply.

    Args:
        defense: as in a sweep; its other parameters are kept.
        trials: strengths to train and attack.
        sampler: `nsga2`, or `tpe`, which needs fewer trials.
        together: strengths trained at a time; for `nsga2` the size of a generation.
    """

    defense: str | dict[str, Any]
    trials: int = Field(default=24, ge=2, le=10_000)
    sampler: Literal["nsga2", "tpe"] = "tpe"
    together: int = Field(default=6, ge=1, le=1000)
