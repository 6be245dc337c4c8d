"""`midef table`."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path

from midef.storage import Store

Midef = Callable[..., tuple[int, str, str]]


def test_tables(midef: Midef, finished: Path) -> None:
    text = midef("table", "--store", "store")[1]
    assert "test acc %" in text and "midre" in text
    markdown = midef("table", "--store", "store", "--format", "md")[1]
    assert re.search(r"^\|.*midre.*\|$", markdown, re.M) and "| ---" in markdown.replace("|---", "| ---").replace(
        ":", ""
    )
    records = list(csv.DictReader(io.StringIO(midef("table", "--store", "store", "--format", "csv")[1])))
    assert {record["defense"] for record in records} == {"none", "midre"}


def test_the_table_of_a_sweep_that_is_not_there(midef: Midef, finished: Path) -> None:
    code, _, err = midef("table", "--store", "store", "--sweep", "smal")
    assert code == 2 and "this store has no sweep 'smal'; did you mean 'small'?" in err


def test_the_table_of_an_empty_store(midef: Midef, store: Store) -> None:
    assert midef("table", "--store", "store") == (0, "no results yet\n", "")
