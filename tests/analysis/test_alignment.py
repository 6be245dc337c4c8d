"""Cosines of answers against a plain training loop's gradients, and their course."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from midef.analysis.alignment import Kind, aligned, cosines, course_of, findings_of
from midef.defenses.families.alignment import Substitute
from midef.defenses.loft import LoFt
from midef.defenses.lpa import Lpa
from midef.defenses.poi_mse import PoiMse
from midef.defenses.serving import Query
from midef.defenses.stack import Stack
from midef.nn.answers import score_features
from midef.nn.inversion import TransposedCnn
from midef.nn.network import freeze_

CLASSES, PX, ROWS = 4, 8, 6
BOTH = pytest.mark.parametrize("kind", ["joint", "per_query"])


def held() -> Substitute:
    torch.manual_seed(0)
    network = TransposedCnn(CLASSES, PX, 2).double()
    freeze_(network)
    rng = torch.Generator().manual_seed(3)
    gradient = {n: torch.randn(p.shape, generator=rng, dtype=p.dtype) for n, p in network.named_parameters()}
    return Substitute(network, "mse", gradient)


class Server:
    """A target that is never stored: answers are drawn, and a defense changes them."""

    def __init__(self, substitute: Substitute, defense: Lpa, sharpness: float = 3.0) -> None:
        self.substitute, self.spec = substitute, SimpleNamespace(defense=defense)
        rng = torch.Generator().manual_seed(4)
        self.given = torch.softmax(sharpness * torch.randn(ROWS, CLASSES, generator=rng), dim=1)

    def clean(self, images: Tensor) -> Tensor:
        return self.given.double()

    def served(self, images: Tensor, defense: Lpa) -> Tensor:
        query = Query(images.double() / 255, self.clean(images), self.given.argmax(dim=1), secret=1)
        return defense.answer(query, self.substitute)


def images() -> Tensor:
    return torch.randint(0, 256, (ROWS, 3, PX, PX), generator=torch.Generator().manual_seed(5), dtype=torch.uint8)


def by_autograd(substitute: Substitute, answers: Tensor, shown: Tensor) -> float:
    """The cosine of the gradient of every training loop, all weights in one vector."""
    names, weights = zip(*substitute.network.named_parameters(), strict=True)
    for weight in weights:
        weight.requires_grad_()
    loss = ((substitute.network(score_features(answers)) - shown) ** 2).mean()
    found = torch.cat([g.flatten() for g in torch.autograd.grad(loss, weights)])
    substitute.network.requires_grad_(False)
    wanted = torch.cat([(substitute.target_gradient or {})[name].flatten() for name in names])
    return float(torch.dot(found, wanted) / found.norm() / wanted.norm())


def test_cosines_are_those_of_a_training_loop() -> None:
    substitute, shown = held(), images().double() / 255
    answers = Server(substitute, Lpa()).clean(shown)
    together = cosines(substitute, answers, shown, is_joint=True)
    assert together.tolist() == pytest.approx([by_autograd(substitute, answers, shown)])
    alone = [by_autograd(substitute, answers[i : i + 1], shown[i : i + 1]) for i in range(ROWS)]
    assert cosines(substitute, answers, shown, is_joint=False).tolist() == pytest.approx(alone)


@BOTH
def test_the_course_never_falls_and_ends_at_the_served_answers(kind: Kind) -> None:
    server = Server(held(), Lpa(radius=0.1, rounds=8, batch=4, labels="free"))
    found = course_of("lpa", cast(Any, server), images(), kind)
    assert found.rounds.shape == (9, 2 if kind == "joint" else ROWS)
    assert (found.rounds.diff(dim=0) >= 0).all() and (found.rounds[-1] > found.rounds[0]).any()
    torch.testing.assert_close(found.served, found.rounds[-1])
    together = slice(0, 4 if kind == "joint" else 1)
    expected = by_autograd(server.substitute, server.clean(images())[together], images()[together].double() / 255)
    assert float(found.clean[0]) == pytest.approx(expected)


def test_strict_labels_may_cost_alignment_and_the_served_row_shows_it() -> None:
    server = Server(held(), Lpa(radius=0.3, rounds=8, batch=6), sharpness=0.05)
    found = course_of("lpa", cast(Any, server), images(), "joint")
    assert float(found.served[0]) < float(found.rounds[-1, 0]) - 1e-3
    rows = found.rows
    assert [row["answers"] for row in rows] == ["clean", *["perturbed"] * 9, "served"]
    assert [row["round"] for row in rows] == [None, *range(9), 8]
    assert rows[-1]["cosine"] == pytest.approx(float(found.served[0]))


def test_only_the_poisoning_part_is_aligned_otherwise() -> None:
    stack = aligned(Stack(members=(LoFt(rank=2), Lpa(radius=0.2))), "per_query")
    assert stack.parts() == (LoFt(rank=2), Lpa(radius=0.2, alignment="per_query"))
    assert aligned(PoiMse(), "per_query") == PoiMse(alignment="per_query") and aligned(LoFt(), "joint") == LoFt()


def test_the_verdict_names_every_course() -> None:
    server = Server(held(), Lpa(radius=0.1, rounds=2))
    kinds: list[Kind] = ["joint", "per_query"]
    made = findings_of([course_of("lpa", cast(Any, server), images(), kind) for kind in kinds], "x")
    assert "lpa, joint: " in made.verdict and "lpa, per_query: " in made.verdict and "after 2 rounds" in made.verdict
    (panel,) = made.drawing.panels
    assert [s.name for s in panel.series] == ["joint", "joint, clean", "per_query", "per_query, clean"]
    assert len(panel.series[2].low) == 3 and not panel.series[0].low, "one batch has no range"
