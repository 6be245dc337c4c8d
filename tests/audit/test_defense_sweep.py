"""The sweep that an audit proposes attacks as the audit did, and trains the network that was audited."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from midef.attacks import ATTACKS
from midef.audit.comparisons import Proposal
from midef.audit.defense_sweep import defense_sweep, known_architecture, written_attack
from midef.audit.plan import attack_of
from midef.stages.given import Given
from midef.stages.given_networks import without_weights
from midef.sweep.catalogue import read_spec
from midef.sweep.spec.profiles import profile_named
from midef.sweep.spec.resolve import resolve

BIDO = Proposal(name="bido", paper="p", acts_on="loss", settings=1, attack_drop=1.0, attack_range=(1.0, 1.0), cost=0.0)


@pytest.mark.parametrize(
    ("written", "profile", "said"),
    [
        ("gmi", "smoke", "gmi"),
        ("gmi(iterations=7)", "smoke", '{"name": "gmi", "batch_equivalent": 1, "iterations": 7}'),
        (
            {"name": "gmi", "prior": {"steps": 3, "width": 8}},
            "small",
            '{"name": "gmi", "prior": {"steps": 3, "width": 8}}',
        ),
        ({"name": "pool_search", "prior": {"name": "renderer"}}, "smoke", None),
        ({"name": "pool_search", "iterations": 5, "prior": {"name": "wgan_gp", "steps": 2}}, "small", None),
        ("inversion_model", "mini", "inversion_model"),
        (
            {"name": "inversion_model", "prior": {"epochs": 2}},
            "paper",
            '{"name": "inversion_model", "prior": {"epochs": 2}}',
        ),
    ],
)
def test_the_sweep_resolves_to_the_very_attack_of_the_audit(
    tmp_path: Path, written: str | Mapping[str, Any], profile: str, said: str | None
) -> None:
    budget = profile_named(profile)
    choice = attack_of(written, budget)
    text = written_attack(choice.name, json.loads(json.dumps(choice.params)), budget)
    if said is not None and "batch_equivalent" not in said:
        assert text == said
    sweep = defense_sweep(
        [BIDO],
        attack=text,
        architecture="resnet18(stem=imagenet)",
        private="synthetic_faces",
        public="synthetic_faces(population=public)",
        profile=profile,
        fields={
            "resolution_px": "64",
            "evaluator": "vgg16_tiny",
            "protocol": "{identities: 8, images_per_identity: 1}",
        },
        remark="a remark",
    )
    (tmp_path / "defenses.yaml").write_text(sweep)
    setups = {planned.cell.setup for planned in resolve(read_spec(tmp_path / "defenses.yaml"), absent=True).cells}
    (setup,) = setups
    assert setup.attack == choice
    assert setup.architecture.params["stem"] == "imagenet"


def test_a_preset_of_an_attack_is_written_out_where_the_profile_would_change_it() -> None:
    smoke = profile_named("smoke")
    choice = attack_of("gmi:orig", smoke)
    text = written_attack(choice.name, choice.params, smoke)
    assert attack_of(json.loads(text), smoke) == choice != ATTACKS.choose("gmi")


@pytest.mark.parametrize("px", [32, 64])
def test_torchvision_s_network_is_the_one_with_the_same_tensors(px: int) -> None:
    """Alone, `resnet18` has another first layer at this resolution."""
    of_torchvision = Given(library="torchvision", name="resnet18", classes=5)
    assert known_architecture(of_torchvision, px) == ("resnet18(stem=imagenet)", "")
    small, theirs = (without_weights(library, "resnet18", 5, px) for library in ("midef", "torchvision"))
    assert small is not None and theirs is not None
    assert sorted(t.shape for t in small.state_dict().values()) != sorted(t.shape for t in theirs.state_dict().values())


def test_a_namesake_with_other_layers_is_said_to_be_another_and_ours_stays_as_it_was_written() -> None:
    name, remark = known_architecture(Given(library="torchvision", name="vgg16", classes=5), 64)
    assert name == "vgg16" and remark == "midef's vgg16, whose layers are not those of torchvision's"
    ours = Given(library="midef", name="resnet18(stem=imagenet)", classes=5)
    assert known_architecture(ours, 64) == ("resnet18(stem=imagenet)", "")
    assert known_architecture(Given(library="torchvision", name="alexnet", classes=5), 64) == ("", "")
    assert known_architecture(Given(name="MyModule", classes=5), 64) == ("", "")
