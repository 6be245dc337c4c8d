"""GPU-hours of work that no GPU did: ordered ranges around published trainings, for every row of the matrix."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from midef.core.choice import Choice
from midef.core.errors import PreflightError
from midef.core.recipe import Recipe
from midef.datasets import DATASETS
from midef.models import ARCHITECTURES
from midef.stages.recipes import NO_DEFENSE, split_recipe, target_recipe
from midef.sweep.catalogue.matrix37 import matrix37
from midef.sweep.cli import plan as plan_verb
from midef.sweep.planning.estimate import LEARNED, NODE_S, Estimates, Work
from midef.sweep.planning.gpu import REFERENCE, Probe, probe
from midef.sweep.planning.plan import Plan, make_plan
from midef.sweep.planning.plan_text import gpu_hours_by_setup, plan_text
from midef.sweep.spec.resolve import resolve
from midef.sweep.spec.schema import SweepSpec
from midef.training import TrainingRecipe


def target(architecture: str, epochs: int) -> Recipe:
    private = split_recipe(Choice("celeba", DATASETS.choose({"name": "celeba", "root": "x"}).params, 1), 64)
    params = {name: value for name, value in private.params["params"].items() if name != "root"}
    private = split_recipe(Choice("celeba", {**params, "fingerprint": "absent"}, 1), 64)
    return target_recipe(private, ARCHITECTURES.choose(architecture), NO_DEFENSE, TrainingRecipe(epochs=epochs), seed=0)


# Seconds on an RTX A5000, the TL-DMI paper.
@pytest.mark.parametrize(
    ("architecture", "epochs", "seconds"), [("vgg16", 200, 2122), ("ir152", 100, 6019), ("facenet64", 200, 16344)]
)
def test_published_trainings_lie_in_the_range(architecture: str, epochs: int, seconds: float) -> None:
    low, expected, worst = REFERENCE.seconds(Estimates({}).work(target(architecture, epochs)))
    assert 0.85 * low < seconds < 1.15 * worst and low < expected < worst


def test_a_probe_moves_the_whole_range_and_a_cpu_says_nothing_of_gpus() -> None:
    """By hand: a GPU that does in the probe twice what the reference's fastest did takes half as long."""
    work = Work(gflop=1e6)
    faster = Probe(2 * REFERENCE.low, "NVIDIA H200", on_gpu=True).rates()
    for here, there in zip(faster.seconds(work), REFERENCE.seconds(work), strict=True):
        assert here - NODE_S == pytest.approx((there - NODE_S) / 2)
    assert "NVIDIA H200" in faster.what
    assert Probe(50.0, "cpu x86_64", on_gpu=False).rates() is REFERENCE


@pytest.mark.slow
def test_the_probe_measures_this_processor() -> None:
    found = probe(seconds=0.0, device="cpu")
    assert found.gflop_s > 0 and not found.on_gpu and found.device.startswith("cpu")
    assert "GFLOP/s in training steps of VGG16 at 64 px" in found.text


@pytest.mark.parametrize(("name", "gflop"), [("resnet18", 3.63), ("resnet101", 15.6), ("densenet121", 5.67)])
def test_a_stem_that_halves_leaves_less_work(name: str, gflop: float) -> None:
    """Twice the multiplications that torchvision states for 224 px."""
    assert ARCHITECTURES.make(name).gflop(224) == pytest.approx(gflop, rel=0.1)
    assert ARCHITECTURES.make(name).gflop(112) == pytest.approx(3.0625 * ARCHITECTURES.make(name).gflop(64))


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """The matrix in profile `paper` on a machine that has none of its files."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MIDEF_DATA", "MIDEF_WEIGHTS"):
            patch.setenv(name, str(tmp_path_factory.mktemp(name)))
        spec = matrix37().model_copy(update={"profile": "paper"})
        with pytest.raises(PreflightError) as caught:
            resolve(spec)
        sweep = resolve(spec, absent=True)
        assert list(sweep.lacking) == caught.value.problems, "what a run would refuse for"
        return make_plan(sweep, None)


def test_every_row_of_the_paper_profile_has_gpu_hours(paper: Plan) -> None:
    whole = paper.cost()
    assert whole.gpu_unknown == whole.unknown == 0
    assert LEARNED == 3.0 and 0 < whole.gpu_predicted[0] < whole.gpu_predicted[1] < whole.gpu_predicted[2]
    by_kind = [paper.cost(kind).gpu_predicted for kind in paper.shared]
    for i in range(3):
        assert sum(hours[i] for hours in by_kind) == pytest.approx(whole.gpu_predicted[i])
    setups = dict.fromkeys(cell.cell.setup.id for cell in paper.cells if not cell.refused)
    assert len(dict.fromkeys(cell.cell.setup.id for cell in paper.cells)) == 37
    each = [paper.cost_of_setup(setup) for setup in setups]
    for cost in each:
        assert cost.gpu_unknown == 0 and 0 < cost.gpu_predicted[0] < cost.gpu_predicted[1] < cost.gpu_predicted[2]
    assert sum(cost.gpu_predicted[1] for cost in each) > whole.gpu_predicted[1], "what setups share counts for each"
    lines = gpu_hours_by_setup(paper)
    assert len(lines) == 37 and all(" / " in line or line.endswith("refused") for line in lines)
    assert "unknown" not in plan_text(paper, None)


def test_no_row_guesses_how_many_images_it_has(paper: Plan) -> None:
    splits = {recipe for planned in paper.cells for recipe in planned.recipes.scores.walk() if recipe.kind == "split"}
    guessed = Estimates({}).sizes(split_recipe(Choice("synthetic_faces", {"unknown": 1}, 1), 64))
    assert {"vggface2", "stanford_dogs", "facescrub"} <= {split.component for split in splits}
    assert not [split.component for split in splits if paper.estimates.sizes(split) == guessed]


def test_the_command_counts_what_is_missing_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("MIDEF_DATA", "MIDEF_WEIGHTS"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setattr(plan_verb, "_counted", lambda options: resolve(small(), absent=True))
    parser = argparse.ArgumentParser()
    plan_verb.add_arguments(parser)
    code = plan_verb.run(parser.parse_args(["matrix37", "--store", str(tmp_path / "none"), "--gpu-hours"]))
    said = capsys.readouterr().out
    assert code == PreflightError.exit_code
    assert "GPU-hours, low / expected / worst: about" in said and "NVIDIA RTX A5000" in said
    assert "missing here: " in said and "counted as published" in said
    assert "\n- setups[" in said, "what is missing is named, not only counted"


def small() -> SweepSpec:
    spec = matrix37()
    return spec.model_copy(update={"profile": "paper", "setups": spec.setups[:1]})
