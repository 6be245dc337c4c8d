"""The program that checks what a run says while it works: silences, times left against the truth, a real terminal."""

from __future__ import annotations

import sys

import pytest
from progress_log import COLUMNS, check, record, report

PIECES = [
    (2.0, "plan: 3 nodes\n"),
    (10.0, "done 0  running 0  waiting 3  failed 0    0 %  ETA about 3 min\n"),
    (30.0, "done 0  running 1  waiting 2  failed 0    0 %  ETA 45 s  now: target none seed 0 4 %\n"),
    (95.0, "\rdone 3\rdone 3  ETA 0 s\n"),
    (100.0, ""),
]


def test_the_longest_silence_counts_the_start_and_the_end() -> None:
    found = check(PIECES)
    assert found.silence == (65.0, 30.0) and found.seconds == 100.0
    assert check([(70.0, "late\n"), (80.0, "")]).silence == (70.0, 0.0)
    assert check([(1.0, "early\n"), (80.0, "")]).silence == (79.0, 1.0)


def test_times_left_are_compared_with_the_truth() -> None:
    found = check(PIECES)
    assert [(s.at, s.left, s.is_about) for s in found.shown] == [
        (10.0, 180.0, True),
        (30.0, 45.0, False),
        (95.0, 0.0, False),
    ]
    at_quarter = found.at_share(0.25)
    assert at_quarter is not None and found.off(at_quarter) == pytest.approx(1.9)
    assert found.worst() == pytest.approx(100 / 75)
    text = report(found)
    assert "longest silence 65 s, from second 30" in text
    assert "first: about 180 s at second 10, in truth 90 s; run 1.90x" in text


def test_an_unknown_time_left_is_counted() -> None:
    text = report(check([(1.0, "ETA unknown\n"), (4.0, "")]))
    assert "times left: 1, of them 1 unknown" in text and "first: unknown at second 1" in text


@pytest.mark.parametrize("on_terminal", [False, True], ids=["pipe", "terminal"])
def test_a_command_sees_a_pipe_or_a_terminal(on_terminal: bool) -> None:
    program = "import os, sys; seen = sys.stderr.isatty(); print(seen, seen and os.get_terminal_size().columns)"
    code, pieces = record([sys.executable, "-c", program + "; sys.exit(3)"], on_terminal=on_terminal)
    assert code == 3 and pieces[-1][1] == ""
    assert "".join(text for _, text in pieces).split() == (
        ["True", str(COLUMNS)] if on_terminal else ["False", "False"]
    )


def test_a_line_fits_the_terminal_it_goes_to() -> None:
    program = """
import sys
from midef.sweep.execution.progress import Progress
from midef.sweep.planning.plan import Plan
progress = Progress(Plan(None, {}, [], [], [], []), slots=2)
progress.last = 300 * "x"
progress.tick(force=True)
print(file=sys.stderr)
progress.last = 20 * "x"
progress.tick(force=True)
"""
    _, pieces = record([sys.executable, "-c", program], on_terminal=True)
    lines = "".join(text for _, text in pieces).replace("\r", "\n").split("\n")
    assert max(len(line.rstrip()) for line in lines) < COLUMNS, lines
    assert any(line.startswith("done 0") for line in lines) and any(line.rstrip().endswith(20 * "x") for line in lines)
