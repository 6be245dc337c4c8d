"""What the simulation of large sweeps assumes beside the plan: driver, store, machines, accidents. All in one place.

Where a number comes from stands beside it. Prices and limits are those of one large provider, as of 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple


class Requests(NamedTuple):
    """Requests by what they cost.

    Args:
        writes: PUT, POST, COPY and LIST.
        reads: GET and HEAD.
        free: DELETE.
    """

    writes: float = 0.0
    reads: float = 0.0
    free: float = 0.0

    @property
    def all(self) -> float:
        return self.writes + self.reads + self.free


NOTHING = Requests()


@dataclass(frozen=True, kw_only=True)
class StoreCosts:
    """An object store.

    Args:
        node: requests of the process that builds a node, one after another; by kind, others as `usual`.
        usual: the same of a kind that is not named.
        row: of the driver, for the rows of a cell.
        rows_beside: threads of the driver that do that beside its other work; 0 where it waits.
        look: of the driver at every look, for each running node.
        beats_per_s: writes of a running node, its heartbeat and its log.
        latency_s: of a request.
        parallel: requests that a look at heartbeats has under way at once.
        bytes_per_s: that one process reads.
        writes_usd, reads_usd: of a request.
        gb_month_usd: of storage.
    """

    node: Mapping[str, Requests] = field(default_factory=dict)
    usual: Requests = NOTHING
    row: Requests = NOTHING
    rows_beside: int = 0
    look: Requests = NOTHING
    beats_per_s: float = 0.0
    latency_s: float = 0.0
    parallel: int = 1
    bytes_per_s: float = float("inf")
    writes_usd: float = 0.0
    reads_usd: float = 0.0
    gb_month_usd: float = 0.0

    def of(self, kind: str) -> Requests:
        """Requests of a node of this kind."""
        return self.node.get(kind, self.usual)

    def usd(self, requests: Requests) -> float:
        return requests.writes * self.writes_usd + requests.reads * self.reads_usd


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Everything that is assumed.

    Args:
        hand_out_s: of the driver for a node, from its readiness to its process, and for its end: Tune and searcher.
        per_running_s: of the driver for a node, for each node that runs then.
        row_s: of the driver's processor, for the rows of a cell.
        look_every_s: seconds between two looks of the driver at heartbeats.
        left_every_s: seconds between two estimates of the time left.
        left_per_waiting_s: of the driver for such an estimate, for each waiting node.
        left_share: of its time that the driver spends on these estimates at most; 0 for no limit.
        start_s: of a node, beside requests: its process reads what it needs and warms up.
        store: the store; a local one has no requests.
        spread: standard deviation of the logarithm of how much longer a node takes than expected.
        preempted_per_gpu_h: machines that are lost, for each hour and GPU: the node begins again.
        resumes: kinds whose checkpoints survive that; they lose `resumed_s` at most.
        resumed_s: seconds that such a kind loses.
        restart_s: until a node that was lost is handed out again.
        failed: share of nodes that fail for good, with all that wait for them.
        cpus_per_gpu: processors of a machine, of which every node takes one.
    """

    hand_out_s: float = 0.0
    per_running_s: float = 0.0
    row_s: float = 0.0
    look_every_s: float = float("inf")
    left_every_s: float = float("inf")
    left_per_waiting_s: float = 0.0
    left_share: float = 0.0
    start_s: float = 0.0
    store: StoreCosts = field(default_factory=StoreCosts)
    spread: float = 0.0
    preempted_per_gpu_h: float = 0.0
    resumes: frozenset[str] = frozenset({"target", "evaluator"})
    resumed_s: float = 300.0
    restart_s: float = 30.0
    failed: float = 0.0
    cpus_per_gpu: int = 8


BEFORE = Costs(
    # Of Tune, its callbacks and the searcher at few running nodes: `benchmarks/scheduling.md`, CPU of the driver at
    # 1,000 nodes, 12.9 ms on one machine and 21.0 on another.
    hand_out_s=0.017,
    # `benchmarks/scale_driver.py` at the commit before this one: the searcher looked through all that ran.
    per_running_s=5e-6,
    row_s=0.004,  # `benchmarks/scale_driver.py`
    look_every_s=10.0,  # `sweep/execution/heartbeat.py`: BEAT_S of an object store
    left_every_s=5.0,  # `sweep/execution/progress.py`: LARGE_EVERY_S
    left_per_waiting_s=16e-6,  # `benchmarks/scale_driver.py`
    start_s=0.3,  # `sweep/planning/estimate.py`: NODE_S
    store=StoreCosts(
        # `benchmarks/scale_requests.py`, with a write of three requests
        node={
            "split": Requests(29, 21, 1),
            "prior": Requests(26, 29, 1),
            "reconstructions": Requests(26, 47, 1),
            "scores": Requests(32, 65, 1),
        },
        usual=Requests(26, 31, 1),
        row=Requests(3, 11),
        look=Requests(0, 2),
        beats_per_s=0.3,  # a heartbeat every 10 s
        # Assumed: 30 ms for the first byte of a small object within a region (the provider says 100 to 200 ms of small
        # objects, measurements of others 10 to 40), 300 MB/s for one process.
        latency_s=0.030,
        bytes_per_s=300e6,
        # List prices of S3 Standard in us-east-1, 2026-11: USD 0.005 for 1,000 PUT, POST and LIST, 0.0004 for 1,000 GET
        # and HEAD, 0.023 for a GB and month.
        writes_usd=5e-6,
        reads_usd=4e-7,
        gb_month_usd=0.023,
    ),
    spread=0.3,  # assumed: published timings of equal work lie within 30 % of their median
    preempted_per_gpu_h=0.001,  # assumed: a GPU is lost once in six weeks
    failed=0.001,  # assumed: one node of a thousand
)
"""As it was when the simulation was first run."""
NOW = replace(
    BEFORE,
    per_running_s=0.0,
    left_share=0.02,  # `sweep/execution/progress.py`: LARGE_SHARE
    store=replace(
        BEFORE.store,
        node={
            "split": Requests(13, 21, 1),
            "prior": Requests(12, 29, 1),
            "reconstructions": Requests(12, 47, 1),
            "scores": Requests(13, 65, 1),
        },
        usual=Requests(12, 31, 1),
        row=Requests(1, 11),
        rows_beside=16,  # `sweep/execution/result_rows.py`: PARALLEL_ROWS
        beats_per_s=0.1,
        parallel=32,  # `sweep/execution/run_record.py`
    ),
)
"""As it is."""
LIMIT_WRITES, LIMIT_READS = 3500, 5500
"""Requests a second for one prefix that the provider promises; more are slowed down until it has divided the prefix."""
