"""The same targets trained by two processes on two hosts and by one process, compared.

`python two_hosts.py SWEEP STORE KEPT` trains the targets of a sweep in this process and keeps their checkpoints.

Both draw the same batches and changes of images and compute the loss on the whole batch, so that they differ by
rounding alone: sums over a batch (of gradients, and of moments in batch norms) add up in another order. What that does
in a step differs by network and loss, and grows from step to step:

- The network of sweep.yaml is smooth (no ReLU, no max-pooling) and has batch norms. Where another order of a sum
  decides which of two nearly equal pixels a max-pooling takes, one step differs by a percent already, in one process
  whose images stand in another order as well. tests/training/test_data_parallel.py compares such a network, in double
  precision.
- BiDO's HSIC inverts kernel matrices whose condition is about 1e5, so single precision leaves two or three digits of
  its gradient: images in another order change it by 0.5 %.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from midef.core.recipe import Recipe

TOLERANCE = {"bido": 0.02, "midre": 0.001}
"""Distance after one epoch, as a share of the way that the weights have gone: 0.0017 for BiDO and 0.00001 for MIDRE.

What faults of a training by two processes make of it: 0.62 and 0.54 where gradients have half their size, 0.99 and 0.52
where batch norms see a share of the batch, 0.83 and 1.01 where each process draws its own changes of images, and 0.72
where BiDO's loss is computed on shares.
"""
BESIDE_WORKERS = (
    "TrainController",
    "PlacementGroupCleaner",
    "DatasetManager",
    "SynchronizationActor",
    "PreemptionWatcher",
)
"""Words in the titles of processes that Ray Train may start for a training."""


def targets_of(sweep: Path) -> dict[str, Recipe]:
    """Name of the defense -> recipe of the target."""
    from midef.sweep.catalogue import read_spec
    from midef.sweep.spec.resolve import resolve

    recipes = {cell.recipes.target.key: cell.recipes.target for cell in resolve(read_spec(sweep)).cells}
    return {recipe.params["defense"]["name"]: recipe for recipe in recipes.values()}


class Watch(threading.Thread):
    """Keeps each checkpoint of each training in a store and counts the processes of Ray Train, until told to end.

    Args:
        store: where trainings keep their checkpoints.
        kept: folder for them, on the same file system.
        titles: titles of processes, by host.
    """

    def __init__(self, store: Path, kept: Path, titles: Callable[[], dict[str, list[str]]]) -> None:
        super().__init__(daemon=True)
        self.store, self.kept, self.titles = store, kept, titles
        self.seen: set[str] = set()
        """Kinds of processes that Ray Train started beside the workers; one of each for a training."""
        self._over = threading.Event()
        kept.mkdir()

    def run(self) -> None:
        counted = 0.0
        while not self._over.wait(0.03):
            keep_checkpoints(self.store, self.kept)
            if time.monotonic() - counted > 1.0:
                counted = time.monotonic()
                self._count()

    def _count(self) -> None:
        every = "\n".join(title for titles in self.titles().values() for title in titles)
        self.seen |= {kind for kind in BESIDE_WORKERS if kind in every}

    def end(self) -> None:
        """Look no more."""
        self._over.set()
        self.join()

    def processes(self, workers: int) -> int:
        """Processes of a training by so many workers: these, the node's, and those beside them."""
        return 1 + workers + len(self.seen)


def keep_checkpoints(store: Path, kept: Path) -> None:
    """Give each checkpoint a second name, under which it stays when the training replaces or removes it."""
    for path in store.glob("checkpoints/*/state.pt"):
        try:
            second = kept / f"{path.parent.name}-{path.stat().st_mtime_ns}.pt"
            if not second.exists():
                os.link(path, second)
        except (FileNotFoundError, FileExistsError):
            continue  # replaced or removed just now


@dataclass(frozen=True)
class Start:
    """A training under Ray Train.

    Args:
        since: when its first controller began, in seconds since the epoch.
        at: when its processes were started last.
        hosts: of these.
    """

    since: float
    at: float
    hosts: list[str]


def trainings(nodes: Path, addresses: Mapping[str, str]) -> dict[str, Start]:
    """Name of each Ray Train run -> what its controllers logged.

    Args:
        nodes: a folder for each host, with its /tmp.
        addresses: IP address -> name of the host.
    """
    found: dict[str, Start] = {}
    for path in nodes.glob("*/tmp/ray/session_*/logs/train/*sys-controller*.log"):
        for line in path.read_text().splitlines():
            said = json.loads(line)
            at = said["timestamp_ns"] / 1e9
            start = found.get(said["run_name"], Start(at, 0.0, []))
            start = replace(start, since=min(start.since, at))
            if "Started training worker group" in said["message"] and at > start.at:
                start = replace(
                    start, at=at, hosts=[addresses[ip] for ip in re.findall(r"ip=([\d.]+)", said["message"])]
                )
            found[said["run_name"]] = start
    return found


