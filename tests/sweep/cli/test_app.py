"""The command line: exit codes, messages, and what each verb prints."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from midef.attacks import ATTACKS
from midef.core import Failure
from midef.defenses import DEFENSES
from midef.metrics import METRICS
from midef.storage import Store
from midef.sweep import library
from midef.sweep.catalogue import read_spec
from midef.sweep.cli.app import main
from midef.sweep.cli.listing import LISTED
from midef.sweep.execution import tune_run
from midef.sweep.execution.result_rows import lost_rows
from midef.sweep.spec.resolve import resolve

Yaml = Callable[..., Path]


@pytest.fixture(autouse=True)
def no_ray(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing here may start Ray; stores are made in a folder of the test."""

    def start(*args: Any, **given: Any) -> None:
        raise AssertionError("Ray was started")

    monkeypatch.setattr(tune_run, "_start_ray", start)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def midef(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command here: exit code, standard output, standard error."""

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(a) for a in arguments])
        return code, *capsys.readouterr()

    return call


Midef = Callable[..., tuple[int, str, str]]


@pytest.fixture
def small(spec: Callable[..., dict[str, Any]], write_yaml: Yaml) -> Path:
    return write_yaml(spec(defenses=["none", "midre"]))


@pytest.fixture
def finished(small: Path, store: Store, publish_cell: Callable[..., None]) -> Path:
    """A sweep all of whose cells are done."""
    sweep = resolve(read_spec(small))
    for planned in sweep.cells:
        publish_cell(planned)
    tune_run.prepare(sweep, store)
    return small


# --- exit codes -------------------------------------------------------------------------------------------------------


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

    def build(plan: Any, *args: Any) -> tune_run.Outcome:
        wanted.extend(plan.nodes)
        return tune_run.Outcome()

    monkeypatch.setattr(tune_run, "run_plan", build)
    midef("run", small, "--store", "store")
    assert planned.recipes.scores.key in wanted and planned.recipes.target.key not in wanted
    assert "is set aside as artifacts/.damaged/" in caplog.text and "measurements.json" in caplog.text
    assert list(Path("store/artifacts/.damaged").iterdir())


# --- verbs ------------------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("what", LISTED)
def test_lists(midef: Midef, what: str) -> None:
    entries = json.loads(midef("list", what, "--json")[1])
    first, last = ("source", "value") if what == "published" else ("name", "meaning")
    assert entries and all(entry[first] and entry[last] for entry in entries)
    text = midef("list", what)[1].splitlines()
    assert [line.split()[0] for line in text] == [entry[first].split()[0] for entry in entries]
    markdown = midef("list", what, "--markdown")[1].splitlines()
    assert len(markdown) == len(entries) + 2
    assert {line.count(" | ") for line in (markdown[0], *markdown[2:])} == {len(entries[0]) - 1}


def test_lists_are_complete(midef: Midef) -> None:
    found = {e["name"]: e for e in json.loads(midef("list", "defenses", "--json")[1])}
    assert sorted(found) == DEFENSES.names()
    assert "ls" in found["nls"]["combines with"] and "nls" not in found["midre"]["combines with"]
    assert "celeba-64" in found["midre"]["presets"]
    attacks = {e["name"]: e["access"] for e in json.loads(midef("list", "attacks", "--json")[1])}
    assert sorted(attacks) == ATTACKS.names() and len(set(attacks.values())) == 3


def test_status_counts_cells_and_artifacts(midef: Midef, finished: Path, store: Store) -> None:
    planned = resolve(read_spec(finished)).cells[1]
    store.results.write(planned.cell.digest, lost_rows("small", planned, Failure("bug", "it broke")))
    code, out, _ = midef("status", "--store", "store")
    assert code == 0
    assert out.splitlines()[0].endswith(
        "store: 2 cells, 1 evaluator, 1 prior, 2 reconstructions, 2 scores, 2 split, 2 target"
    )
    assert re.search(r"^[0-9a-f]{10}  small: 1 failed, 1 ok$", out, re.M)
    assert "  failed: 1 cells (faces), bug: it broke\n  next: midef retry SWEEP --failed --filter error=TEXT, " in out
    found = json.loads(midef("status", "--store", "store", "--json")[1])["sweeps"][0]
    assert found["cells"] == {"ok": 1, "failed": 1} and found["driver"] is None
    assert found["causes"] == [{"cells": 1, "example": "it broke", "setups": ["faces"]}]


def test_status_counts_what_is_missing(midef: Midef, small: Path, store: Store) -> None:
    tune_run.prepare(resolve(read_spec(small)), store)
    assert "small: 2 missing" in midef("status", "--store", "store")[1]


def test_tables(midef: Midef, finished: Path) -> None:
    text = midef("table", "--store", "store")[1]
    assert "test acc %" in text and "midre" in text
    markdown = midef("table", "--store", "store", "--format", "md")[1]
    assert re.search(r"^\|.*midre.*\|$", markdown, re.M) and "| ---" in markdown.replace("|---", "| ---").replace(
        ":", ""
    )
    records = list(csv.DictReader(io.StringIO(midef("table", "--store", "store", "--format", "csv")[1])))
    assert {record["defense"] for record in records} == {"none", "midre"}


def test_the_table_of_a_sweep_that_is_not_there(midef: Midef, finished: Path) -> None:
    code, _, err = midef("table", "--store", "store", "--sweep", "smal")
    assert code == 2 and "this store has no sweep 'smal'; did you mean 'small'?" in err


def test_the_table_of_an_empty_store(midef: Midef, store: Store) -> None:
    assert midef("table", "--store", "store") == (0, "no results yet\n", "")


def test_compact_keeps_every_row(midef: Midef, finished: Path, store: Store) -> None:
    before = store.results.read()
    code, out, _ = midef("compact", "--store", "store")
    assert (code, out) == (0, f"2 result files -> 1, {2 * len(METRICS.names())} rows\n")
    assert Store.open("store").results.read() == before
    assert midef("run", finished, "--store", "store")[1].startswith("nothing to do: all 2 cells")


def test_the_card_of_the_embedded_faces(midef: Midef) -> None:
    code, out, _ = midef("datasets", "card", "synthetic_faces(identities=12)")
    assert code == 0
    for word in ("licence", "consent", "source", "identities", "images", "fingerprint computed from its parameters"):
        assert re.search(rf"^{word}", out, re.M), word
    assert re.search(r"^identities +12$", out, re.M)


def test_the_card_of_own_images(midef: Midef, make_tree: Callable[..., Path]) -> None:
    folder = make_tree("people", {"ada": 6, "bob": 7})
    code, out, _ = midef("datasets", "card", f"image_folder(path={folder},licence=CC0,title=My people)")
    assert code == 0 and out.startswith("My people\n")
    assert re.search(r"^licence +CC0$", out, re.M) and re.search(r"^identities +2$", out, re.M)
    assert re.search(r"^fingerprint +[0-9a-f]{64}$", out, re.M)


@pytest.mark.parametrize(
    ("dataset", "code", "expected"),
    [
        ("image_folder(path=nowhere)", 3, "no such file or folder"),
        ("image_foldr", 2, "unknown dataset 'image_foldr'; did you mean 'image_folder'?"),
        ("image_folder(pth=x)", 2, "dataset 'image_folder' has no parameter 'pth'; did you mean 'path'?"),
    ],
)
def test_a_card_that_cannot_be_made(midef: Midef, dataset: str, code: int, expected: str) -> None:
    found, _, err = midef("datasets", "card", dataset)
    assert found == code and expected in err


def test_the_doctor_finds_everything(midef: Midef, small: Path) -> None:
    code, out, err = midef("doctor", small, "--store", "store")
    assert (code, err) == (0, "")
    assert re.search(r"^ok +torch \d", out, re.M) and re.search(r"^ok +free disk at store: \d+ GiB$", out, re.M)
    assert "ok       sweep small: 2 cells, data sets found\n" in out
    assert not Path("store").exists()


def test_the_doctor_names_what_is_missing(
    midef: Midef, spec: Callable[..., dict[str, Any]], write_yaml: Yaml, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.metadata as metadata

    real = metadata.version

    def version(name: str) -> str:
        if name in ("ray", "plotly"):
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", version)
    path = write_yaml(spec({"private": {"name": "image_folder", "path": "nowhere"}}))
    code, out, _ = midef("doctor", path)
    assert code == 3
    assert "missing  plotly; pip install plotly\n" in out and "missing  ray; pip install ray\n" in out
    assert re.search(r"^missing +setups\[0\]\.private: image_folder: no such file or folder", out, re.M)


def test_a_pipe_that_is_closed_is_no_error(finished: Path) -> None:
    import subprocess
    import sys

    root = Path(__file__).resolve().parents[3]
    command = f"{sys.executable} -m midef list attacks | true"
    found = subprocess.run(["bash", "-c", f"set -o pipefail; cd {root}; {command}"], capture_output=True, text=True)
    assert found.returncode == 0 and found.stderr == ""


# --- accuracy matching ------------------------------------------------------------------------------------------------


@pytest.fixture
def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans are taken, nothing is built."""
    monkeypatch.setattr(tune_run, "run_plan", lambda *args, **given: tune_run.Outcome(stopped="budget reached"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--target", "85"], "to 85 %, tolerance 0.5 points"),
        (["--target", "88.5", "--tolerance", "1"], "to 88.5 %, tolerance 1 points"),
        (["--target", "none - 2"], "to none minus 2 points"),
        (["--target", "midre(area_high=0.8)"], "to the accuracy of midre(area_high=0.8)"),
        (["--trainings", "5"], "area_high 0.1 to 0.8 (linear), on 1 networks and data sets, at most 5 trainings each"),
        ([], "to none minus 1 points, tolerance 2 points"),
    ],
    ids=str,
)
def test_options_of_match_come_before_the_sweep(
    midef: Midef, spec: Callable[..., dict[str, Any]], write_yaml: Yaml, nothing_runs: None, given: list[str], said: str
) -> None:
    written = {"target": "none - 1", "tolerance": 2.0} if not given else {}
    path = write_yaml(spec(defenses=["none", "midre"], match=written))
    code, out, _ = midef("match", path, *given, "--no-attack", "--store", "store")
    assert code == 4 and said in out


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--target", "midree - 2"], "match.target: unknown defense 'midree'; did you mean 'midre'?"),
        (["--target", "none-2"], "(give a percentage, a defense, or `none - 2`)"),
        (["--target", "101"], "a target accuracy is a percentage above 0 and at most 100, got 101"),
        (["--tolerance", "0"], "match.tolerance: "),
        (["--trainings", "2"], "match.trainings: "),
        (["--set", "match.tolrance=1"], "match.tolrance: unknown field; did you mean 'tolerance'?"),
    ],
    ids=str,
)
def test_2_for_wrong_options_of_match(midef: Midef, small: Path, given: list[str], said: str) -> None:
    code, out, err = midef("match", small, *given, "--store", "store")
    assert (code, out) == (2, "") and said in err
    assert not Path("store").exists(), "wrong options made a store"


