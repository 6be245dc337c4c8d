"""The comparison of two checkouts: it times every component, and says how far apart their results are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hot_loops_before import Compared, apart, compare, summary
from hot_loops_stages import stages
from safetensors.numpy import save_file

from midef.attacks import ATTACKS, PRIORS
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
