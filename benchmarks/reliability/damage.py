"""Damaged files of a store and the commands that read them: nothing may end in a traceback, or say another number.

    python -m reliability.damage [--flips 3000] [--seed 0]        # in benchmarks/

Each trial damages one file of a small store, mostly by one flipped bit, and runs commands on it, each on the store as
it was but for that file. What a command says has to equal what it says of the undamaged store, or it has to name what
is damaged, or to build it anew. Rows that are read must be rows that were written, and `verify` must find every bit;
but for the journal, which is Optuna's: there what is read of it counts, and its first trials alone are right.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import os
import random
import re
import shutil
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from midef.core.errors import MidefError
from midef.dashboards import build as pages
from midef.storage import Store
from midef.sweep.cli import app
from midef.sweep.execution import tune_run
from midef.sweep.execution.outcome import Outcome
from midef.sweep.matching.studies import Studies
from midef.sweep.matching.trials import complete_trials
from reliability.made_store import STUDY, make

FLIPS = 3000
JOURNAL = "journal of studies"
HOW = ("flip", "another file of its kind", "cut off", "empty", "zeros", "folder", "link to nowhere", "pipe")
OTHERS = 10
"""One trial in so many is no flipped bit."""
COMMANDS = (
    "status",
    "table",
    "dashboard",
    "plan",
    "run",
    "retry",
    "match",
    "compact",
    "verify",
    "fetch",
    "rows",
    "studies",
)


@dataclass(frozen=True)
class Answer:
    """What a command did.

    Args:
        said: its exit code and what it printed or wrote, without times.
        log: what it said beside that, to be searched for names.
        crash: an exception that nobody foresaw.
        builds: what it would have built.
    """

    said: str
    log: str = ""
    crash: str = ""
    builds: tuple[str, ...] = ()


@dataclass
class Counts:
    """What became of the damaged files of one kind.

    Args:
        kind: of file.
        files: of this kind.
        flips: trials with one flipped bit.
        others: other trials.
        commands: runs of commands.
        equal, named, rebuilt: what they did.
        tracebacks, silent: what none may do, each with an example.
    """

    kind: str
    files: int = 0
    flips: int = 0
    others: int = 0
    commands: int = 0
    equal: int = 0
    named: int = 0
    rebuilt: int = 0
    tracebacks: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)

    @property
    def is_right(self) -> bool:
        """Whether nothing ended in a traceback or changed silently."""
        return not self.tracebacks and not self.silent


def run(scratch: Path, flips: int = FLIPS, seed: int = 0, commands_each: int = 3) -> list[Counts]:
    """Damage the files of a store, kind by kind.

    Args:
        scratch: an empty folder.
        flips: trials with a flipped bit; about one tenth of that is damaged in other ways.
        seed: of the choice of files, bits and commands.
        commands_each: commands on each damaged file, drawn from `COMMANDS`.
    """
    victim = Victim(scratch)
    rng = random.Random(seed)
    by_kind = defaultdict(list)
    for path in sorted(victim.pristine):
        by_kind[kind_of(path)].append(path)
    counts = {kind: Counts(kind, len(paths)) for kind, paths in by_kind.items()}
    trials = flips + flips // OTHERS
    with victim.quiet():
        wanted = {}
        for name in COMMANDS:
            wanted[name] = victim.ask(name)
            victim.restore()
        for number in range(trials):
            kind = sorted(by_kind)[number % len(by_kind)]
            path = rng.choice(by_kind[kind])
            how = "flip" if number < flips else rng.choice(HOW[1 if len(by_kind[kind]) > 1 else 2 :])
            names = rng.sample(COMMANDS, commands_each)
            one = counts[kind]
            one.flips += how == "flip"
            one.others += how != "flip"
            state = rng.getstate()
            for name in names:
                rng.setstate(state)  # the same damage for every command
                what = victim.damage(path, how, rng, by_kind[kind])
                _judge(one, victim.ask(name), wanted[name], f"{path}: {what}, {name}", path)
                victim.restore()
    return list(counts.values())


def _judge(counts: Counts, answer: Answer, wanted: Answer, case: str, path: str) -> None:
    counts.commands += 1
    is_verify = case.endswith(", verify")
    if answer.crash:
        counts.tracebacks.append(f"{case}: {answer.crash}")
    elif answer.said == wanted.said and answer.builds == wanted.builds and (counts.kind == JOURNAL or not is_verify):
        counts.equal += 1
    elif any(name in answer.log + answer.said for name in names_of(path)):
        counts.named += 1
    elif counts.kind == JOURNAL and _is_earlier(answer.said, wanted.said):
        counts.equal += 1
    elif answer.builds != wanted.builds:
        counts.rebuilt += 1
    else:
        counts.silent.append(f"{case}: {answer.said[:300]} {answer.log[:300]}")


def _is_earlier(said: str, wanted: str) -> bool:
    """True for the first trials of a study and no others: a journal cut off at the end of a line is the journal of an
    earlier moment, as a killed driver leaves it. Its trainings are artifacts, and are told to the study again.
    """
    try:
        trials, all_trials = json.loads(said), json.loads(wanted)
    except ValueError:
        return False
    return isinstance(trials, list) and trials == all_trials[: len(trials)]


def kind_of(path: str) -> str:
    """Kind of file: its name without digests."""
    top, *rest = path.split("/")
    if top == "artifacts":
        return f"{rest[-1]} of {rest[0]}" if rest[-1] not in ("META.json", "recipe.json") else rest[-1]
    if top == "results":
        return "compacted rows" if rest[-1].startswith("compact-") else "rows of a cell"
    return {
        "sweeps": "plan", "matches": "report of matching", "runs": "state of a run", "studies": JOURNAL,
    }.get(top, path)  # fmt: skip


def names_of(path: str) -> list[str]:
    """What a message may call it by."""
    parts = path.split("/")
    if parts[0] == "artifacts":
        return [f"{parts[1]}/{parts[2][:10]}"]
    return [path, "/".join(parts[:-1])] if len(parts) > 2 else [path]


class Victim:
    """A small store whose files are damaged and put back.

    Args:
        scratch: folder to make it in.
    """

    def __init__(self, scratch: Path) -> None:
        scratch.mkdir(parents=True, exist_ok=True)
        self.scratch, self.root, self.page = scratch, scratch / "store", scratch / "page"
        _, self.spec = make(scratch)
        shutil.rmtree(self.root / "artifacts/.tmp", ignore_errors=True)
        self.pristine = {
            path.relative_to(self.root).as_posix(): path.read_bytes()
            for path in sorted(self.root.rglob("*"))
            if path.is_file() and "/." not in path.as_posix().removeprefix(str(self.root))
        }
        self.times = {name: (self.root / name).stat().st_mtime_ns for name in self.pristine}
        self.rows = {repr(row) for row in Store.open(self.root).results.read()}

    def damage(self, path: str, how: str, rng: random.Random, same_kind: list[str]) -> str:
        """Damage a file in place; returns what was done to it."""
        content, place = self.pristine[path], self.root / path
        place.unlink()
        match how:
            case "flip":
                position, bit = rng.randrange(len(content)), rng.randrange(8)
                changed = bytearray(content)
                changed[position] ^= 1 << bit
                place.write_bytes(changed)
                return f"bit {bit} of byte {position} flipped"
            case "cut off":
                place.write_bytes(content[: rng.randrange(1, len(content))])
            case "empty":
                place.write_bytes(b"")
            case "zeros":
                start = rng.randrange(len(content))
                place.write_bytes(content[:start] + bytes(len(content[start : start + 512])) + content[start + 512 :])
            case "another file of its kind":
                place.write_bytes(self.pristine[rng.choice([other for other in same_kind if other != path])])
            case "folder":
                place.mkdir()
            case "link to nowhere":
                place.symlink_to("nowhere")
            case "pipe":
                os.mkfifo(place)
        return how

    def restore(self) -> None:
        """Put back every file that is not as it was, and remove what commands have added."""
        root = str(self.root)
        for folder, folders, names in os.walk(root, topdown=False):
            inside = "" if folder == root else f"{folder[len(root) + 1 :]}/"
            for name in names:
                if inside + name not in self.pristine:
                    os.unlink(f"{folder}/{name}")  # noqa: PTH108  # much of the time of a trial is spent here
            for name in folders:
                place = f"{folder}/{name}"
                if os.path.islink(place):  # noqa: PTH114
                    os.unlink(place)  # noqa: PTH108
                elif inside + name in self.pristine or name in (".damaged", "errors"):
                    shutil.rmtree(place)
        for name, content in self.pristine.items():
            try:
                is_same = os.lstat(f"{root}/{name}").st_mtime_ns == self.times[name]
            except FileNotFoundError:
                is_same = False
            if not is_same:
                place = self.root / name
                place.unlink(missing_ok=True)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)
                os.utime(place, ns=(self.times[name], self.times[name]))

    @contextlib.contextmanager
    def quiet(self) -> Iterator[None]:
        """Within it commands start no Ray, copy no scripts, and their logs and errors come here."""
        self.log, self.crashes, self.builds = io.StringIO(), [], []
        handler = logging.StreamHandler(self.log)
        root = logging.getLogger()
        before, level = root.handlers[:], root.level
        root.handlers[:] = [handler]

        def crash(error: BaseException, args: object) -> int:
            self.crashes.append(f"{type(error).__name__}: {error}")
            return 70

        def build(plan: Any, *given: object, **options: object) -> Outcome:
            self.builds += sorted(str(key) for key in plan.nodes)
            return Outcome()

        with (
            mock.patch.object(app, "last_words", crash),
            mock.patch.object(tune_run, "run_plan", build),
            mock.patch.object(pages, "copy_plotly", lambda out: (out / "plotly.min.js").write_text("")),
        ):
            yield
        root.handlers[:] = before
        root.setLevel(level)

    def ask(self, name: str) -> Answer:
        """Run one command on the store as it is."""
        self.log.seek(0)
        self.log.truncate()
        self.crashes.clear()
        self.builds.clear()
        out, err = io.StringIO(), io.StringIO()
        shutil.rmtree(self.page, ignore_errors=True)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                said = _ASK[name](self) if name in _ASK else self._command(name)
            except MidefError as error:
                said = f"{type(error).__name__}"
                self.log.write(str(error))
            except Exception as error:  # noqa: BLE001  # it is counted
                said = ""
                self.crashes.append(f"{type(error).__name__}: {error}")
        text = re.sub(r"[\d.]+ \w+ ago|\"built\": ?\"[^\"]*\"", "", f"{said}\n{out.getvalue()}")
        return Answer(text, self.log.getvalue() + err.getvalue(), "; ".join(self.crashes), tuple(self.builds))

    def _command(self, name: str) -> str:
        store = ["--store", str(self.root)]
        arguments = {
            "status": ["status", *store],
            "table": ["table", *store, "--format", "csv"],
            "dashboard": ["dashboard", "build", *store, "--out", str(self.page)],
            "plan": ["plan", str(self.spec), *store, "--set", "seeds=[0, 1, 2]"],
            "run": ["run", str(self.spec), *store],
            "retry": ["retry", str(self.spec), "--failed", *store],
            "match": ["match", str(self.spec), *store, "--no-attack"],
            "compact": ["compact", *store],
            "verify": ["verify", *store],
        }[name]
        code = app.main(arguments)
        if name == "compact":
            return f"{code} {sorted(map(repr, Store.open(self.root).results.read()))}"
        if name == "dashboard" and self.page.is_dir():
            pictures = sorted((p.name, hash(p.read_bytes())) for p in self.page.rglob("*.webp"))
            data = [p.read_text() for p in (self.page / "data.js", *sorted((self.page / "data").glob("*.js")))]
            return f"{code} {data} {pictures}"
        return f"{code}"


def _fetch(victim: Victim) -> str:
    """Load every artifact, as a build or an analysis does."""
    artifacts = Store.open(victim.root, create=False).artifacts
    keys, loaded = sorted(artifacts.keys()), []
    for key in keys:
        try:
            folder = artifacts.fetch(key)
            meta = artifacts.meta(key)
            loaded.append((str(key), meta["facts"], [hash((folder / name).read_bytes()) for name in meta["files"]]))
        except MidefError as error:
            victim.log.write(f"{error}\n")
    return json.dumps(loaded)


def _rows(victim: Victim) -> str:
    """Read every row: none may be another than was written."""
    rows = {repr(row) for row in Store.open(victim.root, create=False).results.read()}
    if others := rows - victim.rows:
        raise AssertionError(f"rows that were never written: {sorted(others)[0]}")
    return str(len(rows))


def _studies(victim: Victim) -> str:
    """Read what a matching reads of earlier trainings."""
    study = Studies(Store.open(victim.root, create=False)).look(STUDY)
    if study is None:
        return "no study"
    return json.dumps([[t.values, t.params, t.user_attrs] for t in complete_trials(study)], default=str)


_ASK: dict[str, Callable[[Victim], str]] = {"fetch": _fetch, "rows": _rows, "studies": _studies}


def table(counts: list[Counts]) -> str:
    """Markdown: a line for each kind of file, then the sum and an example of each thing that is wrong."""
    names = ("flips", "others", "commands", "equal", "named", "rebuilt")
    lines = [
        "| file | files | bit flips | other damage | commands run | equal | named | built anew | tracebacks | silent |",
        "| --- |" + " ---: |" * 9,
    ]
    total: Counter[str] = Counter()
    for one in counts:
        total.update({name: getattr(one, name) for name in ("files", *names)})
        total.update(tracebacks=len(one.tracebacks), silent=len(one.silent))
        numbers = [one.files, *(getattr(one, name) for name in names), len(one.tracebacks), len(one.silent)]
        lines.append(f"| {one.kind} | " + " | ".join(f"{number:,}" for number in numbers) + " |")
    sums = [total[name] for name in ("files", *names, "tracebacks", "silent")]
    lines.append("| **all** | " + " | ".join(f"**{number:,}**" for number in sums) + " |")
    wrong = [case for one in counts for case in (*one.tracebacks[:2], *one.silent[:2])]
    return "\n".join([*lines, "", *(f"- {case}" for case in wrong)]).rstrip() + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flips", type=int, default=FLIPS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        counts = run(Path(scratch), options.flips, options.seed)
    sys.stdout.write(table(counts))
    return 0 if all(one.is_right for one in counts) else 1


if __name__ == "__main__":
    sys.exit(main())
