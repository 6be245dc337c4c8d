"""A published file becomes the trunk of our network, or an error that says what is wrong with it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformer, SwinTransformerBlockV2
from torchvision.models.vision_transformer import VisionTransformer

from midef.core.errors import DataError, PreflightError, SpecError
from midef.models import ARCHITECTURES, pretrained
from midef.nn.named_file import sha256_of
from midef.nn.network import TargetModel

CLASSES = 5
ENDINGS = (".pth", ".safetensors")
State = dict[str, Tensor]
Save = Callable[[State], Path]

# Our architecture -> torchvision's name.
IMAGENET = {
    "vgg16": "vgg16_bn",
    "resnet18": "resnet18",
    "resnet34": "resnet34",
    "resnet50": "resnet50",
    "resnet101": "resnet101",
    "resnet152": "resnet152",
    "densenet121": "densenet121",
    "densenet161": "densenet161",
    "densenet169": "densenet169",
    "densenet201": "densenet201",
    "inception_v3": "inception_v3",
    "maxvit_t": "maxvit_t",
    "vit_b16": "vit_b_16",
    "swin_v2_t": "swin_v2_t",
    "swin_v2_s": "swin_v2_s",
    "swin_v2_b": "swin_v2_b",
}
ONE_OF_EACH_KIND = ["vgg16", "resnet18", "resnet50", "densenet121", "inception_v3", "maxvit_t", "vit_b16", "swin_v2_t"]
MS1M = ["facenet64", "facenet112", "ir152"]


def on_paper(name: str, resolution_px: int = 224, **params: Any) -> TargetModel:
    with torch.device("meta"):
        return ARCHITECTURES.make(name, params).build(CLASSES, resolution_px)


def disturb_(model: nn.Module) -> None:
    """No two channels of any norm are alike."""
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var") or (name.endswith("weight") and tensor.ndim == 1):
            tensor.uniform_(0.5, 1.5)
        elif name.endswith(("running_mean", "bias")):
            tensor.normal_(0, 0.1)


class FaceUnit(nn.Module):
    """A unit with the names of Face.evoLVe."""

    def __init__(self, came: int, width: int, stride: int) -> None:
        super().__init__()
        if came == width:
            self.shortcut_layer: nn.Module = nn.MaxPool2d(1, stride)
        else:
            self.shortcut_layer = nn.Sequential(nn.Conv2d(came, width, 1, stride, bias=False), nn.BatchNorm2d(width))
        first = (nn.BatchNorm2d(came), nn.Conv2d(came, width, 3, 1, 1, bias=False), nn.PReLU(width))
        second = (nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width))
        self.res_layer = nn.Sequential(*first, *second)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.res_layer(x) + self.shortcut_layer(x)
        return out


class FaceBody(nn.Module):
    """A recogniser with the names of Face.evoLVe: all units in one list, and the head of 112 px."""

    def __init__(self, depths: tuple[int, ...], widths: tuple[int, ...], features: int) -> None:
        super().__init__()
        came = widths[0]
        self.input_layer = nn.Sequential(nn.Conv2d(3, came, 3, 1, 1, bias=False), nn.BatchNorm2d(came), nn.PReLU(came))
        units = []
        for depth, width in zip(depths, widths, strict=True):
            for i in range(depth):
                units.append(FaceUnit(came, width, 2 if i == 0 else 1))
                came = width
        self.body = nn.Sequential(*units)
        linear = nn.Linear(came * 49, features)
        head = (nn.BatchNorm2d(came), nn.Dropout(0.5), nn.Flatten(), linear, nn.BatchNorm1d(features))
        self.output_layer = nn.Sequential(*head)

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.body(self.input_layer(images))
        return out


@pytest.fixture
def save_resnet18(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Save:
    """Saves a state dict as the published ResNet-18, under the name that its digest gives it."""

    def save(state: Any) -> Path:
        torch.save(state, tmp_path / "fresh")
        digits = hashlib.sha256((tmp_path / "fresh").read_bytes()).hexdigest()[:8]
        monkeypatch.setattr(
            pretrained, "_published_url", lambda name: f"https://example.org/models/{name}-{digits}.pth"
        )
        return (tmp_path / "fresh").rename(tmp_path / f"resnet18-{digits}.pth")

    return save


@pytest.fixture(scope="module")
def resnet18() -> Iterator[State]:
    torch.manual_seed(0)
    other = torchvision.models.resnet18(weights=None)
    disturb_(other)
    yield {name: tensor.clone() for name, tensor in other.state_dict().items()}


@pytest.fixture(scope="module")
def fresh_resnet18() -> TargetModel:
    torch.manual_seed(1)
    return ARCHITECTURES.make("resnet18", {"stem": "imagenet"}).build(CLASSES, 64)


@pytest.fixture
def faces() -> FaceBody:
    """The body of IR152's tiny sibling."""
    torch.manual_seed(0)
    body = FaceBody((1, 2, 3, 1), (16, 32, 64, 128), 32)
    disturb_(body)
    return body.eval()


