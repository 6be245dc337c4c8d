from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from midef.core import Recipe, SpecError
from midef.defenses import DEFENSES
from midef.defenses.families.low_rank import LowRankHead, truncated_head
from midef.defenses.loft import LoFt
from midef.models import ARCHITECTURES
from midef.nn.network import TargetModel, count_parameters

CLASSES, RESOLUTION_PX = 11, 32
UNDEFENDED = Recipe("target", "classifier", {"seed": 0})
Prepare = Callable[[LoFt], tuple[TargetModel, TargetModel]]


@pytest.fixture
def prepare() -> Prepare:
    """The network training would start from, and a copy of it with the head of the defense."""
    torch.manual_seed(1)
    start = ARCHITECTURES.make("vgg16_tiny").build(CLASSES, RESOLUTION_PX)
    nn.init.normal_(start.head.bias)  # type: ignore[arg-type]

    def prepared(defense: LoFt) -> tuple[TargetModel, TargetModel]:
        model = deepcopy(start)
        model.head = defense.prepare_head(model.head)
        return start, model

    return prepared


def linear(model: TargetModel) -> nn.Linear:
    assert isinstance(model.head, nn.Linear)
    return model.head


def head_of(model: TargetModel) -> LowRankHead:
    assert isinstance(model.head, LowRankHead)
    return model.head


def nearest_of_rank(weight: Tensor, rank: int) -> Tensor:
    """The best rank-k approximation: project the rows on the leading eigenvectors of W^T W."""
    vectors = torch.linalg.eigh(weight.double().T @ weight.double()).eigenvectors[:, -rank:]
    found: Tensor = weight.double() @ vectors @ vectors.T
    return found


@pytest.mark.parametrize("rank", [1, 4, 10])
def test_the_new_head_starts_as_the_truncated_one(rank: int, prepare: Prepare) -> None:
    phase_one, model = prepare(LoFt(rank=rank, activation="identity"))
    narrow, wide = head_of(model).narrow, head_of(model).wide
    composed = wide.weight @ narrow.weight
    assert int(torch.linalg.matrix_rank(composed.double(), rtol=1e-5)) == rank
    torch.testing.assert_close(composed.double(), nearest_of_rank(linear(phase_one).weight, rank), atol=1e-6, rtol=1e-4)
    features = torch.randn(3, model.feature_dim)
    expected = features.double() @ nearest_of_rank(linear(phase_one).weight, rank).T + linear(phase_one).bias
    torch.testing.assert_close(model.head(features).double(), expected, atol=1e-4, rtol=1e-4)


def test_full_rank_without_activation_is_the_undefended_target(prepare: Prepare) -> None:
    phase_one, model = prepare(LoFt(rank=500, activation="identity"))
    assert head_of(model).narrow.out_features == CLASSES, "a rank above the full one is the full one"
    images = torch.rand(2, 3, RESOLUTION_PX, RESOLUTION_PX)
    torch.testing.assert_close(model.eval()(images).logits, phase_one.eval()(images).logits, atol=1e-4, rtol=1e-4)


def test_only_the_head_changes(prepare: Prepare) -> None:
    start, model = prepare(LoFt(rank=3))
    theirs = start.blocks.state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in model.blocks.state_dict().items())


@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid"])
def test_the_activation_stands_between_the_layers(activation: Any, prepare: Prepare) -> None:
    _, model = prepare(LoFt(rank=3, activation=activation))
    narrow, wide = head_of(model).narrow, head_of(model).wide
    features = torch.randn(4, model.feature_dim)
    expected = wide(getattr(torch, activation)(narrow(features)))
    torch.testing.assert_close(model.head(features), expected)


@pytest.mark.parametrize("rank", [2, 7])
@pytest.mark.parametrize("pre_bn", [True, False], ids=["with BatchNorm", "without"])
def test_parameters_of_the_head(rank: int, pre_bn: bool, prepare: Prepare) -> None:
    _, model = prepare(LoFt(rank=rank, init="random", pre_bn=pre_bn))
    d = model.feature_dim
    assert count_parameters(model.head) == 2 * d * pre_bn + rank * (d + 1) + CLASSES * (rank + 1)


