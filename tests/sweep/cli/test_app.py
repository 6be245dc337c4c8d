"""The command line: exit codes and messages that all verbs share."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from midef.core import Failure, StoreError
from midef.metrics import standard_metrics
from midef.storage import Location, Store
from midef.sweep.catalogue import read_spec
from midef.sweep.cli import app
from midef.sweep.cli.app import main
from midef.sweep.execution import tune_run
from midef.sweep.execution.outcome import Outcome
from midef.sweep.execution.result_rows import lost_rows
from midef.sweep.spec.resolve import resolve

Yaml = Callable[..., Path]
Midef = Callable[..., tuple[int, str, str]]


def test_0_when_all_is_done(midef: Midef, finished: Path) -> None:
    code, out, err = midef("run", finished, "--store", "store")
    assert (code, err) == (0, "planning sweep small, profile smoke\n")
    assert out.startswith("nothing to do: all 2 cells of sweep small are done\n")
    assert re.search(r"^.!? +none +50\.0", out, re.M) and re.search(r"^.!? +midre +50\.0", out, re.M)


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
    assert out.startswith("nothing to do: 1 cell of sweep small is done, 1 failed before (--retry-failed tries")
    code, out, _ = midef("run", finished, "--store", "store", "--retry-failed")
    assert code == 0 and out.startswith("wrote the rows of 1 cell whose scores were stored\n")


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
    assert re.search(
        r"^midef: 2 problems:\n  1\. sweep\.yaml, line \d+: defenses\[0\]: unknown defense 'midree'; did", err, re.M
    )
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


@pytest.mark.parametrize("verb", ["status", "table", "show", "compact"])
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
    code, _, err = midef("run", finished, "--store", "store", "--set", "seeds=[0, 1]", "--replace")
    assert code == 3
    assert "\nmidef: store is too small: the plan needs " in err and "free space or choose another --store" in err
    assert store.results.read() == before and len(before) == 2 * len(standard_metrics())
    assert midef("run", finished, "--store", "store", "--replace")[0] == 0, "what needs no space still works"


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


class Refuses(Exception):
    """Cannot even say what it is."""

    def __str__(self) -> str:
        raise ValueError("no words")


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Lets every verb end by this error."""

    def end_by(error: BaseException) -> None:
        def fail(args: Any) -> int:
            raise error

        for verb in app.VERBS.values():
            monkeypatch.setattr(verb, "run", fail)

    return end_by


