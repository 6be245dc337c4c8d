from __future__ import annotations

import pytest
import torch

from midef.core import SpecError
from midef.defenses import DEFENSES
from midef.defenses.noisy_scores import NoisyScores
from midef.defenses.serving import Query

ROWS, CLASSES = 3000, 4


def query(sharpness: float = 0.0) -> Query:
    rng = torch.Generator().manual_seed(0)
    given = torch.softmax(sharpness * torch.randn(ROWS, CLASSES, generator=rng), dim=1)
    return Query(torch.rand(ROWS, 3, 2, 2, generator=rng), given, given.argmax(dim=1))


@pytest.mark.parametrize(("law", "kurtosis"), [("laplace", 6.0), ("normal", 3.0), ("uniform", 1.8)])
def test_noise_has_the_standard_deviation_and_the_law_it_says(law: str, kurtosis: float) -> None:
    noise = NoisyScores(law=law)._noise(query(), CLASSES).double()  # type: ignore[arg-type]
    assert float(noise.mean()) == pytest.approx(0.0, abs=0.03)
    assert float(noise.std()) == pytest.approx(1.0, abs=0.03)
    assert float((noise**4).mean() / noise.var() ** 2) == pytest.approx(kurtosis, rel=0.15)


def test_labels_are_kept_unless_it_is_told_not_to() -> None:
    asked = query(sharpness=0.5)
    strict, free = (NoisyScores(scale=0.2, labels=labels).answer(asked, None) for labels in ("strict", "free"))  # type: ignore[arg-type]
    assert torch.equal(strict.argmax(dim=1), asked.labels)
    assert 0.2 < float((free.argmax(dim=1) != asked.labels).float().mean()) < 0.8
    for answers in (strict, free):
        assert (answers >= 0).all()
        torch.testing.assert_close(answers.sum(dim=1), torch.ones(ROWS))


def test_noise_that_drowns_every_score_is_answered_evenly() -> None:
    asked = query()
    found = NoisyScores(scale=100.0, labels="free").answer(asked, None)
    assert (found == 1 / CLASSES).all(dim=1).any(), "all scores of some row fell below 0"
    torch.testing.assert_close(found.sum(dim=1), torch.ones(ROWS))


def test_a_negative_scale_is_refused() -> None:
    with pytest.raises(SpecError, match="needs scale >= 0"):
        DEFENSES.make("noisy_scores", {"scale": -1.0})
