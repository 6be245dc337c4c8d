"""The whole thing on a cluster of three nodes that lives on this machine, from `ray up` to `ray down`.

`python tests/integration/lab/on_prem.py`, as root on Linux, takes some minutes. Four hosts made of namespaces
(nslab.sh), the repository's own cluster file with the values marked EDIT filled in, the README's own commands typed on
the client, a worker killed in the middle. One line per finding, with the seconds it took: `ok: name: what was seen
(12 s)`, or `FAIL: name: ...` and the end of the log that tells why. The exit code is 0 if nothing failed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from two_hosts import TOLERANCE, Watch, compare, record_of, targets_of, trainings  # noqa: E402

if TYPE_CHECKING:
    from midef.core.rows import ResultRow

ROOT = HERE.parents[2]
ADDRESSES = {"10.77.0.10": "head", "10.77.0.11": "w1", "10.77.0.12": "w2"}
NODES = ("client", *ADDRESSES.values())
CHECKS = (
    *("hosts", "up", "token", "doctor", "worker", "killed", "submit", "cells", "artifacts", "two_hosts", "resumed"),
    *("leftovers", "again", "back", "alike", "costs", "lacking", "package", "down", "gone"),
)
"""Every line this prints, in order."""
PACKAGE, DEFENSE = "midef-extras 0.1.0", "temperature(tau=8)"
SUBMIT = "ray submit cluster.yaml sweep/full_matrix.py"
LITTLE = "--num-cpus=1 --object-store-memory=80000000"
LEAVE = "RAY_gcs_rpc_server_reconnect_timeout_s=10"
"""A worker that lost its head waits a minute for it to come back, then ends."""
PATIENCE_S = 600.0
"""For any one command: what hangs is a failure, and a slow machine is none."""


class Failure(Exception):
    """log: the file that tells more."""

    def __init__(self, text: str, log: Path | None = None) -> None:
        super().__init__(text)
        self.log = log


class Report:
    """Prints the lines."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    @contextmanager
    def check(self, name: str, *, goes_on: bool = False) -> Iterator[Callable[[str], None]]:
        """`with report.check("up") as seen: ...; seen("3 nodes")`; what fails inside is said.

        goes_on: what follows can be looked at all the same; else the failure is raised again.
        """
        assert name in CHECKS
        start, texts = time.monotonic(), [""]
        try:
            yield lambda text: texts.append(text)
        except Exception as error:
            self.failed.append(name)
            _say(f"FAIL: {name}: {type(error).__name__}: {error} ({time.monotonic() - start:.0f} s)")
            log = getattr(error, "log", None)
            if log is not None and log.exists():
                _say(f"--- end of {log.name}")
                _say(log.read_text(errors="replace").replace("\r", "\n")[-4000:])
                _say("---")
            if not goes_on:
                raise
            return
        _say(f"ok: {name}: {texts[-1]} ({time.monotonic() - start:.0f} s)")


