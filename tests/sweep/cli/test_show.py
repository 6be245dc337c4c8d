"""`midef show`: the traces of chosen cells as a table and as a figure, and what it says where there are none."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from midef.core import Failure
from midef.core.traces import Traces, thinned
from midef.storage import Store
from midef.storage.logs import PieceLog
from midef.storage.traces import NAME
from midef.sweep.catalogue import read_spec
from midef.sweep.execution.prepare import prepare
from midef.sweep.execution.result_rows import lost_rows
from midef.sweep.spec.resolve import resolve

Midef = Callable[..., tuple[int, str, str]]


def traces(rate: float) -> Traces:
    """A search of 4 identities x 2 over 101 steps, whose log-odds rise by `rate` from -4 on."""
    steps = np.array(thinned(101))
    wave = 0.01 * np.sin(np.arange(8)[:, None] + steps)
    confidence = 1 / (1 + np.exp(4 - rate * steps / 100 + wave))
    series = {"loss": -np.log(confidence), "confidence": confidence, "gradient_norm": np.ones_like(confidence)}
    labels, restarts = np.repeat(np.arange(4), 2), np.tile([0, 1], 4)
    return Traces(steps, {name: values.astype(np.float32) for name, values in series.items()}, labels, restarts)


@pytest.fixture
def traced(small: Path, store: Store, publish_cell: Callable[..., None]) -> None:
    """A sweep all of whose cells are done: `none` still rose, `midre` was flat."""
    sweep = resolve(read_spec(small))
    for planned in sweep.cells:
        publish_cell(planned, traces=traces(4.0 if planned.cell.defense.name == "none" else 0.0))
    prepare(sweep, store)


@pytest.mark.usefixtures("traced")
def test_the_traces_of_a_sweep_as_a_table(midef: Midef) -> None:
    code, text, _ = midef("show", "--store", "store")
    assert code == 0
    lines = [line.split() for line in text.splitlines()]
    steps = [line[1] for line in lines if line[:1] in (["none"], ["midre"]) and line[1].isdigit()]
    assert steps == ["0", "0"]
    assert [line[0] for line in lines if line[:1] and line[0].isdigit()] == ["10", "24", "49", "76", "100"] * 2
    end = next(line for line in text.splitlines() if line.strip().startswith("100"))
    assert "0.693 [" in end and "0.5 [" in end, "mean loss and confidence of `none` at the last step"
    assert max(map(len, text.splitlines())) <= 100
    unwrapped = text.replace("\n  ", " ")
    rising, flat = (line for line in unwrapped.splitlines() if "last fifth" in line)
    assert rising.startswith("none: 8 reconstructions, seed 0; ")
    assert "log-odds +0.8" in rising
    assert "still rising: attack not converged; gradient norm 100 % of its start" in rising
    assert flat.startswith("midre") and "0.00 [from -0.0" in flat and "not converged" not in flat


@pytest.mark.usefixtures("traced")
def test_chosen_cells_alone(midef: Midef, store: Store) -> None:
    text = midef("show", "--store", "store", "defense=midre", "seed=0")[1]
    assert "midre" in text and "none:" not in text
    (cell,) = {row.cell for row in store.results.read() if row.defense_name == "none"}
    assert midef("show", "--store", "store", cell[:6])[1].count("last fifth") == 1
    code, _, err = midef("show", "--store", "store", "defense=midr", "layer=3")
    assert code == 2 and "'layer=3': unknown key 'layer'" in err
    code, _, err = midef("show", "--store", "store", "defense=midr")
    assert code == 2 and "defense=midr matches no cell of sweep small; did you mean 'midre" in err
    none, *_ = (row.cell for row in store.results.read() if row.defense_name == "none")
    code, text, err = midef("show", "--store", "store", "defense=midre", f"cell={none}")
    assert code == 2 and "matches all of defense=midre, cell=" in err and "no results" not in text


@pytest.mark.usefixtures("traced")
def test_the_figure_is_one_file(midef: Midef, tmp_path: Path) -> None:
    text = midef("show", "--store", "store", "--out", "page/figure.html")[1]
    assert f"figure: {tmp_path / 'page' / 'figure.html'}" in text
    html = (tmp_path / "page" / "figure.html").read_text()
    assert "gradient norm" in html and "midre" in html and "cdn.plot.ly" not in html.split("<body>")[0]


@pytest.mark.usefixtures("finished")
def test_reconstructions_of_an_older_midef_have_no_trace(midef: Midef, tmp_path: Path) -> None:
    code, text, _ = midef("show", "--store", "store", "--out", "figure.html")
    assert code == 0 and "none: seed 0: no trace is stored" in text and "midre" in text
    assert "nothing to draw, figure.html is not written" in text and not (tmp_path / "figure.html").exists()


def test_cells_that_failed_say_why(
    small: Path, store: Store, publish_cell: Callable[..., None], midef: Midef, tmp_path: Path
) -> None:
    sweep = resolve(read_spec(small))
    for planned in sweep.cells:
        if planned.cell.defense.name == "none":
            publish_cell(planned, traces=traces(4.0))
        else:
            rows = lost_rows("small", planned, Failure("diverged", "the loss became nan"))
            store.results.write(planned.cell.digest, rows)
    prepare(sweep, store)
    code, text, _ = midef("show", "--store", "store")
    assert code == 0 and text.count("last fifth") == 1
    assert "midre: seed 0: failed: the loss became nan" in text
    code, text, _ = midef("show", "--store", "store", "defense=midre", "--out", "figure.html")
    assert code == 0 and "midre: seed 0: failed: the loss became nan" in text
    assert "nothing to draw" in text and not (tmp_path / "figure.html").exists()


@pytest.mark.usefixtures("traced")
def test_a_damaged_file_is_said_and_the_others_are_shown(midef: Midef) -> None:
    first, *_ = sorted(Path("store").rglob(NAME))
    first.chmod(0o644)
    first.write_bytes(b"no zip")
    code, text, _ = midef("show", "--store", "store")
    assert code == 0 and text.count("last fifth") == 1 and "traces.npz" in text


def test_an_empty_store_and_an_out_that_is_a_folder(midef: Midef, store: Store, tmp_path: Path) -> None:
    assert midef("show", "--store", "store") == (0, "no results yet\n", "")
    code, _, err = midef("show", "--store", "store", "--out", tmp_path)
    assert code == 2 and "is a folder" in err
    assert midef("show", "--store", "nowhere")[0] == 3


@pytest.mark.usefixtures("traced")
def test_a_cell_with_its_stages_metrics_and_files(midef: Midef, store: Store) -> None:
    rows = [row for row in store.results.read() if row.defense_name == "midre"]
    code, out, _ = midef("show", "--store", "store", rows[0].cell[:8])
    assert code == 0
    assert out.startswith(f"cell {rows[0].cell}\n  sweep small (") and "  state ok\n" in out
    parts = {part.splitlines()[0]: part for part in out.split("\n\n")}
    assert "area_high=" in parts["configuration"] and "images_per_identity" in parts["configuration"]
    stages = parts["stages"].splitlines()[2:]
    kinds = [line.split()[0].partition("/")[0] for line in stages]
    assert kinds.index("split") < kinds.index("target") < kinds.index("reconstructions") < kinds.index("scores")
    assert all(" stored " in line and " 1 s " in line and "cpu test" in line for line in stages)
    assert {line.split()[0] for line in parts["metrics"].splitlines()[1:]} == {row.metric for row in rows}
    assert "50 " in parts["metrics"] and "n 8" in parts["metrics"]
    assert f"artifacts/{rows[0].target_key}" in parts["files"] and f"results/{rows[0].cell}.parquet" in parts["files"]
    assert out.count("last fifth") == 1, "the search of the cell is shown as before"


def test_a_cell_that_failed_and_one_that_has_not_begun(small: Path, store: Store, midef: Midef) -> None:
    sweep = resolve(read_spec(small))
    prepare(sweep, store)
    none, midre = sorted(sweep.cells, key=lambda planned: planned.cell.defense.name != "none")
    store.results.write(midre.cell.digest, lost_rows("small", midre, Failure("oom", "no memory left")))
    key = midre.recipes.target.key
    with pytest.raises(MemoryError), PieceLog(store.location, key, what="target midre seed 0", device="cuda"):
        raise MemoryError("no memory left")
    code, out, _ = midef("show", "--store", "store", "defense=midre")
    assert code == 0 and "state failed, kind oom" in out and "  failed: no memory left" in out
    (line,) = (line for line in out.splitlines() if line.strip().startswith(key.short))
    assert " failed " in line and socket.gethostname() in line and "cuda" in line
    assert f" logs/{key}/" in out
    code, out, _ = midef("show", "--store", "store", none.cell.digest)
    assert code == 0 and "state missing" in out and out.endswith("no results yet\n")
    code, out, _ = midef("show", "--store", "store", "seed=0")
    assert code == 0 and f"{midre.cell.digest[:10]}  faces  midre  seed 0: failed (oom): no memory left\n" in out
