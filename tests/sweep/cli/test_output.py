"""An `--out` that cannot be written is said before any work."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from midef.storage import Store
from midef.sweep import library
from midef.sweep.cli import output

Midef = Callable[..., tuple[int, str, str]]

COMMANDS: dict[str, list[str]] = {
    "run": ["run", "sweep.yaml", "--dashboard"],
    "match": ["match", "sweep.yaml", "--dashboard"],
    "retry": ["retry", "sweep.yaml", "--failed", "--dashboard"],
    "dashboard": ["dashboard", "build"],
    "analyse": ["analyse", "rank", "sweep.yaml"],
}


@pytest.fixture(autouse=True)
def no_work(small: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever begins to work fails this test."""

    def work(*given: Any, **named: Any) -> None:
        raise AssertionError("work was begun")

    for name in ("run", "match", "run_cells"):
        monkeypatch.setattr(library, name, work)
    monkeypatch.setattr("midef.sweep.cli.retry.run_cells", work)
    monkeypatch.setattr("midef.dashboards.build.build", work)
    monkeypatch.setattr("midef.sweep.cli.analyse.found", work)


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_file_where_a_folder_is_needed_is_wrong_usage(midef: Midef, command: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("nowhere")
    for out, said in (("file/page", "file is a file, where a folder is needed"), ("link/page", "leads nowhere")):
        code, _, err = midef(*command, "--store", "store", "--out", out)
        assert code == 2 and said in err and err.count("\n") == 1, (out, err)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.parametrize("out", ["n" * 300, "/proc/page/page"], ids=["long", "system"])
def test_a_place_that_cannot_be_written_is_missing_here(midef: Midef, command: list[str], out: str) -> None:
    code, _, err = midef(*command, "--store", "store", "--out", out)
    assert code == 3 and "cannot be written (" in err and err.count("\n") == 1


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_full_disk_is_missing_here(midef: Midef, command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(".")
    monkeypatch.setattr(output.shutil, "disk_usage", lambda path: usage._replace(free=100_000))
    code, _, err = midef(*command, "--store", "store", "--out", "page")
    assert code == 3 and "has 100.0 kB free" in err and not Path("page").exists()


def test_a_figure_needs_the_name_of_a_file(midef: Midef, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    code, _, err = midef("analyse", "rank", "--store", "store", "--out", "folder")
    assert code == 2 and "is a folder; give the name of a file" in err


def test_what_can_be_written_is_left_as_it_is(tmp_path: Path) -> None:
    output.check_folder(tmp_path / "new/page")
    (tmp_path / "figure.html").write_text("old")
    output.check_file(tmp_path / "figure.html")
    output.check_file(tmp_path / "new/figure.html")
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".html"] == ["figure.html"]
    assert (tmp_path / "figure.html").read_text() == "old" and not (tmp_path / "new").exists()