def test_the_code_is_what_comes_out_of_the_activation(prepare: Prepare) -> None:
    _, model = prepare(LoFt(rank=3, init="random", pre_bn=True))
    head, images = head_of(model.eval()), torch.rand(4, 3, RESOLUTION_PX, RESOLUTION_PX)
    forward = model(images, taps=("code",))
    (code,) = forward.taps.values()
    assert code.shape == (4, 3) and code.abs().max() < 1
    torch.testing.assert_close(head.wide(code), forward.logits)
    assert torch.equal(model(images).logits, forward.logits)
    assert forward.features.shape == (4, model.feature_dim), "white-box attackers see what stands before the head"


def test_pre_bn_normalises_before_the_first_layer(prepare: Prepare) -> None:
    _, model = prepare(LoFt(rank=3, init="random", pre_bn=True, activation="identity"))
    features = torch.randn(64, model.feature_dim) * 5 + 2
    normed = (features - features.mean(0)) / (features.var(0, unbiased=False) + 1e-5).sqrt()
    expected = head_of(model).wide(head_of(model).narrow(normed))
    torch.testing.assert_close(model.head(features), expected, atol=1e-4, rtol=1e-4)


def test_a_random_head_forgets_the_trained_one(prepare: Prepare) -> None:
    start, model = prepare(LoFt(rank=4, init="random", activation="identity"))
    composed = head_of(model).wide.weight @ head_of(model).narrow.weight
    assert not torch.allclose(composed.double(), nearest_of_rank(linear(start).weight, 4), atol=0.05)


def test_rank_zero_is_off(prepare: Prepare) -> None:
    off = LoFt().off()
    assert off.rank == 0 and off.requires(UNDEFENDED) == {}
    start, model = prepare(off)
    theirs = start.state_dict()
    assert model.state_dict().keys() == theirs.keys()
    assert all(torch.equal(value, theirs[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize(("pre_bn", "rank", "expected"), [(True, 3, True), (False, 3, False), (True, 0, False)])
def test_says_when_it_brings_a_batch_norm(pre_bn: bool, rank: int, expected: bool) -> None:
    facts = ARCHITECTURES.make("vit_b16_tiny").facts()
    assert LoFt(rank=rank, init="random", pre_bn=pre_bn).facts_after(facts).head_has_batch_norm == expected


def test_starts_from_the_undefended_target_of_the_same_seed() -> None:
    assert LoFt().requires(UNDEFENDED) == {"phase_one": UNDEFENDED}
    assert LoFt(init="random", from_scratch=True).requires(UNDEFENDED) == {}


def test_truncation_loses_the_smallest_singular_values_only() -> None:
    weight = torch.randn(6, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    singular = torch.linalg.svdvals(weight)
    for rank in range(1, 7):
        first, first_bias, second, second_bias = truncated_head(weight, torch.ones(6).double(), rank=rank)
        lost = torch.linalg.matrix_norm(weight - second @ first)
        torch.testing.assert_close(lost, singular[rank:].square().sum().sqrt())
        assert first_bias.tolist() == [0.0] * rank and second_bias.tolist() == [1.0] * 6


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"rank": -1}, "needs rank >= 0, got -1"),
        ({"from_scratch": True}, "init='svd' would decompose an untrained head; use init='random'"),
        ({"pre_bn": True}, "init='svd' would decompose a head behind a new BatchNorm; use init='random'"),
        ({"activation": "gelu"}, "'tanh', 'relu', 'sigmoid' or 'identity'"),
    ],
    ids=["negative rank", "svd of nothing", "svd behind BatchNorm", "unknown activation"],
)
def test_impossible_values_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        DEFENSES.make("loft", params)
