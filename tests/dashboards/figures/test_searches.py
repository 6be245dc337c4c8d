"""Figure of searches: a panel per series, a colour per defense, text of users escaped."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from midef.core.traces import Traces
from midef.dashboards.figures.searches import search_figure
from midef.results.searches import Search, SetupSearches, searches_text


def search(defense: str, *names: str, seeds: tuple[int, ...] = (0,)) -> Search:
    values = np.arange(33, dtype=np.float32).reshape(11, 3) / 33
    traces = Traces(np.array([0, 5, 9]), dict.fromkeys(names, values), np.arange(11), np.zeros(11)) if names else None
    return Search(defense, seeds, traces, ())


def test_a_panel_holds_a_band_and_a_mean_for_each_defense() -> None:
    searches = (search("none", "loss", "confidence"), search("<b>", "loss", "confidence"), search("old"))
    figure = search_figure([SetupSearches("one", "one: gmi", searches)])
    means = [drawn for drawn in figure.data if drawn.fill is None]
    assert [(drawn.name, drawn.xaxis) for drawn in means] == [
        *(("none", axis) for axis in ("x", "x2")),
        *(("&lt;b&gt;", axis) for axis in ("x", "x2")),
    ]
    assert [drawn.showlegend for drawn in means] == [True, False] * 2, "a defense is named once"
    assert list(means[0].x) == [0, 5, 9] and list(means[0].y) == pytest.approx([15 / 33, 16 / 33, 17 / 33])
    band = next(drawn for drawn in figure.data if drawn.fill)
    assert list(band.x) == [0, 5, 9, 9, 5, 0]
    assert list(band.y[:1]) + list(band.y[-1:]) == pytest.approx([27 / 33, 3 / 33])
    assert "one: gmi" in figure.layout.title.text and figure.layout.yaxis2.range == (0, 1)


def test_setups_stand_below_each_other_and_one_without_traces_is_left_out() -> None:
    setups = [
        SetupSearches("one", "one: gmi", (search("none", "loss"),)),
        SetupSearches("two", "two: brep_mi", (search("none", "radius"),)),
        SetupSearches("three", "three: inversion_model", (search("none"),)),
    ]
    figure = search_figure(setups)
    assert [note.text for note in figure.layout.annotations] == [
        *("one<br>loss", "one<br>radius"),
        *("two<br>loss", "two<br>radius"),
    ]
    assert [drawn.xaxis for drawn in figure.data if drawn.fill is None] == ["x", "x4"]


def test_rows_that_left_the_numbers_are_in_no_band() -> None:
    whole = search("none", "loss", "confidence")
    assert whole.traces is not None
    loss, confidence = (values.copy() for values in whole.traces.series.values())
    loss[0, 2], confidence[:] = np.nan, np.inf
    series = {"loss": loss, "confidence": confidence}
    broken = replace(whole, traces=replace(whole.traces, series=series))
    assert list(broken.bands) == ["loss"]
    assert broken.bands["loss"].mean == pytest.approx(loss[1:].mean(axis=0))
    text = searches_text([SetupSearches("one", "one: gmi", (broken,))])
    assert "nan" not in text and "11 of them left the numbers and are not counted" in text
    one = replace(whole, traces=replace(whole.traces, series={"loss": loss}))
    assert "1 of them left the numbers and is not counted" in searches_text([SetupSearches("one", "", (one,))])
