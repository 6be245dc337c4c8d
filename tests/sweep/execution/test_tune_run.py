"""What a run records, with a Tune that runs one made-up node after another in this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from midef.core import ArtifactKey, Failure, PreflightError, Recipe, StoreError
from midef.storage import Store
from midef.sweep.execution import tune_run
from midef.sweep.execution.tune_run import RunOptions, failure_text, prepare, run_plan
from midef.sweep.planning.plan import More, Node, Plan, extend_plan, make_plan

OK = {"status": "ok", "failure": "", "reason": ""}
SweepOf = Callable[..., Any]


@dataclass
class FakeTune:
    """Publishes each node's artifact, unless `fails` says how it ends; of kind `store` where it names that error."""

    publish: Callable[..., None]
    fails: dict[str, str] = field(default_factory=dict)
    built: list[ArtifactKey] = field(default_factory=list)
    trainable: Any = None
    interrupt_after: int = -1
    seconds: float = 0.0

    def fit(self, searcher: Any) -> None:
        trial = 0
        while isinstance(config := searcher.suggest(f"t{trial}"), dict):
            if len(self.built) == self.interrupt_after:
                raise KeyboardInterrupt
            recipe = Recipe.from_plain(config["recipe"])
            assert config["node"] == str(recipe.key) and config["kind"] == recipe.kind
            reason = self.fails.get(recipe.kind) or self.fails.get(f"{recipe.kind} {defense_of(recipe)}")
            if reason is None:
                self.publish(recipe)
                self.built.append(recipe.key)
            kind = "store" if (reason or "").startswith("StoreError") else "diverged"
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
            assert tune_config.reuse_actors and run_config.failure_config.max_failures == 1
            fake.trainable, self.searcher = trainable, tune_config.search_alg

        def fit(self) -> None:
            fake.fit(self.searcher)

    monkeypatch.setattr(real, "Tuner", Tuner)
    monkeypatch.setattr(tune_run, "_start_ray", lambda options, with_dashboard: None)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 2.0})
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    return fake


def states(plan: Plan, store: Store) -> dict[str, str]:
    known = store.results.cells()
    return {c.cell.defense.label: known.get(c.cell.digest, "missing") for c in plan.sweep.cells}


def test_what_tune_unpickles_for_every_node_is_small(sweep_of: SweepOf, store: Store, tune: FakeTune) -> None:
    from ray import cloudpickle
    from ray.tune.trainable import wrap_function

    plan = prepare(sweep_of(defenses=["none", "midre", "nls"], seeds=list(range(20))), store)
    run_plan(plan, store, RunOptions())
    trainable = wrap_function(tune.trainable)
    assert len(plan.nodes) > 150 and len(cloudpickle.dumps(trainable)) < 6_000
    assert {kind: trainable.default_resource_request({"kind": kind}).bundles for kind in ("split", "scores")} == {
        "split": [{"CPU": 1.0}],
        "scores": [{"CPU": 1.0}],
    }


def test_every_cell_gets_its_rows(sweep_of: SweepOf, store: Store, tune: FakeTune) -> None:
    plan = prepare(sweep_of(defenses=["none", "midre", "loft"]), store)
    outcome = run_plan(plan, store, RunOptions())
    assert (outcome.built, outcome.rows, outcome.failed) == (len(plan.nodes), 3, {})
    assert states(plan, store) == {"none": "ok", "midre": "ok", "loft": "ok"}
    assert prepare(plan.sweep, store).is_empty


