"""`midef logs`: the logs of a cell, inputs first, with what failed; followed while it is built."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from midef.core import Failure
from midef.storage import Store
from midef.storage.logs import PieceLog
from midef.sweep.catalogue import read_spec
from midef.sweep.cli import logs, waiting
from midef.sweep.execution.prepare import prepare
from midef.sweep.execution.result_rows import lost_rows
from midef.sweep.spec.planned_cell import PlannedCell
from midef.sweep.spec.resolve import resolve

Midef = Callable[..., tuple[int, str, str]]


@pytest.fixture
def failed(small: Path, store: Store, publish: Callable[..., None]) -> PlannedCell:
    """The cell of `midre`, whose target failed; its split is stored, with a log."""
    sweep = resolve(read_spec(small))
    prepare(sweep, store)
    planned = next(c for c in sweep.cells if c.cell.defense.name == "midre")
    split, target = planned.recipes.private, planned.recipes.target
    with PieceLog(store.location, split.key, what="split faces"):
        publish(split)
    with (
        pytest.raises(ValueError, match="nan"),
        PieceLog(store.location, target.key, what="target midre seed 0") as kept,
    ):
        kept.say("epoch 1, loss nan")
        raise ValueError("the loss became nan")
    store.results.write(planned.cell.digest, lost_rows("small", planned, Failure("diverged", "the loss became nan")))
    return planned


@pytest.mark.parametrize("by_digest", [True, False], ids=["digest", "words"])
def test_the_pieces_of_a_cell_in_order_with_the_traceback(midef: Midef, failed: PlannedCell, by_digest: bool) -> None:
    words = [failed.cell.digest[:8]] if by_digest else ["defense=midre", "seed=0"]
    code, out, _ = midef("logs", *words, "--store", "store")
    assert code == 0
    assert out.startswith(f"cell {failed.cell.digest[:10]}  faces  midre  seed 0: failed (diverged): the loss became")
    places = [out.index(f"logs/{recipe.key}/") for recipe in (failed.recipes.private, failed.recipes.target)]
    assert places == sorted(places)
    assert "epoch 1, loss nan" in out and "Traceback (most recent call last)" in out
    assert "ValueError: the loss became nan" in out
    assert f"== {failed.recipes.scores.key.short}: no log, it is not built" in out


@pytest.mark.usefixtures("finished")
def test_what_was_built_before_logs_were_kept(midef: Midef, store: Store) -> None:
    (cell,) = {row.cell for row in store.results.read() if row.defense_name == "none"}
    code, out, _ = midef("logs", cell[:6], "--store", "store")
    assert code == 0 and out.count("no log, it was built before logs were kept") == len(out.split("== ")) - 1 > 3


def test_2_for_a_cell_that_is_not_there_or_not_one(midef: Midef, failed: PlannedCell) -> None:
    code, out, err = midef("logs", "seed=0", "--store", "store")
    assert (code, out) == (2, "") and "2 cells match seed=0; name one" in err and failed.cell.digest[:10] in err
    code, out, err = midef("logs", "defense=midr", "--store", "store")
    assert (code, out) == (2, "") and "defense=midr matches no cell of sweep small; did you mean 'midre" in err
    code, out, err = midef("logs", "ffffffffff", "--store", "store")
    assert (code, out) == (2, "") and "cell=ffffffffff* matches no cell of sweep small" in err
    code, out, err = midef("logs", "seed=0", "--sweep", "smal", "--store", "store")
    assert (code, out) == (2, "") and "this store has no sweep 'smal'; did you mean 'small'?" in err


def test_2_in_a_store_without_a_sweep_and_3_without_a_store(midef: Midef, store: Store) -> None:
    code, _, err = midef("logs", "seed=0", "--store", "store")
    assert code == 2 and "no sweep was planned in this store yet" in err
    assert midef("logs", "seed=0", "--store", "nowhere")[0] == 3


def test_a_running_piece_is_followed_to_its_end(
    midef: Midef, small: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log grows while it is followed; the command ends by itself, after the last line."""
    monkeypatch.setattr(logs, "EVERY_S", 0.02)
    sweep = resolve(read_spec(small))
    prepare(sweep, store)
    target = sweep.cells[0].recipes.target
    is_begun, may_go_on = threading.Event(), threading.Event()

    def build() -> None:
        with PieceLog(store.location, target.key, what="target none seed 0", every_s=0.02) as kept:
            for number in range(3):
                kept.say(f"epoch {number}")
                is_begun.set()
                may_go_on.wait(20)
                time.sleep(0.1)

    thread = threading.Thread(target=build)
    thread.start()
    is_begun.wait(20)
    threading.Timer(0.2, may_go_on.set).start()
    code, out, _ = midef("logs", "defense=none", "-f", "--store", "store")
    thread.join()
    assert code == 0 and [out.count(f"epoch {number}\n") for number in range(3)] == [1, 1, 1]
    assert out.count(": ok\n") == out.count("begun ") == 1


def test_following_waits_for_store_plan_and_start_and_says_so(
    midef: Midef, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is made, the sweep planned, and the run started one after the other, while the command waits."""
    sweep = resolve(read_spec(small))
    target = sweep.cells[0].recipes.target
    steps = iter([lambda: Store.open(tmp_path / "later"), lambda: prepare(sweep, Store.open(tmp_path / "later"))])
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if (step := next(steps, None)) is not None:
            step()
        elif len(waits) == 5:  # until now no process of the run was recorded
            with PieceLog(Store.open(tmp_path / "later").location, target.key, what="target none seed 0") as kept:
                kept.say("epoch 0")

    monkeypatch.setattr(time, "sleep", wait)
    code, out, _ = midef("logs", "defense=none", "-f", "--sweep", "small", "--store", tmp_path / "later")
    assert code == 0 and len(waits) == 5 and "epoch 0\n" in out
    first, second, *_ = out.splitlines()
    assert first == f"no store at {tmp_path / 'later'} yet; waiting for `midef run` to plan it (Ctrl-C ends this)"
    assert second.startswith("no sweep was planned in ") and second.endswith("(Ctrl-C ends this)")
    assert "no run is at work on it" in out.splitlines()[-1]


def test_a_sweep_that_is_not_there_is_waited_for_a_wrong_cell_is_not(
    midef: Midef, failed: PlannedCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupt)
    code, out, _ = midef("logs", "seed=0", "-f", "--sweep", "large", "--store", "store")
    assert code == 130 and "no sweep 'large' in " in out and "it has small; waiting" in out
    assert midef("logs", "defense=midr", "-f", "--store", "store")[0] == 2
    code, out, _ = midef("logs", failed.cell.digest[:8], "-f", "--sweep", "small", "--store", "store")
    assert code == 0 and "waiting" not in out and "no run is at work" not in out, "it failed, which is an end"


def test_a_run_that_never_starts_is_not_waited_for_for_ever(
    midef: Midef, small: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(resolve(read_spec(small)), store)
    monkeypatch.setattr(waiting, "STARTING_S", 0.0)
    code, out, _ = midef("logs", "defense=none", "-f", "--store", "store")
    assert code == 0 and "no run is at work on it; `midef run` goes on with it" in out


def test_what_is_new_in_a_log_whose_middle_was_left_out() -> None:
    before = "".join(f"line {n}\n" for n in range(100))
    now = "line 0\n... 500 bytes are left out here ...\n" + "".join(f"line {n}\n" for n in range(60, 110))
    assert now[logs._shown_until(before, now) :] == "".join(f"line {n}\n" for n in range(100, 110))
    assert logs._shown_until("", now) == 0 and logs._shown_until(now, now) == len(now)
