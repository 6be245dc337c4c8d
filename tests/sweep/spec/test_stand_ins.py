"""Published rows at a small profile's size: what replaces what, what is refused, what a person puts in its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from midef.attacks import ATTACKS
from midef.core import Choice, Failure, PreflightError, SpecError
from midef.core.setup import Protocol, StandIn
from midef.sweep.execution.result_rows import lost_rows, refused_rows
from midef.sweep.library import load_spec
from midef.sweep.planning.plan import make_plan
from midef.sweep.planning.plan_text import plan_text
from midef.sweep.planning.resources import gpus_of
from midef.sweep.spec import datasets
from midef.sweep.spec.load import parse_spec
from midef.sweep.spec.profiles import PROFILES
from midef.sweep.spec.resolve import Sweep, resolve
from midef.sweep.spec.stand_ins import _at_profile_budget

ROW: dict[str, Any] = {
    "id": "S01",
    "attack": "gmi:orig",
    "architecture": "ir152",
    "private": "celeba",
    "public": {"name": "celeba", "role": "public"},
    "evaluator": "facenet112",
    "weights": "ms1m",
    "resolution_px": 64,
    "training": {"preset": "facescrub-224"},
    "protocol": {"identities": 300, "images_per_identity": 5, "evaluator_resolution_px": 112},
    "defenses": ["none", "tl_dmi:celeba-ir152"],
    "certainty": "inferred",
    "evaluator_weights": "ms1m",
    "settings": {"attack": "code", "weights": "ours"},
}
UNKNOWN: dict[str, Any] = {**ROW, "id": "S20", "attack": "nobody_wrote_it", "weights": "", "unregistered": "refuse"}


def published(*rows: dict[str, Any], **changes: Any) -> Sweep:
    data = {"name": "rows", "profile": "mini", "stand_ins": True, "setups": list(rows or [ROW]), **changes}
    return resolve(parse_spec(data))


@pytest.fixture(autouse=True)
def no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIDEF_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("MIDEF_WEIGHTS", str(tmp_path / "weights"))


@pytest.mark.parametrize("profile", ["smoke", "mini", "small"])
def test_a_small_profile_replaces_everything_published_and_says_so(profile: str) -> None:
    cells = published(profile=profile).cells
    setup, own = cells[0].cell.setup, PROFILES[profile]
    assert (setup.architecture.name, setup.evaluator.name) == ("ir152_tiny", "resnet18_tiny")
    assert (setup.private.name, setup.public.name) == ("synthetic_faces", "synthetic_faces")
    assert setup.resolution_px == own.resolution_px and setup.weights is None
    assert setup.pretraining is not None and setup.pretraining != setup.private
    assert setup.protocol == Protocol(**own.protocol)
    assert setup.attack.params != ATTACKS.choose("gmi:orig").params
    assert [c.cell.defense.label for c in cells] == ["none", "tl_dmi"] and not any(c.refused for c in cells)
    said = StandIn.join(setup.stand_ins)
    for words in (
        "ir152_tiny for ir152",
        "synthetic_faces for celeba (private)",
        "resnet18_tiny for facenet112 (evaluator)",
        "synthetic_faces first for ms1m weights",
        "fresh weights for ms1m weights (evaluator)",
        f"{own.protocol['identities']} x {own.protocol['images_per_identity']} images for 300 x 5",
        f"at the budget of {profile}",
    ):
        assert words in said
    assert setup.certainty == "inferred"


def test_stand_ins_and_certainty_reach_the_rows() -> None:
    rows = lost_rows("rows", published().cells[0], Failure("bug", "broke"))
    assert {(row.certainty, row.settings) for row in rows} == {("inferred", "attack: code; weights: ours")}
    assert all("ir152_tiny for ir152" in row.stand_ins for row in rows)


def test_the_published_profile_takes_them_literally_and_lists_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(PreflightError) as caught:
        published(profile="paper")
    text = str(caught.value)
    assert str(tmp_path / "data" / "celeba") in text and str(tmp_path / "weights") in text
    assert len(caught.value.problems) == len(set(caught.value.problems))


def test_what_two_rows_lack_is_said_once() -> None:
    with pytest.raises(PreflightError) as caught:
        published(ROW, {**ROW, "id": "S02", "attack": "kedmi:orig"}, {**ROW, "id": "S03"}, profile="paper")
    assert sum("identity_CelebA.txt" in problem for problem in caught.value.problems) == 1


def test_a_sweep_of_one_s_own_is_taken_as_written() -> None:
    data = {"name": "own", "profile": "mini", "defenses": ["none"], "setups": [{"attack": "gmi"}]}
    data["setups"] = [{"attack": "gmi", "architecture": "vgg16", "evaluator": "resnet18_tiny"}]
    setup = resolve(parse_spec(data)).cells[0].cell.setup
    assert setup.architecture.name == "vgg16" and setup.stand_ins == () and setup.certainty == ""


def test_a_row_nobody_can_run_yet_is_refused_cells() -> None:
    sweep = published(ROW, UNKNOWN)
    refused = [c for c in sweep.cells if c.cell.setup.id == "S20"]
    assert [c.refused for c in refused] == ["attack not registered: nobody_wrote_it"] * 2
    plan = make_plan(sweep, None)
    assert plan.refused == refused and plan.unshared["scores"] == 2
    assert "refused: S20: attack not registered: nobody_wrote_it (2 cells)" in plan_text(plan)
    rows = refused_rows("rows", refused[0])
    assert {(row.attack, row.access, row.status) for row in rows} == {("nobody_wrote_it", "", "refused")}
    with pytest.raises(ValueError, match="S20 has no recipes"):
        _ = refused[0].recipes


def test_it_runs_without_a_change_once_the_attack_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row refused today is planned tomorrow: the same row, the attack registered meanwhile."""
    ATTACKS.names()
    monkeypatch.setitem(ATTACKS._classes, "nobody_wrote_it", ATTACKS.get("gmi"))
    row = {**UNKNOWN, "defenses": ["none", "midre"]}
    assert {c.refused for c in published(row).cells} == {""}


