"""Record of a running sweep in its store: the driver's state, heartbeats of nodes, the request to stop.

    STORE/runs/<run>/driver.json         rewritten every few seconds while the driver lives
    STORE/runs/<run>/nodes/<digest>.json rewritten while a node makes progress
    STORE/runs/<run>/stop                nodes that have not begun do not begin

Never the truth about results: a folder of a run that ended badly may be deleted at any time.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midef.core.errors import DamagedFile, StoreError
from midef.storage import Store
from midef.storage.processes import process_lives, this_machine
from midef.storage.seals import read_json, sealed_json

if TYPE_CHECKING:
    from midef.sweep.execution.progress import Progress
    from midef.sweep.planning.plan import Plan

ROOT = "runs"
_SCHEMA = 1
_PARALLEL_READS = 32

log = logging.getLogger(__name__)

STOPPED = "stopped"
"""Status of a node that was asked to stop before it began: neither done nor failed."""
SILENT_S = 300.0
"""A driver that has written nothing for so long is taken for dead. Its state is written every `DRIVER_EVERY_S`."""
DRIVER_EVERY_S = 5.0


@dataclass(frozen=True, kw_only=True)
class DriverState:
    """State of a run, as its driver reported it last.

    Args:
        run: its name.
        sweep, digest, profile: of the sweep.
        host, machine, pid: where it runs; machine is what `this_machine` calls it.
        since, at: when it began and when it reported this, in seconds since the epoch.
        state: running, stopping, finished, interrupted, budget reached or failed.
        address: of the cluster, "" for a Ray started here.
        counts: nodes done, running, waiting and failed.
        running: what is at work, with its seconds.
        eta_s: seconds left; None where a node was neither timed nor estimated.
        eta_is_about: part of it rests on estimates.
        eta_is_least: the plan grows, by work that nobody knows yet.
        last: the node that ended last.
        gpu_hours: spent by this run.
    """

    run: str
    sweep: str
    digest: str
    profile: str
    host: str
    pid: int
    since: float
    at: float
    state: str
    machine: str = ""
    address: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    running: list[list[Any]] = field(default_factory=list)
    eta_s: float | None = None
    eta_is_about: bool = False
    eta_is_least: bool = False
    last: str = ""
    gpu_hours: float = 0.0

    @property
    def is_alive(self) -> bool:
        """Whether the driver was heard lately and, where that can be seen from here, its process runs.

        Clocks of two machines may differ by seconds; this says so by minutes.
        """
        if self.state not in ("running", "stopping") or time.time() - self.at >= SILENT_S:
            return False
        return process_lives(self.machine, self.pid) is not False


class RunRecord:
    """The files of one run."""

    def __init__(self, store: Store, run: str) -> None:
        self.location = store.location
        self.run = run
        self._beats: dict[str, dict[str, Any]] = {}

    def write(self, state: DriverState) -> None:
        self.location.put(f"{ROOT}/{self.run}/driver.json", sealed_json({"schema": _SCHEMA, **asdict(state)}))

    def ask_to_stop(self) -> None:
        """Nodes that have not begun end at once, as neither done nor failed."""
        self.location.put(f"{ROOT}/{self.run}/stop", b"stop\n")

    def should_stop(self) -> bool:
        return self.location.exists(f"{ROOT}/{self.run}/stop")

    def beat(self, node: str, content: dict[str, Any]) -> None:
        """Write a heartbeat of a node."""
        self.location.put(self._node(node), sealed_json({"schema": _SCHEMA, **content}))

    def forget(self, node: str) -> None:
        self.location.delete(self._node(node))

    def beats(self) -> dict[str, dict[str, Any]]:
        """Last heartbeat of each running node, by digest; of a damaged one, the last that could be read."""
        paths = self.location.files(f"{ROOT}/{self.run}/nodes")
        if self.location.local is not None or len(paths) < 2:
            read = [self._beat(path) for path in paths]
        else:  # the driver waits for them: one after another, a thousand nodes would keep it half a minute
            with ThreadPoolExecutor(_PARALLEL_READS) as pool:
                read = list(pool.map(self._beat, paths))
        beats = {_node_of(path): beat for path, beat in zip(paths, read, strict=True) if beat}
        self._beats = dict(beats)
        return beats

    def _beat(self, path: str) -> dict[str, Any]:
        """A heartbeat, the last one that could be read of a damaged one; {} of a node that ended."""
        try:
            beat = read_json(self.location.get(path), sealed_since=_SCHEMA)
        except FileNotFoundError:
            return {}
        except DamagedFile:
            beat = dict(self._beats.get(_node_of(path), {}))
        beat.pop("schema", None)
        return beat

    def remove(self) -> None:
        """Everything of this run."""
        for path in self.location.files(f"{ROOT}/{self.run}"):
            self.location.delete(path)
        local = self.location.local
        if local is not None:
            shutil.rmtree(local / ROOT / self.run, ignore_errors=True)

    def _node(self, node: str) -> str:
        return f"{ROOT}/{self.run}/nodes/{node}.json"


class DriverReport:
    """Writes what the driver of a run is doing, for `midef status`.

    Args:
        record: of the run.
        plan: what it builds.
        progress: how far it is.
        address: of the cluster, "" for a Ray started here.
    """

    def __init__(self, record: RunRecord, plan: Plan, progress: Progress, *, address: str) -> None:
        self.record, self.plan, self.progress, self.address = record, plan, progress, address
        self.since = time.time()

    def write(self, state: str, gpu_hours: float) -> None:
        """Report the state of the driver; a store that is full ends the run where results are written, not here."""
        sweep, progress, left = self.plan.sweep, self.progress, self.progress.left()
        reported = DriverState(
            run=self.record.run,
            sweep=sweep.name,
            digest=sweep.digest,
            profile=sweep.profile.name,
            host=socket.gethostname(),
            machine=this_machine(),
            pid=os.getpid(),
            since=self.since,
            at=time.time(),
            state=state,
            address=self.address,
            counts=progress.states(),
            running=progress.at_work(),
            eta_s=left.seconds,
            eta_is_about=left.is_about,
            eta_is_least=left.is_least,
            last=progress.last,
            gpu_hours=gpu_hours,
        )
        with suppress(StoreError):
            self.record.write(reported)


def drivers(store: Store) -> list[DriverState]:
    """Last reported state of every run in the store, latest first."""
    states = []
    for path in store.location.files(ROOT):
        if path.endswith("/driver.json"):
            try:
                states.append(parse_driver(path, store.location.get(path)))
            except FileNotFoundError:
                continue  # gone meanwhile
            except StoreError as error:
                log.warning("%s is passed over: %s", path, error)
    return sorted(states, key=lambda state: -state.at)


def parse_driver(path: str, content: bytes) -> DriverState:
    """The state that a driver reported in the file at a path.

    Raises:
        DamagedFile: if the file is damaged, or another version of midef wrote it.
    """
    try:
        state = read_json(content, sealed_since=_SCHEMA)
        if state.pop("schema") != _SCHEMA:
            raise DamagedFile("another version of midef wrote it")
        driver = DriverState(**state)
    except TypeError as error:
        raise DamagedFile(f"another version of midef wrote it: {error}") from error
    if path != f"{ROOT}/{driver.run}/driver.json":
        raise DamagedFile(f"it is the state of run {driver.run}")
    return driver


def _node_of(path: str) -> str:
    """Digest of the node whose heartbeat lies there."""
    return path.rpartition("/")[2].removesuffix(".json")


def new_run(digest: str) -> str:
    """A name for a run of the sweep with this digest."""
    return f"{_prefix(digest)}{uuid.uuid4().hex[:8]}"


def remove_dead(store: Store, digest: str, scratch: Path | None = None) -> int:
    """Remove what runs of this sweep left behind whose driver is dead; returns how many there were.

    Args:
        store: where they left it.
        digest: of the sweep.
        scratch: where Tune keeps a folder of its own for each run.
    """
    paths = store.location.files(ROOT)
    named = {run for path in paths if (run := path.split("/")[1]).startswith(_prefix(digest))}
    # A run says who drives it before it writes anything else, and forgets that first: what has no driver has ended.
    dead = {run for run in named if f"{ROOT}/{run}/driver.json" not in paths}
    states = {state.run: state for state in drivers(store)}
    dead |= {run for run, state in states.items() if state.digest == digest and not state.is_alive}
    # A driver that lives soon writes its state anew.
    damaged = named - dead - states.keys()
    dead |= {run for run in damaged if time.time() - store.location.modified(f"{ROOT}/{run}/driver.json") > SILENT_S}
    for run in dead:
        if scratch is not None:
            shutil.rmtree(scratch / run, ignore_errors=True)
        RunRecord(store, run).remove()
    return len(dead)


def _prefix(digest: str) -> str:
    return f"sweep-{digest[:8]}-"
