"""Files and folders of a data set that are not used, counted and named, so that none disappears without a word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from midef.core import text

SYSTEM_FOLDERS = frozenset(
    ("__macosx", "@eadir", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "$recycle.bin", "recycler")
) | {"lost+found", "system volume information", "found.000", "__pycache__"}
"""Folders that macOS, Windows, Linux and network storage put beside the user's own, in small letters."""

NO_IMAGES = (
    *(".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".toml", ".html", ".htm"),
    *(".pdf", ".doc", ".docx", ".xls", ".xlsx", ".log", ".ini", ".cfg", ".db", ".py", ".pyc", ".sh", ".m", ".sha256"),
)
"""Suffixes of files that nobody takes for images: notes, tables, programs. They are not counted."""


@dataclass
class LeftOut:
    """What stands in a folder or archive and is not read.

    Args:
        unread: files of a type that is not read, as TIFF or HEIC.
        system: folders of the operating system, and hidden folders.
        hidden: image files whose names start with a dot.
        no_files: links to files that are not there, and what is neither a file nor a folder.
    """

    unread: list[str] = field(default_factory=list)
    system: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    no_files: list[str] = field(default_factory=list)

    def add_unread(self, name: str) -> None:
        """Note a file that is no image by its suffix, unless it is one that nobody would take for an image."""
        if not name.lower().endswith(NO_IMAGES) and not name.rpartition("/")[2].startswith("."):
            self.unread.append(name)

    def notes(self) -> list[str]:
        """A line for each kind of thing that is left out: how many, and an example."""
        kinds = Counter(suffix_of(name) for name in self.unread).most_common()
        types = ", ".join(f"{suffix} {count:,}" for suffix, count in kinds[:5]) + (", ..." if kinds[5:] else "")
        return [
            *left_out_lines(self.unread, "file", f"of a type that is not read ({types})"),
            *left_out_lines(self.system, "folder", "of the operating system, or hidden,"),
            *left_out_lines(self.hidden, "hidden image"),
            *left_out_lines(self.no_files, "name", "of images without a file, as links to nothing,"),
        ]


def left_out_lines(names: Sequence[str], noun: str, which: str = "") -> list[str]:
    """A line that counts what is left out and names an example; none where there is nothing.

    >>> left_out_lines(["b.tif", "a.tif"], "file", "of another type")
    ['2 files of another type are left out, for example a.tif']
    """
    if not names:
        return []
    words = " ".join(filter(None, (counted(names, noun), which, "is" if len(names) == 1 else "are")))
    return [f"{words} left out, for example {printable(min(names))}"]


def is_system_folder(name: str) -> bool:
    """Whether the operating system put a folder of this name there, or it is hidden.

    >>> is_system_folder("@eaDir"), is_system_folder(".git"), is_system_folder("ada")
    (True, True, False)
    """
    return name.startswith(".") or name.lower() in SYSTEM_FOLDERS


def suffix_of(name: str) -> str:
    """The suffix of a file name in small letters, `no suffix` where it has none.

    >>> suffix_of("s1/A.TIF"), suffix_of("s1/a")
    ('.tif', 'no suffix')
    """
    stem, dot, suffix = name.rpartition("/")[2].rpartition(".")
    return printable(dot + suffix.lower()) if stem and len(suffix) < 10 else "no suffix"


def counted(items: Sequence[object], noun: str) -> str:
    """How many, with the noun in the right number.

    >>> counted(["a"], "file"), counted(["a", "b"], "file")
    ('1 file', '2 files')
    """
    return f"{len(items):,} {noun}" + ("" if len(items) == 1 else "s")


def printable(name: str) -> str:
    """A file name as text for any terminal: what is no UTF-8 or no character is written as its code.

    >>> printable("Jos\\udce9"), printable("a\\x1b[2J")
    ('Jos\\\\xe9', 'a\\\\x1b[2J')
    """
    return text.printable(name, keep="")
