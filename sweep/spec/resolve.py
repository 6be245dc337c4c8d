"""Specification to sweep: every component with all its parameters, every cell with the artifacts that answer it."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, wraps
from itertools import product
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from midef.attacks import ATTACKS
from midef.attacks.base import small_budget
from midef.core.canonical import digest
from midef.core.certainty import join_settings
from midef.core.choice import Choice
from midef.core.conversion import shown
from midef.core.errors import PreflightError, Problem, SpecError
from midef.core.grammar import GrammarError, split_parts
from midef.core.match import Match
from midef.core.recipe import Recipe
from midef.core.registry import Registry, merged
from midef.core.setup import Cell, Protocol, Setup, StandIn
from midef.datasets import Dataset
from midef.defenses.stack import choose_defense
from midef.metrics import chosen_metrics
from midef.metrics.base import students_of
from midef.models import ARCHITECTURES
from midef.results.compare import COMPARED
from midef.stages import REGRESSOR_IMAGES, SetupRecipes, StudentPlan, weights_of_judge
from midef.sweep.spec import checks
from midef.sweep.spec.checks import Problems
from midef.sweep.spec.datasets import DatasetReader
from midef.sweep.spec.needed import Needs
from midef.sweep.spec.paths import with_absolute_paths
from midef.sweep.spec.planned_cell import PlannedCell, named_later
from midef.sweep.spec.profiles import Profile, profile_named
from midef.sweep.spec.schema import SetupSpec, SweepSpec
from midef.sweep.spec.stand_ins import name_of, stand_in_defenses, unregistered, unregistered_setups, with_stand_ins
from midef.sweep.spec.values import ComponentSpec
from midef.training import TrainingRecipe

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Measured:
    """What is measured in every cell of a setup.

    Args:
        metrics: names.
        extractors: weights of the extractors that they read and that are here.
        student: that learns from the reconstructions, where one of them needs it.
    """

    metrics: tuple[str, ...]
    extractors: Mapping[str, Recipe]
    student: StudentPlan | None


@dataclass(frozen=True)
class Entry:
    """A setup with what it is compared with and how its networks are trained.

    Args:
        refused: why none of its cells can run, "" if they can.
        identities: of the private data, which the target tells apart; None where nothing was read.
        regressor_images: that a trait regressor is trained on.
        measured: metrics, and what they read beside the evaluator.
    """

    setup: Setup
    defenses: tuple[Choice, ...]
    training: TrainingRecipe
    evaluator_training: TrainingRecipe
    pretraining_training: TrainingRecipe | None
    profile: Profile
    refused: str = ""
    identities: int | None = None
    regressor_images: int = REGRESSOR_IMAGES
    measured: Measured | None = None

    @property
    def chance(self) -> float | None:
        """Accuracy of a guess among the identities, percent; None where their number is unknown."""
        return 100 / self.identities if self.identities else None

    @cached_property
    def recipes(self) -> SetupRecipes:
        """Recipes of its cells, of a setup that is not refused."""
        return SetupRecipes(
            self.setup,
            training=self.training,
            evaluator_training=self.evaluator_training,
            pretraining_training=self.pretraining_training,
            regressor_images=self.regressor_images,
            **({} if self.measured is None else vars(self.measured)),
        )

    def refusal(self, defense: Choice) -> str:
        """Why this defense cannot meet this setup, whatever the seed; "" if it can."""
        return self.refused or checks.refusal(self.setup, defense, self.profile)

    def cell(self, defense: Choice, seed: int, *, refused: str = "", match: Match | None = None) -> PlannedCell:
        """The cell of this setup under a defense, with the artifacts that answer it."""
        recipes = None if self.refused else self.recipes.of(defense, seed)
        scores = "" if recipes is None else recipes.scores.key.digest
        profile = self.profile.name
        cell = Cell(setup=self.setup, defense=defense, seed=seed, profile=profile, scores=scores, match=match)
        return PlannedCell(cell, recipes, refused)

    def later_cell(self, defense: Choice, seed: int, *, refused: str = "") -> PlannedCell:
        """The same cell, whose artifacts are named when they are first asked for."""
        if self.refused:
            return self.cell(defense, seed, refused=refused)
        return named_later(self.recipes, defense, seed, profile=self.profile.name, refused=refused)


@dataclass(frozen=True)
class Sweep:
    """A specification made concrete: every component with all its parameters, every recipe named.

    Args:
        locations: digest of a split artifact, or of published weights -> fields that say where its files lie here;
            never part of a key.
        notes: what to know of the data sets, each with its place: what was left out, counted.
        entries: the setups, each with what it is compared with; they make further cells.
        lacking: what this machine lacks, of a sweep that is only counted.
    """

    name: str
    profile: Profile
    cells: tuple[PlannedCell, ...]
    locations: Mapping[str, Mapping[str, Any]]
    spec: SweepSpec
    entries: tuple[Entry, ...] = ()
    notes: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()

    @cached_property
    def digest(self) -> str:
        return digest({"name": self.name, "cells": [c.cell.digest for c in self.cells]})


def without_collections(plan: Callable[P, T]) -> Callable[P, T]:
    """Plan with the collector of cyclic garbage paused: it would walk through everything planned so far, again and
    again (a quarter of the time at 100,000 cells), and what is planned stays."""

    @wraps(plan)
    def paused(*args: P.args, **kwargs: P.kwargs) -> T:
        was_on = gc.isenabled()
        gc.disable()
        try:
            return plan(*args, **kwargs)
        finally:
            if was_on:
                gc.enable()

    return paused


@without_collections
def resolve(spec: SweepSpec, needs: Needs | None = None, *, absent: bool = False) -> Sweep:
    """Make a specification concrete.

    Args:
        spec: as it was checked.
        needs: gets every file that is read on this machine, whether it is here or not; also where an error ends it.
        absent: go on with data sets and weights that this machine lacks, which are then in `lacking`: for a plan that
            only counts. Keys of what starts from them are not those of a run.

    Raises:
        SpecError: everything wrong with names, parameters and combinations.
        PreflightError: everything missing here: data sets that cannot be read, private images among the public ones.
    """
    problems, missing = Problems(), Problems()
    checks.check_size(spec, problems)
    if problems:
        raise SpecError(problems.located(spec.lines))
    profile = _profile(spec, problems)
    _training("training", profile.training if profile else {}, spec.training, problems)
    defenses = _defenses(spec.defenses, "defenses", {}, problems)
    if len(set(spec.seeds)) < len(spec.seeds):
        problems.append(f"seeds: {shown(spec.seeds)} holds a seed twice")
    metrics = _metrics(spec, problems)
    reader = DatasetReader(problems, missing, Needs() if needs is None else needs, absent=absent)
    entries: list[Entry] = []
    if profile is not None:
        for i, item in enumerate(spec.setups):
            if problems.are_enough:
                problems.cut(f"setups[{i}]: not looked at, nor what follows; mend the problems before it first")
                raise SpecError(problems.located(spec.lines))
            row = _Row(item, f"setups[{i}]", spec, profile, reader, problems, metrics)
            entries += row.entries(defenses)
    checks.check_ids([entry.setup for entry in entries], problems)
    checks.check_evaluator_training(spec, [entry.setup.evaluator for entry in entries if not entry.refused], problems)
    if problems or profile is None:
        raise SpecError(problems.located(spec.lines))
    lacking = Problems(missing.grouped()).located(spec.lines)
    if lacking and not absent:
        raise PreflightError(lacking)
    cells = tuple(_cells(entries, spec.seeds))
    first = (planned for planned in cells[:: len(spec.seeds)] if planned.answered_by is not None)
    locations = reader.locations(planned.recipes.scores for planned in first)  # files are the same for all seeds
    return Sweep(spec.name, profile, cells, locations, spec, tuple(entries), tuple(reader.notes), tuple(lacking))


def _cells(entries: Sequence[Entry], seeds: Sequence[int]) -> Iterator[PlannedCell]:
    """Cells in order. The first seed of each defense says whether its recipes can be named; others are named later."""
    for entry in entries:
        for defense in entry.defenses:
            refused = entry.refusal(defense)
            for i, seed in enumerate(seeds):
                yield (entry.later_cell if i else entry.cell)(defense, seed, refused=refused)


def _profile(spec: SweepSpec, problems: Problems) -> Profile | None:
    """The profile with the sweep's own number of training processes."""
    try:
        profile = profile_named(spec.profile)
    except SpecError as error:
        problems.take("profile", error)
        return None
    workers = spec.train_workers
    if workers is None:
        return profile
    by_kind = {str(kind): count for kind, count in workers.items()} if isinstance(workers, dict) else workers
    return replace(profile, train_workers=by_kind)


