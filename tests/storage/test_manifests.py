"""Sweep manifests."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from midef.core import DamagedFile, StoreError, StoreSchemaError
from midef.storage import Store, columns

SPEC = '{"name": "small", "seeds": [0, 1]}'
ROWS = [
    {"cell": "c1", "setup": "m1", "seed": 0, "cost_s": 1.5},
    {"cell": "c2", "setup": "m2", "seed": 1, "cost_s": 2.0, "label": "bido"},
]


def test_a_manifest_comes_back(store: Store) -> None:
    store.sweeps.write_manifest("abc", ROWS, SPEC)
    manifest = Store.open(store.uri).sweeps.read_manifest("abc")
    assert manifest.rows == [{**ROWS[0], "label": None}, ROWS[1]]
    assert manifest.spec_json == SPEC


def test_a_manifest_is_replaced(store: Store) -> None:
    store.sweeps.write_manifest("abc", ROWS, SPEC)
    store.sweeps.write_manifest("abc", ROWS[:1], SPEC)
    assert store.sweeps.read_manifest("abc").rows == ROWS[:1]


def test_sweeps_lists_them_with_their_time(store: Store) -> None:
    assert store.sweeps.sweeps() == []
    for digest in ("abc", "def"):
        store.sweeps.write_manifest(digest, ROWS, SPEC)
    assert {digest for digest, _ in store.sweeps.sweeps()} == {"abc", "def"}
    assert all(when > 1_600_000_000 for _, when in store.sweeps.sweeps())


def test_the_latest_sweep_comes_first(local_store: Store) -> None:
    for digest, when in (("a", 100), ("b", 300), ("c", 200)):
        local_store.sweeps.write_manifest(digest, ROWS, SPEC)
        os.utime(Path(local_store.uri) / f"sweeps/{digest}/manifest.parquet", (when, when))
    assert local_store.sweeps.sweeps() == [("b", 300.0), ("c", 200.0), ("a", 100.0)]


def test_an_unknown_sweep_names_the_known_ones(store: Store) -> None:
    store.sweeps.write_manifest("abcd", ROWS, SPEC)
    with pytest.raises(StoreError, match=r"no sweep 'abce' in the store .*; did you mean 'abcd'"):
        store.sweeps.read_manifest("abce")


def damage(store: Store, how: str) -> None:
    """Put something else in the place of the manifest of sweep abc."""
    path = Path(store.uri) / MANIFEST
    content = path.read_bytes()
    path.unlink()
    match how:
        case "cut":
            path.write_bytes(content[:-20])
        case "empty":
            path.write_bytes(b"")
        case "zeros":
            path.write_bytes(bytes(len(content)))
        case "folder":
            path.mkdir()
        case "link to nowhere":
            path.symlink_to("nowhere")
        case "pipe":
            os.mkfifo(path)


MANIFEST = "sweeps/abc/manifest.parquet"
HOW = ["cut", "empty", "zeros", "folder", "link to nowhere", "pipe"]


@pytest.mark.parametrize("how", HOW)
def test_a_damaged_manifest_is_named_and_the_others_are_read(
    local_store: Store, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    for digest in ("abc", "def"):
        local_store.sweeps.write_manifest(digest, ROWS, SPEC)
    damage(local_store, how)
    with caplog.at_level(logging.WARNING):
        assert [digest for digest, _ in local_store.sweeps.manifests()] == ["def"]
        assert [digest for digest, _ in local_store.sweeps.manifests()] == ["def"]
    assert caplog.text.count("is passed over") == 1
    assert f"{MANIFEST} is passed over: the manifest of sweep abc is damaged" in caplog.text
    with pytest.raises(DamagedFile, match=r"manifest of sweep abc is damaged .* run the sweep again, finished cells"):
        local_store.sweeps.read_manifest("abc")
    local_store.sweeps.write_manifest("abc", ROWS, SPEC)  # planning again mends it
    assert {digest for digest, _ in local_store.sweeps.manifests()} == {"abc", "def"}
    assert local_store.location.exists("sweeps/.damaged/abc-manifest.parquet-1") == (how == "folder")


def test_a_file_in_the_place_of_a_sweep_is_set_aside(local_store: Store, caplog: pytest.LogCaptureFixture) -> None:
    local_store.location.put("sweeps/abc", b"?")
    with caplog.at_level(logging.WARNING):
        assert local_store.sweeps.sweeps() == []
    assert "sweeps/abc is damaged and set aside as sweeps/.damaged/abc-1: expected a folder" in caplog.text
    local_store.location.put("sweeps/abc", b"?")
    local_store.sweeps.write_manifest("abc", ROWS, SPEC)
    assert local_store.sweeps.read_manifest("abc").spec_json == SPEC


def test_no_bit_of_a_manifest_changes_what_is_read(local_store: Store) -> None:
    """Names of columns and the specification included: they stand where Parquet has no checksum."""
    local_store.sweeps.write_manifest("abc", ROWS, SPEC)
    content = local_store.location.get(MANIFEST)
    for position in range(0, len(content), 3):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        (Path(local_store.uri) / MANIFEST).write_bytes(damaged)
        with pytest.raises(DamagedFile):
            local_store.sweeps.read_manifest("abc")


def test_a_manifest_without_checksum_that_an_older_midef_wrote_is_read(local_store: Store) -> None:
    local_store.sweeps.write_manifest("abc", ROWS, SPEC)
    table = columns.read_checked(local_store.location.get(MANIFEST))
    older = {b"midef_manifest_schema": b"1", b"midef_spec": SPEC.encode()}
    for metadata, is_whole in ((older, True), ({**older, b"midef_spec": b"{}"}, False)):
        sink = pa.BufferOutputStream()
        pq.write_table(table.replace_schema_metadata(metadata), sink)
        local_store.location.put(MANIFEST, sink.getvalue().to_pybytes())
        assert [digest for digest, _ in local_store.sweeps.manifests()] == (["abc"] if is_whole else [])


def test_a_newer_manifest_is_refused(store: Store) -> None:
    store.sweeps.write_manifest("abc", ROWS, SPEC)
    path = "sweeps/abc/manifest.parquet"
    table = columns.read_checked(store.location.get(path))
    newer = table.replace_schema_metadata({b"midef_manifest_schema": b"3"})
    store.location.put(path, columns.to_parquet(newer))
    with pytest.raises(StoreSchemaError, match=r"has schema 3, midef .* supports up to 2: upgrade midef"):
        store.sweeps.read_manifest("abc")


def test_what_cannot_be_written_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="plans no cells"):
        store.sweeps.write_manifest("abc", [], SPEC)
    with pytest.raises(ValueError, match="column 'seed' must hold text or numbers, not both"):
        store.sweeps.write_manifest("abc", [{"seed": 1}, {"seed": "one"}], SPEC)
    with pytest.raises(ValueError, match="made of letters and digits"):
        store.sweeps.write_manifest("../abc", ROWS, SPEC)
    assert store.sweeps.sweeps() == []
