"""The recipes of one cell: which artifacts answer "this setup, this defense, this seed"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from midef.attacks import ATTACKS, AccessLevel, Attack
from midef.core.canonical import Plain, plain
from midef.core.choice import Choice
from midef.core.errors import SpecError
from midef.core.recipe import Recipe, each_once
from midef.core.setup import Protocol, Setup
from midef.metrics import METRICS, standard_metrics
from midef.metrics.base import compares_answers, extractors_of, needs_traits, students_of
from midef.metrics.extractors import EXTRACTORS
from midef.stages.drawn import have_equal_traits
from midef.stages.judges import problems_of_attack
from midef.stages.measuring import StudentPlan, extractor_role, student_recipes
from midef.stages.recipes import (
    ALIKE,
    ATTACK_VERSION,
    BACKBONE,
    FEW,
    GIVEN,
    NO_DEFENSE,
    REGRESSOR_IMAGES,
    SCORES_VERSION,
    UNDEFENDED,
    defense_of,
    evaluator_recipe,
    given_recipe,
    keyed,
    needs_public,
    published_recipe,
    regressor_recipe,
    split_recipe,
    target_recipe,
)
from midef.training import TrainingRecipe


@dataclass(frozen=True)
class CellRecipes:
    """The artifacts a cell's rows speak of."""

    private: Recipe
    public: Recipe
    target: Recipe
    evaluator: Recipe
    reconstructions: Recipe
    scores: Recipe


class SetupRecipes:
    """Recipes of the cells of a setup. What its cells share is named and hashed once, whatever defense and seed.

    Equal recipes of different cells are the same artifact.

    Args:
        training: of the targets.
        evaluator_training: of the evaluator.
        pretraining_training: how the targets' backbone learns the images of `setup.pretraining`; None as the targets.
        metrics: names; None for the standard ones.
        regressor_images: that a trait regressor is trained on, where a metric needs one.
        extractors: weights of the extractors that are here, by name, see `place_extractors`; metrics that read others
            are refused. When a file comes, the scores have another key and are measured anew.
        student: that learns from the reconstructions, where a metric needs one; None for the papers', fresh.

    Raises:
        SpecError: if a network that only judges is named by the attack, or judges without its weights.
    """

    def __init__(
        self,
        setup: Setup,
        *,
        training: TrainingRecipe,
        evaluator_training: TrainingRecipe,
        pretraining_training: TrainingRecipe | None = None,
        metrics: tuple[str, ...] | None = None,
        regressor_images: int = REGRESSOR_IMAGES,
        extractors: Mapping[str, Recipe] | None = None,
        student: StudentPlan | None = None,
    ) -> None:
        self.setup = setup
        px, judged_px = setup.resolution_px, setup.protocol.evaluator_resolution_px
        self.private, self.public = split_recipe(setup.private, px), split_recipe(setup.public, px)
        judged = self.private if judged_px == px else split_recipe(setup.private, judged_px)
        self._targets = _targets(
            self.private,
            self.public,
            setup.architecture,
            training,
            pretraining=None if setup.pretraining is None else split_recipe(setup.pretraining, px),
            pretraining_training=pretraining_training,
            published=_published(setup.weights, setup.architecture, px),
        )
        weights = _published(setup.evaluator_weights, setup.evaluator, judged_px)
        self.evaluator = evaluator_recipe(judged, setup.evaluator, evaluator_training, published=weights)
        attack = _attack(setup.attack)
        kept, self._requirements = _kept(setup, attack), _requirements(setup.attack, self.public)
        self._params: Plain = plain(
            {
                "attack": keyed(setup.attack),
                "identities": setup.protocol.identities,
                "images_per_identity": setup.protocol.images_per_identity,
                "seed": 0,
                **kept,
                **_victims(setup, attack),
            }
        )
        names = standard_metrics() if metrics is None else sorted(metrics)
        regressor, are_known = None, attack.knows_traits and have_equal_traits(self.private, self.public)
        if needs_traits(names) and not are_known:
            regressor = regressor_recipe(self.private, regressor_images)
        self._student_plan, start = student or StudentPlan.published(), {}
        if self._student_plan.weights is not None:
            start = {BACKBONE: published_recipe(self._student_plan.weights, self._student_plan.architecture, px)}
        self._students, self._students_start = names if students_of(names) else [], start
        here = {name: weights for name, weights in (extractors or {}).items() if name in extractors_of(names)}
        self._scoring = _scoring(setup.protocol, tuple(names), tuple(here))
        self._measured_with = {
            "evaluator": self.evaluator,
            "private": self.private,
            "judged": judged,
            **({ALIKE: judged} if kept else {}),
            **({} if regressor is None else {"regressor": regressor}),
            **{extractor_role(name): weights for name, weights in here.items()},
        }
        self._compares = compares_answers(names) and attack.access >= AccessLevel.SCORES

    def of(self, defense: Choice, seed: int) -> CellRecipes:
        """Every recipe of a cell.

        Raises:
            SpecError: if a network that only judges is the target, or a defense meets one trained elsewhere.
        """
        target, private = self._targets.under(defense, seed), self.private
        reconstructions = Recipe(
            "reconstructions",
            self.setup.attack.name,
            self._params.changed("seed", seed),
            {"target": target, "private": private, **self._requirements.of(target)},
            ATTACK_VERSION,
        )
        inputs = {"reconstructions": reconstructions, "target": target, **self._measured_with}
        if self._compares and defense_of(defense).acts_on_training:
            # scores are compared with those of another network: of the target that was trained without the defense
            inputs[UNDEFENDED] = self._targets.under(NO_DEFENSE, seed)
        inputs |= student_recipes(self._students, self._student_plan, reconstructions, self._students_start)
        scores = Recipe("scores", "metrics", self._scoring, inputs, SCORES_VERSION)
        return CellRecipes(private, self.public, target, self.evaluator, reconstructions, scores)


