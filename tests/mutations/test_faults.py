"""The faults follow the code, and a sample of them is noticed; `run.py` tries all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("run.py")
ROOT = SCRIPT.parents[2]


def test_every_fault_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its text is in the code exactly once, and its tests exist."""
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    from faults import FAULTS

    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 55
    for fault in FAULTS:
        copy = tmp_path / fault.file
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((ROOT / fault.file).read_bytes())
        assert fault.apply(tmp_path) != copy.read_text(encoding="utf-8")
        named = [test.partition("::")[0] for test in fault.tests.partition(" -k ")[0].split()]
        assert all((ROOT / path).exists() for path in named), fault.tests


def test_words_that_no_name_holds_are_refused_before_any_test_runs() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), "--only", "x|y"], capture_output=True, text=True, timeout=280)
    assert done.returncode == 2 and "no fault's name holds 'x|y'" in done.stderr


@pytest.mark.slow
def test_a_sample_is_killed() -> None:
    command = [sys.executable, str(SCRIPT), "--only", "a dropped penalty: BiDO", "--workers", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("killed "), done.stdout
