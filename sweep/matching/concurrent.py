"""Runs strength searches concurrently; each is a generator that yields training requests.

A search is sent the trainings it requested and returns its result. What is stored already is sent at once, at no cost.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from midef.core.errors import DamagedArtifact, MissingArtifact
from midef.core.failure import Failure
from midef.core.match import MatchTraining, Phase
from midef.core.recipe import ArtifactKey, Recipe
from midef.storage import Store
from midef.sweep.planning.plan import More, Node
from midef.sweep.spec.planned_cell import PlannedCell

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RequestedTraining:
    """One training that a search waits for.

    Args:
        target: recipe of the trained network.
        strength: None for a defense without one.
        seed: of the training.
        phase: why it is requested.
        cell: to be attacked and evaluated as well; the search then waits for its scores.
    """

    target: Recipe
    strength: float | None
    seed: int
    phase: Phase
    cell: PlannedCell | None = None

    @property
    def key(self) -> ArtifactKey:
        """The artifact that is waited for."""
        return self.target.key if self.cell is None else self.cell.recipes.scores.key


def _never(accuracies: Sequence[float]) -> bool:
    return False


@dataclass(frozen=True)
class TrainingRequest:
    """Trainings that a search needs before it goes on.

    Args:
        trainings: all of them are sent back in this order.
        is_futile: of the accuracies known so far, True if the others cannot change the answer; the search is then sent
            the known ones, and those that have not begun are withdrawn.
    """

    trainings: Sequence[RequestedTraining]
    is_futile: Callable[[Sequence[float]], bool] = _never


Result = TypeVar("Result")
Search: TypeAlias = Generator[TrainingRequest, list[MatchTraining], Result]


class TrainingFailed(Exception):
    """A training failed for a reason unrelated to its strength: raised in the search that requested it."""


@dataclass
class _Pending(Generic[Result]):
    search: Search[Result]
    request: TrainingRequest


class ConcurrentSearches(Generic[Result]):
    """Runs searches side by side.

    Args:
        store: where trainings are looked up.
        on_end: called with the name of a search that ended and its result, or the `TrainingFailed` that ended it; may
            start other searches.
    """

    def __init__(self, store: Store, on_end: Callable[[str, Result | TrainingFailed], None]) -> None:
        self.store, self.on_end = store, on_end
        self.pending: dict[str, _Pending[Result]] = {}
        self.failures: dict[ArtifactKey, Failure] = {}
        self.requested: set[ArtifactKey] = set()
        """Artifacts that were not stored when a search requested them."""
        self.built: set[ArtifactKey] = set()
        """Those of them that are stored now."""
        self._recipes: list[Recipe] = []
        self._cells: list[PlannedCell] = []
        self._futile: list[ArtifactKey] = []

    def start(self, name: str, search: Search[Result]) -> None:
        """Begin a search and go as far as what is stored allows."""
        self._advance(name, search, None)

    def more(self) -> More:
        """Work the searches requested since the last call."""
        needed = {training.key for p in self.pending.values() for training in p.request.trainings}
        more = More(self._recipes, self._cells, [key for key in self._futile if key not in needed])
        self._recipes, self._cells, self._futile = [], [], []
        return more

    def on_node(self, node: Node, failure: Failure | None) -> None:
        """Go on with every search that waited for a node, which has ended.

        Args:
            node: the node.
            failure: why its artifact is not stored; None if it is.
        """
        if failure is not None:
            self.failures[node.key] = failure
        elif node.key in self.requested:
            self.built.add(node.key)
        for name, pending in list(self.pending.items()):
            request = pending.request
            waits = any(node.key in (training.key, training.target.key) for training in request.trainings)
            if waits and self._is_answered(request):
                del self.pending[name]
                self._advance(name, pending.search, request)

    def _advance(self, name: str, search: Search[Result], request: TrainingRequest | None) -> None:
        try:
            while True:
                request = next(search) if request is None else self._send(search, request)
                if not self._is_answered(request):
                    break
        except StopIteration as end:
            self.on_end(name, end.value)
            return
        except TrainingFailed as error:
            self.on_end(name, error)
            return
        self.pending[name] = _Pending(search, request)
        for training in request.trainings:
            if self._answer(training) is not None:
                continue
            self.requested.add(training.key)
            if training.cell is None:
                self._recipes.append(training.target)
            else:
                self._cells.append(training.cell)
                if self.store.artifacts.has(training.key):  # its scores are whole, what it trained is not
                    self._recipes.append(training.target)

    def _send(self, search: Search[Result], request: TrainingRequest) -> TrainingRequest:
        """Send the requested trainings; raise in the search a failure that says nothing about a strength."""
        answers = []
        for training in request.trainings:
            answer = self._answer(training)
            if answer is None:
                self._futile.append(training.key)
            elif answer.accuracy is None and answer.failure != "diverged":
                return search.throw(TrainingFailed(answer.reason))
            else:
                answers.append(answer)
        return search.send(answers)

    def _is_answered(self, request: TrainingRequest) -> bool:
        answers = [self._answer(training) for training in request.trainings]
        known = [answer for answer in answers if answer is not None]
        return len(known) == len(answers) or request.is_futile([answer.accuracy or 0.0 for answer in known])

    def _answer(self, training: RequestedTraining) -> MatchTraining | None:
        """Accuracy or failure of a training, None while there is neither: one that is damaged is trained again."""
        about: dict[str, Any] = {"strength": training.strength, "seed": training.seed, "phase": training.phase}
        about["target_key"] = str(training.target.key)
        artifacts, target = self.store.artifacts, training.target.key
        if artifacts.has(training.key):
            try:
                return MatchTraining(**about, accuracy=float(artifacts.meta(target)["facts"]["select_accuracy"]))
            except DamagedArtifact as error:
                artifacts.set_aside(target, str(error))
            except MissingArtifact:
                log.info("the scores of %s are stored, it is not", target.short)
        failure = self.failures.get(training.key) or self.failures.get(target)
        if failure is None:
            return None
        return MatchTraining(**about, accuracy=None, reason=failure.message, failure=failure.kind)
