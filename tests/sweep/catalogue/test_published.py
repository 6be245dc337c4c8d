"""The published numbers: none lost, none invented, each under the row of the matrix it belongs to."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from midef.attacks import ATTACKS
from midef.core.rows import ResultRow
from midef.defenses.stack import choose_defense
from midef.metrics import METRICS as REGISTERED
from midef.models import ARCHITECTURES
from midef.sweep.catalogue.matrix37 import matrix37
from midef.sweep.catalogue.published.rows import METRICS, NOT_OURS, OURS, published_rows, read_lines

ROOT = Path(__file__).resolve().parents[3]

# Collected from the papers (MIDRE arXiv 2409.01062v3, TL-DMI arXiv 2405.05588v1, LPA, LoFt arXiv 2410.05814) in
# November 2026 as 498 rows of printed tables; counts and digests were taken from that collection, not from our file.
COLLECTED = 1413
WITH_SPREAD = 299
DIGEST = "2afd313a823be5c76a790af50153a6fad6e47d3d0c0a19ca17ceb2b1d6e4b7ec"
BY_METRIC = {
    **{"natural_accuracy": 458, "attack_accuracy_at_1": 422, "attack_accuracy_at_5": 48, "knn_distance": 133},
    **{"feature_distance_eval": 43, "feature_distance_face": 42, "fid": 10, "trade_off_delta": 144},
    **{"confidence_distortion": 43, "reconstruction_error": 65, "evaluator_accuracy": 5},
}
BESIDE_DIGEST = "e5671a51f529de2f927445922b0cde2307c21a2c570839f150ced3d3572a5262"
BESIDE = {
    **{"train_s": 9, "train_s_ratio": 9, "user_votes": 8, "attack_accuracy_change": 8, "natural_accuracy_change": 4},
    **{"defense_ms": 6, "defense_train_s": 4, "inference_ms": 4, "backdoor_success": 4},
    **{"centroid_distance": 2, "user_preference": 2},
}

# The numbers that the reconstruction of the 37 rows names for each of them: how many different ones, and their sum;
# taken from that reconstruction (November 2026), not from our file. S29 to S32, S36 and S37 have none.
OF_SETUPS = {
    **{"S01": (18, 7639.49), "S02": (18, 6256.59), "S03": (18, 6166.3), "S04": (37, 10770.35), "S05": (18, 5574.72)},
    **{"S06": (18, 6375.43), "S07": (18, 7546.23), "S08": (18, 6214.21), "S09": (18, 6466.14), "S10": (18, 6107.44)},
    **{"S11": (8, 2850.54), "S12": (18, 7591.84), "S13": (18, 6201.37), "S14": (18, 6585.41), "S15": (17, 5946.11)},
    **{"S16": (8, 2950.81), "S17": (13, 4784.33), "S18": (9, 3107.12), "S19": (35, 4092.61), "S20": (67, 4853.15)},
    **{"S21": (41, 2282.27), "S22": (43, 3377.15), "S23": (19, 1264.1), "S24": (23, 1443.6), "S25": (18, 1382.68)},
    **{"S26": (52, 3693.72), "S27": (15, 1007.7088), "S28": (15, 1021.012), "S33": (11, 382.97), "S34": (11, 435.45)},
    "S35": (11, 464.54),
}


@pytest.fixture(scope="module")
def rows() -> list[ResultRow]:
    """The published rows, each metric under the name of its column in the file."""
    lines = {f"published-{line['number']}": line for line in read_lines()}
    printed = {other: name for name, other in {**OURS, **NOT_OURS}.items()}

    def as_printed(row: ResultRow) -> ResultRow:
        name = printed.get(row.metric, "")
        return replace(row, metric=name) if lines[row.cell].get(name) else row

    return [as_printed(row) for row in published_rows()]


def test_a_distance_in_the_evaluators_features_is_the_knn_distance() -> None:
    by_metric = Counter(row.metric for row in published_rows())
    assert by_metric["knn_distance"] == 133 + 43 and "feature_distance_eval" not in by_metric
    assert set(OURS.values()) <= set(REGISTERED.names())


def test_numbers_of_another_metric_do_not_have_the_name_of_ours() -> None:
    """Their FIDs are of a network that sees [-3, 1], their face distances in FaceNet's features, the scale of their
    errors is not stated."""
    by_metric = Counter(row.metric for row in published_rows())
    assert by_metric["fid_ppa"] == 10 and "fid" not in by_metric
    assert by_metric["feature_distance_facenet"] == 42 and "feature_distance_face" not in by_metric
    assert by_metric["reconstruction_error_printed"] == 65 and "reconstruction_error" not in by_metric
    assert not set(NOT_OURS.values()) & set(REGISTERED.names())


def found(rows: list[ResultRow], setup: str, defense: str, metric: str, table: str) -> ResultRow:
    (row,) = (
        r
        for r in rows
        if (r.setup, r.defense, r.metric, r.source) == (setup, defense, metric, f"MIDRE, {table}") and r.attack
    )
    return row


def as_collected(row: ResultRow) -> str:
    """Line, metric, number or mark, spread: what the digests are of."""
    mark = re.match(r"printed as (OP|NA)", row.remark)
    value = mark[1] if mark else repr(row.value)
    spread = "" if row.spread is None else repr(row.spread)
    return f"{row.cell.removeprefix('published-')} {row.metric} {value} {spread}".strip()


def digest(said: list[str]) -> str:
    return hashlib.sha256("\n".join(sorted(said)).encode()).hexdigest()


# --- complete ---------------------------------------------------------------------------------------------------------


def test_every_collected_number_is_there_once(rows: list[ResultRow]) -> None:
    main = [r for r in rows if r.metric in BY_METRIC]
    assert Counter(r.metric for r in main) == BY_METRIC
    assert sum(r.spread is not None for r in main) == WITH_SPREAD
    said = [as_collected(row) for row in main]
    assert len(said) == len(set(said)) == COLLECTED
    assert digest(said) == DIGEST


def test_every_number_of_the_file_is_one_row(rows: list[ResultRow]) -> None:
    written: list[tuple[str, str, str]] = []
    for line in read_lines():
        items = [(name, line[name]) for name in BY_METRIC if line.get(name)]
        items += [(item.partition("=")[0], item.partition("=")[2]) for item in line["others"].split(";") if item]
        written += [(f"published-{line['number']}", name, text) for name, text in items]
    by_place = {(r.cell, r.metric): r for r in rows}
    assert len(written) == len(by_place) == len(rows) == COLLECTED + sum(BESIDE.values())
    for cell, name, text in written:
        value, _, spread = text.partition("±")
        row = by_place[cell, name]
        assert row.value == (None if value in ("OP", "NA") else float(value))
        assert row.spread == (float(spread) if spread else None)


def test_what_few_tables_print_is_there_too(rows: list[ResultRow]) -> None:
    beside = [r for r in rows if r.metric not in BY_METRIC]
    assert Counter(r.metric for r in beside) == BESIDE
    assert digest([as_collected(row) for row in beside]) == BESIDE_DIGEST
    (votes,) = (r for r in rows if r.metric == "user_votes" and r.setup == "S05" and r.defense == "neither")
    assert (votes.value, votes.unit) == (2, "votes")
    (milliseconds,) = (r for r in rows if r.metric == "defense_ms" and r.value == 9.71)
    assert milliseconds.spread == 0.85


@pytest.mark.parametrize("setup", OF_SETUPS)
def test_each_setup_has_its_numbers_and_no_others(rows: list[ResultRow], setup: str) -> None:
    mine = [r for r in rows if r.setup == setup and r.metric in BY_METRIC]
    numbers = {(r.metric, r.value) for r in mine if r.value is not None}
    numbers |= {(f"{r.metric} ±", r.spread) for r in mine if r.spread is not None}
    assert (len(numbers), round(sum(v for _, v in numbers if v is not None), 4)) == OF_SETUPS[setup]


def test_rows_of_setups_without_numbers(rows: list[ResultRow]) -> None:
    others = {r.setup for r in rows} - set(OF_SETUPS)
    assert others == {"", "S29", "S30", *(f"TL{i:02}" for i in range(1, 21))}
    assert {r.source.split(",")[0] for r in rows if r.setup.startswith("TL")} == {"TL-DMI"}
    assert {(r.setup, r.metric, r.value) for r in rows if r.setup in ("S29", "S30")} == {
        ("S29", "attack_accuracy_change", -22.0),
        ("S30", "attack_accuracy_change", -70.0),
    }


# --- under the right names --------------------------------------------------------------------------------------------


def test_some_numbers_by_hand(rows: list[ResultRow]) -> None:
    row = found(rows, "S01", "midre", "attack_accuracy_at_1", "Tab.B.2")
    assert (row.value, row.spread, row.spread_kind, row.certainty) == (3.2, 2.15, "as printed", "certain")
    assert (row.attack_name, row.architecture, row.private, row.public) == ("gmi", "vgg16", "celeba", "celeba")
    assert (row.resolution_px, row.identities, row.images_per_identity, row.seed) == (64, 300, 5, None)
    assert (row.evaluator, row.evaluator_resolution_px, row.access) == ("facenet112", 112, "white box")
    assert found(rows, "S34", "nls", "trade_off_delta", "Tab.3").value == 1.64
    assert found(rows, "S34", "nls", "trade_off_delta", "Tab.3").certainty == "inferred"
    assert found(rows, "S28", "none", "fid", "Tab.B.3").value == 45.703
    assert found(rows, "S28", "none", "fid", "Tab.B.3").images_per_identity is None
    strong = "midre(area_high=0.8,fill_space=normalised)"
    assert found(rows, "S24", strong, "feature_distance_face", "Tab.B.10").value == 0.96
    assert found(rows, "S21", f"{strong}+nls", "attack_accuracy_at_1", "Tab.5-Setup1").value == 3.75
    assert found(rows, "S04", "midre", "knn_distance", "Tab.B.2").public == "celeba"
    assert found(rows, "S17", "midre", "knn_distance", "Tab.B.8").public == "ffhq_thumbnails"


def test_rows_are_published_and_tell_their_source(rows: list[ResultRow]) -> None:
    assert {(r.origin, r.status, r.sweep) for r in rows} == {("published", "ok", "published")}
    assert len({(r.cell, r.metric) for r in rows}) == len(rows)
    assert {r.source.split(", ")[0] for r in rows} == {"MIDRE", "TL-DMI", "LPA", "LoFt"}
    assert all((r.certainty == "") == (r.setup == "") for r in rows)
    assert all((r.value is None) == (r.remark.startswith("printed as")) for r in rows)


def test_registered_metrics_attacks_and_networks_are_called_as_here(rows: list[ResultRow]) -> None:
    for name in set(METRICS) & set(REGISTERED.names()):
        assert (METRICS[name].unit, METRICS[name].larger_is) == (
            REGISTERED.get(name).unit,
            REGISTERED.get(name).larger_is,
        )
    for row in rows:
        if row.attack_name in ATTACKS.names():
            assert row.access == ATTACKS.get(row.attack_name).access.words
        else:
            assert row.attack_name in ("", "ppa", "if_gmi", "mirror")
    unknown = {r.architecture for r in rows} - set(ARCHITECTURES.names())
    assert unknown == {"", "ResNet", "CNN3+2FC", "CNN4+2FC", "CNN(?)+2FC"}


def test_labels_of_our_defenses_are_those_a_sweep_would_show() -> None:
    labels = {line["our_defense"] for line in read_lines()} - {""}
    assert [label for label in sorted(labels) if choose_defense(label).label != label] == []
    for row in published_rows():
        if row.defense in labels:
            assert row.defense_name == choose_defense(row.defense).name


def test_every_cell_of_the_matrix_with_a_printed_number_finds_it(rows: list[ResultRow]) -> None:
    printed = {(r.setup, r.defense) for r in rows if r.metric == "attack_accuracy_at_1"}
    cells = {(s.id, choose_defense(d).label) for s in matrix37().setups for d in s.defenses}
    without = Counter(setup for setup, _ in cells - printed)
    assert without == dict.fromkeys(("S29", "S30", "S31", "S32", "S36", "S37"), 2)


@pytest.mark.parametrize(
    ("setup", "defense", "expected"),
    [
        ("S20", "none", (94.22, 88.67)),
        ("S21", "nls", (91.5, 14.34)),
        ("S19", "midre", (81.56, 51.6)),
        ("S07", "midre", (84.91, 7.87)),
        ("S04", "midre", (79.85, 43.07)),
    ],
)
def test_the_first_number_of_a_setup_is_that_of_its_table_of_comparison(
    rows: list[ResultRow], setup: str, defense: str, expected: tuple[float, float]
) -> None:
    """Others repeat its targets under other names: tables 1 and 5, ablations, an adaptive attacker."""
    firsts = tuple(
        next(r.value for r in rows if (r.setup, r.defense, r.metric) == (setup, defense, metric))
        for metric in ("natural_accuracy", "attack_accuracy_at_1")
    )
    assert firsts == expected


def test_a_user_who_chose_neither_is_not_the_undefended_target(rows: list[ResultRow]) -> None:
    votes = [r for r in rows if r.metric == "user_votes" and r.setup == "S05"]
    assert {r.defense for r in votes} == {"bido", "midre", "both alike", "neither"}
    assert {r.defense_name for r in votes} == {"bido", "midre", ""}


# --- contradictions ---------------------------------------------------------------------------------------------------


def test_deltas_that_do_not_follow_from_their_table(rows: list[ResultRow]) -> None:
    """Golden: (printed, computed) of every Delta that its table's accuracies do not give; MIDRE, then TL-DMI."""
    told = {
        (r.value, float(m[1])) for r in rows if (m := re.search(r"accuracies of its table give (-?[\d.]+)$", r.remark))
    }
    assert told == {
        *((4.54, 4.19), (10.01, 10.83), (10.59, 11.12), (63.93, 196.69), (15.68, 16.97), (31.63, 36.27)),
        *((47.65, 47.56), (4.9, 4.95), (5.77, 6.37), (2.11, 3.24), (0.28, 1.14), (4.91, 4.94), (0.25, 0.23)),
    }