class _Targets:
    """Targets of all setups that attack the same network, each named once."""

    def __init__(self, private: Recipe, public: Recipe, network: Choice, training: dict[str, Any]) -> None:
        self.private, self.public, self.network, self.training = private, public, network, training
        self._named: dict[tuple[Choice, int], Recipe] = {}

    def under(self, defense: Choice, seed: int) -> Recipe:
        known = self._named.get((defense, seed))
        if known is None:
            known = self._named[defense, seed] = self._name(defense, seed)
        return known

    def _name(self, defense: Choice, seed: int) -> Recipe:
        if self.network.name == GIVEN:
            if defense.name != NO_DEFENSE.name:
                raise SpecError(f"{self.network.label} was trained elsewhere: no defense can be trained into it")
            return given_recipe(self.private, self.network)
        public = self.public if needs_public(*defense_of(defense).parts()) else None
        return target_recipe(self.private, self.network, defense, seed=seed, public=public, **self.training)


@lru_cache(FEW)
def _targets(private: Recipe, public: Recipe, network: Choice, training: TrainingRecipe, **further: Any) -> _Targets:
    return _Targets(private, public, network, {"training": training, **further})


def recipes_for_cell(
    setup: Setup,
    defense: Choice,
    seed: int,
    *,
    training: TrainingRecipe,
    evaluator_training: TrainingRecipe,
    pretraining_training: TrainingRecipe | None = None,
    metrics: tuple[str, ...] | None = None,
    regressor_images: int = REGRESSOR_IMAGES,
    extractors: Mapping[str, Recipe] | None = None,
    student: StudentPlan | None = None,
) -> CellRecipes:
    """Every recipe of one cell, of a setup that has no other; arguments as of `SetupRecipes`.

    Raises:
        SpecError: if a network that only judges is the target or named by the attack, or judges without its weights.
    """
    return SetupRecipes(
        setup,
        training=training,
        evaluator_training=evaluator_training,
        pretraining_training=pretraining_training,
        metrics=metrics,
        regressor_images=regressor_images,
        extractors=extractors,
        student=student,
    ).of(defense, seed)


def _published(weights: Choice | None, architecture: Choice, resolution_px: int) -> Recipe | None:
    return None if weights is None else published_recipe(weights, architecture, resolution_px)


def _kept(setup: Setup, attack: Attack) -> dict[str, int]:
    """The size of the reconstructions as their recipe names it: only where it is not what the target takes."""
    taken, judged = setup.resolution_px, setup.protocol.evaluator_resolution_px
    if judged <= taken or attack.drawn_px(taken) <= taken:
        return {}
    return {"kept_px": judged}


def _victims(setup: Setup, attack: Attack) -> dict[str, str]:
    """Whose answers were observed as the recipe of reconstructions names it: only where it is not the report split."""
    named, observes = setup.protocol.victims, attack.needs_observed_scores
    return {"victims": named} if observes and named != Protocol.victims else {}


class _Requirements:
    """Recipes an attack starts from, given public data: asked once where no target is among them."""

    def __init__(self, attack: Attack, public: Recipe) -> None:
        self.attack, self.public = attack, public
        self._of_any_target: Mapping[str, Recipe] | None = None
        self.asks_target = False

    def of(self, target: Recipe) -> Mapping[str, Recipe]:
        if self._of_any_target is not None:
            return self._of_any_target
        required = self.attack.requires(target=target, public=self.public)
        self.asks_target = self.asks_target or target in each_once(required.values())
        if not self.asks_target:
            self._of_any_target = required
        return required


@lru_cache(FEW)
def _requirements(attack: Choice, public: Recipe) -> _Requirements:
    return _Requirements(_attack(attack), public)


@lru_cache(FEW)
def _attack(choice: Choice) -> Attack:
    if problems := problems_of_attack(choice):
        raise SpecError(problems)
    return ATTACKS.remake(choice)


@lru_cache(FEW)
def _scoring(protocol: Protocol, metrics: tuple[str, ...], extractors: tuple[str, ...]) -> Any:
    versions = {name: METRICS.version(name) for name in metrics}
    read = {"extractors": {name: EXTRACTORS.version(name) for name in extractors}} if extractors else {}
    return plain({"metrics": versions, "protocol": protocol.scoring, **read})
