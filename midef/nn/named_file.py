"""A weight file that is published under one name: where it is expected, and whether it is the right one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from midef.core.errors import DataError, PreflightError

FOLDER_VARIABLE = "MIDEF_WEIGHTS"
"""Environment variable that names the folder of published files."""


@dataclass(frozen=True, kw_only=True)
class NamedFile:
    """A published weight file. Nothing is downloaded: a person puts it into the folder.

    Args:
        name: of the file, or a pattern of it.
        source: where to get it.
        sha256: hexadecimal, or its first digits as far as they are published; "" where none are.
        also: other names, or patterns of them, that it is handed out under; their content is not compared.
        size_mib: as published, in MiB; 0 where it is not.
    """

    name: str
    source: str
    sha256: str
    also: tuple[str, ...] = ()
    size_mib: float = 0.0

    @property
    def names(self) -> str:
        """Every name it may have.

        >>> NamedFile(name="a*.pth", source="", sha256="", also=("b.pth",)).names
        'a*.pth or b.pth'
        """
        return " or ".join((self.name, *self.also))

    def inside(self, folder: Path) -> list[Path]:
        """The files of a folder that it may be, by name; none where there is no such folder."""
        held = sorted(folder.iterdir()) if folder.is_dir() else []
        return [p for p in held if any(fnmatchcase(p.name, name) for name in (self.name, *self.also))]

    def digits(self, path: Path) -> str:
        """The published digits of the sha256 of this file; "" where there are none to compare with."""
        return self.sha256 if path.name == self.name else ""

    def advice(self, folder: Path | str = "") -> str:
        """What to do where it is missing.

        >>> print(NamedFile(name="x.pth", source="https://a.org/x.pth", sha256="00").advice("/w"))
        no file x.pth in /w; get it from https://a.org/x.pth and put it there, or name another folder in $MIDEF_WEIGHTS
        """
        where = f" in {folder}" if folder else f" in ${FOLDER_VARIABLE}"
        ending = f", or name another folder in ${FOLDER_VARIABLE}" if folder else ""
        return f"no file {self.names}{where}; get it from {self.source} and put it there{ending}"

    def find(self, folder: Path) -> Path:
        """The file in `folder`; its content is not looked at.

        Raises:
            PreflightError: if it is not there, saying where to get it, or if several could be meant.
        """
        files = self.inside(folder)
        if len(files) > 1:
            raise PreflightError(f"{folder} holds {', '.join(p.name for p in files)}; keep one of them there")
        if not files:
            raise PreflightError(self.advice(folder))
        return files[0]

    def digest(self, path: Path) -> str:
        """The sha256 of a file, compared with the published one.

        Raises:
            DataError: if it cannot be read or is another file.
        """
        try:
            digest = sha256_of(path)
        except OSError as error:
            raise DataError(f"cannot read {path}: {error}") from error
        if not digest.startswith(expected := self.digits(path)):
            raise DataError(
                f"{path} is damaged or another file: its sha256 begins with {digest[:8]}, {expected[:8]} is expected"
            )
        return digest


def sha256_of(path: Path) -> str:
    """Hexadecimal digest of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def torchvision_file(name: str, size_mib: float = 0.0) -> NamedFile:
    """A file of torchvision, whose name ends with the first digits of its sha256.

    Args:
        name: of the file.
        size_mib: as torchvision states it.
    """
    source = f"https://download.pytorch.org/models/{name}"
    return NamedFile(name=name, source=source, sha256=name.rpartition("-")[2].partition(".")[0], size_mib=size_mib)
