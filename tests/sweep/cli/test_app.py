"""The command line: exit codes and messages that all verbs share."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from midef.core import Failure
from midef.metrics import METRICS
from midef.storage import Store
from midef.sweep.catalogue import read_spec
from midef.sweep.cli.app import main
from midef.sweep.execution import tune_run
from midef.sweep.execution.outcome import Outcome
from midef.sweep.execution.result_rows import lost_rows
from midef.sweep.spec.resolve import resolve

Yaml = Callable[..., Path]
Midef = Callable[..., tuple[int, str, str]]


def test_0_when_all_is_done(midef: Midef, finished: Path) -> None:
    code, out, err = midef("run", finished, "--store", "store")
    assert (code, err) == (0, "")
    assert out.startswith("nothing to do: all 2 cells of sweep small are done\n")
    assert re.search(r"^. +none +50\.0", out, re.M) and re.search(r"^. +midre +50\.0", out, re.M)


def test_0_when_only_rows_were_missing(
    midef: Midef, small: Path, store: Store, publish_cell: Callable[..., None]
) -> None:
    for planned in resolve(read_spec(small)).cells:
        publish_cell(planned)
    code, out, _ = midef("run", small, "--store", "store")
    assert code == 0 and out.startswith("wrote the rows of 2 cells whose scores were stored\n")
    assert set(store.results.cells().values()) == {"ok"}


def test_1_when_a_cell_failed(midef: Midef, finished: Path, store: Store) -> None:
    planned = resolve(read_spec(finished)).cells[1]
    store.results.write(planned.cell.digest, lost_rows("small", planned, Failure("bug", "broke")))
    code, out, _ = midef("run", finished, "--store", "store")
    assert code == 1
    assert out.startswith("nothing to do: all 1 cells of sweep small are done, 1 failed before (--retry-failed tries")
    code, out, _ = midef("run", finished, "--store", "store", "--retry-failed")
    assert code == 0 and out.startswith("wrote the rows of 1 cells whose scores were stored\n")


def test_1_when_a_metric_failed_the_first_time_and_ever_after(
    midef: Midef, small: Path, store: Store, publish_cell: Callable[..., None]
) -> None:
    for planned in resolve(read_spec(small)).cells:
        publish_cell(planned, failed="knn_distance")
    assert midef("run", small, "--store", "store")[0] == 1
    assert midef("run", small, "--store", "store")[0] == 1


def test_a_refused_cell_is_no_failure(
    midef: Midef, spec: Callable[..., dict[str, Any]], write_yaml: Yaml, store: Store, extra_defenses: None
) -> None:
    path = write_yaml(spec(defenses=["not_here"]))
    code, out, _ = midef("run", path, "--store", "store")
    assert code == 0 and "refused: not_here on vgg16_tiny: needs a residual block" in out
    assert set(store.results.cells().values()) == {"refused"}


@pytest.mark.parametrize("verb", ["plan", "run"])
def test_2_for_a_wrong_specification(
    midef: Midef, verb: str, spec: Callable[..., dict[str, Any]], write_yaml: Yaml
) -> None:
    path = write_yaml(spec(defenses=["midree", "nsl"]))
    code, out, err = midef(verb, path, "--store", "store")
    assert code == 2 and out == ""
    assert err.startswith("midef: 2 problems:\n  1. defenses[0]: unknown defense 'midree'; did you mean 'midre'?")
    assert not Path("store").exists(), "a wrong specification made a store"


@pytest.mark.parametrize("arguments", [["plann"], ["plan", "--stor", "x", "--nope"], ["list"], []], ids=repr)
def test_2_for_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: midef" in capsys.readouterr().err


def test_3_for_missing_data(midef: Midef, spec: Callable[..., dict[str, Any]], write_yaml: Yaml) -> None:
    path = write_yaml(spec({"private": {"name": "image_folder", "path": "nowhere"}}))
    code, _, err = midef("run", path, "--store", "store")
    assert code == 3 and "setups[0].private: image_folder: no such file or folder" in err and "nowhere" in err


@pytest.mark.parametrize("verb", ["plan", "run", "status", "table", "compact"])
def test_3_for_a_store_of_a_newer_midef(midef: Midef, small: Path, store: Store, verb: str) -> None:
    Path("store/store.json").write_text('{"schema": 99, "written_by": "9.9"}')
    code, _, err = midef(verb, *([small] if verb in ("plan", "run") else []), "--store", "store")
    assert code == 3
    assert "has schema 99, written by midef 9.9; midef" in err
    assert "upgrade midef or choose another --store" in err


@pytest.mark.parametrize("verb", ["status", "table", "compact"])
def test_3_where_there_is_no_store(midef: Midef, verb: str) -> None:
    code, _, err = midef(verb, "--store", "store")
    assert code == 3 and "no midef store at" in err and "a run there: it makes the store" in err
    assert not Path("store").exists()


def test_3_for_a_full_disk_and_nothing_is_lost(
    midef: Midef, finished: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from midef.storage import ArtifactStore

    monkeypatch.setattr(ArtifactStore, "free_bytes", lambda self: 2**20)
    before = store.results.read()
    code, _, err = midef("run", finished, "--store", "store", "--set", "seeds=[0, 1]")
    assert code == 3
    assert (
        err.startswith("midef: store is too small: the plan needs ") and "free space or choose another --store" in err
    )
    assert store.results.read() == before and len(before) == 2 * len(METRICS.names())
    assert midef("run", finished, "--store", "store")[0] == 0, "what needs no space still works"


def test_130_when_interrupted(midef: Midef, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tune_run, "run_plan", interrupted)
    code, _, err = midef("run", small, "--store", "store")
    assert code == 130
    assert err.endswith("midef: interrupted; what is finished is stored, the same command goes on from there\n")


def test_damaged_scores_are_said_and_built_again(
    midef: Midef,
    small: Path,
    store: Store,
    publish_cell: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    planned = resolve(read_spec(small)).cells[0]
    publish_cell(planned)
    (store.artifacts.fetch(planned.recipes.scores.key) / "measurements.json").write_text("[]")
    wanted: list[Any] = []

    def build(plan: Any, *args: Any) -> Outcome:
        wanted.extend(plan.nodes)
        return Outcome()

    monkeypatch.setattr(tune_run, "run_plan", build)
    midef("run", small, "--store", "store")
    assert planned.recipes.scores.key in wanted and planned.recipes.target.key not in wanted
    assert "is set aside as artifacts/.damaged/" in caplog.text and "measurements.json" in caplog.text
    assert list(Path("store/artifacts/.damaged").iterdir())


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    for verb in ("plan", "run", "status", "table", "list", "doctor", "dashboard", "compact", "datasets"):
        assert re.search(rf"^ +{verb}\s", out, re.M), verb


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    import midef

    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"midef {midef.__version__}\n"


def test_a_pipe_that_is_closed_is_no_error(finished: Path) -> None:

    root = Path(__file__).resolve().parents[3]
    command = f"{sys.executable} -m midef list attacks | true"
    found = subprocess.run(["bash", "-c", f"set -o pipefail; cd {root}; {command}"], capture_output=True, text=True)
    assert found.returncode == 0 and found.stderr == ""


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["plan"], ["status"], ["table"], ["dashboard", "build", "--out", "page"], ["list", "sweeps"]],
    ids=" ".join,
)
def test_verbs_that_only_read_load_neither_torch_nor_ray(finished: Path, arguments: list[str]) -> None:
    """They answer in under a second; with torch it would be several."""
    program = (
        "import contextlib, sys\nfrom midef.sweep.cli import main\n"
        "with contextlib.suppress(SystemExit):\n    main(sys.argv[1:])\n"
        "print(sorted({'torch', 'ray', 'torchvision'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, "MIDEF_RESULTS": "store"},
        capture_output=True,
        text=True,
    )
    assert (done.stderr, done.stdout.splitlines()[-1]) == ("", "[]")
