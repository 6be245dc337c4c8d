"""Result rows: written per cell, merged without losing or doubling any."""

from __future__ import annotations

import json
import logging
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from midef.core import ResultRow, StoreError
from midef.core.rows import ROW_SCHEMA_VERSION
from midef.storage import Location, ResultStore, Store, cell_state, columns


def row(cell: str, metric: str = "attack_accuracy", value: float | None = 42.0, **given: Any) -> ResultRow:
    about = {
        **{"sweep": "s", "profile": "smoke", "setup": "m1", "defense": "bido", "defense_name": "bido"},
        **{
            "defense_params": "{}",
            "attack": "gmi",
            "attack_name": "gmi",
            "access": "white_box",
            "architecture": "vgg16",
        },
        **{"private": "faces", "public": "faces", "evaluator": "facenet", "resolution_px": 64, "identities": 10},
        **{"images_per_identity": 5, "seed": 0, "unit": "%", "larger_is": "less private"},
    }
    return ResultRow(cell=cell, metric=metric, value=value, **{**about, **given})


def failed(cell: str) -> ResultRow:
    return row(cell, "fid", None, status="failed", reason="out of memory", failure="oom")


def refused(cell: str) -> ResultRow:
    return row(cell, "knn", None, status="refused", reason="too few samples", failure="refused")


def files(store: Store) -> list[str]:
    return store.location.files("results")


def flip(store: Store, path: str) -> None:
    content = bytearray(store.location.get(path))
    first_column = pq.read_metadata(pa.BufferReader(bytes(content))).row_group(0).column(0)
    content[4 + first_column.total_compressed_size - 1] ^= 1  # after the magic PAR1: the last byte of its last page
    store.location.put(path, bytes(content))


def test_rows_come_back_sorted_by_cell(store: Store) -> None:
    store.results.write("b", [row("b", "z"), row("b", "a")])
    store.results.write("a", [failed("a")])
    assert Store.open(store.uri).results.read() == [failed("a"), row("b", "z"), row("b", "a")]
    assert files(store) == ["results/a.parquet", "results/b.parquet"]


def test_an_empty_store_has_typed_columns(store: Store) -> None:
    assert store.results.read() == []
    assert store.results.read_table().schema.equals(columns.ROW_SCHEMA)
    assert store.results.compact() == (0, 0, 0)


def test_writing_again_replaces_the_rows_of_the_cell(store: Store) -> None:
    store.results.write("a", [failed("a")])
    store.results.write("a", [row("a")])
    assert store.results.read() == [row("a")]


def test_a_cell_failed_if_any_metric_did_and_is_refused_if_nothing_was_measured(store: Store) -> None:
    store.results.write("good", [row("good")])
    store.results.write("mostly", [row("mostly"), refused("mostly")])
    store.results.write("refused", [refused("refused"), refused("refused")])
    store.results.write("failed", [failed("failed"), refused("failed"), row("failed")])
    expected = {"good": "ok", "mostly": "ok", "refused": "refused", "failed": "failed"}
    assert store.results.cells() == expected
    store.results.compact()
    assert store.results.cells() == expected
    assert Store.open(store.uri).results.cells() == expected


def test_has_knows_compacted_cells(store: Store) -> None:
    assert not store.results.has("a")
    store.results.write("a", [row("a")])
    assert store.results.has("a")
    store.results.write("b", [row("b")])
    store.results.compact()
    assert store.results.has("a")
    assert not store.results.has("c")


@pytest.mark.parametrize("compacted", [False, True], ids=["own file", "compacted"])
def test_remove_forgets_one_cell(store: Store, compacted: bool) -> None:
    for cell in ("a", "b"):
        store.results.write(cell, [row(cell)])
    if compacted:
        store.results.compact()
    store.results.remove("a")
    assert store.results.read() == [row("b")]
    assert not store.results.has("a")
    store.results.remove("b")
    assert files(store) == []


def test_what_is_wrong_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="no rows for cell a; a cell that failed is a row with status 'failed'"):
        store.results.write("a", [])
    with pytest.raises(ValueError, match=r"rows of cell 'a' must have it as their 'cell', found \['b'\]"):
        store.results.write("a", [row("a"), row("b")])
    with pytest.raises(ValueError, match=r"made of letters and digits, got '\.\./a'"):
        store.results.write("../a", [row("../a")])
    assert files(store) == []


