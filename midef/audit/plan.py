"""The cells of an audit: one model, no defense, several attacks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from midef.attacks import ATTACKS, Attack
from midef.attacks.base import small_budget
from midef.audit.budget import queries_of
from midef.audit.choice import Costs, Situation, choose_attacks, priors_of
from midef.audit.data import Data
from midef.audit.given import Model
from midef.audit.judge import Judge, judge_recipe
from midef.audit.seconds import Seconds
from midef.core.canonical import digest
from midef.core.choice import Choice
from midef.core.errors import SpecError
from midef.core.recipe import Recipe
from midef.core.registry import merged
from midef.core.setup import Cell, Protocol, Setup
from midef.metrics import METRICS, standard_metrics
from midef.stages import published_recipe, recipes_for_cell
from midef.stages.recipes import NO_DEFENSE, given_recipe, split_recipe
from midef.sweep.spec.checks import Problems, check_attack, check_private
from midef.sweep.spec.planned_cell import PlannedCell
from midef.sweep.spec.profiles import Profile, profile_named
from midef.training import TrainingRecipe

if TYPE_CHECKING:
    from midef.storage import Store


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What an audit does.

    Args:
        model: its outputs in the order of the classes.
        cells: one for each attack, in the order they run.
        refused: attack -> why it cannot run here.
        locations: of files, and the model itself, for `BuildContext`.
        reasons: of the choice of attacks, as text; "" where the user chose.
    """

    model: Model
    data: Data
    judge: Judge
    profile: Profile
    cells: tuple[PlannedCell, ...]
    refused: Mapping[str, str]
    locations: Mapping[str, Mapping[str, Any]]
    reasons: str = ""

    @property
    def name(self) -> str:
        """Of the sweep whose rows these are."""
        return f"audit-{self.model.given.name}"

    @property
    def private_split(self) -> Recipe:
        return split_recipe(self.data.private, self.model.input.resolution_px)

    @property
    def target(self) -> Recipe:
        return given_recipe(self.private_split, self.model.given.choice)

    @property
    def evaluator(self) -> Recipe:
        return judge_recipe(self.data, self.judge, self.profile)


def make_plan(
    model: Model,
    data: Data,
    judge: Judge,
    attacks: Sequence[str | Mapping[str, Any]],
    *,
    profile: str = "small",
    identities: int | None = None,
    images_per_identity: int | None = None,
    seed: int = 0,
    seconds: float | None = None,
    shows: str = "",
    store: Store | None = None,
    device: str = "cpu",
) -> Plan:
    """The cells of an audit, with every recipe named.

    Args:
        attacks: as a sweep names them; with their papers' budgets in profile `paper`, else with the profile's. None
            are chosen by what the model allows, the strongest first.
        profile: budget of attacks and of the judge's training.
        identities: the first so many classes are attacked; None for the profile's number, at most all.
        images_per_identity: reconstructions of each; None for the profile's number.
        seed: of the attacks.
        seconds: most time of all attacks; None for no limit.
        shows: what the private images show, such as `faces`.
        store: what is there costs no time; None for nothing.
        device: of the attacks, for how long they take.

    Raises:
        SpecError: if no attack can run, or one is not known: all reasons.
    """
    from midef.stages.given import LIVE

    chosen_profile = profile_named(profile)
    written = dict(chosen_profile.protocol)
    most = data.private_set.n_identities()
    protocol = Protocol(
        **{
            **written,
            "identities": min(identities or int(written["identities"]), most),
            "images_per_identity": images_per_identity or int(written["images_per_identity"]),
            "evaluator_resolution_px": judge.resolution_px,
        }
    )
    problems = Problems()
    check_private(data.private_set, protocol, "private", problems)
    choices = [_attack(one, chosen_profile, problems) for one in attacks]
    if problems:
        raise SpecError(problems)
    refused: dict[str, str] = {}
    reasons = ""
    if not attacks:

        def recipe_of(attack: Attack) -> Recipe:
            cell = _cell(_choice(attack), model, data, judge, protocol, chosen_profile, seed)
            return cell.recipes.scores

        def questions_of(attack: Attack) -> int:
            return _questions(attack, model, data, protocol)

        sizes = (model.input.resolution_px, judge.resolution_px)
        read = [split_recipe(one, px) for one in (data.private, data.public) if one is not None for px in sizes]
        places = data.reader.locations(read)
        costs = Seconds(model, recipe_of, questions_of, locations=places, store=store, device=device)
        choices, refused, reasons = _chosen(model, data, protocol, chosen_profile, seconds, shows, costs)
    cells: list[PlannedCell] = []
    for attack in _told_apart([choice for choice in choices if choice is not None]):
        if why := _refusal(attack, model, data, protocol):
            refused[attack.label] = why
            continue
        cells.append(_cell(attack, model, data, judge, protocol, chosen_profile, seed))
    if not cells:
        raise SpecError([f"{attack}: {why}" for attack, why in refused.items()] or ["no attack was named"])
    locations = dict(data.reader.locations(planned.recipes.scores for planned in cells))
    locations[model.given.digest] = {LIVE: model.network}
    if judge.weights is not None and judge.where is not None:
        recipe = published_recipe(judge.weights, judge.architecture, judge.resolution_px)
        locations[recipe.key.digest] = dict(judge.where)
    return Plan(
        model=model,
        data=data,
        judge=judge,
        profile=chosen_profile,
        cells=tuple(cells),
        refused=refused,
        locations=locations,
        reasons=reasons,
    )


