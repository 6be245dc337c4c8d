"""Searches that decide from what was built what to build next, many at once.

A search is a generator: it yields the artifacts it needs next, is sent what came of them, and returns what it found. So
it reads as it is thought, and what is stored already costs it nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

from midef.core.failure import Failure
from midef.core.match import MatchTraining, Phase
from midef.core.recipe import ArtifactKey, Recipe
from midef.storage import Store
from midef.sweep.planning.plan import More, Node
from midef.sweep.spec.resolve import PlannedCell


@dataclass(frozen=True)
class Wanted:
    """A training that a search waits for; cell: to be attacked and judged as well."""

    target: Recipe
    strength: float | None
    seed: int
    phase: Phase
    cell: PlannedCell | None = None

    @property
    def key(self) -> ArtifactKey:
        """The artifact that is waited for."""
        return self.target.key if self.cell is None else self.cell.recipes.scores.key


def _never(known: Sequence[float]) -> bool:
    return False


@dataclass(frozen=True)
class Request:
    """What a search needs before it goes on.

    is_vain: whether the accuracies known so far make the rest useless, whatever it turns out to be; the search is then
    sent what is known, and what has not begun is not built.
    """

    wanted: Sequence[Wanted]
    is_vain: Callable[[Sequence[float]], bool] = _never


Hunt = Generator[Request, list[MatchTraining], Any]


class LostTraining(Exception):
    """A training failed for a reason that says nothing about its strength: raised in the search that asked for it."""


@dataclass
class _Pending:
    hunt: Hunt
    request: Request


class Hunts:
    """Runs searches side by side.

    on_end(name, found): called when a search returned (or an exception: LostTraining); may start others.
    """

    def __init__(self, store: Store, on_end: Callable[[str, Any], None]) -> None:
        self.store, self.on_end = store, on_end
        self.pending: dict[str, _Pending] = {}
        self.lost: dict[ArtifactKey, Failure] = {}
        self.asked: set[ArtifactKey] = set()
        """Artifacts that were not stored when a search asked for them."""
        self.built: set[ArtifactKey] = set()
        """Those of them that are stored now."""
        self._recipes: list[Recipe] = []
        self._cells: list[PlannedCell] = []
        self._vain: list[ArtifactKey] = []

    def start(self, name: str, hunt: Hunt) -> None:
        """Begin a search and go as far as what is stored allows."""
        self._advance(name, hunt, None)

    def more(self) -> More:
        """What the searches ask for since this was last called."""
        needed = {w.key for p in self.pending.values() for w in p.request.wanted}
        found = More(self._recipes, self._cells, [key for key in self._vain if key not in needed])
        self._recipes, self._cells, self._vain = [], [], []
        return found

    def on_node(self, node: Node, lost: Failure | None) -> None:
        """A node ended, `lost` says why if it is not stored: go on wherever a search waited for it."""
        if lost is not None:
            self.lost[node.key] = lost
        elif node.key in self.asked:
            self.built.add(node.key)
        for name, pending in list(self.pending.items()):
            if any(w.key == node.key for w in pending.request.wanted) and self._is_answered(pending.request):
                del self.pending[name]
                self._advance(name, pending.hunt, pending.request)

    def _advance(self, name: str, hunt: Hunt, request: Request | None) -> None:
        try:
            while True:
                request = next(hunt) if request is None else self._send(hunt, request)
                if not self._is_answered(request):
                    break
        except StopIteration as end:
            self.on_end(name, end.value)
            return
        except LostTraining as error:
            self.on_end(name, error)
            return
        self.pending[name] = _Pending(hunt, request)
        for wanted in request.wanted:
            if self._answer(wanted) is not None:
                continue
            self.asked.add(wanted.key)
            if wanted.cell is None:
                self._recipes.append(wanted.target)
            else:
                self._cells.append(wanted.cell)

    def _send(self, hunt: Hunt, request: Request) -> Request:
        """Send what came of a request; raise in the search what says nothing about a strength."""
        answers = []
        for wanted in request.wanted:
            answer = self._answer(wanted)
            if answer is None:
                self._vain.append(wanted.key)
            elif answer.accuracy is None and answer.failure != "diverged":
                return hunt.throw(LostTraining(answer.reason))
            else:
                answers.append(answer)
        return hunt.send(answers)

    def _is_answered(self, request: Request) -> bool:
        answers = [self._answer(wanted) for wanted in request.wanted]
        known = [a for a in answers if a is not None]
        return len(known) == len(answers) or request.is_vain([a.accuracy or 0.0 for a in known])

    def _answer(self, wanted: Wanted) -> MatchTraining | None:
        """What came of a training, None while nothing did."""
        about: dict[str, Any] = {"strength": wanted.strength, "seed": wanted.seed, "phase": wanted.phase}
        about["target_key"] = str(wanted.target.key)
        if not self.store.artifacts.has(wanted.key):
            lost = self.lost.get(wanted.key)
            if lost is None:
                return None
            return MatchTraining(**about, accuracy=None, reason=lost.message, failure=lost.kind)
        facts = self.store.artifacts.meta(wanted.target.key)["facts"]
        return MatchTraining(**about, accuracy=float(facts["select_accuracy"]))