def test_compact_keeps_every_row_in_one_file(store: Store) -> None:
    for cell in ("a", "b", "c"):
        store.results.write(cell, [row(cell), failed(cell)])
    before = store.results.read()
    assert store.results.compact() == (3, 1, 6)
    assert store.results.read() == before
    assert [path.startswith("results/compact-") for path in files(store)] == [True]
    assert store.results.compact() == (1, 1, 6)


@pytest.mark.parametrize("again", ["a", "f"])  # listed before and after the compact file
def test_a_recomputed_cell_wins_over_the_compacted_one(store: Store, again: str) -> None:
    for cell in ("a", "f"):
        store.results.write(cell, [failed(cell)])
    store.results.compact()
    store.results.write(again, [row(again)])
    expected = [row(cell) if cell == again else failed(cell) for cell in ("a", "f")]
    assert store.results.read() == expected
    assert store.results.cells() == {"a": "failed", "f": "failed", again: "ok"}
    assert store.results.compact() == (2, 1, 2)
    assert store.results.read() == expected


def killed_when(patch: pytest.MonkeyPatch, method: str, call: int) -> None:
    """From the given call on, the method of the location does nothing but end the process, as far as we can tell."""
    original, calls = getattr(Location, method), []

    def dying(self: Location, *given: Any) -> Any:
        calls.append(given)
        if len(calls) >= call:
            raise KeyboardInterrupt
        return original(self, *given)

    patch.setattr(Location, method, dying)


@pytest.mark.parametrize(
    ("method", "call", "left"),
    [("put", 1, 3), ("delete", 1, 4), ("delete", 2, 3), ("delete", 3, 2)],
    ids=["before writing", "after writing", "one file deleted", "two files deleted"],
)
def test_a_killed_compaction_loses_and_doubles_nothing(store: Store, method: str, call: int, left: int) -> None:
    store.results.write("a", [failed("a")])
    store.results.write("b", [row("b")])
    store.results.compact()
    store.results.write("a", [row("a")])  # the compact file below still holds the failed row
    store.results.write("c", [row("c")])
    before = store.results.read()
    assert before == [row("a"), row("b"), row("c")]
    with pytest.MonkeyPatch.context() as patch:
        killed_when(patch, method, call)
        with pytest.raises(KeyboardInterrupt):
            store.results.compact()
    assert len(files(store)) == left
    again = ResultStore(store.location)
    assert again.read() == before
    assert again.cells() == {"a": "ok", "b": "ok", "c": "ok"}
    assert again.compact() == (left, 1, 3)
    assert again.read() == before


def test_a_cell_written_during_a_compaction_is_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for cell in ("a", "b"):
        store.results.write(cell, [failed(cell)])
    original = Location.put

    def put_while_another_writes(self: Location, path: str, content: bytes) -> None:
        original(self, path, content)
        monkeypatch.undo()
        store.results.write("a", [row("a")])

    monkeypatch.setattr(Location, "put", put_while_another_writes)
    store.results.compact()
    assert store.results.read() == [row("a"), failed("b")]


def test_many_files_of_cells_become_one_more_compact_file(store: Store) -> None:
    for cell in ("a", "b"):
        store.results.write(cell, [failed(cell)])
    store.results.compact()
    for cell in ("a", "c", "d"):
        store.results.write(cell, [row(cell)])
    (earlier,) = (path for path in files(store) if path.startswith("results/compact-"))
    expected = [row("a"), failed("b"), row("c"), row("d")]
    assert store.results.compact_when_many(3) == 0 and len(files(store)) == 4
    assert store.results.compact_when_many(2) == 3
    assert earlier in files(store) and len(files(store)) == 2
    assert ResultStore(store.location).read() == expected, "a of the later file counts"
    assert ResultStore(store.location).cells() == {"a": "ok", "b": "failed", "c": "ok", "d": "ok"}
    assert store.results.compact() == (2, 1, 4) and store.results.read() == expected


@pytest.mark.parametrize("merge", ["compact", "compact_when_many"])
def test_of_two_drivers_that_compact_the_one_that_read_later_wins(
    store: Store, monkeypatch: pytest.MonkeyPatch, merge: str
) -> None:
    """One has read a when it failed; it is written again, and merged by the other, before the first one writes."""
    for cell in ("a", "b"):
        store.results.write(cell, [failed(cell)])
    original = Location.put

    def put_after_another_driver(self: Location, path: str, content: bytes) -> None:
        monkeypatch.undo()
        other = ResultStore(store.location)
        other.write("a", [row("a")])
        other.compact_when_many(0)
        original(self, path, content)

    monkeypatch.setattr(Location, "put", put_after_another_driver)
    store.results.compact() if merge == "compact" else store.results.compact_when_many(0)
    assert len(files(store)) == 2, "one of each"
    assert ResultStore(store.location).read() == [row("a"), failed("b")]
    assert ResultStore(store.location).cells() == {"a": "ok", "b": "failed"}


