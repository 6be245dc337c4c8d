"""How products are rounded while networks train: the `precision` of trainings, as contexts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal, TypeAlias

from midef.core.lazy import torch

Precision: TypeAlias = Literal["float32", "tf32", "bfloat16"]
"""`float32`; `tf32`, factors of matrix products rounded to 10 bits, on GPUs; `bfloat16`, autocast around networks."""


@contextmanager
def products(precision: Precision) -> Iterator[None]:
    """While this lasts, matrix products are as precise as `tf32` asks; of the others, as they were.

    Convolutions on GPUs round to TF32 in any case: that is torch's default, which no training here changes.
    """
    before = torch.get_float32_matmul_precision()
    if precision == "tf32":
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def around_networks(precision: Precision, device: str) -> AbstractContextManager[object]:
    """Autocast of a pass in `bfloat16`, nothing otherwise.

    Casts of weights are not kept between passes: kept ones that were made without gradients would be used with them,
    and a captured step would read them from memory that is gone.
    """
    if precision != "bfloat16":
        return nullcontext()
    return torch.autocast(torch.device(device).type, torch.bfloat16, cache_enabled=False)
