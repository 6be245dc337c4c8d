from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from midef.core.errors import DataError
from midef.nn.weights import not_finite, read_stored, read_tensors, unwrapped


def test_a_beginning_that_only_some_names_have_stays() -> None:
    table = {"module.a": torch.zeros(1), "b": torch.zeros(1)}
    assert list(unwrapped(table)) == ["module.a", "b"]
    assert unwrapped({}) == {}


def test_tensors_that_are_no_numbers_are_named() -> None:
    tensors = {
        "whole": torch.tensor([2**62]),
        "good": torch.ones(2),
        "nan": torch.tensor([1.0, float("nan")]),
        "infinite": torch.tensor([float("-inf")]),
    }
    assert not_finite(tensors) == ["nan", "infinite"]


def test_a_torch_file_that_unpacks_to_more_than_it_is_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch packs nothing: a packed member is a file made to fill the memory."""
    torch.save({"a": torch.zeros(1 << 20)}, plain := tmp_path / "plain.pth")
    assert read_tensors(plain)["a"].shape == (1 << 20,)
    packed = tmp_path / "packed.pth"
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for info in source.infolist():
            target.writestr(info.filename, source.read(info))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("the file was read"))
    with pytest.raises(DataError, match=r"data/0 unpacks to 4194304 bytes, more than the file is"):
        read_tensors(packed)


def test_a_stored_network_without_numbers_is_not_used(tmp_path: Path) -> None:
    """A store of earlier versions may hold one."""
    path = tmp_path / "model.safetensors"
    save_file({"head.bias": torch.tensor([0.0, 1.0])}, path)
    assert read_stored(path)["head.bias"].tolist() == [0, 1]
    save_file({"head.bias": torch.tensor([0.0, float("nan")])}, path)
    message = f"{path}: head.bias holds numbers that are not finite; delete the folder {tmp_path} and run again"
    with pytest.raises(DataError, match=re.escape(message)):
        read_stored(path)
