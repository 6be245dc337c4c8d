"""Combinations that cannot work are refused while planning, with what to do."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from midef.attacks import ATTACKS
from midef.core import Choice, Protocol, SpecError
from midef.sweep.spec import datasets, profiles
from midef.sweep.spec.checks import Problems, check_attack
from midef.sweep.spec.load import parse_spec
from midef.sweep.spec.profiles import SMOKE
from midef.sweep.spec.resolve import resolve

Spec = Callable[..., dict[str, Any]]
ProblemsOf = Callable[[dict[str, Any]], list[str]]


def test_two_setups_of_one_id(spec: Spec, problems_of: ProblemsOf) -> None:
    data = spec()
    data["setups"] *= 2
    assert problems_of(data) == ["setups: two setups have the id 'faces'; give each its own"]


def test_an_evaluator_of_the_same_family(spec: Spec, problems_of: ProblemsOf) -> None:
    (problem,) = problems_of(spec({"architecture": "resnet18_tiny"}))
    assert "setups[0]: the evaluator resnet18_tiny is of the target's family (resnet)" in problem
    assert "choose an evaluator of another family" in problem


def test_a_judge_is_no_target(spec: Spec, problems_of: ProblemsOf) -> None:
    (problem,) = problems_of(spec({"architecture": "mobilefacenet"}))
    assert problem == (
        "setups[0].architecture: mobilefacenet only judges: it is never a target, a network of an attack or a start of "
        "a training; write evaluator: mobilefacenet, and choose another architecture here"
    )
    both = problems_of(spec({"architecture": "mobilefacenet", "evaluator": "mobilefacenet"}))
    assert both[:1] == [problem] and both[1].startswith("setups[0].evaluator: judges aligned faces of 112 px, got 32")


def test_a_judge_needs_its_file_and_its_resolution(
    spec: Spec, problems_of: ProblemsOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIDEF_WEIGHTS", str(tmp_path))
    (problem,) = problems_of(spec({"evaluator": "mobilefacenet"}))
    assert problem.startswith("setups[0].evaluator: judges aligned faces of 112 px, got 32; set ")
    assert problem.endswith("protocol.evaluator_resolution_px: 112")
    judged = {"evaluator": "mobilefacenet", "protocol": {"identities": 12, "evaluator_resolution_px": 112}}
    (problem,) = problems_of(spec(judged))
    assert problem == (
        f"setups[0].evaluator: ms1m weights of mobilefacenet: no file mobilefacenet.pt in {tmp_path}; get it from "
        "github foamliu/MobileFaceNet, weights/mobilefacenet.pt and put it there, or name another folder in "
        "$MIDEF_WEIGHTS"
    )


def test_what_a_judge_does_not_use_is_not_written(spec: Spec, problems_of: ProblemsOf) -> None:
    protocol = {"identities": 12, "evaluator_resolution_px": 112}
    written = {"evaluator": "mobilefacenet", "evaluator_training": {"epochs": 3}, "protocol": protocol}
    assert (
        "setups[0].evaluator_training: mobilefacenet is not trained and uses nothing of it; remove it"
        in problems_of(spec(written))
    )


def test_a_sweep_of_judges_alone_trains_no_evaluator(
    spec: Spec, problems_of: ProblemsOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIDEF_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(datasets, "place_weights", lambda name, *about: (Choice(name, {"sha256": "0" * 64}), {}))
    protocol = {"identities": 12, "evaluator_resolution_px": 112}
    judged = {**spec({"evaluator": "mobilefacenet", "protocol": protocol}), "evaluator_training": {"epochs": 3}}
    (problem,) = problems_of(judged)
    assert problem == "evaluator_training: mobilefacenet is not trained and uses nothing of it; remove it"
    trained = judged["setups"][0] | {"id": "trained", "evaluator": "resnet18_tiny"}
    sweep = resolve(parse_spec({**judged, "setups": [*judged["setups"], trained]}))
    assert [entry.evaluator_training.epochs for entry in sweep.entries] == [3, 3]


def test_an_attack_names_no_judge() -> None:
    attack = ATTACKS.choose("lomma_gmi")
    problems = Problems()
    advised = replace(attack, params={**attack.params, "students": ["vgg16", "mobilefacenet(head=linear)"]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ATTACKS, "remake", lambda choice: ATTACKS.make("lomma_gmi"))
        check_attack(advised, 64, None, Protocol(identities=2), "setups[0]", problems)
    assert (
        "setups[0].attack: lomma_gmi names mobilefacenet, which only judges; choose another network for the attack"
        in problems
    )


def test_private_and_public_are_the_same_set(spec: Spec, problems_of: ProblemsOf) -> None:
    same = {"name": "synthetic_faces", "identities": 12}
    (problem,) = problems_of(spec({"private": same, "public": same}))
    assert problem.startswith("setups[0]: private and public data are the same set;")


def test_public_data_cannot_be_private(spec: Spec, problems_of: ProblemsOf) -> None:
    public = {"name": "synthetic_faces", "population": "public", "seed": 3}
    (problem,) = problems_of(spec({"private": public}))
    assert "setups[0].private: private data needs identities (labelled: true); this set has none" in problem


def test_more_identities_than_the_set_has(spec: Spec, problems_of: ProblemsOf) -> None:
    (problem,) = problems_of(spec({"protocol": {"identities": 13}}))
    assert problem == (
        "setups[0].private: the protocol attacks 13 identities, the set has 12; set protocol.identities to at most 12"
    )


def test_a_resolution_the_network_cannot_take(spec: Spec, problems_of: ProblemsOf) -> None:
    found = problems_of(spec({"resolution_px": 16}))
    assert found == ["setups[0].architecture: five poolings need at least 32 px, got 16; raise resolution_px"]


def test_a_resolution_that_a_prior_cannot_take_is_refused_while_planning() -> None:
    with pytest.raises(SpecError, match=r"setups\[0\]\.attack: efficientnet needs at least 32 px, not 24"):
        resolve(
            parse_spec(
                {"name": "odd", "setups": [{"attack": "lomma_gmi:lomma", "resolution_px": 24}], "defenses": ["none"]}
            )
        )


def test_synthetic_people_both_private_and_public(spec: Spec, problems_of: ProblemsOf) -> None:
    """Forgetting `population: public` would hand the attacker the private images."""
    (problem,) = problems_of(spec({"public": {"name": "synthetic_faces", "identities": 600}}))
    assert "both private and public: person" in problem


def test_images_both_private_and_public(spec: Spec, make_tree: Callable[..., Path], problems_of: ProblemsOf) -> None:
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
    assert problem == (
        "setups[0]: 2 images or people are both private and public: private/ada/0.png and public/stolen.png are the "
        "same image, private/bob/3.png and public/another.png are the same image; remove them from the public set"
    )
    for name in ("stolen.png", "another.png"):
        (public / "others" / name).unlink()
    assert len(resolve(parse_spec(data)).cells) == 1


@pytest.mark.parametrize("suffix", ["png", "bmp"])
def test_private_images_saved_again_are_found_among_public_and_pretraining_images(
    spec: Spec, make_tree: Callable[..., Path], problems_of: ProblemsOf, suffix: str
) -> None:
    """Other names, other bytes, the same pixels."""
    private, public = make_tree("private", {"ada": 6, "bob": 6}), make_tree("public", {"": 6}, seed=9)
    other = make_tree("other", {"x": 6, "y": 6}, seed=5)
    for path in sorted(private.rglob("*.png"))[:5]:
        Image.open(path).save(public / f"{path.parent.name}_{path.stem}.{suffix}", compress_level=0)
    sets: dict[str, Any] = {
        "private": {"name": "image_folder", "path": str(private)},
        "public": {"name": "image_folder", "path": str(public), "labelled": False},
        "protocol": {"identities": 2},
    }
    (problem,) = problems_of(spec(sets))
    assert "5 images or people are both private and public" in problem and "and 2 more" in problem
    assert f"private/ada/0.png and public/ada_0.{suffix} are the same image" in problem
    for path in public.glob("*_*"):
        path.unlink()
    Image.open(private / "bob" / "5.png").save(other / "x" / f"copy.{suffix}", compress_level=0)
    (problem,) = problems_of(spec({**sets, "pretraining": {"name": "image_folder", "path": str(other)}}))
    assert f"1 image or person is also private: private/bob/5.png and other/x/copy.{suffix} are the same" in problem


def test_thumbnails_among_the_private_images_are_found_under_other_names_and_types(
    spec: Spec, tmp_path: Path, problems_of: ProblemsOf
) -> None:
    """FFHQ's files are known by their numbers; beside another data set their pixels are compared."""
    for i in range(24):
        for folder in (tmp_path / "ffhq", tmp_path / "people" / ("ada" if i < 12 else "bob")):
            folder.mkdir(parents=True, exist_ok=True)
            name = f"{i:05d}.png" if folder.name == "ffhq" else f"face{i}.bmp"
            Image.new("RGB", (128, 128), (i, 2 * i, 3 * i)).save(folder / name)
    data = spec(
        {
            "private": {"name": "image_folder", "path": str(tmp_path / "people")},
            "public": {"name": "ffhq_thumbnails", "path": str(tmp_path / "ffhq")},
            "protocol": {"identities": 2},
        }
    )
    (problem,) = problems_of(data)
    assert "24 images or people are both private and public" in problem
    assert "people/ada/face0.bmp and ffhq/00000.png are the same image" in problem
    shutil.rmtree(tmp_path / "ffhq")
    (tmp_path / "ffhq").mkdir()
    for i in range(100, 112):
        Image.new("RGB", (128, 128), (i, 0, 0)).save(tmp_path / "ffhq" / f"{i:05d}.png")
    assert len(resolve(parse_spec(data)).cells) == 1


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


