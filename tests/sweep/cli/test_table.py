"""`midef table`."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from midef.results.summary import by_setup, summarise
from midef.results.table import setup_table
from midef.storage import Store, rows_of_sweep

Midef = Callable[..., tuple[int, str, str]]


def test_tables(midef: Midef, finished: Path) -> None:
    text = midef("table", "--store", "store")[1]
    assert "test acc %" in text and "midre" in text
    assert all(len(line) <= 100 for line in text.splitlines())
    markdown = midef("table", "--store", "store", "--format", "md")[1]
    assert re.search(r"^\|.*midre.*\|$", markdown, re.M) and "| ---" in markdown.replace("|---", "| ---").replace(
        ":", ""
    )
    records = list(csv.DictReader(io.StringIO(midef("table", "--store", "store", "--format", "csv")[1])))
    assert {record["defense"] for record in records} == {"none", "midre"}
    latex = midef("table", "--store", "store", "--format", "latex")[1]
    assert latex.count(r"\begin{tabular}") == 1 and "midre" in latex


def test_numbers_of_files_are_those_of_the_table(midef: Midef, finished: Path, store: Store, tmp_path: Path) -> None:
    """The page draws the numbers of `setup_table`, too."""
    found = summarise(rows_of_sweep(store))
    (group,) = by_setup(found).values()
    table = setup_table(group)
    out = tmp_path / "new" / "results.parquet"
    code, said, _ = midef("table", "--store", "store", "--format", "parquet", "--out", out)
    assert code == 0 and str(out) in said
    stored = pq.read_table(out).to_pylist()
    text = midef("table", "--store", "store", "--format", "csv")[1]
    for row, cells, as_parquet, as_csv in zip(
        group, table.cells, stored, csv.DictReader(io.StringIO(text)), strict=True
    ):
        assert as_parquet["defense"] == as_csv["defense"] == row.defense
        shown = {column.key: cell.number for column, cell in zip(table.columns, cells, strict=True)}
        numbers = {key: shown[key] for key in ("natural_accuracy", "attack_accuracy_at_1", "queries", "delta")}
        assert sum(number is not None for number in numbers.values()) >= 3
        for key, number in numbers.items():
            assert as_parquet[key] == number
            assert (float(as_csv[key]) if as_csv[key] else None) == number


def test_chosen_columns_and_setups(midef: Midef, finished: Path, tmp_path: Path) -> None:
    setup = rows_of_sweep(Store.open(tmp_path / "store"))[0].setup
    chosen = ("--columns", "queries, att@1 %", "--setup", setup[0] + "*", "--setup", setup)
    text = midef("table", "--store", "store", *chosen)[1]
    heads = next(line for line in text.splitlines() if "defense" in line)
    assert heads.split() == ["defense", "queries", "att@1", "%"]
    records = list(csv.DictReader(io.StringIO(midef("table", "--store", "store", "--format", "csv", *chosen)[1])))
    assert list(records[0])[:6] == ["sweep", "profile", "setup", "defense", "queries", "attack_accuracy_at_1"]
    assert "natural_accuracy" not in records[0]


def test_a_table_in_a_file(midef: Midef, finished: Path, tmp_path: Path) -> None:
    code, said, _ = midef("table", "--store", "store", "--format", "latex", "--out", tmp_path / "t.tex")
    assert code == 0 and "t.tex" in said and r"\toprule" in (tmp_path / "t.tex").read_text()


def test_worst_cases_and_a_table_of_a_paper(midef: Midef, finished: Path) -> None:
    code, text, _ = midef("table", "--store", "store", "--worst")
    assert code == 0 and "50.0" in text and "by attack" in text and all(len(line) <= 100 for line in text.splitlines())
    code, text, _ = midef("table", "--store", "store", "--paper", "MIDRE", "--table", "B.4")
    assert code == 0 and text.startswith("MIDRE, Tab.B.4\n") and "not run" in text
    assert all(len(line) <= 100 for line in text.splitlines())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--table", "B.2"), "--table B.2 is a table of a paper; say of which: --paper MIDRE"),
        (("--paper", "MIDER"), "no published numbers of a paper 'MIDER'; did you mean 'MIDRE'?"),
        (("--paper", "MIDRE", "--table", "Z.1"), "no numbers of table 'Z.1' of MIDRE are held"),
        (("--worst", "--columns", "wrost"), "no column 'wrost'; did you mean 'worst'?"),
        (("--setup", "S99", "--setup", "T*"), "2 problems"),
        (("--setup", "S99"), "--setup S99 matches no setup with results"),
        (("--columns", "natural_acuracy"), "no column 'natural_acuracy'; did you mean 'natural_accuracy'?"),
        (("--columns", "deltta", "--format", "csv"), "no column 'deltta'; did you mean 'delta'?"),
        (("--format", "parquet"), "--format parquet is a file, not text; give its name: --out results.parquet"),
        (("--out", "."), "is a folder"),
        (("--sweep", "smal"), "this store has no sweep 'smal'; did you mean 'small'?"),
    ],
)
def test_wrong_options(midef: Midef, finished: Path, given: tuple[str, ...], said: str) -> None:
    code, _, err = midef("table", "--store", "store", *given)
    assert code == 2 and said in err


def test_the_table_of_an_empty_store(midef: Midef, store: Store) -> None:
    assert midef("table", "--store", "store") == (0, "no results yet\n", "")
    code, said, _ = midef("table", "--store", "store", "--format", "parquet", "--out", "x.parquet")
    assert (code, said) == (0, "no results yet\n") and not Path("x.parquet").exists()
