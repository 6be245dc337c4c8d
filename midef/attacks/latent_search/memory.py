"""Work on many rows in parts that memory holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

from midef.core.lazy import torch

if TYPE_CHECKING:
    from midef.attacks.target_handle import TargetHandle

R = TypeVar("R")


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
