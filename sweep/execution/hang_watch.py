"""The driver's look at heartbeats: how far each node is, and which one hangs and is ended."""

from __future__ import annotations

import logging
import os
import signal
import time
from typing import TYPE_CHECKING, Any

from midef.core.failure import Failure
from midef.sweep.execution.heartbeat import BEAT_S, NEAR_BEAT_S, process_start
from midef.sweep.execution.progress import describe
from midef.sweep.execution.run_record import RunRecord

if TYPE_CHECKING:
    from midef.sweep.execution.progress import Progress
    from midef.sweep.execution.searcher import PlanSearcher

log = logging.getLogger(__name__)


class HangWatch:
    """Finds nodes that have not made progress for too long, and ends their processes.

    Compares the last two heartbeats of a node by this machine's clock, so that clocks need not agree.

    Args:
        record: where the heartbeats of the run are.
        hang_s: seconds without progress.
    """

    def __init__(self, record: RunRecord, *, hang_s: float) -> None:
        self.record = record
        self.hang_s = hang_s
        self.every_s = min(BEAT_S if record.location.local is None else NEAR_BEAT_S, hang_s / 2)
        self._looked = time.monotonic()
        self.seen: dict[str, tuple[tuple[int, int], float]] = {}
        self.beats: dict[str, dict[str, Any]] = {}
        """Last heartbeats, by digest of the node."""

    def hanging(self) -> dict[str, dict[str, Any]]:
        """Last heartbeats, by digest, of nodes whose progress is older than `hang_s`."""
        now, hanging = time.monotonic(), {}
        beats = self.beats = self.record.beats()
        for node, beat in beats.items():
            mark = (int(beat.get("pid", 0)), int(beat.get("beats", 0)))
            before = self.seen.get(node)
            if before is None or before[0] != mark:
                self.seen[node] = (mark, now)
            elif now - before[1] > self.hang_s:
                hanging[node] = beat
                del self.seen[node]  # killed once; its successor is watched anew
        for node in set(self.seen) - set(beats):
            del self.seen[node]
        return hanging

    def look(self, searcher: PlanSearcher, progress: Progress) -> None:
        """Now and then, tell `progress` how far nodes are, and kill the processes of those that make no progress.

        Tune then tries these again.
        """
        now = time.monotonic()
        if now - self._looked <= self.every_s:
            return
        self._looked = now
        hanging = self.hanging()
        running = {key.digest: searcher.nodes[key] for key in searcher.running.values()}
        for digest in self.seen.keys() & running.keys():
            searcher.works_again(running[digest].key)
            progress.hear(running[digest], self.beats[digest])
        for digest, beat in hanging.items():
            node = running.get(digest)
            if node is None or not self.end(beat):
                continue
            reason = f"it made no progress for {self.hang_s:.0f} s on {beat['host']} and was ended"
            searcher.explain(node.key, Failure("hung", reason))
            progress.say(f"hangs: {describe(node)}: {reason}")

    @staticmethod
    def end(beat: dict[str, Any]) -> bool:
        """Kill the process of a node that hangs, on whatever machine it is; False if that could not be done."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        where = NodeAffinitySchedulingStrategy(node_id=beat["ray_node"], soft=False)
        kill = ray.remote(num_cpus=0, max_retries=0)(end_process).options(scheduling_strategy=where)
        try:
            return bool(ray.get(kill.remote(int(beat["pid"]), int(beat["started"])), timeout=15))
        except Exception as error:  # noqa: BLE001  # its machine is gone, or does not answer: Ray will find out
            log.warning("the process %s on %s could not be ended: %s", beat["pid"], beat["host"], error)
            return False


def end_process(pid: int, started: int) -> bool:
    """Kill the process, if it is still the same; runs on its machine."""
    if started and process_start(pid) != started:
        return False
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
