"""NoDef: the undefended target every defense is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from typing_extensions import override

from midef.defenses.base import DEFENSES, Defense
from midef.defenses.tuning import NotTuned, Tuning


@DEFENSES.add("none")
@dataclass(frozen=True, kw_only=True)
class NoDefense(Defense):
    """Plain cross-entropy training."""

    paper: ClassVar[str] = "baseline"
    acts_on: ClassVar[str] = "nothing"
    tuning: ClassVar[Tuning | NotTuned] = NotTuned("it changes nothing")

    @override
    def off(self) -> Self:
        return self
