"""Heartbeats: a node's process tells the driver that it makes progress, and how far it is.

A process that hangs looks alive from outside: its actor answers, its GPU is busy. So what counts is work: steps of
optimizers, passes through networks, and processor time where no GPU is in play (a GPU that hangs keeps its process
spinning).
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from midef.core.errors import MidefError
from midef.core.position import Work, following
from midef.storage import Store
from midef.sweep.execution.run_record import RunRecord

log = logging.getLogger(__name__)

BEAT_S = 10.0
"""Seconds between two looks at a node."""
NEAR_BEAT_S = 3.0
"""The same where the store is a folder: nobody pays for each file there."""
IDLE_CPU_SHARE = 0.01
"""Less of one core than this over `BEAT_S` is no work: threads of Ray use some now and then."""

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


def beat_s(store: Store, hang_s: float) -> float:
    """Seconds between two looks at a node of a run that ends processes after `hang_s` without progress."""
    return min(BEAT_S if store.location.local is None else NEAR_BEAT_S, hang_s / 4)


class Heartbeat:
    """Writes a node's heartbeat while it works: `with Heartbeat(store, run, node, on_gpu=False):`.

    The first is written at once and says where the process is; another follows every `every_s` seconds in which
    something was done, with the position of the work. Nothing is written by a process that hangs.

    Args:
        store: where the heartbeats of the run are.
        run: name of the run.
        node: digest of the node.
        kind: of the node, for who reads the file.
        on_gpu: the node works on a GPU, so that processor time is no progress.
        every_s: seconds between two looks at what was done.
    """

    def __init__(
        self, store: Store, run: str, node: str, *, kind: str = "", on_gpu: bool, every_s: float = BEAT_S
    ) -> None:
        self.record = RunRecord(store, run)
        self.node = node
        self.kind = kind
        self.on_gpu = on_gpu
        self.every_s = every_s
        self.idle_s = max(every_s, BEAT_S) if every_s >= NEAR_BEAT_S else every_s
        """Seconds over which processor time is counted."""
        self.beats = 0
        self.work = Work()
        self._followed = following(self.work)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="midef-heartbeat", daemon=True)

    def __enter__(self) -> Self:
        _count_work()
        self._followed.__enter__()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._followed.__exit__(None, None, None)
        self._try(lambda: self.record.forget(self.node))

    def _beat(self) -> None:
        here = {
            "kind": self.kind,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": process_start(os.getpid()),
        }
        here |= {"ray_node": _ray_node(), "since": time.time()}
        work, fraction = _work, self.work.fraction
        cpu_s, counted = self._cpu_s(), time.monotonic()
        while True:
            self.beats += 1
            position = {"fraction": round(self.work.fraction, 4), "left_s": self.work.left_s()}
            position["certainty"] = round(self.work.certainty(), 4)
            beat = {**here, "beats": self.beats, "at": time.time(), **position}
            self._try(partial(self.record.beat, self.node, beat))
            while True:
                if self._ended.wait(self.every_s):
                    return
                done, reached = _work, self.work.fraction
                is_at_work = done != work or reached != fraction
                work, fraction = done, reached
                now, used_s = time.monotonic(), self._cpu_s() - cpu_s
                is_busy = not self.on_gpu and used_s > IDLE_CPU_SHARE * self.idle_s
                if is_busy or now - counted >= 0.9 * self.idle_s:  # looks come a moment early or late
                    cpu_s, counted = cpu_s + used_s, now
                if is_at_work or is_busy:
                    break

    @staticmethod
    def _cpu_s() -> float:
        """Processor seconds of the others in this process: what this thread uses is no work."""
        return time.process_time() - time.thread_time()

    @staticmethod
    def _try(write: Callable[[], None]) -> None:
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
