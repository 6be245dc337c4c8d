"""A specification is checked as a whole: every problem at once, with the place and the nearest valid name."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from midef.attacks import ATTACKS
from midef.core import PreflightError, SpecError
from midef.sweep.catalogue import named_sweeps, read_spec
from midef.sweep.spec import profiles
from midef.sweep.spec.profiles import SMOKE
from midef.sweep.spec.schema import Sweep, parse_spec, resolve

Spec = Callable[..., dict[str, Any]]
Yaml = Callable[..., Path]


def problems_of(data: dict[str, Any]) -> list[str]:
    with pytest.raises(SpecError) as caught:
        resolve(parse_spec(data, "sweep.yaml"))
    assert caught.value.exit_code == (3 if isinstance(caught.value, PreflightError) else 2)
    return caught.value.problems


# --- names and parameters ---------------------------------------------------------------------------------------------


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
def test_an_unknown_name_is_answered_with_the_nearest(spec: Spec, change: dict[str, Any], expected: str) -> None:
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
def test_a_misspelt_parameter_is_answered_with_the_nearest(spec: Spec, change: dict[str, Any], expected: str) -> None:
    found = problems_of(spec(**change))
    assert len(found) == 1 and expected in found[0], found


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"defenses": ["midre(area_high=much)"]}, "defense 'midre', area_high: Input should be a valid number"),
        ({"defenses": ["midre(area_high=2)"]}, "needs 0 <= area_low <= area_high < 1, got (0.1, 2.0)"),
        (
            {"defenses": ["midre(0.3)"]},
            "'midre(0.3)', character 7: cannot read '0.3'; write parameter=value",
        ),
        ({"defenses": ["midre("]}, "cannot read defense 'midre('"),
        ({"defenses": [{"area_high": 0.3}]}, "a defense needs a 'name'"),
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
def test_a_wrong_value_says_what_was_expected(spec: Spec, change: dict[str, Any], expected: str) -> None:
    (problem,) = problems_of(spec(**change))
    assert expected in problem


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"defences": ["none"]}, "sweep.yaml.defences: unknown field; did you mean 'defenses'?"),
        (
            {"setup": {"architectures": "vgg16"}},
            "sweep.yaml.setups[0].architectures: unknown field; did you mean 'architecture'?",
        ),
        (
            {"setup": {"protocol": {"identites": 3}}},
            "sweep.yaml.setups[0].protocol.identites: unknown field; did you mean 'identities'?",
        ),
        ({"zzz": 1}, "sweep.yaml.zzz: unknown field; known: defenses, evaluator_training, front, match, name"),
    ],
    ids=["sweep", "setup", "protocol", "nothing_near"],
)
def test_a_misspelt_key_of_the_file_is_answered_with_the_nearest(
    spec: Spec, change: dict[str, Any], expected: str
) -> None:
    (problem,) = problems_of(spec(**change))
    assert expected in problem


def test_a_missing_key_is_named(spec: Spec) -> None:
    data = spec()
    del data["name"]
    assert "sweep.yaml.name: Field required" in problems_of(data)[0]


def test_everything_wrong_is_said_at_once(spec: Spec) -> None:
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


def test_schema_problems_are_said_at_once(spec: Spec) -> None:
    data = spec({"protocol": {"identites": 3}, "resolution_px": "big"}, defences=[], seeds=["x"])
    assert len(problems_of(data)) == 4


# --- combinations -----------------------------------------------------------------------------------------------------


def test_two_owners_of_the_criterion_clash(spec: Spec, extra_defenses: None) -> None:
    (problem,) = problems_of(spec(defenses=["nls+own_loss"]))
    assert problem == (
        "defenses[0]: defense 'nls+own_loss': nls and own_loss both replace the criterion; a stack can hold one of them"
    )


def test_one_defense_twice_in_a_stack(spec: Spec) -> None:
    found = problems_of(spec(defenses=["midre+midre"]))
    assert found == ["defenses[0]: defense 'midre+midre': midre stands twice in one stack; give it once"]


@pytest.mark.parametrize("twice", [["midre", "midre"], ["midre", "midre(area_high=0.4)"], ["nls", {"name": "nls"}]])
def test_a_defense_listed_twice(spec: Spec, twice: list[Any]) -> None:
    name = "nls" if "nls" in twice else "midre"
    assert problems_of(spec(defenses=twice)) == [f"defenses: {name} is listed twice"]


def test_a_seed_twice(spec: Spec) -> None:
    assert problems_of(spec(seeds=[0, 1, 0])) == ["seeds: [0, 1, 0] holds a seed twice"]


def test_two_setups_of_one_id(spec: Spec) -> None:
    data = spec()
    data["setups"] *= 2
    assert problems_of(data) == ["setups: two setups have the id 'faces'; give each its own"]


def test_an_evaluator_of_the_same_family(spec: Spec) -> None:
    (problem,) = problems_of(spec({"architecture": "resnet18_tiny"}))
    assert "setups[0]: the evaluator resnet18_tiny is of the target's family (resnet)" in problem
    assert "choose an evaluator of another family" in problem


def test_private_and_public_are_the_same_set(spec: Spec) -> None:
    same = {"name": "synthetic_faces", "identities": 12}
    (problem,) = problems_of(spec({"private": same, "public": same}))
    assert problem.startswith("setups[0]: private and public data are the same set;")


def test_public_data_cannot_be_private(spec: Spec) -> None:
    public = {"name": "synthetic_faces", "population": "public", "seed": 3}
    (problem,) = problems_of(spec({"private": public}))
    assert "setups[0].private: private data needs identities (labelled: true); this set has none" in problem


def test_more_identities_than_the_set_has(spec: Spec) -> None:
    (problem,) = problems_of(spec({"protocol": {"identities": 13}}))
    assert problem == (
        "setups[0].private: the protocol attacks 13 identities, the set has 12; set protocol.identities to at most 12"
    )


def test_a_profile_without_data_asks_for_some(spec: Spec) -> None:
    found = problems_of(spec({"private": None, "public": None}, profile="paper"))
    assert [f.partition(":")[0] for f in found] == ["setups[0].private", "setups[0].public"]
    assert "no data set given, and the profile has none; name one: image_folder with a path" in found[0]


def test_a_resolution_the_network_cannot_take(spec: Spec) -> None:
    found = problems_of(spec({"resolution_px": 16}))
    assert found == ["setups[0].architecture: five poolings need at least 32 px, got 16; raise resolution_px"]


# --- data on this machine ---------------------------------------------------------------------------------------------


def test_synthetic_people_both_private_and_public(spec: Spec) -> None:
    """Forgetting `population: public` would hand the attacker the private images."""
    (problem,) = problems_of(spec({"public": {"name": "synthetic_faces", "identities": 600}}))
    assert "both private and public, for example person" in problem


def test_a_missing_folder_is_a_matter_of_this_machine(spec: Spec, tmp_path: Path) -> None:
    data = spec({"private": {"name": "image_folder", "path": str(tmp_path / "nowhere")}})
    (problem,) = problems_of(data)
    assert problem.startswith("setups[0].private: image_folder: no such file or folder")
    assert str(tmp_path / "nowhere") in problem
    with pytest.raises(PreflightError) as caught:
        resolve(parse_spec(data))
    assert caught.value.exit_code == 3


def test_all_that_is_missing_is_said_at_once(spec: Spec, tmp_path: Path) -> None:
    roles = {role: {"name": "image_folder", "path": str(tmp_path / role)} for role in ("private", "public")}
    assert len(problems_of(spec(roles))) == 2


def test_a_class_with_one_image(spec: Spec, make_tree: Callable[..., Path]) -> None:
    folder = make_tree("people", {"ada": 6, "bob": 1, "cyd": 6})
    (problem,) = problems_of(spec({"private": {"name": "image_folder", "path": str(folder), "min_images": 1}}))
    assert "too few images" in problem and "bob (1)" in problem and "raise min_images to leave them out" in problem


def test_images_both_private_and_public(spec: Spec, make_tree: Callable[..., Path]) -> None:
    private = make_tree("private", {"ada": 6, "bob": 6})
    public = make_tree("public", {"others": 6}, seed=9)
    shutil.copy(private / "ada" / "0.png", public / "others" / "stolen.png")
    shutil.copy(private / "bob" / "3.png", public / "others" / "another.png")
    data = spec(
        {
            "private": {"name": "image_folder", "path": str(private)},
            "public": {"name": "image_folder", "path": str(public), "labelled": False},
            "protocol": {"identities": 2},
        }
    )
    (problem,) = problems_of(data)
    assert "setups[0]: 2 images or people are both private and public, for example " in problem
    assert problem.endswith("; remove them from the public set")
    for name in ("stolen.png", "another.png"):
        (public / "others" / name).unlink()
    assert len(resolve(parse_spec(data)).cells) == 1


# --- files and overrides ----------------------------------------------------------------------------------------------


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"no such file .*gone\.yaml; give a YAML file or one of: .*smoke"):
        read_spec(tmp_path / "gone.yaml")


def test_a_named_sweep_that_does_not_exist() -> None:
    with pytest.raises(SpecError, match=r"unknown sweep 'smokee'; did you mean 'smoke'\? Known: .*, or a YAML file"):
        read_spec("smokee")


def test_a_file_that_is_no_yaml(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("name: [unclosed\nseeds: }")
    with pytest.raises(SpecError, match=r"bad\.yaml cannot be read as YAML: (?s:.*)line 2"):
        read_spec(tmp_path / "bad.yaml")


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(SpecError, match=r"bad\.yaml cannot be read as YAML"):
        read_spec(tmp_path / "bad.yaml")


@pytest.mark.parametrize(("text", "kind"), [("- a\n- b\n", "list"), ("", "NoneType"), ("hello", "str")])
def test_a_file_that_holds_no_mapping(tmp_path: Path, text: str, kind: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(SpecError, match=f"must hold a mapping with name, setups, defenses; it holds {kind}"):
        read_spec(tmp_path / "bad.yaml")


def test_every_named_sweep_resolves_or_says_what_is_missing() -> None:
    for name in named_sweeps():
        assert resolve(read_spec(name)).name == name


def test_a_named_sweep_takes_overrides() -> None:
    assert len(resolve(read_spec("smoke", ["seeds=[7]", "defenses=[none]"])).cells) == 1


@pytest.mark.parametrize(
    ("override", "found"),
    [
        ("seeds=[3, 4]", lambda s: s.seeds == [3, 4]),
        ("setups.0.protocol.identities=3", lambda s: s.setups[0].protocol.identities == 3),
        ("setups.0.attack=[gmi, brep_mi]", lambda s: s.setups[0].attack == ["gmi", "brep_mi"]),
        ("training.epochs=2", lambda s: s.training == {"epochs": 2}),
        ("defenses.0=midre(area_high=0.3)", lambda s: s.defenses == ["midre(area_high=0.3)"]),
        ("setups.0.private.name=synthetic_faces", lambda s: s.setups[0].private["name"] == "synthetic_faces"),
    ],
)
def test_overrides(spec: Spec, write_yaml: Yaml, override: str, found: Callable[[Any], bool]) -> None:
    assert found(read_spec(write_yaml(spec()), [override]))


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("seeds", r"cannot read --set 'seeds'; write key\.path=value"),
        ("setups.one.id=x", r"--set 'setups\.one\.id=x' does not fit the specification"),
        ("setups.4.id=x", r"--set 'setups\.4\.id=x' does not fit the specification"),
        ("name.first=x", r"--set 'name\.first=x' does not fit the specification"),
        ("seeds=[1", r"--set 'seeds=\[1' does not fit the specification"),
        ("sedes=[1]", r"sweep\.yaml\.sedes: unknown field; did you mean 'seeds'\?"),
    ],
)
def test_bad_overrides(spec: Spec, write_yaml: Yaml, override: str, expected: str) -> None:
    with pytest.raises(SpecError, match=expected):
        read_spec(write_yaml(spec()), [override])


def folders_of(sweep: Sweep) -> set[str]:
    return {where["path"] for where in sweep.locations.values()}


@pytest.fixture
def own_images(spec: Spec, make_tree: Callable[..., Path]) -> dict[str, Any]:
    """A specification whose data sets lie in `data/`, relative to its file."""
    make_tree("data/private", {"ada": 6, "bob": 6})
    make_tree("data/public", {"others": 6}, seed=9)
    return spec(
        {
            "private": {"name": "image_folder", "path": "data/private"},
            "public": {"name": "image_folder", "path": "data/public", "labelled": False},
            "protocol": {"identities": 2},
        }
    )


def test_paths_are_relative_to_the_file(
    own_images: dict[str, Any], write_yaml: Yaml, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_yaml(own_images)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    sweep = resolve(read_spec(path))
    assert folders_of(sweep) == {str(tmp_path / "data" / "private"), str(tmp_path / "data" / "public")}


# --- the profile's budget ---------------------------------------------------------------------------------------------


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


def test_a_preset_is_taken_whole_without_the_profile_s_budget(sweep_of: Callable[..., Sweep]) -> None:
    params = params_of(sweep_of({"attack": "gmi:orig"}))
    assert params["iterations"] == 1500
    assert params["prior"]["steps"] != BUDGET["prior"]["steps"]


def test_training_overrides_the_profile_field_by_field(sweep_of: Callable[..., Sweep]) -> None:
    sweep = sweep_of(training={"epochs": 3}, evaluator_training={"epochs": 2})
    recipes = sweep.cells[0].recipes
    target, evaluator = recipes.target.params["training"], recipes.evaluator.params["training"]
    assert target["epochs"] == 3 and target["optimizer"] == SMOKE.training["optimizer"]
    assert evaluator["epochs"] == 2 and evaluator["jitter_px"] == SMOKE.evaluator_training["jitter_px"]


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


# --- keys -------------------------------------------------------------------------------------------------------------


def keys_of(sweep: Sweep) -> list[list[str]]:
    return [[str(r.key) for r in c.recipes.scores.walk()] for c in sweep.cells]


def test_moving_the_data_keeps_every_key(own_images: dict[str, Any], write_yaml: Yaml, tmp_path: Path) -> None:
    before = resolve(read_spec(write_yaml(own_images)))
    shutil.move(tmp_path / "data", tmp_path / "moved" / "data")
    after = resolve(read_spec(write_yaml(own_images, "moved/sweep.yaml")))
    assert keys_of(after) == keys_of(before)
    assert [c.cell.digest for c in after.cells] == [c.cell.digest for c in before.cells]
    assert after.digest == before.digest
    assert folders_of(after).isdisjoint(folders_of(before))


def test_a_changed_image_changes_its_split_and_what_depends_on_it(
    own_images: dict[str, Any], write_yaml: Yaml, tmp_path: Path
) -> None:
    path = write_yaml(own_images)
    before = resolve(read_spec(path)).cells[0].recipes
    Image.new("RGB", (8, 8), "red").save(tmp_path / "data" / "private" / "ada" / "0.png")
    after = resolve(read_spec(path)).cells[0].recipes
    for role in ("private", "target", "evaluator", "reconstructions", "scores"):
        assert getattr(after, role).key != getattr(before, role).key, role
    assert after.public.key == before.public.key
    assert after.reconstructions.inputs["prior"].key == before.reconstructions.inputs["prior"].key


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
    from dataclasses import replace

    from midef.sweep.spec import profiles

    path = write_yaml(own_images)
    plain = resolve(read_spec(path))
    other = replace(SMOKE, cpus=8, gpus={"target": 1.0}, train_workers=4)
    monkeypatch.setitem(profiles.PROFILES, "smoke", other)
    assert keys_of(resolve(read_spec(path))) == keys_of(plain)
    written = [r.as_plain() for r in plain.cells[0].recipes.scores.walk()]
    assert str(tmp_path) not in str(written) and "train_workers" not in str(written)


def test_a_resolution_the_generator_cannot_draw_is_refused_while_planning() -> None:
    with pytest.raises(SpecError, match=r"setups\[0\]\.attack: wgan_gp draws 8, 16, 32, 64, \.\.\. px, not 48"):
        resolve(parse_spec({"name": "odd", "setups": [{"attack": "gmi", "resolution_px": 48}], "defenses": ["none"]}))


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


@pytest.mark.parametrize(
    ("pretraining", "problem"),
    [
        ("synthetic_faces(population=public)", "pre-training needs identities"),
        ("synthetic_faces(identities=120,difficulty=0.2)", "pre-training and private data are the same set"),
        ("synthetic_faces(identities=50)", "50 images or people are also private"),
    ],
)
def test_refuses_pretraining_without_labels_or_on_private_people(pretraining: str, problem: str) -> None:
    setups = [{"attack": "gmi", "pretraining": pretraining}]
    with pytest.raises(SpecError, match=problem):
        resolve(parse_spec({"name": "t", "setups": setups, "defenses": ["none"]}))


@pytest.mark.parametrize(
    ("defense", "architecture", "evaluator", "reason"),
    [
        ("rolss", "vgg16_tiny", "resnet18_tiny", "skip"),
        ("ssf", "vgg16_tiny", "resnet18_tiny", "skip"),
        ("dp_sgd", "vgg16_tiny", "resnet18_tiny", "dp_sgd(batch_norm=group)"),
        ("tl_dmi", "vgg16_tiny", "resnet18_tiny", "pretraining"),
        ("tl_dmi(share=1,fresh=true)+bido", "vgg16_tiny", "resnet18_tiny", "trainable tap"),
    ],
)
def test_a_defense_that_cannot_work_is_refused_while_planning(
    defense: str, architecture: str, evaluator: str, reason: str
) -> None:
    setups = [{"attack": "gmi", "architecture": architecture, "evaluator": evaluator}]
    sweep = resolve(parse_spec({"name": "t", "setups": setups, "defenses": ["none", defense]}))
    assert sweep.cells[0].refused == ""
    assert reason in sweep.cells[1].refused


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


def test_what_trains_in_one_process_is_refused_where_the_profile_trains_in_several(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(profiles.PROFILES, "smoke", replace(SMOKE, train_workers=2))
    sweep = resolve(parse_spec({"name": "t", "setups": [{"attack": "gmi"}], "defenses": ["midre", "midre+trap_mid"]}))
    assert [bool(c.refused) for c in sweep.cells] == [False, True]
    assert "trains in one process, profile smoke trains in 2" in sweep.cells[1].refused


def test_thumbnails_among_the_private_images_are_told_by_name_and_size(spec: Spec, tmp_path: Path) -> None:
    """FFHQ's files are known by name, not content: beside another data set, name and size must do."""
    for i in range(24):
        for folder in (tmp_path / "ffhq", tmp_path / "people" / ("ada" if i < 12 else "bob")):
            folder.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (128, 128), (i, 2 * i, 3 * i)).save(folder / f"{i:05d}.png")
    data = spec(
        {
            "private": {"name": "image_folder", "path": str(tmp_path / "people")},
            "public": {"name": "ffhq_thumbnails", "path": str(tmp_path / "ffhq")},
            "protocol": {"identities": 2},
        }
    )
    (problem,) = problems_of(data)
    assert "24 images or people are both private and public" in problem
    shutil.rmtree(tmp_path / "ffhq")
    (tmp_path / "ffhq").mkdir()
    for i in range(100, 112):
        Image.new("RGB", (128, 128), (i, 0, 0)).save(tmp_path / "ffhq" / f"{i:05d}.png")
    assert len(resolve(parse_spec(data)).cells) == 1


