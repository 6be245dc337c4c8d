"""Rows of large stores: what is read is what a slow reference reads, and no more is decoded than was asked for."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from midef.core import ResultRow
from midef.core.rows import ROW_SCHEMA_VERSION
from midef.storage import Location, Store, rows_of_sweep
from midef.storage.cell_state import CellState, worst_states
from midef.storage.columns import SCHEMA_KEY, rows_from_table, table_from_rows, to_parquet
from midef.storage.row_file import RowFile
from midef.storage.words import encoded
from midef.sweep.execution.status import read_status
from tests.storage.test_columns import plain_row

WEIGHT = {"refused": 0, "ok": 1, "failed": 2}
CELLS = [f"cell{i:02d}" for i in range(24)]


def random_rows(draws: random.Random, cell: str) -> list[ResultRow]:
    """Rows of one cell: any status, gaps in numbers, words that repeat and words that do not."""
    rows = []
    for number in range(draws.randint(1, 5)):
        status = draws.choice(["ok", "ok", "failed", "refused"])
        is_ok = status == "ok"
        given: dict[str, Any] = {
            **{"cell": cell, "setup": draws.choice(["m1", "m2"]), "metric": f"metric{number}", "status": status},
            **{"value": draws.uniform(-1, 1) if is_ok else None, "reason": "" if is_ok else draws.choice(["a", "b"])},
            **{"failure": "oom" if status == "failed" else "", "low": draws.choice([None, 0.5, float("inf")])},
            **{
                "n": draws.choice([None, 7, 2**60]),
                "outcomes": str(draws.random()),
                "is_estimate": draws.random() < 0.5,
            },
            **{"private_is_generated": draws.choice([None, True, False]), "remark": draws.choice(["", "ä < b"])},
        }
        rows.append(plain_row(**given))
    return rows


def filled(store: Store, draws: random.Random) -> dict[str, list[ResultRow]]:
    """A store with compactions over each other and loose files over them; returns what counts, by cell."""
    expected: dict[str, list[ResultRow]] = {}
    for _ in range(draws.randint(1, 4)):
        for cell in draws.sample(CELLS, draws.randint(1, 10)):
            expected[cell] = random_rows(draws, cell)
            store.results.write(cell, expected[cell])
        draws.choice([lambda: store.results.compact_when_many(0), store.results.compact, lambda: None])()
    return expected


def slow_state(rows: Sequence[ResultRow]) -> CellState:
    """Of the first row with the largest weight."""
    worst = max(rows, key=lambda row: WEIGHT[row.status])
    return CellState(worst.status, worst.reason, worst.failure)


@pytest.mark.parametrize("seed", range(12))
def test_what_is_read_is_what_was_written_last(local_store: Store, seed: int) -> None:
    draws = random.Random(seed)
    expected = filled(local_store, draws)
    results = Store.open(local_store.uri).results
    every = [row for cell in sorted(expected) for row in expected[cell]]
    assert results.read() == every
    assert rows_from_table(results.read_table()) == every
    assert results.states() == {cell: slow_state(rows) for cell, rows in sorted(expected.items())}
    some = draws.sample(CELLS, 8)
    assert results.read(some) == [row for row in every if row.cell in some]
    where: dict[str, Callable[[str], bool]] = {"setup": "m1".__eq__, "status": lambda word: word != "ok"}
    chosen = [row for row in every if row.cell in some and row.setup == "m1" and row.status != "ok"]
    assert results.read(some, where) == chosen


def test_numbers_and_words_keep_their_types(local_store: Store) -> None:
    (row,) = random_rows(random.Random(3), "a")[:1]
    local_store.results.write("a", [row])
    local_store.results.compact()
    (read,) = local_store.results.read()
    types = {name: type(value) for name, value in vars(row).items()}
    assert {name: type(value) for name, value in vars(read).items()} == types
    assert list(vars(read)) == list(vars(row)) and hash(read) == hash(row)


def test_a_row_that_is_none_is_refused_like_one_that_is_made() -> None:
    table = table_from_rows([plain_row()])
    wrong = table.set_column(table.column_names.index("status"), "status", [["fine"]])
    with pytest.raises(ValueError, match="status must be one of ok, failed, refused, got 'fine'"):
        rows_from_table(wrong)
    with pytest.raises(ValueError, match="rows lack the columns seed"):
        rows_from_table(table.drop_columns(["seed"]))


def test_the_first_of_equally_bad_rows_says_why() -> None:
    rows = [("a", "ok", ""), ("b", "failed", "first"), ("a", "refused", "x"), ("b", "failed", "second")]
    table = table_from_rows(
        [
            plain_row(cell=cell, status=status, reason=reason, value=1.0 if status == "ok" else None)
            for cell, status, reason in rows
        ]
    )
    assert worst_states(encoded(table)) == {"a": CellState("ok"), "b": CellState("failed", "first", "")}
    assert worst_states(encoded(table.slice(0, 0))) == {}


@pytest.mark.parametrize("version", [6, 9])
def test_a_large_file_of_an_older_midef_has_defaults_for_what_came_later(version: int) -> None:
    later = {6: {"ceiling", "is_estimate", "victims", "settings"}, 9: {"victims"}}[version]
    later |= {"confidence_start", "confidence_end", "confidence_rise", "confidence_rise_low"} if version < 8 else set()
    later |= {"gradient_start", "gradient_end"} if version < 8 else set()
    table = table_from_rows([plain_row(victims="report", settings="x")]).drop_columns(sorted(later))
    about = {SCHEMA_KEY: str(version).encode()}
    file = RowFile(to_parquet(table.replace_schema_metadata(about)), "old")
    (row,) = rows_from_table(file.table(list(vars(plain_row()))))
    assert (row.victims, row.settings) == ("", "" if version < 9 else "x")
    assert version < ROW_SCHEMA_VERSION


@pytest.fixture
def decoded_columns(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Columns that were decoded of Parquet files since."""
    names: list[str] = []
    real = pq.ParquetFile.read

    def read(self: pq.ParquetFile, columns: Any = None, **given: Any) -> Any:
        names.extend(self.schema_arrow.names if columns is None else columns)
        return real(self, columns=columns, **given)

    monkeypatch.setattr(pq.ParquetFile, "read", read)
    return names


