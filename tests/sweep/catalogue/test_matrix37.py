"""The published matrix and its other reading: their rows, who meets whom, and what small profiles make of them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from midef.attacks import ATTACKS
from midef.core.certainty import SETTINGS
from midef.core.errors import PreflightError
from midef.core.setup import StandIn
from midef.defenses.stack import choose_defense, remake_defense
from midef.models import ARCHITECTURES
from midef.models.pretrained import misfits
from midef.sweep.catalogue.matrix37 import matrix37
from midef.sweep.catalogue.published.tables import tables
from midef.sweep.catalogue.reported37 import reported37
from midef.sweep.spec.resolve import Sweep, resolve
from midef.sweep.spec.schema import SetupSpec, SweepSpec

ROOT = Path(__file__).resolve().parents[3]
BOTH = pytest.mark.parametrize("made", [matrix37, reported37], ids=lambda f: f.__name__)


def name(wanted: str | dict[str, str]) -> str:
    return (wanted if isinstance(wanted, str) else wanted["name"]).split(":")[0].split("(")[0]


def attack(row: SetupSpec) -> str:
    return name(row.attack[0])


def rows_by_id(spec: SweepSpec) -> dict[str, SetupSpec]:
    return {row.id: row for row in spec.setups}


@pytest.fixture(scope="module")
def mini() -> Sweep:
    return resolve(matrix37())


# --- which rows -------------------------------------------------------------------------------------------------------


def test_37_rows_of_which_31_are_certain() -> None:
    rows = matrix37().setups
    assert [row.id for row in rows] == [f"S{i:02}" for i in range(1, 38)]
    assert Counter(row.certainty for row in rows) == {"certain": 31, "inferred": 6}
    assert [row.id for row in rows if row.certainty == "inferred"] == ["S32", "S33", "S34", "S35", "S36", "S37"]


def test_whose_the_settings_of_each_row_are() -> None:
    """Golden: read in the MIDRE paper, arXiv 2409.01062v3 (sections A.1 and A.4 and table A.1), and in its released
    config, row by row; the reasons are beside the rows."""
    chosen = {
        row.id: " ".join(name for name, basis in row.settings.items() if basis == "ours") for row in matrix37().setups
    }
    pairs = {
        "attack protocol training": "01 02 03 04 06 07 08 09 10 12 13 14 15 32 33 34 36 37",
        "protocol training": "05 11 16 17 18 19 35",
        "": "20 23 24 25 26",
        "weights": "21 22",
        "attack protocol": "27 31",
        "attack protocol weights": "28",
        "attack protocol weights training evaluator": "29 30",
    }
    assert chosen == {f"S{number}": ours for ours, numbers in pairs.items() for number in numbers.split()}
    assert all(tuple(row.settings) == tuple(SETTINGS) for row in [*matrix37().setups, *reported37().setups])


@BOTH
def test_every_high_resolution_row_names_its_parameters_its_generator_and_the_evaluators_start(
    made: Callable[[], SweepSpec],
) -> None:
    high = [row for row in made().setups if (row.resolution_px or 0) > 64]
    others = {
        "ppa:midre-dogs(prior=style_gan2:afhq-dog)": 1,
        "if_gmi:if-gmi(prior=style_gan2:ffhq)": 2,
        "mirror:tldmi(prior=style_gan2:ffhq-256)": 2,
    }
    assert Counter(row.attack[0] for row in high) == {
        "ppa:midre(prior=style_gan2:ffhq)": 7,
        **(others if made is matrix37 else {}),
    }
    starts = Counter((name(row.evaluator or ""), row.evaluator_weights) for row in high)
    assert starts.pop(("inception_v3", "imagenet")) == (10 if made is matrix37 else 7)
    # MIRROR's evaluators learned on VGGFace2: one of them can be read
    assert starts == ({("inception_v1", "vggface2"): 1, ("resnet50", "imagenet"): 1} if made is matrix37 else {})


def test_which_targets_start_from_published_weights() -> None:
    """All but two DenseNets, which their authors train from scratch, and the second of MIRROR's, of which nothing is
    known: ImageNet for VGG16 and at 224 px, MS-Celeb-1M for the face networks."""
    starts = {row.id: row.weights for row in matrix37().setups}
    assert {id for id, weights in starts.items() if not weights} == {"S23", "S24", "S30"}
    assert {id for id, weights in starts.items() if weights == "ms1m"} == {
        f"S{i:02}" for i in (*range(7, 17), 18, 19, 36, 37)
    }
    assert {id: starts[id] for id in ("S25", "S31")} == {"S25": "imagenet", "S31": "imagenet"}
    assert {row.weights for row in reported37().setups if name(row.architecture[0]) == "resnest101"} == {"imagenet"}


def test_the_evaluators_published_weights_fit_at_their_resolution() -> None:
    for row in matrix37().setups:
        evaluator = ARCHITECTURES.remake(ARCHITECTURES.choose(row.evaluator or ""))
        px = row.protocol.evaluator_resolution_px
        assert row.evaluator_weights and px is not None
        assert (evaluator.problems(px), misfits(row.evaluator_weights, evaluator, px)) == ([], []), row.id


def test_the_other_reading_has_37_certain_rows_and_34_without_table_3() -> None:
    rows = reported37().setups
    assert [row.id for row in rows] == [f"T{i:02}" for i in range(1, 38)]
    assert {row.certainty for row in rows} == {"certain"}
    sizes = {table: len(found) for table, found in tables().items()}
    assert sizes == {
        **{"3": 3, "B.2": 6, "B.4": 5, "B.5": 5, "B.6": 4, "B.7": 4, "B.8": 3, "B.9": 3, "B.10": 4},
    }
    assert sum(sizes.values()) - sizes["3"] == 34


def test_who_attacks_which_network() -> None:
    """Golden: the rows of tables 2, 3 and B.2 to B.10 of the MIDRE paper, arXiv 2409.01062v3, counted by hand."""
    assert Counter((attack(row), name(row.architecture[0])) for row in matrix37().setups) == {
        **{("gmi", "vgg16"): 1, ("kedmi", "vgg16"): 1, ("lomma_gmi", "vgg16"): 2, ("lomma_kedmi", "vgg16"): 2},
        **{("plg_mi", "vgg16"): 3, ("brep_mi", "vgg16"): 1, ("rlb_mi", "vgg16"): 1},
        **{(a, n): 1 for a in ("gmi", "kedmi", "lomma_gmi", "lomma_kedmi") for n in ("ir152", "facenet64")},
        **{("plg_mi", "ir152"): 2, ("plg_mi", "facenet64"): 2, ("rlb_mi", "ir152"): 1, ("rlb_mi", "facenet64"): 1},
        **{("ppa", n): 1 for n in ("resnet18", "resnet152", "resnet101", "densenet169", "densenet121", "maxvit_t")},
        ("ppa", "resnest101"): 2,
        **{("if_gmi", "resnet18"): 1, ("if_gmi", "resnet152"): 1},
        **{("mirror", "resnet50"): 1, ("mirror", "inception_v1"): 1},
    }
    sets = Counter((name(row.private or ""), name(row.public or ""), row.resolution_px) for row in matrix37().setups)
    assert sets == {
        **{("celeba", "celeba", 64): 22, ("celeba", "ffhq_thumbnails", 64): 3, ("facescrub", "ffhq", 224): 9},
        **{("vggface2", "ffhq", 224): 1, ("vggface2", "ffhq", 160): 1, ("stanford_dogs", "afhq_dogs", 224): 1},
    }


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ("S01", "none midre mid bido"),
        ("S04", "none midre mid bido midre+bido"),
        ("S10", "none midre tl_dmi(cut=layer3_35,stem_trains=True)"),
        ("S11", "none midre"),
        ("S12", "none midre tl_dmi(cut=layer2_2,stem_trains=True)"),
        ("S17", "none midre bido"),
        (
            "S20",
            "none midre(fill_space=normalised) midre(area_high=0.8,fill_space=normalised) mid(weight=0.02) "
            "dp_sgd(batch_norm=group) bido(lambda_x=0.03,lambda_y=0.3) tl_dmi(cut=layer3_1) "
            "cutmix random_crop gaussian_blur",
        ),
        (
            "S21",
            "none midre(fill_space=normalised) midre(area_high=0.8,fill_space=normalised) mid(weight=0.02) "
            "bido(lambda_x=0.03,lambda_y=0.3) nls rolss ssf tts midre(area_high=0.8,fill_space=normalised)+nls",
        ),
        ("S23", "none midre(fill_space=normalised) midre(area_high=0.8,fill_space=normalised) rolss ssf(k=0.01)"),
        ("S28", "none midre(fill_space=normalised) midre(area_high=0.8,fill_space=normalised)"),
        ("S31", "none midre(fill_space=normalised)"),
        ("S34", "none midre nls"),
        ("T04", "none midre mid bido"),
        ("T20", "none midre(area_high=0.2) tl_dmi(cut=layer3_35,stem_trains=True)"),
        ("T10", "none midre"),
    ],
)
def test_every_row_meets_what_the_paper_compares_it_with(found: str, expected: str) -> None:
    row = rows_by_id(matrix37() if found.startswith("S") else reported37())[found]
    assert [choose_defense(d).label for d in row.defenses] == expected.split(" ")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        *(("S01", (300, 5, 112)), ("S33", (1000, 5, 112)), ("S35", (300, 5, 112)), ("S20", (530, 8, 299))),
        *(("S27", (530, 50, 299)), ("S29", (100, 8, 160)), ("S31", (120, 8, 299)), ("S32", (300, 5, 112))),
    ],
)
def test_how_many_images_are_judged(found: str, expected: tuple[int, int, int]) -> None:
    asked = rows_by_id(matrix37())[found].protocol
    assert (asked.identities, asked.images_per_identity, asked.evaluator_resolution_px) == expected


# --- the published components -----------------------------------------------------------------------------------------


@BOTH
def test_published_defenses_can_meet_the_published_networks(made: Callable[[], SweepSpec]) -> None:
    """Whatever data there is: presets name units and stages these networks have, and freezing finds trained weights."""
    found = []
    for row in made().setups:
        (wanted,) = row.architecture
        if name(wanted) in ARCHITECTURES.names():
            architecture = ARCHITECTURES.remake(ARCHITECTURES.choose(wanted))
            facts = replace(architecture.facts(), pretrained=bool(row.weights))
            assert row.resolution_px is not None
            found += architecture.problems(row.resolution_px)
            found += misfits(row.weights, architecture, row.resolution_px) if row.weights else []
            found += [p for d in row.defenses for p in remake_defense(choose_defense(d)).problems(facts)]
    assert found == []


@BOTH
def test_the_paper_profile_says_what_is_missing(
    made: Callable[[], SweepSpec], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MIDEF_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("MIDEF_WEIGHTS", str(tmp_path / "weights"))
    with pytest.raises(PreflightError) as caught:
        resolve(made().model_copy(update={"profile": "paper"}))
    said = str(caught.value)
    for lacking in (
        f"public: celeba: no such file or folder {tmp_path / 'data' / 'celeba' / 'identity_CelebA.txt'}",
        f"public: ffhq_thumbnails: no such file or folder {tmp_path / 'data' / 'ffhq_thumbnails'}",
        *("imagenet weights of vgg16", "ms1m weights of ir152", "ms1m weights of facenet64"),
        "evaluator_weights: ms1m weights of facenet112",
    ):
        assert lacking in said


def test_published_stylegan_attacks_keep_what_the_rows_ask_for_and_draw_from_published_generators(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MIDEF_WEIGHTS", str(tmp_path))
    for row in matrix37().setups:
        if attack(row) not in ("ppa", "if_gmi", "mirror"):
            continue
        chosen: Any = ATTACKS.remake(ATTACKS.choose(row.attack[0]))
        assert (row.protocol.images_per_identity or 0) <= chosen.candidates
        public = {"ffhq": ("ffhq", "ffhq-256"), "afhq_dogs": ("afhq-dog",)}[name(row.public or "")]
        assert chosen.prior.weights in public
        assert f"stylegan2-{chosen.prior.weights}-generator.safetensors" in " ".join(chosen.prior.lacking())


# --- small profiles ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["mini", "smoke"])
def test_only_rows_of_attacks_nobody_wrote_are_refused(profile: str) -> None:
    cells = resolve(matrix37().model_copy(update={"profile": profile})).cells
    assert len(cells) == 139
    refused = {c.cell.setup.id: c.refused for c in cells if c.refused}
    rows = {"ppa": (20, 21, 22, 23, 24, 25, 26, 31), "if_gmi": (27, 28), "mirror": (29, 30)}
    unknown = {name: ids for name, ids in rows.items() if name not in ATTACKS.names()}
    assert refused == {f"S{i}": f"attack not registered: {name}" for name, ids in unknown.items() for i in ids}


@pytest.mark.parametrize("profile", ["mini", "smoke"])
def test_the_other_reading_plans_too(profile: str) -> None:
    cells = resolve(reported37().model_copy(update={"profile": profile})).cells
    assert len(cells) == 132
    refused = {} if "ppa" in ATTACKS.names() else {"attack not registered: ppa": 48}
    assert Counter(c.refused for c in cells) == {"": 132 - sum(refused.values()), **refused}


def test_their_defenses_will_meet_the_tiny_networks_once_the_attacks_are_there() -> None:
    waiting = [row for row in matrix37().setups if attack(row) in ("ppa", "if_gmi", "mirror")]
    assert len(waiting) == 12
    as_gmi = [row.model_copy(update={"attack": ["gmi"]}) for row in waiting]
    cells = resolve(matrix37().model_copy(update={"setups": as_gmi})).cells
    assert len(cells) == 64
    assert {c.refused for c in cells} == {""}
    assert {c.cell.setup.architecture.name for c in cells if c.cell.setup.id == "S30"} == {"resnet18_tiny"}


def test_every_row_says_what_was_replaced(mini: Sweep) -> None:
    said = {c.cell.setup.id: StandIn.join(c.cell.setup.stand_ins) for c in mini.cells}
    assert len(said) == 37
    assert all("synthetic_faces for" in text and "at the budget of mini" in text for text in said.values())
    assert said["S07"].startswith("ir152_tiny for ir152; synthetic_faces for celeba (private); ")
    assert {c.cell.setup.certainty for c in mini.cells} == {"certain", "inferred"}
    assert "fresh weights for imagenet weights" in said["S25"] and "synthetic_faces first" in said["S20"]
    fresh = {c.cell.setup.id for c in mini.cells if c.cell.setup.pretraining is None}
    assert fresh == {"S23", "S24", "S25", "S30", "S31"}, "a stored small run would be trained anew"


def test_the_rows_at_224_px_share_one_generator_of_the_public_faces(mini: Sweep) -> None:
    """In a small profile: whatever the attack, and dogs too."""
    high = [c for c in mini.cells if c.cell.setup.attack.name in ("ppa", "if_gmi", "mirror") and not c.refused]
    used = {
        recipe.key for cell in high for recipe in cell.recipes.reconstructions.inputs.values() if recipe.kind == "prior"
    }
    assert len(used) == (1 if high else 0)


def test_planning_is_quick_needs_no_torch_and_shares(tmp_path: Path) -> None:
    """15 targets: six of VGG16, three of IR152 and of FaceNet64 with TL-DMI, each with a backbone to start from."""
    program = (
        "import contextlib, io, sys, time\nfrom midef.sweep.cli import main\nheard = io.StringIO()\n"
        "with contextlib.redirect_stdout(heard):\n    main(sys.argv[1:])\n"
        "print(time.process_time(), *sorted({'torch', 'ray', 'torchvision', 'pandas'} & set(sys.modules)))\n"
        "print(heard.getvalue())"
    )
    command = [sys.executable, "-c", program, "plan", "matrix37", "--store", str(tmp_path / "none"), "--json"]
    seconds: list[float] = []
    for _ in range(3):  # a busy machine slows CPU time too
        out = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=280, check=True).stdout
        first, _, plan = out.partition("\n")
        taken, *imported = first.split(" ")
        assert imported == []
        seconds.append(float(taken))
        if seconds[-1] < 2:
            break
    assert min(seconds) < 2
    found = json.loads(plan)
    assert all(found["shared"][kind] < found["unshared"][kind] for kind in found["shared"])
    if not {"ppa", "if_gmi", "mirror"} & set(ATTACKS.names()):
        assert (found["unshared"]["target"], found["shared"]["target"]) == (150, 15)
        assert (found["unshared"]["reconstructions"], found["shared"]["reconstructions"]) == (75, 69)
    assert not (tmp_path / "none").exists()
