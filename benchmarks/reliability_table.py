"""What midef does with bad input, damaged files and kills: makes `benchmarks/reliability.md`.

    python benchmarks/reliability_table.py                    # everything; about half an hour of two cores
    python benchmarks/reliability_table.py kills              # one part, printed only

The exit code is 1 if anything in it is not as it should be.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from midef.core.code_version import code_version
from midef.stages.build import device_name

PAGE = Path(__file__).with_name("reliability.md")
HEAD = """# What bad input, damage and kills do

`python benchmarks/reliability_table.py`
"""
MADE = "Made at commit `{commit}`, {date}, on {device}."


def inputs_part(scratch: Path) -> tuple[str, bool]:
    """Specifications that were changed at random."""
    from reliability import inputs

    counts = inputs.run(scratch)
    return inputs.table(counts), all(one.is_right for one in counts)


def damage_part(scratch: Path) -> tuple[str, bool]:
    """Files of a store with a flipped bit, cut off, emptied, replaced by a folder."""
    from reliability import damage

    counts = damage.run(scratch)
    return damage.table(counts), all(one.is_right for one in counts)


def kills_part(scratch: Path) -> tuple[str, bool]:
    """Runs that are killed, interrupted, or lose their disk or clock."""
    from reliability import kills

    outcomes = kills.run_all(scratch, lambda line: print(line, file=sys.stderr))
    return kills.table(outcomes), all(one.is_right or one.skipped for one in outcomes)


PARTS: dict[str, tuple[str, Callable[[Path], tuple[str, bool]]]] = {
    "inputs": ("Specifications that were changed at random", inputs_part),
    "damage": ("Damaged files of a store, and the commands that read them", damage_part),
    "kills": ("Disturbed runs", kills_part),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", choices=PARTS, help="one part, printed only")
    options = parser.parse_args()
    version = code_version().partition("+")[2]
    made = MADE.format(commit=version, date=datetime.now(UTC).strftime("%Y-%m-%d"), device=device_name("cpu"))
    text, is_right = HEAD, True
    for name in [options.part] if options.part else PARTS:
        title, make = PARTS[name]
        with tempfile.TemporaryDirectory(prefix="midef.", dir="/tmp") as scratch:  # short: sockets lie below it
            part, was_right = make(Path(scratch))
        text += f"\n## {title}\n\n{made}\n\n{part.strip()}\n"
        is_right = is_right and was_right
    if options.part:
        print(text)
    else:
        PAGE.write_text(text, "utf-8")
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main())