@pytest.mark.parametrize(
    ("setup", "defense", "metric", "table", "words"),
    [
        ("S15", "none", "attack_accuracy_at_1", "Tab.B.5", "digit for digit"),
        ("S18", "midre", "attack_accuracy_at_1", "Tab.B.8", "1,500 images"),
        ("S19", "midre", "natural_accuracy", "Tab.D.15", "81.56"),
        ("S21", "nls", "attack_accuracy_at_1", "Tab.5-Setup1", "14.34"),
        ("S07", "tl_dmi(cut=layer3_35,stem_trains=True)", "attack_accuracy_at_1", "Tab.B.6", "copied from the TL-DMI"),
        ("S23", "midre(fill_space=normalised)", "trade_off_delta", "Tab.B.10", "printed as NA"),
        ("S20", "midre(fill_space=normalised)", "trade_off_delta", "Tab.B.9", "printed as OP"),
        ("S35", "midre", "attack_accuracy_at_1", "Tab.3", "table B.2"),
    ],
)
def test_where_a_paper_contradicts_itself_the_row_says_so(
    rows: list[ResultRow], setup: str, defense: str, metric: str, table: str, words: str
) -> None:
    assert words in found(rows, setup, defense, metric, table).remark


def test_a_remark_is_only_at_the_metric_it_is_about(rows: list[ResultRow]) -> None:
    assert found(rows, "S15", "none", "natural_accuracy", "Tab.B.5").remark == ""
    assert found(rows, "S01", "midre", "attack_accuracy_at_1", "Tab.B.2").remark == ""


# --- loading ----------------------------------------------------------------------------------------------------------


def test_loading_is_quick() -> None:
    def seconds() -> float:
        start = time.process_time()
        published_rows()
        return time.process_time() - start

    assert min(seconds() for _ in range(5)) < 0.2


def test_loading_imports_neither_torch_nor_ray_nor_components() -> None:
    program = (
        "import sys\nfrom midef.sweep.catalogue.published.rows import published_rows\npublished_rows()\n"
        "print(sorted({'torch', 'ray', 'numpy', 'pandas', 'midef.defenses', 'sweep.spec'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=280)
    assert (out.stdout.strip(), out.stderr) == ("[]", "")
