"""A target that starts from published weights: named by the content of the file, refused where it does not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision.models import vgg16_bn

from midef.core import Choice, DataError, Inputs, PreflightError
from midef.models import ARCHITECTURES, pretrained
from midef.nn.named_file import sha256_of
from midef.stages import BuildContext, ensure, place_weights, published_recipe
from midef.stages.target import TargetSpec, starting_network
from midef.storage import Store

PlanCell = Callable[..., Any]
VGG16 = Choice("vgg16", {}, ARCHITECTURES.get("vgg16").version, "vgg16")
PX = 32


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torchvision's file with random weights, under the name torchvision gives it; its digest is not torchvision's."""
    torch.manual_seed(0)
    trunk = {k: v for k, v in vgg16_bn().state_dict().items() if k.startswith("features.")}
    (tmp_path / "weights").mkdir()
    torch.save(trunk, tmp_path / "weights" / "vgg16_bn-6c64b313.pth")
    monkeypatch.setattr(pretrained, "verify", lambda weights, architecture, path: sha256_of(path))
    return tmp_path / "weights"


@pytest.fixture
def context(folder: Path, tmp_path: Path) -> BuildContext:
    choice, where = place_weights("imagenet", VGG16, folder)
    recipe = published_recipe(choice, VGG16, PX)
    return BuildContext(store=Store.open(str(tmp_path / "store")), locations={recipe.key.digest: where})


def planned(folder: Path, plan: PlanCell, seed: int = 0) -> Any:
    choice, _ = place_weights("imagenet", VGG16, folder)
    return plan(architecture=VGG16, weights=choice, seed=seed)


def test_every_target_starts_from_the_published_trunk_and_a_head_of_its_own(
    folder: Path, context: BuildContext, plan: PlanCell
) -> None:
    published = torch.load(folder / "vgg16_bn-6c64b313.pth", weights_only=True)
    heads = []
    for seed in (0, 1):
        target = planned(folder, plan, seed).target
        inputs = Inputs(target.inputs, lambda needed: ensure(needed, context))
        torch.manual_seed(seed)
        model = starting_network(TargetSpec.of(target), inputs, context, 8)
        assert torch.equal(model.blocks.get_parameter("block1.0.weight"), published["features.0.weight"])
        assert torch.equal(model.blocks.get_parameter("block5.6.weight"), published["features.40.weight"])
        heads.append(model.head.weight)
    assert not torch.equal(*heads)


def test_the_key_names_the_content_and_not_the_place(folder: Path, tmp_path: Path, plan: PlanCell) -> None:
    first = planned(folder, plan).target
    moved = folder.rename(tmp_path / "elsewhere")
    assert planned(moved, plan).target.key == first.key
    with (moved / "vgg16_bn-6c64b313.pth").open("ab") as file:
        file.write(b"\0")
    assert planned(moved, plan).target.key != first.key
    assert plan(architecture=VGG16).target.key not in (first.key, planned(moved, plan).target.key)


def test_another_file_than_planned_is_refused(folder: Path, context: BuildContext, plan: PlanCell) -> None:
    backbone = planned(folder, plan).target.inputs["backbone"]
    with (folder / "vgg16_bn-6c64b313.pth").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(DataError, match="another file than the one the plan was made with"):
        ensure(backbone, context)


def test_a_missing_file_says_which_and_where(tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match=r"no file vgg16_bn-6c64b313\.pth in .*get it from .*put it there"):
        place_weights("imagenet", VGG16, tmp_path)
