"""`midef merge`: what is new is copied, what both have is compared, nothing is overwritten."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from midef.core import Failure
from midef.core.match import MatchReport
from midef.storage import Store
from midef.storage.addresses import stored_sweeps
from midef.storage.matches import write_match
from midef.sweep.catalogue import read_spec
from midef.sweep.execution.result_rows import lost_rows
from midef.sweep.matching.journal_lines import JOURNAL
from midef.sweep.spec.resolve import Sweep, resolve

Midef = Callable[..., tuple[int, str, str]]


@pytest.fixture
def sweep(finished: Path, store: Store) -> Sweep:
    """A finished sweep in `store`, with a report of matching and a log."""
    write_match(store, MatchReport(sweep="small", digest="d1", profile="smoke", outcomes=()))
    store.location.put("logs/target/abc/1-m-1-1.log", b"text")
    return resolve(read_spec(finished))


def files_of(folder: str) -> dict[str, bytes]:
    root = Path(folder)
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_into_an_empty_store(midef: Midef, sweep: Sweep, store: Store) -> None:
    before = files_of("store")
    code, out, err = midef("merge", "store", "--store", "both")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == (
        "store: 2 split, 2 target, 1 evaluator, 1 prior, 1 regressor, 2 reconstructions, 2 scores, 2 cells, 1 plan, "
        "1 match, 1 log; 0 things here already"
    )
    assert "0 artifacts, 0 cells with results, 0 plans before, 11 artifacts, 2 cells with results, 1 plan now" in out
    assert files_of("store") == before, "the source was changed"
    assert midef("table", "--store", "both")[1] == midef("table", "--store", "store")[1]
    assert midef("verify", "--store", "both")[0] == 0
    merged = Store.open("both")
    assert stored_sweeps(merged)[0].planned == pytest.approx(stored_sweeps(store)[0].planned, abs=1e-3)
    key = sweep.cells[0].recipes.target.key
    assert merged.artifacts.meta(key) == store.artifacts.meta(key)
    again = files_of("both")
    code, out, _ = midef("merge", "store", "store", "--store", "both")
    assert (code, out.count("store: nothing new; 15 things here already")) == (0, 2)
    assert files_of("both") == again


def test_the_journal_of_searches_stays_and_is_named(midef: Midef, sweep: Sweep, store: Store) -> None:
    store.location.put(JOURNAL, b'{"op_code": 0}\n')
    code, out, _ = midef("merge", "store", "--store", "both")
    assert code == 0 and f"not merged: the journal of strength searches, {JOURNAL}." in out
    assert not Store.open("both").location.exists(JOURNAL)
    Store.open("both").location.put(JOURNAL, b'{"op_code": 0}\n')
    assert "not merged" not in midef("merge", "store", "--store", "both")[1], "both have the same"
    Store.open("second")
    assert "not merged" not in midef("merge", "second", "--store", "both")[1], "there is none to merge"


def test_halves_of_a_sweep(midef: Midef, sweep: Sweep, store: Store) -> None:
    """One machine measured one cell and failed at the other, the second machine the reverse."""
    shutil.copytree("store", "second")
    for name, planned in zip(("store", "second"), sweep.cells, strict=True):
        half = Store.open(name)
        half.results.write(planned.cell.digest, lost_rows("small", planned, Failure("oom", "out of memory")))
    code, out, _ = midef("merge", "store", "second", "--store", "both")
    assert code == 0 and "1 cell had failed here and was measured there" in out
    assert set(Store.open("both").results.cells().values()) == {"ok"}
    code, out, _ = midef("merge", "store", "--store", "both")  # a failure says nothing against a measurement
    assert code == 0 and set(Store.open("both").results.cells().values()) == {"ok"}


def test_conflicts_are_named_and_what_rests_on_them_is_left_out(midef: Midef, sweep: Sweep, store: Store) -> None:
    """The same recipe was trained on another device, and came out differently."""
    other, recipes = Store.open("other"), sweep.cells[0].recipes
    with other.artifacts.workspace() as folder:
        (folder / "measurements.json").write_text("[]")
        other.artifacts.publish(recipes.target, folder, wall_s=1.0, facts={"device": "gpu test"})
    before = files_of("other")
    code, out, _ = midef("merge", "store", "--store", "other")
    assert code == 5
    target, cell = recipes.target.key.short, sweep.cells[0].cell.digest[:10]
    assert f"conflict, kept as it is here: artifact {target} differs: here built by midef " in out
    assert "on gpu test, there by midef " in out and "on cpu test\n" in out
    assert f"left out: {recipes.reconstructions.key.short} was built from {target}, which is not merged" in out
    assert f"left out: the rows of cell {cell}: an artifact they speak of is not merged" in out
    after = files_of("other")
    assert {name: after[name] for name in before} == before
    assert list(Store.open("other").results.cells()) == [sweep.cells[1].cell.digest]
    assert not Store.open("other").artifacts.has(recipes.scores.key)
    assert midef("verify", "--store", "other")[0] == 0


def test_rows_that_say_something_else(midef: Midef, sweep: Sweep, store: Store) -> None:
    midef("merge", "store", "--store", "both")
    both, cell = Store.open("both"), sweep.cells[0].cell.digest
    rows = [row for row in store.results.read() if row.cell == cell]
    both.results.write(cell, [replace(row, wall_s=9.0, device="gpu test") for row in rows])
    assert midef("merge", "store", "--store", "both")[0] == 0  # who measured it, and how fast, is no conflict
    both.results.write(cell, [replace(r, value=49.0) if r.metric == "attack_accuracy_at_1" else r for r in rows])
    code, out, _ = midef("merge", "store", "--store", "both")
    assert code == 5 and f"cell {cell[:10]} (" in out and "was measured differently: attack_accuracy_at_1" in out
    assert {r.value for r in both.results.read() if r.cell == cell and r.metric == "attack_accuracy_at_1"} == {49.0}


def test_documents_and_plans_in_conflict(midef: Midef, sweep: Sweep, store: Store) -> None:
    both = Store.open("both")
    write_match(both, MatchReport(sweep="small", digest="d1", profile="smoke", outcomes=(), trained=3))
    both.sweeps.write_manifest(sweep.digest, [{"cell": "c1"}], json.dumps({"name": "small"}))
    both.sweeps.write_manifest("abcd" * 16, [{"cell": "c2"}], json.dumps({"name": "small"}))
    code, out, _ = midef("merge", "store", "--store", "both")
    assert code == 5
    assert "conflict, kept as it is here: matches/d1.json differs\n" in out
    assert f"conflict, kept as it is here: sweep small@{sweep.digest[:10]} has other cells there\n" in out
    assert "one name, several sweeps: small: small@" in out and "; use these addresses" in out
    assert both.sweeps.read_manifest(sweep.digest).rows == [{"cell": "c1"}]


def test_what_is_damaged_is_not_merged(midef: Midef, sweep: Sweep, store: Store) -> None:
    key, cell = sweep.cells[1].recipes.reconstructions.key, sweep.cells[1].cell.digest
    (Path("store/artifacts") / str(key) / "measurements.json").write_text("[1]")
    before = files_of("store")
    code, out, _ = midef("merge", "store", "--store", "both")
    assert code == 0 and f"left out: artifact {key.short} in " in out and f"rows of cell {cell[:10]}" in out
    assert not Store.open("both").artifacts.has(sweep.cells[1].recipes.scores.key)
    assert files_of("store") == before


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["store", "--store", "store"], 2, "cannot be merged into itself; give another --store"),
        (["nowhere", "--store", "both"], 3, "no midef store at"),
        (["store", "nothing.tar.zst", "--store", "both"], 3, "there is no bundle nothing.tar.zst"),
    ],
)
def test_what_is_refused(midef: Midef, sweep: Sweep, arguments: list[str], code: int, message: str) -> None:
    found, _, err = midef("merge", *arguments)
    assert found == code and message in err
    assert not Path("both").exists(), "a store was made"
