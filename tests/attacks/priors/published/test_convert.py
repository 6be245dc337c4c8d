"""Conversion of published StyleGAN2s: the same numbers under the same names, and nothing in a file runs."""

from __future__ import annotations

import argparse
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from midef.attacks.priors.networks.style_gan2 import StyleGenerator
from midef.attacks.priors.published import convert as conversion
from midef.attacks.priors.published import rosinality
from midef.attacks.priors.published.convert import convert
from midef.attacks.priors.published.files import file_of
from midef.attacks.priors.published.pickles import Module
from midef.attacks.priors.published.shape import StyleShape
from midef.core.errors import DataError, SpecError

Write = Callable[..., Path]
Nets = dict[str, nn.Module]


def test_a_pickle_by_nvidia_becomes_the_same_networks(nvidia: Write, networks: Nets, tmp_path: Path) -> None:
    written, name = convert(nvidia(), tmp_path / "out")
    assert name == "ffhq"
    assert [path.name for path in written] == [file_of("ffhq", "generator"), file_of("ffhq", "discriminator")]
    for path, (kind, network) in zip(written, networks.items(), strict=True):
        state = load_file(path)
        assert set(state) == set(network.state_dict()), "no filters, nothing else"
        assert all(torch.equal(state[key], value) for key, value in network.state_dict().items())
        with safe_open(path, framework="pt") as file:
            about = file.metadata()
        shape = StyleShape.of_metadata(about)
        assert (shape.resolution_px, shape.channel_base, shape.channel_max, shape.conv_clamp) == (16, 64, 6, 256.0)
        assert about["kind"] == kind and about["preset"] == "ffhq" and "NVIDIA Source Code License" in about["licence"]
        assert len(about["source_sha256"]) == 64 and about["source"].startswith("https://")
    of_generator, of_judge = (StyleShape.of_metadata(safe_open(p, framework="pt").metadata()) for p in written)
    assert (of_generator.latent_dim, of_generator.mapping_layers) == (8, 3) and of_judge.group == 2


def test_the_source_in_a_pickle_is_never_run(nvidia: Write, publisher: dict[str, Any], tmp_path: Path) -> None:
    path = nvidia()
    with path.open("rb") as file:
        pickle.load(file)  # noqa: S301  # as everybody reads it: the hook is called with the source
    assert publisher["ran"] and "this source was run" in publisher["ran"][-1]
    publisher["ran"].clear()
    convert(path, tmp_path / "out")
    assert publisher["ran"] == []


class Evil:
    """Unpickled by the usual reader, it writes a file."""

    def __init__(self, call: tuple[Any, ...]) -> None:
        self.call = call

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call[0], self.call[1:]


@pytest.mark.parametrize(
    ("call", "named"),
    [
        ((os.system,), f"{os.system.__module__}.system"),
        ((eval,), "builtins.eval"),
        ((getattr, "x"), "builtins.getattr"),
        ((torch.load,), "torch.serialization.load"),
    ],
    ids=["system", "eval", "getattr", "load"],
)
def test_a_name_that_no_network_needs_is_refused_and_nothing_runs(
    nvidia: Write, tmp_path: Path, call: tuple[Any, ...], named: str
) -> None:
    marker = tmp_path / "marker"
    texts = {os.system: f"touch {marker}", eval: f"open({str(marker)!r}, 'w')"}

    def plant(content: dict[str, Any]) -> None:
        content["augment_pipe"] = Evil((*call, texts.get(call[0], "y")))

    path = nvidia(plant)
    with pytest.raises(DataError, match=f"names {named}, which is none of .*nothing of it was run"):
        convert(path, tmp_path / "out")
    assert not marker.exists() and not (tmp_path / "out").exists()


def test_the_hidden_storage_of_a_tensor_is_read_without_running_anything(nvidia: Write, tmp_path: Path) -> None:
    """torch's loader of storages unpickles bytes: what is in those must be refused, too."""
    marker = tmp_path / "marker"
    inner = pickle.dumps(Evil((os.system, f"touch {marker}")), protocol=2)

    def plant(content: dict[str, Any]) -> None:
        content["augment_pipe"] = Evil((torch.storage._load_from_bytes, inner))

    with pytest.raises(DataError, match="cannot be read as a pickle of networks"):
        convert(nvidia(plant), tmp_path / "out")
    assert not marker.exists()


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
@pytest.mark.parametrize(("size", "stride"), [((5,), (1,)), ((3, 2), (0, 1))], ids=["beyond", "the same numbers again"])
def test_a_tensor_must_fit_into_its_storage(
    nvidia: Write, tmp_path: Path, size: tuple[int, ...], stride: tuple[int, ...]
) -> None:
    storage = torch.zeros(4).storage()

    def plant(content: dict[str, Any]) -> None:
        content["augment_pipe"] = Evil((torch._utils._rebuild_tensor_v2, storage, 0, size, stride, False, None))

    with pytest.raises(DataError, match=r"a tensor \[[532, ]+\] is larger than its storage of 4 numbers"):
        convert(nvidia(plant), tmp_path / "out")


