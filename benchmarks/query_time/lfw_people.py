"""Lists of the public images of 100 people of LFW, the attacker's data beside 100 private people.

    python benchmarks/query_time/lfw_people.py data/lfw/lfw_private.zip data/lfw/lfw_public.zip LISTS

writes `train.txt` and `report.txt` into the folder LISTS. They are the lists of a set without labels; a sweep names
the private people by `identities: 100`:

    private: {name: image_folder, path: data/lfw/lfw_private.zip, min_images: 10, identities: 100}
    public: {name: image_folder, path: data/lfw/lfw_public.zip, labelled: false, train_list: LISTS/train.txt,
             report_list: LISTS/report.txt}

The 100 are those with the most photographs, names deciding between equals; each person's last one is in the report
list. LFW has 106 people with ten photographs, which are private; so these have 6 to 9 each, 779 together, where the
LPA paper has 14,702 of FaceScrub for each of attacker and defender.
"""

from __future__ import annotations

import argparse
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path


def person_of(file: str) -> str:
    """Whom a file of LFW shows.

    >>> person_of("images/Aaron_Eckhart_0001.jpg")
    'Aaron_Eckhart'
    """
    return re.sub(r"_\d+$", "", Path(file).stem)


def most_photographed(files: Iterable[str], people: int) -> dict[str, list[str]]:
    """Files of the people with the most of them, by name; both in order.

    Raises:
        ValueError: if there are fewer people, or one of them has a single file.
    """
    of_person: dict[str, list[str]] = {}
    for file in sorted(files):
        of_person.setdefault(person_of(file), []).append(file)
    chosen = sorted(of_person, key=lambda name: (-len(of_person[name]), name))[:people]
    if len(chosen) < people or len(of_person[chosen[-1]]) < 2:
        able = sum(len(files) > 1 for files in of_person.values())
        raise ValueError(f"needs {people} people with two photographs, found {able}; ask for fewer")
    return {name: of_person[name] for name in sorted(chosen)}


def write_lists(private: Path, public: Path, folder: Path, people: int) -> str:
    """Write both lists; what they hold, in words.

    Args:
        private: zip of `<person>/<file>`.
        public: zip of files of other people.

    Raises:
        ValueError: if somebody is in both.
    """
    chosen = most_photographed(_images(public), people)
    if shared := sorted({Path(file).parent.name for file in _images(private)} & chosen.keys()):
        raise ValueError(f"private and public at once: {', '.join(shared[:5])}; bring photographs of other people")
    parts = {
        "train": [file for files in chosen.values() for file in files[:-1]],
        "report": [files[-1] for files in chosen.values()],
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, files in parts.items():
        (folder / f"{name}.txt").write_text("".join(f"{file}\n" for file in files), encoding="utf-8")
    return f"{people} people: {len(parts['train'])} images in train.txt, {len(parts['report'])} in report.txt"


def _images(archive: Path) -> list[str]:
    with zipfile.ZipFile(archive) as opened:
        return [name for name in opened.namelist() if name.lower().endswith((".jpg", ".jpeg", ".png"))]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("private", type=Path)
    parser.add_argument("public", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--people", type=int, default=100)
    given = parser.parse_args()
    print(write_lists(given.private, given.public, given.folder, given.people))
