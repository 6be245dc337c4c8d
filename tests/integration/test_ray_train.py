"""Targets trained through Ray Train on a cluster that was joined: by two processes, and as it is left to the run.

What two processes trained is published, loads, and learned what one process learns.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from safetensors.torch import load_file

from midef.core import MidefError, Recipe
from midef.core.failure import kind_of
from midef.stages import BuildContext, build_recipe, ensure
from midef.stages.target import TargetSpec, load
from midef.storage import Store
from midef.sweep.execution import hang_watch, heartbeat, tune_run
from midef.sweep.execution.outcome import Outcome, RunOptions
from midef.sweep.execution.progress import Progress
from midef.sweep.execution.ray_train import fit_with_ray_train
from midef.sweep.execution.trial_config import TrialConfig
from midef.sweep.execution.tune_run import run_plan
from midef.sweep.planning.plan import Node, make_plan
from midef.sweep.planning.resources import DRIVER_MEMORY, driver_resources, node_resources
from midef.sweep.spec import profiles
from midef.sweep.spec.load import parse_spec
from midef.sweep.spec.resolve import Sweep, resolve

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

CLASSES = 12


@dataclass(frozen=True)
class Trained:
    """The same recipe, trained by two workers of Ray Train and in this process.

    Args:
        told: positions of the training that reached the driver.
        said: first line of a run that says nothing of how many processes train.
        actors: kinds of Ray's processes in that run, and how many there were of each.
        by_default: the store of that run.
    """

    recipe: Recipe
    outcome: Outcome
    shared: Store
    alone: Store
    told: list[float]
    said: str
    actors: Counter[str]
    by_default: Store

    def facts(self, store: Store) -> dict[str, Any]:
        facts: dict[str, Any] = store.artifacts.meta(self.recipe.key)["facts"]
        return facts

    def history(self, store: Store) -> dict[str, Any]:
        import json

        found: dict[str, Any] = json.loads((store.artifacts.fetch(self.recipe.key) / "training.json").read_text())
        return found


def only_targets(sweep: Sweep, store: Store) -> Any:
    """The plan of the sweep, cut down to its target and what the target needs."""
    plan = make_plan(sweep, store)
    nodes: dict[Any, Node] = {k: n for k, n in plan.nodes.items() if n.recipe.kind in ("split", "target")}
    return replace(plan, nodes=nodes)


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory,
    micro: dict[str, Any],
    cluster: dict[str, str],
    ray_here: Callable[[dict[str, str]], AbstractContextManager[pytest.MonkeyPatch]],
) -> Iterator[Trained]:
    data = copy.deepcopy(micro)
    data |= {"profile": "two_workers", "defenses": ["midre"]}
    data["training"] = {"epochs": 4, "batch_size": 16, "learning_rate": 0.01}
    folder = tmp_path_factory.mktemp("train")
    with ray_here(cluster) as patch:
        patch.setitem(profiles.PROFILES, "two_workers", replace(profiles.SMOKE, name="two_workers", train_workers=2))
        sweep = resolve(parse_spec(data))
        shared, alone = Store.open(folder / "shared"), Store.open(folder / "alone")
        told: list[float] = []
        hear = Progress.hear

        def listen(self: Progress, node: Node, beat: Mapping[str, Any]) -> None:
            if node.recipe.kind == "target":
                told.append(float(beat["fraction"]))
            hear(self, node, beat)

        patch.setattr(Progress, "hear", listen)
        for module in (heartbeat, hang_watch):
            patch.setattr(module, "NEAR_BEAT_S", 0.2)
        outcome = run_plan(only_targets(sweep, shared), shared, RunOptions())
        recipe = sweep.cells[0].recipes.target
        torch.set_num_threads(1)
        ensure(recipe, BuildContext(store=alone))
        by_default = Store.open(folder / "by_default")
        patch.setattr(Progress, "hear", hear)
        said, actors = run_as_it_comes({**data, "profile": "smoke"}, by_default, patch)
        yield Trained(recipe, outcome, shared, alone, told, said, actors, by_default)


def run_as_it_comes(data: dict[str, Any], store: Store, patch: pytest.MonkeyPatch) -> tuple[str, Counter[str]]:
    """Run the targets of a sweep; returns the first line, and the kinds of processes that Ray started."""
    lines: list[str] = []
    actors: Counter[str] = Counter()
    stop_ray, say = tune_run.stop_ray, Progress.say

    def stop() -> None:
        from ray.util.state import list_actors

        job = ray.get_runtime_context().get_job_id()
        actors.update(actor.class_name for actor in list_actors(limit=1000) if actor.job_id == job)
        stop_ray()

    def listen(self: Progress, text: str) -> None:
        lines.append(text)
        say(self, text)

    patch.setattr(tune_run, "stop_ray", stop)
    patch.setattr(Progress, "say", listen)
    outcome = run_plan(only_targets(resolve(parse_spec(data)), store), store, RunOptions())
    assert outcome.failed == {} and outcome.built == 3
    return lines[0], actors


def test_it_is_published_like_any_other(trained: Trained) -> None:
    assert trained.outcome.failed == {} and trained.outcome.built == 3
    assert trained.shared.artifacts.has(trained.recipe.key)
    assert trained.shared.artifacts.recipe(trained.recipe.key) == trained.recipe
    assert trained.facts(trained.shared).keys() == trained.facts(trained.alone).keys()


def test_it_loads_and_answers(trained: Trained) -> None:
    context = BuildContext(store=trained.shared)
    model = load(TargetSpec.of(trained.recipe), trained.shared.artifacts.fetch(trained.recipe.key), context, CLASSES)
    with torch.no_grad():
        logits = model(torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))).logits
    assert logits.shape == (2, CLASSES) and torch.isfinite(logits).all()


def test_it_reports_every_epoch(trained: Trained) -> None:
    done = trained.history(trained.shared)
    assert len(done["loss"]) == len(done["select_accuracy"]) == 4
    assert done["loss"][-1] < done["loss"][0]
    assert done["resumed_at"] == 0


def test_the_driver_hears_how_far_it_is(trained: Trained) -> None:
    """From the heartbeat of the first worker: the node's own process only waits."""
    assert trained.told == sorted(trained.told)
    assert any(0 < fraction < 1 for fraction in trained.told), trained.told


