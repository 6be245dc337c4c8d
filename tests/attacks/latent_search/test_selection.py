"""The final selection of candidates, and who hands them on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from midef.attacks.access import AccessLevel
from midef.attacks.latent_search.candidates import Keeper, Searched
from midef.attacks.latent_search.lowest_loss import LowestLoss
from midef.attacks.latent_search.selection import best_first, mean_confidence
from midef.attacks.target_handle import TargetHandle
from midef.core.traces import Traces
from midef.defenses import Defense
from midef.nn.network import TargetModel


@pytest.fixture
def handle() -> TargetHandle:
    """Class 0 is likelier the brighter the image."""
    head = nn.Linear(1, 2)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[4.0], [-4.0]]))
        head.bias.copy_(torch.tensor([-2.0, 2.0]))
    trunk = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    grey = nn.Conv2d(3, 1, 1, bias=False)
    nn.init.constant_(grey.weight, 1 / 3)
    return TargetHandle(
        TargetModel([("grey", grey), ("mean", trunk)], head, feature_dim=1, n_classes=2).eval(),
        Defense(),
        AccessLevel.WHITE_BOX,
    )


def confidences(handle: TargetHandle, images: Tensor, *, seed: int = 0, at_once: int = 64, crop: bool = True) -> Tensor:
    def sure(views: Tensor) -> Tensor:
        return handle.run(views).logits.softmax(dim=1)[:, 0]

    return mean_confidence(handle, sure, images, rounds=40, seed=seed, at_once=at_once, crop=crop)


def candidates(n: int = 7) -> Tensor:
    """Images that are brighter on one side, each of another brightness, in mixed order."""
    light = torch.linspace(0.2, 0.8, n)[torch.randperm(n, generator=torch.Generator().manual_seed(1))]
    ramp = torch.linspace(-0.2, 0.2, 16)
    return (light[:, None, None, None] + ramp).expand(-1, 3, 16, -1).contiguous()


def test_the_brightest_win_at_a_target_of_brightness(handle: TargetHandle) -> None:
    images = candidates()
    sure = confidences(handle, images)
    assert best_first(sure, 3) == images.mean(dim=(1, 2, 3)).argsort(descending=True)[:3].tolist()
    assert handle.queries == 40 * 7


def test_mirror_images_are_ranked_alike_and_score_the_same_where_nothing_is_cropped(handle: TargetHandle) -> None:
    images = candidates()
    assert best_first(confidences(handle, images), 7) == best_first(confidences(handle, images.flip(3)), 7)
    each, mirrored = (confidences(handle, one, crop=False) for one in (images, images.flip(3)))
    assert torch.allclose(each, mirrored, atol=1e-6), "the mean over an image is that over its mirror image"


def test_views_come_from_the_seed_and_not_from_the_part_of_the_work(handle: TargetHandle) -> None:
    images = candidates()
    whole = confidences(handle, images)
    assert torch.equal(whole, confidences(handle, images))
    assert torch.allclose(whole, confidences(handle, images, at_once=3), atol=1e-6)
    assert not torch.allclose(whole, confidences(handle, images, seed=1), atol=1e-4)
    one = images[2:3].repeat(4, 1, 1, 1)
    assert confidences(handle, one).unique().numel() == 1, "all candidates are seen in the same views"


def test_what_is_no_number_comes_last_and_ties_keep_their_order() -> None:
    assert best_first(torch.tensor([0.1, torch.nan, 0.7, 0.7, 0.2]), 5) == [2, 3, 4, 0, 1]


# ---------------------------------------------------------------- handing them on


def part_of(rows: Sequence[tuple[int, int]]) -> Searched:
    """Candidate (label, number) is an image of the value 10 label + number, and so are its trait, latent and loss."""
    values = {pair: torch.full((3, 2, 2), 10.0 * pair[0] + pair[1]) for pair in rows}
    labels, numbers = np.array(rows).T
    loss = np.array([[10 * label + number] * 2 for label, number in rows], dtype=np.float32)
    traces = Traces(np.array([0, 1]), {"loss": loss}, labels, numbers)
    known, latents = ({pair: value[0, 0, :n] for pair, value in values.items()} for n in (1, 2))
    return Searched(values, known, latents, traces)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 12])
def test_an_identity_keeps_the_best_as_soon_as_its_candidates_are_complete(size: int) -> None:
    """However they are parted; nothing is held of identities that are done."""
    asked: list[tuple[int, list[float]]] = []

    def keep(label: int, images: Tensor, count: int) -> list[int]:
        asked.append((label, images[:, 0, 0, 0].tolist()))
        return [3, 1, 0, 2][:count]

    keeper = Keeper({5: 2, 2: 1, 7: 4}, 4, keep)
    rows = keeper.rows
    assert rows == [(label, number) for label in (5, 2, 7) for number in range(4)]
    given = []
    for begin in range(0, 12, size):
        given.append(keeper.take(part_of(rows[begin : begin + size])))
        done = (begin + size) // 4
        assert len(asked) == min(done, 3)
        assert len(keeper._held.images) < 4
    assert asked == [(label, [10.0 * label + number for number in range(4)]) for label in (5, 2, 7)]
    images = {pair: int(image[0, 0, 0]) for part in given for pair, image in part.images.items()}
    assert images == {(5, 0): 53, (5, 1): 51, (2, 0): 23, (7, 0): 73, (7, 1): 71, (7, 2): 70, (7, 3): 72}
    assert {pair: int(known) for part in given for pair, known in part.traits.items()} == images
    assert {pair: int(latent[1]) for part in given for pair, latent in part.latents.items()} == images
    traces = Traces.joined([part.traces for part in given])
    assert traces is not None
    rows_of = zip(traces.labels.tolist(), traces.restarts.tolist(), strict=True)
    assert dict(zip(rows_of, traces.series["loss"][:, 0].tolist(), strict=True)) == images


def test_each_row_gets_back_the_values_of_its_lowest_loss() -> None:
    best, searched = LowestLoss(), [torch.zeros(3, 2), torch.zeros(3, 1, 2)]
    for step, losses in enumerate([[3.0, 1.0, 2.0], [2.0, torch.nan, 2.0], [2.5, 0.5, 4.0]]):
        for tensor in searched:
            tensor.fill_(step)
        best.see(torch.tensor(losses), searched)
    searched[0].fill_(9)
    best.restore_(searched)
    assert searched[0].tolist() == [[1, 1], [2, 2], [0, 0]] and searched[1].flatten(1).tolist() == searched[0].tolist()
