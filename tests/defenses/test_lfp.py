"""Which answers LFP flips, how, and what a single query gets."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from midef.core import SpecError
from midef.defenses import DEFENSES
from midef.defenses.families.alignment import Substitute
from midef.defenses.lfp import Lfp, reversed_ranks, selected, swapped
from midef.defenses.serving import Query
from midef.nn.inversion import TransposedCnn
from midef.nn.network import freeze_

CLASSES, PX = 5, 8


def held() -> Substitute:
    torch.manual_seed(0)
    network = TransposedCnn(CLASSES, PX, 1)
    freeze_(network)
    return Substitute(network, "mse", {name: torch.randn(p.shape) for name, p in network.named_parameters()})


def query(count: int, seed: int = 0) -> Query:
    rng = torch.Generator().manual_seed(seed)
    given = torch.softmax(4 * torch.randn(count, CLASSES, generator=rng), dim=1)
    return Query(torch.rand(count, 3, PX, PX, generator=rng), given, given.argmax(dim=1))


def flips(asked: Query, found: Tensor) -> Tensor:
    return found.argmax(dim=1) != asked.labels


def test_reversed_ranks_twice_is_what_was_given() -> None:
    given = query(50).probabilities
    assert torch.equal(reversed_ranks(reversed_ranks(given)), given)
    assert reversed_ranks(torch.tensor([[0.5, 0.1, 0.3, 0.1 - 0.02, 0.02]])).tolist() == [
        pytest.approx([0.02, 0.1, 0.08, 0.3, 0.5])
    ]
    assert torch.equal(reversed_ranks(given).argmax(dim=1), given.argmin(dim=1))


def test_the_swap_keeps_the_maximum_at_the_second_class_and_reverses_the_others() -> None:
    found = swapped(torch.tensor([[0.5, 0.1, 0.3, 0.08, 0.02]]))
    assert found.tolist() == [pytest.approx([0.02, 0.08, 0.5, 0.1, 0.3])]
    two = torch.tensor([[0.8, 0.2]])
    assert swapped(two).tolist() == [pytest.approx([0.2, 0.8])]
    given = query(50).probabilities
    assert torch.equal(swapped(given).argmax(dim=1), given.topk(2, dim=1).indices[:, 1])


@pytest.mark.parametrize("form", ["swap", "reverse"])
@pytest.mark.parametrize("radius", [0.0, 0.004])
def test_exactly_the_budgeted_share_of_each_window_is_flipped(form: str, radius: float) -> None:
    defense = Lfp(share=0.2, window=10, rounds=1, form=form, radius=radius)  # type: ignore[arg-type]
    asked = query(30)
    found = defense.answer(asked, held())
    assert flips(asked, found).view(3, 10).sum(dim=1).tolist() == [2, 2, 2]
    left = ~flips(asked, found)
    assert torch.equal(found[left], asked.probabilities[left]), "the others are served as they are"
    assert not defense.keeps_labels and defense.answers_jointly


def test_a_window_that_is_not_full_and_a_single_query_are_flipped_in_proportion_and_always_alike() -> None:
    defense, substitute = Lfp(share=0.25, window=8, rounds=0), held()
    singles = [query(1, seed) for seed in range(120)]
    first = [bool(flips(one, defense.answer(one, substitute))) for one in singles]
    assert first == [bool(flips(one, defense.answer(one, substitute))) for one in singles]
    assert 15 <= sum(first) <= 45, "about a quarter of 120, each for itself"
    assert {defense.flips(query(6, seed)) for seed in range(30)} == {1, 2}, "1.5 on average"


def test_the_unsure_come_first_then_the_classes_take_turns() -> None:
    labels, largest = [0, 0, 0, 1, 1, 2], [0.95, 0.92, 0.85, 0.99, 0.97, 0.6]
    given = torch.full((6, 3), 0.0)
    for row, (label, score) in enumerate(zip(labels, largest, strict=True)):
        given[row] = (1 - score) / 2
        given[row, label] = score
    assert selected(given, 1, 0.9).tolist() == [5], "the least sure of all"
    assert selected(given, 2, 0.9).tolist() == [2, 5]
    assert selected(given, 3, 0.9).tolist() == [1, 2, 5], "then the least sure of a class"
    assert selected(given, 4, 0.9).tolist() == [1, 2, 4, 5], "then that of the other class"
    assert selected(given, 0, 0.9).tolist() == []


@pytest.mark.parametrize("params", [{"share": 1.0}, {"share": -0.1}, {"window": 0}, {"threshold": 2.0}])
def test_impossible_parameters_are_refused(params: dict[str, float]) -> None:
    with pytest.raises(SpecError, match="needs share in"):
        DEFENSES.make("lfp", params)
