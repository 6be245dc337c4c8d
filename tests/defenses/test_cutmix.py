from __future__ import annotations

from math import exp, log, sqrt

import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torch import Generator

from midef.core import SpecError
from midef.defenses import DEFENSES, Batch
from midef.defenses.cutmix import CutMix, mixed_cross_entropy, pasted_box
from midef.defenses.midre import Midre
from midef.defenses.nls import NegativeLabelSmoothing
from midef.defenses.stack import Stack
from midef.nn.network import Forward


def seeded(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


def flat(n: int = 8, height: int = 12, width: int = 16) -> Batch:
    """Each image is one colour, that of its position."""
    values = torch.arange(n).float() / n
    return Batch(values.view(n, 1, 1, 1).expand(n, 3, height, width), 10 + torch.arange(n), torch.arange(n))


def test_labels_and_share_are_those_of_the_pixels_pasted() -> None:
    batch, rng = flat(), seeded()
    for _ in range(50):
        found = CutMix().transform_batch(batch, 0.0, rng)
        assert found.mixed_labels is not None and found.mixed_share is not None
        assert torch.equal(found.labels, batch.labels) and torch.equal(found.indices, batch.indices)
        pasted = found.images[:, 0] != batch.images[:, 0]
        for image, mask, label, share in zip(
            found.images, pasted, found.mixed_labels.tolist(), found.mixed_share.tolist(), strict=True
        ):
            position = label - 10
            if not mask.any():  # an empty box, or an image that is its own partner
                continue
            assert float(mask.double().mean()) == pytest.approx(share)
            assert (image[:, mask] == position / 8).all()
            rows, columns = mask.any(dim=1).sum(), mask.any(dim=0).sum()
            assert int(mask.sum()) == int(rows * columns), "not one box"
        assert sorted(found.mixed_labels.tolist()) == batch.labels.tolist()


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.35, 0.9, 1.0])
@pytest.mark.parametrize(("down", "right"), [(0.0, 0.0), (0.5, 0.5), (0.99, 0.3)])
def test_box_by_a_loop(kept: float, down: float, right: float) -> None:
    """As in the paper's code: integer sides and centre, halves on both sides, clipped."""
    height, width = 24, 33
    expected = torch.zeros(height, width, dtype=torch.bool)
    tall, wide = int(height * sqrt(1 - kept)), int(width * sqrt(1 - kept))
    row, column = int(down * height), int(right * width)
    top, bottom = max(row - tall // 2, 0), min(row + tall // 2, height)
    first, last = max(column - wide // 2, 0), min(column + wide // 2, width)
    expected[top:bottom, first:last] = True
    rows, columns = pasted_box(torch.tensor(kept), torch.tensor(down), torch.tensor(right), (height, width))
    assert torch.equal(rows[:, None] & columns, expected)


@pytest.mark.parametrize("alpha", [0.3, 1.0, 4.0])
def test_the_kept_share_is_beta(alpha: float, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[float] = []

    def spied(kept: torch.Tensor, *rest: object) -> tuple[torch.Tensor, torch.Tensor]:
        drawn.append(float(kept))
        return torch.zeros(12, dtype=torch.bool), torch.zeros(16, dtype=torch.bool)

    monkeypatch.setattr("midef.defenses.cutmix.pasted_box", spied)
    rng, batch = seeded(), flat(n=2)
    for _ in range(2000):
        CutMix(alpha=alpha).transform_batch(batch, 0.0, rng)
    assert stats.kstest(drawn, stats.beta(alpha, alpha).cdf).pvalue > 0.01


def test_p_is_the_share_of_mixed_batches() -> None:
    rng, batch = seeded(), flat(n=4, height=40, width=40)
    shares = []
    for _ in range(1000):
        found = CutMix(p=0.3).transform_batch(batch, 0.0, rng)
        assert found.mixed_share is not None
        shares.append(float(found.mixed_share[0]))
    assert sum(s > 0 for s in shares) / 1000 == pytest.approx(0.3, abs=0.05)


def test_draws_come_from_the_generator_alone() -> None:
    batch = flat()
    torch.manual_seed(0)
    first = CutMix(alpha=0.5).transform_batch(batch, 0.0, seeded(4))
    torch.manual_seed(1)
    state = torch.get_rng_state()
    again = CutMix(alpha=0.5).transform_batch(batch, 0.0, seeded(4))
    assert torch.equal(first.images, again.images)
    assert torch.equal(torch.get_rng_state(), state)


def test_loss_from_the_formula() -> None:
    logits = 3 * torch.randn(5, 6, generator=seeded())
    labels, others = torch.tensor([0, 1, 2, 3, 4]), torch.tensor([5, 5, 2, 0, 1])
    shares = torch.tensor([0.0, 0.25, 0.5, 0.9, 1.0])
    total = 0.0
    rows = zip(logits.double().tolist(), labels.tolist(), others.tolist(), shares.double().tolist(), strict=True)
    for row, label, other, share in rows:
        normaliser = log(sum(exp(v) for v in row))
        total += (1 - share) * (normaliser - row[label]) + share * (normaliser - row[other])
    found = mixed_cross_entropy(logits, labels, other_labels=others, other_share=shares)
    assert float(found) == pytest.approx(total / 5, rel=1e-5)
    none = mixed_cross_entropy(logits, labels, other_labels=others, other_share=torch.zeros(5))
    torch.testing.assert_close(none, F.cross_entropy(logits, labels))


def test_criterion_uses_what_the_batch_carries() -> None:
    batch = CutMix().transform_batch(flat(), 0.0, seeded())
    assert batch.mixed_labels is not None and batch.mixed_share is not None and float(batch.mixed_share[0]) > 0
    forward = Forward(torch.randn(8, 20, generator=seeded(1)), torch.zeros(8, 1), {})
    expected = mixed_cross_entropy(
        forward.logits, batch.labels, other_labels=batch.mixed_labels, other_share=batch.mixed_share
    )
    assert torch.equal(CutMix().criterion(forward, batch, 0.0), expected)  # type: ignore[arg-type]
    assert CutMix().criterion(forward, flat(), 0.0) is None


def test_labels_survive_another_defense_of_the_stack() -> None:
    batch = Stack(members=(CutMix(), Midre())).transform_batch(flat(), 0.0, seeded())
    assert batch.mixed_labels is not None and batch.mixed_share is not None


@pytest.mark.parametrize("defense", [CutMix().off(), CutMix(p=0.0)], ids=["off", "never"])
def test_off_touches_neither_images_nor_generator(defense: CutMix) -> None:
    batch, rng = flat(), seeded()
    state = rng.get_state()
    assert defense.transform_batch(batch, 0.0, rng) is batch
    assert torch.equal(rng.get_state(), state)


def test_owns_the_criterion_and_couples_images() -> None:
    assert CutMix.couples_images
    with pytest.raises(SpecError, match="cutmix and nls both replace the criterion"):
        Stack(members=(CutMix(), NegativeLabelSmoothing()))


@pytest.mark.parametrize("params", [{"alpha": -1.0}, {"p": 1.5}, {"p": -0.1}], ids=str)
def test_impossible_values_are_refused(params: dict[str, float]) -> None:
    with pytest.raises(SpecError, match="needs alpha >= 0 and 0 <= p <= 1"):
        DEFENSES.make("cutmix", params)
