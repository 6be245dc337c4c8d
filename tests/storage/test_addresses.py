"""Addresses of sweeps: name, name@digest, digest; what is not clear is refused with the choices."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from midef.core.errors import SpecError
from midef.storage import Store, rows_of_sweep
from midef.storage.addresses import find_sweep

OLD, NEW, OTHER = "ab12" + "0" * 60, "ab34" + "0" * 60, "cd56" + "0" * 60


def plan(store: Store, digest: str, name: str, seeds: int = 1) -> None:
    store.sweeps.write_manifest(
        digest, [{"cell": f"c{s}"} for s in range(seeds)], json.dumps({"name": name, "s": seeds})
    )


@pytest.fixture
def two(local_store: Store) -> Store:
    """Two sweeps called tiny, and one called other."""
    plan(local_store, OLD, "tiny")
    plan(local_store, NEW, "tiny", seeds=2)
    plan(local_store, OTHER, "other")
    return local_store


@pytest.mark.parametrize(
    ("address", "digest"),
    [
        ("other", OTHER),
        ("tiny@ab12", OLD),
        ("tiny@ab3", NEW),  # a name and some digits
        (f"tiny@{NEW}", NEW),
        ("ab12", OLD),
        ("AB34", NEW),
        (OTHER, OTHER),
    ],
)
def test_what_is_found(two: Store, address: str, digest: str) -> None:
    assert find_sweep(two, address).digest == digest


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("tiny", r"2 sweeps of this store are called 'tiny'; say which: tiny@ab(12|34)000000 \(planned .* UTC, . cell"),
        (
            "tiny@ab",
            r"2 sweeps of this store called 'tiny' have a digest that begins with 'ab'; give more digits: tiny@",
        ),
        ("ab", "2 sweeps of this store have a digest that begins with 'ab'; give more digits"),
        ("cd5", "'cd5' is short for a digest: give at least 4 digits, other@cd56000000"),
        ("tiny@cd56", "no sweep 'tiny@cd56'; sweeps called 'tiny': tiny@ab"),
        ("tiny@", "no sweep 'tiny@'; sweeps called 'tiny': tiny@ab"),
        ("tini@ab12", "no sweep 'tini'; did you mean 'tiny'"),
        ("othr", "no sweep 'othr'; did you mean 'other'"),
        ("ffff", "no sweep 'ffff'; sweeps: "),
    ],
)
def test_what_is_refused(two: Store, address: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        find_sweep(two, address)
    with pytest.raises(SpecError, match=message):
        rows_of_sweep(two, address)


def test_the_choices_have_the_digits_that_tell_them_apart(local_store: Store) -> None:
    plan(local_store, "0" * 20 + "a", "long")
    plan(local_store, "0" * 20 + "b", "long", seeds=2)
    with pytest.raises(SpecError, match=f"long@{'0' * 20}[ab]"):
        find_sweep(local_store, "long")


def test_a_name_that_was_taken_means_the_new_plan_and_the_old_one_keeps_its_digest(two: Store) -> None:
    two.sweeps.give_name(NEW, [OLD, NEW])
    assert find_sweep(two, "tiny").digest == NEW
    assert find_sweep(two, "ab12").digest == OLD and find_sweep(two, "ab12").replaced_by == NEW
    two.sweeps.give_name(OLD, [NEW])  # and back
    assert (find_sweep(two, "tiny").digest, two.sweeps.replaced()) == (OLD, {NEW: OLD})


def test_a_damaged_mark_makes_the_name_unclear_again(two: Store, caplog: pytest.LogCaptureFixture) -> None:
    two.sweeps.give_name(NEW, [OLD])
    mark = Path(two.uri) / "sweeps" / OLD / "replaced.json"
    mark.write_bytes(mark.read_bytes().replace(b"ab34", b"cd56"))
    with pytest.raises(SpecError, match="2 sweeps of this store are called 'tiny'"):
        find_sweep(two, "tiny")
    assert "replaced.json is passed over: its content does not match its checksum" in caplog.text


def test_plans_of_one_specification_are_one_sweep(local_store: Store) -> None:
    for digest in (OLD, NEW):  # a new version of a component changed the cells
        local_store.sweeps.write_manifest(digest, [{"cell": digest}], '{"name": "tiny"}')
    assert find_sweep(local_store, "tiny").digest in (OLD, NEW)