@pytest.fixture
def fresh_ir() -> TargetModel:
    torch.manual_seed(1)
    return ARCHITECTURES.make("ir152_tiny").build(CLASSES, 32).eval()


# --- names ------------------------------------------------------------------------------------------------------------


def fits_completely(name: str, published: State, model: TargetModel) -> bool:
    taken, problems = pretrained.matched(name, published, model)
    assert problems == []
    own = pretrained.unpublished_blocks(name)
    blocks = {ours: t.shape for ours, t in model.blocks.state_dict().items() if ours.split(".")[0] not in own}
    return {ours: tensor.shape for ours, tensor in taken.items()} == blocks


@pytest.mark.parametrize("name", ONE_OF_EACH_KIND)
def test_every_tensor_of_torchvisions_trunks_has_a_place(name: str) -> None:
    with torch.device("meta"):
        quietly = {"init_weights": False} if name == "inception_v3" else {}
        other = torchvision.models.get_model(IMAGENET[name], weights=None, **quietly)
    assert fits_completely(name, other.state_dict(), on_paper(name))


@pytest.mark.parametrize(("name", "depths"), [("facenet64", (3, 4, 14, 3)), ("ir152", (3, 8, 36, 3))])
def test_every_tensor_of_the_face_recognisers_has_a_place(name: str, depths: tuple[int, ...]) -> None:
    with torch.device("meta"):
        other = FaceBody(depths, (64, 128, 256, 512), 512)
    assert fits_completely(name, other.state_dict(), on_paper(name, 64))


def test_the_evaluator_starts_from_the_body_of_its_target() -> None:
    with torch.device("meta"):
        other = FaceBody((3, 4, 14, 3), (64, 128, 256, 512), 512)
    assert fits_completely("facenet112", other.state_dict(), on_paper("facenet112", 112))


def test_weights_are_known_for_these_and_no_others() -> None:
    names = [name for name in ARCHITECTURES.names() if ARCHITECTURES.get(name).published is None]
    assert {name for name in names if pretrained.known("imagenet", name)} == set(IMAGENET)
    assert {name for name in names if pretrained.known("ms1m", name)} == set(MS1M)
    assert not pretrained.known("imagenot", "vgg16")


def test_only_these_blocks_start_fresh() -> None:
    own = {name: pretrained.unpublished_blocks(name) for name in [*IMAGENET, *MS1M]}
    assert {name: blocks for name, blocks in own.items() if blocks} == {
        "vgg16": {"embedding"},
        **{name: {"output"} for name in MS1M},
    }


# --- answers ----------------------------------------------------------------------------------------------------------


def with_trunk(name: str, published: State, model: TargetModel) -> TargetModel:
    taken, problems = pretrained.matched(name, published, model)
    assert problems == []
    model.blocks.load_state_dict({**model.blocks.state_dict(), **taken})
    return model.eval()


def test_vgg16_computes_what_torchvision_computes() -> None:
    torch.manual_seed(0)
    trunk = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"], batch_norm=True).eval()
    disturb_(trunk)
    published = {f"features.{name}": tensor for name, tensor in trunk.state_dict().items()}
    published["classifier.0.weight"] = torch.zeros(4096, 1)
    model = with_trunk("vgg16", published, ARCHITECTURES.make("vgg16").build(CLASSES, 32))
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model(images, ("block5",)).taps["block5"], trunk(images), atol=1e-4, rtol=1e-4)


