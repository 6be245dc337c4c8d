"""Several processes that train one network as one process would.

Each worker passes its share of a batch through the network; the loss is computed by everybody on the whole batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm
from typing_extensions import override

from midef.core.errors import SpecError
from midef.defenses import Batch
from midef.nn.network import Forward

_BYTES_AT_ONCE = 2**26


@dataclass(frozen=True)
class World:
    """Rank of this process, and the number of processes of a data-parallel training."""

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> World:
        """Of torch.distributed, where that is initialised."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()


# ---------------------------------------------------------------------------------------------- dividing a batch


@dataclass(frozen=True)
class Part:
    """Images of a batch that go through the network at once. Without positions, the whole batch as it is.

    Args:
        mine: positions in the batch that this worker passes through.
        all_workers: positions of all workers, in the order of their ranks.
        sizes: how many each worker has.
    """

    mine: Tensor | None
    all_workers: Tensor | None
    sizes: tuple[int, ...]

    def images_of(self, batch: Batch) -> Tensor:
        return batch.images if self.mine is None else batch.images[self.mine]

    def of(self, batch: Batch) -> Batch:
        """The part of the batch that all workers pass through."""
        if self.all_workers is None:
            return batch
        given = {field.name: getattr(batch, field.name) for field in fields(batch)}
        rows = {name: value[self.all_workers] for name, value in given.items() if isinstance(value, Tensor)}
        return replace(batch, **cast("dict[str, Any]", rows))


