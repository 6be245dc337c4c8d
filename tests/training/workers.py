"""One of several processes that train classifiers together. Started by test_data_parallel.py: rank, output folder.

The first trains alone, then with the second, then all three train together.

In double precision: in single, the rounding of another order of sums flips ReLUs and maxima now and then.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from midef.core.recipe import Inputs
from midef.datasets import DATASETS, Splits
from midef.defenses.stack import choose_defense, remake_defense
from midef.models import ARCHITECTURES
from midef.nn.network import FixedZeroBias
from midef.training import TrainingRecipe
from midef.training.checkpoint import Checkpointer
from midef.training.classifier import fit
from midef.training.classifier.fit import FitReport, fit_classifier
from midef.training.data_parallel import World, norms_over_all

DEFENSES = {
    "none": "none",
    "bido": "bido",
    "coco": "bido(measure=coco,lambda_x=5,lambda_y=50)",
    "midre": "midre(area_high=0.2)",
    "cutmix": "cutmix",
    "nls": "nls(alpha=-0.05)",
    "loft": "loft(rank=8)",
}
FOR_THREE = ("bido", "midre")  # a batch of 20 does not divide by three
NORMS: dict[str, tuple[Callable[[], _BatchNorm], tuple[int, ...]]] = {
    "2d": (lambda: nn.BatchNorm2d(3), (8, 3, 4, 5)),
    "1d": (lambda: nn.BatchNorm1d(3, momentum=None), (7, 3)),
    "zero_bias": (lambda: FixedZeroBias(3), (5, 3)),
    "plain": (lambda: nn.BatchNorm2d(3, affine=False, track_running_stats=False), (4, 3, 2, 2)),
}


class Killed(Exception):
    """As if the machine had been switched off."""


def train(
    splits: Splits,
    defense: str = "none",
    *,
    seed: int,
    double: bool = True,
    ways: dict[str, Any] | None = None,
    **recipe: Any,
) -> dict[str, Any]:
    """What one training ends with. seed: of the initial weights."""
    architecture, chosen = ARCHITECTURES.make("vgg16_tiny"), remake_defense(choose_defense(defense))
    torch.manual_seed(seed)
    model = chosen.prepare_model(architecture.build(8, 32), Inputs({}, lambda needed: Path()))
    model.head = chosen.prepare_head(model.head)
    if double:
        model.double().register_forward_pre_hook(lambda _, given: (given[0].double(), *given[1:]))
    modules = [type(module).__name__ for module in model.modules()]
    done: FitReport = fit_classifier(
        model,
        splits.train,
        splits.select,
        facts=architecture.facts(),
        recipe=TrainingRecipe(**{"epochs": 1, "batch_size": 20, "jitter_px": 2, "learning_rate": 0.01, **recipe}),
        defense=chosen,
        seed=1,
        **(ways or {}),
    )
    assert modules == [type(module).__name__ for module in model.modules()]
    assert not any("forward" in vars(module) for module in model.modules())
    report = {"loss": done.loss, "accuracy": done.select_accuracy, "kept": done.kept_epoch, "from": done.resumed_at}
    return {"weights": {k: v.clone() for k, v in model.state_dict().items()}, **report}


def killed_and_resumed(splits: Splits, folder: Path, rank: int) -> dict[str, Any]:
    """A training that dies after its first epoch and goes on. Only the first worker's folder holds a state."""

    def kill(said: dict[str, Any]) -> None:
        raise Killed

    ways = {"checkpoint_folder": folder / f"state{rank}"}
    try:
        train(splits, seed=rank, epochs=2, ways={**ways, "report": kill})
    except Killed:
        return train(splits, seed=7 + rank, epochs=2, ways=ways)
    raise AssertionError("was not killed")


def norm_of(name: str, world: World) -> dict[str, Tensor | None]:
    """Outputs, gradients and statistics of a batch norm after two batches that the workers share."""
    make, shape = NORMS[name]
    norm = make().double().train()
    rng = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.copy_(torch.randn(3, generator=rng, dtype=torch.float64))
    outputs, slopes = [], []
    with norms_over_all(norm, world):
        for _ in range(2):
            whole = 5 + torch.randn(shape, generator=rng, dtype=torch.float64)
            weight = torch.randn(shape, generator=rng, dtype=torch.float64)
            x = whole.tensor_split(world.size)[world.rank].clone().requires_grad_()
            out = norm(x)
            torch.autograd.backward((out.square() * weight.tensor_split(world.size)[world.rank]).sum())
            assert x.grad is not None
            outputs.append(out.detach())
            slopes.append(x.grad)
        frozen = norm.eval()(whole[:2]) if norm.track_running_stats else None
    found = {"out": torch.cat(outputs), "slope": torch.cat(slopes), "frozen": frozen, "mean": norm.running_mean}
    grads = {f"grad_{key}": parameter.grad for key, parameter in norm.named_parameters()}
    return {**found, "var": norm.running_var, "seen": norm.num_batches_tracked, **grads}


def main(rank: int, out: Path) -> None:
    torch.set_num_threads(1)
    splits = DATASETS.make("synthetic_faces", {"identities": 8, "train_images": 5}).load(32)
    plainly = fit.augment
    for size in (1, 2, 3):
        if rank < size:
            train_all(splits, rank, size, out)
            fit.augment = plainly


def train_all(splits: Splits, rank: int, size: int, out: Path) -> None:
    if size > 1:
        meeting = out / f"meeting{size}"
        dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=size)
    world = World.current()
    found: dict[str, Any] = {"norms": {name: norm_of(name, world) for name in NORMS}}
    plainly = fit.augment
    if size < 3:
        found["half"] = train(splits, "bido", seed=rank, double=False, precision="bfloat16")
    fit.augment = lambda images, *given: plainly(images, *given).double()
    setattr(fit, "Checkpointer", partial(Checkpointer, every_s=0.0))  # noqa: B010
    # other initial weights in each worker: those of the first one count
    names = DEFENSES if size < 3 else FOR_THREE
    found |= {name: train(splits, DEFENSES[name], seed=rank) for name in names}
    if size < 3:
        found["best"] = train(splits, seed=rank, epochs=2, checkpoint="best_select")
        found["resumed"] = killed_and_resumed(splits, out / f"of{size}", rank)
        found["in_parts"] = train(splits, "midre", seed=rank, ways={"micro_batches": 2})
    torch.save(found, out / f"found{size}-{rank}.pt")
    if size > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
