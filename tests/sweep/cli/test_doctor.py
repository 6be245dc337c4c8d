"""`midef doctor` on this machine."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Yaml = Callable[..., Path]
Midef = Callable[..., tuple[int, str, str]]


def test_the_doctor_finds_everything(midef: Midef, small: Path) -> None:
    code, out, err = midef("doctor", small, "--store", "store")
    assert (code, err) == (0, "")
    assert re.search(r"^ok +torch \d", out, re.M) and re.search(r"^ok +free disk at store: \d+ GiB$", out, re.M)
    assert "ok       sweep small: 2 cells, data sets found\n" in out
    assert not Path("store").exists()


def test_the_doctor_names_what_is_missing(
    midef: Midef, spec: Callable[..., dict[str, Any]], write_yaml: Yaml, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.metadata as metadata

    real = metadata.version

    def version(name: str) -> str:
        if name in ("ray", "plotly"):
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", version)
    path = write_yaml(spec({"private": {"name": "image_folder", "path": "nowhere"}}))
    code, out, _ = midef("doctor", path)
    assert code == 3
    assert "missing  plotly; pip install plotly\n" in out and "missing  ray; pip install ray\n" in out
    assert re.search(r"^missing +setups\[0\]\.private: image_folder: no such file or folder", out, re.M)
