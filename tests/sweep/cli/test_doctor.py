"""`midef doctor` on this machine."""

from __future__ import annotations

import hashlib
import re
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from midef.metrics.extractors import EXTRACTORS
from midef.models import ARCHITECTURES

Yaml = Callable[..., Path]
Midef = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without Ray's token, and no cluster in the environment."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("RAY_ADDRESS", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


def test_the_doctor_says_what_is_wrong_with_ray(
    midef: Midef, small: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = home / ".ray/auth_token"
    token.parent.mkdir(mode=0o700, parents=True)
    token.write_text("secret")
    token.chmod(0o644)
    with socket.socket() as taken:  # bound, not listening
        taken.bind(("0.0.0.0", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", address)
        code, out, _ = midef("doctor", small, "--store", "store")
    assert code == 3
    assert f"problem  Ray's token {token} has mode 0644: others can read it and run code as you; chmod 600" in out
    assert f"problem  no Ray cluster answers at {address} (RAY_ADDRESS); start it or unset RAY_ADDRESS" in out


def test_the_doctor_finds_everything(midef: Midef, small: Path) -> None:
    code, out, err = midef("doctor", small, "--store", "store")
    assert (code, err) == (0, "")
    assert re.search(r"^ok +torch \d", out, re.M) and re.search(r"^ok +free disk at store: \d+ GiB$", out, re.M)
    assert "ok       sweep small: 2 cells, data sets found, every image decodes\n" in out
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
    whose = r"^missing +data set image_folder\S*, for \S+ \(private; sweep\.yaml, line \d+\)\n"
    missing = whose + r" +image_folder: no such file"
    assert re.search(missing, out, re.M)


def test_the_doctor_lists_the_file_of_a_judge(
    midef: Midef,
    spec: Callable[..., dict[str, Any]],
    write_yaml: Yaml,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MIDEF_WEIGHTS", str(tmp_path))
    protocol = {"identities": 12, "evaluator_resolution_px": 112}
    path = write_yaml(spec({"evaluator": "mobilefacenet", "protocol": protocol}))
    code, out, _ = midef("doctor", path)
    missing = r"^missing +mobilefacenet\.pt \(sha256 90a00ba1\.\.\.\): ms1m weights of mobilefacenet, for \S+ \(eval"
    assert code == 3 and re.search(missing, out, re.M) and out.count("mobilefacenet.pt") == 2, "its name and its source"
    (tmp_path / "mobilefacenet.pt").write_bytes(b"weights")
    judge = ARCHITECTURES.get("mobilefacenet")
    assert judge.published is not None
    digest = hashlib.sha256(b"weights").hexdigest()
    monkeypatch.setattr(judge, "published", replace(judge.published, sha256=digest))
    code, out, _ = midef("doctor", path)
    here = rf"^ok +mobilefacenet\.pt \(\S+ MiB, sha256 {digest[:8]} as published\): ms1m weights of mobilefacenet, for"
    assert code == 0 and re.search(here, out, re.M)


def test_the_doctor_lists_the_files_of_metrics(
    midef: Midef, spec: Callable[..., dict[str, Any]], write_yaml: Yaml, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIDEF_WEIGHTS", str(tmp_path))
    path = write_yaml({**spec({}), "metrics": ["standard", "lpips", "kid"]})
    code, out, _ = midef("doctor", path)
    assert code == 3, "a metric without its file is refused: what was asked for is not measured"
    file = r"alexnet-owt-7be5be79\.pth \(233 MiB, sha256 7be5be79\.\.\.\)"
    lpips = rf"^missing +{file}: metric lpips, for \S+ \(metrics"
    assert re.search(lpips, out, re.M) and "get it from https://download.pytorch.org/models/alexnet" in out
    assert re.search(
        r"^missing +weights-inception-2015-12-05-6726825d\.pth \(sha256 6726825d\.\.\.\): metric kid", out, re.M
    )
    published = EXTRACTORS.get("lpips_alex").file
    (tmp_path / published.name).write_bytes(b"weights")
    monkeypatch.setattr(
        EXTRACTORS.get("lpips_alex"), "file", replace(published, sha256=hashlib.sha256(b"weights").hexdigest())
    )
    assert re.search(
        rf"^ok +{re.escape(published.name)} \(.* as published\): metric lpips, for", midef("doctor", path)[1], re.M
    )
