"""Published weight files by name."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from midef.core.errors import DataError, PreflightError
from midef.nn.named_file import NamedFile

FILE = NamedFile(name="x.pth", source="https://a.org/x.pth", sha256=hashlib.sha256(b"weights").hexdigest()[:8])


def test_a_missing_file_is_named_with_its_source_and_the_folder(tmp_path: Path) -> None:
    expected = f"no file x.pth in {tmp_path}; get it from https://a.org/x.pth and put it there"
    with pytest.raises(PreflightError, match=re.escape(expected) + r", or name another folder in \$MIDEF_WEIGHTS"):
        FILE.find(tmp_path)


def test_another_file_is_refused_by_its_digest(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(b"weights")
    assert FILE.find(tmp_path) == path and FILE.digest(path) == hashlib.sha256(b"weights").hexdigest()
    path.write_bytes(b"others")
    with pytest.raises(DataError, match="damaged or another file"):
        FILE.digest(path)
