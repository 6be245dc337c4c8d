"""Sweep manifests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from midef.core import StoreError, StoreSchemaError
from midef.storage import Store, columns

ROWS = [
    {"cell": "c1", "setup": "m1", "seed": 0, "cost_s": 1.5},
    {"cell": "c2", "setup": "m2", "seed": 1, "cost_s": 2.0, "label": "bido"},
]


def test_a_manifest_comes_back(store: Store) -> None:
    store.sweeps.write_manifest("abc", ROWS, '{"seeds": [0, 1]}')
    manifest = Store.open(store.uri).sweeps.read_manifest("abc")
    assert manifest.rows == [{**ROWS[0], "label": None}, ROWS[1]]
    assert manifest.spec_json == '{"seeds": [0, 1]}'


def test_a_manifest_is_replaced(store: Store) -> None:
    store.sweeps.write_manifest("abc", ROWS, "{}")
    store.sweeps.write_manifest("abc", ROWS[:1], "{}")
    assert store.sweeps.read_manifest("abc").rows == ROWS[:1]


def test_sweeps_lists_them_with_their_time(store: Store) -> None:
    assert store.sweeps.sweeps() == []
    for digest in ("abc", "def"):
        store.sweeps.write_manifest(digest, ROWS, "{}")
    assert {digest for digest, _ in store.sweeps.sweeps()} == {"abc", "def"}
    assert all(when > 1_600_000_000 for _, when in store.sweeps.sweeps())


def test_the_latest_sweep_comes_first(local_store: Store) -> None:
    for digest, when in (("a", 100), ("b", 300), ("c", 200)):
        local_store.sweeps.write_manifest(digest, ROWS, "{}")
        os.utime(Path(local_store.uri) / f"sweeps/{digest}/manifest.parquet", (when, when))
    assert local_store.sweeps.sweeps() == [("b", 300.0), ("c", 200.0), ("a", 100.0)]


def test_an_unknown_sweep_names_the_known_ones(store: Store) -> None:
    store.sweeps.write_manifest("abcd", ROWS, "{}")
    with pytest.raises(StoreError, match=r"no sweep 'abce' in the store .*; did you mean 'abcd'"):
        store.sweeps.read_manifest("abce")


def test_a_damaged_manifest_is_explained(store: Store) -> None:
    store.sweeps.write_manifest("abc", ROWS, "{}")
    path = "sweeps/abc/manifest.parquet"
    store.location.put(path, store.location.get(path)[:-20])
    with pytest.raises(StoreError, match=r"manifest of sweep abc is damaged .* run the sweep again"):
        store.sweeps.read_manifest("abc")


def test_a_newer_manifest_is_refused(store: Store) -> None:
    store.sweeps.write_manifest("abc", ROWS, "{}")
    path = "sweeps/abc/manifest.parquet"
    table = columns.read_checked(store.location.get(path))
    newer = table.replace_schema_metadata({b"midef_manifest_schema": b"2"})
    store.location.put(path, columns.to_parquet(newer))
    with pytest.raises(StoreSchemaError, match=r"has schema 2, midef .* supports up to 1: upgrade midef"):
        store.sweeps.read_manifest("abc")


def test_what_cannot_be_written_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="plans no cells"):
        store.sweeps.write_manifest("abc", [], "{}")
    with pytest.raises(ValueError, match="column 'seed' must hold text or numbers, not both"):
        store.sweeps.write_manifest("abc", [{"seed": 1}, {"seed": "one"}], "{}")
    with pytest.raises(ValueError, match="made of letters and digits"):
        store.sweeps.write_manifest("../abc", ROWS, "{}")
    assert store.sweeps.sweeps() == []
