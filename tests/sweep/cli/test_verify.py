"""`midef verify`: reads everything, names what is damaged and what was built from it, sets it aside."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from midef.core.match import MatchReport
from midef.storage import Store
from midef.storage.columns import table_from_rows, to_parquet
from midef.storage.matches import write_match
from midef.sweep.catalogue import read_spec
from midef.sweep.execution.run_record import DriverState, RunRecord
from midef.sweep.spec.resolve import Sweep, resolve

Midef = Callable[..., tuple[int, str, str]]


@pytest.fixture
def sweep(finished: Path, store: Store) -> Sweep:
    """A finished sweep, with a file of every kind in its store."""
    write_match(store, MatchReport(sweep="small", digest="d1", profile="smoke", outcomes=()))
    state = DriverState(
        run="r1", sweep="small", digest="d", profile="smoke", host="h", pid=1, since=0.0, at=1.0, state="finished"
    )
    RunRecord(store, "r1").write(state)
    store.location.put("studies/journal.log", b'{"op_code": 0}\n{"op_code": 4}\n{"half')
    return resolve(read_spec(finished))


def flip(store: Store, path: str) -> None:
    content = bytearray(store.location.get(path))
    content[len(content) // 2] ^= 4
    (Path(store.uri) / path).write_bytes(content)


def test_a_store_that_is_whole(midef: Midef, sweep: Sweep) -> None:
    code, out, err = midef("verify", "--store", "store")
    assert (code, err) == (0, "")
    assert out == (
        "store store: whole: 1 evaluator, 1 prior, 2 reconstructions, 1 regressor, 2 scores, 2 split, 2 target, "
        "2 rows, 1 store.json, 1 plan, 1 report of matching, 1 state of a run, 1 journal of studies\n"
        "nothing is damaged\n"
    ).replace("store store", f"store {Path.cwd() / 'store'}")


@pytest.mark.parametrize("repair", [False, True], ids=["named", "repaired"])
def test_damage_of_every_kind_is_found_at_once(midef: Midef, sweep: Sweep, store: Store, repair: bool) -> None:
    plain, defended = sweep.cells
    target = f"artifacts/{plain.recipes.target.key}"
    paths = {
        f"{target}/META.json": target,
        f"artifacts/{plain.recipes.scores.key}/measurements.json": f"artifacts/{plain.recipes.scores.key}",
        f"artifacts/{defended.recipes.target.key}/recipe.json": f"artifacts/{defended.recipes.target.key}",
        **{
            path: path
            for path in (
                f"results/{defended.cell.digest}.parquet",
                f"sweeps/{sweep.digest}/manifest.parquet",
                "matches/d1.json",
                "runs/r1/driver.json",
            )
        },
    }
    for path in paths:
        flip(store, path)
    store.location.put("studies/journal.log", b'{"op_code": 0}\n{"op_c\n')
    before = sorted(Path("store").rglob("*"))
    code, out, _ = midef("verify", "--store", "store", *(["--repair"] if repair else []))
    for damaged in (*paths.values(), "studies/journal.log"):
        assert f"damaged: {damaged} (" in out, damaged
    assert f"damaged: {target} (target): artifact target/" in out
    assert "META.json: its content does not match its checksum" in out
    assert "  built from it, and as they were: 1 reconstructions, the rows of 1 cell\n" in out
    assert "(journal of studies): line 2: Unterminated string" in out
    if not repair:
        assert code == 5
        assert "8 damaged: `midef verify --repair` sets them aside" in out
        assert sorted(Path("store").rglob("*")) == before, "something was moved"
        return
    assert code == 0
    assert out.count("  set aside as ") == 8
    assert "8 set aside; a run that needs them builds them anew" in out
    code, out, _ = midef("verify", "--store", "store")
    assert (code, "damaged:" in out) == (0, False)
    assert "8 things were set aside before" in out
    plan = json.loads(midef("plan", Path("sweep.yaml"), "--store", "store", "--json")[1])
    assert (plan["done"], plan["cached"]["scores"]) == (1, 1)


def test_rows_that_are_not_those_of_their_artifacts(midef: Midef, sweep: Sweep, store: Store) -> None:
    cell = sweep.cells[0].cell.digest
    rows = [row for row in store.results.read() if row.cell == cell]
    changed = [replace(row, value=99.0) if row.metric == "attack_accuracy_at_1" else row for row in rows]
    store.location.put(f"results/{cell}.parquet", to_parquet(table_from_rows(changed)))
    store.results.compact()  # also where the cell has no file of its own
    code, out, _ = midef("verify", "--store", "store")
    assert code == 5
    assert f"damaged: results/{cell}.parquet (rows of a cell): value of attack_accuracy_at_1 is 99.0, its" in out
    code, out, _ = midef("verify", "--store", "store", "--repair")
    assert (code, f"set aside as results/.damaged/{cell}.parquet-1" in out) == (0, True)
    assert len(store.results.cells()) == 1
    assert "wrote the rows of 1 cell whose scores were stored" in midef("run", "sweep.yaml", "--store", "store")[1]
    assert [row for row in store.results.read() if row.cell == cell] == rows


def test_what_an_older_midef_wrote_is_counted(midef: Midef, sweep: Sweep, store: Store) -> None:
    path = f"artifacts/{sweep.cells[0].recipes.target.key}/META.json"
    older = {**json.loads(store.location.get(path)), "schema": 1}
    del older["seal"]
    store.location.put(path, json.dumps(older).encode())
    store.location.put("store.json", b'{"schema": 1, "written_by": "0.1.0"}')
    code, out, _ = midef("verify", "--store", "store")
    assert code == 0
    assert "2 files written before checksums: nothing proves what is said there" in out


def test_what_is_no_file(midef: Midef, sweep: Sweep, store: Store) -> None:
    root, key = Path(store.uri), sweep.cells[0].recipes.scores.key
    places = [root / "matches/d1.json", root / f"results/{sweep.cells[0].cell.digest}.parquet"]
    for place in places:
        place.unlink()
        place.mkdir()
    (root / f"artifacts/{key}/META.json").unlink()
    (root / "artifacts/inverter").write_bytes(b"?")
    (root / "sweeps/abc").write_bytes(b"?")
    (root / "README").write_text("files of ours beside it are no damage")
    code, out, _ = midef("verify", "--store", "store", "--repair")
    assert code == 0
    assert out.count("expected a file, found a folder") == 2
    assert out.count("expected a folder, found a file") == 2
    assert f"damaged: artifacts/{key} (scores): expected META.json, found none" in out
    assert midef("verify", "--store", "store")[1].endswith("nothing is damaged\n")


def test_json(midef: Midef, sweep: Sweep, store: Store) -> None:
    flip(store, "matches/d1.json")
    code, out, _ = midef("verify", "--store", "store", "--json")
    (damage,) = json.loads(out)["damaged"]
    assert (code, damage["path"], damage["set_aside_as"]) == (5, "matches/d1.json", "")


@pytest.mark.parametrize("path", ["studies/journal.log", "matches/d1.json", "runs/r1/driver.json"])
def test_a_folder_in_the_place_of_a_file_is_damage(midef: Midef, sweep: Sweep, store: Store, path: str) -> None:
    (Path(store.uri) / path).unlink()
    (Path(store.uri) / path).mkdir()
    code, out, _ = midef("verify", "--store", "store")
    assert code == 5
    assert f"damaged: {path} (" in out