def test_without_the_word_an_unknown_attack_is_an_error() -> None:
    with pytest.raises(SpecError, match="nobody_wrote_it"):
        published({**UNKNOWN, "unregistered": "error"})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"attack": "gmi", "architecture": "inception_v9"}, "network not registered: inception_v9"),
        ({"attack": "gmi", "private": "vggface9"}, "data set not registered: vggface9"),
    ],
)
def test_networks_and_data_sets_may_be_missing_too(changes: dict[str, Any], reason: str) -> None:
    assert {c.refused for c in published({**UNKNOWN, **changes}).cells} == {reason}


def test_every_setup_needs_a_defense_from_somewhere() -> None:
    row = {k: v for k, v in ROW.items() if k != "defenses"}
    with pytest.raises(SpecError, match="no defenses given; list some here, or under the sweep's defenses"):
        published(row)
    assert [c.cell.defense.label for c in published(row, ROW | {"id": "b"}, defenses=["midre"]).cells] == [
        *["midre"],
        *["none", "tl_dmi"],
    ]


# --- one's own images -------------------------------------------------------------------------------------------------


def test_own_images_take_the_place_of_every_stand_in(make_tree: Callable[..., Path], tmp_path: Path) -> None:
    people = make_tree("people", {f"p{i}": 6 for i in range(12)})
    strangers = make_tree("strangers", {"x": 12}, seed=1)
    sweep = resolve(load_spec("matrix37", ["profile=mini"], private=str(people), public=str(strangers)))
    run = [c.cell.setup for c in sweep.cells if not c.refused]
    assert {s.private.name for s in run} == {s.public.name for s in run} == {"image_folder"}
    replaced = {(one.by, one.replaced) for s in run for one in s.stand_ins if one.role == "private"}
    assert {("image_folder", "celeba"), ("image_folder", "facescrub")} <= replaced
    assert all(any(one.role == "private" for one in s.stand_ins) for s in run)
    assert all(s.stand_ins[-1] == StandIn("12 identities, all there are") and s.protocol.identities == 12 for s in run)


def test_a_judge_that_is_put_in_a_published_row_keeps_the_resolution_it_judges_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No stand-in replaces it, and it judges at no other size."""
    monkeypatch.setattr(datasets, "place_weights", lambda name, *about: (Choice(name, {"sha256": "0" * 64}), {}))
    setup = published({**ROW, "evaluator": "mobilefacenet(head=linear)"}).cells[0].cell.setup
    assert setup.protocol == Protocol(**{**PROFILES["mini"].protocol, "evaluator_resolution_px": 112})
    with pytest.raises(
        SpecError, match=r"judges aligned faces of 112 px, got 32; set protocol\.evaluator_resolution_px"
    ):
        published({**ROW, "evaluator": "mobilefacenet", "protocol": {"identities": 300}})


def test_a_data_set_may_be_written_as_in_a_sweep() -> None:
    sweep = resolve(load_spec("smoke", private="synthetic_faces(identities=130)"))
    assert sweep.cells[0].cell.setup.private.params["identities"] == 130


# --- processes of a training ------------------------------------------------------------------------------------------


def test_processes_by_kind_change_no_key() -> None:
    base = published()
    for workers in (3, "auto", {"evaluator": 2, "target": "auto"}, {"evaluator": 2}):
        assert published(train_workers=workers).digest == base.digest
    profile = published(train_workers={"evaluator": 2}).profile
    assert [profile.workers_for(kind) for kind in ("evaluator", "target", "prior")] == [2, "auto", 0]
    assert (gpus_of("evaluator", profile), gpus_of("target", profile), gpus_of("split", profile)) == (2.0, 1.0, 0.0)


def test_only_an_attacker_that_erases_keeps_how_he_does_it() -> None:
    """What a preset says of filling changes nothing without erasing: the key of a plain attacker stays as it was."""
    plain, adaptive = {"name": "ppa", "erase_fill": "normalised"}, {"erase_low": 0.1, "erase_high": 0.8}
    assert _at_profile_budget("ppa") == _at_profile_budget(plain) == "ppa"
    assert _at_profile_budget({**plain, **adaptive, "iterations": 7}) == {**plain, **adaptive}
