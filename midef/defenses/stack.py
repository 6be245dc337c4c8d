"""Stack: a defense made of defenses. Plumbing, so it is not listed as a method of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any, ClassVar, Self

from typing_extensions import override

from midef.core.choice import Choice
from midef.core.errors import SpecError
from midef.core.grammar import GrammarError, split_parts
from midef.defenses.base import DEFENSES, OWNED_SLOTS, STACK, Batch, Defense, defended_as
from midef.nn.taps import CODE

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

    from midef.core.recipe import Inputs, Recipe
    from midef.defenses.training_state import TrainingFacts, TrainingState
    from midef.models.base import ModelFacts
    from midef.nn.network import Forward, TargetModel


@dataclass(frozen=True, kw_only=True)
class Stack(Defense):
    """Several defenses at once: hooks run in order, penalties are summed, an exclusive slot has one owner.

    Parts that change answers run in the order of the stack: `Serving` calls them one after the other.
    """

    paper: ClassVar[str] = "combination"
    members: tuple[Defense, ...]

    def __post_init__(self) -> None:
        problems = []
        for slot, words in OWNED_SLOTS.items():
            owners = [p for p in self.members if slot in p.owned_slots()]
            if len(owners) > 1:
                names = " and ".join(name_of(p) for p in owners)
                problems.append(f"{names} both replace {words}; a stack can hold one of them")
        for first, second in combinations(self.members, 2):
            reason = type(first).clash_with(type(second)) or type(second).clash_with(type(first))
            reason = reason or _unseen(first, second) or _unseen(second, first)
            if first.starts_from_private and second.starts_from_private:
                reason = reason or "each starts from a first phase of its own"
            if reason and not first.owned_slots() & second.owned_slots():
                problems.append(f"{name_of(first)} and {name_of(second)} cannot be combined: {reason}")
        names_seen = [name_of(p) for p in self.members]
        for name in sorted({n for n in names_seen if names_seen.count(n) > 1}):
            problems.append(f"{name} stands twice in one stack; give it once")
        if problems:
            raise SpecError(problems)

    @override
    def parts(self) -> tuple[Defense, ...]:
        return self.members

    @property
    @override
    def images_per_identity(self) -> int:
        return max((part.images_per_identity for part in self.members), default=0)

    @property
    @override
    def ends_at(self) -> float:
        return min((part.ends_at for part in self.members), default=1.0)

    @property
    @override
    def trains(self) -> bool:
        return all(part.trains for part in self.members)

    @override
    def facts_after(self, facts: ModelFacts) -> ModelFacts:
        for part in self.members:
            facts = part.facts_after(facts)
        return facts

    def _facts_for(self, part: Defense, facts: ModelFacts) -> ModelFacts:
        """The facts as every other part leaves them."""
        for other in self.members:
            if other is not part:
                facts = other.facts_after(facts)
        return facts

    @override
    def taps(self, facts: ModelFacts) -> tuple[str, ...]:
        tapped = {tap for part in self.members for tap in part.taps(self._facts_for(part, facts))}
        return tuple(name for name in (*facts.blocks, CODE) if name in tapped)

    @override
    def requires(self, undefended: Recipe) -> Mapping[str, Recipe]:
        """Recipes that its parts require; a first phase is trained under the other parts."""
        others = [part for part in self.members if not part.starts_from_private]
        united: dict[str, Recipe] = {}
        for part in self.members:
            base = defended_as(undefended, *others) if part.starts_from_private and others else undefended
            for role, recipe in part.requires(base).items():
                if united.setdefault(role, recipe) != recipe:
                    raise SpecError(f"two defenses of one stack need different artifacts as {role!r}")
        return united

    @override
    def second_phase(self) -> Defense:
        later = tuple(part for part in self.members if part.starts_from_private)
        return Stack(members=later) if later else self

    @override
    def problems(self, facts: ModelFacts) -> list[str]:
        return [problem for part in self.members for problem in part.problems(self._facts_for(part, facts))]

    @override
    def training_overrides(self, training: Mapping[str, Any]) -> Mapping[str, Any]:
        changed: dict[str, Any] = {}
        for part in sorted(self.members, key=lambda part: part.starts_from_private):  # a second phase has the last word
            changed |= part.training_overrides({**training, **changed})
        return changed

    @override
    def prepare_model(self, model: TargetModel, inputs: Inputs) -> TargetModel:
        for part in sorted(self.members, key=lambda part: part.prepares_last):
            model = part.prepare_model(model, inputs)
        return model

    @override
    def prepare_head(self, head: nn.Module) -> nn.Module:
        for part in self.members:
            head = part.prepare_head(head)
        return head

    @override
    def draws_in_layers(self) -> bool:
        return any(part.draws_in_layers() for part in self.members)

    @override
    def training_state(self, model: TargetModel, facts: TrainingFacts) -> TrainingState | None:
        states = (part.training_state(model, facts) for part in self.members)
        return next((one for one in states if one is not None), None)

    @override
    def images_of_epoch(self, labels: Tensor, rng: Generator) -> Tensor | None:
        selected: Tensor | None = None
        for part in self.members:
            chosen = part.images_of_epoch(labels if selected is None else labels[selected], rng)
            if chosen is not None:
                selected = chosen if selected is None else selected[chosen]
        return selected

    @override
    def transform_batch(self, batch: Batch, progress: float, rng: Generator) -> Batch:
        for part in sorted(self.members, key=lambda part: not part.is_of_the_data):
            batch = part.transform_batch(batch, progress, rng)
        return batch

    @override
    def criterion(self, forward: Forward, batch: Batch, progress: float) -> Tensor | None:
        for part in self.members:
            loss = part.criterion(forward, batch, progress)
            if loss is not None:
                return loss
        return None

    @override
    def penalties(self, forward: Forward, batch: Batch, progress: float) -> dict[str, Tensor]:
        terms: dict[str, Tensor] = {}
        for part in self.members:
            for name, value in part.penalties(forward, batch, progress).items():
                terms[f"{name_of(part)}.{name}"] = value
        return terms

    @property
    @override
    def planted_label(self) -> int | None:
        labels = (part.planted_label for part in self.members)
        return next((label for label in labels if label is not None), None)

    @override
    def triggered(self, images: Tensor) -> Tensor:
        for part in self.members:
            images = part.triggered(images)
        return images

    @property
    @override
    def changes_answers(self) -> bool:
        return any(part.changes_answers for part in self.members)

    @property
    @override
    def acts_on_training(self) -> bool:
        return any(part.acts_on_training for part in self.members)

    @property
    @override
    def keeps_labels(self) -> bool:
        return all(part.keeps_labels for part in self.members)

    @property
    @override
    def answers_jointly(self) -> bool:
        return any(part.answers_jointly for part in self.members)

    @property
    @override
    def answer_budget(self) -> float | None:
        """The sum of its parts', by the triangle inequality."""
        budgets = [part.answer_budget for part in self.members if part.changes_answers]
        return None if not budgets or None in budgets else sum(budget or 0.0 for budget in budgets)

    @override
    def off(self) -> Self:
        return replace(self, members=tuple(part.off() for part in self.members))


