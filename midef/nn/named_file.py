"""A weight file that is published under one name: where it is expected, and whether it is the right one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from midef.core.errors import DataError, PreflightError

FOLDER_VARIABLE = "MIDEF_WEIGHTS"
"""Environment variable that names the folder of published files."""


@dataclass(frozen=True, kw_only=True)
class NamedFile:
    """A published weight file. Nothing is downloaded: a person puts it into the folder.

    Args:
        name: of the file.
        source: where to get it.
        sha256: hexadecimal, or its first digits as far as they are published.
    """

    name: str
    source: str
    sha256: str

    def advice(self, folder: Path | str = "") -> str:
        """What to do where it is missing.

        >>> print(NamedFile(name="x.pth", source="https://a.org/x.pth", sha256="00").advice("/w"))
        no file x.pth in /w; get it from https://a.org/x.pth and put it there, or name another folder in $MIDEF_WEIGHTS
        """
        where = f" in {folder}" if folder else f" in ${FOLDER_VARIABLE}"
        ending = f", or name another folder in ${FOLDER_VARIABLE}" if folder else ""
        return f"no file {self.name}{where}; get it from {self.source} and put it there{ending}"

    def find(self, folder: Path) -> Path:
        """The file in `folder`; its content is not looked at.

        Raises:
            PreflightError: if it is not there, saying where to get it.
        """
        path = folder / self.name
        if not path.is_file():
            raise PreflightError(self.advice(folder))
        return path

    def digest(self, path: Path) -> str:
        """The sha256 of a file, compared with the published one.

        Raises:
            DataError: if it cannot be read or is another file.
        """
        try:
            digest = sha256_of(path)
        except OSError as error:
            raise DataError(f"cannot read {path}: {error}") from error
        if not digest.startswith(self.sha256):
            raise DataError(
                f"{path} is damaged or another file: its sha256 begins with {digest[:8]}, {self.sha256[:8]} is expected"
            )
        return digest


def sha256_of(path: Path) -> str:
    """Hexadecimal digest of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def torchvision_file(name: str) -> NamedFile:
    """A file of torchvision, whose name ends with the first digits of its sha256."""
    source = f"https://download.pytorch.org/models/{name}"
    return NamedFile(name=name, source=source, sha256=name.rpartition("-")[2].partition(".")[0])
