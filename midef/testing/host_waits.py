"""Calls that make a GPU's host wait, counted on any device: what a step of a loop must not contain."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from typing_extensions import override

from midef.core import upload

_READS = (
    "__bool__",
    "__complex__",
    "__contains__",
    "__float__",
    "__index__",
    "__int__",
    "allclose",
    "cpu",
    "cuda",
    "equal",
    "is_nonzero",
    "item",
    "masked_select",
    "nonzero",
    "numpy",
    "tolist",
    "unique",
    "unique_consecutive",
)
"""Calls that read what a device has, or whose result has a size that only the device knows."""
_MAKES = ("as_tensor", "scalar_tensor", "tensor")
"""Calls that make a tensor of Python's numbers, which is copied to the device."""
_LEFT_OUT = (Path(torch.optim.__file__).parent.as_posix(), Path(upload.__file__).as_posix())
"""Whose calls do not count: optimizers keep their counters on the host, uploads leave from pinned memory."""


class HostWaits(TorchFunctionMode):
    """Counts, while it lasts, the calls for which the host of a GPU would wait, by what they are and where they stand.

    Beside reading a tensor these are indexing by a mask or a list, and a copy to a device that is not `non_blocking`.
    `uploaded` and the counters of torch's optimizers are left out; what torch does in C++ is not seen:
    `torch.cuda.set_sync_debug_mode` sees that, where there is a GPU. `midef.testing.steps` reads the source instead,
    also of lines that a run does not come to.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    @override
    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if why := _why(getattr(func, "__name__", ""), args, given):
            frame = sys._getframe(1)
            while True:
                file = Path(frame.f_code.co_filename).as_posix()
                if file.startswith(_LEFT_OUT):
                    return func(*args, **given)
                if "/torch/" not in file or frame.f_back is None:
                    break
                frame = frame.f_back
            self.counts[f"{why} in {Path(frame.f_code.co_filename).name}:{frame.f_lineno}"] += 1
        return func(*args, **given)


def _why(name: str, args: Sequence[Any], given: Mapping[str, Any]) -> str:
    """Why the host would wait for this call; "" where it would not."""
    if name in _READS or (name in _MAKES and not isinstance(args[0], Tensor)):
        return name
    if name in ("__getitem__", "__setitem__"):
        return _why_index(name, args[1])
    if name == "to" and not given.get("non_blocking"):
        places = [arg for arg in (*args[1:], given.get("device")) if isinstance(arg, str | torch.device)]
        return "to a device" if places else ""
    if name == "repeat_interleave" and isinstance(args[1] if len(args) > 1 else given.get("repeats"), Tensor):
        return "repeat_interleave of a tensor"
    return ""


def _why_index(name: str, index: Any) -> str:
    parts = index if isinstance(index, tuple) else (index,)
    if any(isinstance(part, Tensor) and part.dtype in (torch.bool, torch.uint8) for part in parts):
        return f"{name} by a mask"
    return f"{name} by a list" if any(isinstance(part, list | range) for part in parts) else ""


def waits_of_steps(run: Callable[[int], object], few: int, more: int) -> dict[str, int]:
    """Calls that `run(more)` steps make more often than `run(few)` steps do, by what and where; none of a clean loop.

    Args:
        run: makes so many steps.
    """
    counted = []
    for steps in (few, more):
        with HostWaits() as waits:
            run(steps)
        counted.append(waits.counts)
    return {why: counted[1][why] - counted[0][why] for why in counted[1] if counted[1][why] > counted[0][why]}
