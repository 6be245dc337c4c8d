"""The real-size run: counts fit the time, a stopped run goes on, and it needs neither Ray nor a GPU to be tried."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import real_size
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from real_size_budget import REAL, SMOKE, Cut, allocate, round_down
from unit_costs import clock_of

from midef.core.errors import PreflightError

ROOT = Path(__file__).resolve().parents[2]
TIMES = st.lists(st.floats(0.001, 100), min_size=len(REAL.cuts), max_size=len(REAL.cuts))


@given(TIMES, st.floats(0, 100_000))
def test_counts_fit_the_time_and_lie_between_the_least_and_the_published(times: list[float], seconds: float) -> None:
    each_s = {cut.name: time for cut, time in zip(REAL.cuts, times, strict=True)}
    counts = allocate(seconds, REAL.cuts, each_s)
    for cut in REAL.cuts:
        assert min(cut.least, cut.published) <= counts[cut.name] <= cut.published
    taken = sum(counts[cut.name] * each_s[cut.name] for cut in REAL.cuts)
    least = sum(cut.least * each_s[cut.name] for cut in REAL.cuts)
    assert taken <= max(seconds, least) * (1 + 1e-9) + max(times), "within the time, or the least that makes sense"
    if seconds >= sum(cut.published * each_s[cut.name] for cut in REAL.cuts) * (1 + 1e-9):
        assert counts == {cut.name: cut.published for cut in REAL.cuts}


def test_what_one_does_not_need_the_others_get() -> None:
    """By hand: 100 s in equal shares are 50 each; the first needs 10, so the second gets 90."""
    cuts = [Cut(name=name, unit="steps", published=most, share=1) for name, most in (("short", 10), ("long", 1000))]
    assert allocate(100, cuts, {"short": 1.0, "long": 1.0}) == {"short": 10, "long": 90}
    assert [round_down(count) for count in (0.2, 7.9, 99.9, 23_417.0)] == [1, 7, 99, 23_000]


@pytest.mark.parametrize("size", [REAL, SMOKE], ids=["real", "smoke"])
def test_shares_of_the_time_add_up(size: real_size.Size) -> None:
    assert sum(cut.share for cut in size.cuts) == 100
    assert len({cut.name for cut in size.cuts}) == len(size.cuts)


def test_a_gpu_is_taken_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert real_size.chosen_device("auto") == "cpu"
    assert real_size.chosen_precision("auto", "cpu") == "float32"
    with pytest.raises(PreflightError, match="no GPU 0 here, torch finds 0; give --device cpu"):
        real_size.chosen_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert (real_size.chosen_device("auto"), real_size.chosen_device("cuda:1")) == ("cuda", "cuda:1")
    for has, precision in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda has=has: has)
        assert real_size.chosen_precision("auto", "cuda") == precision
    assert real_size.chosen_precision("float32", "cuda") == "float32"


def test_a_gpu_is_timed_when_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    clock_of("cpu")()
    assert waited == []
    clock_of("cuda:1")()
    assert waited == ["cuda:1"]


PROGRAM = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("ray", "optuna", "plotly"):
            raise ImportError(f"{name} is not installed")

sys.meta_path.insert(0, Absent())
folder, benchmarks = sys.argv[1:]
sys.path.insert(0, benchmarks)
from dataclasses import replace
import real_size, real_size_work
from real_size_budget import SMOKE

real_size.SMOKE = replace(
    SMOKE,
    cuts=tuple(replace(cut, published=2, least=1) for cut in SMOKE.cuts),
    people={"min_images": 8}, identities=3, pool=4, seconds_each=0.0, pretraining_min_images=4, judge_px=32,
)
usual = real_size_work.ensure
built = 0

class Killed(BaseException):
    pass

def killed(recipe, context):
    global built
    built += 1
    if built == 12:
        raise Killed
    return usual(recipe, context)

def call(*words):
    words = ["--cpu-smoke", "--store", f"{folder}/store", "--data", folder, "--judge", "densenet121_tiny", *words]
    return real_size.main(["--precision", "bfloat16", *words])

real_size_work.ensure = killed
try:
    call()
except Killed:
    print("killed")
real_size_work.ensure = usual
codes = [call("--parts", "a"), call("--stop-after", "0"), call(), call(), call("--precision", "float32")]
absent = [name for name in ("ray", "optuna", "plotly") if name in sys.modules]
print("codes", codes, "absent", absent)
"""


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """Three people of eight images in lists, and public images of three others."""
    import zipfile

    rng = np.random.default_rng(0)

    def write(archive: zipfile.ZipFile, name: str) -> None:
        from io import BytesIO

        picture = BytesIO()
        Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(picture, "png")
        archive.writestr(name, picture.getvalue())

    lists: dict[str, list[str]] = {"train": [], "test": []}
    with zipfile.ZipFile(tmp_path / "lfw_private.zip", "w") as private:
        for label, person in enumerate(("Ann", "Bob", "Cid")):
            for number in range(8):
                write(private, f"{person}/{person}_{number}.png")
                lists["test" if number > 5 else "train"].append(f"{person}/{person}_{number}.png {label}")
    for name, lines in lists.items():
        (tmp_path / f"lfw_private_{name}.txt").write_text("\n".join(lines) + "\n")
    with zipfile.ZipFile(tmp_path / "lfw_public.zip", "w") as public:
        for person in ("Dan_D", "Eve_E", "Fay_F"):
            for number in range(5):
                write(public, f"images/{person}_{number:04}.png")
    return tmp_path


@pytest.mark.slow
def test_a_stopped_run_goes_on_without_ray_in_bfloat16(people: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), str(people), str(ROOT / "benchmarks")],
        capture_output=True,
        text=True,
        timeout=280,
        cwd=ROOT,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    last = found.stdout.splitlines()[-1]
    assert "killed" in found.stdout
    # part a; stopped with work left; the rest; nothing is left; another precision than the store's
    assert last == "codes [0, 4, 0, 0, 2] absent []", found.stdout + found.stderr
    stages = [json.loads(line) for line in (people / "store" / real_size.STAGES).read_text().splitlines()]
    keys = [stage["key"] for stage in stages]
    assert len(keys) == len(set(keys)), "nothing is built twice"
    assert not any("failed" in stage for stage in stages)
    assert {stage["stage"] for stage in stages} >= {
        "target vgg16_tiny 32 px backbone",
        "target vgg16_tiny 32 px bido",
        "prior plg_gan 32 px tl_dmi",
        "scores ppa 32 px midre",
    }
    assert all(stage["gpu_mb"] is None and stage["host_mb"] > 0 and stage["seconds"] >= 0 for stage in stages)
    report = (people / "store" / "real-size.md").read_text()
    assert report.count("| 1/0 |") == 10, "ten cells, each measured"
    assert "precision bfloat16" in report
    for recipe in (people / "store" / "artifacts").glob("reconstructions/*/recipe.json"):
        assert '"precision": "bfloat16"' in recipe.read_text() or '"precision":"bfloat16"' in recipe.read_text()
