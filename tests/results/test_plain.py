"""Tables of worst cases and of papers: text, Markdown, LaTeX and numbers."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace

import pytest

from midef.core import ResultRow
from midef.core.errors import SpecError
from midef.results.export import parquet_bytes
from midef.results.paper_table import paper_tables
from midef.results.plain import plain_csv, plain_latex, plain_markdown, plain_records, plain_text, with_columns
from midef.results.worst_case import common_attacks, worst_cases
from midef.results.worst_table import worst_tables

Rows = Callable[..., list[ResultRow]]
MADE = Callable[..., ResultRow]


def attacked(cell: Rows, defense: str, attack: str, value: float, setup: str) -> list[ResultRow]:
    rows = cell(defense, 0, 90.0, value, within=5.0, setup=setup, target_key=f"target/{defense}", attack_name=attack)
    return [replace(row, attack=attack) for row in rows]


def test_worst_cases_on_the_common_attacks(cell: Rows) -> None:
    rows = [*attacked(cell, "none", "gmi", 40.0, "S1"), *attacked(cell, "none", "ppa", 60.0, "S2")]
    rows += [*attacked(cell, "none", "vmi", 80.0, "S3"), *attacked(cell, "a", "gmi", 30.0, "S1")]
    rows += attacked(cell, "a", "ppa", 20.0, "S2")
    rows += attacked(cell, "none", "gmi", 1.0, "S4")  # of another setup: another public data set
    (table,) = worst_tables(rows)
    by_defense = {record["defense"]: record for record in table.records}
    assert by_defense["none"]["worst_case_accuracy_at_1"] == 60.0 and by_defense["none"]["attack"] == "ppa"
    assert by_defense["none"]["tried"] == 4 and by_defense["none"]["highest_of_all"] == 80.0
    assert by_defense["a"]["worst_case_accuracy_at_1"] == 30.0 and by_defense["a"]["attack"] == "gmi in S1"
    text = plain_text([table], 100)
    assert "compared: 2 attacks measured under every defense: gmi in S1, ppa" in text
    assert "80.0 by vmi" in text and max(map(len, text.splitlines())) <= 100
    assert "without a number" not in text  # an empty column
    assert plain_markdown([table]).count("\n| ") == 4 and r"\toprule" in plain_latex([table])
    (first, *_) = csv.DictReader(io.StringIO(plain_csv([table])))
    assert float(first["worst_case_accuracy_at_1"]) == 60.0
    assert parquet_bytes(plain_records([table]))[:4] == b"PAR1"


def test_an_attack_of_one_setup_is_the_same_where_another_target_has_it_in_two(cell: Rows) -> None:
    none = [*attacked(cell, "none", "ppa", 60.0, "S1"), *attacked(cell, "none", "ppa", 50.0, "S2")]
    targets = {"none": none, "a": attacked(cell, "a", "ppa", 20.0, "S2")}
    assert common_attacks(targets.values()) == {"ppa in S2"}
    assert {name: case.value for name, case in worst_cases(targets).items()} == {"none": 50.0, "a": 20.0}


def test_a_table_of_a_paper_beside_ours(cell: Rows, published: MADE) -> None:
    rows = cell("none", 0, 86.0, 70.0, within=5.0, profile="paper")
    rows += cell("bido", 0, 80.0, 10.0, within=5.0, profile="paper")
    about = {"source": "MIDRE, Tab.B.2"}
    papers = [published("natural_accuracy", 86.9, **about), published("attack_accuracy_at_1", 78.47, **about)]
    papers += [
        published("attack_accuracy_at_1", 12.0, "bido", **about),
        published("trade_off_delta", 2.0, "bido", **about),
    ]
    papers += [published("natural_accuracy", 70.0, setup="elsewhere", **about)]
    papers += [published("natural_accuracy", 1.0, source="MIDRE, Tab.3"), published("fid", 1.0, source="TL-DMI, Tab.3")]
    (table,) = paper_tables(rows, papers, "midre", "b.2")
    verdicts = [(record["defense"], record["metric"], record["verdict"]) for record in table.records]
    assert verdicts == [
        ("none", "natural_accuracy", "agrees"),
        ("none", "attack_accuracy_at_1", "differs"),
        ("bido", "attack_accuracy_at_1", "agrees"),
        ("none", "natural_accuracy", "not run"),
    ]
    assert table.title == "MIDRE, Tab.B.2" and "1 that follow from others" in " ".join(table.notes)
    assert table.records[1]["difference"] == pytest.approx(70.0 - 78.47)
    assert [one.title for one in paper_tables(rows, papers, "MIDRE")] == ["MIDRE, Tab.B.2", "MIDRE, Tab.3"]
    assert paper_tables([], papers, "MIDRE", "Table B.2")[0].records[0]["verdict"] == "not run"
    text = plain_text(with_columns([table], ["verdict", "setup"]), 40)
    assert text.splitlines()[-12:] and "agrees" in text and "86.9" not in text


def test_papers_and_tables_that_are_not_held(published: MADE) -> None:
    papers = [published("natural_accuracy", 86.9, source="MIDRE, Tab.B.2")]
    with pytest.raises(SpecError, match="no published numbers of a paper 'MIDER'; did you mean 'MIDRE'"):
        paper_tables([], papers, "MIDER")
    with pytest.raises(SpecError, match=r"no numbers of table 'B.9' of MIDRE are held; did you mean 'Tab.B.2'"):
        paper_tables([], papers, "MIDRE", "B.9")
    with pytest.raises(SpecError, match="no column 'verdct'; did you mean 'verdict'"):
        with_columns(paper_tables([], papers, "MIDRE"), ["verdct"])
