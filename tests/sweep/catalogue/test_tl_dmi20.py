"""TL-DMI's 20 setups: counted from its table 2, planned at a small size, beside the paper's own numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from midef.attacks import ATTACKS
from midef.core.certainty import SETTINGS
from midef.defenses.stack import choose_defense, remake_defense
from midef.models import ARCHITECTURES
from midef.models.pretrained import misfits
from midef.sweep.catalogue.published.rows import published_rows
from midef.sweep.catalogue.tl_dmi20 import tl_dmi20
from midef.sweep.spec.resolve import resolve


def names(written: list[str]) -> set[str]:
    return {one.split(":")[0].split("(")[0] for one in written}


def test_the_counts_the_paper_gives_of_its_20_setups() -> None:
    """Section 4: 20 setups, 9 architectures, 4 private and 3 public data sets, 7 attacks (LOMMA is one)."""
    rows = tl_dmi20().setups
    assert [row.id for row in rows] == [f"TL{i:02}" for i in range(1, 21)]
    assert {row.certainty for row in rows} == {"certain"}
    assert len({row.architecture[0] for row in rows}) == 9
    assert names([str(row.private) for row in rows]) == {"celeba", "facescrub", "stanford_dogs", "vggface2"}
    ffhq = {"ffhq", "ffhq_thumbnails"}
    assert {"FFHQ" if one in ffhq else one for one in names([str(row.public) for row in rows])} == {
        *("celeba", "FFHQ", "afhq_dogs")
    }
    attacks = [name for row in rows for name in names([str(row.attack[0])])]
    assert Counter(attacks) == {"vmi": 1, "kedmi": 6, "gmi": 6, "lomma_kedmi": 1, "brep_mi": 1, "ppa": 4, "mirror": 1}


def test_images_and_identities_are_those_of_tables_14_and_16() -> None:
    asked = {row.id: (row.protocol.identities, row.protocol.images_per_identity) for row in tl_dmi20().setups}
    assert {id: size for id, size in asked.items() if size != (300, 5)} == {
        **{"TL01": (300, 100), "TL16": (530, 50), "TL17": (530, 50), "TL18": (530, 50)},
        **{"TL19": (120, 50), "TL20": (100, 8)},
    }


def test_attacks_defenses_and_weights_meet_the_published_networks() -> None:
    found = []
    for row in tl_dmi20().setups:
        architecture = ARCHITECTURES.remake(ARCHITECTURES.choose(row.architecture[0]))
        facts = replace(architecture.facts(), pretrained=bool(row.weights))
        assert row.resolution_px is not None
        found += ATTACKS.remake(ATTACKS.choose(row.attack[0])).problems(row.resolution_px)
        found += architecture.problems(row.resolution_px)
        found += misfits(row.weights, architecture, row.resolution_px) if row.weights else []
        found += [p for d in row.defenses for p in remake_defense(choose_defense(d)).problems(facts)]
        assert tuple(row.settings) == tuple(SETTINGS)
    assert found == []


def test_every_row_plans_in_mini_with_its_combination_whole() -> None:
    cells = resolve(tl_dmi20()).cells
    assert len(cells) == sum(len(row.defenses) for row in tl_dmi20().setups) == 58
    assert {cell.refused for cell in cells} == {""}
    labels = {(cell.cell.setup.id, cell.cell.defense.label) for cell in cells}
    assert ("TL02", "tl_dmi+bido(lambda_x=0.03,lambda_y=0.4)") in labels, "a stack loses none of its parts"
    assert {id for id, label in labels if label == "tl_dmi(fresh=True)"} == {"TL01", "TL19"}, "fresh weights freeze"


def test_every_cell_but_two_kinds_has_a_number_of_the_paper_beside_it() -> None:
    printed = {(r.setup, r.defense) for r in published_rows() if r.metric == "attack_accuracy_at_1"}
    cells = {(row.id, choose_defense(d).label) for row in tl_dmi20().setups for d in row.defenses}
    assert cells - printed == set()
    assert {setup for setup, _ in printed if setup.startswith("TL")} == {f"TL{i:02}" for i in range(1, 21)}


def test_numbers_by_hand() -> None:
    """Tables 4, 5 and 3 of the paper (arXiv 2405.05588)."""
    first = {(r.setup, r.defense, r.metric): r.value for r in reversed(published_rows())}
    assert first["TL12", "tl_dmi(cut=layer3_35,stem_trains=True)", "attack_accuracy_at_1"] == 46.53
    assert first["TL19", "none", "natural_accuracy"] == 75.07
    assert first["TL01", "tl_dmi(cut=layer2_0,fresh=True)", "attack_accuracy_at_1"] == 23.7
    assert first["TL20", "tl_dmi(cut=layer3_5)", "attack_accuracy_at_1"] == 50.0