def weights_after(kept: Path, recipe: Recipe, epochs: int) -> dict[str, Tensor]:
    """Weights of a training after so many epochs, from the checkpoint that was kept.

    Raises:
        LookupError: if none was.
    """
    import io

    import torch

    from midef.storage.seals import unstamped

    for path in sorted(kept.glob(f"{recipe.key.digest}-*.pt")):
        state = torch.load(io.BytesIO(unstamped(path.read_bytes())), weights_only=True)
        if state["epoch"] == epochs:
            weights: dict[str, Tensor] = state["model"]
            return weights
    raise LookupError(f"no checkpoint of {recipe.key.short} after {epochs} epochs was kept")


def distance(alone: dict[str, Tensor], together: dict[str, Tensor], first: dict[str, Tensor]) -> float:
    """|alone - together| / |alone - first| of all weights that are trained, first: before the training."""
    names = [name for name in alone if alone[name].is_floating_point() and "running_" not in name]
    between = sum(float((alone[name].double() - together[name].double()).square().sum()) for name in names)
    way = sum(float((alone[name].double() - first[name].double()).square().sum()) for name in names)
    return (between / way) ** 0.5


@dataclass
class Compared:
    """Comparison of one target.

    Args:
        distance: of the weights after one epoch, see `distance`.
        images, different: of the report split, and how many of them are predicted to be somebody else.
        margin: smallest distance of an image's two largest logits.
        logits: largest difference of a logit.
        accuracy: on the report split, in percent.
    """

    distance: float
    images: int
    different: int
    margin: float
    logits: float
    accuracy: float


def compare(recipe: Recipe, alone: tuple[Path, Path], together: tuple[Path, Path]) -> Compared:
    """Compare a target of two stores, each with the folder of checkpoints that were kept."""
    import torch

    from midef.stages import BuildContext
    from midef.stages.split import load as load_splits
    from midef.stages.target import TargetSpec, load
    from midef.storage import Store

    torch.set_num_threads(1)
    stores = [Store.open(place, create=False) for place, _ in (alone, together)]
    splits = load_splits(stores[0].artifacts.fetch(recipe.inputs["private"].key))
    logits = []
    for store in stores:
        context, folder = BuildContext(store=store), store.artifacts.fetch(recipe.key)
        model = load(TargetSpec.of(recipe), folder, context, len(splits.class_names))
        with torch.no_grad():
            logits.append(model(splits.report.images.float() / 255).logits)
    top = logits[0].topk(2).values
    after_one = [weights_after(kept, recipe, 1) for _, kept in (alone, together)]
    return Compared(
        distance=distance(*after_one, weights_after(alone[1], recipe, 0)),
        images=len(splits.report),
        different=int((logits[0].argmax(1) != logits[1].argmax(1)).sum()),
        margin=float((top[:, 0] - top[:, 1]).min()),
        logits=float((logits[0] - logits[1]).abs().max()),
        accuracy=float((logits[1].argmax(1) == splits.report.labels).float().mean() * 100),
    )


def record_of(store: Path, recipe: Recipe) -> dict[str, Any]:
    """The record that a training wrote."""
    text = (store / "artifacts" / recipe.kind / recipe.key.digest / "training.json").read_text()
    record: dict[str, Any] = json.loads(text)
    return record


def train_alone(sweep: Path, store: Path, kept: Path) -> None:
    """Train the targets of a sweep in this process; keep their state before the first and after each epoch."""
    from midef.stages import BuildContext, ensure
    from midef.storage import Store
    from midef.training import checkpoint
    from midef.training.classifier import fit

    class EveryEpoch(checkpoint.Checkpointer):
        def __init__(self, folder: Path, **given: Any) -> None:
            super().__init__(folder, **{**given, "every_s": 0.0})

        def save(self, *state: Any) -> None:
            super().save(*state)
            keep_checkpoints(store, kept)

    fit.Checkpointer = EveryEpoch  # type: ignore[misc]
    plainly = fit._training_state

    def from_the_start(defense: Any, model: Any, *given: Any, **ways: Any) -> Any:
        """Keep the weights before the first step, too."""
        import torch

        state = plainly(defense, model, *given, **ways)
        first = EveryEpoch(store / "checkpoints" / current[0])
        first.save(0, model, torch.optim.SGD(model.parameters(), lr=1.0), None, {})
        first.clear()  # or the training would go on from it, with that optimizer
        return state

    current = [""]
    fit._training_state = from_the_start
    kept.mkdir(parents=True)
    context = BuildContext(store=Store.open(store), checkpoints=store / "checkpoints")
    for recipe in targets_of(sweep).values():
        current[0] = recipe.key.digest
        ensure(recipe, context)


if __name__ == "__main__":
    train_alone(*map(Path, sys.argv[1:4]))