@pytest.mark.parametrize("block", [{"match": {"target": 85}}, {"front": {"defense": "midre"}}], ids=str)
def test_2_for_a_sweep_to_match_that_is_run(
    midef: Midef, spec: Callable[..., dict[str, Any]], write_yaml: Yaml, block: dict[str, Any]
) -> None:
    code, out, err = midef("run", write_yaml(spec(**block)), "--store", "store")
    assert (code, out) == (2, "") and "is one for `midef match`" in err
    assert not Path("store").exists()


def test_the_plan_of_a_sweep_to_match_is_what_would_be_searched(
    midef: Midef, spec: Callable[..., dict[str, Any]], write_yaml: Yaml
) -> None:
    path = write_yaml(spec(defenses=["none", "midre"], match={"target": "none - 2"}))
    code, out, _ = midef("plan", path, "--store", "store")
    assert code == 0 and "to none minus 2 points" in out
    assert "  midre: area_high 0.1 to 0.8 (linear)" in out and "  none: as it is" in out and "at most 33 train" in out
    assert not Path("store").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--front", "midree"], "front.defense: unknown defense 'midree'; did you mean 'midre'?"),
        (["--front", "none"], "front.defense: none has no strength to search: it changes nothing"),
        (["--front", "midre", "--target", "85"], "is searched without a target: leave --target out"),
        (["--front", "midre", "--set", "front={defense: nls, trials: 1}"], "front.trials: "),
    ],
    ids=str,
)
def test_2_for_a_front_that_cannot_be_searched(midef: Midef, small: Path, given: list[str], said: str) -> None:
    code, out, err = midef("match", small, *given, "--store", "store")
    assert (code, out) == (2, "") and said in err
    assert not Path("store").exists(), "wrong options made a store"


