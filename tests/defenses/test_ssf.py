"""What a block computes with scaled skips, from the formula."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from midef.core import Inputs, SpecError
from midef.defenses import DEFENSES
from midef.defenses.ssf import Ssf
from midef.models import ARCHITECTURES
from midef.nn.network import TargetModel

CLASSES, RESOLUTION_PX = 6, 32
NOTHING = Inputs({}, lambda recipe: None)  # type: ignore[arg-type, return-value]
TINY = [n for n in ARCHITECTURES.names() if n.endswith("_tiny") and ARCHITECTURES.make(n).facts().has_skips]


def network(architecture: str = "resnet18_tiny") -> TargetModel:
    torch.manual_seed(0)
    return ARCHITECTURES.make(architecture).build(CLASSES, RESOLUTION_PX)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(3, 3, RESOLUTION_PX, RESOLUTION_PX, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("architecture", TINY)
def test_skips_scaled_by_one_answer_exactly_as_before(architecture: str, images: Tensor) -> None:
    plain, scaled = network(architecture).eval(), network(architecture).eval()
    stages = ARCHITECTURES.make(architecture).facts().skip_stages
    scaled.scale_skips([name for stage in stages for name in stage], 1.0)
    with torch.no_grad():
        assert torch.equal(scaled(images).logits, plain(images).logits)


@pytest.mark.parametrize("architecture", TINY)
def test_scaled_skips_answer_otherwise(architecture: str, images: Tensor) -> None:
    model = Ssf(k=0.5).prepare_model(network(architecture), NOTHING).eval()
    with torch.no_grad():
        assert not torch.allclose(model(images).logits, network(architecture).eval()(images).logits)


@pytest.mark.parametrize("k", [0.01, 0.2, 0.8])
def test_a_residual_block_from_the_formula(k: float, images: Tensor) -> None:
    """relu(F(x) + k S(x)) in the last stage, relu(F(x) + S(x)) before it; S is the projection or the identity."""
    plain = network().eval()
    model = Ssf(k=k).prepare_model(network(), NOTHING).eval()
    names = model.block_names
    with torch.no_grad():
        taps = model(images, names).taps
        for before, name in pairwise(names):
            if not name.startswith("layer"):
                continue
            x, block = taps[before], plain.blocks.get_submodule(name)
            residual = block.bn2(block.conv2(torch.relu(block.bn1(block.conv1(x)))))  # type: ignore[operator]
            skip = x if block.downsample is None else block.downsample(x)  # type: ignore[operator]
            scale = k if name.startswith("layer4") else 1.0
            torch.testing.assert_close(taps[name], torch.relu(residual + scale * skip))


def test_the_projection_still_trains(images: Tensor) -> None:
    model = Ssf().prepare_model(network(), NOTHING)
    model(images).logits.square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize(("k", "older"), [(0.01, 0), (0.02, 1), (0.5, 16)])
def test_a_densenet_keeps_the_first_channels_of_older_maps(k: float, older: int) -> None:
    """Growth 32, 16 layers on 512 channels: the head sees round(k 512), 15 times round(k 32) and the newest 32."""
    with torch.device("meta"):
        model = Ssf(k=k).prepare_model(ARCHITECTURES.make("densenet121").build(CLASSES, 224), NOTHING)
    assert model.feature_dim == round(k * 512) + 15 * older + 32


def test_other_stages_can_be_chosen() -> None:
    model = Ssf(k=0.3, stages=(1, -2)).prepare_model(network(), NOTHING)
    scales = {name: getattr(block, "skip_scale", 1.0) for name, block in model.blocks.named_children()}
    assert {name for name, k in scales.items() if k == 0.3} == {"layer1_0", "layer1_1", "layer3_0", "layer3_1"}


def test_skips_are_still_there_for_others() -> None:
    facts = ARCHITECTURES.make("resnet18").facts()
    assert Ssf().facts_after(facts) == facts


def test_off_leaves_every_network_alone() -> None:
    assert Ssf().off().problems(ARCHITECTURES.make("vgg16").facts()) == []
    model = Ssf().off().prepare_model(network("vgg16_tiny"), NOTHING)
    assert all(torch.equal(w, v) for w, v in zip(model.parameters(), network("vgg16_tiny").parameters(), strict=True))


def test_a_network_without_skips_is_refused() -> None:
    (problem,) = Ssf().problems(ARCHITECTURES.make("vgg16").facts())
    assert problem == "SSF needs skip connections, vgg has none; take another architecture or defense"
    (problem,) = Ssf(stages=(9,)).problems(ARCHITECTURES.make("resnet18").facts())
    assert "resnet has no stage 9" in problem


@pytest.mark.parametrize("k", [0.0, -0.2, 1.5])
def test_impossible_scales_are_refused(k: float) -> None:
    with pytest.raises(SpecError, match=rf"needs 0 < k <= 1 \(k = 0 is rolss\), got {k}"):
        DEFENSES.make("ssf", {"k": k})
