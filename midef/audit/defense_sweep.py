"""The sweep that an audit proposes: the audited network under each defense, attacked as the audit attacked it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from midef.audit.plan import attack_of
from midef.core.errors import SpecError
from midef.models import ARCHITECTURES
from midef.results.compare import UNDEFENDED
from midef.sweep.spec.profiles import Profile

if TYPE_CHECKING:
    from midef.audit.comparisons import Proposal
    from midef.stages.given import Given


def defense_sweep(
    proposals: Sequence[Proposal],
    *,
    attack: str,
    architecture: str,
    private: str,
    public: str,
    profile: str,
    fields: Mapping[str, str],
    remark: str = "",
) -> str:
    """Specification of the sweep that trains the architecture under each defense and attacks it: a YAML file.

    Args:
        proposals: defenses.
        attack: as YAML, every parameter that the profile does not give included.
        architecture, private, public: as a sweep writes them.
        profile: budget.
        fields: further fields of the setup, as YAML.
        remark: on the architecture, a comment; "" for none.
    """
    names = ", ".join([UNDEFENDED, *(one.name for one in proposals)])
    setup = {
        "attack": attack,
        "architecture": f"{architecture}  # {remark}" if remark else architecture,
        "private": private,
        "public": public,
        **fields,
    }
    lines = [f"{'  - ' if i == 0 else '    '}{name}: {value}" for i, (name, value) in enumerate(setup.items()) if value]
    return "\n".join(
        ["name: defenses", f"profile: {profile}", "setups:", *lines, f"defenses: [{names}]", "seeds: [0, 1, 2]"]
    )


def written_attack(name: str, params: Mapping[str, Any], profile: Profile) -> str:
    """An attack as YAML of a sweep in a profile: its name, and what differs from what the profile makes of the name.

    Args:
        name: registered.
        params: all of them, those of priors included.
        profile: of the sweep.
    """
    for written in ({"name": name, **_differing(params, _params(name, profile))}, {"name": name, **params}):
        if _params(written, profile) == dict(params):
            return name if len(written) == 1 else json.dumps(written, ensure_ascii=False)
    raise AssertionError(f"{name} with every parameter written out is another attack")


def _params(written: str | Mapping[str, Any], profile: Profile) -> dict[str, Any]:
    """Parameters of what a sweep makes of an attack; none of one that the profile refuses as it is written."""
    try:
        return dict(attack_of(written, profile).params)
    except SpecError:
        return {}


def _differing(params: Mapping[str, Any], below: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters that `below` does not hold; of a component in both, its name and what differs in it."""
    found: dict[str, Any] = {}
    for key, value in params.items():
        lower = below.get(key)
        if key in below and value == lower:
            continue
        found[key] = value
        if isinstance(value, Mapping) and isinstance(lower, Mapping) and value.get("name") == lower.get("name"):
            found[key] = {**({"name": value["name"]} if "name" in value else {}), **_differing(value, lower)}
    return found


def known_architecture(given: Given, resolution_px: int) -> tuple[str, str]:
    """The network of midef that stands for a given one, as a sweep writes it, and what a reader must know of it.

    A network of torchvision or timm is the one of midef with its name if all tensors have the same shapes: of
    torchvision's `resnet18` that is `resnet18(stem=imagenet)`, since the stem of `resnet18` follows the resolution.

    Args:
        given: what was audited.
        resolution_px: of the images it takes.

    Returns:
        ("", "") where midef has no network of that name.
    """
    from midef.stages.given_networks import without_weights

    name = given.name.partition("(")[0]
    if name not in ARCHITECTURES.names():
        return "", ""
    if given.library not in ("torchvision", "timm"):
        return given.name, ""
    theirs = without_weights(given.library, given.name, given.classes, resolution_px)
    for written in _stems(name):
        ours = without_weights("midef", written, given.classes, resolution_px)
        if theirs is not None and ours is not None and _shapes(theirs) == _shapes(ours):
            return written, ""
    return name, f"midef's {name}, whose layers are not those of {given.library}'s"


def _stems(name: str) -> list[str]:
    """The ways to write an architecture: with the stem of 224 px where it has a choice, and alone."""
    stem = {"stem": "imagenet"}
    try:
        return [ARCHITECTURES.choose({"name": name, **stem}).label, name]
    except SpecError:
        return [name]


def _shapes(network: Any) -> list[tuple[int, ...]]:
    """Of the tensors that are trained or counted, in any order; counters of batches have none."""
    return sorted(tuple(tensor.shape) for tensor in network.state_dict().values() if tensor.ndim)
