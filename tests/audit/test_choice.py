"""Which attacks an audit tries, in which order, and why."""

from __future__ import annotations

from typing import Any

import pytest

from midef.attacks import ATTACKS, AccessLevel, Attack
from midef.audit.choice import Selection, Situation, choose_attacks, every_attack, priors_of

HERE: dict[str, Any] = {
    **{"access": AccessLevel.WHITE_BOX, "resolution_px": 64, "classes": 40, "identities": 20},
    "public_images": 500,
}


def chosen(selection: Selection) -> list[str]:
    return [one.attack.partition("(")[0] for one in selection.verdicts if one.is_chosen]


def reasons(selection: Selection) -> dict[str, str]:
    return {one.attack.partition("(")[0]: one.reason for one in selection.left_out}


def test_every_attack_says_how_strong_it_is() -> None:
    assert {cls.registered_name: cls.strength for cls in ATTACKS if not 1 <= cls.strength <= 5} == {}  # type: ignore[attr-defined]
    assert all("strength" in vars(cls) for cls in ATTACKS)  # none inherits another one's


@pytest.mark.parametrize("access", list(AccessLevel))
def test_nothing_that_needs_more_access_is_tried_and_everything_has_a_reason(access: AccessLevel) -> None:
    selection = choose_attacks(every_attack(), Situation(**{**HERE, "access": access}))
    assert {one.attack.partition("(")[0] for one in selection.verdicts} == set(ATTACKS.names())
    assert all(one.reason for one in selection.verdicts)
    assert chosen(selection)
    assert all(attack.access <= access for attack in selection.chosen)
    beyond = {name for name in ATTACKS.names() if ATTACKS.get(name).access > access}
    assert beyond <= set(reasons(selection))
    strengths = [attack.strength for attack in selection.chosen]
    assert strengths == sorted(strengths, reverse=True)


def test_the_reason_says_what_is_lacking() -> None:
    selection = choose_attacks(every_attack(), Situation(**{**HERE, "access": AccessLevel.SCORES}))
    assert reasons(selection)["plg_mi"] == "needs the weights, and the model gives scores alone"
    labels = choose_attacks(every_attack(), Situation(**{**HERE, "access": AccessLevel.LABELS}))
    assert "the model gives labels alone" in reasons(labels)["rlb_mi"]


def test_without_public_images_what_learns_from_none_is_left() -> None:
    selection = choose_attacks(every_attack(), Situation(**{**HERE, "public_images": 0}))
    assert selection.chosen
    assert all(not list(priors_of(attack)) for attack in selection.chosen)
    assert "learns from public images, and there are none" in reasons(selection)["gmi"]


def test_a_published_generator_of_faces_is_no_prior_of_dogs(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIDEF_WEIGHTS", str(tmp_path))
    attack = ATTACKS.make("mirror", {"prior": {"weights": "ffhq"}})
    on_dogs = choose_attacks([attack], Situation(**{**HERE, "resolution_px": 224, "shows": "dogs"}))
    assert "its generator draws faces, and the private images show dogs" in on_dogs.verdicts[0].reason
    on_faces = choose_attacks([attack], Situation(**{**HERE, "resolution_px": 224, "shows": "faces"}))
    assert "draws faces" not in on_faces.verdicts[0].reason
    assert "no file stylegan2-ffhq-generator.safetensors" in on_faces.verdicts[0].reason


def some(*names: str) -> list[Attack]:
    return [ATTACKS.make(name) for name in names]


def test_a_budget_takes_the_strongest_that_fit_and_pays_for_what_is_shared_once() -> None:
    prices = {
        "plg_mi": {"plg": 100.0, "search of plg_mi": 10.0},
        "pool_search": {"gan": 30.0, "search of pool_search": 55.0},
        "gmi": {"gan": 30.0, "search of gmi": 5.0},
        "mi_face": {"search of mi_face": 1.0},
    }

    def costs(attack: Attack) -> dict[str, float]:
        return prices[attack.registered_name]  # type: ignore[attr-defined, no-any-return]

    attacks = some(*prices)
    all_of_them = choose_attacks(attacks, Situation(**HERE), costs=costs)
    assert chosen(all_of_them) == ["plg_mi", "pool_search", "gmi", "mi_face"]
    assert [one.seconds for one in all_of_them.verdicts] == [110.0, 85.0, 5.0, 1.0]
    few = choose_attacks(attacks, Situation(**HERE, seconds=91.0), costs=costs)
    assert chosen(few) == ["pool_search", "gmi", "mi_face"]
    assert reasons(few)["plg_mi"] == "would take about 2 min, and 2 min of the budget of 2 min are left"
    fewer = choose_attacks(attacks, Situation(**HERE, seconds=40.0), costs=costs)
    assert chosen(fewer) == ["gmi", "mi_face"]


def test_a_budget_of_questions() -> None:
    brep = ATTACKS.make("brep_mi")
    here = Situation(**{**HERE, "access": AccessLevel.LABELS, "queries": 1000})
    selection = choose_attacks([brep], here)
    assert not selection.chosen
    assert "questions, and 1,000 of the budget of 1,000 are left" in selection.verdicts[0].reason


def test_what_the_user_asked_for_comes_in_his_order_and_nothing_else() -> None:
    selection = choose_attacks(every_attack(), Situation(**HERE), asked_for=["gmi", "plg_mi"])
    assert chosen(selection) == ["gmi", "plg_mi"]
    assert reasons(selection)["mi_face"] == "others were asked for"
    wrong = choose_attacks(
        every_attack(), Situation(**{**HERE, "access": AccessLevel.LABELS}), asked_for=["gmi", "brep_mi"]
    )
    assert chosen(wrong) == ["brep_mi"]
    assert "needs the weights" in reasons(wrong)["gmi"]


def test_the_printed_choice() -> None:
    selection = choose_attacks(some("gmi", "mi_face"), Situation(**{**HERE, "public_images": 0}))
    lines = selection.text.splitlines()
    assert lines[0] == "1 attack to try, the strongest first:"
    assert lines[1] == "+ mi_face: strength 1 of 5, needs the weights; needs no public images"
    assert lines[2] == "not tried:"
    assert lines[3].startswith("- gmi: learns from public images")


@pytest.mark.parametrize(("name", "value"), [("classes", 0), ("seconds", 0.0), ("queries", -1)])
def test_a_situation_that_cannot_be(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        Situation(**{**HERE, name: value})