class Lab:
    """Four hosts, and what is typed on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shared = folder / "shared"
        self.checkout = folder / "checkout"
        self.store = self.shared / "results"
        self.logs = folder / "logs"
        self.logs.mkdir()
        kept = {Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()}
        self.environment = {
            **os.environ,
            "LAB": str(folder),
            "VENV": sys.prefix,
            "KEEP": " ".join(map(str, kept)),
        }

    def call(self, *arguments: str) -> None:
        """Run nslab.sh."""
        log = self.logs / f"nslab-{arguments[0]}.log"
        with log.open("wb") as stream:
            done = subprocess.run(
                [str(HERE / "nslab.sh"), *arguments],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
        if done.returncode:
            raise Failure(f"nslab.sh {arguments[0]} ended with {done.returncode}", log)

    def start(self, node: str, command: str, log: Path) -> subprocess.Popen[bytes]:
        """Type a command on a node, in the checkout on the client and in the home elsewhere."""
        place = f"cd {self.checkout} && " if node == "client" and self.checkout.exists() else ""
        with log.open("wb") as stream:
            return subprocess.Popen(
                [str(HERE / "nslab.sh"), "in", node, "bash", "-c", place + command],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )

    def run(self, node: str, command: str, name: str, *, fails: bool = False) -> str:
        """What the command printed. Another end than the wanted one is a failure."""
        log = self.logs / f"{name}.log"
        running = self.start(node, command, log)
        try:
            code = running.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            running.kill()
            raise Failure(f"`{command}` on {node} did not end within {PATIENCE_S:.0f} s", log) from None
        if bool(code) != fails:
            raise Failure(f"`{command}` on {node} ended with {code}", log)
        return _plain(log)

    def processes(self, node: str, name: str = "") -> list[int]:
        """Process numbers of this machine, of what runs on a node; name: of the program."""
        namespace = _pid_namespace((self.folder / "nodes" / node / "pid").read_text().strip())
        return [] if namespace is None else _processes_in({namespace}, name)

    def titles(self) -> dict[str, list[str]]:
        """Titles of the processes of each node, as Ray sets them."""
        found: dict[str, list[str]] = {}
        for node in ADDRESSES.values():
            places = [Path("/proc") / str(process) / "cmdline" for process in self.processes(node)]
            found[node] = [title for place in places if (title := _text(place))]
        return found

    def raylets(self) -> list[str]:
        return [node for node in ADDRESSES.values() if self.processes(node, "raylet")]

    def put_together(self) -> None:
        """The checkout as a person would have it, and the shared folder."""
        listed = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listed, check=True, capture_output=True).stdout
        for name in names.decode().rstrip("\0").split("\0"):
            source, target = ROOT / name, self.checkout / name
            if source.is_symlink() or source.exists():  # else deleted, and not yet committed
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target, follow_symlinks=False)
        shutil.copy(HERE / "sweep.yaml", self.shared)
        for name in ("data", "weights"):
            (self.shared / name).mkdir()
        file = self.checkout / "cluster" / "on_prem.yaml"
        file.write_text(edited(file.read_text(), self.shared))
        file = self.checkout / "midef" / "training" / "checkpoint.py"  # its trainings take seconds, not hours
        file.write_text(file.read_text().replace("every_s: float = 60.0", "every_s: float = 0.0"))
        home = self.folder / "nodes" / "client" / "home"
        shutil.copy(self.folder / "key", home / ".ssh" / "midef_cluster")  # where the cluster file looks for it


def edited(text: str, shared: Path) -> str:
    """The cluster file with its EDIT values filled in, one CPU and little memory for each node, and our sweep."""
    head, *workers = ADDRESSES
    for old, new in (
        (r"(?<=head_ip: )\S+", head),
        (r"(?<=worker_ips: )\[.*?\]", f"[{', '.join(workers)}]"),
        (r"(?<=ssh_user: )\S+", "root"),
        (r"(?<=shared=)\S+", str(shared)),
        (r"(?<=venv=)\S+", sys.prefix),
        (r"(?=\n +END\n)", f'\n    export MIDEF_SWEEP="{shared}/sweep.yaml"'),
        (r"ray start --head", rf"\g<0> {LITTLE}"),
        (r"ray start --address=\S+", rf"{LEAVE} \g<0> {LITTLE}"),
    ):
        text, count = re.subn(old, new, text)
        if count != 1:
            raise Failure(f"the cluster file matches {old!r} {count} times")
    return text


def go(lab: Lab, report: Report) -> None:
    """Everything, in order. The first thing that everything after it needs, and that fails, ends it."""
    with report.check("hosts") as seen:
        lab.call("up")
        lab.put_together()
        link = lab.checkout / "cluster.yaml"
        if not link.is_symlink() or link.resolve() != lab.checkout / "cluster" / "on_prem.yaml":
            raise Failure("cluster.yaml in the checkout is no link to cluster/on_prem.yaml")
        seen(f"{', '.join(NODES)}, and a checkout on the client")
    with report.check("up") as seen:
        lab.run("client", "ray get-auth-token --generate > /dev/null; chmod 600 ~/.ray/auth_token", "token")
        lab.run("client", "RAY_UP_enable_autoscaler_v2=0 ray up cluster.yaml -y", "up")
        _wait(lambda: len(lab.raylets()) == 3, 180, f"Ray runs on {lab.raylets()} only", lab.logs / "up.log")
        seen(f"3 nodes alive: {_alive(lab)}")
    with report.check("token", goes_on=True) as seen:
        command = "RAY_AUTH_MODE=disabled ray status --address 10.77.0.10:6379"
        said = lab.run("client", command, "no-token", fails=True)
        if "nauthenticated" not in said and "token" not in said:
            raise Failure("the cluster answers a client without a token by something else", lab.logs / "no-token.log")
        seen("a client without it is refused")
    with report.check("doctor", goes_on=True) as seen:
        said = lab.run("client", "ray exec cluster.yaml 'midef doctor --cluster --nodes 3'", "doctor")
        fine = len(re.findall(r"^ok +", said, re.M))
        if re.search(r"^problem", said, re.M) or fine < 8 or "3 nodes answer: head, w1, w2" not in said:
            raise Failure("midef doctor --cluster is not content", lab.logs / "doctor.log")
        seen(f"3 nodes answer, {fine} findings, all ok")
    _sweep(lab, report)
    _package(lab, report)
    with report.check("down") as seen:
        lab.run("client", "ray down -y cluster.yaml", "down")
        _wait(lambda: not lab.raylets(), 90, f"Ray still runs on {lab.raylets()}", lab.logs / "down.log")
        seen("no raylet is left")


def _package(lab: Lab, report: Report) -> None:
    """A package of somebody else (tests/plugin): on the head alone, then on every node."""
    sweep, text = lab.shared / "package.yaml", (HERE / "sweep.yaml").read_text()
    for old, new in (
        ("^name: .*", "name: package"),
        ("^defenses: .*", f'defenses: ["{DEFENSE}"]'),
        ("(?<=^training: {epochs: )[0-9]+", "1"),
        ("^train_workers: .*", ""),
    ):
        text, count = re.subn(old, new, text, flags=re.M)
        if count != 1:
            raise Failure(f"sweep.yaml matches {old!r} {count} times")
    sweep.write_text(text)
    with report.check("lacking", goes_on=True) as seen:
        _install(lab, "head")
        said = _ended(lab, "midef doctor --cluster --nodes 3", 3, "lacking")
        name, version = PACKAGE.split()
        if f"{name} is missing on w1, w2 and {version} on head; install the same" not in said:
            raise Failure("midef doctor --cluster does not say who lacks the package", lab.logs / "lacking.log")
        _ended(lab, f"midef run {sweep}", 1, "package-run")
        reasons = {row.reason for row in _package_rows(lab) if row.status == "failed"}
        if not reasons or any(f"{PACKAGE}, which is not installed on w" not in reason for reason in reasons):
            raise Failure(f"cells failed for {reasons}", lab.logs / "package-run.log")
        seen(f"doctor names the nodes, a failed cell says: {min(reasons)}")
    with report.check("package", goes_on=True) as seen:
        _install(lab, "w1", "w2")
        lab.run("client", f"{SUBMIT} {sweep} -- --retry-failed", "package-again")
        states = {(row.cell, row.status) for row in _package_rows(lab)}
        if {status for _, status in states} - {"refused"} != {"ok"}:  # pairs, which its attack has not, are refused
            raise Failure(f"cells with its defense are {states}", lab.logs / "package-again.log")
        target = next(row.target_key for row in _package_rows(lab))
        hosts = trainings(lab.folder / "nodes", ADDRESSES)[target.rpartition("/")[2]].hosts
        if len(hosts) != 1:
            raise Failure(f"its target was trained on {hosts}", lab.logs / "package-again.log")
        seen(
            f"{len(states)} cells with its defense, status ok; without a word on workers, Ray Train trained the target "
            f"by one process, on {hosts[0]}"
        )


def _install(lab: Lab, *nodes: str) -> None:
    """Install the package beside midef, in the home of each node."""
    options = "--quiet --no-index --no-deps --no-build-isolation --target ~/midef_src"
    for node in nodes:
        lab.run(node, f"python -m pip install {options} {lab.checkout}/tests/plugin", f"install-{node}")


def _ended(lab: Lab, command: str, code: int, name: str) -> str:
    """What a command on the head printed, if it ended with this code."""
    said = lab.run("client", f"ray exec cluster.yaml '{command}; echo ended with $?'", name)
    if f"ended with {code}\n" not in said:
        raise Failure(f"`{command}` ended with another code than {code}", lab.logs / f"{name}.log")
    return said


def _package_rows(lab: Lab) -> list[ResultRow]:
    from midef.storage import Store

    return [row for row in Store.open(lab.store, create=False).results.read() if row.defense == DEFENSE]


def _sweep(lab: Lab, report: Report) -> None:
    """The sweep, with a process of a training and a node lost on the way, and once more."""
    from midef.sweep.catalogue import read_spec
    from midef.sweep.spec.resolve import resolve

    cells = resolve(read_spec(HERE / "sweep.yaml")).cells
    wanted = {recipe.key: recipe for c in cells for recipe in c.recipes.scores.walk()}
    log = lab.logs / "submit.log"
    watch = Watch(lab.store, lab.folder / "kept", lab.titles)
    watch.start()
    start = time.monotonic()
    submit = lab.start("client", SUBMIT, log)
    try:
        with report.check("worker") as seen:
            killed = _kill_a_worker(lab, submit, log)
            seen(f"kill -9 of {killed}")
        with report.check("killed") as seen:
            seen(f"the raylet of w1, {_kill_in_the_middle(lab, submit, len(wanted), log)}")
        with report.check("submit") as seen:
            try:
                code = submit.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                raise Failure(f"the sweep did not end within {PATIENCE_S:.0f} s", log) from None
            if code or f"built {len(wanted)} artifacts, wrote {len(cells)} cells" not in _plain(log):
                raise Failure(f"`{SUBMIT}` ended with {code}", log)
            seen(f"`{SUBMIT}` ended with 0 after {time.monotonic() - start:.0f} s")
    finally:
        submit.kill()
        watch.end()

    alone = _start_alone(lab)  # beside what mostly waits
    try:
        _look(lab, report, cells, wanted, killed, log)
        _back(lab, report)
        _compare(lab, report, alone, watch)
    finally:
        alone.kill()


def _look(lab: Lab, report: Report, cells: Sequence[Any], wanted: dict[Any, Any], killed: str, log: Path) -> None:
    """What the sweep left in the store, and its second run."""
    from midef.storage import Store

    store = Store.open(lab.store, create=False)
    with report.check("cells", goes_on=True) as seen:
        rows = store.results.read()
        files = sorted(path.stem for path in (lab.store / "results").iterdir() if path.suffix == ".parquet")
        states = store.results.cells()
        twice = [pair for pair, n in Counter((row.cell, row.metric) for row in rows).items() if n > 1]
        if files != sorted(c.cell.digest for c in cells) or set(states.values()) != {"ok"} or twice:
            raise Failure(f"{len(files)} files, states {Counter(states.values())}, twice {twice}", log)
        seen(f"{len(cells)}, each once, status ok")
    with report.check("artifacts", goes_on=True) as seen:
        folders = {f"{path.parent.name}/{path.name}" for path in (lab.store / "artifacts").glob("[!.]*/*")}
        kept = {f"{key.kind}/{key.digest}" for key in wanted}
        if folders != kept or store.artifacts.keys() != set(wanted) or (lab.store / "artifacts/.damaged").exists():
            raise Failure(f"missing {kept - folders}, too many {folders - kept}, or damaged ones", log)
        for key in wanted:
            store.artifacts.fetch(key)  # compares every checksum
        seen(f"{len(wanted)}, each once, every checksum right")
    with report.check("two_hosts", goes_on=True) as seen:
        trained = {key.digest: recipe for key, recipe in wanted.items() if recipe.kind in ("target", "evaluator")}
        starts, said = trainings(lab.folder / "nodes", ADDRESSES), []
        for digest, recipe in trained.items():
            hosts = starts[digest].hosts if digest in starts else []
            if len(set(hosts)) != (2 if recipe.kind == "target" else 1):
                raise Failure(f"trainings under Ray Train: {starts}; {recipe.key.short} is not as it should be")
            name = f"target with {recipe.params['defense']['name']}" if recipe.kind == "target" else "evaluator"
            said.append(f"{name} by {len(hosts)} on {' and '.join(sorted(hosts))}")
        if set(starts) != set(trained):
            raise Failure(f"trainings under Ray Train: {starts}, of the sweep: {set(trained)}")
        seen("; ".join(said))
    with report.check("resumed", goes_on=True) as seen:
        records = {name: record_of(lab.store, recipe) for name, recipe in targets_of(HERE / "sweep.yaml").items()}
        resumed = {name: record["resumed_at"] for name, record in records.items()}
        (again,) = (name for name in records if killed.endswith(f"with {name}"))
        epochs = len(records[again]["loss"])
        if not 0 < resumed[again] < epochs or any(at for name, at in resumed.items() if name != again):
            raise Failure(f"trainings went on at epochs {resumed}; that with {again} lost a process", log)
        seen(f"the target with {again} went on after epoch {resumed[again]} of {epochs}, from midef's checkpoint")
    with report.check("leftovers", goes_on=True) as seen:
        private = [p for p in _private(lab.store) if not p.name.startswith("w1.")]  # those wait for w1 to be back
        other = [p for name in ("runs", "checkpoints", "ray") for p in (lab.store / name).glob("[!.]*")]
        if left := sorted(str(p.relative_to(lab.store)) for p in (*private, *other)):
            raise Failure(f"{len(left)}: {', '.join(left[:12])}")
        seen("none: no private files, no checkpoints, no state of runs")
    with report.check("again", goes_on=True) as seen:
        before = _state(lab.store)
        said = lab.run("client", SUBMIT, "again")
        if f"nothing to do: all {len(cells)} cells of sweep lab are done" not in said:
            raise Failure("the second submit says something else than nothing to do", lab.logs / "again.log")
        if changed := {name for name, _ in before.items() ^ _state(lab.store).items()}:
            raise Failure(f"the second submit changed {sorted(changed)[:8]}", lab.logs / "again.log")
        seen(f"nothing to do; {len(before)} files are what they were")


def _private(store: Path) -> list[Path]:
    """What is half written, by a process that lives or one that was killed."""
    return [*store.glob(".tmp/*"), *store.glob("*/.tmp/*")]


def _back(lab: Lab, report: Report) -> None:
    with report.check("back", goes_on=True) as seen:
        _wait(lambda: "w1" in lab.raylets(), 180, "Ray was not started again on w1")
        # What a node of the plan does before it works: it removes what processes of its machine left when they died.
        code = f'from midef.storage import Store; Store.open("{lab.store}", create=False).artifacts.sweep_tmp()'
        lab.run("w1", f". ~/.midef_env; python -c '{code}'", "sweep-w1")
        if left := _private(lab.store):
            raise Failure(f"{len(left)} left of what was killed: {', '.join(p.name for p in left)}")
        seen("Ray runs on w1 again, and nothing is left there of what was killed")


def _start_alone(lab: Lab) -> subprocess.Popen[bytes]:
    """Train the same targets by one process, outside the cluster."""
    script, places = HERE / "two_hosts.py", [lab.folder / "alone", lab.folder / "kept-alone"]
    with (lab.logs / "alone.log").open("wb") as stream:
        return subprocess.Popen(
            [sys.executable, str(script), str(HERE / "sweep.yaml"), *map(str, places)],
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )


def _compare(lab: Lab, report: Report, alone: subprocess.Popen[bytes], watch: Watch) -> None:
    """Targets that two processes trained with those that one did, and what it took."""
    from midef.storage import Store

    targets = targets_of(HERE / "sweep.yaml")
    with report.check("alike", goes_on=True) as seen:
        if code := alone.wait(PATIENCE_S):
            raise Failure(f"the training by one process ended with {code}", lab.logs / "alone.log")
        said, wrong = [], False
        for name, recipe in targets.items():
            found = compare(recipe, (lab.folder / "alone", lab.folder / "kept-alone"), (lab.store, watch.kept))
            wrong |= not found.distance < TOLERANCE[name] or bool(found.different) or found.accuracy < 90
            said.append(
                f"{name}: after one epoch {found.distance:.1e} of the way apart (at most {TOLERANCE[name]:g}), at the "
                f"end {found.images - found.different} of {found.images} test images predicted alike (logits differ "
                f"by {found.logits:.2g}, smallest margin {found.margin:.2g}, accuracy {found.accuracy:.0f} %)"
            )
        if wrong:
            raise Failure("; ".join(said), lab.logs / "alone.log")
        seen("; ".join(said))
    with report.check("costs", goes_on=True) as seen:
        starts, said = trainings(lab.folder / "nodes", ADDRESSES), []
        for name, recipe in targets.items():
            took = [Store.open(lab.folder / place).artifacts.meta(recipe.key) for place in ("alone", "shared/results")]
            ended = (lab.store / "artifacts" / "target" / recipe.key.digest / "META.json").stat().st_mtime
            of_train_s = ended - starts[recipe.key.digest].since
            said.append(
                f"{name} {took[0]['wall_s']:.0f} s in one process, {of_train_s:.0f} s under Ray Train with two workers "
                f"(the last {took[1]['wall_s']:.0f} s of them by the workers that ended it)"
            )
        counts = ", ".join(f"{watch.processes(workers)} with {workers} workers" for workers in (1, 2))
        seen(f"processes of a training: 1 in the node's own, {counts}; {'; '.join(said)}")


def _kill_a_worker(lab: Lab, submit: subprocess.Popen[bytes], log: Path) -> str:
    """Kill the first process of the first target that has a checkpoint, the one that writes it."""
    targets = {recipe.key.digest: name for name, recipe in targets_of(HERE / "sweep.yaml").items()}
    beats: dict[str, dict[str, Any]] = {}

    def has_a_checkpoint() -> bool:
        if submit.poll() is not None:
            raise Failure(f"`{SUBMIT}` ended with {submit.returncode} before a target had a checkpoint", log)
        at_work = {path.parent.name for path in lab.store.glob("checkpoints/*/state.pt")} & set(targets)
        beats.update({digest: beat for digest, beat in _heartbeats(lab.store) if digest in at_work})
        return bool(beats)

    _wait(has_a_checkpoint, 300, "no target has a checkpoint", log, every_s=0.05)
    ((digest, beat), *_) = beats.items()
    workers = [host for host, titles in lab.titles().items() for title in titles if "RayTrainWorker" in title]
    lab.run(str(beat["host"]), f"kill -9 {beat['pid']}", "kill-worker")
    if beat["host"] not in workers or len(set(workers)) < 2:
        raise Failure(f"processes of Ray Train ran on {workers}, the first worker on {beat['host']}", log)
    return (
        f"process {beat['pid']} of {beat['host']} after the first checkpoint; workers of Ray Train ran on "
        f"{', '.join(workers)}; it trained the target with {targets[digest]}"
    )


def _kill_in_the_middle(lab: Lab, submit: subprocess.Popen[bytes], count: int, log: Path) -> str:
    """Kill the raylet of w1 while w1 works, the targets are there and some artifacts are not."""
    targets = {recipe.key.digest for recipe in targets_of(HERE / "sweep.yaml").values()}

    def done() -> set[str]:
        return {path.parent.name for path in lab.store.glob("artifacts/[!.]*/*/META.json")}

    working: list[str] = []

    def at_work() -> bool:
        if submit.poll() is not None:
            raise Failure(f"`{SUBMIT}` ended with {submit.returncode} before w1 was at work", log)
        working[:] = [str(said["kind"]) for _, said in _heartbeats(lab.store) if said.get("host") == "w1"]
        return bool(working) and targets <= done()

    _wait(at_work, 300, "w1 does not work", log, every_s=0.05)
    lab.run("w1", "kill -9 $(pgrep -x raylet)", "kill")
    if (n := len(done())) > count - 3:
        raise Failure(f"it came too late: {n} of {count} artifacts were there", log)
    return f"which was at work on {', '.join(working)}, with {n} of {count} artifacts done"


def _heartbeats(store: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Digest of each artifact that is being built, and what its process wrote last."""
    for path in store.glob("runs/*/nodes/*.json"):
        try:
            yield path.stem, json.loads(path.read_text())
        except (FileNotFoundError, ValueError):
            continue  # it ended just now


