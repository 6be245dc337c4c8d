"""What the page says of accuracy matching. No browser needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from midef.core.match import MatchOutcome, MatchReport, MatchTraining
from midef.dashboards.matching_data import COLUMNS, ends_text, matching_data
from midef.dashboards.page_data import Match

Outcome = Callable[..., MatchOutcome]
Report = Callable[..., MatchReport]
Training = Callable[..., MatchTraining]


def cells(row: Match) -> dict[str, list[Any]]:
    texts = ([cell.text, cell.interval, cell.number] for cell in row.cells)
    return dict(zip((column.key for column in COLUMNS), texts, strict=True))


def test_the_table_has_a_row_per_outcome(report: Report) -> None:
    page = matching_data(report(), "results")
    assert [row.state for row in page.rows] == ["matched", "unreachable", "fixed", "undecided", "failed"]
    bido = cells(page.rows[0])
    assert bido["state"] == ["matched", "", None]
    assert bido["parameter"] == ["lambda_x", "0.001 to 1, log; 1 hides most", None]
    assert bido["strength"] == ["0.02", "", 0.02]
    assert bido["target"] == ["88.2", "± 0.5", 88.2]
    assert bido["accuracy"] == ["88.0", "mean of 3 seeds", 88.0]
    assert bido["gap"] == ["-0.20", "", pytest.approx(-0.2)]
    assert bido["report_accuracy"] == ["87.1", "", 87.1]
    assert bido["trainings"] == ["6", "1 without accuracy", 6]
    assert bido["history"] == ["", "", pytest.approx(0.1)], "sorted by the nearest training"
    fixed = cells(page.rows[2])
    assert fixed["state"] == ["fixed", "1.1 points above as it is", None]
    assert (fixed["parameter"][0], fixed["strength"][0], fixed["accuracy"][1]) == ("–", "–", "mean of 1 seed")
    undecided = cells(page.rows[3])
    assert undecided["parameter"][1] == "2 to 64, log; 2 hides most"
    assert [undecided[key][0] for key in ("strength", "accuracy", "gap", "report_accuracy")] == ["–"] * 4
    assert cells(page.rows[4])["trainings"] == ["0", "", 0]


def test_the_header_counts_and_says_the_target_as_it_was_asked_for(report: Report) -> None:
    page = matching_data(report(), "results")
    assert list(page.targets) == ["asked for: none - 1; target 88.2 % ± 0.5 points of accuracy on the select split"]
    # Six of BiDO, two of MIDRE, whose ends are these, one of round, two of LoFt.
    counts = "1 matched, 1 unreachable, 1 fixed, 1 undecided, 1 failed"
    assert page.counts == f"11 trainings, 9 of them done by the last run · {counts}"
    assert page.command == "optuna-dashboard results/studies/journal.log"


def test_a_training_that_outcomes_share_counts_once(report: Report, outcome: Outcome) -> None:
    both = report(outcomes=(outcome(), outcome(defense="again")))
    assert matching_data(both, "results").counts.startswith("6 trainings, ")


def test_several_targets_say_where_they_hold(report: Report, outcome: Outcome) -> None:
    others = (outcome(architecture="tiny_resnet18", target=90.0), outcome(architecture="cnn", target=None))
    targets = matching_data(report(outcomes=(outcome(), outcome(defense="x"), *others)), "results").targets
    assert [line.partition("; target ")[2] for line in targets] == [
        "88.2 % ± 0.5 points of accuracy on the select split, tiny_vgg16 on synthetic_faces",
        "90.0 % ± 0.5 points of accuracy on the select split, tiny_resnet18 on synthetic_faces",
        "unknown ± 0.5 points of accuracy on the select split, cnn on synthetic_faces",
    ]


def test_a_store_with_a_blank_in_its_name_is_quoted_and_no_studies_are_no_command(report: Report) -> None:
    assert matching_data(report(), "my results").command == "optuna-dashboard 'my results/studies/journal.log'"
    assert matching_data(report(storage=""), "results").command == ""


def test_an_unreachable_target_says_both_ends(report: Report, outcome: Outcome, training: Training) -> None:
    row = matching_data(report(), "results").rows[1]
    ends = "at area_high 0.1: 91.2 %, at 0.8: 89.7 %"
    assert row.reason == cells(row)["state"][1] == f"no strength is near enough: {ends}"
    said = outcome(parameter="k", state="unreachable", reason="too weak: at k 1: 91.0 %", ends=(training(1, 91.0),))
    assert matching_data(report(outcomes=(said,)), "r").rows[0].reason == "too weak: at k 1: 91.0 %", "not twice"
    several = (training(1, 90.0), training(1, 91.0, seed=1), training(2, None, reason="diverged"))
    assert ends_text(outcome(parameter="k", ends=several)) == "at k 1: 90.5 %, at 2: diverged"


def test_nothing_to_match_is_an_empty_table(report: Report) -> None:
    page = matching_data(report(outcomes=(), storage=""), "results")
    assert (page.rows, page.targets) == ((), ())
    assert page.counts == "0 trainings, 9 of them done by the last run · nothing to match"


def test_the_sparkline_has_every_training(outcome: Outcome, report: Report, training: Training) -> None:
    spark = matching_data(report(), "results").rows[0].spark
    assert [gap for gap, _ in spark.points] == pytest.approx([2.0, None, 2.0, 0.1, 0.6, 0.1])
    assert [is_open for _, is_open in spark.points] == [False] * 4 + [True] * 2
    assert (spark.top, spark.tolerance) == (pytest.approx(2.0), 0.5)
    for accuracy, top in ((8.2, 5.0), (88.3, 1.5)):  # one that collapsed does not flatten the rest, nor does a near one
        one = report(outcomes=(outcome(trainings=(training(1, accuracy),)),))
        assert matching_data(one, "results").rows[0].spark.top == top


def overlays(outcome: MatchOutcome) -> list[list[tuple[str, str]]]:
    whole = MatchReport(sweep="s", digest="d", profile="p", outcomes=(outcome,))
    return [list(lines) for lines in matching_data(whole, "results").rows[0].trainings]


def test_the_overlay_says_seed_and_reason(outcome: Outcome, training: Training) -> None:
    reference = training(None, 89.2, phase="reference")
    said = overlays(outcome(trainings=(*outcome().trainings, reference)))
    assert said[1] == [
        ("training", "2 of 7, search"), ("lambda_x", "1"), ("seed", "0"), ("accuracy", "none"),
        ("why", "the loss became nan at step 214"),
    ]  # fmt: skip
    assert ("seed", "2") in said[5] and ("gap", "-0.10 points") in said[5] and said[5][0][1].endswith("confirmation")
    assert said[6][0] == ("training", "7 of 7, reference, for the target")


def test_no_strength_is_no_curve_and_no_training_no_figure(report: Report) -> None:
    rows = matching_data(report(), "results").rows
    assert [row.history is not None for row in rows] == [True, True, True, True, False]
    assert [row.curve is not None for row in rows] == [True, True, False, True, False]


@pytest.mark.parametrize("changes", [{"tolerance": 0.0}, {"trainings": ()}, {"seeds": ()}, {"low": None, "high": None}])
def test_outcomes_at_the_edge_are_drawn(outcome: Outcome, report: Report, changes: dict[str, Any]) -> None:
    page = matching_data(report(outcomes=(outcome(**changes),)), "results")
    assert len(page.rows) == 1 and page.rows[0].spark.top > 0


def test_the_overlay_has_the_number_of_a_training_that_is_drawn_on_the_edge(
    outcome: Outcome, training: Training
) -> None:
    collapsed = outcome(trainings=(training(0.01, 89.0), training(1.0, 2.0), training(0.02, 88.3)))
    assert ("accuracy", "2.00 % on the select split") in overlays(collapsed)[1]


def test_a_network_that_guesses_is_not_ticked_whatever_an_older_report_says(report: Report, outcome: Outcome) -> None:
    old = outcome(target=10.0, accuracy=10.0, setups=("faces",), state="matched")
    page = matching_data(report(outcomes=(old,)), "results", {"faces": 10.0})
    (row,) = page.rows
    assert row.state == cells(row)["state"][0] == "at chance" and "1 at chance" in page.counts
    assert "the accuracy to match, 10.0 %, is chance (10.0 %)" in row.reason
    assert matching_data(report(outcomes=(old,)), "results", {"other": 10.0}).rows[0].state == "matched", "unknown"
    good = outcome(setups=("faces",))
    assert matching_data(report(outcomes=(good,)), "results", {"faces": 10.0}).rows[0].state == "matched"


def test_a_tolerance_finer_than_one_select_image_is_noted(report: Report, outcome: Outcome) -> None:
    page = matching_data(report(outcomes=(outcome(select_images=40), outcome(select_images=40))), "results")
    assert [line for line in page.targets if line.startswith("!")] == [
        "! the tolerance of 0.5 points is finer than one image of the select split (40 images, 2.5 points each)"
    ]
