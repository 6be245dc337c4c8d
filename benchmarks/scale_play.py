"""A sweep played event by event: machines, the one driver with its queue, the store, accidents.

The rule is the searcher's (`sweep/execution/searcher.py`, `room.py`): of the ready nodes whose class of resources fits
into what is free, the one with the longest path of work behind it; nothing is handed out before it can start. Free
resources are sums over all machines, as `Room` has them: that two halves of a GPU may lie on two machines is not seen.

The driver does one thing at a time, in the order in which things happen: an ended node (rows first, where it completes
a cell), handing out, and every few seconds its looks at heartbeats and at the time left. Meanwhile machines wait.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from heapq import heappop, heappush
from random import Random

from scale_costs import Costs, Requests
from scale_played import Machines, Played
from scale_shapes import Shape, Work

MINUTE = 60.0
PLAYED_TICKS = 12
"""Looks and estimates of the driver that are played one by one between two events."""


def play(
    shape: Shape,
    machines: Machines,
    costs: Costs | None = None,
    *,
    seed: int = 0,
    keep_begin: bool = False,
    seeds_first: bool = False,
) -> Played:
    """Play the sweep to its end.

    Args:
        shape: its plan.
        seed: of spread and accidents.
        seeds_first: hand out what the first seeds need before any of the others, as a run for each seed would.
        keep_begin: keep when each node began, by its number: the shared part first, then block by block.
    """
    return _Play(shape, machines, costs or Costs(), Random(seed), keep_begin=keep_begin, seeds_first=seeds_first).run()


class _Play:
    def __init__(
        self, shape: Shape, machines: Machines, costs: Costs, draws: Random, *, keep_begin: bool, seeds_first: bool
    ) -> None:
        self.shape, self.machines, self.costs, self.draws, self.keep_begin = shape, machines, costs, draws, keep_begin
        self.many, self.each = len(shape.shared), len(shape.block)
        self.total = self.many + shape.blocks * self.each
        self.works: tuple[Work, ...] = (*shape.shared, *shape.block)
        self.after: list[list[int]] = [[] for _ in self.works]  # dependants, by number in `works`
        for i, work in enumerate(self.works):
            for other in work.shared:
                self.after[other].append(i)
            for other in work.own:
                self.after[self.many + other].append(i)
        waits = [len(work.shared) + len(work.own) for work in self.works]
        self.waits = waits[: self.many] + waits[self.many :] * shape.blocks
        # nodes of equal rank in order of their number, as one integer: heaps of millions stay small
        order = sorted(range(len(self.works)), key=lambda i: (-self.works[i].rank_s, i))
        self.at, self.seeds_first = order, seeds_first
        self.place = [0] * len(self.works)
        for place, i in enumerate(order):
            self.place[i] = place if seeds_first else place * shape.blocks
        self.block_step = len(order) if seeds_first else 1
        self.gpu = [work.gpu if machines.gpus else 0.0 for work in self.works]
        self.ready: dict[float, list[int]] = defaultdict(list)
        self.free_gpus, self.free_cpus = machines.gpus, machines.cpus
        self.ends: list[tuple[float, int, bool]] = []
        self.busy_until, self.running, self.waiting = 0.0, 0, self.total
        self.next_look, self.next_left = costs.look_every_s, costs.left_every_s
        self.delays, self.ended = 0.0, 0
        self.dead: set[int] = set()
        self.writes: dict[int, float] = defaultdict(float)
        self.reads: dict[int, float] = defaultdict(float)
        self.free, self.beats, self.most_running = 0.0, 0.0, 0
        self.looks_s = self.lefts_s = self.steady_writes = self.steady_reads = 0.0
        self.asked = [costs.store.of(work.kind) for work in self.works]
        self.apart_s = [
            asked.all * costs.store.latency_s + work.read_bytes / costs.store.bytes_per_s
            for asked, work in zip(self.asked, self.works, strict=True)
        ]
        self.row_times: list[float] = []
        self.writers = [0.0] * costs.store.rows_beside  # when each thread is free
        self.played = Played(critical_s=shape.critical_s())

    def run(self) -> Played:
        for node in range(self.total):
            if not self.waits[node]:
                self._offer(node)
        self._hand_out(0.0)
        while self.ends:
            now, node, is_lost = heappop(self.ends)
            self._tick(max(now, self.busy_until))
            begun = max(now, self.busy_until)
            self._end(node, now, begun, is_lost=is_lost)
            self._hand_out(max(begun, self.busy_until))
        return self._finished()

    def _work(self, node: int) -> int:
        """Number in `works` of a node; nodes have numbers themselves: the shared part, then block by block."""
        return node if node < self.many else self.many + (node - self.many) % self.each

    def _block(self, node: int) -> int:
        return 0 if node < self.many else (node - self.many) // self.each

    def _dependants(self, node: int) -> list[int]:
        i = self._work(node)
        if node >= self.many:
            start = node - (i - self.many) - self.many
            return [start + other for other in self.after[i]]
        blocks = range(self.shape.blocks)
        return [
            number
            for other in self.after[i]
            for number in ([other] if other < self.many else [other + block * self.each for block in blocks])
        ]

    def _offer(self, node: int) -> None:
        i = self._work(node)
        heappush(self.ready[self.gpu[i]], self.place[i] + self._block(node) * self.block_step)

    def _node(self, place: int) -> int:
        """Inverse of a place in a heap."""
        if self.seeds_first:
            block, first = divmod(place, len(self.at))
        else:
            first, block = divmod(place, self.shape.blocks)
        i = self.at[first]
        return i if i < self.many else i + block * self.each

    def _hand_out(self, now: float) -> None:
        """The driver starts what fits, the most urgent first."""
        while self.free_cpus >= 1 - 1e-9:
            fitting = [heap for gpu, heap in self.ready.items() if heap and gpu <= self.free_gpus + 1e-9]
            if not fitting:
                return
            node = self._node(heappop(min(fitting, key=lambda heap: heap[0])))
            if node in self.dead:
                continue
            took = self.costs.hand_out_s + self.costs.per_running_s * self.running
            self._drive("nodes", now, took)
            now = max(now, self.busy_until)
            self._start(node, now)

    def _drive(self, what: str, now: float, seconds: float) -> None:
        """The driver works, after what it has to do before."""
        if seconds:
            self.busy_until = max(now, self.busy_until) + seconds
            self.played.driver_s[what] += seconds

    def _start(self, node: int, now: float) -> None:
        i, costs, store = self._work(node), self.costs, self.costs.store
        work, gpu = self.works[i], self.gpu[i]
        self.free_cpus -= 1
        self.free_gpus -= gpu
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        self.waiting -= 1
        seconds = work.seconds * (self.draws.lognormvariate(0.0, costs.spread) if costs.spread else 1.0)
        asked, apart = self.asked[i], self.apart_s[i]
        held_s = costs.start_s + apart + seconds
        survives = True
        if costs.preempted_per_gpu_h and gpu:
            lost_after = self.draws.expovariate(costs.preempted_per_gpu_h * gpu / 3600)
            if lost_after < held_s:
                survives, spent_s = False, lost_after
                kept_s = max(0.0, spent_s - costs.resumed_s) if work.kind in costs.resumes else 0.0
                lost_s = spent_s - kept_s
                # what survived shortens the next try; here it counts as done, and only the rest is lost
                held_s = seconds + lost_s + costs.restart_s + 2 * (costs.start_s + apart)
                self.played.lost_s += (lost_s + costs.restart_s) * (gpu or 1.0)
                self.played.again += 1
        share = gpu if self.machines.gpus else 1.0
        self.played.work_s += seconds * share
        self.played.waited_s += apart * share
        tries = 1 if survives else 2
        self._ask(now, tries * asked.writes, tries * asked.reads, tries * asked.free)
        self.beats += store.beats_per_s * held_s
        self.played.read_bytes += work.read_bytes
        if self.keep_begin:
            self.played.began[node] = now
        heappush(self.ends, (now + held_s, node, bool(costs.failed and self.draws.random() < costs.failed)))

    def _end(self, node: int, now: float, begun: float, *, is_lost: bool) -> None:
        i = self._work(node)
        self.free_cpus += 1
        self.free_gpus += self.gpu[i]
        self.running -= 1
        cells = self.works[i].cells
        if cells:
            rows = self.costs.store.row
            self._ask(begun, cells * rows.writes, cells * rows.reads, cells * rows.free)
            waits_s = cells * rows.all * self.costs.store.latency_s
            self._drive("rows", begun, cells * self.costs.row_s + (0.0 if self.writers else waits_s))
            written = max(begun, self.busy_until)
            if self.writers:
                written = max(written, heappop(self.writers)) + waits_s
                heappush(self.writers, written)
            self.row_times += [written] * cells
        self.delays += begun - now
        self.ended += 1
        self.played.end_s = max(self.played.end_s, begun, now)
        if is_lost:
            self.played.failed += 1
            self._block_after(node)
            return
        self.played.built += 1
        self.played.stored_bytes += self.works[i].stored_bytes
        for other in self._dependants(node):
            self.waits[other] -= 1
            if not self.waits[other]:
                self._offer(other)

    def _block_after(self, node: int) -> None:
        below = self._dependants(node)
        while below:
            other = below.pop()
            if other not in self.dead:
                self.dead.add(other)
                self.played.blocked += 1
                self.waiting -= 1
                below += self._dependants(other)

    def _tick(self, now: float) -> None:
        """What the driver did every few seconds, up to now, while `running` nodes ran.

        Of a long time the first few times are played, and the rest is as they were: nothing else happened meanwhile.
        """
        begun, costs, store = min(self.next_look, self.next_left), self.costs, self.costs.store
        if begun > now:
            return
        looked = 1 + self.running * store.look.all
        look_s = store.latency_s * (1 + (looked - 1) / store.parallel)
        left_s = costs.left_per_waiting_s * self.waiting
        pause_s = max(costs.left_every_s, left_s / costs.left_share if costs.left_share else 0.0)
        looks = lefts = 0.0
        for _ in range(PLAYED_TICKS):
            due = min(self.next_look, self.next_left)
            if due > now:
                break
            self.busy_until = max(due, self.busy_until) + (look_s if due == self.next_look else left_s)
            if due == self.next_look:
                self.next_look, looks = self.busy_until + costs.look_every_s, looks + 1
            else:
                self.next_left, lefts = self.busy_until + pause_s, lefts + 1
        else:
            passed = min(self.next_look, self.next_left) - begun
            more = max(0.0, now - begun - passed) / passed
            self.next_look, self.next_left = self.next_look + more * passed, self.next_left + more * passed
            looks, lefts = looks * (1 + more), lefts * (1 + more)
        self.looks_s += looks * look_s
        self.lefts_s += lefts * left_s
        self.steady_writes += looks * (1 + self.running * store.look.writes)
        self.steady_reads += looks * self.running * store.look.reads

    def _ask(self, at: float, writes: float, reads: float, free: float) -> None:
        minute = int(at / MINUTE)
        self.writes[minute] += writes
        self.reads[minute] += reads
        self.free += free

    def _finished(self) -> Played:
        played = self.played
        played.end_s = max(played.end_s, self.busy_until, *self.row_times[-1:], *self.writers)
        played.delay_s = self.delays / max(1, self.ended)
        most, store = self.most_running, self.costs.store
        played.driver_s += Counter({"heartbeats": self.looks_s, "time left": self.lefts_s})
        writes = sum(self.writes.values()) + self.steady_writes + self.beats
        played.requests = Requests(writes, sum(self.reads.values()) + self.steady_reads, self.free)
        looks_per_s = most / self.costs.look_every_s
        played.busiest_writes = max(self.writes.values(), default=0) / MINUTE + most * store.beats_per_s
        played.busiest_reads = max(self.reads.values(), default=0) / MINUTE + store.look.reads * looks_per_s
        if times := sorted(self.row_times):
            tenth, half, most = (
                times[min(len(times) - 1, math.ceil(share * len(times)) - 1)] for share in (0.1, 0.5, 0.9)
            )
            played.rows_s = (tenth, half, most)
        return played