def _unseen(needing: Defense, other: Defense) -> str:
    """Why `needing` means nothing beside `other`'s first phase; "" if it does."""
    return needing.needs_unseen if other.starts_from_private else ""


def name_of(defense: Defense) -> str:
    """The registered name; `stack` for a stack."""
    return getattr(type(defense), "registered_name", STACK)


def choose_defense(written: str | Mapping[str, Any]) -> Choice:
    """A `Choice` from what a person writes: one defense, or several joined by `+` (`midre(area_high=0.4)+nls`).

    As a mapping, several are `{"stack": [one, another]}`.

    Raises:
        SpecError: for anything wrong with any part, and for parts that clash.
    """
    if isinstance(written, str):
        try:
            parts: Any = split_parts(written)
        except GrammarError as error:
            raise SpecError(f"cannot read defense {written!r}, {error}") from error
    elif STACK not in written:
        parts = [written]
    else:
        parts = written[STACK]
        if not isinstance(parts, list | tuple) or not parts or len(written) > 1:
            raise SpecError(f"a stack is written {{'stack': [...]}}, a list of at least one defense; got {written!r}")
    problems: list[str] = []
    chosen: list[Choice] = []
    for part in parts:
        try:
            chosen.append(DEFENSES.choose(part))
        except SpecError as error:
            problems += error.problems
    if problems:
        raise SpecError(problems)
    if len(chosen) == 1:
        return chosen[0]
    try:
        Stack(members=tuple(DEFENSES.remake(choice) for choice in chosen))
    except SpecError as error:
        raise SpecError([f"defense {'+'.join(c.label for c in chosen)!r}: {p}" for p in error.problems]) from error
    return Choice(STACK, {"members": [c.keyed for c in chosen]}, 1, "+".join(c.label for c in chosen))


def remake_defense(choice: Choice) -> Defense:
    """The defense a `Choice` stands for, stacks included."""
    if choice.name != STACK:
        return DEFENSES.remake(choice)
    return Stack(members=tuple(DEFENSES.remake(Choice.from_plain(m)) for m in choice.params["members"]))