def _state(store: Path) -> dict[str, tuple[int, str]]:
    """Every file of artifacts and results: when it was written, and its checksum."""
    return {
        str(path.relative_to(store)): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for folder in ("artifacts", "results")
        for path in (store / folder).rglob("*")
        if path.is_file()
    }


def _alive(lab: Lab) -> str:
    """What the cluster says to a client that has the token."""
    command, said = "RAY_AUTH_MODE=token ray status --address 10.77.0.10:6379", ""

    def all_there() -> bool:
        nonlocal said
        said = lab.run("client", command, "status")
        return re.search(r"^ *3 local\.cluster\.node", said, re.M) is not None

    _wait(all_there, 120, "`ray status` does not count 3 nodes", lab.logs / "status.log", every_s=2)
    return "`ray status` counts them"


def _wait(
    is_so: Callable[[], bool], seconds: float, otherwise: str, log: Path | None = None, *, every_s: float = 0.5
) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            raise Failure(f"{otherwise} after {seconds:.0f} s", log)
        time.sleep(every_s)


def _plain(log: Path) -> str:
    """A log without the carriage returns and colours of a terminal."""
    return re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", log.read_text(errors="replace").replace("\r", "\n"))


def _pid_namespace(pid: str | int) -> str | None:
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:  # it is gone
        return None


