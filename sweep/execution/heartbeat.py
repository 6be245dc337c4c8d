"""Tells the driver that a node makes progress, and ends the process of one that does not.

A process that hangs looks alive from outside: its actor answers, its GPU is busy. So what counts is work: steps of
optimizers, passes through networks, and processor time where no GPU is in play (a GPU that hangs keeps its process
spinning).
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from midef.core.errors import MidefError
from midef.storage import Store
from midef.sweep.execution.run_record import RunRecord

log = logging.getLogger(__name__)

BEAT_S = 10.0
"""Seconds between two looks at a node."""
IDLE_CPU_SHARE = 0.01
"""Less of one core than this over `BEAT_S` is no work."""

_work = 0
_is_counted = False


def _count(*_: Any) -> None:
    global _work
    _work += 1


def _count_work() -> None:
    """Count steps and passes of this process, from now on."""
    global _is_counted
    if _is_counted:
        return
    from torch.nn.modules.module import register_module_forward_pre_hook
    from torch.optim.optimizer import register_optimizer_step_post_hook

    register_optimizer_step_post_hook(_count)
    register_module_forward_pre_hook(_count)
    _is_counted = True


class Pulse:
    """Writes a node's heartbeat while it works: `with Pulse(store, run, node, on_gpu=False):`.

    The first is written at once and says where the process is; another follows every `every_s` seconds in which
    something was done. Nothing is written by a process that hangs.
    """

    def __init__(
        self, store: Store, run: str, node: str, *, kind: str = "", on_gpu: bool, every_s: float = BEAT_S
    ) -> None:
        self.record = RunRecord(store, run)
        self.node = node
        self.kind = kind
        self.on_gpu = on_gpu
        self.every_s = every_s
        self.beats = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="midef-pulse", daemon=True)

    def __enter__(self) -> Self:
        _count_work()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._try(lambda: self.record.forget(self.node))

    def _beat(self) -> None:
        here = {
            "kind": self.kind,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": process_start(os.getpid()),
        }
        here |= {"ray_node": _ray_node(), "since": time.time()}
        work, cpu_s = _work, self._cpu_s()
        while True:
            self.beats += 1
            self._try(lambda: self.record.beat(self.node, {**here, "beats": self.beats, "at": time.time()}))
            while True:
                if self._ended.wait(self.every_s):
                    return
                worked, used_s = _work - work, self._cpu_s() - cpu_s
                work, cpu_s = work + worked, cpu_s + used_s
                if worked or (not self.on_gpu and used_s > IDLE_CPU_SHARE * self.every_s):
                    break

    @staticmethod
    def _cpu_s() -> float:
        """Processor seconds of the others in this process: what this thread uses is no work."""
        return time.process_time() - time.thread_time()

    @staticmethod
    def _try(write: Any) -> None:
        try:
            write()
        except (MidefError, OSError) as error:  # a store that is gone stops the node itself, with a better message
            log.debug("no heartbeat was written: %s", error)


def _ray_node() -> str:
    """The id of the Ray node this process runs on; "" outside Ray."""
    import sys

    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return ""
    return str(ray.get_runtime_context().get_node_id())


def process_start(pid: int) -> int:
    """When a process began, in the kernel's ticks: with the pid it names one process for ever. 0 if it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0


def end_process(pid: int, started: int) -> bool:
    """Kill the process, if it is still the same; runs on its machine."""
    if started and process_start(pid) != started:
        return False
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


class Watch:
    """The driver's side: which nodes have not made progress for too long.

    Compares what a node said with what it said before, by this machine's clock, so that clocks need not agree.
    """

    def __init__(self, store: Store, run: str, *, hang_s: float) -> None:
        self.record = RunRecord(store, run)
        self.hang_s = hang_s
        self.seen: dict[str, tuple[tuple[int, int], float]] = {}

    def hanging(self) -> dict[str, dict[str, Any]]:
        """Nodes, by digest, whose last progress is older than `hang_s`, with what they said then."""
        now, found = time.monotonic(), {}
        beats = self.record.beats()
        for node, said in beats.items():
            mark = (int(said.get("pid", 0)), int(said.get("beats", 0)))
            before = self.seen.get(node)
            if before is None or before[0] != mark:
                self.seen[node] = (mark, now)
            elif now - before[1] > self.hang_s:
                found[node] = said
                del self.seen[node]  # killed once; its successor is watched anew
        for node in set(self.seen) - set(beats):
            del self.seen[node]
        return found

    @staticmethod
    def end(said: dict[str, Any]) -> bool:
        """Kill the process of a node that hangs, on whatever machine it is; False if that could not be done."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        where = NodeAffinitySchedulingStrategy(node_id=said["ray_node"], soft=False)
        kill = ray.remote(num_cpus=0, max_retries=0)(end_process).options(scheduling_strategy=where)
        try:
            return bool(ray.get(kill.remote(int(said["pid"]), int(said["started"])), timeout=15))
        except Exception as error:  # noqa: BLE001  # its machine is gone, or does not answer: Ray will find out
            log.warning("the process %s on %s could not be ended: %s", said["pid"], said["host"], error)
            return False
