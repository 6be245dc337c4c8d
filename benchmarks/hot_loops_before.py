"""The same stages in two checkouts, in turns: what became faster, what became slower, and whether results moved."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from safetensors.numpy import load_file

HERE = Path(__file__).resolve().parent
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
MOST_REPEATS = 500
SLOWER = 0.97
"""A stage whose every ratio lies below is called slower: CPU seconds of equal work are a few percent apart."""


class StageFailed(Exception):
    """A stage could not be done in a checkout."""


class Checkout:
    """A process that has imported the `midef` of a checkout and is ready to do its stages.

    Args:
        root: of the checkout.
        store: folder of the store that both share.
    """

    def __init__(self, root: Path, store: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "hot_loops_stages.py"), str(store)],
            env={**os.environ, **ONE_THREAD, "PYTHONPATH": str(root)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        about = self.ask({})
        self.keys: Mapping[str, str] = about["keys"]
        self.groups: Mapping[str, str] = about["groups"]
        if not Path(about["midef"]).resolve().is_relative_to(root.resolve()):
            raise StageFailed(f"{root} holds no midef: the process imported {about['midef']}")

    def ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        with suppress(BrokenPipeError):  # the process is gone, and says so with its exit code
            print(json.dumps(question), file=self.process.stdin, flush=True)
        if not (line := self.process.stdout.readline()):
            raise StageFailed(f"the process ended with exit code {self.process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "failed" in answer:
            raise StageFailed(answer["failed"])
        return answer

    def seconds(self, name: str, run: int, repeats: int, kept: Path | None = None) -> float:
        """CPU seconds of one time of a stage."""
        answer = self.ask({"name": name, "run": run, "repeats": repeats, "kept": kept and str(kept)})
        return float(answer["s"]) / repeats

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A stage in both checkouts.

    Args:
        before_s, after_s: CPU seconds of each round.
        result: how far apart what they made is, in words.
        failed: why there are no seconds; "" if there are.
    """

    name: str
    group: str
    before_s: Sequence[float] = ()
    after_s: Sequence[float] = ()
    result: str = ""
    failed: str = ""

    @property
    def ratios(self) -> list[float]:
        """Before / after of each round: above 1 the newer one is faster."""
        return sorted(old / new for old, new in zip(self.before_s, self.after_s, strict=True))

    @property
    def is_slower(self) -> bool:
        return not self.failed and self.ratios[-1] < SLOWER

    @property
    def line(self) -> str:
        """As a row of the table."""
        if self.failed:
            return f"| {self.name} | | | | | {self.failed} |"
        low, high = self.ratios[0], self.ratios[-1]
        old, new = (_short(median(seconds)) for seconds in (self.before_s, self.after_s))
        return f"| {self.name} | {old} | {new} | {median(self.ratios):.2f} | {low:.2f} to {high:.2f} | {self.result} |"


HEAD = "| stage | before, CPU s | after, CPU s | ratio | range | results |\n| --- | ---: | ---: | ---: | --- | --- |"


def compare(
    before: Path,
    after: Path,
    *,
    only: Sequence[str] = (),
    rounds: int = 2,
    least_s: float = 0.3,
    say: Callable[[Compared], None] = lambda compared: None,
) -> list[Compared]:
    """Time every stage in both checkouts.

    Args:
        only: words, of which a stage's name has to hold one; none takes all.
        rounds: of each stage, which of both goes first alternates.
        least_s: CPU seconds of a measurement; shorter work is repeated.
        say: told of each stage as it is done.
    """
    found = []
    with tempfile.TemporaryDirectory(prefix="midef-hot-loops-") as folder, _both(before, after, Path(folder)) as both:
        old, new = both
        for name, group in new.groups.items():
            if only and not any(word in name for word in only):
                continue
            found.append(_compared(name, group, old, new, rounds, least_s, Path(folder)))
            say(found[-1])
    return found


@contextmanager
def _both(before: Path, after: Path, folder: Path) -> Iterator[tuple[Checkout, Checkout]]:
    opened: list[Checkout] = []
    try:
        for root in (before, after):
            opened.append(Checkout(root, folder / "store"))
        yield opened[0], opened[1]
    finally:
        for checkout in opened:
            checkout.close()


