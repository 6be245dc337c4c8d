"""Seconds of every kind of work of a sweep on this machine, from about a second of each, beside the estimates.

    python benchmarks/unit_costs.py matrix37 [--seconds 0.7]

Each build is stopped after so many CPU seconds; its position told how much was done (`midef.core.position`). Networks
with fresh weights stand in for what it would have stored. From such tables come the rates of
`sweep/planning/estimate.py`. One thread, CPU seconds, so that other work on the machine hardly counts.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from typing_extensions import override

import midef.sweep
from midef.attacks import PRIORS
from midef.core.choice import Choice
from midef.core.position import Work, following
from midef.core.recipe import ArtifactKey, Inputs, Recipe
from midef.stages import BuildContext, build, ensure
from midef.stages.drawn import formation_of
from midef.stages.prior import _fresh_networks
from midef.stages.split import load as load_splits
from midef.stages.target import WEIGHTS, TargetSpec, structure
from midef.storage import Store
from midef.sweep.planning.plan import Node, Plan
from midef.training.trait_regressor import TraitRegressor


class Enough(BaseException):
    """The build has shown how fast it is."""


def clock_of(device: str) -> Callable[[], float]:
    """Seconds of work on a device: of this process's CPU time, or of the wall once a GPU has done what it was given."""
    if not device.startswith("cuda"):
        return time.process_time

    def when_done() -> float:
        torch.cuda.synchronize(device)
        return time.monotonic()

    return when_done


class Stopwatch(Work):
    """Ends work after some seconds. The first pass of a loop is left out: it warms up.

    Args:
        seconds: of work that is measured.
        clock: that tells them; of this process's CPU time where nothing is given.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.process_time) -> None:
        super().__init__()
        self.seconds, self.clock = seconds, clock
        self.begun = clock()
        self.passes: list[tuple[float, float]] = []

    @override
    def tell(self, fraction: float) -> None:
        super().tell(fraction)
        if not self.passes or self.fraction > self.passes[-1][0]:
            self.passes.append((self.fraction, self.clock()))
        if len(self.passes) > 2 and self.passes[-1][1] - self.passes[1][1] > self.seconds:
            raise Enough

    def whole_s(self) -> float:
        """Seconds of the whole work."""
        (first, since), (last, until) = self.passes[1], self.passes[-1]
        return since - self.begun + (until - since) / (last - first) * (1 - first)


class Costs:
    """Builds one node of each work of a plan as far as that tells its seconds.

    Args:
        seconds: of each.
        device: that works.
        say: called with a line for each.
    """

    def __init__(
        self,
        plan: Plan,
        store: Store,
        seconds: float,
        device: str = "cpu",
        say: Callable[[str], None] = print,
    ) -> None:
        self.plan, self.store, self.seconds, self.say = plan, store, seconds, say
        self.context = BuildContext(store=store, locations=plan.sweep.locations, device=device)
        self.clock = clock_of(device)
        self.found: dict[str, float] = {}

    def measure(self, node: Node) -> None:
        """Build the node, or store a stand-in where its work was measured already."""
        recipe = node.recipe
        if self.store.artifacts.has(recipe.key):
            return
        for needed in recipe.inputs.values():
            self._provide(needed.key)
        inputs = Inputs(recipe.inputs, lambda needed: ensure(needed, self.context))
        with self.store.artifacts.workspace() as folder, build.torch_settings(1):
            is_whole, facts = False, dict[str, Any]()
            if node.work not in self.found or recipe.kind == "split":
                watch = Stopwatch(float("inf") if recipe.kind == "split" else self.seconds, self.clock)
                try:
                    with following(watch):
                        builder = import_module(build._BUILDERS[recipe.kind])
                        facts, is_whole = builder.build(recipe, inputs, self.context, folder), True
                except Enough:
                    pass
                took_s = self.clock() - watch.begun if is_whole else watch.whole_s()
                self.found[node.work] = took_s
                how = "whole" if is_whole else "extrapolated"
                self.say(f"{node.work:<46}{took_s:>8.1f} s {how:<14}estimated {node.estimated_s or 0:>8.1f} s")
            if not is_whole:
                for path in folder.iterdir():
                    path.unlink()
                facts = self._stand_in(recipe, inputs, folder)
            self.store.artifacts.publish(recipe, folder, wall_s=1.0, facts={"device": "cpu", **facts}, packages={})

    def _provide(self, key: ArtifactKey) -> None:
        if not self.store.artifacts.has(key):
            self.measure(self.plan.nodes[key])

    def _stand_in(self, recipe: Recipe, inputs: Inputs, folder: Path) -> dict[str, Any]:
        """Write an artifact of the right shape, with fresh weights or random images; returns facts others read."""
        if recipe.kind in ("target", "evaluator"):
            classes = len(load_splits(inputs.path("private")).class_names)
            _save(structure(TargetSpec.of(recipe), inputs, classes), folder / WEIGHTS)
            return {"train_s": 1.0, "classes": classes}
        if recipe.kind in ("prior", "surrogate", "inverter"):
            prior = PRIORS.remake(Choice(recipe.component, recipe.params["params"], recipe.version))
            target = recipe.inputs.get("target")
            classes = 0 if target is None else int(self.store.artifacts.meta(target.key)["facts"]["classes"])
            for name, network in _fresh_networks(prior, recipe, classes).items():
                _save(network, folder / f"{name}.safetensors")
            return {"queries": 0}
        if recipe.kind == "regressor":
            traits = formation_of(Choice.from_plain(recipe.params["drawn"])).n_traits
            _save(TraitRegressor(traits, int(recipe.params["resolution_px"])), folder / "regressor.safetensors")
            return {"loss": 1.0}
        if recipe.kind == "reconstructions":
            identities, each = recipe.params["identities"], recipe.params["images_per_identity"]
            px = recipe.inputs["private"].params["resolution_px"]
            np.savez_compressed(
                folder / "images.npz",
                images=np.random.default_rng(0).integers(0, 255, (identities * each, 3, px, px), dtype=np.uint8),
                labels=np.arange(identities).repeat(each),
                restarts=np.tile(np.arange(each), identities),
                found=np.ones(identities * each, bool),
            )
            return {"queries": 1, "attack_s": 1.0, "found": 1}
        (folder / "measurements.json").write_text(json.dumps([]))
        return {}


def _save(network: nn.Module, path: Path) -> None:
    save_file({name: tensor.detach().contiguous() for name, tensor in network.state_dict().items()}, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", help="name of a sweep in the catalogue, or a specification")
    parser.add_argument("--seconds", type=float, default=0.7, help="CPU seconds of each kind of work")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        plan = midef.sweep.plan(options.sweep, folder)
        costs = Costs(plan, Store.open(folder), options.seconds)
        for node in plan.nodes.values():
            if node.work not in costs.found:
                costs.measure(node)
        measured = sum(costs.found[node.work] for node in plan.nodes.values())
        estimated = sum(node.estimated_s or 0.0 for node in plan.nodes.values())
        print(f"{len(plan.nodes)} nodes: {measured:.0f} CPU s measured, {estimated:.0f} s estimated")


if __name__ == "__main__":
    main()
