"""The suite of defenses, on all of ours and on stacks of them."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
import torch

from midef.core import SpecError
from midef.defenses import DEFENSES, choose_defense
from midef.models import ARCHITECTURES
from midef.stages.recipes import target_recipe
from midef.testing import DefenseContract
from midef.testing.defenses import planned_pairs
from midef.testing.trainings import NETWORKS, PRIVATE, SEED, TRAINING, Trainings

VGG = ARCHITECTURES.choose(NETWORKS[0])


class TestDefenses(DefenseContract):
    stacks = ("midre+nls", "midre+bido", "midre+trap_mid", "tl_dmi(fresh=true)+bido", "mid+bido", "loft+nls")

    def test_rounding_keeps_the_predicted_class_of_trained_targets(self, trained: Trainings) -> None:
        target = trained(choose_defense("rounding"), VGG)
        assert torch.equal(target.probabilities.argmax(dim=1), target.after.argmax(dim=1))


@pytest.mark.parametrize("name", DEFENSES.names())
def test_the_file_is_named_like_the_defense(name: str) -> None:
    assert DEFENSES.get(name).__module__ == f"midef.defenses.{name}"


def test_phase_one_is_the_undefended_target_itself() -> None:
    undefended = target_recipe(PRIVATE, VGG, DEFENSES.choose("none"), TRAINING, seed=SEED)
    phase_one = target_recipe(PRIVATE, VGG, DEFENSES.choose("loft"), TRAINING, seed=SEED).inputs["phase_one"]
    assert phase_one.key == undefended.key


def test_a_defense_that_cannot_work_is_refused_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DEFENSES.get("midre"), "problems", lambda self, facts: ["no such layer here; choose another"])
    with pytest.raises(SpecError, match="no such layer here"):
        Trainings(tmp_path)(choose_defense("midre(area_high=0.3)"), VGG)


def test_many_pairs_pass_planning_on_every_network_in_either_order() -> None:
    """Otherwise the test of pairs trains none and proves nothing."""
    defending = [name for name in DEFENSES.names() if DEFENSES.get(name).acts_on != "nothing"]
    planned = [planned_pairs(first, second) for first, second in combinations(defending, 2)]
    for turn in range(4):
        assert sum(pair[turn][1] is not None for pair in planned) > 20