@pytest.mark.parametrize(
    "error",
    [
        KeyError("a\nb\x1b[31m"),
        RecursionError("deep"),
        BrokenPipeError(32, "a pipe of Ray"),
        Refuses(),
        ExceptionGroup("two", [ValueError()]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_70_for_an_error_that_nobody_foresaw(
    midef: Midef, store: Store, broken: Callable[[BaseException], None], error: BaseException
) -> None:
    broken(error)
    code, out, err = midef("table", "--store", "store")
    assert (code, out) == (70, "")
    assert err.count("\n") == 1 and err.startswith("midef: an error nobody expected: ") and "\x1b" not in err
    assert type(error).__name__ in err and "test_app.py" in err
    (report,) = Path("store/errors").glob("*.txt")
    assert err.endswith(f"traceback: {report.resolve()}\n")
    assert type(error).__name__ in report.read_text()
    assert "raise error\n" in report.read_text()


def test_every_verb_ends_in_one_sentence(
    midef: Midef, broken: Callable[[BaseException], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a store, or with one that is not there or cannot be written, the traceback is a temporary file."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    Store.open("store")

    def refuse(*given: object) -> None:
        raise StoreError("a disk that is only read")

    monkeypatch.setattr(Location, "put", refuse)
    broken(TypeError("odd"))
    needed = {
        "list": ["attacks"],
        "retry": ["--failed"],
        "dashboard": ["build"],
        "analyse": ["rank"],
        "audit": ["--model", "my.pt", "--private", "people"],
        "datasets": ["card", "mnist"],
        "convert": ["network.pkl", "nowhere"],
        "logs": ["0123abcd"],
        "merge": ["mine"],
        "export": ["mine.tar.zst"],
        "import-published": ["paper.csv"],
        "init": ["people"],
        "compare": ["none", "midre"],
        "export-target": ["0123abcd", "weights"],
    }
    of_no_store = ("list", "datasets", "convert", "init", "validate", "schema", "cite")
    for verb in app.VERBS:
        where = [] if verb in of_no_store else ["--store", "store" if verb == "run" else "nowhere"]
        code, _, err = midef(verb, *needed.get(verb, ()), *where)
        path = Path(err.partition("traceback: ")[2].strip())
        assert code == 70 and err.count("\n") == 1 and path.parent == tmp_path / "tmp", (verb, err)
        assert "TypeError: odd" in path.read_text()
        path.unlink()
    assert not Path("nowhere").exists()


def test_verbose_prints_the_traceback_too(midef: Midef, store: Store, broken: Callable[[BaseException], None]) -> None:
    broken(TypeError("odd"))
    _, _, err = midef("table", "--store", "store", "--verbose")
    assert "Traceback (most recent call last)" in err and err.splitlines()[-1].startswith("midef: an error nobody")


def test_where_no_file_can_be_written_the_traceback_is_printed(
    midef: Midef, broken: Callable[[BaseException], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(TypeError("odd"))
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    code, _, err = midef("list", "attacks")
    assert code == 70 and "Traceback (most recent call last)" in err


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device"), "no space is left on a disk of this machine"),
        (MemoryError(), "this machine has not enough memory free"),
        (ModuleNotFoundError("No module named 'ray'", name="ray.tune"), "a package is missing here (pip install ray)"),
    ],
    ids=["disk", "memory", "package"],
)
def test_3_where_this_machine_lacks_something(
    midef: Midef, store: Store, broken: Callable[[BaseException], None], error: BaseException, said: str
) -> None:
    broken(error)
    code, _, err = midef("table", "--store", "store")
    assert code == 3 and err.startswith(f"midef: {said}") and err.count("\n") == 1


def test_a_library_call_raises_what_happened(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import midef

    def fail(*given: Any, **named: Any) -> None:
        raise TypeError("odd")

    monkeypatch.setattr("midef.sweep.execution.prepare.prepare", fail)
    with pytest.raises(TypeError, match="odd"):
        midef.sweep.run(finished, "store")


@pytest.mark.parametrize("encoding", ["ascii", "ascii:surrogateescape", "latin-1"])
def test_a_terminal_that_lacks_a_letter_gets_its_code(finished: Path, encoding: str) -> None:
    command = [sys.executable, "-m", "midef", "table", "--store", "store"]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(command, env=environment, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"") and b"\\u25cf" in done.stdout


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    for verb in ("plan", "run", "status", "table", "show", "list", "doctor", "dashboard", "compact", "datasets"):
        assert re.search(rf"^ +{verb}\s", out, re.M), verb


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    import midef

    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"midef {midef.__version__}\n"


def test_output_that_was_closed_before_the_start_is_no_error(finished: Path) -> None:
    command = f"{sys.executable} -m midef status --store store >&-"
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True, cwd=finished.parent, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("names", [("stdout",), ("stderr",), ("stdout", "stderr")])
def test_every_verb_writes_nowhere_where_there_is_no_output(
    finished: Path, names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in names:
        monkeypatch.setattr(sys, name, None)
    monkeypatch.chdir(finished.parent)
    assert main(["table", "--store", "store"]) == 0
    assert main(["status", "--store", "store"]) == 0
    assert main(["table", "--store", "gone"]) == 3


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


@pytest.mark.parametrize("verb", ["run", "match"])
def test_what_is_planned_is_said_before_anything_heavy_is_imported(verb: str, tmp_path: Path) -> None:
    """The planner, the readers of stores, torch and Ray take seconds to import, a large plan minutes."""
    heavy = "{'torch', 'ray', 'pandas', 'pyarrow', 'numpy', 'midef.stages', 'midef.sweep.planning.plan'}"
    program = (
        "import sys\nfrom midef.sweep import library\nfrom midef.sweep.cli import main\n"
        f"def look(*_, **__):\n    print(sorted({heavy} & set(sys.modules)))\n    raise SystemExit(7)\n"
        f"library.{verb} = look\nmain(sys.argv[1:])"
    )
    command = [sys.executable, "-c", program, verb, "smoke", "--store", str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True)
    said = (done.returncode, done.stdout, done.stderr)
    assert said == (7, "[]\n", "planning sweep smoke, profile smoke\n")
