"""The suites of attacks and priors, and the handle through which they meet a target."""

from __future__ import annotations

import pytest
import torch

from midef.attacks import ATTACKS, AccessLevel
from midef.attacks.target_handle import TargetHandle
from midef.core import AccessError
from midef.nn.network import TargetModel
from midef.testing import AttackContract, PriorContract
from midef.testing.attacks import CLASSES, RESOLUTION_PX, Reversing, toy_target


class TestAttacks(AttackContract):
    pass


class TestPriors(PriorContract):
    pass


@pytest.mark.parametrize("name", ATTACKS.names())
def test_the_file_is_named_like_the_attack(name: str) -> None:
    assert ATTACKS.get(name).__module__ == f"midef.attacks.{name}"


def handle_with(target: TargetModel, access: AccessLevel) -> TargetHandle:
    return TargetHandle(target, Reversing(), access)


@pytest.fixture
def target() -> TargetModel:
    return toy_target()


@pytest.mark.parametrize(
    ("access", "call", "allowed"),
    [
        (AccessLevel.LABELS, "labels", True),
        (AccessLevel.LABELS, "scores", False),
        (AccessLevel.LABELS, "run", False),
        (AccessLevel.SCORES, "labels", True),
        (AccessLevel.SCORES, "scores", True),
        (AccessLevel.SCORES, "run", False),
        (AccessLevel.WHITE_BOX, "labels", True),
        (AccessLevel.WHITE_BOX, "scores", True),
        (AccessLevel.WHITE_BOX, "run", True),
    ],
    ids=lambda value: value.name.lower() if isinstance(value, AccessLevel) else str(value),
)
def test_the_handle_offers_what_the_access_level_allows(
    target: TargetModel, access: AccessLevel, call: str, allowed: bool
) -> None:
    handle, images = handle_with(target, access), torch.rand(3, 3, RESOLUTION_PX, RESOLUTION_PX)
    if allowed:
        getattr(handle, call)(images)
        assert handle.queries == 3
    else:
        with pytest.raises(AccessError, match=f"access level '{access.words}' but asked for '{call}'"):
            getattr(handle, call)(images)
        assert handle.queries == 0


def test_served_answers_go_through_the_defense_and_white_box_ones_do_not(target: TargetModel) -> None:
    handle, images = handle_with(target, AccessLevel.WHITE_BOX), torch.rand(4, 3, RESOLUTION_PX, RESOLUTION_PX)
    with torch.no_grad():
        plain = target.eval()(images).logits
    assert torch.equal(handle.run(images).logits, plain)
    assert torch.allclose(handle.scores(images), plain.softmax(1).flip(1))
    assert torch.equal(handle.labels(images), CLASSES - 1 - plain.argmax(1))


def test_white_box_answers_carry_gradients_to_the_image_and_served_ones_do_not(target: TargetModel) -> None:
    handle = handle_with(target, AccessLevel.WHITE_BOX)
    images = torch.rand(2, 3, RESOLUTION_PX, RESOLUTION_PX, requires_grad=True)
    (slope,) = torch.autograd.grad(handle.run(images).logits.sum(), images)
    assert slope.abs().sum() > 0
    assert not handle.scores(images).requires_grad
