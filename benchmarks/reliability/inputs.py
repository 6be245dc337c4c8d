"""Specifications that were changed at random: each is planned, or refused with a clear error, in little time."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Literal

from midef.core.errors import MidefError
from midef.sweep.library import is_matched, load_spec, plan_cells, search_text
from midef.sweep.spec.resolve import resolve
from reliability.mutations import mutations

HANG_S = 5.0
"""Seconds of the processor after which an input counts as a hang; two, where nothing else runs."""
Ending = Literal["planned", "clear error", "traceback", "hang"]


class _TooLongError(BaseException):
    """The watchdog's; nothing that is tried catches it."""


@contextmanager
def _watched(seconds: float) -> Iterator[None]:
    """End what takes longer. Time of this process counts, so that a busy machine is no hang."""

    def end(number: int, frame: FrameType | None) -> None:
        raise _TooLongError

    before = signal.signal(signal.SIGVTALRM, end)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def try_input(content: bytes, folder: Path) -> tuple[Ending, str]:
    """How planning a specification ends, and what was said.

    Args:
        content: of the YAML file.
        folder: for the file.
    """
    path = folder / "sweep.yaml"
    path.write_bytes(content)
    try:
        with _watched(HANG_S):
            sweep = resolve(load_spec(path))
            if is_matched(sweep):
                search_text(sweep)
            else:
                plan_cells(sweep, folder / "store")
    except MidefError as error:
        text = str(error)
        is_clear = error.exit_code in (2, 3) and 0 < len(text) < 100_000
        return ("clear error" if is_clear else "traceback"), text
    except _TooLongError:
        return "hang", "".join(traceback.format_stack()[-3:])
    except Exception:  # noqa: BLE001  # any other one is what is looked for
        return "traceback", traceback.format_exc()
    return "planned", ""


@dataclass
class Count:
    """How the inputs of one kind ended.

    Args:
        kind: of the changes.
        endings: how many ended each way.
        bad: the first inputs that ended in a traceback or a hang, with what was said.
    """

    kind: str
    endings: dict[Ending, int] = field(default_factory=dict)
    bad: list[tuple[bytes, str]] = field(default_factory=list)
    slowest_s: float = 0.0

    @property
    def is_right(self) -> bool:
        """No traceback, no hang."""
        return not (self.endings.get("traceback") or self.endings.get("hang"))

    def add(self, content: bytes, ending: Ending, text: str, seconds: float) -> None:
        """Count one input."""
        self.endings[ending] = self.endings.get(ending, 0) + 1
        self.slowest_s = max(self.slowest_s, seconds)
        if ending in ("traceback", "hang"):
            self.bad.append((content, text))


def run(scratch: Path, n: int = 5000, seed: int = 1) -> list[Count]:
    """Try changed specifications.

    Args:
        scratch: folder for files.
        n: how many.
        seed: the same ones each time.
    """
    counts: dict[str, Count] = {}
    os.environ["MIDEF_DATA"] = str(scratch / "no-data")
    for name, content in mutations(n, seed):
        began = time.process_time()
        ending, text = try_input(content, scratch)
        kind = name.partition(" ")[0]
        counts.setdefault(kind, Count(kind)).add(content, ending, text, time.process_time() - began)
    return list(counts.values())


def table(counts: Iterable[Count]) -> str:
    """Markdown."""
    ways: tuple[Ending, ...] = ("planned", "clear error", "traceback", "hang")
    lines = [
        "| changed by | inputs | planned | clear errors | tracebacks | hangs | slowest, s |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in counts:
        numbers = [sum(one.endings.values()), *(one.endings.get(way, 0) for way in ways)]
        lines.append(f"| {one.kind} | {' | '.join(f'{number:,}' for number in numbers)} | {one.slowest_s:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        found = run(Path(folder), *map(int, sys.argv[1:]))
    print(table(found))
    for one in found:
        for content, text in one.bad:
            print("-" * 80, content[:3000].decode("utf-8", "backslashreplace"), text, sep="\n")
    sys.exit(not all(one.is_right for one in found))