# --- published weights ------------------------------------------------------------------------------------------------


def test_weights_that_are_not_here_or_do_not_exist_are_said_before_anything_starts(
    spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIDEF_WEIGHTS", str(tmp_path))
    (problem,) = problems_of(spec({"architecture": "vgg16", "weights": "imagenet"}))
    assert "setups[0].weights: imagenet weights of vgg16: no file vgg16_bn-" in problem and "put it there" in problem
    (problem,) = problems_of(spec({"architecture": "vgg16", "weights": "imagnet"}))
    assert "did you mean 'imagenet'?" in problem
    both = {"architecture": "vgg16", "weights": "imagenet", "pretraining": {"name": "synthetic_faces", "seed": 3}}
    assert any("give pretraining or weights, not both" in problem for problem in problems_of(spec(both)))


def test_a_damaged_file_of_weights_is_read_once_and_refused(
    spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from midef.models import pretrained

    monkeypatch.setenv("MIDEF_WEIGHTS", str(tmp_path))
    (tmp_path / "vgg16_bn-6c64b313.pth").write_bytes(b"not it")
    read: list[Path] = []
    digest = pretrained.sha256_of
    monkeypatch.setattr(pretrained, "sha256_of", lambda path: read.append(path) or digest(path))
    data = spec({"architecture": "vgg16", "weights": "imagenet", "attack": ["gmi", "brep_mi", "mi_face"]})
    problems = problems_of(data)
    assert problems and all("is damaged or another file" in problem for problem in problems) and len(read) == 1


def test_files_that_students_start_from_are_missed_while_planning(
    spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIDEF_WEIGHTS", str(tmp_path))
    students = {"family": "efficientnet", "weights": "imagenet", "count": 2}
    problems = problems_of(spec({"attack": {"name": "lomma_gmi", "students": students}}))
    assert len(problems) == 2 and all("no file efficientnet_b" in problem for problem in problems)


def test_the_best_restart_by_score_needs_scores(spec: Spec) -> None:
    problems = problems_of(spec({"attack": "brep_mi", "protocol": {"counted": "best_by_target"}}))
    assert any("counted best_by_target needs scores, brep_mi sees labels only" in problem for problem in problems)