def test_what_trains_in_one_process_is_refused_where_the_profile_trains_in_several(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(profiles.PROFILES, "smoke", replace(SMOKE, train_workers=2))
    sweep = resolve(parse_spec({"name": "t", "setups": [{"attack": "gmi"}], "defenses": ["midre", "midre+trap_mid"]}))
    assert [bool(c.refused) for c in sweep.cells] == [False, True]
    assert "it trains in one process, train_workers is 2; set it to auto, 0 or 1" in sweep.cells[1].refused


def test_files_that_students_start_from_are_missed_while_planning(
    spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problems_of: ProblemsOf
) -> None:
    monkeypatch.setenv("MIDEF_WEIGHTS", str(tmp_path))
    students = {"family": "efficientnet", "weights": "imagenet", "count": 2}
    problems = problems_of(spec({"attack": {"name": "lomma_gmi", "students": students}}))
    assert len(problems) == 2 and all("no file efficientnet_b" in problem for problem in problems)


def test_an_attack_cannot_keep_more_candidates_than_it_searches(spec: Spec, problems_of: ProblemsOf) -> None:
    ppa = {"name": "ppa", "candidates": 3}
    (problem,) = problems_of(spec({"attack": ppa, "protocol": {"identities": 12, "images_per_identity": 4}}))
    assert problem == (
        "setups[0].attack: it searches 3 candidates for each identity and cannot keep 4 of them; raise candidates to 4 "
        "or more, or lower protocol.images_per_identity"
    )
    kept = {"identities": 12, "images_per_identity": 3}
    assert not resolve(parse_spec(spec({"attack": ppa, "protocol": kept}))).cells[0].refused


def test_the_best_restart_by_score_needs_scores(spec: Spec, problems_of: ProblemsOf) -> None:
    problems = problems_of(spec({"attack": "brep_mi", "protocol": {"counted": "best_by_target"}}))
    assert any("counted best_by_target needs scores, brep_mi sees labels only" in problem for problem in problems)


def test_a_prior_is_asked_whether_it_can_be_made_from_the_public_data(
    spec: Spec, problems_of: ProblemsOf, make_tree: Callable[..., Path]
) -> None:
    """Photographs do not say how they were made; told while planning, with all other problems."""
    public = make_tree("public", {"others": 6}, seed=9)
    found = problems_of(
        spec(
            {
                "attack": ["gmi(prior=renderer)", "lomma_gmi(prior=renderer)", "gmi(iterations=0)"],
                "public": {"name": "image_folder", "path": str(public), "labelled": False},
            }
        )
    )
    assert any("iterations >= 1" in problem for problem in found)
    (refused,) = [problem for problem in found if "renderer" in problem]
    assert refused == (
        "setups[0].attack: the prior renderer draws as the public images were made, and nothing says how those of "
        "image_folder were; choose the public data set synthetic_faces, or another prior"
    )