@pytest.mark.parametrize("ask", ["cells", "read", "has"])
def test_a_reader_beside_a_compaction_misses_no_cell(store: Store, monkeypatch: pytest.MonkeyPatch, ask: str) -> None:
    for cell in ("a", "b"):
        store.results.write(cell, [row(cell)])
    original = ResultStore._list

    def list_then_compact(self: ResultStore) -> list[str]:
        paths = original(self)
        monkeypatch.undo()
        ResultStore(self.location).compact()
        return paths[:1] if ask == "has" else paths  # a listing may also lack the file of b that is already gone

    monkeypatch.setattr(ResultStore, "_list", list_then_compact)
    if ask == "cells":
        assert store.results.cells() == {"a": "ok", "b": "ok"}
    elif ask == "read":
        assert store.results.read() == [row("a"), row("b")]
    else:
        assert store.results.has("b")


def test_reading_gives_up_on_files_that_keep_vanishing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ResultStore, "_list", lambda self: ["results/gone.parquet"])
    with pytest.raises(StoreError, match="change faster than they can be read; try again after the compaction"):
        store.results.read()


@pytest.mark.parametrize("ask", ["read", "cells", "has"])
def test_a_truncated_file_is_set_aside_and_its_cell_recomputed(
    store: Store, caplog: pytest.LogCaptureFixture, ask: str
) -> None:
    for cell in ("a", "b"):
        store.results.write(cell, [row(cell)])
    content = store.location.get("results/a.parquet")
    store.location.put("results/a.parquet", content[: len(content) // 2])
    with caplog.at_level(logging.WARNING):
        assert {
            "read": lambda: store.results.read() == [row("b")],
            "cells": lambda: store.results.cells() == {"b": "ok"},
            "has": lambda: not store.results.has("a"),
        }[ask]()
    assert "results/a.parquet is damaged and set aside as results/.damaged/a.parquet-1" in caplog.text
    assert store.location.exists("results/.damaged/a.parquet-1")
    assert files(store) == ["results/b.parquet"]


def test_a_flipped_byte_is_found(store: Store) -> None:
    for cell in ("a", "b"):
        store.results.write(cell, [row(cell)])
    flip(store, "results/a.parquet")
    assert store.results.read() == [row("b")]


def test_a_damaged_compact_file_is_set_aside(store: Store) -> None:
    for cell in ("a", "b"):
        store.results.write(cell, [row(cell)])
    store.results.compact()
    store.results.write("c", [row("c")])
    flip(store, next(path for path in files(store) if "compact-" in path))
    assert Store.open(store.uri).results.read() == [row("c")]
    assert store.results.cells() == {"c": "ok"}


def test_the_file_of_another_cell_is_not_believed(store: Store) -> None:
    store.results.write("a", [row("a")])
    store.location.move("results/a.parquet", "results/b.parquet")
    assert store.results.cells() == {}


def test_rows_of_a_newer_midef_are_refused_and_stay(store: Store) -> None:
    newer = columns.table_from_rows([row("a")]).replace_schema_metadata(
        {columns.SCHEMA_KEY: str(ROW_SCHEMA_VERSION + 1).encode()}
    )
    store.location.put("results/a.parquet", columns.to_parquet(newer))
    for ask in (store.results.cells, store.results.read, store.results.compact):
        with pytest.raises(StoreError, match="upgrade midef"):
            ask()
    assert files(store) == ["results/a.parquet"]


def test_trouble_with_reading_is_not_taken_for_damage(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.results.write("a", [row("a")])
    with monkeypatch.context() as patch:
        patch.setattr(Location, "get", lambda self, path: (_ for _ in ()).throw(StoreError("connection lost")))
        with pytest.raises(StoreError, match="connection lost"):
            store.results.read()
    assert store.results.read() == [row("a")]


def test_results_of_a_moved_folder_are_found(local_store: Store, tmp_path: Path) -> None:
    for cell in ("a", "b"):
        local_store.results.write(cell, [row(cell)])
    local_store.results.compact()
    local_store.results.write("c", [row("c")])
    moved = Path(local_store.uri).rename(tmp_path / "moved")
    assert Store.open(moved, create=False).results.read() == [row("a"), row("b"), row("c")]


# --- what a cell's file says of itself --------------------------------------------------------------------------------


def test_the_state_of_a_cell_is_told_without_its_columns(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.results.write("good", [row("good")])
    store.results.write("bad", [row("bad"), failed("bad")])
    store.results.write("never", [refused("never")])
    monkeypatch.setattr(ResultStore, "_parse", lambda *_: pytest.fail("the columns were read"))
    assert store.results.states() == {
        "bad": cell_state.CellState("failed", "out of memory", "oom"),
        "good": cell_state.CellState("ok"),
        "never": cell_state.CellState("refused", "too few samples", "refused"),
    }
    assert store.results.has("good")


def test_a_file_that_says_nothing_of_itself_is_read(store: Store) -> None:
    rows = [row("a"), failed("a")]
    store.location.put("results/a.parquet", columns.to_parquet(columns.table_from_rows(rows)))
    assert store.results.states() == {"a": cell_state.CellState("failed", "out of memory", "oom")}
    assert store.results.has("a")


def test_the_state_that_an_older_midef_wrote_is_read() -> None:
    """Without a kind of failure."""
    content = json.dumps([4, "a", "failed", "out of memory"]).encode()
    said = b"midef_state:%08x:%08x:%s" % (zlib.crc32(content), len(content), content)
    table = columns.table_from_rows([failed("a")]).replace_schema_metadata({cell_state.STATE_KEY: said})
    assert cell_state.state_in(columns.to_parquet(table), "a") == cell_state.CellState("failed", "out of memory", "")


def test_a_state_that_was_changed_is_not_believed(store: Store) -> None:
    """Every bit of what a file says of itself: the columns are asked instead, or the file is set aside."""
    store.results.write("a", [failed("a")])
    content = store.location.get("results/a.parquet")
    begin, end = content.rindex(b"midef_state:"), content.rindex(b"out of memory") + len(b"out of memory")
    assert cell_state.state_in(content, "a") == cell_state.CellState("failed", "out of memory", "oom")
    for position in range(begin, end):
        damaged = bytearray(content)
        damaged[position] ^= 1
        assert cell_state.state_in(bytes(damaged), "a") is None, position
    assert cell_state.state_in(content, "b") is None
    for length in (0, 4, 11, len(content) // 2, len(content) - 1):
        assert cell_state.state_in(content[:length], "a") is None


def test_a_reason_that_looks_like_a_state_is_none(store: Store) -> None:
    table = cell_state.with_state(columns.table_from_rows([row("a")]), "a", cell_state.CellState("ok"))
    said = table.schema.metadata[cell_state.STATE_KEY]
    fake = row("a", value=None, status="failed", reason=said.decode())
    store.results.write("a", [fake])
    assert store.results.cells() == {"a": "failed"}
    assert store.results.read() == [fake]


@pytest.mark.parametrize("ask", ["cells", "has", "read"])
def test_damaged_rows_are_found_by_whoever_looks_first(store: Store, ask: str) -> None:
    """A plan that calls a cell done must not be followed by a table without it."""
    for cell in ("a", "b"):
        store.results.write(cell, [row(cell)])
    flip(store, "results/a.parquet")
    if ask == "has":
        assert not store.results.has("a")
    if ask == "read":
        assert store.results.read() == [row("b")]
    assert store.results.cells() == {"b": "ok"}


def test_rows_that_an_older_midef_wrote_without_a_checksum_are_read(store: Store) -> None:
    metadata = {columns.SCHEMA_KEY: b"5"}
    table = columns.table_from_rows([row("a")]).replace_schema_metadata(metadata)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, write_page_checksum=True)
    store.location.put("results/a.parquet", sink.getvalue().to_pybytes())
    assert store.results.read() == [row("a")]
    assert store.results.cells() == {"a": "ok"}


def test_a_compact_file_is_what_its_name_says(store: Store) -> None:
    for cell in ("a", "b"):
        store.results.write(cell, [row(cell)])
    store.results.compact()
    (path,) = files(store)
    store.location.move(path, path.replace("compact-", "compact-0"))
    assert ResultStore(store.location).cells() == {}
