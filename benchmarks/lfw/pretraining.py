"""Public LFW people with several photographs, as one folder per person: a labelled set to pre-train on.

    python benchmarks/lfw/pretraining.py PUBLIC_ZIP OUT_ZIP [--min-images 5]

LFW names files `First_Last_0001.jpg`; the name without its number is the person. Nothing is re-encoded.
"""

from __future__ import annotations

import argparse
import re
import zipfile
from collections import defaultdict
from pathlib import PurePosixPath


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("public_zip")
    parser.add_argument("out_zip")
    parser.add_argument("--min-images", type=int, default=5)
    options = parser.parse_args()
    with zipfile.ZipFile(options.public_zip) as source, zipfile.ZipFile(options.out_zip, "w") as target:
        people: dict[str, list[str]] = defaultdict(list)
        for name in sorted(source.namelist()):
            if found := re.fullmatch(r"(.+)_\d+", PurePosixPath(name).stem):
                people[found[1]].append(name)
        kept = {person: names for person, names in people.items() if len(names) >= options.min_images}
        for person, names in kept.items():
            for name in names:
                entry = zipfile.ZipInfo(f"{person}/{PurePosixPath(name).name}")  # a fixed date: same bytes every time
                target.writestr(entry, source.read(name))
        print(f"{len(kept)} people, {sum(map(len, kept.values()))} images -> {options.out_zip}")


if __name__ == "__main__":
    main()
