"""Hot loops: naive references do the same work as midef's, and two checkouts are compared in all components."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hot_loops import write
from hot_loops_before import Compared, apart, compare, summary
from hot_loops_evaluate import evaluate_pairs
from hot_loops_naive import NotTheSameWork, Pair, Sizes, Work, lines
from hot_loops_priors import prior_pairs
from hot_loops_search import search_pairs
from hot_loops_stages import stages
from hot_loops_training import training_pairs
from safetensors.numpy import save_file

from midef.attacks import ATTACKS, PRIORS, SmallBudget
from midef.defenses import DEFENSES
from midef.metrics import METRICS

ROOT = Path(__file__).resolve().parents[2]


def test_every_component_has_a_stage() -> None:
    words = {"attack": ATTACKS, "prior": PRIORS, "training": DEFENSES, "metric": METRICS}
    named = {f"{word} {name}" for word, registry in words.items() for name in registry.names()}
    assert named <= stages().keys()


def folder(path: Path, weights: np.ndarray, value: float, seconds: float) -> Path:
    path.mkdir()
    save_file({"weights": weights}, path / "model.safetensors")
    np.savez(path / "images.npz", images=np.arange(4, dtype=np.uint8), names=np.array(["a"]))
    measured = [("fid", "distance", value), ("wall_s", "seconds", seconds), ("kes", "percent", None)]
    entries = [dict(zip(("metric", "unit", "value"), entry, strict=True)) for entry in measured]
    (path / "measurements.json").write_text(json.dumps(entries))
    return path


def test_results_are_apart_by_the_largest_difference_as_a_share_of_the_largest_value(tmp_path: Path) -> None:
    weights = np.array([4.0, -1.0], dtype=np.float32)
    old = folder(tmp_path / "old", weights, 3.0, 1.0)
    assert apart(old, folder(tmp_path / "same", weights, 3.0, 9.0)) == "equal", "seconds are no result"
    moved = folder(tmp_path / "moved", weights + np.array([0.0, 0.5], dtype=np.float32), 3.0, 1.0)
    assert apart(old, moved) == "1e-01 apart", "0.5 of 4"
    assert apart(old, folder(tmp_path / "value", weights, 6.0, 1.0)) == "1e+00 apart", "3 of 3"
    assert apart(old, folder(tmp_path / "shape", weights[:1], 3.0, 1.0)) == "arrays of other shapes"
    (tmp_path / "same" / "images.npz").unlink()
    assert apart(old, tmp_path / "same") == "equal, 1 arrays in one alone"


def test_a_ratio_is_of_one_round_and_slower_is_slower_in_every_round() -> None:
    faster = Compared(name="attack a", group="attack", before_s=[4.0, 9.0], after_s=[2.0, 3.0], result="equal")
    assert faster.line == "| attack a | 6.500 | 2.500 | 2.50 | 2.00 to 3.00 | equal |"
    slower = Compared(name="attack b", group="attack", before_s=[1.0, 1.0], after_s=[2.0, 1.25], result="1e-06 apart")
    unsure = Compared(name="attack c", group="attack", before_s=[1.0, 1.0], after_s=[2.0, 1.0], result="equal")
    assert [one.is_slower for one in (faster, slower, unsure)] == [False, True, False]
    text = summary([faster, slower, unsure, Compared(name="attack d", group="attack", failed="is new")])
    assert "| attack | 3 | 1.51 | 0.75 | 0.65 attack b | 2.50 attack a |" in text, "8.5 of 5.625 s; 0.65 of 0.5 and 0.8"
    assert "Slower in every round: attack b." in text and "Not timed: attack d (is new)." in text
    assert "Results not equal to the last bit: attack b (1e-06 apart)." in text


@pytest.mark.slow
def test_a_checkout_beside_itself_gives_equal_results() -> None:
    (only,) = compare(ROOT, ROOT, only=["metric psnr"], rounds=1, least_s=0.01)
    assert (only.group, only.result, only.failed) == ("metric", "equal", "")
    assert min(*only.before_s, *only.after_s) > 0


TINY = SmallBudget(search=2, steps=2, epochs=1, inverter_width=4, latent_dim=6, public_steps=2, width=8, batch_size=4)
SIZES = Sizes(target="vgg16_tiny", px=32, classes=6, rows=2, budget=TINY, steps=1, images=8)


def pair(ours: float, naive: float, tolerance: float | None = 0.01) -> Pair:
    def gives(value: float) -> Callable[[], Work]:
        return lambda: lambda: torch.tensor([value, 10.0])

    return Pair(name="a", group="attack", naive_is="slow", ours=gives(ours), naive=gives(naive), tolerance=tolerance)


def test_a_pair_that_does_other_work_is_refused() -> None:
    assert pair(1.0, 1.0).checked()[0] == "equal"
    assert pair(1.0, 1.05).checked()[0] == "5e-03", "0.05 of 10.05"
    with pytest.raises(NotTheSameWork, match=r"a: results are 2\.0e-02 apart, more than 1e-02"):
        pair(1.0, 1.2).checked()
    with pytest.raises(NotTheSameWork, match="nan apart"):
        pair(float("nan"), 1.0).checked()
    assert pair(1.0, 2.0, tolerance=None).checked()[0] == "other random numbers"


def test_a_row_names_both_times_and_what_is_naive() -> None:
    (line,) = lines([pair(1.0, 1.0)], rounds=2, least_s=0.0)
    assert re.fullmatch(r"\| attack a \| \S+ \| \S+ \| [\d.]+ \| [\d.]+ to [\d.]+ \| equal \| slow \|", line)


def test_every_attack_and_every_trained_generator_of_the_papers_has_a_pair() -> None:
    assert [one.name for one in search_pairs(SIZES)] == ATTACKS.names()
    assert {"diffusion", "kedmi_gan", "plg_gan", "style_gan2", "t_acgan", "wgan_gp"} == {
        one.name for one in prior_pairs(SIZES)
    }


def test_networks_are_loaded_before_the_clock_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """An attack that is called for each identity would load them each time."""
    loads: list[str] = []
    load = PRIORS.get("tcnn").load
    monkeypatch.setattr(PRIORS.get("tcnn"), "load", lambda *given: loads.append("tcnn") or load(*given))
    (made,) = [one for one in search_pairs(SIZES) if one.name == "inversion_model"]
    assert made.checked()[0] == "equal"
    made.naive()()
    assert loads == ["tcnn"]


@pytest.mark.slow
@pytest.mark.parametrize("pairs", [search_pairs, prior_pairs, training_pairs, evaluate_pairs])
def test_naive_loops_do_the_work_of_midefs(pairs: Callable[[Sizes], Iterator[Pair]]) -> None:
    torch.set_num_threads(1)
    apart = {one.name: one.checked()[0] for one in pairs(SIZES)}
    assert [name for name, words in apart.items() if words == "other random numbers"] in ([], ["dp_sgd"])


def test_a_part_of_a_page_is_replaced_and_a_page_without_it_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- hot loops: naive -->\nold\n<!-- /hot loops -->\nb\n")
    write(page, "naive", "new\\1")
    assert page.read_text() == "a\n<!-- hot loops: naive -->\nnew\\1\n<!-- /hot loops -->\nb\n"
    with pytest.raises(SystemExit, match="has no part marked <!-- hot loops: before -->"):
        write(page, "before", "new")
