"""The text of a plan says what the plan holds; the command prints it and imports little."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from midef.storage import Store
from midef.sweep.execution.result_rows import measured_rows
from midef.sweep.planning.cost import Timing
from midef.sweep.planning.plan import Plan, make_plan
from midef.sweep.planning.plan_text import plan_text
from midef.sweep.spec.resolve import Sweep

ROOT = Path(__file__).resolve().parents[3]
EIGHT = ["none", "midre", "nls", "bido", "loft", "rounding", "midre+nls", "midre+bido"]
# Budgets no profile has, so that nothing is shared by accident.
SIX = ["gmi", "gmi:orig", "gmi(iterations=77)", "brep_mi", "brep_mi(patience=7)", "inversion_model"]

SweepOf = Callable[..., Sweep]


def kinds(plan: Plan) -> Counter[str]:
    return Counter(node.recipe.kind for node in plan.nodes.values())


@dataclass
class Table:
    rows: dict[str, tuple[int, int, int, int]]

    @classmethod
    def of(cls, text: str) -> Table:
        found = re.findall(r"^(\w+) +([\d,]+) +([\d,]+) +([\d,]+) +([\d,]+)", text, re.M)
        return cls({kind: tuple(int(n.replace(",", "")) for n in numbers) for kind, *numbers in found})  # type: ignore[misc]


def test_the_text_says_what_the_plan_holds(sweep_of: SweepOf, store: Store, publish_cell: Callable[..., None]) -> None:
    sweep = sweep_of({"attack": SIX}, defenses=EIGHT, seeds=[0, 1])
    publish_cell(sweep.cells[5])
    plan = make_plan(sweep, store)
    text = plan_text(plan)
    table = Table.of(text).rows
    todo = kinds(plan)
    for kind in plan.unshared:
        assert table[kind] == (plan.unshared[kind], plan.shared[kind], plan.cached[kind], todo[kind])
    counters = (plan.unshared, plan.shared, plan.cached, todo)
    assert table["total"] == tuple(sum(c.values()) for c in counters)
    assert text.startswith(
        f"sweep small  profile smoke  ({sweep.digest[:10]})\n6 setups x 8 defenses x 2 seeds = 96 cells"
    )
    assert f"to build {len(plan.nodes)} artifacts" in text


def test_nothing_to_do_is_said(sweep_of: SweepOf, store: Store, publish_cell: Callable[..., None]) -> None:
    sweep = sweep_of()
    publish_cell(sweep.cells[0])
    rows = measured_rows("small", sweep.cells[0], store)
    store.results.write(sweep.cells[0].cell.digest, rows)
    assert plan_text(make_plan(sweep, store)).endswith("\nnothing to do")


def test_seconds_of_a_gpu_are_none_of_this_machine(sweep_of: SweepOf) -> None:
    plan = make_plan(sweep_of(), None)
    for node in plan.nodes.values():
        node.estimated_s = 3000.0
    without = re.findall("about .* from start to end", plan_text(plan))
    for node in plan.nodes.values():
        node.timing = Timing(1.0, 1.0, 1.0, 1, "NVIDIA H100")
    assert re.findall("about .* from start to end", plan_text(plan)) == without
    for node in plan.nodes.values():
        node.timing = Timing(1.0, 1.0, 1.0, 1, "cpu test")
    assert re.findall("about .* from start to end", plan_text(plan)) != without


def test_long_times_stand_apart_and_no_line_is_wider_than_asked_for(sweep_of: SweepOf) -> None:
    plan = make_plan(sweep_of({"attack": ["gmi", "brep_mi"]}, defenses=["none", "midre"], profile="mini"), None)
    timed, *_ = (node for node in plan.nodes.values() if node.recipe.kind == "target")
    timed.timing = Timing(11e5, 12e5, 13e5, 3, "NVIDIA H100", timed.work)
    head, line = (
        next(x for x in plan_text(plan, None).splitlines() if x.startswith(w)) for w in ("artifact", "target")
    )
    assert "306 / 333 / 361 h + about" in line
    for column in ("time low", "of GPUs", "basis"):
        at = head.index(column)
        assert line[at - 1] == " " and line[at] != " ", line
    whole = re.sub(r"[\s-]", "", plan_text(plan, None))
    for width in (80, 100):
        text = plan_text(plan, width)
        assert max(map(len, text.splitlines())) <= width
        assert Table.of(text).rows == Table.of(plan_text(plan, None)).rows
        assert sorted(re.sub(r"[\s-]", "", text)) == sorted(whole), "nothing is lost"
    assert plan_text(plan) == plan_text(plan, 100)


def test_gpus_have_a_column_only_where_one_is_held(sweep_of: SweepOf) -> None:
    assert "of GPUs" in plan_text(make_plan(sweep_of(profile="mini"), None))
    assert "of GPUs" not in plan_text(make_plan(sweep_of(profile="smoke"), None))


@pytest.fixture
def matrix(spec: Callable[..., dict[str, Any]], write_yaml: Callable[..., Path]) -> Path:
    """8 defenses x 6 attacks x 3 seeds."""
    return write_yaml(spec({"attack": SIX, "id": ""}, name="matrix", defenses=EIGHT, seeds=[0, 1, 2]))


def run(*command: str) -> str:
    found = subprocess.run([sys.executable, *command], capture_output=True, text=True, cwd=ROOT, timeout=280)
    assert found.returncode == 0, found.stderr
    assert found.stderr == ""
    return found.stdout


def test_the_command_prints_counts_with_and_without_sharing(matrix: Path, tmp_path: Path) -> None:
    text = run("-m", "midef", "plan", str(matrix), "--store", str(tmp_path / "none"))
    assert "6 setups x 8 defenses x 3 seeds = 144 cells: 0 done, 144 to do, 0 failed before, 0 refused" in text
    assert Table.of(text).rows == {
        "split": (288, 2, 0, 2),
        # 144, and once more for each of 18 LoFt cells; 8 x 3 where shared
        "target": (162, 24, 0, 24),
        "evaluator": (144, 1, 0, 1),
        # five of six attacks draw from a generator; gmi:orig brings the paper's own, the other four share one
        "prior": (120, 2, 0, 2),
        "inverter": (24, 24, 0, 24),
        # one for all: it reads traits from images, whoever made them
        "regressor": (144, 1, 0, 1),
        "reconstructions": (144, 144, 0, 144),
        "scores": (144, 144, 0, 144),
        "total": (1170, 342, 0, 342),
    }
    assert "to build 342 artifacts" in text
    assert not (tmp_path / "none").exists(), "planning made a store"


@pytest.mark.parametrize("verb", ["plan", "--help"])
def test_planning_imports_neither_torch_nor_ray(matrix: Path, tmp_path: Path, verb: str) -> None:
    program = (
        "import contextlib, io, sys\nfrom midef.sweep.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n    main(sys.argv[1:])\n"
        "print(sorted({'torch', 'ray', 'torchvision', 'pandas', 'pyarrow', 'numpy', 'plotly'} & set(sys.modules)))"
    )
    arguments = ["plan", str(matrix), "--store", str(tmp_path / "none")] if verb == "plan" else ["--help"]
    assert run("-c", program, *arguments).strip() == "[]"


def test_planning_with_a_store_imports_neither_torch_nor_ray(matrix: Path, store: Store) -> None:
    program = (
        "import sys\nfrom midef.sweep.cli import main\ncode = main(sys.argv[1:])\n"
        "print(code, sorted({'torch', 'ray', 'torchvision', 'pandas', 'plotly'} & set(sys.modules)))"
    )
    assert run("-c", program, "plan", str(matrix), "--store", store.uri).splitlines()[-1] == "0 []"


def test_the_plan_for_programs(matrix: Path, tmp_path: Path) -> None:
    found = json.loads(run("-m", "midef", "plan", str(matrix), "--store", str(tmp_path / "none"), "--json"))
    assert found["sweep"] == "matrix" and found["cells"] == 144 and found["to_build"] == 342
    assert (
        found["unshared"]["target"] == 162 and found["shared"]["target"] == 24 and set(found["cached"].values()) == {0}
    )


def test_one_line_per_cell(matrix: Path, tmp_path: Path) -> None:
    text = run("-m", "midef", "plan", str(matrix), "--store", str(tmp_path / "none"), "--expand")
    lines = re.findall(r"^[0-9a-f]{10}  to do   (\S+)  (.+)  seed (\d)$", text, re.M)
    assert len(lines) == len(set(lines)) == 144
    assert {defense for _, defense, _ in lines} == set(EIGHT)
