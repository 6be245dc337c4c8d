"""PGD and AdvExa on answers: the error of the substitute rises, within the bound, by a slow loop."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from midef.core import SpecError
from midef.defenses import DEFENSES
from midef.defenses.adv_exa import AdvExa
from midef.defenses.families.alignment import Substitute
from midef.defenses.families.evasion import logits_of
from midef.defenses.pgd import Pgd
from midef.defenses.serving import Query
from midef.nn.answers import score_features
from midef.nn.inversion import TransposedCnn
from midef.nn.network import freeze_

CLASSES, PX, ROWS = 4, 8, 8


def held() -> Substitute:
    torch.manual_seed(0)
    network = TransposedCnn(CLASSES, PX, 2)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_var.fill_(100.0)  # type: ignore[union-attr]
    freeze_(network)
    return Substitute(network, "mse")


def query(sharpness: float = 1.0) -> Query:
    rng = torch.Generator().manual_seed(1)
    given = torch.softmax(sharpness * torch.randn(ROWS, CLASSES, generator=rng), dim=1)
    return Query(torch.rand(ROWS, 3, PX, PX, generator=rng), given, given.argmax(dim=1))


def error(substitute: Substitute, answer: Tensor, image: Tensor) -> Tensor:
    return ((substitute.network(score_features(answer[None])) - image[None]) ** 2).mean()


def adv_exa_slowly(defense: AdvExa, substitute: Substitute, asked: Query) -> Tensor:
    answers = []
    for given, image in zip(asked.probabilities, asked.images, strict=True):
        start, label = given.log(), int(given.argmax())
        z = start
        for _ in range(defense.rounds):
            z = z.detach().requires_grad_()
            (slope,) = torch.autograd.grad(error(substitute, z.softmax(0), image), z)
            z = z.detach() + defense.step * slope.sign()
            z[label] = z.max()
            noise = z - start
            if noise.abs().sum() > defense.bound:
                noise = noise * defense.bound / noise.abs().sum()
            z = start + noise
        answers.append(z.softmax(0))
    return torch.stack(answers)


@pytest.mark.parametrize("bound", [0.3, 5.0])
def test_adv_exa_by_a_loop(bound: float) -> None:
    defense = AdvExa(bound=bound, step=0.2, rounds=4, labels="free")
    found = defense.answer(query(), held())
    torch.testing.assert_close(found, adv_exa_slowly(defense, held(), query()), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_pgd_stays_within_its_ball_and_raises_the_error(norm: str) -> None:
    substitute, asked = held(), query()
    found = Pgd(bound=1.0, norm=norm, labels="free").answer(asked, substitute)  # type: ignore[arg-type]
    moved, start = logits_of(found), logits_of(asked.probabilities)
    lowest = (moved - start).amin(dim=1, keepdim=True)  # softmax knows logits up to a number
    spread = (moved - start - lowest).amax(dim=1)
    assert float(spread.max()) <= 2.0 + 1e-4 and float(spread.max()) > 0.5
    before, after = (substitute.losses(answers, asked.images) for answers in (asked.probabilities, found))
    assert float(after.mean()) > float(before.mean())
    wider = Pgd(bound=3.0, norm=norm, labels="free").answer(asked, substitute)  # type: ignore[arg-type]
    assert float((wider - asked.probabilities).norm(dim=1).mean()) > float(
        (found - asked.probabilities).norm(dim=1).mean()
    )


@pytest.mark.parametrize("cls", [AdvExa, Pgd])
def test_strict_answers_keep_labels_that_free_ones_lose(cls: type[Pgd]) -> None:
    asked = query(sharpness=0.05)
    strict, free = (cls(bound=3.0, labels=labels).answer(asked, held()) for labels in ("strict", "free"))  # type: ignore[arg-type]
    assert torch.equal(strict.argmax(dim=1), asked.labels)
    assert cls is AdvExa or not torch.equal(free.argmax(dim=1), asked.labels)


def test_scores_of_zero_are_answered_with_numbers() -> None:
    sure = torch.eye(CLASSES).repeat(2, 1)
    asked = Query(query().images, sure, sure.argmax(dim=1))
    for defense in (AdvExa(), Pgd()):
        assert torch.isfinite(defense.answer(asked, held())).all()


@pytest.mark.parametrize("name", ["adv_exa", "pgd"])
@pytest.mark.parametrize("params", [{"bound": -1.0}, {"step": 0.0}, {"rounds": 0}])
def test_impossible_parameters_are_refused(name: str, params: dict[str, float]) -> None:
    with pytest.raises(SpecError, match="needs bound >= 0"):
        DEFENSES.make(name, params)