def _chosen(
    model: Model,
    data: Data,
    protocol: Protocol,
    profile: Profile,
    seconds: float | None,
    shows: str,
    costs: Costs,
) -> tuple[list[Choice | None], dict[str, str], str]:
    """Attacks by what the model allows, the strongest first; why the others are left out; and both as text."""
    candidates, without_budget = [], {}
    for name in ATTACKS.names():
        try:
            params = {} if profile.small is None else small_budget(name, {}, profile.small)
            candidates.append(ATTACKS.make(name, params))
        except SpecError as error:
            without_budget[name] = str(error)
    situation = Situation(
        access=model.access,
        resolution_px=model.input.resolution_px,
        classes=model.given.classes,
        identities=protocol.identities,
        images_per_identity=protocol.images_per_identity,
        public_images=_public_images(data),
        shows=shows,
        seconds=seconds or None,
        queries=getattr(model.network, "left", None),
        protocol=protocol,
    )
    selection = choose_attacks(candidates, situation, costs=costs)
    chosen: list[Choice | None] = [_choice(attack) for attack in selection.chosen]
    names = {ATTACKS.describe(attack).label: ATTACKS.describe(attack).name for attack in candidates}
    left = {names.get(one.attack, one.attack): one.reason for one in selection.left_out}
    return chosen, {**left, **without_budget}, selection.text


def _told_apart(choices: Sequence[Choice]) -> Iterator[Choice]:
    """Each attack once; a name that stands for two, which differ in what it does not show, gets a number."""
    named: dict[str, int] = {}
    for choice in {digest(choice.keyed): choice for choice in choices}.values():
        named[choice.label] = number = named.get(choice.label, 0) + 1
        label = choice.label if number == 1 else f"{choice.label} ({number})"
        yield Choice(choice.name, choice.params, choice.version, label)


def _choice(attack: Attack) -> Choice:
    """An attack with the profile's budget, which its name does not repeat."""
    one = ATTACKS.describe(attack)
    return Choice(one.name, one.params, one.version, one.name)


def _public_images(data: Data) -> int:
    return 0 if data.public_set is None else sum(data.public_set.sizes().values())


def _questions(attack: Attack, model: Model, data: Data, protocol: Protocol) -> int:
    return queries_of(
        attack,
        reconstructions=protocol.identities * protocol.images_per_identity,
        identities=protocol.identities,
        n_classes=model.given.classes,
        public_images=_public_images(data),
    ).images


def _attack(written: str | Mapping[str, Any], profile: Profile, problems: Problems) -> Choice | None:
    try:
        return attack_of(written, profile)
    except SpecError as error:
        problems.take("attack", error)
        return None


def attack_of(written: str | Mapping[str, Any], profile: Profile) -> Choice:
    """An attack with the profile's small budget where nothing else is written.

    Raises:
        SpecError: if there is none, or a parameter is wrong.
    """
    name, preset, params = ATTACKS.parse(written)
    as_written = {"name": name, **({"preset": preset} if preset else {})}
    label = ATTACKS.choose({**as_written, **params}).label
    budget = {} if preset or profile.small is None else small_budget(name, params, profile.small)
    chosen = ATTACKS.choose({**as_written, **merged(budget, params)})
    return Choice(chosen.name, chosen.params, chosen.version, label)


def _refusal(attack: Choice, model: Model, data: Data, protocol: Protocol) -> str:
    """Why an attack cannot run on this model; "" if it can."""
    made = ATTACKS.remake(attack)
    access = max([made.access, *(prior.asks for prior in priors_of(made) if prior.asks is not None)])
    if access > model.access:
        return f"needs {access.words}, {model.given.name} answers with {model.access.words}"
    problems = Problems()
    lacking = check_attack(attack, model.input.resolution_px, data.public_set, protocol, "audit", problems)
    reasons = [text.partition(": ")[2] for text in (*problems, *lacking)]
    if data.public is None:
        reasons.append("no public images were given: `--public`")
    return "; ".join(reasons)


def _cell(
    attack: Choice, model: Model, data: Data, judge: Judge, protocol: Protocol, profile: Profile, seed: int
) -> PlannedCell:
    setup = Setup(
        id=f"audit-{attack.label}",
        attack=attack,
        architecture=model.given.choice,
        private=data.private,
        public=data.public or data.private,
        evaluator=judge.architecture,
        resolution_px=model.input.resolution_px,
        protocol=protocol,
        evaluator_weights=judge.weights,
    )
    training = TrainingRecipe.make(profile.evaluator_training)
    recipes = recipes_for_cell(
        setup, NO_DEFENSE, seed, training=training, evaluator_training=training, metrics=audited_metrics()
    )
    cell = Cell(setup=setup, defense=NO_DEFENSE, seed=seed, profile=profile.name, scores=recipes.scores.key.digest)
    return PlannedCell(cell, recipes)


def audited_metrics() -> tuple[str, ...]:
    """Metrics of an audit: the standard ones, but those of a training that was elsewhere and of traits nobody drew."""
    return tuple(n for n in standard_metrics() if not METRICS.get(n).needs_traits and n != "train_s")
