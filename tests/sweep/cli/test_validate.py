"""`midef validate`: the size of a sweep that is right, every problem of one that is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Yaml = Callable[..., Path]
Midef = Callable[..., tuple[int, str, str]]
Spec = Callable[..., dict[str, Any]]


def test_the_size_of_a_sweep(midef: Midef, spec: Spec, write_yaml: Yaml) -> None:
    path = write_yaml(spec(defenses=["none", "midre", "nls"], seeds=[0, 1]))
    assert midef("validate", path) == (
        0,
        "config ok: 1 setup × 3 defenses × 2 seeds = 6 runs (sweep small, profile smoke)\n",
        "",
    )
    assert midef("validate", path, "--set", "seeds=[4]")[1].startswith(
        "config ok: 1 setup × 3 defenses × 1 seed = 3 runs ("
    )
    code, out, _ = midef("validate", write_yaml(spec(defenses=["none", "midre"], match={"target": "none - 2"})))
    assert code == 0 and "= 2 runs; `midef match` searches strengths first (sweep small," in out
    assert not Path("midef-store").exists()


def test_every_problem_at_once(midef: Midef, spec: Spec, write_yaml: Yaml) -> None:
    """A wrong type in one place hides no unknown name in another."""
    path = write_yaml(spec(defenses=["none", "midree"], seeds=["x"], sed=3))
    code, out, err = midef("validate", path)
    assert (code, out) == (2, "") and err.startswith("midef: 3 problems:\n")
    assert "seeds[0]: " in err and "sed: unknown field; did you mean 'seeds'?" in err
    assert "defenses[1]: unknown defense 'midree'; did you mean 'midre'" in err


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"match": {"target": "midree"}}, "match.target: unknown defense 'midree'"),
        ({"front": {"defense": "none"}}, "front.defense: none has no strength to search"),
        ({"setups": 3}, "setups: "),
        ({"defenses": ["midre(area_high=7)"]}, "area_high"),
    ],
    ids=str,
)
def test_2_for_what_cannot_work(midef: Midef, spec: Spec, write_yaml: Yaml, changes: dict[str, Any], said: str) -> None:
    code, out, err = midef("validate", write_yaml(spec(**changes)))
    assert (code, out) == (2, "") and said in err


def test_2_for_no_file_and_for_what_is_no_specification(midef: Midef, tmp_path: Path) -> None:
    assert midef("validate", "nowhere.yaml")[0] == 2
    (tmp_path / "list.yaml").write_text("- 1\n")
    code, _, err = midef("validate", "list.yaml")
    assert code == 2 and "must hold a mapping" in err


def test_data_that_is_not_here_is_said_and_no_problem(midef: Midef, spec: Spec, write_yaml: Yaml) -> None:
    here = spec()["setups"][0]
    there = {**here, "id": "there", "private": {"name": "image_folder", "path": "nowhere"}}
    code, out, _ = midef("validate", write_yaml(spec(setups=[here, there])))
    assert code in (0, 3) and ("nowhere" in out or code == 3)


def test_without_a_sweep_it_says_which_one_was_checked(midef: Midef) -> None:
    code, out, _ = midef("validate")
    assert code == 0 and "(sweep smoke, profile smoke)" in out.splitlines()[0]