@pytest.fixture
def read_files(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Files that were read since."""
    paths: list[str] = []
    real = Location.get
    monkeypatch.setattr(Location, "get", lambda self, path: (paths.append(path), real(self, path))[1])
    return paths


def planned(store: Store, name: str, cells: Sequence[str]) -> None:
    lines = [{"cell": cell, "setup": "m1", "pieces": "x"} for cell in cells]
    store.sweeps.write_manifest(f"{ord(name):x}" * 8, lines, f'{{"name": "{name}"}}')


def test_a_sweep_is_read_without_the_rows_of_other_sweeps(
    tmp_path: Path, decoded_columns: list[str], read_files: list[str]
) -> None:
    store = Store.open(tmp_path / "store")
    for name, cells in (("a", CELLS[:3]), ("b", CELLS[3:6])):
        for cell in cells:
            store.results.write(cell, [plain_row(cell=cell, sweep=name)])
        store.results.compact_when_many(0)
        planned(store, name, cells)
    for cell in CELLS[6:9]:
        store.results.write(cell, [plain_row(cell=cell, sweep="loose")])
    decoded_columns.clear()
    read_files.clear()
    rows = rows_of_sweep(store, "b")
    assert [row.cell for row in rows] == CELLS[3:6]
    counts = {name: decoded_columns.count(name) for name in ("cell", "value", "pieces", "setup")}
    # The cells of one plan and of two compact files; then all columns of the one file that has any.
    assert counts == {"cell": 4, "value": 1, "pieces": 0, "setup": 1}
    assert not [path for path in read_files if path.removeprefix("results/")[:6] in CELLS[6:9]]


def test_a_status_decodes_what_it_says_alone(tmp_path: Path, decoded_columns: list[str]) -> None:
    store = Store.open(tmp_path / "store")
    for cell in CELLS[:3]:
        store.results.write(cell, [plain_row(cell=cell)])
    store.results.compact_when_many(0)
    planned(store, "a", CELLS[:4])
    decoded_columns.clear()
    assert read_status(store).sweeps[0].cells == {"ok": 3, "missing": 1}
    assert sorted(decoded_columns) == ["cell", "cell", "failure", "reason", "setup", "status"]


def test_plans_are_equal_if_what_they_say_is(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    planned(store, "a", CELLS[:2])
    planned(store, "b", CELLS[:2])
    (_, one), (_, other) = store.sweeps.manifests()
    assert one == store.sweeps.read_manifest(store.sweeps.manifests()[0][0]) and one != other
    assert len(one) == 2 and one.column("nothing") == [None, None]


def test_rows_of_a_sweep_have_its_name(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    store.results.write("a", [plain_row(cell="a", sweep="first")])
    planned(store, "b", ["a"])
    assert [row.sweep for row in rows_of_sweep(store)] == ["b"]
