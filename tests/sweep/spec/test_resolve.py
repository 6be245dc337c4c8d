"""A specification is resolved as a whole: names, parameters, budgets, keys; every problem at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from midef.attacks import ATTACKS
from midef.core import SpecError
from midef.sweep.catalogue import read_spec
from midef.sweep.spec import profiles
from midef.sweep.spec.load import parse_spec
from midef.sweep.spec.profiles import SMOKE
from midef.sweep.spec.resolve import Sweep, resolve

Spec = Callable[..., dict[str, Any]]
Yaml = Callable[..., Path]
ProblemsOf = Callable[[dict[str, Any]], list[str]]


@pytest.mark.parametrize(("victims", "has"), [("report", 5), ("train", 8)])
def test_more_victims_than_there_are_images_are_noted(sweep_of: Callable[..., Sweep], victims: str, has: int) -> None:
    """Each of the 6 people has `has` images in that split."""
    private = {"name": "synthetic_faces", "identities": 6, "train_images": 8, "report_images": 5}

    def noted(attack: str, each: int) -> list[str]:
        protocol = {"identities": 4, "images_per_identity": each, "victims": victims}
        sweep = sweep_of({"attack": attack, "private": private, "protocol": protocol})
        return [note for note in sweep.notes if "protocol" in note]

    images = 6 * has
    assert noted("inversion_model", images // 4 + 1) == [
        f"setups[0].protocol: inverts {4 * (images // 4 + 1)} observed images (4 identities x {images // 4 + 1}), the "
        f"{victims} split has {images}: some are inverted and counted more than once; lower images_per_identity"
    ]
    assert noted("inversion_model", images // 4) == [] and noted("gmi", 1000) == [], "it observes nothing"


def keys_of(sweep: Sweep) -> list[list[str]]:
    return [[str(r.key) for r in c.recipes.scores.walk()] for c in sweep.cells]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"defenses": ["midree"]}, "defenses[0]: unknown defense 'midree'; did you mean 'midre'?"),
        ({"defenses": ["none", "midre+nsl"]}, "defenses[1]: unknown defense 'nsl'; did you mean 'nls'?"),
        ({"setup": {"attack": "gim"}}, "setups[0].attack: unknown attack 'gim'; did you mean 'gmi'?"),
        (
            {"setup": {"architecture": "vgg16tiny"}},
            "setups[0].architecture: unknown architecture 'vgg16tiny'; did you mean 'vgg16_tiny'?",
        ),
        (
            {"setup": {"evaluator": "resnet18tiny"}},
            "setups[0].evaluator: unknown architecture 'resnet18tiny'; did you mean 'resnet18_tiny'?",
        ),
        (
            {"setup": {"private": "synthetic_face"}},
            "setups[0].private: unknown dataset 'synthetic_face'; did you mean 'synthetic_faces'?",
        ),
        ({"setup": {"public": "image_foldr"}}, "setups[0].public: unknown dataset 'image_foldr'; did you mean"),
        ({"profile": "smok"}, "profile: unknown profile 'smok'; did you mean 'smoke'?"),
        ({"setup": {"attack": "gmi:kedmy"}}, "attack 'gmi' has no preset 'kedmy'; did you mean 'kedmi'?"),
    ],
    ids=["defense", "in_stack", "attack", "architecture", "evaluator", "private", "public", "profile", "preset"],
)
def test_an_unknown_name_is_answered_with_the_nearest(
    spec: Spec, change: dict[str, Any], expected: str, problems_of: ProblemsOf
) -> None:
    (problem,) = problems_of(spec(**change))
    assert expected in problem


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"defenses": ["midre(area_hi=0.3)"]}, "defense 'midre' has no parameter 'area_hi'; did you mean 'area_high'?"),
        (
            {"setup": {"attack": {"name": "gmi", "iteration": 3}}},
            "attack 'gmi' has no parameter 'iteration'; did you mean 'iterations'?",
        ),
        (
            {"setup": {"private": {"name": "synthetic_faces", "identites": 12}}},
            "dataset 'synthetic_faces' has no parameter 'identites'; did you mean 'identities'?",
        ),
        ({"training": {"epoch": 3}}, "training has no field 'epoch'; did you mean 'epochs'?"),
        (
            {"evaluator_training": {"batchsize": 3}},
            "evaluator_training: training has no field 'batchsize'; did you mean 'batch_size'?",
        ),
        ({"setup": {"attack": {"name": "gmi", "prior": {"widht": 3}}}}, "prior.widht"),
    ],
    ids=["defense", "attack", "dataset", "training", "evaluator_training", "prior"],
)
def test_a_misspelt_parameter_is_answered_with_the_nearest(
    spec: Spec, change: dict[str, Any], expected: str, problems_of: ProblemsOf
) -> None:
    found = problems_of(spec(**change))
    assert len(found) == 1 and expected in found[0], found


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"defenses": ["midre(area_high=much)"]}, "defense 'midre', area_high: Input should be a valid number"),
        ({"defenses": ["midre(area_high=2)"]}, "needs 0 <= area_low <= area_high < 1, got (0.1, 2.0)"),
        ({"defenses": ["midre(0.3)"]}, "'midre(0.3)', character 7: cannot read '0.3'; write parameter=value"),
        ({"defenses": ["midre("]}, "cannot read defense 'midre('"),
        (
            {"defenses": [{"area_high": 0.3}]},
            "sweep.yaml.defenses[0]: write a name, name(parameter=value)",
        ),
        ({"setup": {"attack": "gmi(iterations=2.5)"}}, "attack 'gmi', iterations: Input should be a valid integer"),
        ({"training": {"epochs": "many"}}, "training.epochs: Input should be a valid integer"),
        ({"training": {"epochs": 0}}, "needs epochs >= 1"),
        ({"training": {"learning_rate": float("nan")}}, "training.learning_rate: Input should be a finite number"),
        ({"seeds": ["one"]}, "sweep.yaml.seeds[0]: Input should be a valid integer"),
        ({"seeds": []}, "sweep.yaml.seeds: List should have at least 1 item"),
        ({"setups": []}, "sweep.yaml.setups: List should have at least 1 item"),
        ({"name": "two words"}, "sweep.yaml.name: String should match pattern"),
        ({"setup": {"resolution_px": 2}}, "sweep.yaml.setups[0].resolution_px: Input should be greater than"),
        ({"setup": {"protocol": {"identities": 0}}}, "sweep.yaml.setups[0].protocol.identities: Input should be"),
    ],
)
def test_a_wrong_value_says_what_was_expected(
    spec: Spec, change: dict[str, Any], expected: str, problems_of: ProblemsOf
) -> None:
    (problem,) = problems_of(spec(**change))
    assert expected in problem


def test_everything_wrong_is_said_at_once(spec: Spec, problems_of: ProblemsOf) -> None:
    data = spec(
        {"attack": ["gim", "gmi(iteration=3)"], "evaluator": "resnet99"},
        defenses=["midree", "midre(area_hi=1,sampler=none)", "nls", "nls"],
        seeds=[0, 0],
        training={"epoch": 1, "batch_size": 1},
    )
    found = problems_of(data)
    assert len(found) == 10, "\n".join(found)
    with pytest.raises(SpecError, match=r"^10 problems:\n  1\. ") as caught:
        resolve(parse_spec(data))
    assert all(f"\n  {i}. " in str(caught.value) for i in range(1, 11))


def test_two_owners_of_the_criterion_clash(spec: Spec, extra_defenses: None, problems_of: ProblemsOf) -> None:
    (problem,) = problems_of(spec(defenses=["nls+own_loss"]))
    assert problem == (
        "defenses[0]: defense 'nls+own_loss': nls and own_loss both replace the criterion; a stack can hold one of them"
    )


def test_one_defense_twice_in_a_stack(spec: Spec, problems_of: ProblemsOf) -> None:
    found = problems_of(spec(defenses=["midre+midre"]))
    assert found == ["defenses[0]: defense 'midre+midre': midre stands twice in one stack; give it once"]


@pytest.mark.parametrize("twice", [["midre", "midre"], ["midre", "midre(area_high=0.4)"], ["nls", {"name": "nls"}]])
def test_a_defense_listed_twice(spec: Spec, twice: list[Any], problems_of: ProblemsOf) -> None:
    name = "nls" if "nls" in twice else "midre"
    assert problems_of(spec(defenses=twice)) == [f"defenses: {name} is listed twice"]


def test_a_seed_twice(spec: Spec, problems_of: ProblemsOf) -> None:
    assert problems_of(spec(seeds=[0, 1, 0])) == ["seeds: [0, 1, 0] holds a seed twice"]


assert SMOKE.small is not None
BUDGET = ATTACKS.get("gmi").small(SMOKE.small)


def params_of(sweep: Sweep) -> dict[str, Any]:
    return dict(sweep.cells[0].cell.setup.attack.params)


def test_the_profile_fills_in_what_is_left_open(sweep_of: Callable[..., Sweep]) -> None:
    params, budget = params_of(sweep_of()), BUDGET
    assert params["iterations"] == budget["iterations"] != params_of(sweep_of({"attack": "gmi:orig"}))["iterations"]
    assert {k: params["prior"][k] for k in budget["prior"]} == budget["prior"]
    setup = sweep_of({"private": None, "public": None, "protocol": {"identities": 7}}).cells[0].cell.setup
    assert (setup.architecture.name, setup.evaluator.name) == (SMOKE.architecture, SMOKE.evaluator)
    assert setup.resolution_px == SMOKE.resolution_px
    assert setup.private.params["identities"] == SMOKE.private["identities"]
    assert setup.protocol.identities == 7
    assert setup.protocol.images_per_identity == SMOKE.protocol["images_per_identity"]


def test_what_the_user_writes_wins_also_inside_the_prior(sweep_of: Callable[..., Sweep]) -> None:
    params = params_of(sweep_of({"attack": {"name": "gmi", "iterations": 3, "prior": {"steps": 4}}}))
    budget = BUDGET["prior"]
    assert params["iterations"] == 3 and params["prior"]["steps"] == 4
    assert params["prior"]["width"] == budget["width"] and params["prior"]["latent_dim"] == budget["latent_dim"]


QUERY_TIME = """
name: query-time
profile: {profile}
setups:
  - id: yang
    attack:
      name: inversion_model
      prior: {{width: 12, epochs: 3, blocks: 6, loss: psnr, half: second, answers: noise, answer_noise: 0.01}}
    private: &private {{name: synthetic_faces, identities: 8}}
    public: &public {{name: synthetic_faces, population: public, identities: 8}}
    protocol: &protocol {{identities: 5, images_per_identity: 400, victims: train, judge: target}}
  - id: ddpm
    attack: {{name: diffusion_inverter, guidance: 2, prior: {{width: 24, epochs: 4, half: first, answers: softmax}}}}
    private: *private
    public: *public
    protocol: *protocol