def _training(
    place: str, budget: Mapping[str, Any], written: Mapping[str, Any], problems: Problems
) -> TrainingRecipe | None:
    """The training as written, on the profile's budget; a published recipe replaces the budget."""
    try:
        return TrainingRecipe.make(written if "preset" in written else {**budget, **written})
    except SpecError as error:
        for problem in error.problems:
            about = (
                problem.removeprefix("training") if problem.startswith(("training.", "training: ")) else f": {problem}"
            )
            problems.append(Problem(f"{place}{about}", at=(place, *getattr(problem, "at", ()))))
        return None


def _defenses(
    written: Sequence[ComponentSpec], place: str, stand_ins: Mapping[str, ComponentSpec], problems: Problems
) -> tuple[Choice, ...]:
    """The defenses as written, those of a published row replaced by the profile's stand-ins."""
    chosen: list[Choice] = []
    for i, one in enumerate(written):
        try:
            chosen.append(choose_defense(_stood_in(one, stand_ins)))
        except SpecError as error:
            problems.take(f"{place}[{i}]", error)
    for label in sorted({d.label for d in chosen if chosen.count(d) > 1}):
        problems.append(f"{place}: {label} is listed twice")
    return tuple(chosen)


def _stood_in(written: ComponentSpec, stand_ins: Mapping[str, ComponentSpec]) -> ComponentSpec:
    """The defense, each part that has a stand-in replaced by it."""
    if isinstance(written, dict):
        return stand_ins.get(name_of(written), written) if "name" in written else written
    try:
        parts = [stand_ins.get(name_of(part), part) for part in split_parts(written)]
    except GrammarError:
        return written  # the problem is told where it is chosen
    return "+".join(map(str, parts)) if len(parts) > 1 else parts[0]


