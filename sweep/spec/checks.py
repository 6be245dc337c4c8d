"""Checks of a resolved setup: private and public data, pre-training, networks, attack, defense."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from midef.attacks import ATTACKS, AccessLevel, Attack, Prior
from midef.core.choice import Choice
from midef.core.errors import MOST_SHOWN, MidefError, Problem, SpecError
from midef.core.recipe import Recipe, each_once
from midef.core.setup import Protocol, Setup
from midef.datasets import Dataset
from midef.datasets.files.copies import few_pairs
from midef.defenses import Defense
from midef.defenses.stack import remake_defense
from midef.models import ARCHITECTURES, ModelFacts
from midef.stages import problems_as_target, problems_of_attack, weights_of_judge
from midef.sweep.spec.lines import Lines
from midef.sweep.spec.profiles import AUTO, Profile
from midef.sweep.spec.schema import SweepSpec
from midef.training import TrainingRecipe

MOST_SETUPS = 10_000
"""Most setups of a sweep: the attacks times the networks of every row."""
MOST_CELLS = 1_000_000
Shared = Callable[[Dataset, Dataset], Sequence[str]]
_PLACE = re.compile(r"\w+(?:\.\w+|\[\d+\])*")


class Problems(list[str]):
    """Problems of a specification, each with its place, to be reported together."""

    def take(self, place: str, error: MidefError) -> None:
        """Add the problems of an error, with their place."""
        for problem in error.problems if isinstance(error, SpecError) else [str(error)]:
            self.append(Problem(f"{place}: {problem}", at=(*_steps(place), *getattr(problem, "at", ()))))

    @property
    def are_enough(self) -> bool:
        """True if more would not be shown."""
        return len(self) >= MOST_SHOWN and len(set(self)) >= MOST_SHOWN

    def cut(self, note: str) -> None:
        """Keep as many as are shown, a note the last of them."""
        self[:] = [*list(dict.fromkeys(self))[: MOST_SHOWN - 1], note]

    def located(self, lines: Lines) -> list[str]:
        """Each once, those of values that were written somewhere with where that is."""
        located = []
        for problem in dict.fromkeys(self):
            found = lines.find(_own_or_sweeps(getattr(problem, "at", None) or _steps(problem), lines))
            located.append(problem if found == lines.where else f"{found}: {problem}")
        return located

    def grouped(self) -> list[str]:
        """One problem per text, with the first of the places it was met in."""
        places: dict[str, list[str]] = {}
        for problem in self:
            place, _, text = problem.partition(": ")
            places.setdefault(text, []).append(place)
        lines = []
        for text, met in places.items():
            different = list(dict.fromkeys(met))
            more = f" and {len(different) - 2} more" if len(different) > 2 else ""
            lines.append(f"{', '.join(different[:2])}{more}: {text}")
        return lines


def _steps(text: str) -> tuple[str | int, ...]:
    """The place that a problem begins with: `setups[0].private` is ("setups", 0, "private")."""
    begins = _PLACE.match(text)
    steps = re.findall(r"\w+", begins[0]) if begins else []
    return tuple(int(step) if step.isdigit() else step for step in steps)


def _own_or_sweeps(at: tuple[str | int, ...], lines: Lines) -> tuple[str | int, ...]:
    """The place of a setup's field; of the sweep's field where the setup leaves it to the sweep."""
    is_own = lines.find(at[:3]) != lines.find(at[:2])
    return at[2:] if at[:1] == ("setups",) and len(at) > 2 and not is_own and at[2] in lines.inside else at


def check_private(dataset: Dataset, protocol: Protocol, place: str, problems: Problems) -> None:
    """Check that private data has identities, as many as the protocol attacks."""
    if not dataset.is_labelled:
        problems.append(f"{place}: private data needs identities (labelled: true); this set has none")
        return
    count = dataset.n_identities()
    if protocol.identities > count:
        problems.append(
            f"{place}: the protocol attacks {protocol.identities} identities, the set has {count}; "
            f"set protocol.identities to at most {count}"
        )


def notes_on_victims(private: Dataset, protocol: Protocol, place: str) -> list[str]:
    """What to know where an attack that inverts observed images is sure to meet some of them again."""
    has, each = private.sizes().get(protocol.victims), protocol.images_per_identity
    asked = protocol.identities * each
    if has is None or has >= asked:
        return []
    return [
        f"{place}.protocol: inverts {asked} observed images ({protocol.identities} identities x {each}), the "
        f"{protocol.victims} split has {has}: some are inverted and counted more than once; lower images_per_identity"
    ]


def check_pretraining(
    pretraining: tuple[Choice, Dataset], private: tuple[Choice, Dataset] | None, shared: Shared, place: str,
    problems: Problems,
) -> None:  # fmt: skip
    """Check that pre-training data has labels and no private images.

    Args:
        shared: what is in both of two data sets.
    """
    if not pretraining[1].is_labelled:
        problems.append(f"{place}: pre-training needs identities (labelled: true); this set has none")
    if private is not None and pretraining[0] == private[0]:
        problems.append(f"{place}: pre-training and private data are the same set; give another one")
    elif private is not None and (both := shared(private[1], pretraining[1])):
        problems.append(f"{place}: {_count(both)} also private: {few_pairs(both)}; remove them from this set")


def check_disjoint(
    private: tuple[Choice, Dataset], public: tuple[Choice, Dataset], shared: Shared, place: str, problems: Problems
) -> None:
    """Check that the attacker's public data holds no private images.

    Args:
        shared: what is in both of two data sets.
    """
    if private[0] == public[0]:
        problems.append(f"{place}: private and public data are the same set; the attacker must not have private images")
    elif both := shared(private[1], public[1]):
        problems.append(
            f"{place}: {_count(both)} both private and public: {few_pairs(both)}; remove them from the public set"
        )


def _count(shared: Sequence[str]) -> str:
    return "1 image or person is" if len(shared) == 1 else f"{len(shared):,} images or people are"


def check_attack(
    attack: Choice, resolution_px: int, public: Dataset | None, protocol: Protocol, place: str, problems: Problems
) -> list[str]:
    """Check that the attack works at this resolution and on this public data, and answers this protocol.

    Args:
        public: None where it cannot be read.

    Returns:
        files it starts from that are not on this machine, each with its place.
    """
    made: Attack = ATTACKS.remake(attack)
    problems += [f"{place}.attack: {p}" for p in problems_of_attack(attack)]
    problems += [f"{place}.attack: {p}" for p in (*made.problems(resolution_px), *made.problems_with(protocol))]
    if public is not None:
        problems += [f"{place}.attack: {p}" for prior in _priors(made) for p in prior.problems_with(public)]
    if protocol.counted == "best_by_target" and made.access < AccessLevel.SCORES:
        problems.append(f"{place}.protocol: counted best_by_target needs scores, {attack.name} sees labels only")
    lacking = [text for one in starts_of(attack) for text in one.lacking()]
    return [f"{place}.attack {attack.name}: {text}" for text in lacking]


def starts_of(attack: Choice) -> list[Attack | Prior]:
    """What of an attack may need published files: itself and its priors."""
    made: Attack = ATTACKS.remake(attack)
    return [made, *_priors(made)]


def reads_public(attack: Choice) -> bool:
    """Whether anything that an attack starts from is made of public images; a published generator is not."""
    target, public = (Recipe("split", role, {"resolution_px": 64}) for role in ("target", "public"))
    needed = each_once(ATTACKS.remake(attack).requires(target=target, public=public).values())
    return any(recipe.component == public.component for recipe in needed)  # at whatever resolution it is learned


def _priors(component: Any) -> list[Prior]:
    """The priors of an attack, each followed by the priors it starts from."""
    priors = [value for f in fields(component) if isinstance(value := getattr(component, f.name), Prior)]
    return [one for prior in priors for one in (prior, *_priors(prior))]


def check_networks(
    architecture: Choice, evaluator: Choice, resolution_px: int, protocol: Protocol, place: str, problems: Problems
) -> None:
    """Check that target and evaluator take images of their resolution, are of two families, and the target no judge."""
    judge = problems_as_target(architecture)
    target, other = ARCHITECTURES.remake(architecture), ARCHITECTURES.remake(evaluator)
    # Papers evaluate IR targets at 64 px by an IR body at 112 px: another resolution, other weights, other features.
    if not judge and target.family == other.family and protocol.evaluator_resolution_px == resolution_px:
        problems.append(
            f"{place}: the evaluator {evaluator.label} is of the target's family ({target.family}); an attack that "
            "overfits one network fools its sibling too: choose an evaluator of another family"
        )
    problems += [f"{place}.architecture: {p}" for p in judge or target.problems(resolution_px)]
    problems += [f"{place}.evaluator: {p}" for p in other.problems(protocol.evaluator_resolution_px)]


def check_workers(
    profile: Profile, trainings: Mapping[str, TrainingRecipe | None], place: str, problems: Problems
) -> None:
    """Check written numbers of processes: each needs an image of every batch, and a compiled training takes one."""
    for kind, recipe in trainings.items():
        workers = profile.ordered_workers(kind) or 0
        if recipe is not None and workers > recipe.batch_size:
            problems.append(
                f"{place}: a batch of {recipe.batch_size} images cannot be shared by the {workers} processes of a "
                f"{kind}; lower train_workers, or set it to {AUTO}"
            )
        if recipe is not None and recipe.compiled and workers > 1:
            problems.append(
                f"{place}: a compiled training of a {kind} takes one process, train_workers is {workers}; set it to "
                f"{AUTO}, 0 or 1, or leave out compiled"
            )


def check_evaluator_training(spec: SweepSpec, evaluators: Sequence[Choice], problems: Problems) -> None:
    """Check that something is trained as the sweep says that evaluators are.

    Args:
        evaluators: of all setups that can run.
    """
    if spec.evaluator_training and evaluators and all(map(weights_of_judge, evaluators)):
        names = ", ".join(dict.fromkeys(evaluator.name for evaluator in evaluators))
        problems.append(f"evaluator_training: {names} is not trained and uses nothing of it; remove it")


def check_size(spec: SweepSpec, problems: Problems) -> None:
    """Check that a sweep is small enough, before anything of it is looked at."""
    rows = [(len(item.attack) * max(1, len(item.architecture)), item.defenses or spec.defenses) for item in spec.setups]
    setups = sum(count for count, _ in rows)
    cells = sum(count * len(defenses) for count, defenses in rows) * len(spec.seeds)
    if setups > MOST_SETUPS:
        problems.append(f"setups: attacks x networks are {setups:,} setups, more than {MOST_SETUPS:,}; split the sweep")
    if cells > MOST_CELLS:
        problems.append(f"setups x defenses x seeds are {cells:,} cells, more than {MOST_CELLS:,}; split the sweep")


def check_ids(setups: Sequence[Setup], problems: Problems) -> None:
    """Check that no two setups have one id."""
    counts = Counter(setup.id for setup in setups)
    for name in sorted(name for name, count in counts.items() if count > 1):
        problems.append(f"setups: two setups have the id {name!r}; give each its own")


def why_refused(setup: Setup, defense: Choice) -> str:
    """Why this defense cannot meet this setup, whatever the seed and the machine; "" if it can."""
    return "; ".join(_reasons(setup, remake_defense(defense)))


def facts_of(setup: Setup) -> ModelFacts:
    """Facts of the network a setup attacks, before a defense prepares it."""
    pretrained = setup.pretraining is not None or setup.weights is not None
    return replace(ARCHITECTURES.remake(setup.architecture).facts(), pretrained=pretrained)


def _reasons(setup: Setup, made: Defense) -> list[str]:
    return made.problems(facts_of(setup))


def refusal(setup: Setup, defense: Choice, profile: Profile) -> str:
    """The same in a sweep, whose profile says how many processes train."""
    made = remake_defense(defense)
    reasons = _reasons(setup, made)
    workers = profile.ordered_workers("target") or 0
    if workers > 1 and any("training_state" in part.owned_slots() for part in made.parts()):
        reasons.append(f"it trains in one process, train_workers is {workers}; set it to {AUTO}, 0 or 1")
    return "; ".join(reasons)