defenses: [none]
seeds: [0]
metrics: [standard, judges]
"""


@pytest.mark.parametrize("profile", ["mini", "small"])
def test_attackers_of_answers_and_their_protocol_are_as_they_were_written(profile: str, tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(QUERY_TIME.format(profile=profile))
    recipes = {c.cell.setup.id: c.recipes for c in resolve(read_spec(tmp_path / "sweep.yaml")).cells}
    written = {
        "yang": {"width": 12, "epochs": 3, "blocks": 6, "loss": "psnr", "half": "second", "answers": "noise"},
        "ddpm": {"width": 24, "epochs": 4, "half": "first", "answers": "softmax"},
    }
    for name, wanted in written.items():
        attacked = recipes[name].reconstructions
        inverter = attacked.inputs["inverter"].params["params"]
        assert {field: inverter[field] for field in wanted} == wanted
        assert (attacked.params["victims"], attacked.params["images_per_identity"]) == ("train", 400)
        assert recipes[name].scores.params["protocol"]["judge"] == "target"
        assert {"attack_accuracy_by_target", "attack_accuracy_by_evaluator"} <= set(
            recipes[name].scores.params["metrics"]
        )
    assert recipes["yang"].reconstructions.inputs["inverter"].params["params"]["answer_noise"] == 0.01
    assert recipes["ddpm"].reconstructions.params["attack"]["params"]["guidance"] == 2
    assert recipes["ddpm"].reconstructions.inputs["inverter"].params["params"]["noise_steps"] == 50, "of the profile"


def test_a_preset_is_taken_whole_without_the_profile_s_budget(sweep_of: Callable[..., Sweep]) -> None:
    params = params_of(sweep_of({"attack": "gmi:orig"}))
    assert params["iterations"] == 1500
    assert params["prior"]["steps"] != BUDGET["prior"]["steps"]


def test_training_overrides_the_profile_field_by_field(sweep_of: Callable[..., Sweep]) -> None:
    sweep = sweep_of(training={"epochs": 3}, evaluator_training={"epochs": 2})
    recipes = sweep.cells[0].recipes
    target, evaluator = recipes.target.params["training"], recipes.evaluator.params["training"]
    assert target["epochs"] == 3 and target["optimizer"] == SMOKE.training["optimizer"]
    assert evaluator["epochs"] == 2 and evaluator["batch_size"] == SMOKE.evaluator_training["batch_size"]


def test_labels_show_what_a_person_wrote_not_the_budget(sweep_of: Callable[..., Sweep]) -> None:
    sweep = sweep_of(
        {"attack": ["gmi", "gmi(iterations=7)"], "id": ""},
        defenses=["none", "midre", "midre(area_high=0.3)+nls"],
    )
    assert {c.cell.setup.attack.label for c in sweep.cells} == {"gmi", "gmi(iterations=7)"}
    assert {c.cell.defense.label for c in sweep.cells} == {"none", "midre", "midre(area_high=0.3)+nls"}
    assert {c.cell.setup.id for c in sweep.cells} == {
        "gmi-vgg16_tiny-synthetic_faces",
        "gmi_iterations=7-vgg16_tiny-synthetic_faces",
    }


def test_ids_of_lists(sweep_of: Callable[..., Sweep]) -> None:
    sweep = sweep_of({"attack": ["gmi", "brep_mi"], "architecture": ["vgg16_tiny", "vgg16"]})
    assert {c.cell.setup.id for c in sweep.cells} == {
        f"{attack}-faces-{network}" for attack in ("gmi", "brep_mi") for network in ("vgg16_tiny", "vgg16")
    }


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"training": {"learning_rate": 1}}, {"training": {"learning_rate": 1.0}}),
        ({"training": {"epochs": 2}}, {"training": {"epochs": "2"}}),
        ({"defenses": ["midre(area_low=0)"]}, {"defenses": [{"name": "midre", "area_low": 0.0}]}),
        ({"setup": {"attack": "gmi(clamp=1)"}}, {"setup": {"attack": {"name": "gmi", "clamp": 1.0}}}),
        ({"defenses": ["midre"]}, {"defenses": ["midre(area_high=0.4)"]}),
        ({"seeds": [1]}, {"seeds": [1.0]}),
    ],
    ids=["rate", "text", "defense", "attack", "default", "seed"],
)
def test_equal_values_have_equal_keys(
    sweep_of: Callable[..., Sweep], one: dict[str, Any], other: dict[str, Any]
) -> None:
    first, second = sweep_of(**one), sweep_of(**other)
    assert keys_of(first) == keys_of(second)
    assert first.digest == second.digest


@pytest.mark.parametrize(
    "change",
    [{"training": {"epochs": 3}}, {"seeds": [5]}, {"setup": {"protocol": {"identities": 3, "images_per_identity": 2}}}],
    ids=["training", "seed", "protocol"],
)
def test_what_changes_a_result_changes_its_key(sweep_of: Callable[..., Sweep], change: dict[str, Any]) -> None:
    assert keys_of(sweep_of(**change))[0][-1] != keys_of(sweep_of())[0][-1]


def test_machines_never_enter_a_key(
    spec: Spec, own_images: dict[str, Any], write_yaml: Yaml, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:

    path = write_yaml(own_images)
    plain = resolve(read_spec(path))
    other = replace(SMOKE, cpus=8, gpus={"target": 1.0}, train_workers=4)
    monkeypatch.setitem(profiles.PROFILES, "smoke", other)
    assert keys_of(resolve(read_spec(path))) == keys_of(plain)
    written = [r.as_plain() for r in plain.cells[0].recipes.scores.walk()]
    assert str(tmp_path) not in str(written) and "train_workers" not in str(written)


def test_a_named_training_recipe_replaces_the_budget_of_the_profile() -> None:
    spec = {"name": "t", "setups": [{"attack": "gmi"}], "defenses": ["none"]}
    planned = resolve(parse_spec({**spec, "training": {"preset": "bido-vgg16", "epochs": 3}})).cells[0]
    training = planned.recipes.target.params["training"]
    assert (training["optimizer"], training["learning_rate"], training["epochs"]) == ("adam", 1e-4, 3)
    assert training["schedule"] == "constant", "the profile's cosine is not part of the published recipe"


PRETRAINED = {"name": "t", "setups": [{"attack": "gmi", "pretraining": "synthetic_faces(seed=1,identities=30)"}]}


def test_a_pretrained_backbone_is_one_artifact_for_all_defenses_and_seeds() -> None:
    sweep = resolve(parse_spec({**PRETRAINED, "defenses": ["none", "midre", "loft"], "seeds": [0, 1]}))
    backbones = {c.recipes.target.inputs["backbone"].key for c in sweep.cells}
    assert len(backbones) == 1
    assert all("pre-trained on synthetic_faces" in c.cell.setup.target for c in sweep.cells)
    fresh = resolve(parse_spec({**PRETRAINED, "setups": [{"attack": "gmi"}], "defenses": ["none"]}))
    assert "backbone" not in fresh.cells[0].recipes.target.inputs
    assert fresh.cells[0].cell.digest != sweep.cells[0].cell.digest


def test_two_defenses_with_one_slot_are_refused_while_planning() -> None:
    with pytest.raises(SpecError) as caught:
        resolve(parse_spec({"name": "t", "setups": [{"attack": "gmi"}], "defenses": ["nls+cutmix", "loft+mid"]}))
    assert "nls and cutmix both replace the criterion" in str(caught.value)
    assert "loft and mid both replace the head" in str(caught.value)


def test_a_backbone_can_have_a_training_of_its_own() -> None:
    sweep = resolve(parse_spec({**PRETRAINED, "defenses": ["none"], "pretraining_training": {"epochs": 3}}))
    target = sweep.cells[0].recipes.target
    assert target.inputs["backbone"].params["training"] == {**target.params["training"], "epochs": 3}
    with pytest.raises(SpecError, match="training has no field 'epoch'"):
        resolve(parse_spec({**PRETRAINED, "defenses": ["none"], "pretraining_training": {"epoch": 3}}))
