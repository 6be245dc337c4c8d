"""The figures of accuracy matching as data: what is drawn where."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from midef.core.match import MatchOutcome, MatchTraining
from midef.dashboards.figures.matching import best_so_far, draw_curve, draw_history, gaps

Outcome = Callable[..., MatchOutcome]
Training = Callable[..., MatchTraining]


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


def test_names_are_text_and_not_markup(outcome: Outcome) -> None:
    figure = draw_curve(outcome(parameter="<b>k</b>"))
    assert figure.layout.xaxis.title.text.startswith("&lt;b&gt;k&lt;/b&gt; (log)")
