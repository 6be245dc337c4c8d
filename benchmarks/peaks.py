"""Most memory that work holds: on the GPU, and of this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass
class Peak:
    """Most memory that was held, in MB.

    Args:
        gpu_mb: by tensors on the GPU; None without one.
        host_mb: by this process; where the system cannot begin to count anew, since the process began.
    """

    gpu_mb: float | None = None
    host_mb: float | None = None

    @property
    def text(self) -> str:
        gpu = "" if self.gpu_mb is None else f"GPU {self.gpu_mb:,.0f} MB, "
        return f"{gpu}host {self.host_mb:,.0f} MB" if self.host_mb is not None else gpu


@contextmanager
def peaks(device: str) -> Iterator[Peak]:
    """Most memory held while this lasts; filled in at its end."""
    peak, is_gpu = Peak(), device.startswith("cuda")
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # Linux begins to count anew
    if is_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    try:
        yield peak
    finally:
        if is_gpu:
            torch.cuda.synchronize(device)
            peak.gpu_mb = round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
        peak.host_mb = _host_peak_mb()


def _host_peak_mb() -> float:
    try:
        lines = Path("/proc/self/status").read_text("utf-8").splitlines()
        return round(int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024, 1)
    except (OSError, StopIteration):
        import resource

        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
