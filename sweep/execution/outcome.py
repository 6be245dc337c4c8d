"""Options and outcome of a run."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from midef.core.failure import Failure


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options of a run.

    Args:
        address: of a running cluster; "" looks for one, and starts a Ray here where there is none.
        cpus: of a Ray started here, None takes the machine's.
        gpus: of a Ray started here, None takes the machine's; of a cluster as many as there can be, where machines join
            when they are needed, None those there are now.
        retries: further tries of a node whose process died.
        max_gpu_hours: start no node beyond this budget, as far as its cost is known.
        hang_s: end the process of a node that made no progress for so many seconds.
        verbose: show Ray's log.
    """

    address: str = ""
    cpus: int | None = None
    gpus: int | None = None
    retries: int = 1
    max_gpu_hours: float | None = None
    hang_s: float = 1800.0
    verbose: bool = False

    @property
    def joins_cluster(self) -> bool:
        """Whether a running cluster was named, instead of one started here."""
        return (self.address or os.environ.get("RAY_ADDRESS", "")).strip() not in ("", "local")


@dataclass
class Outcome:
    """Outcome of a run.

    Args:
        built: artifacts.
        rows: cells whose rows were written.
        failed: reasons with how many nodes they stopped.
        blocked: nodes that waited for one that failed.
        environment: why it stopped for something that is no cell's fault, such as a full disk.
        stopped: "interrupted" or "budget reached" where it ended before its plan.
        gpu_hours: spent on finished nodes.
    """

    built: int = 0
    rows: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    blocked: int = 0
    environment: list[str] = field(default_factory=list)
    stopped: str = ""
    gpu_hours: float = 0.0

    def count_failed(self, failure: Failure) -> None:
        """Count one more node that failed for this reason."""
        self.failed[failure.message] = self.failed.get(failure.message, 0) + 1


def failure_text(outcome: Outcome) -> str:
    """Reasons with counts, most frequent first."""
    lines = [f"  {count} x {reason}" for reason, count in sorted(outcome.failed.items(), key=lambda i: -i[1])]
    if outcome.blocked:
        lines.append(f"  {outcome.blocked} nodes were blocked by these")
    return "\n".join(lines)
