"""The same questions to every registered architecture. Large ones are built without memory, to be counted only."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from midef.core import Choice, SpecError
from midef.models import ARCHITECTURES
from midef.nn.network import SkipBlock, TargetModel, count_parameters, freeze_

CLASSES, RESOLUTION_PX = 7, 32
NAMES = ARCHITECTURES.names()


def on_paper(name: str, classes: int = CLASSES, resolution_px: int | None = None) -> TargetModel:
    """The network with shapes but no numbers, at the smallest usual resolution it accepts."""
    architecture = ARCHITECTURES.make(name)
    if resolution_px is None:
        resolution_px = next(px for px in (RESOLUTION_PX, 64, 224) if not architecture.problems(px))
    with torch.device("meta"):
        return architecture.build(classes, resolution_px)


SMALL = [name for name in NAMES if name.endswith("_tiny") or name in ("mcnn", "scnn")]
every_architecture = pytest.mark.parametrize("name", NAMES)
every_small = pytest.mark.parametrize("name", SMALL)


def built(name: str, seed: int = 0) -> TargetModel:
    torch.manual_seed(seed)
    return ARCHITECTURES.make(name).build(CLASSES, RESOLUTION_PX)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(6, 3, RESOLUTION_PX, RESOLUTION_PX, generator=torch.Generator().manual_seed(0))


def settled(name: str, images: torch.Tensor) -> TargetModel:
    """In eval mode, after a few training passes have moved the running statistics."""
    model = built(name)
    for _ in range(3):
        model(images)
    return model.eval()


def test_there_is_a_small_sibling_of_every_family() -> None:
    families = {ARCHITECTURES.get(name).family for name in NAMES}
    assert {ARCHITECTURES.get(name).family for name in SMALL} == families


def test_the_small_ones_are_those_with_few_weights() -> None:
    assert [name for name in NAMES if count_parameters(on_paper(name)) < 2_000_000] == SMALL


@every_architecture
def test_describes_itself(name: str) -> None:
    cls = ARCHITECTURES.get(name)
    assert cls.paper and cls.family
    assert cls.__doc__ and not cls.__doc__.startswith(f"{cls.__name__}(")


@every_architecture
def test_facts_are_those_of_the_built_network(name: str) -> None:
    facts, model = ARCHITECTURES.make(name).facts(), on_paper(name)
    assert facts.blocks == model.block_names
    assert len(set(facts.blocks)) == len(facts.blocks)
    assert facts.family == ARCHITECTURES.get(name).family
    has_batch_norm = any(isinstance(m, torch.nn.modules.batchnorm._BatchNorm) for m in model.modules())
    assert facts.has_batch_norm == has_batch_norm


@every_architecture
def test_taps_are_blocks_in_order_and_end_with_the_features(name: str) -> None:
    facts = ARCHITECTURES.make(name).facts()
    assert facts.taps
    assert [block for block in facts.blocks if block in facts.taps] == list(facts.taps)
    assert facts.taps[-1] == facts.blocks[-1]


@every_architecture
def test_the_head_is_one_linear_layer_on_the_features(name: str) -> None:
    model = on_paper(name)
    assert isinstance(model.head, torch.nn.Linear)  # LoFt decomposes it
    assert (model.head.in_features, model.head.out_features) == (model.feature_dim, CLASSES)
    assert model.n_classes == CLASSES


@every_architecture
def test_a_choice_makes_an_equal_architecture(name: str) -> None:
    choice = ARCHITECTURES.choose(name)
    assert ARCHITECTURES.remake(Choice.from_plain(choice.keyed)) == ARCHITECTURES.make(name)


@every_architecture
def test_refuses_an_unknown_field(name: str) -> None:
    with pytest.raises(SpecError, match=f"architecture '{name}' has no parameter 'depth'"):
        ARCHITECTURES.choose({"name": name, "depth": 3})


@every_small
def test_gives_logits_features_and_the_taps_asked_for(name: str, images: torch.Tensor) -> None:
    model, facts = built(name), ARCHITECTURES.make(name).facts()
    forward = model(images, facts.taps)
    assert forward.logits.shape == (6, CLASSES)
    assert forward.features.shape == (6, model.feature_dim)
    assert tuple(forward.taps) == facts.taps
    assert torch.equal(forward.taps[facts.taps[-1]], forward.features)
    assert torch.equal(model.head(forward.features), forward.logits)
    assert model(images).taps == {}


@every_small
def test_every_tap_reaches_the_loss(name: str, images: torch.Tensor) -> None:
    taps = ARCHITECTURES.make(name).facts().taps
    forward = built(name)(images, taps)
    slopes = torch.autograd.grad(forward.logits.square().sum(), list(forward.taps.values()))
    assert all(slope.abs().sum() > 0 for slope in slopes), "a tap is a copy that the network does not use"


@every_small
def test_an_unknown_tap_names_the_nearest_block(name: str, images: torch.Tensor) -> None:
    first = ARCHITECTURES.make(name).facts().blocks[0]
    with pytest.raises(SpecError, match=f"no block '{first}x' to tap; did you mean '{first}'"):
        built(name)(images, (f"{first}x",))


@every_small
def test_an_answer_does_not_depend_on_the_rest_of_the_batch(name: str, images: torch.Tensor) -> None:
    model = settled(name, images)
    with torch.no_grad():
        together = model(images).logits
        apart = torch.cat([model(image[None]).logits for image in images])
        mixed = model(torch.cat([images[3:4], torch.rand(9, 3, RESOLUTION_PX, RESOLUTION_PX)])).logits[0]
    torch.testing.assert_close(apart, together, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(mixed, together[3], atol=1e-5, rtol=1e-4)
    assert (together.std(dim=0) > 1e-4).any(), "the network ignores its input"


@every_small
def test_survives_saving_and_loading(name: str, images: torch.Tensor, tmp_path: Path) -> None:
    model = settled(name, images)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    again = built(name, seed=1).eval()
    assert not torch.equal(again(images).logits, model(images).logits)
    again.load_state_dict(load_file(tmp_path / "model.safetensors"))
    assert torch.equal(again(images).logits, model(images).logits)


@every_small
def test_the_same_seed_gives_the_same_weights(name: str) -> None:
    first, same, other = (built(name, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[k], same[k]) for k in first)
    assert not all(torch.equal(first[k], other[k]) for k in first)


@every_small
def test_a_frozen_network_gives_slopes_to_the_image_only(name: str, images: torch.Tensor) -> None:
    model = built(name)
    freeze_(model)
    images.requires_grad_(True)
    model(images).logits.sum().backward()
    assert images.grad is not None and images.grad.abs().sum() > 0
    assert not model.training and all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("_tiny")])
@pytest.mark.parametrize("resolution_px", [32, 64])
def test_tiny_siblings_are_tiny_and_have_the_blocks_of_the_large_one(name: str, resolution_px: int) -> None:
    assert count_parameters(on_paper(name, 1000, resolution_px)) < 1_500_000
    tiny, large = ARCHITECTURES.make(name).facts(), ARCHITECTURES.make(name.removesuffix("_tiny")).facts()
    assert (tiny.family, tiny.has_batch_norm) == (large.family, large.has_batch_norm)
    assert [bool(stage) for stage in tiny.skip_stages] == [bool(stage) for stage in large.skip_stages]
    assert chain(tiny.blocks) == chain(large.blocks) and chain(tiny.taps) == chain(large.taps)


def chain(blocks: tuple[str, ...]) -> list[str]:
    """The kinds of blocks in their order: `layer3_0`, `layer3_1` are one kind, whatever the depth."""
    return list(dict.fromkeys(re.sub(r"_\d+$", "", block) for block in blocks))


@every_architecture
def test_units_and_skips_are_part_of_the_network(name: str) -> None:
    model, facts = on_paper(name), ARCHITECTURES.make(name).facts()
    own = [id(p) for unit in facts.units for module in model.unit(unit) for p in module.parameters()]
    assert sorted(own) == sorted(id(p) for p in model.blocks.parameters()), "units must hold every weight exactly once"
    assert all(unit.split(".")[0] in facts.blocks for unit in facts.units)
    assert list(dict.fromkeys(unit.split(".")[0] for unit in facts.units if unit.split(".")[0] in facts.blocks))
    for block in (block for stage in facts.skip_stages for block in stage):
        assert isinstance(model.blocks.get_submodule(block), SkipBlock)


@pytest.mark.parametrize("name", [n for n in NAMES if n.endswith("_tiny") and ARCHITECTURES.make(n).facts().has_skips])
def test_skips_at_one_change_nothing_and_at_zero_remove_the_shortcut(name: str, images: torch.Tensor) -> None:
    facts = ARCHITECTURES.make(name).facts()
    model, other = built(name).eval(), built(name).eval()
    with torch.no_grad():
        before = model(images).logits
        model.scale_skips(facts.skip_stages[-1], 1.0)
        assert torch.equal(model(images).logits, before)
        other.scale_skips(facts.skip_stages[-1], 0.0)
        without = other(images).logits
    assert without.shape == before.shape and torch.isfinite(without).all()
    assert not torch.equal(without, before)
    other.train()
    other(images).logits.square().sum().backward()
    assert all(p.grad is not None for p in other.parameters() if p.requires_grad), "a weight the network no longer uses"


@every_architecture
def test_weightless_blocks_have_no_weights(name: str) -> None:
    model, facts = on_paper(name), ARCHITECTURES.make(name).facts()
    empty = {block for block in facts.blocks if not any(True for _ in model.blocks.get_submodule(block).parameters())}
    assert facts.weightless == empty