def test_densenet121_computes_what_torchvision_computes_from_a_file_with_old_names() -> None:
    """The published files write `norm.1` where the modules are now called `norm1`, and have no counters."""
    torch.manual_seed(0)
    other = torchvision.models.densenet121(weights=None).eval()
    disturb_(other)
    old = {re.sub(r"(layer\d+\.\w+)([12])\.", r"\1.\2.", name): tensor for name, tensor in other.state_dict().items()}
    old = {name: tensor for name, tensor in old.items() if not name.endswith("num_batches_tracked")}
    assert "features.denseblock1.denselayer2.norm.1.weight" in old
    model = with_trunk("densenet121", old, ARCHITECTURES.make("densenet121", {"stem": "imagenet"}).build(CLASSES, 64))
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        expected = other.features((images - 0.5) / 0.5).relu().mean((2, 3))
        torch.testing.assert_close(model(images).features, expected, atol=1e-4, rtol=1e-4)


def test_vit_computes_what_torchvision_computes_from_a_file_with_old_names() -> None:
    torch.manual_seed(0)
    other = VisionTransformer(32, 8, 4, 4, 96, 384).eval()
    disturb_(other)
    numbered = {"0": "linear_1", "3": "linear_2"}
    old = {
        re.sub(r"\.mlp\.([03])\.", lambda at: f".mlp.{numbered[at[1]]}.", name): tensor
        for name, tensor in other.state_dict().items()
    }
    assert "encoder.layers.encoder_layer_0.mlp.linear_2.weight" in old
    model = with_trunk("vit_b16", old, ARCHITECTURES.make("vit_b16_tiny").build(CLASSES, 32))
    other.heads = nn.Identity()  # type: ignore[assignment]
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model(images).features, other((images - 0.5) / 0.5), atol=1e-4, rtol=1e-4)


def test_swin_computes_what_torchvision_computes() -> None:
    torch.manual_seed(0)
    kinds: dict[str, Any] = {"block": SwinTransformerBlockV2, "downsample_layer": PatchMergingV2}
    other = SwinTransformer([4, 4], 24, [2, 1, 1, 1], [1, 2, 4, 8], [4, 4], **kinds).eval()
    disturb_(other)
    model = with_trunk("swin_v2_t", other.state_dict(), ARCHITECTURES.make("swin_v2_t_tiny").build(CLASSES, 32))
    other.head = nn.Identity()  # type: ignore[assignment]
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model(images).features, other((images - 0.5) / 0.5), atol=1e-4, rtol=1e-4)


def test_a_face_network_computes_what_the_recogniser_computes(faces: FaceBody, fresh_ir: TargetModel) -> None:
    model = with_trunk("ir152", faces.state_dict(), fresh_ir)
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model(images, ("layer4_0",)).taps["layer4_0"], faces(images), atol=1e-4, rtol=1e-4)


# --- files ------------------------------------------------------------------------------------------------------------


def test_resnet18_computes_what_torchvision_computes(
    save_resnet18: Save, resnet18: State, fresh_resnet18: TargetModel
) -> None:
    path = save_resnet18(resnet18)
    assert pretrained.weight_file("imagenet", "resnet18", path.parent) == path
    model = ARCHITECTURES.make("resnet18", {"stem": "imagenet"}).build(CLASSES, 64).eval()
    before = model(torch.ones(1, 3, 64, 64)).features
    state = pretrained.read_backbone("imagenet", "resnet18", path, model)
    assert torch.equal(model(torch.ones(1, 3, 64, 64)).features, before), "reading changes the model"
    model.blocks.load_state_dict(state)
    other = torchvision.models.resnet18(weights=None).eval()
    other.load_state_dict(resnet18)
    other.fc = nn.Identity()
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model(images).features, other((images - 0.5) / 0.5), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_output_of_a_face_network_keeps_its_own_weights(
    ending: str, faces: FaceBody, fresh_ir: TargetModel, tmp_path: Path
) -> None:
    path = tmp_path / f"backbone_ir152_ms1m_epoch_112{ending}"
    (save_file if ending == ".safetensors" else torch.save)(faces.state_dict(), path)
    assert pretrained.weight_file("ms1m", "ir152", tmp_path) == path
    state = pretrained.read_backbone("ms1m", "ir152", path, fresh_ir)
    assert state.keys() == fresh_ir.blocks.state_dict().keys()
    for name, tensor in fresh_ir.blocks.state_dict().items():
        assert torch.equal(state[name], tensor) == (name.startswith("output.") or name.endswith("tracked")), name


