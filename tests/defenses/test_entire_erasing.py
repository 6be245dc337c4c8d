from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from midef.core import SpecError
from midef.defenses import DEFENSES
from midef.defenses.entire_erasing import EntireErasing, remaining
from midef.defenses.midre import Midre
from midef.defenses.stack import Stack


def seeded(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


def labels_of(counts: list[int]) -> Tensor:
    """Identities with these numbers of images, mixed."""
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    return labels[torch.randperm(len(labels), generator=seeded(1))]


def test_half_of_each_identitys_images_drawn_again_each_epoch() -> None:
    labels = labels_of([30, 26, 8])
    rng = seeded()
    epochs = [EntireErasing(share=0.5).images_of_epoch(labels, rng) for _ in range(3)]
    for kept in epochs:
        assert kept is not None
        assert torch.bincount(labels[kept]).tolist() == [15, 13, 4]
        assert kept.tolist() == sorted(set(kept.tolist()))
    assert len({tuple(kept.tolist()) for kept in epochs if kept is not None}) == 3


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5, 0.9, 0.99])
def test_counts_by_a_loop(share: float) -> None:
    counts = [27, 31, 1, 2, 0, 5, 100]
    kept = remaining(labels_of(counts), share=share, rng=seeded())
    found = torch.bincount(labels_of(counts)[kept], minlength=7).tolist()
    assert found == [n - min(round(share * n), max(n - 1, 0)) for n in counts]


def test_every_image_is_left_out_equally_often() -> None:
    labels, rng = labels_of([10, 5]), seeded()
    seen = torch.zeros(15)
    for _ in range(2000):
        seen[remaining(labels, share=0.4, rng=rng)] += 1
    assert (seen / 2000 - 0.6).abs().max() < 0.05


def test_same_generator_same_images() -> None:
    labels = labels_of([9, 9])
    assert torch.equal(remaining(labels, share=0.3, rng=seeded(3)), remaining(labels, share=0.3, rng=seeded(3)))


@pytest.mark.parametrize(
    ("share", "epochs", "expected"), [(0.5, 100, 50), (0.9, 100, 90), (0.8, 3, 2), (0.01, 10, 1), (0.5, 1, 1)]
)
def test_fewer_epochs(share: float, epochs: int, expected: int) -> None:
    defense = EntireErasing(share=0.0, epochs_share=share)
    assert defense.training_overrides({"epochs": epochs, "batch_size": 64}) == {"epochs": expected}
    assert defense.images_of_epoch(labels_of([4]), seeded()) is None


def test_off_draws_nothing_and_overrides_nothing() -> None:
    off, rng = EntireErasing(share=0.4, epochs_share=0.5).off(), seeded()
    state = rng.get_state()
    assert off.images_of_epoch(labels_of([4, 4]), rng) is None
    assert torch.equal(rng.get_state(), state)
    assert off.training_overrides({"epochs": 100}) == {} == EntireErasing().training_overrides({"epochs": 100})


def test_in_a_stack_positions_are_those_of_the_whole_split() -> None:
    labels = labels_of([10, 20])
    kept = Stack(members=(Midre(), EntireErasing(share=0.5))).images_of_epoch(labels, seeded())
    assert kept is not None
    assert torch.equal(kept, remaining(labels, share=0.5, rng=seeded()))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"share": 1.0}, "needs 0 <= share < 1, got 1.0"),
        ({"share": -0.1}, "needs 0 <= share < 1"),
        ({"epochs_share": 0.0}, "needs 0 < epochs_share <= 1, got 0.0"),
        ({"epochs_share": 1.5}, "needs 0 < epochs_share <= 1"),
    ],
)
def test_impossible_values_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        DEFENSES.make("entire_erasing", params)
