"""Checks that the tests notice faults: `python tests/mutations/run.py` prints a table of faults, killed or survived.

Each fault of `faults.py` is written into a temporary copy of the repository, where the tests named beside it run. The
exit code is 1 if a fault survives, if its text is no longer in the code, or if its tests fail without it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

sys.path.insert(0, str(Path(__file__).parent))
from faults import FAULTS, Fault

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 240


def copy_tree(target: Path) -> None:
    """Copy what git tracks or would track; links stay links."""
    listed = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, check=True, capture_output=True, text=True).stdout.rstrip("\0").split("\0"):
        source = ROOT / name
        if source.is_symlink() or source.exists():  # else deleted, and not yet committed
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name, follow_symlinks=False)


def run_tests(tree: Path, tests: Sequence[str]) -> tuple[int, str]:
    """Exit code of pytest and what it printed; 1 alone means that a test failed."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--tb=line", "-p", "no:cacheprovider", *tests]
    try:
        done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        return 1, "the tests did not end"
    return done.returncode, done.stdout + done.stderr


def try_fault(fault: Fault, tree: Path) -> str:
    """`killed`, `survived`, or what is wrong with the fault itself."""
    try:
        before = fault.apply(tree)
    except ValueError as error:
        return f"stale: {error}"
    try:
        code, output = run_tests(tree, fault.tests.split())
    finally:
        (tree / fault.file).write_text(before, encoding="utf-8")
    if code == 0:
        return "survived"
    return "killed" if code == 1 else f"broken: pytest ended with {code}: {output.strip().splitlines()[-1]}"


def check(faults: Sequence[Fault], *, workers: int) -> list[tuple[Fault, str, float]]:
    """What became of each fault, and the seconds it took."""
    with tempfile.TemporaryDirectory(prefix="midef-mutations.") as folder:
        trees: SimpleQueue[Path] = SimpleQueue()
        for number in range(workers):
            copy_tree(Path(folder) / str(number))
            trees.put(Path(folder) / str(number))

        def one(fault: Fault | None) -> tuple[str, float]:
            tree, start = trees.get(), time.monotonic()
            try:
                if fault is not None:
                    return try_fault(fault, tree), time.monotonic() - start
                selections = {fault.tests.partition(" -k ")[0] for fault in faults}
                code, output = run_tests(tree, sorted({path for paths in selections for path in paths.split()}))
                return "" if code == 0 else output, time.monotonic() - start
            finally:
                trees.put(tree)

        with ThreadPoolExecutor(workers) as pool:
            (unharmed, _), *outcomes = pool.map(one, [None, *faults])
    if unharmed:
        raise SystemExit(f"the tests fail without any fault:\n{unharmed}")
    return [(fault, state, seconds) for fault, (state, seconds) in zip(faults, outcomes, strict=True)]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="faults whose name holds this")
    parser.add_argument("--workers", type=int, default=2, help="copies of the repository that work at once")
    options = parser.parse_args(arguments)
    chosen = [fault for fault in FAULTS if options.only in fault.name]
    if not chosen:
        parser.error(f"no fault's name holds {options.only!r}; the names are in faults.py")
    start = time.monotonic()
    outcomes = check(chosen, workers=options.workers)
    for fault, state, seconds in outcomes:
        print(f"{state:<9} {seconds:4.0f} s  {fault.name} ({fault.file})")
    killed = sum(state == "killed" for _, state, _ in outcomes)
    print(f"{killed} of {len(outcomes)} killed in {time.monotonic() - start:.0f} s")
    return 0 if killed == len(outcomes) > 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