def test_it_learned_what_one_process_learns(trained: Trained) -> None:
    """But for rounding, which by and by flips ReLUs: the first epoch is nearer than the last.

    What is compared step by step, in double precision, is in tests/training/test_data_parallel.py.
    """
    together, apart = (trained.history(store)["loss"] for store in (trained.shared, trained.alone))
    assert together[0] == pytest.approx(apart[0], rel=1e-2)
    assert together == pytest.approx(apart, rel=5e-2)


def test_on_a_cluster_targets_train_through_ray_train_unless_it_is_said_otherwise(trained: Trained) -> None:
    assert trained.said == "targets train through Ray Train, one worker each"
    assert (trained.actors["TrainController"], trained.actors["RayTrainWorker"]) == (1, 1), trained.actors
    assert trained.actors["PlacementGroupCleaner"] == 1, "else the workers of a training that is ended keep their CPUs"
    assert not {"DatasetManager", "PreemptionWatcher"} & trained.actors.keys(), "processes that nothing here needs"


def test_one_worker_learns_what_the_nodes_own_process_learns(trained: Trained) -> None:
    """To the last bit."""
    first, second = (load_file(store.artifacts.fetch(trained.recipe.key) / "model.safetensors")
                     for store in (trained.by_default, trained.alone))  # fmt: skip
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_the_reason_of_a_failed_training_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The worker that ran out of memory counts, not those that lost it; the sweep sees that it was memory."""
    from ray.train import WorkerGroupError
    from ray.train.torch import TorchTrainer

    failures = {0: RuntimeError("connection closed by peer"), 1: torch.OutOfMemoryError("tried to allocate 2 GiB")}

    def fail(self: TorchTrainer) -> None:
        raise WorkerGroupError("both failed", failures)

    monkeypatch.setattr(TorchTrainer, "fit", fail)
    recipe = Recipe("target", "classifier", {})
    about = {"run": "sweep-1", "node": recipe.key, "recipe": recipe, "store": str(tmp_path)}
    config = TrialConfig(**about, train_workers=2, train_storage=str(tmp_path))
    with pytest.raises(MidefError, match="worker 1 of the training: OutOfMemoryError: tried to allocate") as caught:
        fit_with_ray_train(recipe, config)
    assert kind_of(caught.value) == "oom"


def test_the_key_does_not_know_how_many_workers_there_were(trained: Trained, tmp_path: Path) -> None:
    assert "workers" not in str(trained.recipe.as_plain())


def test_train_nodes_reserve_memory_alone() -> None:
    profile = replace(profiles.SMOKE, gpus={"prior": 0.5})
    assert driver_resources() == {"memory": float(DRIVER_MEMORY)}
    assert node_resources("prior", profile, cluster_gpus=1) == {"CPU": 1.0, "GPU": 0.5}
    assert node_resources("prior", profile, cluster_gpus=0) == {"CPU": 1.0}


def test_a_helper_of_a_shared_training_publishes_nothing(trained: Trained, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    build_recipe(trained.recipe, BuildContext(store=store), publish=False)
    assert {key.kind for key in store.artifacts.keys()} == {"split"}  # noqa: SIM118  # a method
