"""The GPU benchmark: it counts right by hand, every loop runs, and it can be tried without Ray, data and GPU."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import gpu
import gpu_measure
import pytest
import torch
import torch.nn.functional as F
from gpu_cells import hours_of
from gpu_loops import PAPER, TINY, Loops
from gpu_measure import Loop, Measured, measured, operations

ROOT = Path(__file__).resolve().parents[2]


def counted(work: Callable[[], object]) -> float:
    def run() -> float:
        work()
        return 1.0

    return operations(run)[0]


def test_operations_are_those_of_the_formulas() -> None:
    """2 m n k of a product and as much for each gradient; 2 for each weight at each place of a convolution."""
    left, right = torch.ones(3, 5, requires_grad=True), torch.ones(5, 7, requires_grad=True)
    assert counted(lambda: left @ right) == 2 * 3 * 5 * 7
    assert counted(lambda: torch.autograd.grad((left @ right).sum(), [left, right])) == 3 * 2 * 3 * 5 * 7
    images, kernel = torch.ones(2, 3, 8, 8), torch.ones(4, 3, 3, 3)
    assert counted(lambda: F.conv2d(images, kernel, padding=1)) == 2 * 2 * 4 * 8 * 8 * 3 * 3 * 3


def test_what_a_loop_costs_once_is_not_part_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def run(steps: int) -> float:
        nonlocal now
        now += 5.0 + 0.5 * steps  # seconds, by a clock of the test
        torch.ones(2, 2) @ torch.ones(2, 2)  # once
        for _ in range(steps):
            torch.ones(4, 4) @ torch.ones(4, 4)
        return steps

    monkeypatch.setattr(gpu_measure, "clock_of", lambda device: lambda: now)
    for seconds in (0.0, 60.0):
        found = measured(Loop("a loop", "float32", 8, run, cycle=2), "cpu", seconds)
        assert found.seconds == pytest.approx(0.5) and found.images_s == pytest.approx(16)
        assert found.flop == 2 * 4 * 4 * 4
        assert found.gpu_mb is None and found.waits is None


def test_the_share_is_that_of_the_product_of_the_same_precision() -> None:
    one = Measured(Loop("a loop", "tf32", 64, lambda steps: steps), 0.01, 1e12, 2048.0, 3.0, "")
    line = gpu.row(one, {"float32": 1e15, "tf32": 4e14, "bfloat16": 8e14})
    assert line == "| a loop | tf32 | 100.00 | 6,400 | 1e+03 | 25.0 | 2,048 | 3 |"


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main([]) == 3
    assert "--cpu-smoke tries the same code" in capsys.readouterr().err


def test_hours_of_three_cells_are_predicted_without_data_and_measured_from_images() -> None:
    """WGAN-GP by hand: 56,160 steps of 64 images at 6,400 a second take 562 s."""
    speeds = [Measured(Loop("generator wgan_gp 64 px", "tf32", 64, lambda steps: steps), 0.01, 1e9, None, None, "")]
    hours = hours_of(speeds)
    assert len({one.cell for one in hours}) == 3
    assert all(0 < one.predicted[0] < one.predicted[1] < one.predicted[2] for one in hours)
    found = {one.node: one.measured for one in hours}
    assert found["prior wgan_gp"] == pytest.approx(56_160 * 64 / 6400 / 3600)
    assert {node for node, measured in found.items() if measured is not None} == {"prior wgan_gp"}


def test_every_loop_of_the_paper_size_has_a_name_and_fits_its_parameters() -> None:
    """Those that build nothing large before they run."""
    loops = Loops(PAPER, "cpu", ROOT)
    made = [loops.prior(name) for name in ("wgan_gp", "kedmi_gan", "plg_gan", "t_acgan", "style_gan2", "diffusion")]
    assert {loop.images for loop in made} == {64, 128, 256} and all("64 px" in loop.name for loop in made)


@pytest.mark.slow
def test_every_loop_runs_at_the_tiny_size(tmp_path: Path) -> None:
    steps = {
        (loop.name, loop.precision): loop.run(loop.cycle) / loop.cycle for loop in Loops(TINY, "cpu", tmp_path).all()
    }
    assert len(steps) == 21 and all(0.5 < made < 60 for made in steps.values())


PROGRAM = """
import sys
sys.modules["ray"] = None
sys.path.insert(0, sys.argv[1])
import gpu
code = gpu.main(["--cpu-smoke", "--minutes", "0.01", "--only", "evaluation", "gmi"])
print("code", code, "ray", sys.modules["ray"])
"""


def test_the_dry_run_works_without_ray_and_data(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(ROOT / "benchmarks")],
        capture_output=True,
        text=True,
        timeout=280,
        cwd=tmp_path,
        env={"PATH": "", "HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    assert found.stdout.splitlines()[-1] == "code 0 ray None", found.stdout + found.stderr
    assert "| evaluation by resnet18_tiny 32 px | tf32 |" in found.stdout
    assert found.stdout.count("needs a GPU") >= 9, "columns that no CPU can fill say so"
