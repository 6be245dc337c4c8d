"""Heartbeats: a node's process tells the driver that it makes progress.

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


class Heartbeat:
    """Writes a node's heartbeat while it works: `with Heartbeat(store, run, node, on_gpu=False):`.

    The first is written at once and says where the process is; another follows every `every_s` seconds in which
    something was done. Nothing is written by a process that hangs.

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
        self.beats = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="midef-heartbeat", daemon=True)

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
