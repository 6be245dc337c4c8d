"""A Tune that runs one made-up node after another in this process, and what tests ask of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from midef.core import ArtifactKey, Recipe
from midef.storage import Store
from midef.sweep.execution import tune_run
from midef.sweep.planning.plan import Plan

OK = {"status": "ok", "failure": "", "reason": ""}


@dataclass
class FakeTune:
    """Publishes each node's artifact, unless `fails` says how it ends; of kind `store` or `oom` where it begins with
    `StoreError:` or `oom:`.

    Its Ray is one that was started for the run, unless `is_joined`.
    """

    publish: Callable[..., None]
    fails: dict[str, str] = field(default_factory=dict)
    built: list[ArtifactKey] = field(default_factory=list)
    trainable: Any = None
    pickled: Any = None
    interrupt_after: int = -1
    seconds: float = 0.0
    is_joined: bool = False
    with_dashboard: bool | None = None
    keeps_processes: bool | None = None
    configs: list[dict[str, Any]] = field(default_factory=list)

    def start(self, options: Any, *, with_dashboard: bool) -> bool:
        self.with_dashboard = with_dashboard
        return self.is_joined

    def fit(self, searcher: Any) -> None:
        trial = 0
        while isinstance(config := searcher.suggest(f"t{trial}"), dict):
            if len(self.built) == self.interrupt_after:
                raise KeyboardInterrupt
            self.configs.append(config)
            recipe = Recipe.from_plain(config["recipe"])
            assert config["node"] == str(recipe.key) and config["kind"] == recipe.kind
            reason = self.fails.get(recipe.kind) or self.fails.get(f"{recipe.kind} {defense_of(recipe)}")
            if reason is None:
                self.publish(recipe)
                self.built.append(recipe.key)
            kind = {"StoreError": "store", "oom": "oom"}.get((reason or "").partition(":")[0], "diverged")
            ended = OK if reason is None else {"status": "failed", "failure": kind, "reason": reason}
            result = {**ended, "seconds": self.seconds}
            searcher.on_trial_complete(trial_id=f"t{trial}", result=result, error=False)
            trial += 1
        assert config == searcher.FINISHED


def defense_of(recipe: Recipe) -> str:
    target = recipe if recipe.kind == "target" else recipe.inputs.get("target", recipe)
    return str(target.params.get("defense", {}).get("name"))


@pytest.fixture
def tune(publish: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> FakeTune:
    import ray
    from ray import tune as real

    fake = FakeTune(publish)

    class Tuner:
        def __init__(self, trainable: Any, *, tune_config: Any, run_config: Any) -> None:
            assert run_config.failure_config.max_failures == 1
            fake.trainable, self.searcher = trainable, tune_config.search_alg
            fake.keeps_processes = tune_config.reuse_actors
            fake.pickled = (trainable, tune_config, run_config)

        def fit(self) -> None:
            fake.fit(self.searcher)

    monkeypatch.setattr(real, "Tuner", Tuner)
    monkeypatch.setattr(tune_run, "start_ray", fake.start)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 2.0})
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    return fake


@pytest.fixture
def gpus(tune: FakeTune, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 4.0, "GPU": 1.0})


@pytest.fixture
def states(store: Store) -> Callable[[Plan], dict[str, str]]:
    """What is stored of each defense of a plan."""

    def read(plan: Plan) -> dict[str, str]:
        known = store.results.cells()
        return {c.cell.defense.label: known.get(c.cell.digest, "missing") for c in plan.sweep.cells}

    return read


@pytest.fixture
def time_on_a_gpu(publish: Callable[..., None]) -> Callable[..., None]:
    """Stores artifacts of equal work, so that every node of the sweep is expected to take so long."""

    def put(sweep: Any, hours: float) -> None:
        for recipe in sweep.cells[0].recipes.scores.walk():
            publish(recipe, wall_s=hours * 3600, device="NVIDIA H100")

    return put
