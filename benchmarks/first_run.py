"""What the README's first command takes: seconds of install and run, processor seconds, and the peak of memory.

    python benchmarks/first_run.py                 # fresh clone of the last commit, fresh virtual environment
    python benchmarks/first_run.py --folder clone  # the same, and keep the clone with its results
    python benchmarks/first_run.py -- COMMAND ...  # any command, in this folder

Memory is the proportional set size (PSS) of all processes together: shared pages count once. Linux only.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

EVERY_S = 2.0
_CHILD_SUBREAPER = 36
"""Of prctl(2): processes whose parent ended become children of this one instead of init's, so none gets lost."""


@dataclass
class Peak:
    """What all descendants of this process take, sampled while a command runs.

    Args:
        mb: largest sum of their PSS.
        processes: their MB and command lines at that moment, the largest first.
        cpu_s: processor seconds of each when it was last seen; a process's last moments are missed.
    """

    mb: float = 0.0
    processes: list[tuple[float, str]] = field(default_factory=list)
    cpu_s: dict[int, float] = field(default_factory=dict)
    _ended: threading.Event = field(default_factory=threading.Event, repr=False)

    def watch(self) -> None:
        """Sample until `end` is called."""
        while not self._ended.wait(EVERY_S):
            below = descendants(os.getpid())
            self.cpu_s.update((pid, cpu_s(pid)) for pid in below)
            found = [(pss_mb(pid), command_line(pid)) for pid in below]
            if (total := sum(mb for mb, _ in found)) > self.mb:
                self.mb, self.processes = total, sorted(found, reverse=True)

    def end(self) -> None:
        self._ended.set()


def descendants(root: int) -> list[int]:
    """Process ids below `root`, itself left out."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (stat := _read(entry / "stat")):
            children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry.name))
    found, waiting = [], [root]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def pss_mb(pid: int) -> float:
    """Proportional set size of a process in MB; 0 for one that is gone."""
    lines = _read(Path(f"/proc/{pid}/smaps_rollup")).splitlines()
    return sum(float(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def cpu_s(pid: int) -> float:
    """Processor seconds of a process itself; 0 for one that is gone."""
    fields = _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if fields else 0.0


def command_line(pid: int) -> str:
    """The first words of a process."""
    return _read(Path(f"/proc/{pid}/cmdline")).replace("\0", " ").strip()[:80]


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:  # the process ended meanwhile
        return ""


def measured(name: str, command: Sequence[str], folder: Path) -> int:
    """Run a command and print what it took; returns its exit code."""
    ctypes.CDLL(None).prctl(_CHILD_SUBREAPER, 1, 0, 0, 0)
    peak = Peak()
    watcher = threading.Thread(target=peak.watch, daemon=True)
    watcher.start()
    start = time.monotonic()
    code = subprocess.run(command, cwd=folder, check=False).returncode
    wall_s = time.monotonic() - start
    peak.end()
    watcher.join()
    spent = sum(peak.cpu_s.values())
    print(f"{name}: {wall_s:.0f} s, {spent:.0f} processor seconds, peak {peak.mb:,.0f} MB", flush=True)
    for mb, line in peak.processes[:8]:
        print(f"    {mb:6,.0f} MB  {line}")
    return code


def first_run(repository: Path, folder: Path) -> Iterable[tuple[str, list[str]]]:
    """The steps of a new user, by name: clone, install, run, and the same command again."""
    python = sys.executable if sys.prefix == sys.base_prefix else str(Path(sys.base_prefix) / "bin" / "python3")
    yield "clone", ["git", "clone", "-q", str(repository), str(folder)]
    yield "install", ["sh", "-c", f"{python} -m venv .venv && .venv/bin/pip install -q -e ."]
    yield "run", [".venv/bin/python", "sweep/full_matrix.py", "smoke"]
    yield "run again", [".venv/bin/python", "sweep/full_matrix.py", "smoke"]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where to clone to; a folder that does not exist yet")
    parser.add_argument("command", nargs="*", help="what to measure instead of the first run")
    options = parser.parse_args(arguments)
    if options.command:
        return measured(options.command[0], options.command, Path.cwd())
    if options.folder is not None and options.folder.exists():
        parser.error(f"--folder: {options.folder} exists; name a new one")
    with tempfile.TemporaryDirectory() as scratch:
        folder = (options.folder or Path(scratch) / "midef").absolute()
        for name, step in first_run(Path(__file__).resolve().parents[1], folder):
            if code := measured(name, step, folder if folder.exists() else Path(scratch)):
                return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
