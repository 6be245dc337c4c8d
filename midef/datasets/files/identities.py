"""Identity folders: which are none, and which are left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from midef.core.errors import few
from midef.datasets.files.folders import ImageFile, same_name
from midef.datasets.files.left_out import counted, left_out_lines, printable

SPLIT_FOLDERS = frozenset(
    ("train", "training", "trainset", "train_set", "test", "testing", "testset", "test_set", "val", "valid")
) | {"validation", "dev", "eval", "evaluation", "select", "report", "gallery", "probe", "query"}
"""Names of folders that hold a split of all identities, in small letters."""
GROUP_FOLDERS = frozenset({"actors", "actresses", "male", "female", "men", "women", "males", "females"})
"""Names of folders that hold a group of the identities."""


def unlike_identities(groups: Mapping[str, Sequence[ImageFile]], root: Path) -> list[str]:
    """A problem where the folders are splits or groups of identities, not identities.

    Args:
        groups: the images of each top folder, names relative to `root`.
        root: folder or archive.
    """
    for words, are in ((SPLIT_FOLDERS, "splits"), (GROUP_FOLDERS, "groups")):
        suspects = sorted(name for name in groups if name.lower() in words)
        if len(suspects) < 2:
            continue
        inner = [{n.split("/")[1] for f in groups[name] if (n := f.name).count("/") > 1} for name in suspects]
        shared = sorted(name for name, count in Counter(n for names in inner for n in names).items() if count > 1)
        if len(suspects) < len(groups) and not shared:
            continue
        both = f", with identity folders of the same names in them ({few(shared, 3)})" if shared else ""
        cure = "pack one of them alone" if root.is_file() else f"name one of them (path: {root / suspects[-1]})"
        keep = ", and say by train_list and report_list which images are reported" if are == "splits" else ""
        return [
            f"the folders {', '.join(suspects)} in {root} are {are}, not identities{both}; {cure}, or merge them, laid "
            f"out <identity>/<file>{keep}"
        ]
    return []


def twins(names: Iterable[str], root: Path) -> list[str]:
    """A problem where two identity folders have one name in two forms of Unicode.

    Args:
        names: of the identity folders.
        root: folder or archive.
    """
    count = Counter(same_name(name) for name in names)
    double = sorted(name for name, n in count.items() if n > 1)
    if not double:
        return []
    return [
        f"{counted(double, 'identity folder')} in {root} twice, the name written in two forms of Unicode: "
        f"{few(double)}; move the images into one folder"
    ]


def identity_notes(
    groups: Mapping[str, Sequence[ImageFile]],
    unread: Sequence[str],
    *,
    min_images: int,
    identities: int | None,
) -> list[str]:
    """Notes about identities and images that are not used.

    Args:
        groups: the images of each identity folder; "" for those beside the folders.
        unread: files of a type that is not read.
        min_images: identities with fewer images are left out.
        identities: the first so many are used; None for all.
    """
    notes = []
    folders = {name: files for name, files in groups.items() if name}
    unread_of = Counter(name.partition("/")[0] for name in unread if "/" in name)
    few_images = {name: len(files) for name, files in folders.items() if len(files) < min_images}
    few_images |= {name: 0 for name in sorted(unread_of) if name not in folders}
    if few_images:
        name, count = min(few_images.items())
        number = "1 more identity has" if len(few_images) == 1 else f"{len(few_images):,} more identities have"
        text = (
            f"{number} fewer than min_images={min_images} images and {'is' if len(few_images) == 1 else 'are'} left out"
        )
        text += f", for example {printable(name)} ({count})"
        because = [name for name, count in few_images.items() if count + unread_of[name] >= min_images]
        if because:
            text += f"; {len(because):,} of them because of files of a type that is not read"
        notes.append(text)
    enough = sorted(set(folders) - set(few_images))
    if identities is not None:
        notes += left_out_lines(enough[identities:], "identity folder", f"beyond identities={identities}")
    return notes + left_out_lines([file.name for file in groups.get("", ())], "image", "beside the identity folders")
