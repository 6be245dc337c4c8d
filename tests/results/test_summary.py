"""Summaries of rows made by hand."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace
from typing import Any

import pytest

from midef.core import ResultRow
from midef.core.statistics import t_interval
from midef.results.matched import MATCH_NUMBERS
from midef.results.summary import (
    SummaryRow,
    csv_table,
    interval_choice,
    markdown_table,
    published_of,
    records,
    refusal,
    setup_table,
    summarise,
    text_table,
)


def row(metric: str, value: float | None, defense: str = "none", seed: int = 0, **changes: Any) -> ResultRow:
    facts: dict[str, Any] = {
        "sweep": "s", "profile": "smoke", "setup": "one", "defense": defense, "defense_name": defense.partition("(")[0],
        "defense_params": defense, "attack": "gmi", "attack_name": "gmi", "access": "white box",
        "architecture": "tiny_vgg16", "private": "synthetic_faces", "public": "synthetic_faces", "evaluator": "resnet",
        "resolution_px": 32, "identities": 60, "images_per_identity": 3, "unit": "percent", "larger_is": "more useful",
        "cell": f"{defense}{seed}", "evaluator_accuracy": 99.0,
    }  # fmt: skip
    return ResultRow(metric=metric, value=value, seed=seed, **(facts | changes))


def cell(
    defense: str, seed: int, acc: float, attack: float, within: float | None = None, **changes: Any
) -> list[ResultRow]:
    """Both accuracies of a cell; `within`: half width of the intervals inside the run."""

    def span(value: float) -> dict[str, Any]:
        return {} if within is None else {"low": value - within, "high": value + within, "interval": "95 % made up"}

    return [
        row("natural_accuracy", acc, defense, seed, **span(acc), **changes),
        row("attack_accuracy_at_1", attack, defense, seed, chance=0.5, **span(attack), **changes),
    ]


def by_defense(rows: list[ResultRow]) -> dict[str, SummaryRow]:
    found = {r.defense: r for r in summarise(rows)}
    assert len(found) == len(summarise(rows))
    return found


def test_seeds_are_averaged_with_both_intervals() -> None:
    rows = [r for seed, acc in enumerate((90.0, 92.0, 94.0)) for r in cell("none", seed, acc, 50.0 + seed, within=2.0)]
    (found,) = summarise(rows)
    natural = found.natural_accuracy
    assert natural.mean == pytest.approx(92.0)
    assert natural.by_seed == ((0, 90.0), (1, 92.0), (2, 94.0))
    assert natural.within_run is not None and natural.over_seeds is not None
    assert (natural.within_run.low, natural.within_run.high) == pytest.approx((90.0, 94.0))
    assert natural.within_run.kind == "95 % made up, mean of 3 runs"
    assert (natural.over_seeds.low, natural.over_seeds.high) == pytest.approx(t_interval([90.0, 92.0, 94.0]))
    assert natural.over_seeds.kind == "95 % t interval, 3 seeds"
    assert (found.chance, found.evaluator_accuracy, found.seeds, found.ok) == (0.5, 99.0, (0, 1, 2), 3)


def test_intervals_of_accuracies_stay_possible() -> None:
    rows = [r for seed, acc in enumerate((99.0, 100.0)) for r in cell("none", seed, acc, 0.5 * seed, within=2.0)]
    (found,) = summarise(rows)
    for estimate in (found.natural_accuracy, found.attack_accuracy_at_1):
        for span in (estimate.over_seeds, estimate.within_run):
            assert span is not None
            assert 0 <= span.low <= span.high <= 100


def test_delta_and_front_against_the_undefended_model_of_the_same_setup() -> None:
    rows = [*cell("none", 0, 90, 50), *cell("a", 0, 80, 20), *cell("b", 0, 70, 30), *cell("a", 0, 60, 10, setup="two")]
    found = {(r.setup, r.defense): r for r in summarise(rows)}
    good = found["one", "a"].trade_off
    assert good.delta is not None and good.delta.value == pytest.approx(3.0)
    assert (good.is_utility_lost, good.text) == (True, "3.00")
    assert found["one", "none"].trade_off.reason == "the reference"
    assert {key for key, r in found.items() if r.is_on_front} == {("one", "none"), ("one", "a"), ("two", "a")}
    lonely = found["two", "a"].trade_off
    assert lonely.delta is None
    assert "no undefended model (defense 'none')" in lonely.reason
    assert "no Delta for a: the setup has no undefended model" in text_table(summarise(rows))


@pytest.mark.parametrize(
    ("accs", "within", "text"),
    [
        pytest.param((85.0,), None, "4.00", id="one seed, no interval: the plain rule"),
        pytest.param((85.0,), 1.0, "4.00", id="within-run intervals are apart"),
        pytest.param((89.0,), 1.0, "no clear loss", id="within-run intervals overlap"),
        pytest.param((89.8,), None, "100.00*", id="tiny drop is marked"),
        pytest.param((90.5,), None, "no utility lost", id="outperforms"),
        pytest.param((85.0, 85.2), None, "4.08", id="two seeds are too few for t: the plain rule"),
        pytest.param((85.0, 85.2, 84.8), None, "4.00", id="three seeds, clear drop"),
        pytest.param((85.0, 91.0, 88.0), 0.1, "no clear loss", id="three seeds that disagree"),
    ],
)
def test_delta_is_shown_only_if_utility_is_lost(accs: tuple[float, ...], within: float | None, text: str) -> None:
    rows = [r for seed in range(len(accs)) for r in cell("none", seed, 90, 50, within=within)]
    rows += [r for seed, acc in enumerate(accs) for r in cell("a", seed, acc, 30, within=within)]
    found = by_defense(rows)["a"]
    assert found.trade_off.text == text
    drop = 90 - sum(accs) / len(accs)
    if found.trade_off.is_utility_lost:
        assert records([found])[0]["delta"] == pytest.approx(20 / drop)
    else:
        assert f"(acc {-drop:+.1f}, att -20.0)" in text_table([found])
        assert records([found])[0]["delta"] is None


def test_delta_is_paired_by_seed() -> None:
    rows = [*cell("none", 0, 90, 50), *cell("none", 1, 70, 40), *cell("a", 0, 80, 20)]
    trade_off = by_defense(rows)["a"].trade_off
    assert (trade_off.utility_drop, trade_off.attack_drop) == (10, 30)
    rows = [*cell("none", 0, 90, 50), *cell("a", 1, 80, 20)]
    assert by_defense(rows)["a"].trade_off.reason == "no seed in common with the undefended model"


def test_failed_refused_and_missing_cells_are_counted_with_reasons() -> None:
    rows = [*cell("none", 0, 90, 50), *cell("none", 1, 91, 51), *cell("a", 0, 80, 20)]
    rows.append(row("knn_distance", None, "a", 0, status="failed", reason="out of memory"))
    rows += [row("natural_accuracy", None, "b", s, status="refused", reason="two owners of criterion") for s in (0, 1)]
    found = by_defense(rows)
    assert [(r.ok, r.failed, r.refused, r.missing) for r in (found["none"], found["a"], found["b"])] == [
        (2, 0, 0, 0),
        (0, 1, 0, 1),
        (0, 0, 2, 0),
    ]
    assert found["a"].natural_accuracy.mean == 80  # one failed metric does not hide the others
    assert found["b"].natural_accuracy.mean is None
    assert not found["b"].is_on_front
    said = text_table(list(found.values()))
    assert "failed: a, seed 0, knn_distance: out of memory" in said
    assert "refused: b, seeds 0, 1, natural_accuracy: two owners of criterion" in said
    assert "missing: a has no result for 1 of the setup's seeds" in said
    assert "0/2" in said


def test_not_a_number_is_no_value() -> None:
    (found,) = summarise([row("natural_accuracy", math.nan), row("attack_accuracy_at_1", 5.0)])
    assert found.natural_accuracy.mean is None
    assert not found.is_on_front
    assert found.attack_accuracy_at_1.mean == 5.0


def test_published_rows_are_not_averaged_with_measured_ones() -> None:
    rows = [*cell("none", 0, 90, 50), *cell("none", 0, 10, 90, origin="published", cell="table 1")]
    (found,) = summarise(rows)
    assert found.natural_accuracy.mean == 90


def test_two_results_of_one_seed_are_not_mixed() -> None:
    old = cell("none", 0, 10, 10, cell="old")
    (found,) = summarise([*old, *cell("none", 0, 90, 50, cell="new")])
    assert found.natural_accuracy.by_seed == ((0, 90),)
    assert "seed 0: 2 results of different recipes are stored" in text_table([found])


def test_defenses_with_one_label_and_different_parameters_stay_apart() -> None:
    rows = [*cell("a", 0, 90, 50, defense_params="1"), *cell("a", 0, 80, 40, defense_params="2", cell="other")]
    assert [r.natural_accuracy.mean for r in summarise(rows)] == [80, 90]


def test_order_undefended_first_then_least_attacked_then_failed() -> None:
    rows = [*cell("b", 0, 80, 30), *cell("c", 0, 80, 20), *cell("none", 0, 90, 10)]
    rows.append(row("natural_accuracy", None, "a", status="failed", reason="x"))
    assert [r.defense for r in summarise(rows)] == ["none", "c", "b", "a"]


@pytest.mark.parametrize(
    ("seeds", "choice", "legend", "shown"),
    [
        (1, "within_run", "mean over 1 seed [interval within a run, averaged; test acc: 95 % made up", "[88.0, 92.0]"),
        (2, "within_run", "mean over 2 seeds [interval within a run, averaged", "[88.5, 92.5]"),
        (3, "over_seeds", "mean over 3 seeds [95 % t interval over seeds]", "[88.5, 93.5]"),
    ],
)
def test_the_printed_interval_and_what_it_is(seeds: int, choice: str, legend: str, shown: str) -> None:
    rows = [r for seed in range(seeds) for r in cell("none", seed, 90 + seed, 50, within=2.0)]
    found = summarise(rows)
    assert interval_choice(found) == choice
    table = setup_table(found)
    assert table.interval_legend.startswith(legend)
    assert table.cells[0][1].interval == shown
    assert table.interval_legend in text_table(found)


def test_without_intervals_the_legend_says_so() -> None:
    assert "the runs report no intervals" in text_table(summarise(cell("none", 0, 90, 50)))


def test_text_table_is_aligned_and_marks_the_front() -> None:
    rows = [*cell("none", 0, 100, 50, within=1.0), *cell("a_long_defense(alpha=0.5)", 0, 80, 2, within=1.0)]
    lines = text_table(summarise(rows)).splitlines()
    head = next(line for line in lines if "test acc %" in line)
    body = [line for line in lines if line.startswith("●  ")]
    assert len(body) == 2
    assert {line.index("]") for line in body} == {body[0].index("]")}
    assert head.index("defense") == body[0].index("none")
    assert "chance 0.50 %" in lines[1] and "evaluator resnet 99.0 %" in lines[1]


def test_markdown_escapes_what_would_break_the_table() -> None:
    said = markdown_table(summarise(cell("a|b<script>", 0, 80, 20)))
    assert "a\\|b&lt;script>" in said
    widths = {line.replace("\\|", "").count("|") for line in said.splitlines() if line.startswith("| ")}
    assert widths == {11}


def test_csv_holds_every_number_unrounded() -> None:
    rows = [*cell("none", 0, 90, 50, within=1.0), *cell("a", 0, 80, 100 / 3, within=1.0)]
    found = list(csv.DictReader(io.StringIO(csv_table(summarise(rows)))))
    assert [r["defense"] for r in found] == ["none", "a"]
    assert float(found[1]["attack_accuracy_at_1"]) == 100 / 3
    assert float(found[1]["delta"]) == pytest.approx((50 - 100 / 3) / 10)
    assert found[0]["delta"] == "" and found[0]["delta_text"] == "reference"
    assert found[1]["natural_accuracy_within_run_low"] == "79.0"
    assert found[1]["knn_distance"] == ""


def test_nothing_measured() -> None:
    assert summarise([]) == []
    assert text_table([]).startswith("no rows")
    assert markdown_table([]).startswith("no rows")
    assert csv_table([]) == ""


def test_a_setup_in_which_everything_failed() -> None:
    rows = [row("natural_accuracy", None, d, status="failed", reason="no data") for d in ("none", "a")]
    found = summarise(rows)
    assert not any(r.is_on_front for r in found)
    assert text_table(found).count("no data") == 2
    assert csv_table(found).count("failed: no data") == 2


STAND_INS = "vgg16_tiny for vgg16; 32 px for 64 px; training and attacks at the budget of mini"
METRICS_OF_A_LOST_CELL = [f"metric_{i}" for i in range(10)]


def lost(defense: str, seed: int = 0, status: str = "refused", **changes: Any) -> list[ResultRow]:
    """What the sweep writes for a cell that was never measured: a row for each metric."""
    reason = "attack not registered: ppa" if status == "refused" else "out of memory"
    about = {"status": status, "reason": reason, **changes}
    return [row(metric, None, defense, seed, **about) for metric in METRICS_OF_A_LOST_CELL]


def published(metric: str, value: float | None, defense: str = "none", **changes: Any) -> ResultRow:
    open_ones: dict[str, Any] = dict.fromkeys(("resolution_px", "identities", "images_per_identity"))
    about: dict[str, Any] = {"origin": "published", "source": "Table 2", "cell": "", "sweep": "", "profile": ""}
    whole = row(metric, value, defense, **(open_ones | about | changes))
    return replace(whole, seed=None)


PUBLISHED = [
    published("natural_accuracy", 86.9),
    published("attack_accuracy_at_1", 78.47, spread=4.6, spread_kind="sd over classes"),
    published("natural_accuracy", 79.85, "bido"),
    published("attack_accuracy_at_1", 43.53, "bido", spread=4.0, spread_kind="sd over classes", remark="text: 43.3"),
    published("knn_distance", 1289.46),
]


def test_a_measured_row_has_a_seed() -> None:
    with pytest.raises(ValueError, match="measured row natural_accuracy of none in one has no seed"):
        summarise([replace(row("natural_accuracy", 90.0), seed=None)])
    assert summarise(PUBLISHED) == []


@pytest.mark.parametrize("certainty", ["certain", "inferred"])
def test_certainty_stands_beside_the_setup(certainty: str) -> None:
    found = summarise([*cell("none", 0, 90, 50, certainty=certainty), *cell("none", 0, 90, 50, setup="two")])
    text, markdown = text_table(found), markdown_table(found)
    assert f"one ({certainty}): gmi" in text and f"**one ({certainty}): gmi" in markdown
    assert "two: gmi" in text and "**two: gmi" in markdown
    lines = list(csv.DictReader(io.StringIO(csv_table(found))))
    assert [line["certainty"] for line in lines] == [certainty, ""]


def test_stand_ins_of_all_setups_are_said_once() -> None:
    rows = [r for s in ("one", "two") for r in cell("none", 0, 90, 50, setup=s, stand_ins=STAND_INS)]
    for said in (text_table(summarise(rows)), markdown_table(summarise(rows))):
        assert said.count("stands in:") == 1
        assert said.startswith(f"stands in: {STAND_INS}\n")
    one = text_table(summarise(rows[:2])).splitlines()
    assert one[:2] == [setup_table(summarise(rows[:2])).title, f"stands in: {STAND_INS}"]


def test_stand_ins_that_differ_are_said_under_their_heading() -> None:
    rows = [r for s in ("one", "two") for r in cell("none", 0, 90, 50, setup=s, stand_ins=f"{s}_tiny for {s}")]
    assert text_table(summarise(rows)).count("stands in:") == 2
    assert text_table(summarise([*rows[:2], *cell("none", 0, 90, 50, setup="three")])).count("stands in:") == 1
    rows += cell("none", 0, 90, 50, setup="three")  # as published
    lines = text_table(summarise(rows)).splitlines()
    for name in ("one", "two"):
        heading = next(i for i, line in enumerate(lines) if line.startswith(f"{name}: "))
        assert lines[heading + 1] == f"stands in: {name}_tiny for {name}"
    assert sum(line.startswith("stands in:") for line in lines) == 2
    assert markdown_table(summarise(rows)).count("stands in:") == 2
    found = csv.DictReader(io.StringIO(csv_table(summarise(rows))))
    assert [line["stand_ins"] for line in found] == ["one_tiny for one", "", "two_tiny for two"]


def test_a_setup_that_was_refused_as_a_whole_is_one_line() -> None:
    rows = cell("none", 0, 90, 50)
    for setup in ("S20", "S21"):
        rows += [
            r
            for defense in ("none", "a", "b")
            for seed in (0, 1)
            for r in lost(defense, seed, setup=setup, access="", attack="ppa", certainty="certain", stand_ins=STAND_INS)
        ]
    found = summarise(rows)
    line = "S20 (certain): ppa on tiny_vgg16, synthetic_faces from synthetic_faces, 32 px"
    why = "refused: attack not registered: ppa (6 cells)"
    text = text_table(found)
    assert f"{line}  {why}" in text.splitlines()
    assert text.count("attack not registered") == 2
    assert "–" not in text.partition("S20")[2]
    assert "stands in" not in text  # what was not measured has no stand-ins
    assert f"- {line}: {why}" in markdown_table(found).splitlines()
    lines = list(csv.DictReader(io.StringIO(csv_table(found))))
    assert len(lines) == 7
    assert lines[0]["reasons"] == "; ".join(
        f"seed {seed} 10 metrics refused: attack not registered: ppa" for seed in (0, 1)
    )
    only = text_table([r for r in found if r.setup == "S20"])
    assert only == f"{line}  {why}"


def test_a_setup_with_anything_measured_or_failed_keeps_its_table() -> None:
    for other in (cell("none", 0, 90, 50), lost("none", status="failed")):
        found = summarise([*other, *lost("a")])
        assert refusal(found) == ""
        text = text_table(found)
        assert "test acc %" in text
        assert text.count("refused: a, seed 0, 10 metrics: attack not registered: ppa") == 1


def test_reasons_of_a_refused_setup_are_told_apart() -> None:
    assert refusal(summarise([*lost("none"), *lost("a", reason="no data"), *lost("b")])) == (
        "attack not registered: ppa (2 cells); no data (1 cell)"
    )


def test_published_numbers_stand_beside_ours_and_are_marked() -> None:
    found = summarise([*cell("none", 0, 99, 85), *cell("bido", 0, 90, 60), *cell("loft", 0, 90, 70)])
    table = setup_table(found, PUBLISHED)
    assert table.columns[-1] == ("published", "published")
    assert {row[0].text: row[-1].joined for row in table.cells} == {
        "none": "pub. 86.90 / 78.47 ± 4.60",
        "bido": "pub. 79.85 / 43.53 ± 4.00 †",
        "loft": "–",
    }
    for said in (text_table(found, PUBLISHED), markdown_table(found, PUBLISHED)):
        assert "pub. 79.85 / 43.53 ± 4.00 †" in said
        assert "pub.: test accuracy / attack accuracy@1 (%) as published, not measured here; ±: sd over classes" in said
        assert "pub. source of none, bido: Table 2" in said
        assert "† bido: text: 43.3" in said
        assert "no row of that label" not in said
    first = next(csv.DictReader(io.StringIO(csv_table(found, PUBLISHED))))
    assert (first["published_natural_accuracy"], first["published_attack_accuracy_at_1"]) == ("86.9", "78.47")
    assert (first["published_spread"], first["published_source"]) == ("4.6", "Table 2")
    assert (first["natural_accuracy"], first["attack_accuracy_at_1"]) == ("99.0", "85.0")


def test_beside_stand_ins_published_numbers_are_called_another_experiment() -> None:
    found = summarise(cell("none", 0, 99, 85, stand_ins=STAND_INS))
    assert "not measured here, with the published networks, data and budgets" in text_table(found, PUBLISHED)


def test_published_numbers_of_other_setups_and_defenses() -> None:
    found = summarise(cell("none", 0, 99, 85, setup="two"))
    assert setup_table(found, PUBLISHED) == setup_table(found)
    assert text_table(found, PUBLISHED) == text_table(found)
    lonely = summarise(cell("loft", 0, 99, 85))
    assert "published" not in dict(setup_table(lonely, PUBLISHED).columns)
    assert (
        "published, with no row of that label here: none pub. 86.90 / 78.47 ± 4.60; bido pub. 79.85 / 43.53 ± 4.00 †"
        in text_table(lonely, PUBLISHED)
    )


def test_two_publications_of_one_cell() -> None:
    rows = [published("natural_accuracy", 85.0, source="Table 9"), *PUBLISHED]
    rows += [published("attack_accuracy_at_1", 80.0, source="Table 9"), published("attack_accuracy_at_1", 78.47)]
    found = published_of("one", rows)["none"]
    # the first attack accuracy, and the test accuracy of the same source
    assert (found.natural_accuracy, found.attack_accuracy_at_1) == (86.9, 78.47)
    assert found.others == ("test accuracy 85.00 (Table 9)", "attack accuracy@1 80.00 (Table 9)")
    text = text_table(summarise(cell("none", 0, 99, 85)), rows)
    assert "also published for none: test accuracy 85.00 (Table 9); attack accuracy@1 80.00 (Table 9)" in text


def test_measured_rows_are_no_publication() -> None:
    assert published_of("one", [*cell("none", 0, 1, 2), *cell("loft", 0, 1, 2), *PUBLISHED]) == (
        published_of("one", PUBLISHED)
    )


def test_half_a_publication() -> None:
    rows = [published("attack_accuracy_at_1", 78.47), published("natural_accuracy", None, "bido")]
    assert {name: one.values for name, one in published_of("one", rows).items()} == {"none": "pub. – / 78.47"}


def test_what_holds_for_all_setups_is_explained_once() -> None:
    rows = [r for s in ("one", "two", "three") for r in cell("none", 0, 90, 50, setup=s)]
    for said in (text_table(summarise(rows)), markdown_table(summarise(rows))):
        assert said.count("on the front: no other defense") == 1


def test_a_matrix_stays_readable() -> None:
    """37 setups of 12 defenses: a table each, a line per refused setup, and no more."""
    defenses = ["none", *(f"defense{i}" for i in range(11))]
    rows = [r for i in range(15) for d in defenses for r in cell(d, 0, 90, 50, setup=f"S{i:02d}", certainty="certain")]
    rows += [r for i in range(15, 37) for d in defenses for r in lost(d, setup=f"S{i:02d}", certainty="inferred")]
    lines = text_table(summarise(rows)).splitlines()
    assert sum(line.endswith("refused: attack not registered: ppa (12 cells)") for line in lines) == 22
    assert len(lines) < 15 * (len(defenses) + 10) + 22 + 10


def test_a_defense_published_with_other_parameters_is_the_same_defense_where_there_is_one_of_its_name() -> None:
    rows = [
        published("attack_accuracy_at_1", 8.0, "tl_dmi(cut=layer3)"),
        published("attack_accuracy_at_1", 9.0, "dp_sgd"),
    ]
    found = published_of("one", rows, ["none", "tl_dmi", "dp_sgd(batch_norm=group)"])
    assert {label: one.attack_accuracy_at_1 for label, one in found.items()} == {
        "tl_dmi": 8.0,
        "dp_sgd(batch_norm=group)": 9.0,
    }
    assert found["tl_dmi"].remarks == ("published as tl_dmi(cut=layer3)",)


def test_two_strengths_of_a_defense_are_never_taken_for_each_other() -> None:
    rows = [published("attack_accuracy_at_1", value, f"midre(area_high={value})") for value in (0.4, 0.8)]
    assert set(published_of("one", rows, ["midre", "none"])) == {"midre(area_high=0.4)", "midre(area_high=0.8)"}
    assert set(published_of("one", rows[:1], ["midre", "midre(area_high=0.8)"])) == {"midre(area_high=0.4)"}
    both = {"midre(area_high=0.8)", "midre(area_high=0.4)"}
    assert set(published_of("one", rows, ["midre(area_high=0.8)", "midre"])) == both


# --- accuracies that were matched -------------------------------------------------------------------------------------


def matching(accuracy: float | None, *, target: float = 88.2, tolerance: float = 0.5, seeds: int = 3) -> dict[str, Any]:
    """What a row says of its defense having been brought to `accuracy`; None: nothing was asked."""
    if accuracy is None:
        return {}
    numbers = {"match_target": target, "match_tolerance": tolerance, "match_accuracy": accuracy, "match_seeds": seeds}
    return {"matched": abs(accuracy - target) <= tolerance, **numbers}


def matched_cells(
    defense: str, accuracy: float | None, attack: float, natural: float = 88.0, seeds: int = 1, **changes: Any
) -> list[ResultRow]:
    return [r for s in range(seeds) for r in cell(defense, s, natural, attack + s, **matching(accuracy, **changes))]


MATCHED = [
    *matched_cells("none", 90.2, 60.0, natural=90.0),  # the target was "none - 2"
    *matched_cells("a", 88.4, 30.0),
    *matched_cells("b", 88.15, 40.0, natural=88.3),
    *matched_cells("c", 84.1, 1.0, natural=84.0),
    *matched_cells("d", 88.0, 45.0, natural=87.0),
    *matched_cells("e", 93.0, 99.0, natural=99.0),
]


def column_of(found: list[SummaryRow], key: str) -> dict[str, str]:
    """Defense -> cell, as shown."""
    table = setup_table(found)
    at = [name for name, _ in table.columns].index(key)
    return {r.defense: cells[at].joined for r, cells in zip(found, table.cells, strict=True)}


def test_a_summary_row_knows_what_it_was_matched_to() -> None:
    found = by_defense(MATCHED)
    assert [(d, r.is_matched, r.match_accuracy) for d, r in found.items()] == [
        ("none", False, 90.2),
        *(("a", True, 88.4), ("b", True, 88.15), ("d", True, 88.0)),
        *(("c", False, 84.1), ("e", False, 93.0)),
    ]
    assert {(r.match_target, r.match_tolerance, r.match_seeds) for r in found.values()} == {(88.2, 0.5, 3)}


def test_a_setup_without_matching_says_nothing_of_it() -> None:
    found = summarise([*cell("none", 0, 90, 50), *cell("a", 0, 80, 20)])
    assert {(r.is_matched, r.match_target, r.match_accuracy, r.match_seeds) for r in found} == {(False, *[None] * 3)}
    assert [header for _, header in setup_table(found).columns] == [
        *("defense", "test acc %", "att@1 %", "att@5 %", "KNN dist", "Delta", "queries", "attack s", "ok/failed")
    ]
    for said in (text_table(found), markdown_table(found)):
        assert "match" not in said and "att drop" not in said and "3.00" in said


def test_only_matched_rows_are_on_the_front() -> None:
    """c is attacked least and e the most accurate: neither hides a or b, nor is it a winner."""
    found = by_defense(MATCHED)
    assert [d for d, r in found.items() if r.is_on_front] == ["a", "b"]
    nothing: dict[str, Any] = dict.fromkeys(MATCH_NUMBERS)
    bare = [replace(r, matched=False, **nothing) for r in MATCHED]
    assert [r.defense for r in summarise(bare) if r.is_on_front] == ["none", "c", "a", "b", "e"]


def test_defenses_matched_to_other_targets_are_not_compared_with_each_other() -> None:
    rows = [*MATCHED, *matched_cells("low", 80.1, 2.0, natural=80.0, target=80.0)]
    rows += matched_cells("lower", 80.0, 3.0, natural=79.0, target=80.0)
    rows += matched_cells("high", 95.0, 0.5, natural=95.0, target=95.0)
    found = by_defense(rows)
    assert {d for d, r in found.items() if r.is_on_front} == {"a", "b", "low", "high"}
    assert "matched to 80.0 ± 0.5 or 88.2 ± 0.5 or 95.0 ± 0.5 (tolerance)" in setup_table(list(found.values())).facts


def test_a_matched_undefended_model_is_compared_as_any_other() -> None:
    found = by_defense([*matched_cells("none", 88.2, 60.0, natural=91.0), *matched_cells("a", 88.4, 30.0)])
    assert [d for d, r in found.items() if r.is_on_front] == ["none", "a"]
    assert "accuracy differs by design" not in text_table(list(found.values()))


def test_matched_rows_come_before_the_others_and_the_undefended_first_of_all() -> None:
    rows = [*MATCHED, *lost("broken", status="failed", **matching(88.3)), *matched_cells("unasked", None, 0.0)]
    assert [r.defense for r in summarise(rows)] == ["none", "a", "b", "d", "broken", "unasked", "c", "e"]


def test_the_accuracy_that_was_matched_stands_beside_the_test_accuracy() -> None:
    found = summarise([*MATCHED, *matched_cells("unasked", None, 0.0)])
    table = setup_table(found)
    assert table.columns[1:4] == (
        ("natural_accuracy", "test acc %"),
        ("matched", "matched"),
        ("attack_accuracy_at_1", "att@1 %"),
    )
    assert column_of(found, "matched") == {
        **{"none": "no: 90.2 (+2.0)", "a": "88.4 (+0.2)", "b": "88.2 (+0.0)", "d": "88.0 (-0.2)"},
        **{"c": "no: 84.1 (-4.1)", "e": "no: 93.0 (+4.8)", "unasked": "–"},
    }
    for said in (text_table(found), markdown_table(found)):
        assert "no: 84.1 (-4.1)" in said and "88.4 (+0.2)" in said
        assert "matched: accuracy on the select split (points above the target); no: outside the tolerance" in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "matched to 88.2 ± 0.5 (tolerance) on the select split, mean over 3 seeds"),
        ({"seeds": 1}, "matched to 88.2 ± 0.5 (tolerance) on the select split, mean over 1 to 3 seeds"),
        (
            {"tolerance": 0.25},
            "matched to 88.2 ± 0.25 or 88.2 ± 0.5 (tolerance) on the select split, mean over 3 seeds",
        ),
    ],
    ids=["one", "seeds differ", "tolerances differ"],
)
def test_the_facts_say_the_target(changes: dict[str, Any], said: str) -> None:
    rows = [*cell("none", 0, 90, 50, **matching(88.2)), *cell("a", 0, 88, 30, **matching(88.3, **changes))]
    found = summarise(rows)
    assert said in setup_table(found).facts
    assert said in text_table(found)
    assert said in markdown_table(found)


def test_in_place_of_delta_stands_the_drop_of_the_attack() -> None:
    """Over equal accuracies a Delta would be a ratio to noise: 30 points over 2.0 lost and 20 over 1.7."""
    found = summarise([*MATCHED, *matched_cells("stronger", 88.2, 60.04)])
    assert column_of(found, "attack_drop") == {
        **{"none": "reference", "a": "30.0", "b": "20.0", "d": "15.0", "stronger": "0.0"},
        **{"c": "not matched", "e": "not matched"},
    }
    headers = dict(setup_table(found).columns)
    assert headers["attack_drop"] == "att drop" and "delta" not in headers
    assert "Delta" not in text_table(found)


@pytest.mark.parametrize("seeds", [2, 3])
def test_the_interval_of_the_drop_is_paired_and_needs_three_seeds(seeds: int) -> None:
    attacks = {"none": (60.0, 70.0, 80.0), "a": (30.0, 38.0, 52.0), "c": (1.0, 2.0, 3.0)}
    near = {"none": 88.2, "a": 88.4, "c": 84.1}
    rows = [
        r for d, values in attacks.items() for s in range(seeds) for r in cell(d, s, 88, values[s], **matching(near[d]))
    ]
    found = by_defense(rows)
    drops = [30.0, 32.0, 28.0][:seeds]
    span = found["a"].trade_off.attack_drop_interval
    shown = column_of(list(found.values()), "attack_drop")
    legend = "over the seeds that both have [95 % t interval of the paired differences]"
    if seeds == 2:
        assert span is None
        assert (shown["a"], legend in text_table(list(found.values()))) == ("31.0", False)
        return
    assert span is not None
    assert (span.low, span.high) == pytest.approx(t_interval(drops))
    assert span.kind == "95 % t interval of 3 paired differences"
    assert (shown["a"], shown["c"]) == ("30.0 [25.0, 35.0]", "not matched")
    assert legend in text_table(list(found.values()))


def test_what_is_not_compared_is_counted_and_the_reference_explained() -> None:
    said = text_table(summarise([*MATCHED, *matched_cells("unasked", None, 0.0)])).splitlines()
    assert "2 of 6 defenses are not matched; they are shown, and not compared" in said
    assert "1 of 6 defenses is without an accuracy to match; it is shown, and not compared" in said
    by_design = "the undefended model, the reference of att drop, is not matched: its accuracy differs by design"
    assert by_design in said
    assert "● on the front: no other matched defense is both at least as accurate and attacked less" in said
    good = text_table(summarise([r for r in MATCHED if r.defense in ("a", "b")]))
    assert "not compared" not in good and by_design not in good


def test_a_drop_without_a_reference_says_why() -> None:
    found = summarise([r for r in MATCHED if r.defense in ("a", "c")])
    assert column_of(found, "attack_drop") == {"a": "–", "c": "not matched"}
    said = [line for line in text_table(found).splitlines() if line.startswith("no att drop")]
    assert said == ["no att drop for a: the setup has no undefended model (defense 'none') to compare with"]


def test_seeds_of_two_matchings_are_not_one_matched_defense() -> None:
    rows = [*cell("none", 0, 90, 50, **matching(88.2)), *cell("a", 0, 88, 30, **matching(88.4))]
    rows += cell("a", 1, 88, 30, **matching(80.0, target=80.0))
    found = by_defense(rows)["a"]
    assert not found.is_matched and not found.is_on_front
    assert "note: a, its seeds were matched apart from each other and count as not matched" in text_table([found])


def test_a_refused_setup_stays_one_line() -> None:
    found = summarise([r for d in ("none", "a") for r in lost(d, **matching(88.2))])
    assert text_table(found).endswith("refused: attack not registered: ppa (2 cells)")
    assert len(text_table(found).splitlines()) == 1


def test_matched_and_other_setups_side_by_side() -> None:
    others = [*cell("none", 0, 90, 50, setup="two"), *cell("a", 0, 80, 20, setup="two")]
    found = summarise([*MATCHED, *others])
    alone = text_table(summarise(others)).partition("\n\n● on the front")[0]
    assert alone in text_table(found)
    lines = list(csv.DictReader(io.StringIO(csv_table(found))))
    two = [line for line in lines if line["setup"] == "two"]
    assert [(line["matched"], line["match_target"], line["delta_text"]) for line in two] == [
        ("0", "", "reference"),
        ("0", "", "3.00"),
    ]


def test_csv_holds_what_was_matched_and_no_delta_of_it() -> None:
    lines = {line["defense"]: line for line in csv.DictReader(io.StringIO(csv_table(summarise(MATCHED))))}
    names = ("matched", "match_target", "match_tolerance", "match_accuracy", "match_seeds", "delta", "delta_text")
    assert [lines["b"][name] for name in names] == ["1", "88.2", "0.5", "88.15", "3", "", "20.0"]
    assert [lines["c"][name] for name in names] == ["0", "88.2", "0.5", "84.1", "3", "", "not matched"]
    assert lines["none"]["delta_text"] == "reference"
    assert (lines["b"]["attack_drop"], lines["b"]["attack_drop_low"]) == ("20.0", "")
    columns = list(lines["b"])
    natural = [i for i, name in enumerate(columns) if name.startswith("natural_accuracy")]
    assert columns[natural[-1] + 1 :][:5] == list(names[:5])


def test_markdown_of_a_matched_setup_has_a_cell_per_column() -> None:
    lines = [line for line in markdown_table(summarise(MATCHED)).splitlines() if line.startswith("| ")]
    assert {line.count("|") for line in lines} == {12}
    assert sum("**" in line for line in lines) == 2
