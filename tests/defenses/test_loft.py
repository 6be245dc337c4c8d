from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from midef.core import Inputs, Recipe, SpecError
from midef.defenses import DEFENSES
from midef.defenses.loft import LoFt, truncated_head
from midef.models import ARCHITECTURES
from midef.models._network import TargetModel, count_parameters

CLASSES, RESOLUTION_PX = 11, 32
UNDEFENDED = Recipe("target", "classifier", {"seed": 0})
Prepare = Callable[[LoFt], tuple[TargetModel, TargetModel]]


def network(seed: int) -> TargetModel:
    torch.manual_seed(seed)
    return ARCHITECTURES.make("vgg16_tiny").build(CLASSES, RESOLUTION_PX)


@pytest.fixture
def prepare(tmp_path: Path) -> Prepare:
    """The stored undefended target, and a fresh network after the surgery of the defense."""
    phase_one = network(1)
    nn.init.normal_(phase_one.head.bias)  # type: ignore[arg-type]
    save_file(phase_one.state_dict(), tmp_path / "model.safetensors")

    def prepared(defense: LoFt) -> tuple[TargetModel, TargetModel]:
        needed = defense.requires(UNDEFENDED)
        return phase_one, defense.prepare_model(network(2), Inputs(needed, lambda recipe: tmp_path))

    return prepared


def nearest_of_rank(weight: Tensor, rank: int) -> Tensor:
    """The best rank-k approximation: project the rows on the leading eigenvectors of W^T W."""
    vectors = torch.linalg.eigh(weight.double().T @ weight.double()).eigenvectors[:, -rank:]
    return weight.double() @ vectors @ vectors.T


@pytest.mark.parametrize("rank", [1, 4, 10])
def test_the_new_head_starts_as_the_truncated_one(rank: int, prepare: Prepare) -> None:
    phase_one, model = prepare(LoFt(rank=rank, activation="identity"))
    narrow, _, wide = model.head.children()  # type: ignore[union-attr]
    composed = wide.weight @ narrow.weight
    assert int(torch.linalg.matrix_rank(composed.double(), rtol=1e-5)) == rank
    torch.testing.assert_close(composed.double(), nearest_of_rank(phase_one.head.weight, rank), atol=1e-6, rtol=1e-4)
    features = torch.randn(3, model.feature_dim)
    expected = features.double() @ nearest_of_rank(phase_one.head.weight, rank).T + phase_one.head.bias
    torch.testing.assert_close(model.head(features).double(), expected, atol=1e-4, rtol=1e-4)


def test_full_rank_without_activation_is_the_undefended_target(prepare: Prepare) -> None:
    phase_one, model = prepare(LoFt(rank=500, activation="identity"))
    assert model.head[0].out_features == CLASSES, "a rank above the full one is the full one"  # type: ignore[index]
    images = torch.rand(2, 3, RESOLUTION_PX, RESOLUTION_PX)
    torch.testing.assert_close(model.eval()(images).logits, phase_one.eval()(images).logits, atol=1e-4, rtol=1e-4)


def test_the_blocks_are_those_of_phase_one(prepare: Prepare) -> None:
    phase_one, model = prepare(LoFt(rank=3))
    theirs = phase_one.blocks.state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in model.blocks.state_dict().items())


@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid"])
def test_the_activation_stands_between_the_layers(activation: Any, prepare: Prepare) -> None:
    _, model = prepare(LoFt(rank=3, activation=activation))
    narrow, _, wide = model.head.children()  # type: ignore[union-attr]
    features = torch.randn(4, model.feature_dim)
    expected = wide(getattr(torch, activation)(narrow(features)))
    torch.testing.assert_close(model.head(features), expected)


@pytest.mark.parametrize("rank", [2, 7])
@pytest.mark.parametrize("pre_bn", [True, False], ids=["with BatchNorm", "without"])
def test_parameters_of_the_head(rank: int, pre_bn: bool, prepare: Prepare) -> None:
    _, model = prepare(LoFt(rank=rank, init="random", pre_bn=pre_bn))
    d = model.feature_dim
    assert count_parameters(model.head) == 2 * d * pre_bn + rank * (d + 1) + CLASSES * (rank + 1)


def test_a_random_head_keeps_the_trained_blocks_but_not_the_head(prepare: Prepare) -> None:
    phase_one, model = prepare(LoFt(rank=4, init="random", activation="identity"))
    narrow, _, wide = model.head.children()  # type: ignore[union-attr]
    assert not torch.allclose(
        (wide.weight @ narrow.weight).double(), nearest_of_rank(phase_one.head.weight, 4), atol=0.05
    )
    assert torch.equal(model.blocks.block1[0].weight, phase_one.blocks.block1[0].weight)


def test_from_scratch_starts_from_the_fresh_network(prepare: Prepare) -> None:
    _, model = prepare(LoFt(rank=4, init="random", from_scratch=True))
    fresh = network(2).blocks.state_dict()
    assert all(torch.equal(value, fresh[key]) for key, value in model.blocks.state_dict().items())


def test_rank_zero_is_off(prepare: Prepare) -> None:
    off = LoFt().off()
    assert off.rank == 0 and off.requires(UNDEFENDED) == {}
    _, model = prepare(off)
    fresh = network(2).state_dict()
    assert all(torch.equal(value, fresh[key]) for key, value in model.state_dict().items())


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
