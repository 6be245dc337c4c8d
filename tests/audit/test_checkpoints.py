"""Files that people have: their tensors are found, and nothing in them runs."""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from midef.audit.checkpoints import read_checkpoint
from midef.core.errors import DataError, SpecError

STATE = OrderedDict(weight=torch.arange(6.0).reshape(2, 3), bias=torch.tensor([1.0, 2.0]))
OPTIMIZER = {
    "state": {0: {"exp_avg": torch.zeros(4, 4), "exp_avg_sq": torch.ones(4, 4)}},
    "param_groups": [{"lr": 0.1}],
}


@pytest.mark.parametrize(
    ("content", "table"),
    [
        (STATE, ""),
        ({"state_dict": STATE, "epoch": 3, "optimizer": OPTIMIZER}, "state_dict"),
        ({"model": STATE, "args": {"lr": 0.1}}, "model"),
        ({"model_state_dict": STATE, "optimizer_state_dict": OPTIMIZER, "loss": torch.tensor(0.5)}, "model_state_dict"),
        ({"checkpoint": {"net_of_ours": STATE, "epoch": 1}}, "checkpoint.net_of_ours"),
        ({**STATE, "epoch": 3}, ""),
    ],
)
def test_the_table_of_tensors_is_found_by_looking(tmp_path: Path, content: Any, table: str) -> None:
    torch.save(content, tmp_path / "my.pt")
    found = read_checkpoint(tmp_path / "my.pt")
    assert found.table == table
    assert found.tensors.keys() == STATE.keys()
    assert torch.equal(found.tensors["weight"], STATE["weight"])


def test_safetensors_are_read_whatever_the_file_is_called(tmp_path: Path) -> None:
    for name in ("my.safetensors", "my.bin"):
        save_file(dict(STATE), tmp_path / name)
        assert torch.equal(read_checkpoint(tmp_path / name).tensors["bias"], STATE["bias"])


def test_of_several_networks_none_is_guessed(tmp_path: Path) -> None:
    path = tmp_path / "my.pt"
    torch.save({"model": STATE, "model_ema": STATE}, path)
    with pytest.raises(SpecError, match=r"several networks: model \(2 tensors\), model_ema \(2 tensors\).*--table"):
        read_checkpoint(path)
    assert read_checkpoint(path, "model_ema").table == "model_ema"
    with pytest.raises(SpecError, match="did you mean 'model_ema'"):
        read_checkpoint(path, "model_em")


class _Traitor:
    """Writes a file where it is unpickled."""

    def __init__(self, where: Path) -> None:
        self.where = where

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.where, "it ran")


@pytest.mark.parametrize("how", ["torch", "legacy", "pickle", "module"])
def test_what_can_run_code_does_not_run_and_the_person_is_told_how(tmp_path: Path, how: str) -> None:
    ran, path = tmp_path / "ran", tmp_path / "my.pt"
    content = {"state_dict": STATE, "extra": _Traitor(ran)}
    if how == "pickle":
        path.write_bytes(pickle.dumps(content))
    elif how == "module":
        torch.save(nn.Linear(3, 2), path)
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == "torch")
    with pytest.raises(DataError, match="loading them runs code") as refused:
        read_checkpoint(path)
    assert "torch.load('my.pt', weights_only=False)" in str(refused.value)
    assert "midef.audit(" in str(refused.value)
    assert not ran.exists()
    if how == "module":
        assert "torch.nn.modules.linear.Linear" in str(refused.value)
    if how == "pickle":  # the trap works: whoever loads it as usual runs it
        pickle.loads(path.read_bytes())  # noqa: S301
        assert ran.read_text() == "it ran"


def test_a_torchscript_program_is_refused(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.trace(nn.Linear(3, 2), torch.zeros(1, 3)), tmp_path / "my.pt")
    with pytest.raises(DataError, match=r"TorchScript program, which runs code.*torch.jit.load\('my.pt'\)"):
        read_checkpoint(tmp_path / "my.pt")


def test_an_exported_program_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "my.pt2", "w") as archive:
        archive.writestr("my/archive_format", "pt2")
        archive.writestr("my/models/model.json", "{}")
    with pytest.raises(DataError, match=r"an exported program.*torch.export.load"):
        read_checkpoint(tmp_path / "my.pt2")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"weights of my network, version 3\n", "a text file that begins 'weights of my network"),
        (b"\n<!DOCTYPE html><html><body>Sign in</body></html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
        (b"\x1f\x8b\x08\x00" + bytes(100), "compressed"),
        (bytes(range(200, 256)) * 10, "cannot be read as weights|runs code"),
    ],
)
def test_any_other_file_is_named_for_what_it_is(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "my.pt").write_bytes(content)
    with pytest.raises(DataError, match=says) as refused:
        read_checkpoint(tmp_path / "my.pt")
    assert "my.pt" in str(refused.value)


def test_a_missing_file_a_folder_an_archive_and_a_list_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_checkpoint(tmp_path / "none.pt")
    with pytest.raises(DataError, match="is a folder"):
        read_checkpoint(tmp_path)
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("a.txt", "a")
    with pytest.raises(DataError, match=r"a zip archive of a\.txt"):
        read_checkpoint(tmp_path / "photos.zip")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(DataError, match="no table of tensors, got list"):
        read_checkpoint(tmp_path / "list.pt")
