"""`sweep/match_accuracy.py` in the checkout, alone in the home of a cluster's head, and where nothing is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "sweep" / "match_accuracy.py"

Passed = Callable[..., list[str]]


def test_without_arguments_the_smallest_sweep_is_matched(passed: Passed) -> None:
    assert passed() == ["match", "smoke", "--dashboard"]


def test_variables_choose_sweep_and_profile(passed: Passed) -> None:
    found = passed(MIDEF_SWEEP="matrix37", MIDEF_PROFILE="mini")
    assert found == ["match", "matrix37", "--profile", "mini", "--dashboard"]


@pytest.mark.parametrize(
    "given",
    [["mine.yaml", "--target", "none - 2"], ["--target", "85", "mine.yaml"], ["mine.yaml", "--front", "midre"]],
    ids=str,
)
def test_arguments_pass_through(passed: Passed, given: list[str]) -> None:
    assert passed(*given, MIDEF_SWEEP="other") == ["match", *given, "--dashboard"]


def test_values_of_options_are_no_sweeps(passed: Passed) -> None:
    given = ["--target", "none - 2", "--tolerance", "1", "--trainings", "9", "--no-attack", "--store", "s"]
    assert passed(*given) == ["match", "smoke", *given, "--dashboard"]


def run(script: Path, *arguments: str, flags: tuple[str, ...] = (), **variables: str) -> tuple[int, str, str]:
    clean = {k: v for k, v in os.environ.items() if k not in ("MIDEF_SWEEP", "MIDEF_PROFILE", "PYTHONPATH")}
    done = subprocess.run(
        [sys.executable, *flags, str(script), *arguments],
        cwd=script.parent,
        env={**clean, **variables},
        capture_output=True,
        text=True,
        timeout=280,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def in_a_home(tmp_path: Path) -> Path:
    """The script as `ray submit` leaves it: alone, beside whatever else a home holds."""
    (tmp_path / "argparse.py").write_text("raise SystemExit('a file of the home was imported')\n")
    return Path(shutil.copy(SCRIPT, tmp_path))


def test_alone_in_a_home_it_finds_the_sources_by_pythonpath(in_a_home: Path) -> None:
    code, out, err = run(in_a_home, "--help", PYTHONPATH=str(ROOT))
    assert code == 0, err
    assert "usage: midef match" in out


def test_in_the_checkout_it_runs_the_checkout() -> None:
    packages = os.pathsep.join(p for p in sys.path if "packages" in p)
    code, out, err = run(SCRIPT, "--help", flags=("-S",), PYTHONPATH=packages)
    assert code == 0, err
    assert "usage: midef match" in out


def test_where_nothing_is_installed_it_says_what_to_do(in_a_home: Path) -> None:
    code, _, err = run(in_a_home, flags=("-S", "-E"))
    assert code == 3
    assert "cannot import the package midef" in err and "pip install -e" in err and "cluster/README.md" in err
    assert "Traceback" not in err


def test_a_missing_dependency_is_not_called_a_missing_package() -> None:
    code, _, err = run(SCRIPT, flags=("-S", "-E"))
    assert code == 1
    assert "ModuleNotFoundError" in err
