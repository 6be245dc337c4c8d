"""What the page says and draws of accuracy matching. No browser needed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from midef.core.match import MatchOutcome, MatchReport, MatchTraining
from midef.dashboards.figures.matching import COLUMNS, best_so_far, draw_curve, draw_history, ends_text, gaps, page_data

Outcome = Callable[..., MatchOutcome]
Report = Callable[..., MatchReport]
Training = Callable[..., MatchTraining]


def cells(row: dict[str, Any]) -> dict[str, list[Any]]:
    return dict(zip((key for key, _ in COLUMNS), row["cells"], strict=True))


def marks(figure: Any) -> dict[int, tuple[float, float]]:
    """Index of the training -> where it is drawn."""
    return {
        i: (x, y)
        for trace in figure.data
        if trace.customdata is not None
        for i, x, y in zip(trace.customdata, trace.x, trace.y, strict=True)
    }


def trace(figure: Any, name: str) -> Any:
    (found,) = [one for one in figure.data if one.name == name]
    return found


def texts(figure: Any) -> list[str]:
    return [note.text for note in figure.layout.annotations]


def test_gaps_and_the_best_of_the_search(outcome: Outcome) -> None:
    found = outcome()
    assert gaps(found) == pytest.approx([2.0, None, 2.0, 0.1, 0.6, 0.1], nan_ok=True)
    numbers, best = zip(*best_so_far(found), strict=True)
    assert numbers == (1, 2, 3, 4, 5, 6)
    assert best == pytest.approx([2.0, 2.0, 2.0, 0.1, 0.1, 0.1])


def test_a_confirmation_does_not_lower_the_best(outcome: Outcome, training: Training) -> None:
    trainings = (training(None, 88.2, phase="reference"), training(0.1, None), training(0.1, 87.2))
    found = outcome(trainings=(*trainings, training(0.1, 88.2, phase="confirm")))
    assert [number for number, _ in best_so_far(found)] == [3, 4]
    assert [gap for _, gap in best_so_far(found)] == pytest.approx([1.0, 1.0])


def test_without_a_target_there_are_no_gaps(outcome: Outcome) -> None:
    found = outcome(target=None, accuracy=None, state="failed", reason="the undefended model failed")
    assert gaps(found) == [None] * 6 and best_so_far(found) == []
    assert draw_history(found) is None
    assert marks(draw_curve(found))[0] == (0.001, 90.2), "accuracies are known all the same"


def test_the_table_has_a_row_per_outcome(report: Report) -> None:
    page = page_data(report(), "results")
    assert [row["state"] for row in page["rows"]] == ["matched", "unreachable", "fixed", "undecided", "failed"]
    bido = cells(page["rows"][0])
    assert bido["state"] == ["matched", "", None]
    assert bido["parameter"] == ["lambda_x", "0.001 to 1, log; 1 hides most", None]
    assert bido["strength"] == ["0.02", "", 0.02]
    assert bido["target"] == ["88.2", "± 0.5", 88.2]
    assert bido["accuracy"] == ["88.0", "mean of 3 seeds", 88.0]
    assert bido["gap"] == ["-0.20", "", pytest.approx(-0.2)]
    assert bido["report_accuracy"] == ["87.1", "", 87.1]
    assert bido["trainings"] == ["6", "1 without accuracy", 6]
    assert bido["history"] == ["", "", pytest.approx(0.1)], "sorted by the nearest training"
    fixed = cells(page["rows"][2])
    assert fixed["state"] == ["fixed", "1.1 points above as it is", None]
    assert (fixed["parameter"][0], fixed["strength"][0], fixed["accuracy"][1]) == ("–", "–", "mean of 1 seed")
    undecided = cells(page["rows"][3])
    assert undecided["parameter"][1] == "2 to 64, log; 2 hides most"
    assert [undecided[key][0] for key in ("strength", "accuracy", "gap", "report_accuracy")] == ["–"] * 4
    assert cells(page["rows"][4])["trainings"] == ["0", "", 0]


def test_the_header_counts_and_says_the_target_as_it_was_asked_for(report: Report) -> None:
    page = page_data(report(), "results")
    assert page["targets"] == ["asked for: none - 1; target 88.2 % ± 0.5 points of accuracy on the select split"]
    # Six of BiDO, two of MIDRE, whose ends are these, one of round, two of LoFt.
    counts = "1 matched, 1 unreachable, 1 fixed, 1 undecided, 1 failed"
    assert page["counts"] == f"11 trainings, 9 of them done by the last run · {counts}"
    assert page["command"] == "optuna-dashboard results/studies/journal.log"


def test_a_training_that_outcomes_share_counts_once(report: Report, outcome: Outcome) -> None:
    both = report(outcomes=(outcome(), outcome(defense="again")))
    assert page_data(both, "results")["counts"].startswith("6 trainings, ")


def test_several_targets_say_where_they_hold(report: Report, outcome: Outcome) -> None:
    others = (outcome(architecture="tiny_resnet18", target=90.0), outcome(architecture="cnn", target=None))
    targets = page_data(report(outcomes=(outcome(), outcome(defense="x"), *others)), "results")["targets"]
    assert [line.partition("; target ")[2] for line in targets] == [
        "88.2 % ± 0.5 points of accuracy on the select split, tiny_vgg16 on synthetic_faces",
        "90.0 % ± 0.5 points of accuracy on the select split, tiny_resnet18 on synthetic_faces",
        "unknown ± 0.5 points of accuracy on the select split, cnn on synthetic_faces",
    ]


def test_a_store_with_a_blank_in_its_name_is_quoted_and_no_studies_are_no_command(report: Report) -> None:
    assert page_data(report(), "my results")["command"] == "optuna-dashboard 'my results/studies/journal.log'"
    assert page_data(report(storage=""), "results")["command"] == ""


def test_an_unreachable_target_says_both_ends(report: Report, outcome: Outcome, training: Training) -> None:
    row = page_data(report(), "results")["rows"][1]
    ends = "at area_high 0.1: 91.2 %, at 0.8: 89.7 %"
    assert row["reason"] == cells(row)["state"][1] == f"no strength is near enough: {ends}"
    said = outcome(parameter="k", state="unreachable", reason="too weak: at k 1: 91.0 %", ends=(training(1, 91.0),))
    assert page_data(report(outcomes=(said,)), "r")["rows"][0]["reason"] == "too weak: at k 1: 91.0 %", "not twice"
    several = (training(1, 90.0), training(1, 91.0, seed=1), training(2, None, reason="diverged"))
    assert ends_text(outcome(parameter="k", ends=several)) == "at k 1: 90.5 %, at 2: diverged"


def test_nothing_to_match_is_an_empty_table(report: Report) -> None:
    page = page_data(report(outcomes=(), storage=""), "results")
    assert (page["rows"], page["targets"]) == ([], [])
    assert page["counts"] == "0 trainings, 9 of them done by the last run · nothing to match"


def test_the_sparkline_has_every_training(outcome: Outcome, report: Report, training: Training) -> None:
    spark = page_data(report(), "results")["rows"][0]["spark"]
    assert [gap for gap, _ in spark["points"]] == pytest.approx([2.0, None, 2.0, 0.1, 0.6, 0.1])
    assert [is_open for _, is_open in spark["points"]] == [False] * 4 + [True] * 2
    assert (spark["top"], spark["tolerance"]) == (pytest.approx(2.0), 0.5)
    for accuracy, top in ((8.2, 5.0), (88.3, 1.5)):  # one that collapsed does not flatten the rest, nor does a near one
        one = report(outcomes=(outcome(trainings=(training(1, accuracy),)),))
        assert page_data(one, "results")["rows"][0]["spark"]["top"] == top


def test_history_draws_gaps_by_number(outcome: Outcome) -> None:
    found = outcome()
    figure = draw_history(found)
    bottom, top = figure.layout.yaxis.range
    drawn = marks(figure)
    assert {i: x for i, (x, _) in drawn.items()} == {i: i + 1 for i in range(6)}
    for i, gap in enumerate(gaps(found)):
        if gap is not None:
            assert drawn[i][1] == pytest.approx(gap) and gap < top
    assert bottom < drawn[1][1] < 0, "one without an accuracy stands below the axis of the gaps"
    best = trace(figure, "best so far")
    assert best.line.shape == "hv"
    assert list(zip(best.x, best.y, strict=True)) == best_so_far(found)
    assert list(trace(figure, "search").customdata) == [0, 2, 3]
    assert list(trace(figure, "confirm").customdata) == [4, 5]
    assert trace(figure, "confirm").marker.color == "#FFFFFF" != trace(figure, "search").marker.color
    (band,) = [shape for shape in figure.layout.shapes if shape.type == "rect"]
    assert (band.y0, band.y1) == (0, 0.5)


def test_the_curve_draws_accuracy_by_strength(outcome: Outcome) -> None:
    found = outcome()
    figure = draw_curve(found)
    drawn = marks(figure)
    expected = {i: (t.strength, t.accuracy) for i, t in enumerate(found.trainings) if t.accuracy is not None}
    assert {i: at for i, at in drawn.items() if i in expected} == expected
    bottom, top = figure.layout.yaxis.range
    assert all(bottom < y < top for _, y in drawn.values())
    assert drawn[1][0] == 1.0
    assert drawn[1][1] < bottom + 0.1 * (top - bottom), "one without an accuracy stands on the bottom edge"
    assert list(trace(figure, "lost").customdata) == [1]
    assert figure.layout.xaxis.type == "log"
    left, right = figure.layout.xaxis.range
    assert left < math.log10(0.001) and right > math.log10(1.0)
    assert figure.layout.xaxis.title.text == "lambda_x (log)  hides more →"
    band, target, chosen = figure.layout.shapes
    assert (band.y0, band.y1, target.y0, chosen.x0) == (pytest.approx(87.7), pytest.approx(88.7), 88.2, 0.02)
    assert (trace(figure, "chosen").x, trace(figure, "chosen").y) == ((0.02,), (88.0,))
    assert texts(figure) == ["88.2 ± 0.5", "chosen 0.02"]
    assert figure.layout.annotations[1].x == pytest.approx(math.log10(0.02)), "notes take logarithms on a log axis"


def test_the_curve_of_a_linear_strength_that_hides_more_below(outcome: Outcome, training: Training) -> None:
    trainings = (training(-0.3, 84.0), training(-0.01, 89.0))
    found = outcome(parameter="alpha", low=-0.3, high=-0.01, scale="linear", larger_hides=False, strength=None,
                    trainings=trainings)  # fmt: skip
    figure = draw_curve(found)
    assert figure.layout.xaxis.type == "linear"
    assert figure.layout.xaxis.title.text == "← hides more  alpha"
    left, right = figure.layout.xaxis.range
    assert left < -0.3 and right > -0.01
    assert texts(figure) == ["88.2 ± 0.5"]


def test_a_training_that_collapsed_sits_on_the_edge(outcome: Outcome, training: Training) -> None:
    found = outcome(trainings=(training(0.01, 89.0), training(1.0, 2.0), training(0.02, 88.3)))
    history, curve = draw_history(found), draw_curve(found)
    assert marks(history)[1] == (2, 10.0) and history.layout.yaxis.range[1] == pytest.approx(11.2)
    assert marks(curve)[1] == (1.0, 78.2) and curve.layout.yaxis.range[0] > 70
    assert list(trace(history, "search").marker.symbol) == ["circle", "triangle-up", "circle"]
    assert list(trace(curve, "search").marker.symbol) == ["circle", "triangle-down", "circle"]
    assert ("accuracy", "2.00 % on the select split") in page_data_of(found)[1], "the overlay has the number"


def page_data_of(outcome: MatchOutcome) -> list[list[tuple[str, str]]]:
    whole = MatchReport(sweep="s", digest="d", profile="p", outcomes=(outcome,))
    found: list[list[tuple[str, str]]] = page_data(whole, "results")["rows"][0]["trainings"]
    return found


def test_the_overlay_says_seed_and_reason(outcome: Outcome, training: Training) -> None:
    reference = training(None, 89.2, phase="reference")
    said = page_data_of(outcome(trainings=(*outcome().trainings, reference)))
    assert said[1] == [
        ("training", "2 of 7, search"), ("lambda_x", "1"), ("seed", "0"), ("accuracy", "none"),
        ("why", "the loss became nan at step 214"),
    ]  # fmt: skip
    assert ("seed", "2") in said[5] and ("gap", "-0.10 points") in said[5] and said[5][0][1].endswith("confirmation")
    assert said[6][0] == ("training", "7 of 7, reference, for the target")


def test_no_strength_is_no_curve_and_no_training_no_figure(report: Report) -> None:
    rows = page_data(report(), "results")["rows"]
    assert [row["history"] is not None for row in rows] == [True, True, True, True, False]
    assert [row["curve"] is not None for row in rows] == [True, True, False, True, False]


def test_names_are_text_and_not_markup(outcome: Outcome) -> None:
    figure = draw_curve(outcome(parameter="<b>k</b>"))
    assert figure.layout.xaxis.title.text.startswith("&lt;b&gt;k&lt;/b&gt; (log)")


@pytest.mark.parametrize("changes", [{"tolerance": 0.0}, {"trainings": ()}, {"seeds": ()}, {"low": None, "high": None}])
def test_outcomes_at_the_edge_are_drawn(outcome: Outcome, report: Report, changes: dict[str, Any]) -> None:
    page = page_data(report(outcomes=(outcome(**changes),)), "results")
    assert len(page["rows"]) == 1 and page["rows"][0]["spark"]["top"] > 0