def _metrics(spec: SweepSpec, problems: Problems) -> tuple[str, ...]:
    """Metrics of a sweep by name, those that defenses are compared by among them; none after a problem was noted."""
    try:
        return tuple(sorted({*chosen_metrics(spec.metrics), *COMPARED}))
    except SpecError as error:
        problems.take("metrics", error)
        return ()


class _Row:
    """One item of `setups`, at the profile's size.

    Args:
        place: of the item in the specification, for problems.
        reader: reads data sets and weights, and notes what is missing.
        problems: gets everything wrong with the item.
        metrics: names of those that are measured.
    """

    def __init__(
        self,
        item: SetupSpec,
        place: str,
        spec: SweepSpec,
        profile: Profile,
        reader: DatasetReader,
        problems: Problems,
        metrics: tuple[str, ...],
    ) -> None:
        self.item, self.stand_ins = with_stand_ins(item, spec, profile)
        self.place, self.spec, self.profile, self.reader, self.problems = place, spec, profile, reader, problems
        self.metrics = metrics
        self.resolution_px = self.item.resolution_px or profile.resolution_px
        self.identities: int | None = None
        """Of the private data, once it was read."""
        self.attacks_all = bool(self.stand_ins and spec.private)
        """Whether all identities are attacked where the user's own data has fewer than the profile attacks."""

    def entries(self, defenses: tuple[Choice, ...]) -> list[Entry]:
        """The setups of the row: attacks x architectures.

        Args:
            defenses: of the sweep, for a row without its own.
        """
        item, spec, profile = self.item, self.spec, self.profile
        if item.defenses:
            starts_fresh = item.pretraining is None and not item.weights
            stands = stand_in_defenses(spec, profile, starts_fresh=starts_fresh)
            defenses = _defenses(item.defenses, f"{self.place}.defenses", stands, self.problems)
        elif not spec.defenses:
            self.problems.append(f"{self.place}: no defenses given; list some here, or under the sweep's defenses")
        training = self._training("training")
        evaluator_training = self._training("evaluator_training")
        pretraining_training = training
        if spec.pretraining_training and training is not None:
            pretraining_training = _training(
                "pretraining_training", vars(training), spec.pretraining_training, self.problems
            )
        checks.check_workers(profile, {"target": training, "evaluator": evaluator_training}, self.place, self.problems)
        refused = unregistered(item, profile) if item.unregistered == "refuse" else ""
        if refused:
            self.reader.needs.refuse(refused, self.place)
        setups = list(unregistered_setups(item, profile) if refused else self._setups())
        if training is None or evaluator_training is None:
            return []
        student = None
        if students_of(self.metrics):
            student = self.reader.student(profile.student, self.resolution_px, f"{self.place}.metrics")
        extractors = self.reader.extractors(self.metrics, "metrics", needed_by=f"{self.place}.metrics")
        measured = Measured(self.metrics, extractors, student)
        return [
            Entry(
                self._shown(s),
                defenses,
                training,
                evaluator_training,
                pretraining_training,
                profile,
                refused,
                self.identities,
                spec.regressor_images or REGRESSOR_IMAGES,
                measured,
            )
            for s in setups
        ]

    def _training(self, field: str) -> TrainingRecipe | None:
        """Training of targets or of the evaluator: the profile's, changed by the row, then by the sweep."""
        written = {**getattr(self.item, field), **getattr(self.spec, field)}
        return _training(field, getattr(self.profile, field), written, self.problems)

    def _shown(self, setup: Setup) -> Setup:
        """The setup with what is shown beside its results."""
        stand_ins, count = self.stand_ins, setup.protocol.identities
        if self.attacks_all and count < self.profile.protocol["identities"]:
            stand_ins = (*stand_ins, StandIn(f"{count} identities, all there are"))
        settings = join_settings(self.item.settings)
        return replace(setup, certainty=self.item.certainty, settings=settings, stand_ins=stand_ins)

    def _setups(self) -> Iterator[Setup]:
        item, profile, place = self.item, self.profile, self.place
        private = self._dataset(item.private or profile.private, f"{place}.private")
        attacks = [self._attack(written) for written in item.attack]
        public = self._public(attacks)
        protocol = self._protocol(private)
        evaluator = self._chosen(ARCHITECTURES, item.evaluator or profile.evaluator, "evaluator")
        if evaluator is not None and item.evaluator_training and weights_of_judge(evaluator):
            self.problems.append(
                f"{place}.evaluator_training: {evaluator.name} is not trained and uses nothing of it; remove it"
            )
        architectures = [
            self._chosen(ARCHITECTURES, written, "architecture")
            for written in item.architecture or [profile.architecture]
        ]
        pretraining = self._pretraining(private)
        if private is not None:
            self.identities = private[1].n_identities() if private[1].is_labelled else None
            checks.check_private(private[1], protocol, f"{place}.private", self.problems)
            if any(chosen is not None and ATTACKS.get(chosen.name).needs_observed_scores for chosen in attacks):
                self.reader.notes += checks.notes_on_victims(private[1], protocol, place)
        read = public[1] if public is not None else None
        if private is not None and public is not None and read is not None:
            checks.check_disjoint(private, (public[0], read), self.reader.shared, place, self.problems)
        for chosen in filter(None, attacks):
            self.reader.needs.of(checks.starts_of(chosen), chosen.name, f"{place}.attack")
            lacking = checks.check_attack(chosen, self.resolution_px, read, protocol, place, self.problems)
            self.reader.needs.lacks(text.partition(": ")[2] for text in lacking)
            self.reader.missing += lacking
        for attack, architecture in product(attacks, architectures):
            starts = self._starts(architecture, evaluator, protocol)
            if attack is None or architecture is None or evaluator is None or private is None or public is None:
                continue
            if item.pretraining and pretraining is None:
                continue
            yield Setup(
                id=item.setup_id(attack.label, architecture.name, private[0].name),
                attack=attack,
                architecture=architecture,
                private=private[0],
                public=public[0],
                evaluator=evaluator,
                resolution_px=self.resolution_px,
                protocol=protocol,
                pretraining=None if pretraining is None else pretraining[0],
                weights=starts[0],
                evaluator_weights=starts[1],
            )

    def _dataset(self, written: ComponentSpec, place: str) -> tuple[Choice, Dataset] | None:
        """A data set; paths that no file gave are relative to the folder the command runs in."""
        return self.reader.dataset(with_absolute_paths(written, Path.cwd()), place)

    def _public(self, attacks: Sequence[Choice | None]) -> tuple[Choice, Dataset | None] | None:
        """The attacker's images; by name alone where they are not here and no attack of the row looks at them."""
        written, place = self.item.public or self.profile.public, f"{self.place}.public"
        if not written or any(a is None or checks.reads_public(a) for a in attacks):
            return self._dataset(written, place)
        written = with_absolute_paths(written, Path.cwd())
        if self.reader.is_here(written):
            return self._dataset(written, place)
        named = self.reader.named(written, place)
        if named is None:
            return None
        self.reader.notes.append(
            f"{place} ({named.label}): not here, and not needed: the attack draws from a published generator; that no "
            "private image is among them is not checked"
        )
        return named, None

    def _protocol(self, private: tuple[Choice, Dataset] | None) -> Protocol:
        protocol = Protocol(**{**self.profile.protocol, **self.item.protocol.model_dump(exclude_none=True)})
        if self.attacks_all and private is not None and private[1].is_labelled:
            return replace(protocol, identities=max(1, min(protocol.identities, private[1].n_identities())))
        return protocol

    def _pretraining(self, private: tuple[Choice, Dataset] | None) -> tuple[Choice, Dataset] | None:
        """Labelled data that the targets' backbone learns first."""
        written, place = self.item.pretraining, f"{self.place}.pretraining"
        if not written:
            return None
        pretraining = self._dataset(written, place)
        if pretraining is not None:
            checks.check_pretraining(pretraining, private, self.reader.shared, place, self.problems)
        if self.item.weights:
            self.problems.append(
                f"{self.place}: give pretraining or weights, not both; a backbone starts from one of them"
            )
        return pretraining

    def _chosen(self, registry: Registry[Any], written: ComponentSpec, role: str) -> Choice | None:
        try:
            return registry.choose(written)
        except SpecError as error:
            self.problems.take(f"{self.place}.{role}", error)
            return None

    def _attack(self, written: ComponentSpec) -> Choice | None:
        """An attack with the profile's small budget where nothing else is written, nested parameters merged."""
        try:
            name, preset, params = ATTACKS.parse(written)
            as_written = {"name": name, **({"preset": preset} if preset else {})}
            label = ATTACKS.choose({**as_written, **params}).label
            small = self.profile.small
            budget = {} if preset or small is None else small_budget(name, params, small)
            chosen = ATTACKS.choose({**as_written, **merged(budget, params)})
            return Choice(chosen.name, chosen.params, chosen.version, label)
        except SpecError as error:
            self.problems.take(f"{self.place}.attack", error)
            return None

    def _starts(
        self, architecture: Choice | None, evaluator: Choice | None, protocol: Protocol
    ) -> tuple[Choice | None, Choice | None]:
        """Published weights that target and evaluator start from, the networks checked against each other."""
        place, evaluator_px = self.place, protocol.evaluator_resolution_px
        if architecture is not None and evaluator is not None:
            checks.check_networks(architecture, evaluator, self.resolution_px, protocol, place, self.problems)
        weights = self.item.weights
        evaluator_weights, where = self.item.evaluator_weights, f"{place}.evaluator_weights"
        if not evaluator_weights and evaluator is not None and (own := weights_of_judge(evaluator)):
            evaluator_weights, where = own, f"{place}.evaluator"
        return (
            self.reader.weights(weights, architecture, self.resolution_px, f"{place}.weights"),
            self.reader.weights(evaluator_weights, evaluator, evaluator_px, where),
        )
