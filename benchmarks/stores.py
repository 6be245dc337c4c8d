"""How status, table and dashboard grow with the result rows of a store, beside an older checkout in the same run.

    python benchmarks/stores.py [--rows 1000 10000 100000 1000000] [--before CHECKOUT] [--rounds 3] [--one-sweep ROWS]
                                [--page benchmarks/stores.md]

The stores are made up (`stores_made_up.py`): sweeps of 37 setups x 20 defenses x 5 seeds x 15 metrics, compacted; a
smaller store has fewer setups, a larger one more sweeps, of which table and page show the latest. With `--one-sweep`
one more store has all its rows in one sweep. Every command is a process of its own, old and new in turn; its CPU
seconds and peak memory are those of that process, start included. What both print has to be equal.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import NamedTuple

COMMANDS: dict[str, tuple[str, ...]] = {
    "status": ("status",),
    "table": ("table",),
    "table --setup S001": ("table", "--setup", "S001"),
    "table --format csv": ("table", "--format", "csv"),
    "dashboard build": ("dashboard", "build"),
    "dashboard build, again": ("dashboard", "build"),
    "verify": ("verify",),
}
MOST_ROWS_OF = {"status": 2_000_000, "table": 200_000, "dashboard build": 200_000}
"""Rows up to which the older checkout runs a command, others up to `FEW_ROWS`: a table of a million took it minutes."""
FEW_ROWS = 20_000
"""Up to here every command runs `--rounds` times; in larger stores once."""
_HERE = Path(__file__).resolve().parent


class Cost(NamedTuple):
    """CPU seconds, peak memory and digest of what was printed."""

    cpu_s: float
    peak_mb: float
    said: str


def main() -> None:
    """Measure, and print or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="older checkout to measure beside this one")
    parser.add_argument("--rounds", type=int, default=3, help="of stores up to 20,000 rows (default 3)")
    parser.add_argument("--one-sweep", type=int, metavar="ROWS", help="also a store of one sweep of so many rows")
    parser.add_argument("--page", type=Path)
    parser.add_argument("--make", nargs=3, metavar=("FOLDER", "ROWS", "ONE"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.make:
        made(Path(args.make[0]), int(args.make[1]), is_one=args.make[2] == "1")
        return
    load = os.getloadavg()[0]
    blocks = []
    with tempfile.TemporaryDirectory(prefix="midef-stores-") as folder:
        for rows in args.rows:
            blocks += measured(Path(folder), rows, args.before, args.rounds)
        if args.one_sweep:
            blocks += measured(Path(folder), args.one_sweep, None, 1, is_one=True)
    text = page(blocks, args.before, load)
    if args.page:
        args.page.write_text(text, encoding="utf-8")
    print(text)


class Block(NamedTuple):
    """What one command cost in one store."""

    rows: int
    is_one: bool
    command: str
    now: Cost
    before: Cost | None


def measured(folder: Path, rows: int, before: Path | None, rounds: int, *, is_one: bool = False) -> list[Block]:
    """Every command in a store of so many rows."""
    store = folder / f"{rows}-{int(is_one)}"
    make = [sys.executable, __file__, "--make", str(store), str(rows), str(int(is_one))]
    done = subprocess.run(make, check=True, env=_environment(_HERE.parent), stdout=subprocess.PIPE, text=True)
    count = int(done.stdout.splitlines()[-1])
    blocks = []
    for name, words in COMMANDS.items():
        if is_one and name not in ("status", "table", "table --setup S001"):
            continue
        now, old = [], []
        for number in range(rounds if rows <= FEW_ROWS else 1):
            command = [*words, "--store", str(store)]
            page = f"{store}-page{0 if 'again' in name else number}"
            if before is not None and rows <= MOST_ROWS_OF.get(name, FEW_ROWS):
                old.append(run(before, [*command, *(["--out", f"{page}-old"] if words[0] == "dashboard" else [])]))
            now.append(run(_HERE.parent, [*command, *(["--out", page] if words[0] == "dashboard" else [])]))
        blocks.append(Block(count, is_one, name, _middle(now), _middle(old) if old else None))
        print(f"{count:,} rows, {name}: {blocks[-1].now.cpu_s:.2f} s", file=sys.stderr, flush=True)
    return blocks


def _middle(costs: Sequence[Cost]) -> Cost:
    assert len({one.said for one in costs}) == 1, "a command printed two things about one store"
    return Cost(median(one.cpu_s for one in costs), max(one.peak_mb for one in costs), costs[0].said)


def _environment(checkout: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}


def run(checkout: Path, words: Sequence[str]) -> Cost:
    """One command of midef, of one checkout."""
    with tempfile.TemporaryFile() as printed:
        child = subprocess.Popen(
            [sys.executable, "-m", "midef", *words],
            stdout=printed,
            env=_environment(checkout),
            cwd=tempfile.gettempdir(),
        )
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            sys.exit(f"midef {' '.join(words)} of {checkout} ended with {child.returncode}")
        printed.seek(0)
        said = hashlib.sha256(printed.read()).hexdigest() if words[0] == "table" else ""
    return Cost(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, said)


def made(folder: Path, rows: int, *, is_one: bool) -> None:
    """Make a store and print its number of rows."""
    from midef.storage import Store

    sys.path.insert(0, str(_HERE))
    from stores_made_up import fill, shapes_of

    print(fill(Store.open(folder), shapes_of(rows, is_one=is_one)))


def page(blocks: Sequence[Block], before: Path | None, load: float) -> str:
    """The page."""
    from stores_page import written

    from midef.core.code_version import code_version

    version, _, commit = code_version().partition("+")
    old = ""
    if before is not None:
        asked = ["git", "-C", str(before), "rev-parse", "--short=8", "HEAD"]
        old = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    stamp = (
        f"Made at commit `{commit or version}`, {datetime.now(UTC):%Y-%m-%d}, on cpu, {os.cpu_count()} cores, load "
        f"{load:.0f} to {os.getloadavg()[0]:.0f}, most of it by other programs, which also makes CPU seconds larger"
    )
    return written(blocks, stamp + (f"; before: commit `{old}`." if old else "."))


if __name__ == "__main__":
    main()
