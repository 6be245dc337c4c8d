"""What became of every planned cell."""

from __future__ import annotations

import shlex
from collections.abc import Callable

import pytest

from midef.core.rows import ResultRow
from midef.results.cells import causes, cell_runs, retry_command

Row = Callable[..., ResultRow]
OOM = "target/0123456789 failed: OutOfMemoryError: CUDA out of memory, tried 20.5 GiB"


def lost(row: Row, cell: str, reason: str, failure: str, metric: str = "fid", **changes: object) -> ResultRow:
    return row(metric, None, cell=cell, status="failed", reason=reason, failure=failure, **changes)


def test_every_planned_cell_is_there_once_in_the_order_of_the_plan(row: Row) -> None:
    rows = [
        row("natural_accuracy", 90.0, cell="b"),
        row("attack_accuracy_at_1", 9.0, cell="b"),
        row("fid", 1.0, cell="z"),
    ]
    planned = [
        {"sweep": "s", "cell": "a", "setup": "S01", "defense": "none", "attack": "gmi", "seed": 3, "profile": "mini"},
        {"sweep": "s", "cell": "b", "setup": "S01", "defense": "none", "attack": "gmi", "seed": 4, "profile": "mini"},
    ]
    runs = cell_runs(rows, planned)
    assert [(run.cell, run.state) for run in runs] == [("a", "missing"), ("b", "ok"), ("z", "ok")]
    assert (runs[0].sweep, runs[0].seed, runs[0].defense) == ("s", 3, "none")


def test_a_cell_of_two_sweeps_is_there_for_both(row: Row) -> None:
    runs = cell_runs([row("fid", 1.0, cell="a")], [{"sweep": "other", "cell": "a"}])
    assert [(run.sweep, run.state) for run in runs] == [("other", "missing"), ("s", "ok")]


def test_a_failure_says_stage_kind_and_reason(row: Row) -> None:
    (run,) = cell_runs([lost(row, "c", OOM, "oom")])
    assert (run.state, run.stage, run.failure, run.cause) == ("failed", "target", "oom", "oom")
    assert run.reason == OOM and run.metrics == ()


def test_a_cell_that_lost_one_metric_names_it_and_keeps_what_it_took(row: Row) -> None:
    took = {"cell": "c", "wall_s": 12.5, "device": "cpu", "reconstructions_key": "reconstructions/ab"}
    rows = [row("natural_accuracy", 90.0, **took), lost(row, "c", "FID needs 2 images", "bug")]
    (run,) = cell_runs([rows[0], rows[1]])
    assert (run.state, run.stage, run.metrics) == ("failed", "metric", ("fid",))
    assert (run.attack_s, run.device, run.reconstructions) == (12.5, "cpu", "reconstructions/ab")


def test_failures_are_grouped_by_cause(row: Row) -> None:
    rows = [
        lost(row, "a", OOM, "oom"),
        lost(row, "b", "attack/abcdefabcd failed: MemoryError", "oom", setup="two"),
        lost(row, "c", "target/0123456789 failed: ValueError: got 3", "bug"),
        lost(row, "d", "target/9876543210 failed: ValueError: got 4", "bug"),
        lost(row, "e", "target/9876543210 failed: KeyError: 'x'", "bug"),
        row("natural_accuracy", None, cell="f", status="refused", reason="no skip connection"),
    ]
    found = causes(cell_runs(rows))
    assert [(cause.failure, cause.cells) for cause in found] == [
        ("oom", ("a", "b")),
        ("bug", ("c", "d")),
        ("bug", ("e",)),
    ]
    assert found[0].setups == ("one", "two")


@pytest.mark.parametrize("store", ["results", "my results", "a'b"])
def test_the_command_can_be_pasted(store: str) -> None:
    words = shlex.split(retry_command("s", store, "0123456789abcdef", "f" * 64))
    assert words[:5] == ["midef", "retry", "s", "--store", store]
    assert words[5:] == ["--failed", "--filter", "cell=0123456789", "--filter", "cell=ffffffffff"]
