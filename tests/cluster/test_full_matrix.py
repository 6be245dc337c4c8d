"""`sweep/full_matrix.py` in the checkout, alone in the home of a cluster's head, and where nothing is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "sweep" / "full_matrix.py"

Passed = Callable[..., list[str]]


def test_without_arguments_the_matrix_is_run(passed: Passed) -> None:
    assert passed() == ["run", "matrix37", "--dashboard"]


def test_variables_choose_sweep_and_profile(passed: Passed) -> None:
    assert passed(MIDEF_SWEEP="smoke", MIDEF_PROFILE="mini") == ["run", "smoke", "--profile", "mini", "--dashboard"]


@pytest.mark.parametrize("given", [["smoke"], ["mine.yaml", "--retry-failed"], ["--store", "s", "mine.yaml"]], ids=str)
def test_a_named_sweep_is_taken_wherever_it_stands(passed: Passed, given: list[str]) -> None:
    assert passed(*given, MIDEF_SWEEP="other") == ["run", *given, "--dashboard"]


def test_values_of_options_are_no_sweeps(passed: Passed) -> None:
    assert passed("--store", "s", "--set", "a=1") == ["run", "matrix37", "--store", "s", "--set", "a=1", "--dashboard"]


def test_a_given_profile_has_the_last_word(passed: Passed) -> None:
    arguments = passed("--profile", "paper", MIDEF_PROFILE="mini")
    assert arguments.index("mini") < arguments.index("paper")


def run(
    script: Path, *arguments: str, flags: tuple[str, ...] = (), **variables: str
) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if k not in ("MIDEF_SWEEP", "MIDEF_PROFILE", "PYTHONPATH")}
    return subprocess.run(
        [sys.executable, *flags, str(script), *arguments],
        cwd=script.parent,
        env={**clean, **variables},
        capture_output=True,
        text=True,
        timeout=280,
    )


@pytest.fixture
def in_a_home(tmp_path: Path) -> Path:
    """The script as `ray submit` leaves it: alone, beside whatever else a home holds."""
    (tmp_path / "argparse.py").write_text("raise SystemExit('a file of the home was imported')\n")
    return Path(shutil.copy(SCRIPT, tmp_path))


def test_alone_in_a_home_it_finds_the_sources_by_pythonpath(in_a_home: Path) -> None:
    done = run(in_a_home, "--help", PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stderr
    assert "usage: midef run" in done.stdout


def test_in_the_checkout_it_runs_the_checkout() -> None:
    done = run(SCRIPT, "--help", flags=("-S",), PYTHONPATH=os.pathsep.join(p for p in sys.path if "packages" in p))
    assert done.returncode == 0, done.stderr
    assert "usage: midef run" in done.stdout


def test_where_nothing_is_installed_it_says_what_to_do(in_a_home: Path) -> None:
    done = run(in_a_home, flags=("-S", "-E"))
    assert done.returncode == 3
    assert "cannot import the package midef" in done.stderr
    assert "ray up cluster.yaml --no-restart" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_dependency_is_not_called_a_missing_package() -> None:
    done = run(SCRIPT, flags=("-S", "-E"))
    assert done.returncode == 1
    assert "ModuleNotFoundError" in done.stderr
