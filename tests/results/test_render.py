"""Tables as a person reads them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import pytest

from midef.core import ResultRow
from midef.results.export import csv_table
from midef.results.render import markdown_table, text_table
from midef.results.summary import summarise
from midef.results.table import setup_table

Rows = Callable[..., list[ResultRow]]


def test_text_table_is_aligned_and_marks_the_front(cell: Rows) -> None:
    rows = [*cell("none", 0, 100, 50, within=1.0), *cell("a_long_defense(alpha=0.5)", 0, 80, 2, within=1.0)]
    lines = text_table(summarise(rows)).splitlines()
    head = next(line for line in lines if "test acc %" in line)
    body = [line for line in lines if line.startswith("●  ")]
    assert len(body) == 2
    assert {line.index("]") for line in body} == {body[0].index("]")}
    assert head.index("defense") == body[0].index("none")
    assert "chance 0.50 %" in lines[1] and "evaluator resnet 99.0 %" in lines[1]


def test_markdown_escapes_what_would_break_the_table(cell: Rows) -> None:
    said = markdown_table(summarise(cell("a|b<script>", 0, 80, 20)))
    assert "a\\|b&lt;script>" in said
    widths = {line.replace("\\|", "").count("|") for line in said.splitlines() if line.startswith("| ")}
    assert widths == {12}


def test_nothing_measured() -> None:
    assert summarise([]) == []
    assert text_table([]).startswith("no rows")
    assert markdown_table([]).startswith("no rows")
    assert csv_table([]) == ""


def test_a_setup_in_which_everything_failed(row: Callable[..., ResultRow]) -> None:
    rows = [row("natural_accuracy", None, d, status="failed", reason="no data") for d in ("none", "a")]
    found = summarise(rows)
    assert not any(r.is_on_front for r in found)
    assert text_table(found).count("no data") == 2
    assert csv_table(found).count("failed: no data") == 2


SETTINGS = "attack: code; protocol: ours; weights: code; training: ours; evaluator: paper"


@pytest.mark.parametrize("certainty", ["certain", "inferred"])
def test_certainty_stands_beside_the_setup(cell: Rows, certainty: str) -> None:
    of_row = {"certainty": certainty, "settings": SETTINGS}
    found = summarise([*cell("none", 0, 90, 50, **of_row), *cell("none", 0, 90, 50, setup="two")])
    text, markdown = text_table(found), markdown_table(found)
    label = f"one (row {certainty}, settings 3 of 5): gmi"
    assert label in text and f"**{label}" in markdown
    for said in (text, markdown):
        assert said.count("row certain: the paper counts this setup") == 1
        assert (
            said.count("evaluator in the paper; attack, weights in released code; protocol, training our choice") == 1
        )
    assert "two: gmi" in text and "**two: gmi" in markdown
    lines = list(csv.DictReader(io.StringIO(csv_table(found))))
    assert [line["certainty"] for line in lines] == [certainty, ""]


def test_stand_ins_of_all_setups_are_said_once(cell: Rows, stand_ins: str) -> None:
    rows = [r for s in ("one", "two") for r in cell("none", 0, 90, 50, setup=s, stand_ins=stand_ins)]
    for said in (text_table(summarise(rows)), markdown_table(summarise(rows))):
        assert said.count("stands in:") == 1
        assert said.startswith(f"stands in: {stand_ins}\n")
    one = text_table(summarise(rows[:2])).splitlines()
    assert one[:2] == [setup_table(summarise(rows[:2])).title, f"stands in: {stand_ins}"]


def test_stand_ins_that_differ_are_said_under_their_heading(cell: Rows) -> None:
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


def test_a_setup_that_was_refused_as_a_whole_is_one_line(cell: Rows, lost: Rows, stand_ins: str) -> None:
    rows = cell("none", 0, 90, 50)
    for setup in ("S20", "S21"):
        rows += [
            r
            for defense in ("none", "a", "b")
            for seed in (0, 1)
            for r in lost(defense, seed, setup=setup, access="", attack="ppa", certainty="certain", stand_ins=stand_ins)
        ]
    found = summarise(rows)
    line = "S20 (row certain): ppa on tiny_vgg16, synthetic_faces from synthetic_faces, 32 px"
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


def test_what_holds_for_all_setups_is_explained_once(cell: Rows) -> None:
    rows = [r for s in ("one", "two", "three") for r in cell("none", 0, 90, 50, setup=s)]
    for said in (text_table(summarise(rows)), markdown_table(summarise(rows))):
        assert said.count("on the front: no other defense") == 1


def test_a_matrix_stays_readable(cell: Rows, lost: Rows) -> None:
    """37 setups of 12 defenses: a table each, a line per refused setup, and no more."""
    defenses = ["none", *(f"defense{i}" for i in range(11))]
    rows = [r for i in range(15) for d in defenses for r in cell(d, 0, 90, 50, setup=f"S{i:02d}", certainty="certain")]
    rows += [r for i in range(15, 37) for d in defenses for r in lost(d, setup=f"S{i:02d}", certainty="inferred")]
    lines = text_table(summarise(rows)).splitlines()
    assert sum(line.endswith("refused: attack not registered: ppa (12 cells)") for line in lines) == 22
    assert len(lines) < 15 * (len(defenses) + 10) + 22 + 10


def test_a_refused_setup_stays_one_line(lost: Rows, matching: Callable[..., dict[str, Any]]) -> None:
    found = summarise([r for d in ("none", "a") for r in lost(d, **matching(88.2))])
    assert text_table(found).endswith("refused: attack not registered: ppa (2 cells)")
    assert len(text_table(found).splitlines()) == 1


def test_markdown_of_a_matched_setup_has_a_cell_per_column(matched_rows: list[ResultRow]) -> None:
    lines = [line for line in markdown_table(summarise(matched_rows)).splitlines() if line.startswith("| ")]
    assert {line.count("|") for line in lines} == {12}
    assert sum("**" in line for line in lines) == 2


def test_names_tell_a_terminal_nothing(cell: Rows) -> None:
    rows = cell("none", 0, 90, 20, setup="a\x1b[2J") + cell("mi\ndre\u202e", 0, 80, 10, setup="a\x1b[2J")
    text = text_table(summarise(rows))
    assert "a\\x1b[2J" in text and "mi\\ndre\\u202e" in text and all(line.isprintable() for line in text.split("\n"))


def test_names_are_no_markup(cell: Rows) -> None:
    rows = cell("none", 0, 90, 20) + cell("[a](http://x) `b`|<img>\nc", 0, 80, 10)
    (line,) = (line for line in markdown_table(summarise(rows)).split("\n") if "http" in line)
    assert r"[a\](http://x) \`b\`\|&lt;img> c" in line