def test_a_published_file_has_the_digits_and_the_size_that_torchvision_states() -> None:
    for ours, theirs in IMAGENET.items():
        stated = torchvision.models.get_model_weights(theirs)["IMAGENET1K_V1"]
        file = pretrained.published_file("imagenet", ours)
        assert (file.source, file.size_mib) == (stated.url, stated.meta["_file_size"])
        assert file.name == f"{file.name.partition('-')[0]}-{file.sha256}.pth" and len(file.sha256) == 8
    bodies = [pretrained.published_file("ms1m", name) for name in MS1M]
    assert bodies[0] == bodies[1] and {file.sha256 for file in bodies} == {""}, "nothing is stated of these"


def test_file_names_are_those_that_torchvision_states(tmp_path: Path) -> None:
    with pytest.raises(PreflightError) as caught:
        pretrained.weight_file("imagenet", "vgg16", tmp_path)
    assert str(caught.value) == (
        f"imagenet weights of vgg16: no file vgg16_bn-6c64b313.pth in {tmp_path}; "
        "get it from https://download.pytorch.org/models/vgg16_bn-6c64b313.pth and put it there, "
        "or name another folder in $MIDEF_WEIGHTS"
    )
    (tmp_path / "resnet152-394f9c45.pth").touch()
    (tmp_path / "resnet152-f82ba261.pth").touch()  # the second version, which the works compared with did not have
    assert pretrained.weight_file("imagenet", "resnet152", tmp_path).name == "resnet152-394f9c45.pth"


