"""Each exit code that docs/cli.md names is reached by a command; Ray is never started."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from midef.core import Failure
from midef.storage import Store
from midef.sweep.catalogue import read_spec
from midef.sweep.execution import tune_run
from midef.sweep.execution.outcome import Outcome
from midef.sweep.execution.result_rows import lost_rows
from midef.sweep.result import BUDGET_REACHED
from midef.sweep.spec.resolve import resolve

Midef = Callable[..., tuple[int, str, str]]
ROOT = Path(__file__).resolve().parents[3]
DOCUMENTED = (0, 1, 2, 3, 4, 5, 70, 130)


@pytest.mark.parametrize("code", DOCUMENTED)
def test_every_documented_code_is_reached(
    code: int, midef: Midef, finished: Path, small: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(text: str) -> None:
        monkeypatch.setattr(tune_run, "run_plan", lambda *args, **given: Outcome(stopped=text))

    new = ["--store", "new"]
    match code:
        case 0:
            found = midef("run", finished, "--store", "store")
        case 1:
            failed = resolve(read_spec(finished)).cells[1]
            store.results.write(failed.cell.digest, lost_rows("small", failed, Failure("bug", "broke")))
            found = midef("run", finished, "--store", "store")
        case 2:
            found = midef("validate", "--set", "seeds=none")
        case 3:
            found = midef("table", "--store", "nowhere")
        case 4:
            stopped(BUDGET_REACHED)
            found = midef("run", small, *new, "--max-gpu-hours", "1")
        case 5:
            next(Path("store/artifacts/target").rglob("META.json")).write_bytes(b"{}")
            found = midef("verify", "--store", "store")
        case 70:
            monkeypatch.setattr(tune_run, "run_plan", lambda *args, **given: 1 / 0)
            found = midef("run", small, *new)
        case _:
            stopped("interrupted")
            found = midef("run", small, *new)
    assert found[0] == code, found


def test_the_table_of_codes_is_whole_and_the_process_ends_with_them() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8").partition("## Exit codes")[2]
    assert tuple(map(int, re.findall(r"^\| (\d+) \|", page, re.M))) == DOCUMENTED
    asked = [sys.executable, "-m", "midef", "table", "--store", "nowhere"]
    assert subprocess.run(asked, cwd=ROOT, capture_output=True, timeout=280, check=False).returncode == 3