def test_layers_that_stand_in_several_places_are_refused_however_many_ways_lead_to_them() -> None:
    """Twelve levels of two: 4096 ways to one layer; of fifty, more than anybody can walk."""
    layer = Module("Layer")
    for _ in range(12):
        layer = Module("Layer", {"_modules": {"a": layer, "b": layer}})
    with pytest.raises(DataError, match="a layer stands in several places; this is no network"):
        layer.tensors()
    deep = Module("Layer")
    for _ in range(5000):
        deep = Module("Layer", {"_modules": {"a": deep}})
    with pytest.raises(DataError, match="layers lie deeper in each other than in any network"):
        deep.tensors()


def test_a_storage_is_made_of_bytes_not_of_their_number(nvidia: Write, tmp_path: Path) -> None:
    def plant(content: dict[str, Any]) -> None:
        content["augment_pipe"] = Evil((torch.storage._load_from_bytes, 10))

    with pytest.raises(DataError, match="bytes of a storage are expected, it holds int"):
        convert(nvidia(plant), tmp_path / "out")


def test_files_of_tensorflow_and_damaged_files_are_refused_with_advice(tmp_path: Path) -> None:
    path = tmp_path / "ffhq.pkl"
    path.write_bytes(b"cdnnlib.tflib.network\nNetwork\n.")
    with pytest.raises(DataError, match="a network of TensorFlow, which is not supported"):
        convert(path, tmp_path)
    path.write_bytes(b"\x80\x03}q")
    with pytest.raises(DataError, match="cannot be read as a pickle of networks"):
        convert(path, tmp_path)
    path.write_bytes(pickle.dumps({"G": 1}))
    with pytest.raises(DataError, match="holds G where the networks G_ema and D are expected"):
        convert(path, tmp_path)


