"""The same tests over a folder and over an object store: a real S3 server on loopback."""

from __future__ import annotations

import tempfile
import uuid
from pathlib import Path

import pytest

from midef.storage import Store


@pytest.fixture
def s3_uri(s3_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An unused prefix; local copies of its artifacts go into the test's own folder."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # the same for processes that a test starts
    options = f"endpoint_override={s3_endpoint}&scheme=http&region=us-east-1&allow_bucket_creation=true"
    return f"s3://bucket/{uuid.uuid4().hex}/store?{options}"


@pytest.fixture(params=["local", "s3"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an unused store may be made."""
    if request.param == "local":
        return str(tmp_path / "store")
    return str(request.getfixturevalue("s3_uri"))


@pytest.fixture
def store(uri: str) -> Store:
    return Store.open(uri)


@pytest.fixture
def local_store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


@pytest.fixture
def s3_store(s3_uri: str) -> Store:
    return Store.open(s3_uri)
