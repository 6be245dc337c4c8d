"""Files that look like published StyleGAN2s, of 16 px."""

from __future__ import annotations

import io
import pickle
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from midef.attacks.priors.networks.style_gan2_layers import TAPS
from midef.attacks.priors.published import files
from midef.attacks.priors.published.shape import StyleShape

SHAPE = StyleShape(
    resolution_px=16,
    channel_base=64,
    channel_max=6,
    conv_clamp=256.0,
    latent_dim=8,
    mapping_layers=3,
    group=2,
)


@pytest.fixture(autouse=True)
def small_originals(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Published ones draw 16 px here, and their converted files are expected in an empty folder."""
    small = {name: replace(known, resolution_px=16) for name, known in files.PUBLISHED.items()}
    for name, known in small.items():
        monkeypatch.setitem(files.PUBLISHED, name, known)  # type: ignore[arg-type]
    monkeypatch.setenv("MIDEF_WEIGHTS", str(tmp_path / "weights"))


@pytest.fixture
def networks() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    generator = SHAPE.generator()
    generator.mapping.w_avg.normal_()
    for name, parameter in generator.named_parameters():
        if name.endswith(("bias", "noise_strength")):
            parameter.data.normal_()
    return {"generator": generator.eval(), "discriminator": SHAPE.discriminator().eval()}


def taps() -> torch.Tensor:
    taps = torch.tensor(TAPS)
    return taps[:, None] * taps / 64


class Persistent:
    """A layer as NVIDIA pickles it: the call of a hook with the source of its class and its attributes."""

    def __init__(self, class_name: str, state: dict[str, Any], source: str) -> None:
        self.class_name, self.state, self.source = class_name, state, source

    def __reduce__(self) -> tuple[Any, ...]:
        hook = sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj
        meta = {
            "type": "class",
            "version": 6,
            "module_src": self.source,
            "class_name": self.class_name,
            "state": self.state,
        }
        return hook, (meta,)


@pytest.fixture
def publisher() -> Iterator[dict[str, Any]]:
    """NVIDIA's modules, there while a file is written; what its hook runs is kept in the list `ran`."""
    ran: list[str] = []
    persistence, util = ModuleType("torch_utils.persistence"), ModuleType("dnnlib.util")

    def _reconstruct_persistent_obj(meta: Any) -> None:
        ran.append(meta["module_src"])

    class EasyDict(dict):  # type: ignore[type-arg]
        pass

    for made, module in ((_reconstruct_persistent_obj, persistence), (EasyDict, util)):
        made.__module__, made.__qualname__ = module.__name__, made.__name__
        setattr(module, made.__name__, made)
    modules = {
        "torch_utils": ModuleType("torch_utils"),
        "torch_utils.persistence": persistence,
        "dnnlib": ModuleType("dnnlib"),
        "dnnlib.util": util,
    }
    sys.modules |= modules
    yield {"ran": ran, "EasyDict": EasyDict}
    for name in modules:
        del sys.modules[name]


Edit = Callable[[dict[str, Any]], None]


def pickled(network: nn.Module, publisher: dict[str, Any], clamp: float | None = None) -> Persistent:
    """A network in the form that is pickled; layers that filter hold their filter."""
    state: dict[str, Any] = {
        "training": False,
        "_init_args": [],
        "_init_kwargs": publisher["EasyDict"](img_resolution=16),
        "_parameters": OrderedDict(network._parameters),
        "_buffers": OrderedDict(network._buffers),
        "_non_persistent_buffers_set": set(),
        "_backward_hooks": OrderedDict(),
        "_modules": OrderedDict(),
        "conv_clamp": getattr(network, "clamp", clamp),
        "weight_gain": np.float64(0.5),
    }
    for name, child in network.named_children():
        state["_modules"][name] = pickled(child, publisher, state["conv_clamp"])
        if name.startswith(("b", "conv0")):
            state["_modules"][name].state["_buffers"]["resample_filter"] = taps()
    return Persistent(type(network).__name__, state, "raise SystemExit('this source was run')")


@pytest.fixture
def nvidia(publisher: dict[str, Any], networks: dict[str, nn.Module], tmp_path: Path) -> Callable[..., Path]:
    """Writes a pickle by NVIDIA; `edit` changes what is in it before."""

    def write(edit: Edit | None = None, name: str = "ffhq.pkl") -> Path:
        content: dict[str, Any] = {
            "G": None,
            "D": pickled(networks["discriminator"], publisher),
            "G_ema": pickled(networks["generator"], publisher),
            "training_set_kwargs": publisher["EasyDict"](path="ffhq.zip"),
            "augment_pipe": None,
        }
        judge_end = content["D"].state["_modules"]["b4"]
        judge_end.state["_modules"]["mbstd"] = Persistent("MinibatchStdLayer", {"group_size": 2}, "")
        if edit is not None:
            edit(content)
        path = tmp_path / name
        stream = io.BytesIO()
        pickle.dump(content, stream, protocol=3)
        path.write_bytes(stream.getvalue())
        return path

    return write