def parts(count: int, world: World, *, micro_batches: int = 1, device: str = "cpu") -> list[Part]:
    """Divide a batch of `count` images among the workers, and each worker's share into micro-batches.

    Shares are contiguous and differ by one image at most. No micro-batch has a single image, which batch norm refuses:
    small shares are divided less often.

    Raises:
        SpecError: if there are fewer images than workers.
    """
    often = max(1, min(micro_batches, count // world.size // 2))
    if world.size == 1 and often == 1:
        return [Part(None, None, (count,))]
    if count < world.size:
        raise SpecError(
            f"a batch of {count} images cannot be shared by {world.size} workers; lower train_workers or set it to auto"
        )
    shares = torch.arange(count, device=device).tensor_split(world.size)
    divided = [share.tensor_split(often) for share in shares]
    batch_parts = []
    for pieces in zip(*divided, strict=True):
        all_workers = None if often == 1 else torch.cat(pieces)
        batch_parts.append(Part(pieces[world.rank], all_workers, tuple(len(piece) for piece in pieces)))
    return batch_parts


# ---------------------------------------------------------------------------------------------- bringing it together


def gathered(forward: Forward, part: Part, world: World) -> Forward:
    """The pass of all workers, rows in the order of `Part.all_workers`, with gradient."""
    if world.size == 1:
        return forward

    def bring(rows: Tensor) -> Tensor:
        return cast("Tensor", _Gather.apply(rows, part.sizes, world.rank))

    taps = {name: bring(tap) for name, tap in forward.taps.items()}
    return Forward(bring(forward.logits), bring(forward.features), taps, tuple(map(bring, forward.side_logits)))


class _Gather(torch.autograd.Function):
    """Rows [n, ...] of each worker, one after the other, as [sum n, ...].

    Why gradients come out exact with W workers: everybody computes the loss L of the whole batch, so the gradient that
    comes in is dL/dx on each worker; the backward pass sums it over the workers, W dL/dx. What each worker's share adds
    to the gradient of a weight is thereby W times too large, and DistributedDataParallel, which averages over the
    workers, divides the sum of the shares by W. Batch norm in between is linear in the gradient and keeps the factor.
    """

    @staticmethod
    @override
    def forward(ctx: Any, own: Tensor, sizes: tuple[int, ...], rank: int) -> Tensor:
        ctx.sizes, ctx.rank = sizes, rank
        longest = max(sizes)
        padded = own.new_zeros((longest, *own.shape[1:]))
        padded[: len(own)] = own
        rows = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(rows, padded)
        return torch.cat([each[:size] for each, size in zip(rows, sizes, strict=True)])

    @staticmethod
    @override
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (incoming,) = gradients
        dtype = incoming.dtype
        wide = torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype  # half would round the sum
        total = incoming.to(wide, copy=True, memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total.split(ctx.sizes)[ctx.rank].to(dtype), None, None


def from_first(content: bytes, device: str, world: World) -> bytes:
    """Send the content that the first worker holds to all."""
    length = torch.tensor([len(content)], device=device)
    dist.broadcast(length, 0)
    pieces = []
    for start in range(0, int(length), _BYTES_AT_ONCE):
        size = min(_BYTES_AT_ONCE, int(length) - start)
        piece = torch.empty(size, dtype=torch.uint8, device=device)
        if world.rank == 0:
            piece.copy_(torch.frombuffer(bytearray(content[start : start + size]), dtype=torch.uint8))
        dist.broadcast(piece, 0)
        pieces.append(piece.cpu().numpy().tobytes())
    return b"".join(pieces)


def summed(number: int, device: str, world: World) -> int:
    """The sum of a number over all workers."""
    if world.size == 1:
        return number
    total = torch.tensor([number], device=device)
    dist.all_reduce(total)
    return int(total)


# ---------------------------------------------------------------------------------------------- batch norm


@contextmanager
def norms_over_all(model: nn.Module, world: World) -> Iterator[None]:
    """Batch norms of `model` in training mode see the batches of all workers while this lasts.

    Modules, their names and their weights stay what they are: only what a norm computes is replaced.

    Raises:
        SpecError: if a batch norm does more than normalise, which is not known here.
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)] if world.size > 1 else []
    strange = sorted({type(norm).__name__ for norm in norms if type(norm).forward is not _BatchNorm.forward})
    if strange:
        raise SpecError(f"{', '.join(strange)} cannot be computed over several workers; set train_workers to 0 or 1")
    for norm in norms:
        # an attribute of the instance: state_dict, isinstance and the mode of the module see no difference
        norm.forward = _DataParallelNorm(norm)  # type: ignore[assignment,method-assign]
    try:
        yield
    finally:
        for norm in norms:
            del norm.forward


class _DataParallelNorm:
    """What a batch norm computes over all workers: torch's own way on a GPU, ours on a CPU, which torch refuses."""

    def __init__(self, norm: _BatchNorm) -> None:
        self.norm = norm
        # shares weight, bias and running statistics with the norm
        self.on_gpu = nn.SyncBatchNorm.convert_sync_batchnorm(norm)

    def __call__(self, x: Tensor) -> Tensor:
        norm = self.norm
        if not norm.training:  # frozen, or evaluated
            return _BatchNorm.forward(norm, x)
        norm._check_input_dim(x)
        if x.is_cuda:
            return cast("Tensor", self.on_gpu.train()(x))
        return norm_over_all(norm, x)


def norm_over_all(norm: _BatchNorm, x: Tensor) -> Tensor:
    """Batch norm of x [n, C, ...] with the statistics of all workers' x; updates running statistics as nn.BatchNorm.

    Raises:
        ValueError: if all workers together hold one value per channel only.
    """
    wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    # Moments about each worker's own mean, put together: sums of squares would lose digits where the mean is large.
    others = [d for d in range(x.dim()) if d != 1]
    with torch.no_grad():
        variance, mean = torch.var_mean(wide, others, correction=0)
        count = mean.new_full((1,), x.numel() // x.shape[1])
        moments = torch.cat([count, mean, variance])
        rows = [torch.empty_like(moments) for _ in range(dist.get_world_size())]
        dist.all_gather(rows, moments)
        counts, means, variances = torch.stack(rows).split([1, len(mean), len(mean)], dim=1)
        total = counts.sum()
        if total <= 1:
            raise ValueError(f"batch norm needs more than one value per channel, all workers hold {tuple(x.shape)}")
        mean = (counts * means).sum(dim=0) / total
        variance = (counts * (variances + (means - mean).square())).sum(dim=0) / total
        if norm.track_running_stats:
            assert norm.running_mean is not None and norm.running_var is not None
            assert norm.num_batches_tracked is not None
            norm.num_batches_tracked.add_(1)
            share = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
            norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), share)
            norm.running_var.lerp_((variance * total / (total - 1)).to(norm.running_var.dtype), share)
    scale = (variance + norm.eps).rsqrt()
    normalised = _Normalise.apply(wide, mean, scale, total)
    shape = [1, -1, *[1] * (x.dim() - 2)]
    if norm.affine:
        normalised = normalised * norm.weight.view(shape) + norm.bias.view(shape)
    return cast("Tensor", normalised.to(x.dtype))


class _Normalise(torch.autograd.Function):
    """(x - mean) scale per channel, where mean and scale are those of all workers' x, which the gradient knows."""

    @staticmethod
    @override
    def forward(ctx: Any, x: Tensor, mean: Tensor, scale: Tensor, total: Tensor) -> Tensor:
        shape = [1, -1, *[1] * (x.dim() - 2)]
        normalised = (x - mean.view(shape)) * scale.view(shape)
        ctx.save_for_backward(normalised, scale, total)
        return normalised

    @staticmethod
    @override
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (incoming,) = gradients
        normalised, scale, total = ctx.saved_tensors
        others = [d for d in range(incoming.dim()) if d != 1]
        shape = [1, -1, *[1] * (incoming.dim() - 2)]
        sums = torch.cat([incoming.sum(others), (incoming * normalised).sum(others)])
        dist.all_reduce(sums)  # of all workers: each x moves the mean and the scale that all are normalised by
        along_one, along_normalised = (sums / total).chunk(2)
        slope = incoming - along_one.view(shape) - normalised * along_normalised.view(shape)
        return slope * scale.view(shape), None, None, None
