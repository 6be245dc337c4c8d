"""The suite of architectures. Large ones are built without memory, to be counted only; small ones run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torchvision.ops import StochasticDepth
from typing_extensions import override

from midef.core import Registry, SpecError
from midef.models import ARCHITECTURES, Architecture, Judge
from midef.nn.network import SkipBlock, TargetModel, count_parameters, freeze_
from midef.stages import problems_as_target
from midef.testing.suite import Contract

CLASSES = 7
RESOLUTIONS_PX = (32, 64, 112, 224)
FEW_WEIGHTS = 2_000_000
DRAWING = (nn.modules.dropout._DropoutNd, StochasticDepth)
"""Layers that draw random numbers while training, unless their `p` is 0."""


def usual_px(name: str) -> int:
    """The smallest usual resolution an architecture accepts."""
    architecture = ARCHITECTURES.make(name)
    return next(px for px in RESOLUTIONS_PX if not architecture.problems(px))


def on_paper(name: str, classes: int = CLASSES, resolution_px: int | None = None) -> TargetModel:
    """The network with shapes but no numbers, at the smallest usual resolution unless one is given.

    Read it, never change it: all tests that only count share one.
    """
    return _on_paper(ARCHITECTURES.make(name), classes, resolution_px or usual_px(name))


@cache
def _on_paper(architecture: Architecture, classes: int, resolution_px: int) -> TargetModel:
    with torch.device("meta"):
        return architecture.build(classes, resolution_px)


def built(name: str, seed: int = 0) -> TargetModel:
    """The network with weights drawn from a seed, at the smallest usual resolution."""
    torch.manual_seed(seed)
    return ARCHITECTURES.make(name).build(CLASSES, usual_px(name))


def images_for(name: str, n: int = 6, seed: int = 0) -> Tensor:
    """Random images [n, 3, R, R] of the smallest usual resolution."""
    px = usual_px(name)
    return torch.rand(n, 3, px, px, generator=torch.Generator().manual_seed(seed))


SETTLING = 12


def settled(name: str) -> TargetModel:
    """In eval mode, after training passes have moved the running statistics; those of a judge never move.

    As many passes as a deep network of small weights needs, whose signal the first statistics, of variance 1, would
    shrink at every layer.
    """
    model = built(name)
    for _ in range(0 if ARCHITECTURES.get(name).judges_only else SETTLING):
        model(images_for(name))
    return model.eval()


class ArchitectureContract(Contract):
    """What every architecture answers. `small` are those that say `is_small`: they are run. `judge` are those that say
    `judges_only`: nothing may train them."""

    registry: ClassVar[Registry[Any]] = ARCHITECTURES

    @classmethod
    @override
    def cases(cls) -> Mapping[str, Sequence[Any]]:
        small = [name for name in cls.asked() if ARCHITECTURES.get(name).is_small]
        with_skips = [name for name in small if ARCHITECTURES.make(name).facts().has_skips]
        judges = [name for name in cls.asked() if ARCHITECTURES.get(name).judges_only]
        return {**super().cases(), "small": small, "with_skips": with_skips, "judge": judges}

    # ---------------------------------------------------------------- counted

    def test_names_its_paper_and_family(self, name: str) -> None:
        assert ARCHITECTURES.get(name).paper and ARCHITECTURES.get(name).family

    def test_says_whether_it_is_small(self, name: str) -> None:
        assert ARCHITECTURES.get(name).is_small == (count_parameters(on_paper(name)) < FEW_WEIGHTS)

    def test_facts_are_those_of_the_built_network(self, name: str) -> None:
        facts, model = ARCHITECTURES.make(name).facts(), on_paper(name)
        assert facts.blocks == model.block_names
        assert len(set(facts.blocks)) == len(facts.blocks)
        assert facts.family == ARCHITECTURES.get(name).family
        has_batch_norm = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules())
        assert facts.has_batch_norm == has_batch_norm

    def test_taps_are_blocks_in_order_and_end_with_the_features(self, name: str) -> None:
        facts = ARCHITECTURES.make(name).facts()
        assert facts.taps
        assert [block for block in facts.blocks if block in facts.taps] == list(facts.taps)
        assert facts.taps[-1] == facts.blocks[-1]

    def test_the_head_is_one_linear_layer_on_the_features(self, name: str) -> None:
        model = on_paper(name)
        assert isinstance(model.head, nn.Linear)  # LoFt decomposes it
        assert (model.head.in_features, model.head.out_features) == (model.feature_dim, CLASSES)
        assert model.n_classes == CLASSES

    def test_units_and_skips_are_part_of_the_network(self, name: str) -> None:
        model, facts = on_paper(name), ARCHITECTURES.make(name).facts()
        of_units = [id(p) for unit in facts.units for module in model.unit(unit) for p in module.parameters()]
        of_blocks = [id(p) for p in model.blocks.parameters()]
        assert sorted(of_units) == sorted(of_blocks), "units must hold every weight exactly once"
        assert facts.units and all(unit.split(".")[0] in facts.blocks for unit in facts.units)
        for block in (block for stage in facts.skip_stages for block in stage):
            assert isinstance(model.blocks.get_submodule(block), SkipBlock)

    def test_weightless_blocks_have_no_weights(self, name: str) -> None:
        model, facts = on_paper(name), ARCHITECTURES.make(name).facts()
        empty = {block for block in facts.blocks if not list(model.blocks.get_submodule(block).parameters())}
        assert facts.weightless == empty

    def test_dropout_and_stochastic_depth_are_declared(self, name: str) -> None:
        """Several processes would draw other numbers than one: they do not train such a network together."""
        drawing = [m for m in on_paper(name).modules() if isinstance(m, DRAWING) and m.p > 0]
        assert not drawing or ARCHITECTURES.make(name).facts().draws

    # ---------------------------------------------------------------- run

    def test_layers_that_draw_while_training_are_declared(self, small: str) -> None:
        model, images = built(small).train(), images_for(small)

        def trained_on(seed: int) -> Tensor:
            torch.manual_seed(seed)
            logits: Tensor = model(images).logits
            return logits

        assert torch.equal(trained_on(0), trained_on(1)) or ARCHITECTURES.make(small).facts().draws

    def test_gives_logits_features_and_the_taps_asked_for(self, small: str) -> None:
        model, facts, images = built(small), ARCHITECTURES.make(small).facts(), images_for(small)
        forward = model(images, facts.taps)
        assert forward.logits.shape == (6, CLASSES)
        assert forward.features.shape == (6, model.feature_dim)
        assert tuple(forward.taps) == facts.taps
        assert torch.equal(forward.taps[facts.taps[-1]], forward.features)
        assert torch.equal(model.head(forward.features), forward.logits)
        assert model(images).taps == {}

    def test_every_tap_reaches_the_loss(self, small: str) -> None:
        images = images_for(small).requires_grad_(True)  # a judge's weights have no slopes
        forward = built(small)(images, ARCHITECTURES.make(small).facts().taps)
        slopes = torch.autograd.grad(forward.logits.square().sum(), list(forward.taps.values()))
        assert all(slope.abs().sum() > 0 for slope in slopes), "a tap is a copy that the network does not use"

    def test_an_unknown_tap_names_the_nearest_block(self, small: str) -> None:
        first = ARCHITECTURES.make(small).facts().blocks[0]
        with pytest.raises(SpecError, match=f"no block '{first}x' to tap; did you mean '{first}'"):
            built(small)(images_for(small), (f"{first}x",))

    def test_an_answer_does_not_depend_on_the_rest_of_the_batch(self, small: str) -> None:
        model, images = settled(small), images_for(small)
        with torch.no_grad():
            together = model(images).logits
            apart = torch.cat([model(image[None]).logits for image in images])
            mixed = model(torch.cat([images[3:4], images_for(small, 9, seed=1)])).logits[0]
        torch.testing.assert_close(apart, together, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(mixed, together[3], atol=1e-5, rtol=1e-4)
        assert (together.std(dim=0) > 1e-4).any(), "the network ignores its input"

    def test_survives_saving_and_loading(self, small: str, tmp_path: Path) -> None:
        model, images = settled(small), images_for(small)
        save_file(model.state_dict(), tmp_path / "model.safetensors")
        again = built(small, seed=1).eval()
        assert not torch.equal(again(images).logits, model(images).logits)
        again.load_state_dict(load_file(tmp_path / "model.safetensors"))
        assert torch.equal(again(images).logits, model(images).logits)

    def test_the_same_seed_gives_the_same_weights(self, small: str) -> None:
        first, same, other = (built(small, seed).state_dict() for seed in (0, 0, 1))
        assert all(torch.equal(first[k], same[k]) for k in first)
        assert not all(torch.equal(first[k], other[k]) for k in first)

    def test_a_frozen_network_gives_slopes_to_the_image_only(self, small: str) -> None:
        model, images = built(small), images_for(small)
        freeze_(model)
        images.requires_grad_(True)
        model(images).logits.sum().backward()
        assert images.grad is not None and images.grad.abs().sum() > 0
        assert not model.training and all(p.grad is None for p in model.parameters())

    def test_skips_at_one_change_nothing_and_at_zero_remove_the_shortcut(self, with_skips: str) -> None:
        facts, images = ARCHITECTURES.make(with_skips).facts(), images_for(with_skips)
        model, other = built(with_skips).eval(), built(with_skips).eval()
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
        left_over = [name for name, p in other.named_parameters() if p.requires_grad and p.grad is None]
        assert left_over == [], "weights the network no longer uses"

    # ---------------------------------------------------------------- judges

    def test_a_judge_says_which_file_has_its_weights(self, judge: str) -> None:
        made, model = ARCHITECTURES.make(judge), on_paper(judge)
        assert isinstance(made, Judge) and made.published is not None
        assert re.fullmatch("[0-9a-f]{64}", made.published.sha256)
        assert made.published.weights and made.published.name and made.published.source
        ours = list(model.blocks.state_dict())
        assert len({made.published.named(name) for name in ours}) == len(ours)

    def test_nothing_trains_a_judge(self, judge: str) -> None:
        model = built(judge).train()
        before = {name: tensor.clone() for name, tensor in model.blocks.state_dict().items()}
        assert not any(module.training for module in model.blocks.modules())
        model(images_for(judge)).logits.square().sum().backward()
        assert all(p.grad is None and not p.requires_grad for p in model.blocks.parameters())
        assert all(torch.equal(tensor, before[name]) for name, tensor in model.blocks.state_dict().items())

    def test_a_judge_is_no_target_and_no_network_of_an_attack(self, judge: str) -> None:
        (problem,) = problems_as_target(ARCHITECTURES.choose(judge))
        assert problem.startswith(f"{judge} only judges: it is never a target, a network of an attack")