@pytest.mark.parametrize("name", ["backbone_ir50_ms1m_epoch120.pth", "backbone_ir50_ms1m_epoch63.safetensors"])
def test_a_face_body_is_found_by_the_beginning_of_its_name(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    (tmp_path / "backbone_ir50_ms1m_epoch120.txt").touch()
    (tmp_path / "backbone_ir152_ms1m.pth").touch()
    assert pretrained.weight_file("ms1m", "facenet64", tmp_path).name == name
    assert pretrained.weight_file("ms1m", "facenet112", tmp_path).name == name


def test_a_missing_face_body_names_all_beginnings(tmp_path: Path) -> None:
    names = [f"{begin}*{end}" for begin in ("backbone_ir152_ms1m", "Backbone_IR_152_Epoch_112") for end in ENDINGS]
    expected = f"no file {' or '.join(names)} in {tmp_path / 'nowhere'}; get it from the model zoo of Face.evoLVe"
    with pytest.raises(PreflightError, match=re.escape(expected)):
        pretrained.weight_file("ms1m", "ir152", tmp_path / "nowhere")


def test_two_face_bodies_are_one_too_many(tmp_path: Path) -> None:
    for epoch in (63, 120):
        (tmp_path / f"backbone_ir50_ms1m_epoch{epoch}.pth").touch()
    with pytest.raises(PreflightError, match=r"backbone_ir50_ms1m_epoch120\.pth, .*63\.pth; keep one of them there"):
        pretrained.weight_file("ms1m", "facenet64", tmp_path)


@pytest.mark.parametrize(
    ("weights", "architecture", "message"),
    [
        ("imagenot", "vgg16", "no published weights are called 'imagenot'; did you mean 'imagenet'"),
        ("imagenet", "vgg16_tiny", "no imagenet weights are published for 'vgg16_tiny'; did you mean 'vgg16'"),
        ("imagenet", "mobilefacenet", "no imagenet weights are published for 'mobilefacenet', which has ms1m alone"),
        ("ms1m", "resnet18", "no ms1m weights are published for 'resnet18'; .*Known: facenet112, facenet64, ir152"),
    ],
)
def test_weights_nobody_published_are_refused(weights: str, architecture: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=message):
        pretrained.weight_file(weights, architecture, tmp_path)
    (problem,) = pretrained.misfits(weights, ARCHITECTURES.make(architecture), 64)
    assert re.match(message, problem)


def test_the_folder_is_named_by_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MIDEF_WEIGHTS", str(tmp_path))
    assert pretrained.weights_folder() == tmp_path
    monkeypatch.delenv("MIDEF_WEIGHTS")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert pretrained.weights_folder() == tmp_path / ".cache" / "midef" / "weights"


# --- what is wrong ----------------------------------------------------------------------------------------------------


def test_another_content_than_the_name_says_is_refused(save_resnet18: Save, fresh_resnet18: TargetModel) -> None:
    path = save_resnet18({"fc.bias": torch.zeros(1000)})
    wanted = path.stem.rpartition("-")[2]
    with path.open("r+b") as file:
        file.seek(1000)
        file.write(b"another")
    came = sha256_of(path)
    assert came == hashlib.sha256(path.read_bytes()).hexdigest() and not came.startswith(wanted)
    with pytest.raises(DataError, match=f"damaged or another file: its sha256 begins with {came[:8]}, {wanted} is exp"):
        pretrained.read_backbone("imagenet", "resnet18", path, fresh_resnet18)


def test_everything_that_does_not_fit_is_named(
    save_resnet18: Save, resnet18: State, fresh_resnet18: TargetModel
) -> None:
    published = dict(resnet18)
    del published["layer3.1.conv2.weight"], published["layer1.0.bn1.num_batches_tracked"]
    published["layer4.0.downsample.1.bias"] = torch.zeros(7)
    published["layer9.weight"] = torch.zeros(1)
    path = save_resnet18(published)
    with pytest.raises(DataError) as caught:
        pretrained.read_backbone("imagenet", "resnet18", path, fresh_resnet18)
    assert str(caught.value).split("\n  ") == [
        f"{path} does not hold the imagenet weights of resnet18: it",
        "misses layer3.1.conv2.weight, our layer3_1.conv2.weight",
        "has layer4.0.downsample.1.bias with 7, our layer4_0.downsample.1.bias has 512",
        "has layer9.weight, which this network has not",
    ]


@pytest.mark.parametrize(
    ("name", "stem", "conv"),
    [("resnet18", "auto", "conv1"), ("resnet18", "strided", "conv1"), ("densenet121", "small", "features.conv0")],
)
def test_a_small_stem_is_told_to_be_imagenets(name: str, stem: str, conv: str) -> None:
    with torch.device("meta"):
        other = torchvision.models.get_model(name, weights=None)
    _, problems = pretrained.matched(name, other.state_dict(), on_paper(name, 64, stem=stem))
    fitting = "the published network has the stem of 224 px; choose stem=imagenet"
    assert problems == [f"has {conv}.weight with 64x3x7x7, our stem.0.weight has 64x3x3x3; {fitting}"]
    assert pretrained.misfits("imagenet", ARCHITECTURES.make(name, {"stem": stem}), 64) == [
        f"imagenet weights do not fit {name} with stem '{stem}' at 64 px; {fitting}"
    ]
    assert pretrained.misfits("imagenet", ARCHITECTURES.make(name, {"stem": "imagenet"}), 64) == []


def test_positions_of_another_resolution_are_refused() -> None:
    with torch.device("meta"):
        other = torchvision.models.vit_b_16(weights=None)
    _, problems = pretrained.matched("vit_b16", other.state_dict(), on_paper("vit_b16", 64))
    fitting = "the published positions are those of 224 px; choose resolution_px=224"
    sizes = "has encoder.pos_embedding with 1x197x768, our stem.pos_embedding has 1x17x768"
    assert problems == [f"{sizes}; {fitting}"]
    vit = ARCHITECTURES.make("vit_b16")
    assert pretrained.misfits("imagenet", vit, 224) == []
    assert pretrained.misfits("imagenet", vit, 64)[0].endswith("choose resolution_px=224")


class Runs:
    """Executes something when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("loaded",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.zeros(1)], "holds no table of tensors, got list"),
        ({"epoch": 120}, r"holds no table of tensors, got dict of epoch \(int\); save the network's tensors alone"),
        ({"net": {}, "model": {"a": torch.zeros(1)}}, "holds several tables of tensors, model, net; save the network"),
        ({"G": {"a": torch.zeros(1)}}, r"holds no table of tensors, got dict of G \(dict\)"),
        (Runs(), "cannot be read as weights: it holds Python objects beside tensors, or is damaged; fetch it again"),
    ],
    ids=["list", "numbers", "two tables", "a table of another name", "code"],
)
def test_a_file_with_something_else_is_refused(
    content: Any, message: str, fresh_ir: TargetModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "backbone_ir152_ms1m.pth"
    torch.save(content, path)
    with pytest.raises(DataError, match=message) as caught:
        pretrained.read_backbone("ms1m", "ir152", path, fresh_ir)
    assert len(str(caught.value).splitlines()) == 1 and "weights_only" not in str(caught.value)
    assert capsys.readouterr().out == "", "the file was executed"


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("kept", [0, 0.5], ids=["empty", "half"])
def test_a_file_cut_short_is_refused(
    ending: str, kept: float, faces: FaceBody, fresh_ir: TargetModel, tmp_path: Path
) -> None:
    path = tmp_path / f"backbone_ir152_ms1m{ending}"
    (save_file if ending == ".safetensors" else torch.save)(faces.state_dict(), path)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(DataError, match=r"(?s)cannot be read as weights: .*; fetch it again"):
        pretrained.read_backbone("ms1m", "ir152", path, fresh_ir)


@pytest.mark.parametrize(
    "keep",
    [
        lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
        lambda state: {"epoch": 120, "state_dict": state, "optimizer": {"lr": 0.1}},
        lambda state: {"model": {f"module.backbone.{name}": tensor for name, tensor in state.items()}},
        lambda state: {"state_dict": {"net": {f"_orig_mod.{name}": tensor for name, tensor in state.items()}}},
    ],
    ids=["DataParallel", "beside an epoch", "nested and wrapped", "twice nested"],
)
def test_a_checkpoint_as_people_have_it_is_read(
    keep: Callable[[State], Any], faces: FaceBody, fresh_ir: TargetModel, tmp_path: Path
) -> None:
    plain, kept = tmp_path / "backbone_ir152_ms1m_plain.pth", tmp_path / "backbone_ir152_ms1m_kept.pth"
    torch.save(faces.state_dict(), plain)
    torch.save(keep(faces.state_dict()), kept)
    expected = pretrained.read_backbone("ms1m", "ir152", plain, fresh_ir)
    state = pretrained.read_backbone("ms1m", "ir152", kept, fresh_ir)
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_tensor_that_is_no_number_is_named(
    ending: str, value: float, faces: FaceBody, fresh_ir: TargetModel, tmp_path: Path
) -> None:
    state = faces.state_dict()
    state["input_layer.0.weight"].view(-1)[7] = value
    path = tmp_path / f"backbone_ir152_ms1m{ending}"
    (save_file if ending == ".safetensors" else torch.save)(state, path)
    with pytest.raises(DataError, match=r"damaged: stem\.0\.weight holds numbers that are not finite; fetch it again"):
        pretrained.read_backbone("ms1m", "ir152", path, fresh_ir)


def test_a_number_too_large_for_our_weights_is_none(faces: FaceBody, fresh_ir: TargetModel, tmp_path: Path) -> None:
    state = {name: tensor.double() if "bias" in name else tensor for name, tensor in faces.state_dict().items()}
    state["input_layer.1.bias"][0] = 1e300
    torch.save(state, path := tmp_path / "backbone_ir152_ms1m.pth")
    with pytest.raises(DataError, match=r"stem\.1\.bias holds numbers that are not finite"):
        pretrained.read_backbone("ms1m", "ir152", path, fresh_ir)


def test_a_file_of_other_names_gives_a_few_lines(faces: FaceBody, fresh_ir: TargetModel, tmp_path: Path) -> None:
    path = tmp_path / "backbone_ir152_ms1m.pth"
    state = faces.state_dict()
    torch.save({f"iresnet/{name}": tensor for name, tensor in state.items()}, path)
    with pytest.raises(DataError) as caught:
        pretrained.read_backbone("ms1m", "ir152", path, fresh_ir)
    (line,) = str(caught.value).splitlines()
    assert "it has iresnet/input_layer.0.weight, iresnet/input_layer.1.weight, iresnet/input_layer.1.bias and " in line
    assert "more where input_layer.0.weight, input_layer.1.weight, input_layer.1.bias and " in line
    assert line.endswith("are expected; rename its tensors, or get the published file")

    torch.save({name: tensor for name, tensor in state.items() if name.startswith("input")}, path)
    with pytest.raises(DataError) as caught:
        pretrained.read_backbone("ms1m", "ir152", path, fresh_ir)
    lines = str(caught.value).splitlines()
    assert len(lines) == 5 and lines[1] == "  misses body.0.res_layer.0.weight, our layer1_0.residual.0.weight"
    assert re.fullmatch(r"  and \d+ more of this kind", lines[4])


def test_integers_in_the_place_of_weights_are_refused(faces: FaceBody, fresh_ir: TargetModel, tmp_path: Path) -> None:
    state = {**faces.state_dict(), "input_layer.1.bias": torch.zeros(16, dtype=torch.int64)}
    torch.save(state, path := tmp_path / "backbone_ir152_ms1m.pth")
    message = r"has input_layer\.1\.bias as torch\.int64, our stem\.1\.bias is torch\.float32"
    with pytest.raises(DataError, match=message):
        pretrained.read_backbone("ms1m", "ir152", path, fresh_ir)