def test_a_failed_target_costs_its_own_cells_only(sweep_of: SweepOf, store: Store, tune: FakeTune) -> None:
    tune.fails = {"target midre": "TrainingDiverged: the loss became nan"}
    plan = prepare(sweep_of({"attack": ["gmi", "brep_mi"]}, defenses=["none", "midre"]), store)
    outcome = run_plan(plan, store, RunOptions())
    assert states(plan, store) == {"none": "ok", "midre": "failed"}
    assert outcome.failed == {"TrainingDiverged: the loss became nan": 1}
    assert outcome.blocked == 4, "two attacks and what judges them"
    assert failure_text(outcome) == ("  1 x TrainingDiverged: the loss became nan\n  4 pieces were blocked by these")
    reasons = {(row.reason, row.failure) for row in store.results.read() if row.status == "failed"}
    ((reason, failure),) = reasons
    assert reason.startswith("target/") and failure == "diverged"
    assert [c.cell.defense.label for c in prepare(plan.sweep, store).failed_before] == ["midre", "midre"]


def test_failed_cells_are_tried_again_when_asked(sweep_of: SweepOf, store: Store, tune: FakeTune) -> None:
    tune.fails = {"reconstructions": "out of luck"}
    sweep = sweep_of()
    run_plan(prepare(sweep, store), store, RunOptions())
    tune.fails = {}
    assert not prepare(sweep, store).nodes
    plan = prepare(sweep, store, retry_failed=True)
    assert sorted(n.recipe.kind for n in plan.nodes.values()) == ["reconstructions", "scores"]
    run_plan(plan, store, RunOptions())
    assert states(plan, store) == {"none": "ok"}
    assert {row.status for row in store.results.read()} == {"ok"}, "the failed rows are replaced"


def test_a_full_disk_is_no_cell_s_fault(sweep_of: SweepOf, store: Store, tune: FakeTune) -> None:
    tune.fails = {"target midre": "StoreError: the store is full; free space or choose another --store"}
    plan = prepare(sweep_of(defenses=["none", "midre"]), store)
    with pytest.raises(PreflightError, match="the store is full; free space") as caught:
        run_plan(plan, store, RunOptions())
    assert caught.value.exit_code == 3
    assert states(plan, store)["midre"] == "missing", "nothing is recorded against a cell the machine failed"
    tune.fails = {}
    again = prepare(plan.sweep, store)
    assert again.nodes.keys().isdisjoint(tune.built), "what was built is kept"
    run_plan(again, store, RunOptions())
    assert states(plan, store) == {"none": "ok", "midre": "ok"}


