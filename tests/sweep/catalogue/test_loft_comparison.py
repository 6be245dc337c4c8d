"""LoFt's comparison: two resolutions, with and without pre-training, seven defenses; all of it plans small."""

from __future__ import annotations

from dataclasses import replace

from midef.attacks import ATTACKS
from midef.core.setup import StandIn
from midef.defenses.stack import choose_defense, remake_defense
from midef.models import ARCHITECTURES
from midef.models.pretrained import misfits
from midef.sweep.catalogue.loft_comparison import loft_comparison
from midef.sweep.spec.resolve import resolve

SEVEN = ["none", "mid", "bido", "nls", "tl_dmi", "rolss", "trap_mid", "loft"]


def test_every_row_compares_the_seven_defenses() -> None:
    for row in loft_comparison().setups:
        assert [choose_defense(one).name for one in row.defenses] == SEVEN


def test_rows_of_the_main_tables_and_of_the_named_attacks_are_certain() -> None:
    rows = {row.id: row for row in loft_comparison().setups}
    assert [id for id, row in rows.items() if row.certainty == "certain"] == [f"LO{i:02}" for i in range(1, 14)]
    assert [id for id, row in rows.items() if row.certainty == "inferred"] == [f"LO{i:02}" for i in range(14, 21)]
    main = {id: (rows[id].architecture[0], rows[id].resolution_px, rows[id].pretraining) for id in list(rows)[:6]}
    assert main == {
        **dict.fromkeys(("LO01", "LO02"), ("ir152", 64, None)),
        **dict.fromkeys(("LO03", "LO04"), ("resnet152", 224, None)),
        **dict.fromkeys(("LO05", "LO06"), ("resnet152", 224, "vggface2")),
    }
    attacks = [ATTACKS.choose(row.attack[0]).name for row in rows.values()]
    assert attacks[:6] == ["if_gmi", "ppdg_mi"] * 3
    assert attacks[6:13] == ["gmi", "kedmi", "mirror", "ppa", "lomma_gmi", "lomma_kedmi", "plg_mi"]


def test_attacks_defenses_and_weights_meet_the_published_networks() -> None:
    found = []
    for row in loft_comparison().setups:
        architecture = ARCHITECTURES.remake(ARCHITECTURES.choose(row.architecture[0]))
        facts = replace(architecture.facts(), pretrained=bool(row.weights or row.pretraining))
        assert row.resolution_px is not None
        found += ATTACKS.remake(ATTACKS.choose(row.attack[0])).problems(row.resolution_px)
        found += architecture.problems(row.resolution_px)
        found += misfits(row.weights, architecture, row.resolution_px) if row.weights else []
        found += [p for d in row.defenses for p in remake_defense(choose_defense(d)).problems(facts)]
    assert found == []


def test_every_row_plans_in_mini_and_faces_come_first_where_the_paper_pre_trains() -> None:
    cells = resolve(loft_comparison()).cells
    assert len(cells) == 20 * 8 and {cell.refused for cell in cells} == {""}
    setups = {cell.cell.setup.id: cell.cell.setup for cell in cells}
    said = {id: StandIn.join(setup.stand_ins) for id, setup in setups.items()}
    assert "synthetic_faces for vggface2 (pretraining)" in said["LO05"]
    assert "synthetic_faces first for imagenet weights" in said["LO03"]
    people = {id: setups[id].pretraining.params["identities"] for id in ("LO03", "LO05")}  # type: ignore[union-attr]
    assert people["LO05"] == 3 * people["LO03"], "more faces than stand for ImageNet"
    assert {setups["LO19"].architecture.name, setups["LO20"].architecture.name} == {"vit_b16_tiny", "swin_v2_t_tiny"}
