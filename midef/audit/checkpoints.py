"""The tensors of a file that holds a trained network; nothing in the file is executed."""

from __future__ import annotations

import pickle
import pickletools
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midef.core.errors import DataError, SpecError, did_you_mean, few
from midef.core.lazy import torch
from midef.nn.weights import refuse_packed

if TYPE_CHECKING:
    from torch import Tensor

BY_HAND = (
    "if you trust where it comes from, load it in Python and hand over the module: "
    "`midef.audit(torch.{load}, private=..., public=...)`"
)
"""Ending of a refusal: the decision to run what is in a file stays with the person."""
_SAVE = "or save its tensors alone: `torch.save(network.state_dict(), path)`"
_DEEPEST = 4
_SMALL = 0.05
"""A table with less than this share of the numbers of the largest one is not taken for a network."""
_NOT_NETWORKS = ("optim", "sched", "scaler", "lr_")
"""Beginnings of the names under which a training keeps what is no network."""
_SHOWN = 4096


@dataclass(frozen=True)
class Checkpoint:
    """Tensors of a network as a file holds them.

    Args:
        tensors: by name, as written there.
        table: where in the file they stand, as `ema.state_dict`; "" where they are all it holds.
    """

    tensors: Mapping[str, Tensor]
    table: str = ""


def read_checkpoint(path: str | Path, table: str = "") -> Checkpoint:
    """The tensors of a .pt, .pth, .bin or .safetensors file.

    A table inside other things (an epoch, an optimizer) is found by looking; where there are several, all are named.

    Args:
        path: of the file.
        table: which one, where there are several, as the message names it.

    Raises:
        DataError: for what holds no tensors, or what runs code when it is loaded: what it is, and what to do instead.
        SpecError: where several tables could be meant, or none has the name.
    """
    path = Path(path).expanduser()
    refuse_other_files(path)
    content = _safetensors(path) if _is_safetensors(path) else _torch_file(path)
    found = dict(_tables(content))
    numbers = {name: sum(t.numel() for t in tensors.values()) for name, tensors in found.items()}
    if not found:
        raise DataError(f"{path} holds no table of tensors, got {_described(content)}; {_SAVE.removeprefix('or ')}")
    if table:
        if table not in found:
            raise SpecError(f"{path} has no table {table!r}; {did_you_mean(table, found)}")
        return Checkpoint(found[table], table)
    large = [name for name in found if numbers[name] >= _SMALL * max(numbers.values())]
    if len(large) > 1:
        listed = ", ".join(f"{name} ({len(found[name])} tensors)" for name in large)
        raise SpecError(f"{path} holds several networks: {listed}; say which with `--table` or `table=`")
    return Checkpoint(found[large[0]], large[0])


def refuse_other_files(path: Path) -> None:
    """Refuse a file that is no checkpoint, by its first bytes, before anything reads it.

    Raises:
        DataError: what it is, and what to do.
    """
    if path.is_dir():
        raise DataError(f"{path} is a folder; name the file with the weights in it")
    try:
        with path.open("rb") as file:
            start = file.read(_SHOWN)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    if not start:
        raise DataError(f"{path} is empty; fetch or save it again")
    if what := _other_format(start):
        raise DataError(f"{path} is {what}")


def _other_format(start: bytes) -> str:
    """What a file is that begins so, and what to do; "" for what may be a checkpoint."""
    begin = start.lstrip()[:200].lower()
    if begin.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page, not weights: a download that needs a login, or the page about the file; fetch the file"
    if start.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS, not the weights; run `git lfs pull` beside it"
    if start.startswith(b"\x89HDF"):
        return "an HDF5 file, as Keras writes it; midef audits networks in PyTorch"
    if start.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ")):
        return "a compressed file; unpack it and name the checkpoint inside"
    if start[257:262] == b"ustar":
        return "a tar archive; unpack it and name the checkpoint inside"
    if not _is_safetensors_start(start) and _is_text(start):
        return f"a text file that begins {start[:40].decode('utf-8', 'replace')!r}, not weights; name a checkpoint"
    return ""


def _is_text(start: bytes) -> bool:
    try:
        text = start.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(start) - 3:  # else a letter was cut
            return False
        text = start[: error.start].decode("utf-8")
    return all(letter.isprintable() or letter in "\r\n\t\f" for letter in text)