def _compared(
    name: str, group: str, old: Checkout, new: Checkout, rounds: int, least_s: float, folder: Path
) -> Compared:
    if name not in old.keys:
        return Compared(name=name, group=group, failed="is new")
    kept = [folder / side / name.replace(" ", "_") for side in ("before", "after")]
    seconds: dict[Checkout, list[float]] = {old: [], new: []}
    try:
        first_s = [checkout.seconds(name, 0, 1, to) for checkout, to in zip((old, new), kept, strict=True)]
        repeats = max(1, min(MOST_REPEATS, math.ceil(least_s / max(min(first_s), 1e-6))))
        for run in range(1, rounds + 1):
            for checkout in (old, new) if run % 2 else (new, old):
                seconds[checkout].append(checkout.seconds(name, run, repeats))
    except StageFailed as error:
        return Compared(name=name, group=group, failed=f"failed: {error}")
    result = apart(*kept) + ("" if old.keys[name] == new.keys[name] else ", another key")
    return Compared(name=name, group=group, before_s=seconds[old], after_s=seconds[new], result=result)


def apart(before: Path, after: Path) -> str:
    """How far apart arrays and measurements of two folders are: the largest difference as a share of the largest value.

    Args:
        before, after: folders that a stage wrote into.
    """
    old, new = _arrays(before), _arrays(after)
    both = old.keys() & new.keys()
    if any(old[name].shape != new[name].shape for name in both):
        return "arrays of other shapes"
    only_one = f", {len(old.keys() ^ new.keys())} arrays in one alone" if old.keys() != new.keys() else ""
    if all(np.array_equal(old[name], new[name], equal_nan=old[name].dtype.kind == "f") for name in both):
        return f"equal{only_one}"
    shares = [_share(old[name].astype(np.float64), new[name].astype(np.float64)) for name in both]
    return f"{max(shares):.0e} apart{only_one}"


def _share(old: np.ndarray, new: np.ndarray) -> float:
    if not old.size or np.array_equal(old, new):
        return 0.0
    return float(np.abs(old - new).max() / max(np.abs(old).max(), 1e-12))


def _arrays(folder: Path) -> dict[str, np.ndarray]:
    """Numbers that a stage made, by file and name; seconds are none of its results."""
    found: dict[str, np.ndarray] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix == ".safetensors":
            found |= {f"{path.name} {name}": array for name, array in load_file(path).items()}
        elif path.suffix == ".npz":
            with np.load(path) as arrays:
                found |= {
                    f"{path.name} {name}": arrays[name] for name in arrays.files if arrays[name].dtype.kind in "biuf"
                }
        elif path.name == "measurements.json":
            for entry in json.loads(path.read_text()):
                if entry["value"] is not None and entry["unit"] != "seconds":
                    found[f"{path.name} {entry['metric']}"] = np.array(entry["value"])
    return found


def summary(compared: Sequence[Compared]) -> str:
    """A table with a line for each group, and the stages that are slower, failed or give other results."""
    lines = ["| group | stages | CPU s before / after, all together | median ratio | lowest | highest |"]
    lines.append("| --- | ---: | ---: | ---: | --- | --- |")
    timed = [one for one in compared if not one.failed]
    for group in dict.fromkeys(one.group for one in timed):
        rows = sorted((one for one in timed if one.group == group), key=lambda one: median(one.ratios))
        old, new = (sum(median(getattr(one, side)) for one in rows) for side in ("before_s", "after_s"))
        middle = median(median(one.ratios) for one in rows)
        ends = " | ".join(f"{median(one.ratios):.2f} {one.name}" for one in (rows[0], rows[-1]))
        lines.append(f"| {group} | {len(rows)} | {old / new:.2f} | {middle:.2f} | {ends} |")
    told = {
        "Slower in every round": [one.name for one in timed if one.is_slower],
        "Not timed": [f"{one.name} ({one.failed})" for one in compared if one.failed],
        "Results not equal to the last bit": [
            f"{one.name} ({one.result})" for one in timed if "apart" in one.result or "other" in one.result
        ],
    }
    return "\n".join(lines) + "".join(f"\n\n{word}: {', '.join(names) or 'none'}." for word, names in told.items())


def _short(seconds: float) -> str:
    return f"{seconds:.3f}" if seconds >= 0.01 else f"{seconds:.1e}"
