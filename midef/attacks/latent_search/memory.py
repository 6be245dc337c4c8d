"""Work on many rows in parts that memory holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

from midef.core.lazy import torch

if TYPE_CHECKING:
    from torch import nn

    from midef.attacks.target_handle import TargetHandle

R = TypeVar("R")

CHUNK = 40
"""Images searched together on a CPU. Changes memory and speed, not results."""
GPU_CHUNK = 2048
"""The same on a GPU, where it is halved as long as memory is short; the papers' 300 x 5 go at once."""
CPU_BYTES = 4 * 2**30
"""Memory for what a generator keeps of images that are searched together on a CPU."""
DRAWN = 4
"""Features of the largest size that a generator holds at a time where nothing goes back."""

FREE = 0.8
"""Share of a GPU's free memory that rows of known size may fill: estimates are about."""

memory_share: ContextVar[float] = ContextVar("memory_share", default=1.0)
"""Share of these numbers that is searched together: 0.5 after memory ran out."""


def images_at_once(device: str, generator: nn.Module | None = None) -> int:
    """Images that fit on a device together.

    Args:
        generator: that draws them; one that says `bytes_per_image` draws fewer together on a CPU. A GPU is tried.
    """
    most: float = CHUNK if device == "cpu" else GPU_CHUNK
    each = getattr(generator, "bytes_per_image", 0)
    if each and device == "cpu":
        most = min(most, CPU_BYTES / each)
    return max(1, int(most * memory_share.get()))


def drawn_at_once(most: int, generator: nn.Module) -> int:
    """Images that are drawn together where nothing goes back, `most` of them as far as `CPU_BYTES` hold.

    Args:
        generator: that draws them; one that does not say how large its `largest_feature` is draws `most`.
    """
    largest = int(getattr(generator, "largest_feature", 0))
    return min(most, max(1, CPU_BYTES // (DRAWN * 4 * largest))) if largest else most


def at_once_in_free_memory(each_bytes: int, device: str) -> int:
    """Rows of this size that a GPU's free memory holds together, at least one; too many are halved, see `one_by_one`.

    Memory that torch keeps for later use counts as free.
    """
    free, total = torch.cuda.mem_get_info(device)
    used = torch.cuda.memory_allocated(device)
    free += torch.cuda.memory_reserved(device) - used
    allowed = torch.cuda.get_per_process_memory_fraction(device) * total - used  # of a GPU that others share
    return max(1, int(min(free, allowed) * FREE * memory_share.get() / each_bytes))


def in_parts(count: int, at_once: int, handle: TargetHandle, work: Callable[[int, int], R]) -> list[R]:
    """Results of `work(begin, end)` for parts of `count` rows; see `one_by_one`."""
    return list(one_by_one(count, at_once, handle, work))


def one_by_one(count: int, at_once: int, handle: TargetHandle, work: Callable[[int, int], R]) -> Iterator[R]:
    """Yield results of `work(begin, end)` for parts of `count` rows; in halves again if memory runs out.

    Args:
        at_once: rows of a part at first, >= 1.
        handle: of the target; what a part asked that is begun again does not count.
        work: on the rows from `begin` up to `end`; must give the same for each row whatever the part.
    """
    done = 0
    while done < count:
        end, queries = min(done + at_once, count), handle.queries
        try:
            result = work(done, end)
        except torch.OutOfMemoryError:
            if end - done == 1:
                raise
        else:
            yield result
            del result  # or it would be held while the next part is worked on
            done = end
            continue
        # out of the handler first: its traceback holds what takes the memory
        at_once = (end - done + 1) // 2
        handle.queries = queries
        torch.cuda.empty_cache()
