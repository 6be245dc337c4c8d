"""What a run says while it works: the longest silence, and the time left that it shows against the truth.

    python benchmarks/progress_log.py run --log pipe.jsonl -- midef run smoke --store STORE
    python benchmarks/progress_log.py run --terminal --log terminal.jsonl -- midef run smoke --store STORE
    python benchmarks/progress_log.py check pipe.jsonl

`run` gives the command a pipe, or with `--terminal` a terminal, notes when each piece of its output came, and checks
the log. A line of a log is `[seconds since the start, text]`; the last one has no text and stands for the end.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from dataclasses import dataclass
from pathlib import Path

ETA = re.compile(r"ETA (?:(unknown)|(?:at least )?(about )?([\d.]+) (s|min|h)\b)")
SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}
COLUMNS = 120

Pieces = list[tuple[float, str]]


@dataclass(frozen=True)
class Shown:
    """A time left that was shown.

    Args:
        at: seconds since the start.
        left: seconds; None for `unknown`.
        is_about: it said `about`.
    """

    at: float
    left: float | None
    is_about: bool

    @property
    def whole(self) -> float:
        """Seconds of the whole run, as it was expected then."""
        return self.at + (self.left or 0.0)


@dataclass(frozen=True)
class Check:
    """What a log shows.

    Args:
        seconds: from start to end.
        lines: of the output, counting a line that was rewritten once per writing.
        silence: longest time without a word, with its begin.
        widest: characters of the longest line.
        shown: every time left.
    """

    seconds: float
    lines: int
    silence: tuple[float, float]
    widest: int
    shown: tuple[Shown, ...]

    def at_share(self, share: float) -> Shown | None:
        """The last time left shown before this share of the run had passed."""
        before = [shown for shown in self.shown if shown.at <= share * self.seconds]
        return before[-1] if before else None

    def off(self, shown: Shown) -> float:
        """How many times too long (above 1) or too short the whole run was expected to be."""
        return shown.whole / self.seconds

    def worst(self, start: float = 0.25) -> float:
        """The largest factor between the expected and the true length of the run, after this share of it."""
        later = [s for s in self.shown if s.at >= start * self.seconds and s.left is not None]
        return max([max(self.off(s), 1 / self.off(s)) for s in later], default=float("nan"))


def check(pieces: Pieces) -> Check:
    """Read a log: pieces of text with their seconds, an empty one for the end."""
    times = [at for at, _ in pieces]
    gaps = [(after - before, before) for before, after in zip([0.0, *times], times, strict=False)]
    shown, lines, widest = [], 0, 0
    for at, text in pieces:
        for line in filter(str.strip, re.split(r"[\r\n]+", text)):
            lines, widest = lines + 1, max(widest, len(line.rstrip()))
            if found := ETA.search(line):
                left = None if found[1] else float(found[3]) * SECONDS[found[4]]
                shown.append(Shown(at, left, bool(found[2])))
    length, since = max(gaps)
    return Check(times[-1], lines, (length, since), widest, tuple(shown))


def report(found: Check) -> str:
    """A few lines for a person."""
    length, since = found.silence
    first = found.shown[0] if found.shown else None
    lines = [
        f"{found.seconds:.0f} s, {found.lines} lines, the widest {found.widest} characters",
        f"longest silence {length:.0f} s, from second {since:.0f}",
        f"times left: {len(found.shown)}, of them {sum(s.left is None for s in found.shown)} unknown",
    ]
    for name, shown in (("first", first), ("at a quarter", found.at_share(0.25)), ("at half", found.at_share(0.5))):
        if shown is not None:
            left = "unknown" if shown.left is None else f"{'about ' if shown.is_about else ''}{shown.left:.0f} s"
            truth = found.seconds - shown.at
            lines.append(
                f"{name}: {left} at second {shown.at:.0f}, in truth {truth:.0f} s; run {found.off(shown):.2f}x"
            )
    lines.append(f"from a quarter on the run was expected within a factor of {found.worst():.2f}")
    return "\n".join(lines)


def record(command: list[str], *, on_terminal: bool) -> tuple[int, Pieces]:
    """Run a command; its exit code, and what it wrote, piece by piece."""
    if on_terminal:
        reading, writing = pty.openpty()
        fcntl.ioctl(writing, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    else:
        reading, writing = os.pipe()
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    start = time.monotonic()
    running = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=writing, stderr=writing, env=environment)
    os.close(writing)
    pieces: Pieces = []
    while True:
        try:
            content = os.read(reading, 65536)
        except OSError:  # how a terminal says that nobody writes to it any more
            content = b""
        pieces.append((round(time.monotonic() - start, 2), content.decode("utf-8", "replace")))
        if not content:
            break
    return running.wait(), pieces


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run", help="run a command, keep its log and check it")
    run.add_argument("--terminal", action="store_true", help="give it a terminal")
    run.add_argument("--log", type=Path, required=True, help="where to write the log")
    run.add_argument("command", nargs=argparse.REMAINDER)
    verbs.add_parser("check", help="check a log").add_argument("log", type=Path)
    options = parser.parse_args()
    code = 0
    if options.verb == "run":
        command = options.command[1:] if options.command[:1] == ["--"] else options.command
        code, pieces = record(command, on_terminal=options.terminal)
        options.log.write_text("".join(json.dumps(piece) + "\n" for piece in pieces))
    pieces = [(float(at), str(text)) for at, text in map(json.loads, options.log.read_text().splitlines())]
    print(report(check(pieces)))
    return code


if __name__ == "__main__":
    sys.exit(main())
