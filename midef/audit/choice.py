"""Choice of the attacks of an audit: by access, priors and budget, the strongest first, each with its reason."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from midef.attacks import ATTACKS, AccessLevel, Attack, Prior
from midef.audit.budget import queries_of
from midef.core.errors import few
from midef.core.text import duration

if TYPE_CHECKING:
    from midef.core.setup import Protocol


Costs = Callable[[Attack], Mapping[str, float]]
"""Seconds of what an attack still needs, by artifact: what two attacks share has one name and is paid for once."""


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What an attacker of this model has, and what the audit may spend.

    Args:
        access: the most that the model allows.
        resolution_px: of its images.
        classes: that it tells apart.
        identities: of these that are attacked.
        images_per_identity: reconstructions of each.
        public_images: of other people, to learn generators from; 0 without.
        shows: what the private images show, such as `faces`; "" where nobody says.
        seconds: most time; None for no limit.
        queries: most images that the model is shown; None for no limit.
        protocol: for attacks that cannot make the reconstructions of every protocol.
    """

    access: AccessLevel
    resolution_px: int
    classes: int
    identities: int
    images_per_identity: int = 1
    public_images: int = 0
    shows: str = ""
    seconds: float | None = None
    queries: int | None = None
    protocol: Protocol | None = None

    def __post_init__(self) -> None:
        for name in ("resolution_px", "classes", "identities", "images_per_identity"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("seconds", "queries"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"a budget of {name} is above 0, or None for no limit; got {value}")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether an attack is tried, and why.

    Args:
        attack: as written.
        access: what it needs, in words.
        strength: see `Attack.strength`.
        reason: a clause.
        seconds: that it adds, about; None where nobody estimated it.
        queries: images that it shows the model; None of one that cannot run here.
        queries_are_exact: False where only the search itself can tell.
    """

    attack: str
    access: str
    strength: int
    is_chosen: bool
    reason: str
    seconds: float | None = None
    queries: int | None = None
    queries_are_exact: bool = True

    @property
    def line(self) -> str:
        """`+ ppa: ...` of a chosen one, `- gmi: ...` of the others."""
        return f"{'+' if self.is_chosen else '-'} {self.attack}: {self.reason}"


@dataclass(frozen=True)
class Selection:
    """The attacks of an audit and those that are not tried.

    Args:
        verdicts: the chosen ones first, in the order in which they are tried; then the others, the strongest first.
        chosen: the attacks of the chosen verdicts.
    """

    verdicts: tuple[Verdict, ...]
    chosen: tuple[Attack, ...] = ()

    @property
    def left_out(self) -> tuple[Verdict, ...]:
        return tuple(one for one in self.verdicts if not one.is_chosen)

    @property
    def text(self) -> str:
        """For people: what is tried in which order, and what is not, each with its reason."""
        tried = [one.line for one in self.verdicts if one.is_chosen]
        others = [one.line for one in self.left_out]
        head = f"{len(tried)} attack{'' if len(tried) == 1 else 's'} to try, the strongest first:"
        return "\n".join([head, *tried, *(["not tried:", *others] if others else [])])


def every_attack(small: Callable[[type[Attack]], Attack] | None = None) -> list[Attack]:
    """Every registered attack, at its defaults.

    Args:
        small: makes one at another budget.
    """
    return [small(cls) if small else ATTACKS.make(cls.registered_name) for cls in ATTACKS]  # type: ignore[attr-defined]


def choose_attacks(
    candidates: Iterable[Attack],
    situation: Situation,
    *,
    costs: Costs | None = None,
    asked_for: Collection[str] = (),
) -> Selection:
    """Choose attacks.

    Those that cannot run here are left out, with every reason. The others are taken in the order of their declared
    strength; of equally strong ones those that need more access come first, then those that cost less. One that no
    longer fits into what is left of the budget is left out, and the next one is looked at.

    Args:
        candidates: with the parameters they would run with.
        costs: seconds of each; None where nobody estimates them, and a budget of seconds leaves nothing out.
        asked_for: names of attacks that the user wrote. They come first, in this order, no matter how strong; the
            others are left out.
    """
    judged = [(attack, _reasons_against(attack, situation)) for attack in candidates]
    able = [attack for attack, reasons in judged if not reasons]
    if asked_for:
        wanted = list(asked_for)
        able = sorted((a for a in able if _name(a) in wanted), key=lambda a: wanted.index(_name(a)))
    else:
        known = {id(a): sum(costs(a).values()) if costs else 0.0 for a in able}
        able.sort(key=lambda a: (-a.strength, -a.access, known[id(a)], _label(a)))
    purse = _Purse(situation, costs)
    taken = [(attack, purse.judge(attack, is_asked_for=bool(asked_for))) for attack in able]
    not_asked = [
        _verdict(attack, "others were asked for", is_chosen=False)
        for attack, reasons in judged
        if not reasons and asked_for and _name(attack) not in asked_for
    ]
    unable = [_verdict(attack, "; ".join(reasons), is_chosen=False) for attack, reasons in judged if reasons]
    left = [verdict for _, verdict in taken if not verdict.is_chosen] + unable + not_asked
    left.sort(key=lambda one: (-one.strength, one.attack))
    chosen = [(attack, verdict) for attack, verdict in taken if verdict.is_chosen]
    return Selection((*(verdict for _, verdict in chosen), *left), tuple(attack for attack, _ in chosen))


class _Purse:
    """What is left of the budget while attacks are taken."""

    def __init__(self, situation: Situation, costs: Costs | None) -> None:
        self.situation, self.costs = situation, costs
        self.seconds, self.queries = situation.seconds, situation.queries
        self.paid: set[str] = set()

    def judge(self, attack: Attack, *, is_asked_for: bool) -> Verdict:
        """Take the attack if it fits."""
        here = self.situation
        parts = {} if self.costs is None else self.costs(attack)
        seconds = None if self.costs is None else sum(s for name, s in parts.items() if name not in self.paid)
        asked = queries_of(
            attack,
            reconstructions=here.identities * here.images_per_identity,
            identities=here.identities,
            n_classes=here.classes,
            public_images=here.public_images,
        )
        numbers = {"seconds": seconds, "queries": asked.images, "queries_are_exact": asked.is_exact}
        about = "" if asked.is_exact else "about "
        if self.queries is not None and asked.images > self.queries:
            left = f"{self.queries:,} of the budget of {here.queries:,} are left"
            return _verdict(
                attack, f"would ask {about}{asked.images:,} questions, and {left}", is_chosen=False, **numbers
            )
        if self.seconds is not None and seconds is not None and seconds > self.seconds:
            left = f"{duration(self.seconds)} of the budget of {duration(here.seconds)} are left"
            return _verdict(attack, f"would take about {duration(seconds)}, and {left}", is_chosen=False, **numbers)
        if self.seconds is not None and seconds is not None:
            self.seconds -= seconds
        if self.queries is not None:
            self.queries -= asked.images
        self.paid |= set(parts)
        return _verdict(attack, _why(attack, here, seconds, is_asked_for=is_asked_for), is_chosen=True, **numbers)


def _why(attack: Attack, here: Situation, seconds: float | None, *, is_asked_for: bool) -> str:
    first = "asked for" if is_asked_for else f"strength {attack.strength} of 5, needs {_needs(attack.access)}"
    priors = list(priors_of(attack))
    learns = [_name_of_prior(prior) for prior in priors if not prior.subject and _learns(prior)]
    given = [f"{_name_of_prior(prior)} of published {prior.subject}" for prior in priors if prior.subject]
    parts = [first]
    if learns:
        parts.append(f"learns {few(learns)} from {here.public_images:,} public images")
    if given:
        parts.append(f"draws from {few(given)}")
    if not priors:
        parts.append("needs no public images")
    if attack.needs_observed_scores:
        parts.append("assumes that the attacker saw the answers to private images")
    if seconds is not None:
        parts.append(f"about {duration(seconds)}")
    return "; ".join(parts)


def _reasons_against(attack: Attack, here: Situation) -> list[str]:
    """Why an attack cannot run here, budgets apart."""
    priors = list(priors_of(attack))
    needed = max([attack.access, *(prior.asks for prior in priors if prior.asks is not None)])
    if needed > here.access:
        return [f"needs {_needs(needed)}, and the model gives {_gives(here.access)}"]
    problems = attack.problems(here.resolution_px)
    if here.protocol is not None:
        problems = [*problems, *attack.problems_with(here.protocol)]
    for prior in priors:
        if prior.subject and here.shows and prior.subject != here.shows:
            problems.append(
                f"its generator draws {prior.subject}, and the private images show {here.shows}; give one of "
                f"{here.shows} as prior, or public images to learn one from"
            )
    if not here.public_images and any(not prior.subject and _learns(prior) for prior in priors):
        problems.append("learns from public images, and there are none; give images of other people as public ones")
    lacking = [*attack.lacking(), *(text for prior in priors for text in prior.lacking())]
    return list(dict.fromkeys([*problems, *lacking]))


def priors_of(component: Attack | Prior) -> Iterator[Prior]:
    """Its priors and what these start from, each kind once."""
    seen: list[Prior] = []
    for field in fields(component):
        value = getattr(component, field.name)
        if isinstance(value, Prior):
            for one in (value, *priors_of(value)):
                if one not in seen:
                    seen.append(one)
                    yield one


def _learns(prior: Prior) -> bool:
    return not prior.knows_traits


def _verdict(attack: Attack, reason: str, *, is_chosen: bool, **numbers: float | None) -> Verdict:
    return Verdict(
        attack=_label(attack),
        access=attack.access.words,
        strength=attack.strength,
        is_chosen=is_chosen,
        reason=reason,
        **numbers,  # type: ignore[arg-type]
    )


def _needs(access: AccessLevel) -> str:
    return {AccessLevel.LABELS: "labels", AccessLevel.SCORES: "scores", AccessLevel.WHITE_BOX: "the weights"}[access]


def _gives(access: AccessLevel) -> str:
    return {AccessLevel.LABELS: "labels alone", AccessLevel.SCORES: "scores alone"}.get(access, "everything")


def _name(attack: Attack) -> str:
    return attack.registered_name  # type: ignore[attr-defined, no-any-return]


def _label(attack: Attack) -> str:
    return ATTACKS.describe(attack).label


def _name_of_prior(prior: Prior) -> str:
    return prior.registered_name  # type: ignore[attr-defined, no-any-return]