@pytest.mark.parametrize("content", [b"", b"abc", b"\x80\x02}q", b"PK\x03\x04 and no more"], ids=str)
def test_damaged_files_by_rosinality_are_refused_with_advice(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "550000.pt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"550000\.pt .*etch it again"):
        convert(path, tmp_path / "out")


def test_a_file_in_place_of_the_folder_is_refused_before_anything_is_read(nvidia: Write, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(SpecError, match="out is a file; name the folder of published weights"):
        convert(nvidia(), tmp_path / "out")


def inside(content: dict[str, Any], *path: str) -> dict[str, Any]:
    here = content[path[0]]
    for name in path[1:]:
        here = here.state["_modules"][name]
    state: dict[str, Any] = here.state
    return state


def _class_conditional(content: dict[str, Any]) -> None:
    inside(content, "G_ema", "mapping")["_buffers"]["embed"] = torch.zeros(3)


def _other_filter(content: dict[str, Any]) -> None:
    inside(content, "G_ema", "synthesis", "b8")["_buffers"]["resample_filter"] = torch.ones(4, 4) / 16


def _other_architecture(content: dict[str, Any]) -> None:
    inside(content, "G_ema", "synthesis", "b8")["architecture"] = "resnet"


def _a_layer_too_few(content: dict[str, Any]) -> None:
    del inside(content, "D", "b8")["_modules"]["skip"]


def _another_width(content: dict[str, Any]) -> None:
    layer = inside(content, "G_ema", "synthesis", "b16", "conv0")
    layer["_parameters"]["weight"] = torch.zeros(4, 5, 3, 3)


def _no_number(content: dict[str, Any]) -> None:
    inside(content, "G_ema", "mapping")["_buffers"]["w_avg"] = torch.full((8,), torch.nan)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (_class_conditional, "it has mapping.embed"),
        (_other_filter, "synthesis.b8.resample_filter is another low-pass filter"),
        (_other_architecture, "architecture resnet, not skip"),
        (_a_layer_too_few, "another discriminator than StyleGAN2's: it misses b8.skip.weight"),
        (_another_width, r"synthesis.b16.conv0.weight \(4x5x3x3 in place of 4x6x3x3\)"),
        (_no_number, "mapping.w_avg holds numbers that are not finite"),
    ],
)
def test_a_network_that_is_not_quite_this_one_is_refused(nvidia: Write, tmp_path: Path, edit: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        convert(nvidia(edit), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_it_must_be_clear_which_one_it_is(nvidia: Write, tmp_path: Path) -> None:
    path = nvidia(name="network-snapshot.pkl")
    with pytest.raises(SpecError, match=r"which one network-snapshot.pkl is.*Known: afhq-dog, ffhq"):
        convert(path, tmp_path / "out")
    assert convert(path, tmp_path / "out", "metfaces")[1] == "metfaces"


def test_a_file_of_the_right_name_is_whole(nvidia: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(state: Any, path: Path, metadata: Any) -> None:
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("safetensors.torch.save_file", half)
    with pytest.raises(OSError, match="disk full"):
        convert(nvidia(), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


# --- rosinality -------------------------------------------------------------------------------------------------------


def as_rosinality(networks: Nets) -> dict[str, Any]:
    """The same networks under rosinality's names and in its shapes, with the buffers it has beside."""
    state = networks["generator"].state_dict()
    generator: dict[str, Tensor] = {"convs.0.conv.blur.kernel": torch.zeros(4, 4)}
    for ours, theirs in rosinality.generator_names(3, 3).items():
        tensor = state[ours]
        if theirs.endswith("conv.weight") or theirs == "input.input":
            tensor = tensor[None]
        elif theirs.startswith("noises"):
            tensor = tensor[None, None]
        elif theirs.endswith("noise.weight"):
            tensor = tensor[None]
        elif theirs.startswith("to_rgb") and theirs.endswith("1.bias" if "rgb1" in theirs else ".bias"):
            tensor = tensor[None, :, None, None] if tensor.shape == (3,) else tensor
        generator[theirs] = tensor
    judged = networks["discriminator"].state_dict()
    discriminator = {theirs: judged[ours] for ours, theirs in rosinality.discriminator_names(16).items()}
    return {
        "g_ema": generator,
        "d": discriminator,
        "latent_avg": state["mapping.w_avg"],
        "args": argparse.Namespace(size=16),
    }


def test_names_by_rosinality_map_there_and_back(networks: Nets) -> None:
    published = as_rosinality(networks)
    assert published["g_ema"]["input.input"].shape == (1, 6, 4, 4)
    assert published["g_ema"]["to_rgb1.bias"].shape == published["g_ema"]["to_rgbs.1.bias"].shape == (1, 3, 1, 1)
    assert published["g_ema"]["noises.noise_4"].shape == (1, 1, 16, 16)
    assert published["g_ema"]["convs.2.conv.weight"].shape == (1, 4, 6, 3, 3)
    back = rosinality.of_generator(published["g_ema"], published["latent_avg"])
    state = networks["generator"].state_dict()
    assert set(back) == set(state) and all(torch.equal(back[name], state[name]) for name in state)
    back = rosinality.of_discriminator(published["d"])
    state = networks["discriminator"].state_dict()
    assert set(back) == set(state) and all(torch.equal(back[name], state[name]) for name in state)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("mapping.fc0.weight", "style.1.weight"),
        ("synthesis.b4.conv1.weight", "conv1.conv.weight"),
        ("synthesis.b4.conv1.noise_const", "noises.noise_0"),
        ("synthesis.b4.torgb.affine.bias", "to_rgb1.conv.modulation.bias"),
        ("synthesis.b8.conv0.bias", "convs.0.activate.bias"),
        ("synthesis.b8.conv1.noise_strength", "convs.1.noise.weight"),
        ("synthesis.b8.conv0.noise_const", "noises.noise_1"),
        ("synthesis.b16.conv1.noise_const", "noises.noise_4"),
        ("synthesis.b256.conv1.weight", "convs.11.conv.weight"),
        ("synthesis.b256.torgb.bias", "to_rgbs.5.bias"),
    ],
)
def test_some_names_by_rosinality(ours: str, theirs: str) -> None:
    assert rosinality.generator_names(7, 8)[ours] == theirs


def test_all_names_of_a_discriminator_by_rosinality() -> None:
    """Golden, of github rosinality/stylegan2-pytorch, model.py: what its layers are called at 16 px."""
    blocks = {
        f"{ours}.{part}": f"convs.{number}.{theirs}"
        for number, ours in ((1, "b16"), (2, "b8"))
        for part, theirs in (
            ("conv0.weight", "conv1.0.weight"),
            ("conv0.bias", "conv1.1.bias"),
            ("conv1.weight", "conv2.1.weight"),
            ("conv1.bias", "conv2.2.bias"),
            ("skip.weight", "skip.1.weight"),
        )
    }
    assert rosinality.discriminator_names(16) == {
        "b16.fromrgb.weight": "convs.0.0.weight",
        "b16.fromrgb.bias": "convs.0.1.bias",
        **blocks,
        "b4.conv.weight": "final_conv.0.weight",
        "b4.conv.bias": "final_conv.1.bias",
        "b4.fc.weight": "final_linear.0.weight",
        "b4.fc.bias": "final_linear.0.bias",
        "b4.out.weight": "final_linear.1.weight",
        "b4.out.bias": "final_linear.1.bias",
    }


@pytest.mark.parametrize(
    ("part", "value"), [("g_ema", 3), ("d", torch.zeros(2)), ("g_ema", {"style.1.weight": 3})], ids=["g", "d", "value"]
)
def test_a_file_by_rosinality_that_holds_no_tensors_by_name_is_refused(
    networks: Nets, tmp_path: Path, part: str, value: Any
) -> None:
    path = tmp_path / "550000.pt"
    torch.save({**as_rosinality(networks), part: value}, path)
    with pytest.raises(DataError, match=f"550000.pt holds no tensors by name as {part}"):
        convert(path, tmp_path / "out")


def test_a_file_by_rosinality_becomes_the_same_networks(networks: Nets, tmp_path: Path) -> None:
    path = tmp_path / "550000.pt"
    torch.save(as_rosinality(networks), path)
    written, name = convert(path, tmp_path / "out")
    assert name == "ffhq-256"
    state = load_file(written[0])
    assert all(torch.equal(state[key], value) for key, value in networks["generator"].state_dict().items())
    with safe_open(written[0], framework="pt") as file:
        assert StyleShape.of_metadata(file.metadata()).conv_clamp is None


def test_a_mean_that_a_file_lacks_is_computed(networks: Nets, tmp_path: Path) -> None:
    path, content = tmp_path / "550000.pt", as_rosinality(networks)
    del content["latent_avg"]
    torch.save(content, path)
    found = load_file(convert(path, tmp_path / "out")[0][0])["mapping.w_avg"]
    with torch.no_grad():
        w = networks["generator"].get_submodule("mapping")(torch.randn(50_000, 8))
    assert torch.allclose(found, w.mean(dim=0), atol=0.02) and w.mean(dim=0).abs().max() > 0.1


def test_objects_in_a_file_by_rosinality_are_refused_and_not_run(networks: Nets, tmp_path: Path) -> None:
    marker, path = tmp_path / "marker", tmp_path / "550000.pt"
    torch.save({**as_rosinality(networks), "args": Evil((os.system, f"touch {marker}"))}, path)
    with pytest.raises(DataError, match="other things than tensors; nothing of it was run"):
        convert(path, tmp_path / "out")
    assert not marker.exists()
    torch.save({"g_ema": {}}, path)
    with pytest.raises(DataError, match="holds g_ema, where g_ema, d are expected"):
        convert(path, tmp_path / "out")
    content = as_rosinality(networks)
    content["g_ema"]["convs.9.conv.weight"] = content["g_ema"].pop("convs.3.conv.weight")
    torch.save(content, path)
    with pytest.raises(DataError, match=r"generator misses convs.3.conv.weight and has convs.9.conv.weight"):
        convert(path, tmp_path / "out")


def test_scaled_convolutions_of_rosinality_give_the_same_pictures(networks: Nets) -> None:
    """It multiplies weights of convolutions by 1 / sqrt(fan-in); demodulation undoes that."""
    generator = networks["generator"]
    assert isinstance(generator, StyleGenerator)
    ws = generator.styles(generator.mapping(torch.randn(2, 8)))
    before = generator.synthesis(ws)
    with torch.no_grad():
        for name, parameter in generator.named_parameters():
            if name.endswith(("conv0.weight", "conv1.weight")):
                parameter /= parameter[0].numel() ** 0.5
    assert torch.allclose(generator.synthesis(ws), before, atol=1e-4)
    assert conversion.KINDS == ("generator", "discriminator")
