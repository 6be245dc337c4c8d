from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace

import pytest

from midef.core import Cell, Choice, Protocol, Setup
from midef.core.match import Match
from midef.core.setup import StandIn, weights_of_evaluator

SETUP = Setup(
    id="gmi-vgg16",
    attack=Choice("gmi", {"iterations": 10}),
    architecture=Choice("vgg16"),
    private=Choice("faces", {"identities": 10}),
    public=Choice("faces", {"identities": 20}),
    evaluator=Choice("resnet18"),
    resolution_px=64,
    protocol=Protocol(),
)
MATCH = Match(target=88.2, tolerance=0.5, accuracy=88.4, seeds=3, is_matched=True)
CELL = Cell(setup=SETUP, defense=Choice("midre", {"area_high": 0.4}), seed=0, profile="smoke")

OTHERS = {
    "defense": replace(CELL, defense=Choice("midre", {"area_high": 0.8})),
    "seed": replace(CELL, seed=1),
    "profile": replace(CELL, profile="paper"),
    "scores": replace(CELL, scores="abc"),
    "attack": replace(CELL, setup=replace(SETUP, attack=Choice("gmi", {"iterations": 11}))),
    "public": replace(CELL, setup=replace(SETUP, public=SETUP.private)),
    "evaluator": replace(CELL, setup=replace(SETUP, evaluator=SETUP.architecture)),
    "resolution": replace(CELL, setup=replace(SETUP, resolution_px=32)),
    "match": replace(CELL, match=MATCH),
    "protocol": replace(CELL, setup=replace(SETUP, protocol=Protocol(identities=299))),
    "judge": replace(CELL, setup=replace(SETUP, protocol=Protocol(judge="target"))),
    "victims": replace(CELL, setup=replace(SETUP, protocol=Protocol(victims="train"))),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_another_cell_has_another_file(other: Cell) -> None:
    assert other.digest != CELL.digest


@pytest.mark.parametrize("cell", [CELL, *OTHERS.values()], ids=["cell", *OTHERS])
def test_digests_are_those_of_the_slow_definition(cell: Cell) -> None:
    """sha256 of JSON with sorted keys and no spaces, written out at once."""
    content = {
        "setup": cell.setup.plain,
        "defense": {"name": cell.defense.name, "params": cell.defense.params, "version": cell.defense.version},
        "seed": cell.seed,
        "profile": cell.profile,
        "scores": cell.scores,
        **({} if cell.match is None else {"match": asdict(cell.match)}),
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    assert cell.digest == hashlib.sha256(text.encode()).hexdigest()


def test_a_cell_matched_otherwise_is_another_cell() -> None:
    """Its rows say what it was matched to, so they are not the rows of the other."""
    others = [
        replace(MATCH, target=88.0),
        replace(MATCH, tolerance=0.25),
        replace(MATCH, accuracy=88.5),
        replace(MATCH, seeds=1),
        replace(MATCH, is_matched=False),
    ]
    digests = {replace(CELL, match=match).digest for match in (None, MATCH, *others)}
    assert len(digests) == 7
    assert replace(CELL, match=replace(MATCH)).digest == replace(CELL, match=MATCH).digest


def test_equal_cells_share_their_file() -> None:
    relabelled = replace(CELL, defense=Choice("midre", {"area_high": 0.4}, 1, "MIDRE, weak"))
    assert relabelled.digest == CELL.digest == replace(CELL).digest
    assert len(CELL.digest) == 64


@pytest.mark.parametrize("name", ["identities", "images_per_identity", "evaluator_resolution_px"])
def test_a_protocol_needs_at_least_one_of_everything(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        Protocol(**{name: 0})


@pytest.mark.parametrize("name", ["resize", "counted", "spread", "knn_reference", "victims", "judge"])
def test_a_protocol_knows_the_ways_of_judging(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be one of .*, got 'median'"):
        Protocol(**{name: "median"})  # type: ignore[arg-type]


def test_what_is_judged_does_not_name_what_is_made() -> None:
    usual = {"resize", "counted", "group_size", "spread", "knn_reference"}
    assert set(Protocol().scoring) == usual
    assert set(Protocol(judge="target", victims="train").scoring) == {*usual, "judge"}


@pytest.mark.parametrize("weights", [None, Choice("ms1m")])
def test_where_the_target_judges_the_evaluators_name_says_so(weights: Choice | None) -> None:
    """Its accuracy stands beside the name, and attack accuracy in the table below."""
    usual = replace(SETUP, evaluator_weights=weights)
    judged = replace(usual, protocol=Protocol(judge="target"))
    assert judged.evaluator_text == f"{usual.evaluator_text}; judge: the target itself"
    assert weights_of_evaluator(judged.evaluator_text) == weights_of_evaluator(usual.evaluator_text)
    assert weights_of_evaluator(usual.evaluator_text) == ("" if weights is None else "ms1m")


STAND_INS = (
    StandIn("ir152_tiny", "ir152"),
    StandIn("synthetic_faces", "celeba", "private"),
    StandIn("40 x 2 images", "300 x 5"),
    StandIn("training and attacks at the budget of mini"),
)


def test_stand_ins_are_written_and_read_in_one_way() -> None:
    text = StandIn.join(STAND_INS)
    assert text == (
        "ir152_tiny for ir152; synthetic_faces for celeba (private); 40 x 2 images for 300 x 5; "
        "training and attacks at the budget of mini"
    )
    assert StandIn.read(text) == STAND_INS
    assert StandIn.read("") == () and StandIn.join(()) == ""
    assert STAND_INS[1].published == "celeba (private)" and STAND_INS[3].published == ""


def test_digests_of_cells_are_fixed_for_ever() -> None:
    """Result files are named by them. From the code that encoded each cell as a whole."""
    setup = Setup(
        id="m1",
        attack=Choice("gmi", {"iterations": 10, "prior": {"lr": 0.5, "betas": (0.5, 0.9)}}),
        architecture=Choice("vgg16_tiny"),
        private=Choice("faces", {"identities": 4}),
        public=Choice("faces", {"population": "public"}, 2, "public faces"),
        evaluator=Choice("resnet18_tiny"),
        resolution_px=32,
        protocol=Protocol(identities=4),
        pretraining=Choice("others"),
        certainty="certain",
        stand_ins=(StandIn("a", "b"),),
    )
    midre = Choice("midre", {"area_high": 0.4})
    cells = [Cell(setup=setup, defense=midre, seed=seed, profile="smoke", scores="ab") for seed in (0, 1)]
    assert [cell.digest for cell in cells] == [
        "cb3975aa207c88bb3557a3b3ef95cc9f18f4317dedcc0680daacf4de744a22b6",
        "2e5766918f96ad89512ee60f3e218cd7365ac7ebb32c38e6f2d2a752f292c7ed",
    ]
