"""Two sweeps of one name: nothing hides, nothing is lost, and each is found."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from midef.core import Failure
from midef.core.errors import SpecError
from midef.core.match import Match
from midef.results import read
from midef.storage import Store
from midef.storage.addresses import find_sweep, stored_sweeps
from midef.sweep.catalogue import read_spec
from midef.sweep.execution import tune_run
from midef.sweep.execution.outcome import Outcome
from midef.sweep.execution.result_rows import lost_rows
from midef.sweep.library import load_spec, run_cells
from midef.sweep.naming import Naming, check_name
from midef.sweep.planning.selection import every_cell
from midef.sweep.spec.resolve import resolve

Midef = Callable[..., tuple[int, str, str]]
Yaml = Callable[..., Path]
MATCH = Match(target=85.0, tolerance=0.5, accuracy=85.1, seeds=1, is_matched=True)


@pytest.fixture
def changed(
    finished: Path, spec: Callable[..., dict[str, Any]], write_yaml: Yaml, publish_cell: Callable[..., None]
) -> Path:
    """Another specification under the name of the finished one, with its artifacts stored."""
    path = write_yaml(spec(defenses=["none", "midre"], seeds=[0, 1], training={"epochs": 7}), "changed.yaml")
    for planned in resolve(read_spec(path)).cells:
        publish_cell(planned)
    return path


def rows_in(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_plan_says_that_a_run_would_not_start_under_the_name(
    midef: Midef, finished: Path, changed: Path, store: Store
) -> None:
    (old,) = stored_sweeps(store)
    code, out, _ = midef("plan", changed, "--store", "store")
    assert code == 0 and "`midef run` will not start this under its name:" in out
    said = " ".join(out.split())
    assert old.address in said and "seeds: [0] -> [0, 1]" in said and " -> 7 " in said
    assert "(--set name=small-2), or add --replace:" in said
    assert max(map(len, out.splitlines())) <= 100
    assert json.loads(midef("plan", changed, "--store", "store", "--json")[1])["name_conflict"].startswith("the store")
    for unchanged in ([finished], [changed, "--set", "name=small-2"]):
        code, out, _ = midef("plan", *unchanged, "--store", "store")
        assert code == 0 and "will not start" not in out
    assert json.loads(midef("plan", finished, "--store", "store", "--json")[1])["name_conflict"] == ""
    code, out, _ = midef("plan", changed, "--store", "store", "--set", "match.target=80")
    assert code == 0 and "`midef match` will not start this under its name:" in out


def test_a_changed_specification_is_refused_and_says_which_keys(
    midef: Midef, finished: Path, changed: Path, store: Store
) -> None:
    (old,) = stored_sweeps(store)
    before = sorted(Path("store").rglob("*"))
    code, out, err = midef("run", changed, "--store", "store")
    assert (code, out) == (2, "")
    assert f"the store has another sweep called small: {old.text}. What differs:" in err
    assert "\n  seeds: [0] -> [0, 1]\n" in err
    assert "\n  training.epochs: " in err and " -> 7\n" in err
    assert "2 of its 2 cells have results; 0 are in the new sweep too." in err
    assert "(--set name=small-2), or add --replace:\nsmall then means the new one, and the old one stays as" in err
    assert f"stays as {old.address}." in err
    assert sorted(Path("store").rglob("*")) == before, "something was written"


def test_replace_keeps_the_old_plan_by_its_digest(midef: Midef, finished: Path, changed: Path, store: Store) -> None:
    (old,) = stored_sweeps(store)
    before = midef("table", "--store", "store", "--format", "csv")[1]
    code, out, _ = midef("run", changed, "--store", "store", "--replace")
    assert (code, out.partition("\n")[0]) == (0, "wrote the rows of 4 cells whose scores were stored")
    after = midef("table", "--store", "store", "--sweep", "small", "--format", "csv")[1]
    assert {row["seeds"] for row in rows_in(after)} == {"2"} != {row["seeds"] for row in rows_in(before)}
    for address in (old.address, old.digest[:6], old.digest):
        assert midef("table", "--store", "store", "--sweep", address, "--format", "csv")[1] == before
        assert midef("show", "--store", "store", "--sweep", address)[0] == 0
        assert len(read("store", address).cell.unique()) == 2
        assert "2 ok" in midef("status", "--store", "store", "--sweep", address)[1]
    assert len(read("store", "small").cell.unique()) == 4
    status = midef("status", "--store", "store")[1]
    assert f"small (replaced by {stored_sweeps(store)[0].digest[:10]}, and still {old.address}): 2 ok" in status
    # The old file is the other specification now, and may take the name back.
    assert midef("run", finished, "--store", "store")[0] == 2
    assert midef("run", finished, "--store", "store", "--replace")[1].startswith("nothing to do: all 2 cells")
    assert midef("table", "--store", "store", "--sweep", "small", "--format", "csv")[1] == before


def test_a_new_name_is_another_sweep(midef: Midef, finished: Path, changed: Path, store: Store) -> None:
    assert midef("run", changed, "--store", "store", "--set", "name=small-2")[0] == 0
    assert {sweep.name for sweep in stored_sweeps(store)} == {"small", "small-2"}


@pytest.mark.parametrize(
    "changes",
    [
        {"train_workers": 2},
        {"defenses": [{"name": "none"}, "midre(area_high=0.4)"]},  # as it is by default
        {"defenses": ["midre", "none"]},
    ],
    ids=["processes", "written out", "order"],
)
def test_what_changes_no_cell_is_no_change(
    midef: Midef, finished: Path, spec: Callable[..., dict[str, Any]], write_yaml: Yaml, changes: dict[str, Any]
) -> None:
    path = write_yaml(spec(**{"defenses": ["none", "midre"], **changes}), "same.yaml")
    code, out, err = midef("run", path, "--store", "store")
    assert (code, err) == (0, "planning sweep small, profile smoke\n") and out.startswith("nothing to do")


def test_moved_files_are_no_change(
    midef: Midef,
    spec: Callable[..., dict[str, Any]],
    write_yaml: Yaml,
    make_tree: Callable[..., Path],
    store: Store,
    publish_cell: Callable[..., None],
) -> None:
    tree = make_tree("people", dict.fromkeys("abcdefgh", 12))
    setup = {"private": {"name": "image_folder", "path": str(tree)}}
    path = write_yaml(spec(setup))
    for planned in resolve(read_spec(path)).cells:
        publish_cell(planned)
    assert midef("run", path, "--store", "store")[0] == 0
    moved = tree.rename(tree.with_name("moved"))
    setup["private"]["path"] = str(moved)
    assert midef("run", write_yaml(spec(setup)), "--store", "store")[1].startswith("nothing to do")
    other = make_tree("others", dict.fromkeys("abcdefgh", 12), seed=1)
    setup["private"]["path"] = str(other)
    code, _, err = midef("run", write_yaml(spec(setup)), "--store", "store")
    assert code == 2 and f'setups[0].private.path: "{moved}" -> "{other}"' in err


def test_resuming_is_said_of_the_same_specification_alone(
    midef: Midef,
    spec: Callable[..., dict[str, Any]],
    write_yaml: Yaml,
    store: Store,
    publish_cell: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tune_run, "run_plan", lambda *args, **given: Outcome(stopped="interrupted"))
    path = write_yaml(spec(defenses=["none", "midre"]))
    publish_cell(resolve(read_spec(path)).cells[0])  # by a sweep of another name
    assert midef("run", path, "--store", "store")[1].startswith("sweep small: 0 cells done, 1 to do\n")
    assert midef("run", path, "--store", "store")[1].startswith("resuming sweep small: 1 cell done, 1 to do\n")


def test_two_that_an_older_midef_let_have_one_name(midef: Midef, finished: Path, changed: Path, store: Store) -> None:
    (old,) = stored_sweeps(store)
    midef("run", changed, "--store", "store", "--replace")
    (Path("store") / "sweeps" / old.digest / "replaced.json").unlink()
    code, _, err = midef("table", "--store", "store", "--sweep", "small")
    assert code == 2 and "2 sweeps of this store are called 'small'; say which: small@" in err and old.address in err
    assert midef("run", changed, "--store", "store")[0] == 0  # it is one of them, and takes nothing from the other
    assert midef("table", "--store", "store", "--sweep", "small")[0] == 2
    assert midef("run", changed, "--store", "store", "--replace")[0] == 0
    assert midef("table", "--store", "store", "--sweep", "small")[0] == 0


def test_retry_and_analyse_take_a_planned_sweep(midef: Midef, finished: Path, store: Store) -> None:
    planned = resolve(read_spec(finished)).cells[1]
    store.results.write(planned.cell.digest, lost_rows("small", planned, Failure("bug", "broke")))
    (sweep,) = stored_sweeps(store)
    for address in ("small", sweep.address, sweep.digest[:8]):
        assert midef("retry", address, "--failed", "--filter", "error=oom", "--store", "store")[1] == (
            "nothing to retry: no failed cell of sweep small matches\n"
        )
    code, out, _ = midef("retry", "small", "--failed", "--store", "store")
    assert code == 0 and "retrying 1 cell;" in out
    code, _, err = midef("retry", "smal", "--failed", "--store", "store")
    assert code == 2 and "no sweep 'smal'; did you mean 'small'" in err
    code, _, err = midef("analyse", "fisher", "small@ffff", "--store", "store")
    assert code == 2 and "no sweep 'small@ffff'; sweeps called 'small': small@" in err
    code, _, err = midef("analyse", "fisher", sweep.address, "--store", "store")
    assert "unknown sweep" not in err


def test_the_dashboard_takes_an_address(midef: Midef, finished: Path, changed: Path, store: Store) -> None:
    (old,) = stored_sweeps(store)
    midef("run", changed, "--store", "store", "--replace")
    assert midef("dashboard", "build", "--store", "store", "--sweep", old.address, "--out", "page")[0] == 0
    page = json.loads(Path("page/data.js").read_text().partition("= ")[2].rstrip(";\n").partition(";\n")[0])
    assert (page["header"]["ok"], page["header"]["missing"]) == (2, 0)


def test_what_was_run_may_be_matched_and_run_again(midef: Midef, finished: Path, store: Store) -> None:
    """Another verb was asked for: the name follows it, and says where the earlier plan stays."""
    (run,) = stored_sweeps(store)
    sweep = resolve(load_spec(finished, ["match={target: 85}"]))
    assert check_name(sweep, store) == Naming(kin=(run,))
    matched = replace(sweep, cells=tuple(replace(c, cell=replace(c.cell, match=MATCH)) for c in sweep.cells))
    said: list[str] = []
    run_cells(matched, store, None, every_cell, say=said.append)
    assert said[0] == f"small means this plan from now on; the one before it stays as {run.address}"
    assert find_sweep(store, "small").digest == matched.digest
    assert check_name(sweep, store).is_resumed, "the same search goes on, whatever it finds"
    assert check_name(resolve(load_spec(finished, ["match={target: 85, trainings: 9}"])), store).is_resumed
    with pytest.raises(SpecError, match=r"match\.target: 85\.0 -> 90\.0"):
        check_name(resolve(load_spec(finished, ["match={target: 90}"])), store)
    out = midef("run", finished, "--store", "store")[1]
    assert out.startswith(
        f"small means this plan from now on; the one before it stays as small@{matched.digest[:10]}\n"
    )
    assert find_sweep(store, "small").digest == run.digest