def _is_safetensors_start(start: bytes) -> bool:
    """Eight bytes that say how long the table of contents is, and that table, which is JSON."""
    return len(start) > 9 and start[8:9] == b"{" and int.from_bytes(start[:8], "little") < 2**31


def _is_safetensors(path: Path) -> bool:
    if path.suffix == ".safetensors":
        return True
    with path.open("rb") as file:
        return _is_safetensors_start(file.read(16))


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as safetensors: {error}; fetch it again") from error
    return tensors


def _torch_file(path: Path) -> Any:
    """What a file of torch holds, read with `weights_only`.

    Raises:
        DataError: for what would run code, or is damaged.
    """
    _refuse_programs(path)
    try:
        refuse_packed(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, on how a pickle is written
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # torch's text advises to execute the file
        raise DataError(_runs_code(path)) from error
    except (OSError, EOFError, RuntimeError, KeyError, ValueError, AttributeError, TypeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"{path} cannot be read as weights: {reason}; fetch it again, {_SAVE}") from error


def _refuse_programs(path: Path) -> None:
    """Refuse the archives that hold a program: TorchScript, and what torch.export saves."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    inside = {name.partition("/")[2] for name in names} | set(names)
    if "constants.pkl" in inside or any(name.startswith("code/") for name in inside):
        load = BY_HAND.format(load=f"jit.load({path.name!r})")
        raise DataError(f"{path} is a TorchScript program, which runs code when it is loaded; {load}")
    if any("exported_program" in n or n.endswith("serialized_state_dict.pt") or "archive_format" in n for n in inside):
        load = BY_HAND.format(load=f"export.load({path.name!r}).module()")
        raise DataError(f"{path} is an exported program, which runs code when it is loaded; {load}")
    if not any(name.endswith("data.pkl") for name in inside):
        raise DataError(f"{path} is a zip archive of {few(sorted(names), 3)}, not weights; name a checkpoint")


def _runs_code(path: Path) -> str:
    """Why a pickle is refused, with the names it asks for, which are read and not followed."""
    asked = _names_asked_for(path)
    what = f"Python objects ({few(asked, 3)})" if asked else "Python objects, or it is damaged"
    load = BY_HAND.format(load=f"load({path.name!r}, weights_only=False)")
    return f"{path} holds {what} beside tensors, and loading them runs code; {load}, {_SAVE}"


def _names_asked_for(path: Path) -> list[str]:
    """Names of classes and functions that a pickle would import, without those of torch's own tensors."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                content = archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))
        else:
            content = path.read_bytes()
        words: list[str] = []
        asked: dict[str, None] = {}
        for operation, value, _ in pickletools.genops(content):
            if operation.name == "GLOBAL":
                asked[str(value).replace(" ", ".")] = None
            elif operation.name == "STACK_GLOBAL" and len(words) > 1:
                asked[".".join(words[-2:])] = None
            elif isinstance(value, str):
                words.append(value)
    except Exception:  # noqa: BLE001  # a damaged pickle breaks its reader anywhere, and only words are looked for
        return []
    ours = ("torch._utils.", "collections.OrderedDict", "torch.FloatStorage", "torch.storage.", "torch._tensor.")
    return [name for name in asked if not name.startswith(ours)]


def _tables(content: Any, place: str = "", depth: int = 0) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Every table of tensors with names, and where it stands."""
    if not isinstance(content, Mapping) or depth > _DEEPEST:
        return
    if any(not isinstance(name, str) for name in content):  # the state of an optimizer, by position
        return
    tensors = {name: value.detach() for name, value in content.items() if isinstance(value, torch.Tensor)}
    if len(tensors) > len(content) / 2 and any(tensor.ndim > 1 for tensor in tensors.values()):
        yield place, tensors
        return
    for name, value in content.items():
        if not name.lower().startswith(_NOT_NETWORKS):
            yield from _tables(value, f"{place}.{name}".removeprefix("."), depth + 1)


def _described(content: Any) -> str:
    if not isinstance(content, Mapping):
        return type(content).__name__
    return "a table of " + (few([f"{name} ({type(value).__name__})" for name, value in content.items()]) or "nothing")
