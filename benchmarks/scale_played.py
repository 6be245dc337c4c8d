"""Machines of a simulated sweep, and what happened on them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from scale_costs import NOTHING, Requests


@dataclass(frozen=True, kw_only=True)
class Machines:
    """Resources of all machines together; 0 GPUs lets nodes that hold one run without."""

    gpus: float
    cpus: float


@dataclass
class Played:
    """What happened.

    Args:
        end_s: when the last node ended.
        critical_s: longest path, as expected.
        work_s: seconds of GPUs (of processors where there are none) at work that was not lost.
        lost_s: the same of work that was lost with a machine.
        waited_s: of workers for the store: requests and bytes.
        driver_s: seconds the driver worked, by what on.
        delay_s: mean of the time from the end of a node to the driver's answer.
        rows_s: when a tenth, half and nine tenths of the cells had rows.
        requests: of all.
        busiest_writes, busiest_reads: requests a second of the busiest minute, with the heartbeats of as many nodes as
            ever ran at once.
        read_bytes, stored_bytes: of artifacts.
        built, failed, blocked, again: nodes; `again` counts lost tries.
        began: when each node began, by its number, where it was kept.
    """

    end_s: float = 0.0
    critical_s: float = 0.0
    work_s: float = 0.0
    lost_s: float = 0.0
    waited_s: float = 0.0
    driver_s: Counter[str] = field(default_factory=Counter)
    delay_s: float = 0.0
    rows_s: tuple[float, float, float] = (0.0, 0.0, 0.0)
    requests: Requests = NOTHING
    busiest_writes: float = 0.0
    busiest_reads: float = 0.0
    read_bytes: float = 0.0
    stored_bytes: float = 0.0
    built: int = 0
    failed: int = 0
    blocked: int = 0
    again: int = 0
    began: dict[int, float] = field(default_factory=dict)