def _processes_in(namespaces: set[str], name: str = "") -> list[int]:
    found = []
    for place in Path("/proc").iterdir():
        if place.name.isdigit() and _pid_namespace(place.name) in namespaces:
            try:
                program = (place / "comm").read_text().strip()
            except OSError:
                continue
            if name in ("", program) and not _is_dead(place):
                found.append(int(place.name))
    return found


def _text(place: Path) -> str:
    try:
        return place.read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:  # it is gone
        return ""


def _is_dead(place: Path) -> bool:
    try:
        return (place / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def leave(lab: Lab, report: Report, *, keep: bool) -> None:
    """Nothing stays on this machine; `keep` leaves the folder, with all logs."""
    with report.check("gone") as seen:
        first = [path.read_text().strip() for path in (lab.folder / "nodes").glob("*/pid")]
        namespaces = {found for pid in first if (found := _pid_namespace(pid)) is not None}
        lab.call("down")
        _wait(lambda: not _processes_in(namespaces), 20, "processes of the nodes are left", every_s=0.1)
        names = subprocess.run(["ip", "netns", "list"], check=True, capture_output=True, text=True).stdout
        mounts = Path("/proc/self/mounts").read_text()
        if lab.folder.name in names or str(lab.folder) in mounts:
            raise Failure(f"namespaces or mounts of {lab.folder} are left")
        if not keep:
            shutil.rmtree(lab.folder)
        seen("no process, namespace, mount or file of the lab is left" if not keep else f"but {lab.folder}")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--keep", action="store_true", help="leave the folder of the lab, with all logs")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    report = Report()
    lab = Lab(Path(tempfile.mkdtemp(prefix="midef-lab.", dir="/tmp")))  # short: sockets lie below it
    try:
        go(lab, report)
    except Exception:
        if not report.failed:
            raise  # a mistake between two checks; what a check finds has been said
    finally:
        leave(lab, report, keep=options.keep)
    return 1 if report.failed else 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