def test_rows_that_cannot_be_written_stop_the_run_with_the_reason(
    sweep_of: SweepOf, store: Store, tune: FakeTune, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = prepare(sweep_of(), store)

    def full(*args: Any) -> None:
        raise StoreError("no space left in the store")

    with monkeypatch.context() as patch:
        patch.setattr(store.results, "write", full)
        with pytest.raises(PreflightError, match="no space left in the store"):
            run_plan(plan, store, RunOptions())
    again = prepare(plan.sweep, store)
    assert not again.nodes and states(plan, store) == {"none": "ok"}, "the rows are written from the stored scores"


def test_too_little_space_is_said_before_ray_starts(
    sweep_of: SweepOf, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(*args: Any, **given: Any) -> None:
        raise AssertionError("Ray was started")

    monkeypatch.setattr(tune_run, "_start_ray", start)
    monkeypatch.setattr(store.artifacts, "free_bytes", lambda: 10 * 2**20)
    with pytest.raises(StoreError, match=r"store is too small: the plan needs .* free; free space or choose") as caught:
        run_plan(prepare(sweep_of(), store), store, RunOptions())
    assert caught.value.exit_code == 3


def test_an_interrupted_run_keeps_what_is_finished(sweep_of: SweepOf, store: Store, tune: FakeTune) -> None:
    tune.interrupt_after = 3
    plan = prepare(sweep_of(), store)
    with pytest.raises(KeyboardInterrupt):
        run_plan(plan, store, RunOptions())
    assert store.artifacts.keys() == set(tune.built) and len(tune.built) == 3
    assert len(prepare(plan.sweep, store).nodes) == len(plan.nodes) - 3


def test_the_manifest_is_written_before_anything_runs(sweep_of: SweepOf, store: Store, extra_defenses: None) -> None:
    sweep = sweep_of(defenses=["none", "not_here"], seeds=[0, 1])
    prepare(sweep, store)
    manifest = store.sweeps.read_manifest(sweep.digest)
    assert {str(row["cell"]) for row in manifest.rows} == {c.cell.digest for c in sweep.cells}
    assert {row["refused"] for row in manifest.rows if row["defense"] == "not_here"} == {
        "needs a residual block; choose resnet18_tiny"
    }
    refused = [r for r in store.results.read() if r.status == "refused"]
    assert {r.defense for r in refused} == {"not_here"} and refused[0].reason.startswith("needs a residual block")
    assert '"seeds": [0, 1]' in manifest.spec_json


def test_damaged_scores_are_set_aside_and_planned_again(
    sweep_of: SweepOf, store: Store, publish_cell: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    sweep = sweep_of()
    publish_cell(sweep.cells[0])
    key = sweep.cells[0].recipes.scores.key
    folder = store.artifacts.fetch(key)
    (folder / "measurements.json").write_text("[]")
    plan = prepare(sweep, store)
    assert list(plan.nodes) == [key] and plan.rows_only == []
    assert f"artifact {key.short} is set aside" in caplog.text and "measurements.json" in caplog.text


def test_scores_whose_reconstructions_are_gone_are_planned_again(
    sweep_of: SweepOf, store: Store, publish_cell: Callable[..., None]
) -> None:
    import shutil

    sweep = sweep_of()
    publish_cell(sweep.cells[0])
    recipes = sweep.cells[0].recipes
    shutil.rmtree(store.artifacts.fetch(recipes.reconstructions.key))
    plan = prepare(sweep, store)
    assert set(plan.nodes) == {recipes.reconstructions.key, recipes.scores.key}


# --- a plan that grows ------------------------------------------------------------------------------------------------


@dataclass
class Asks:
    """Answers with `asked[what ended]`, once each: a kind, or a kind and a defense."""

    asked: dict[str, More]
    said: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, node: Node, failure: Failure | None) -> More:
        name = node.recipe.kind if node.recipe.kind != "target" else f"target {defense_of(node.recipe)}"
        self.said.append((name, "" if failure is None else failure.message))
        return self.asked.pop(name, More())


def plan_of(sweep: Any, store: Store, *labels: str) -> Plan:
    return make_plan(sweep, store, chosen=lambda planned: planned.cell.defense.label in labels)


def test_what_is_asked_for_is_built_and_its_rows_are_written(sweep_of: SweepOf, store: Store, tune: FakeTune) -> None:
    sweep = sweep_of(defenses=["none", "midre", "nls"])
    none, midre, nls = sweep.cells
    asks = Asks({
        "target none": More(recipes=[midre.recipes.target]),
        "target midre": More(recipes=[nls.recipes.target, none.recipes.target]),
        "target nls": More(cells=[nls]),
    })  # fmt: skip
    plan = plan_of(sweep, store, "none")
    outcome = run_plan(plan, store, RunOptions(), asks)
    assert states(plan, store) == {"none": "ok", "midre": "missing", "nls": "ok"}
    assert set(tune.built) == set(plan.nodes) and len(tune.built) == len(plan.nodes) == len(asks.said)
    assert (outcome.built, outcome.rows, outcome.failed) == (len(tune.built), 2, {})
    order = [tune.built.index(planned.recipes.target.key) for planned in sweep.cells]
    assert order == sorted(order) and order[-1] < tune.built.index(none.recipes.evaluator.key), "targets go first"


def test_rows_of_stored_scores_are_written_when_they_are_asked_for(
    sweep_of: SweepOf, store: Store, tune: FakeTune, publish_cell: Callable[..., None], extra_defenses: None
) -> None:
    sweep = sweep_of(defenses=["none", "midre", "not_here"])
    none, midre, refused = sweep.cells
    publish_cell(midre)
    outcome = run_plan(
        plan_of(sweep, store, "none"), store, RunOptions(), Asks({"target none": More(cells=[midre, refused])})
    )
    assert store.results.cells() == {none.cell.digest: "ok", midre.cell.digest: "ok", refused.cell.digest: "refused"}
    assert outcome.rows == 2 and midre.recipes.scores.key not in tune.built


def test_damaged_scores_that_are_asked_for_are_built_again(
    sweep_of: SweepOf, store: Store, tune: FakeTune, publish_cell: Callable[..., None]
) -> None:
    sweep = sweep_of(defenses=["none", "midre"])
    _, midre = sweep.cells
    publish_cell(midre)
    (store.artifacts.fetch(midre.recipes.scores.key) / "measurements.json").write_text("[]")
    plan = plan_of(sweep, store, "none")
    run_plan(plan, store, RunOptions(), Asks({"target none": More(cells=[midre])}))
    assert states(plan, store) == {"none": "ok", "midre": "ok"} and midre.recipes.scores.key in tune.built


def test_what_failed_is_asked_about_and_not_tried_again(sweep_of: SweepOf, store: Store, tune: FakeTune) -> None:
    tune.fails = {"target midre": "TrainingDiverged: the loss became nan"}
    sweep = sweep_of(defenses=["none", "midre"])
    _, midre = sweep.cells
    failed = More(recipes=[midre.recipes.target], cells=[midre])
    asks = Asks({"target none": More(recipes=[midre.recipes.target]), "target midre": failed, "scores": failed})
    plan = plan_of(sweep, store, "none")
    outcome = run_plan(plan, store, RunOptions(), asks)
    assert ("target midre", "TrainingDiverged: the loss became nan") in asks.said
    assert outcome.failed == {"TrainingDiverged: the loss became nan": 1}
    assert states(plan, store) == {"none": "ok", "midre": "failed"}, "its rows say why"
    assert len(asks.said) == len(plan.nodes), "a node was asked about twice"


def test_a_cell_of_lost_scores_gets_its_rows(sweep_of: SweepOf, store: Store, tune: FakeTune) -> None:
    """Another cell of the same scores is asked for when these failed already."""
    tune.fails = {"scores": "out of luck"}
    sweep = sweep_of(seeds=[0])
    (planned,) = sweep.cells
    again = replace(planned, cell=replace(planned.cell, seed=1))
    run_plan(plan_of(sweep, store, "none"), store, RunOptions(), Asks({"scores": More(cells=[again])}))
    assert store.results.cells() == {planned.cell.digest: "failed", again.cell.digest: "failed"}


def test_what_the_machine_lost_is_not_asked_about(sweep_of: SweepOf, store: Store, tune: FakeTune) -> None:
    tune.fails = {"target none": "StoreError: the store is full"}
    asks = Asks({})
    with pytest.raises(PreflightError, match="the store is full"):
        run_plan(prepare(sweep_of(), store), store, RunOptions(), asks)
    assert "target none" not in [name for name, _ in asks.said] and all(reason == "" for _, reason in asks.said)


def test_after_a_budget_stop_nothing_is_added(
    sweep_of: SweepOf, store: Store, tune: FakeTune, publish: Callable[..., None], gpus: None
) -> None:
    timed_on_a_gpu(sweep_of(profile="mini", seeds=[9]), publish, hours=1.0)
    tune.seconds = 3600.0
    sweep = sweep_of(profile="mini", defenses=["none", "midre", "nls"])
    _, midre, nls = sweep.cells
    asks = Asks(
        {"target none": More(recipes=[midre.recipes.target]), "reconstructions": More(recipes=[nls.recipes.target])}
    )
    outcome = run_plan(plan_of(sweep, store, "none"), store, RunOptions(max_gpu_hours=1.6), asks)
    assert outcome.stopped == "budget reached" and outcome.gpu_hours <= 1.6
    assert nls.recipes.target.key not in tune.built and midre.recipes.target.key not in tune.built
    assert {reason for _, reason in asks.said} == {""}


def test_a_mistake_in_growing_is_raised_when_what_ran_has_finished(
    sweep_of: SweepOf, store: Store, tune: FakeTune, capsys: pytest.CaptureFixture[str]
) -> None:
    mistake = ZeroDivisionError("no accuracy")

    def grow(node: Node, failure: Failure | None) -> More:
        if node.recipe.kind == "target":
            raise mistake
        return More()

    plan = prepare(sweep_of(), store)
    with pytest.raises(ZeroDivisionError) as caught:
        run_plan(plan, store, RunOptions(), grow)
    assert caught.value is mistake and "target" in {key.kind for key in tune.built}
    assert len(tune.built) < len(plan.nodes)
    assert "nothing new begins, 0 running pieces finish: ZeroDivisionError: no accuracy" in capsys.readouterr().err


def test_too_little_space_for_what_is_added_ends_the_run(
    sweep_of: SweepOf, store: Store, tune: FakeTune, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = sweep_of(defenses=["none", "midre"])
    _, midre = sweep.cells

    def grow(node: Node, failure: Failure | None) -> More:
        monkeypatch.setattr(store.artifacts, "free_bytes", lambda: 10 * 2**20)
        return More(cells=[midre])

    with pytest.raises(StoreError, match="store is too small: the plan needs"):
        run_plan(plan_of(sweep, store, "none"), store, RunOptions(), grow)


def test_an_empty_plan_asks_for_nothing(sweep_of: SweepOf, store: Store, tune: FakeTune) -> None:
    asks = Asks({})
    assert run_plan(plan_of(sweep_of(), store), store, RunOptions(), asks).built == 0 and asks.said == []


def test_what_is_withdrawn_is_not_built(sweep_of: SweepOf, store: Store, tune: FakeTune) -> None:
    sweep = sweep_of(defenses=["none", "midre", "nls"])
    targets = {c.cell.defense.name: c.recipes.target for c in sweep.cells}
    both = [targets["midre"], targets["nls"]]
    plan = make_plan(sweep, store, chosen=lambda planned: False)
    extend_plan(plan, More(recipes=[targets["none"]]), store)
    ended: list[str] = []

    def grow(node: Node, failure: Failure | None) -> More:
        """Two are asked for; when the first of them is there, neither is wanted any more."""
        if node.recipe.kind != "target":
            return More()
        ended.append(defense_of(node.recipe))
        return More(recipes=both) if len(ended) == 1 else More(withdrawn=[recipe.key for recipe in both])

    outcome = run_plan(plan, store, RunOptions(), grow)
    assert len(ended) == 2 and ended[0] == "none"
    assert outcome.built == 3 and sum(store.artifacts.has(recipe.key) for recipe in both) == 1


@pytest.mark.parametrize("failures", [0, 2, 9])
def test_a_start_of_ray_that_times_out_is_tried_again(failures: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    calls: list[str] = []

    def init(**given: Any) -> None:
        calls.append("init")
        if calls.count("init") <= failures:
            raise Exception("The current node timed out during startup. This could happen because ...")

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: calls.append("shutdown"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if failures < 5:
        tune_run._start_ray(RunOptions(), with_dashboard=False)
        assert calls == ["init", "shutdown"] * failures + ["init"]
    else:
        with pytest.raises(PreflightError, match="5 tries"):
            tune_run._start_ray(RunOptions(), with_dashboard=False)


def test_any_other_failure_of_ray_s_start_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def init(**given: Any) -> None:
        raise RuntimeError("no room in /dev/shm")

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(RuntimeError, match="no room"):
        tune_run._start_ray(RunOptions(), with_dashboard=False)


# --- the budget, and what can never run -------------------------------------------------------------------------------


@pytest.fixture
def gpus(tune: FakeTune, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 4.0, "GPU": 1.0})


def timed_on_a_gpu(sweep: Any, publish: Callable[..., None], hours: float) -> None:
    """Stored artifacts of equal work, so that every node of the sweep is expected to take so long."""
    for recipe in sweep.cells[0].recipes.scores.walk():
        publish(recipe, wall_s=hours * 3600, device="NVIDIA H100")


def test_what_does_not_fit_into_the_budget_is_left_for_another_run(
    sweep_of: SweepOf, store: Store, tune: FakeTune, publish: Callable[..., None], gpus: None
) -> None:
    """Each target holds a GPU for the hour it is expected to take; its attack half of one, its scores a quarter."""
    timed_on_a_gpu(sweep_of(profile="mini", seeds=[9]), publish, hours=1.0)
    tune.seconds = 3600.0
    plan = prepare(sweep_of(profile="mini", seeds=[0, 1, 2]), store)
    assert sum(n.recipe.kind == "target" for n in plan.nodes.values()) == 3
    outcome = run_plan(plan, store, RunOptions(max_gpu_hours=1.2))
    assert outcome.stopped == "budget reached" and outcome.failed == {} and outcome.blocked == 0
    assert 0 < outcome.gpu_hours <= 1.2
    again = prepare(plan.sweep, store)
    assert again.nodes and again.nodes.keys() < plan.nodes.keys()
    whole = run_plan(again, store, RunOptions())
    assert whole.stopped == "" and prepare(plan.sweep, store).is_empty


def test_a_budget_counts_what_was_handed_out_and_has_not_begun(
    sweep_of: SweepOf, store: Store, tune: FakeTune, publish: Callable[..., None], gpus: None, monkeypatch: Any
) -> None:
    """Tune asks for many nodes before the first one runs."""
    timed_on_a_gpu(sweep_of(profile="mini", seeds=[9]), publish, hours=1.0)
    plan = prepare(sweep_of(profile="mini", seeds=[0, 1, 2]), store)
    handed_out: list[str] = []

    def ask_for_all(searcher: Any) -> None:
        while isinstance(config := searcher.suggest(f"t{len(handed_out)}"), dict):
            handed_out.append(config["kind"])

    monkeypatch.setattr(tune, "fit", ask_for_all)
    run_plan(plan, store, RunOptions(max_gpu_hours=1.2))
    promised = sum(plan.sweep.profile.gpus.get(kind, 0.0) for kind in handed_out)
    assert 0 < promised <= 1.2, handed_out


def test_a_cpu_s_timing_is_no_cost_of_a_gpu(
    sweep_of: SweepOf, store: Store, tune: FakeTune, publish: Callable[..., None], gpus: None
) -> None:
    for recipe in sweep_of(profile="mini", seeds=[9]).cells[0].recipes.scores.walk():
        publish(recipe, wall_s=3600.0)
    outcome = run_plan(prepare(sweep_of(profile="mini"), store), store, RunOptions(max_gpu_hours=0.5))
    assert outcome.stopped == "" and outcome.rows == 1


def test_more_processes_than_the_cluster_has_room_for_are_refused(
    sweep_of: SweepOf, store: Store, tune: FakeTune
) -> None:
    with pytest.raises(PreflightError, match="kind evaluator takes 3 processes, the cluster has room for 2"):
        run_plan(prepare(sweep_of(train_workers={"evaluator": 3}), store), store, RunOptions())
    assert tune.built == []


def test_a_result_another_driver_stored_is_not_overwritten_by_a_failure(
    sweep_of: SweepOf, store: Store, tune: FakeTune, publish_cell: Callable[..., None]
) -> None:
    plan = prepare(sweep_of(), store)
    publish_cell(plan.sweep.cells[0])  # by another driver, meanwhile
    tune.fails = {"scores": "worker died"}
    run_plan(plan, store, RunOptions())
    assert states(plan, store) == {"none": "ok"}


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("s3://bucket/results?region=eu-central-1", "s3://bucket/results/ray?region=eu-central-1"),
        ("gs://bucket/results/", "gs://bucket/results/ray"),
    ],
)
def test_the_options_of_a_store_stay_behind_its_path(uri: str, expected: str) -> None:
    class Remote:
        location = type("Location", (), {"local": None})
        uri = ""

    remote: Any = Remote()
    remote.uri = uri
    assert tune_run._train_storage(remote) == expected
