"""Published rows at the size of a small profile: what replaces which component, and rows that cannot run yet."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from midef.attacks import ATTACKS
from midef.core.choice import Choice
from midef.core.errors import SpecError
from midef.core.registry import Registry
from midef.core.setup import Protocol, Setup, StandIn
from midef.datasets import DATASETS
from midef.models import ARCHITECTURES
from midef.sweep.spec.profiles import Profile
from midef.sweep.spec.schema import ProtocolSpec, SetupSpec, SweepSpec
from midef.sweep.spec.values import ComponentSpec

ADAPTIVE = ("erase_low", "erase_high", "erase_fill")
"""Parameters of an attacker that knows MIDRE: what he does, not how long."""


def with_stand_ins(item: SetupSpec, spec: SweepSpec, profile: Profile) -> tuple[SetupSpec, tuple[StandIn, ...]]:
    """A published row at the profile's size, and what was replaced. A row of any other sweep stays as written."""
    user_data = {"private": spec.private, "public": spec.public}
    if not spec.stand_ins or not profile.stand_ins:
        return item.model_copy(update={k: v for k, v in user_data.items() if v and not getattr(item, k)}), ()
    stand_ins: list[StandIn] = []

    def swap(role: str, written: ComponentSpec | None) -> ComponentSpec | None:
        if written is None:
            return None
        name = name_of(written)
        other = user_data.get(role) or profile.stand_ins.get(role, {}).get(name, written)
        if name_of(other) != name:
            stand_ins.append(StandIn(name_of(other), name, "" if role == "architecture" else role))
        return other

    changed: dict[str, Any] = {
        "attack": [_at_profile_budget(a) for a in item.attack],
        "architecture": [swap("architecture", a) for a in item.architecture],
        **{role: swap(role, getattr(item, role)) for role in ("private", "public", "evaluator", "pretraining")},
        **{"resolution_px": None, "protocol": _protocol(item), "training": {}, "evaluator_training": {}},
        **{"weights": "", "evaluator_weights": ""},
    }
    if item.weights:
        starts_fresh = any(name_of(a) in profile.stand_ins.get("fresh", {}) for a in item.architecture)
        learned = {} if starts_fresh else profile.stand_ins.get("weights", {})
        pretraining = changed["pretraining"] = learned.get(item.weights)
        start = "fresh weights" if pretraining is None else f"{name_of(pretraining)} first"
        stand_ins.append(StandIn(start, f"{item.weights} weights"))
    if item.evaluator_weights:
        stand_ins.append(StandIn("fresh weights", f"{item.evaluator_weights} weights", "evaluator"))
    stand_ins += _smaller(item, profile)
    return item.model_copy(update=changed), tuple(dict.fromkeys(stand_ins))


def _at_profile_budget(attack: ComponentSpec) -> ComponentSpec:
    """The attack with the profile's budget: of its parameters only those that make it adaptive stay."""
    try:
        name, params = ATTACKS.complete(attack)
    except SpecError:
        return name_of(attack)  # refused, or reported with its place, where the row is resolved
    if not params.get("erase_high"):
        return name  # who erases nothing fills nothing: the key of a plain attacker stays
    return {"name": name, **{key: params[key] for key in ADAPTIVE if key in params}}


def _protocol(item: SetupSpec) -> ProtocolSpec:
    """What stays of a published row's protocol: the resolution of an evaluator that judges at one alone."""
    name = "" if item.evaluator is None else name_of(item.evaluator)
    if name in ARCHITECTURES.names() and ARCHITECTURES.get(name).judges_only:
        return ProtocolSpec(evaluator_resolution_px=item.protocol.evaluator_resolution_px)
    return ProtocolSpec()


def _smaller(item: SetupSpec, profile: Profile) -> Iterator[StandIn]:
    """Resolution, images and budgets that differ from the published row's."""
    if item.resolution_px not in (None, profile.resolution_px):
        yield StandIn(f"{profile.resolution_px} px", f"{item.resolution_px} px")
    published = Protocol(**item.protocol.model_dump(exclude_none=True))
    small = Protocol(**profile.protocol)
    if (published.identities, published.images_per_identity) != (small.identities, small.images_per_identity):
        fewer, more = (f"{p.identities} x {p.images_per_identity}" for p in (small, published))
        yield StandIn(f"{fewer} images", more)
    yield StandIn(f"training and attacks at the budget of {profile.name}")


def stand_in_defenses(spec: SweepSpec, profile: Profile, *, starts_fresh: bool) -> Mapping[str, ComponentSpec]:
    """Defenses of published rows, by name, that the profile writes another way.

    Args:
        starts_fresh: whether the backbone of the row's targets has learned nothing before.
    """
    if not spec.stand_ins:
        return {}
    fresh = profile.stand_ins.get("defense of fresh weights", {}) if starts_fresh else {}
    return {**profile.stand_ins.get("defense", {}), **fresh}


def name_of(written: ComponentSpec) -> str:
    """The component's name in what was written; unchecked."""
    return re.split(r"[:(]", str(written["name"]) if isinstance(written, dict) else written)[0]


def unregistered(item: SetupSpec, profile: Profile) -> str:
    """Components of this row that are not registered, in words; "" if all are."""
    networks = [*(item.architecture or [profile.architecture]), item.evaluator or profile.evaluator]
    sets = [w for w in (item.private or profile.private, item.public or profile.public) if w]
    kinds: list[tuple[str, Registry[Any], Sequence[ComponentSpec]]] = [
        ("attack", ATTACKS, item.attack),
        ("network", ARCHITECTURES, networks),
        ("data set", DATASETS, sets),
    ]
    for kind, registry, written in kinds:
        unknown = sorted({name_of(w) for w in written} - set(registry.names()))
        if unknown:
            return f"{kind} not registered: {', '.join(unknown)}"
    return ""


def unregistered_setups(item: SetupSpec, profile: Profile) -> Iterator[Setup]:
    """The setups of a row that cannot run, by name alone: no data is read."""
    architectures = map(name_of, item.architecture or [profile.architecture])
    for attack, architecture in product(map(name_of, item.attack), architectures):
        private = name_of(item.private or profile.private)
        yield Setup(
            id=item.setup_id(attack, architecture, private),
            attack=Choice(attack),
            architecture=Choice(architecture),
            private=Choice(private),
            public=Choice(name_of(item.public or profile.public)),
            evaluator=Choice(name_of(item.evaluator or profile.evaluator)),
            resolution_px=item.resolution_px or profile.resolution_px,
            protocol=Protocol(**{**profile.protocol, **item.protocol.model_dump(exclude_none=True)}),
        )