def test_the_plan_of_a_front_is_what_would_be_searched(
    midef: Midef, spec: Callable[..., dict[str, Any]], write_yaml: Yaml
) -> None:
    code, out, _ = midef("plan", write_yaml(spec(front={"defense": "midre"})), "--store", "store")
    assert code == 0 and "the front of midre over area_high 0.1 to 0.8 (linear), 24 strengths" in out
    assert not Path("store").exists()


def test_1_when_a_front_ended_early(
    midef: Midef, spec: Callable[..., dict[str, Any]], write_yaml: Yaml, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training is lost without a word about its strength; the rows of what was tried are all there."""

    def run_plan(plan: Any, store: Store, options: Any, grow: Any = None) -> tune_run.Outcome:
        nodes = [node for node in plan.nodes.values() if node.recipe.kind in ("target", "scores")]
        for node in nodes:
            grow(node, Failure("oom", "out of memory"))
        return tune_run.Outcome()

    monkeypatch.setattr(tune_run, "run_plan", run_plan)
    monkeypatch.setattr(
        library, "run_cells", lambda sweep, store, *args, **given: library.SweepResult(name=sweep.name, store=store)
    )
    code, out, _ = midef("match", write_yaml(spec(front={"defense": "midre"})), "--store", "store")
    assert code == 1 and "ended early: out of memory" in out


def test_a_front_goes_before_a_match_and_takes_its_ranges(
    midef: Midef, spec: Callable[..., dict[str, Any]], write_yaml: Yaml, nothing_runs: None
) -> None:
    both = {"front": {"defense": "midre", "trials": 6}, "match": {"target": 85, "ranges": {"midre": {"high": 0.6}}}}
    code, out, _ = midef("match", write_yaml(spec(**both)), "--store", "store")
    assert code == 4 and "the front of midre over area_high 0.1 to 0.6 (linear), 6 strengths" in out
    assert "85 %" not in out
    code, out, _ = midef("match", write_yaml(spec(**both)), "--front", "nls", "--store", "store")
    assert code == 4 and "the front of nls over alpha" in out and "6 strengths" in out
