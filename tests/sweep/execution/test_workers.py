"""Who trains in a run: what its Ray has decides, the first line says it, every trial is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from midef.core import Failure, PreflightError, Recipe
from midef.stages.recipes import FITTED_HEAD
from midef.storage import Store
from midef.sweep.execution import cluster as cluster_module
from midef.sweep.execution import trial as trial_module
from midef.sweep.execution.cluster import NO_DASHBOARD, Cluster
from midef.sweep.execution.outcome import RunOptions
from midef.sweep.execution.prepare import prepare
from midef.sweep.execution.ray_start import gpus_here, needs_dashboard
from midef.sweep.execution.trial_config import TrialConfig
from midef.sweep.execution.tune_run import run_plan
from midef.sweep.planning.plan import More, Node
from midef.sweep.planning.resources import DRIVER_MEMORY
from midef.sweep.planning.trainings import Facilities, Trainings
from midef.sweep.spec.profiles import PROFILES, SMOKE

SweepOf = Callable[..., Any]
GIB = 2.0**30


def first_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.splitlines()[0]


def told(tune: Any) -> dict[str, set[tuple[int, bool, float]]]:
    """Workers, whether each has a GPU, and the share of a GPU of the node itself; by kind of node."""
    by_kind: dict[str, set[tuple[int, bool, float]]] = {}
    for config in tune.configs:
        one = (config["train_workers"], config["workers_on_gpu"], config["gpu"])
        by_kind.setdefault(config["kind"], set()).add(one)
    return by_kind


def test_on_a_ray_of_its_own_without_gpus_nodes_train_themselves(
    sweep_of: SweepOf, store: Store, tune: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run_plan(prepare(sweep_of(profile="mini"), store), store, RunOptions())
    assert first_line(capsys) == "targets and evaluators train in the node's own process"
    assert {value for values in told(tune).values() for value in values} == {(0, False, 0.0)}
    assert tune.keeps_processes and tune.with_dashboard is False


def test_on_a_joined_cluster_every_training_goes_through_ray_train(
    sweep_of: SweepOf, store: Store, tune: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    tune.is_joined = True
    run_plan(prepare(sweep_of(), store), store, RunOptions())
    assert first_line(capsys) == "targets and evaluators train through Ray Train, one worker each"
    assert told(tune)["target"] == told(tune)["evaluator"] == {(1, False, 0.0)}
    assert told(tune)["split"] == told(tune)["reconstructions"] == {(0, False, 0.0)}
    assert not tune.keeps_processes, "a process that waits would keep a CPU that a worker waits for"


def test_idle_cores_change_no_threads(
    sweep_of: SweepOf, store: Store, tune: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bits depend on threads (tests/stages/test_threads.py), and a key says nothing of them."""
    import ray

    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 64.0, "memory": 64 * GIB})
    run_plan(prepare(sweep_of(), store), store, RunOptions())
    assert {config["cpus"] for config in tune.configs} == {SMOKE.cpus}


@pytest.mark.parametrize(("profile", "way"), [("mini", (1, True, 0.0)), ("smoke", (0, False, 0.0))])
def test_gpus_of_a_ray_of_its_own_are_those_of_the_workers(
    sweep_of: SweepOf, store: Store, tune: Any, gpus: None, profile: str, way: tuple[int, bool, float]
) -> None:
    run_plan(prepare(sweep_of(profile=profile), store), store, RunOptions(gpus=1))
    assert told(tune)["target"] == told(tune)["evaluator"] == {way}
    assert told(tune)["reconstructions"] == {(0, False, 0.5 if profile == "mini" else 0.0)}
    assert tune.with_dashboard is (profile == "mini")


def test_idle_gpus_get_workers_of_what_several_learn_alike(
    sweep_of: SweepOf, store: Store, tune: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import ray

    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 64.0, "GPU": 8.0})
    setup = {"private": {"name": "synthetic_faces", "identities": 12, "train_images": 30}}
    run_plan(prepare(sweep_of(setup, profile="mini", defenses=["midre", "mid"]), store), store, RunOptions())
    workers = {
        (c["kind"], c["recipe"]["params"].get("defense", {}).get("name", "")): c["train_workers"]
        for c in tune.configs
        if c["kind"] in ("target", "evaluator")
    }
    many = workers["target", "midre"]
    assert many > 1 and workers == {("target", "midre"): many, ("target", "mid"): 1, ("evaluator", ""): many}
    assert first_line(capsys) == (
        f"targets and evaluators train through Ray Train, {many} workers each on 8 GPUs; 1 of 3 by fewer: as many "
        "would learn something else, or get too few images each"
    )


def test_a_plan_that_grows_is_as_wide_as_its_sweep(
    sweep_of: SweepOf, store: Store, tune: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`midef match` starts with one training of each defense and asks for more; it takes the same way."""
    import ray

    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 64.0, "GPU": 8.0})
    setup = {"private": {"name": "synthetic_faces", "identities": 12, "train_images": 20}}
    sweep = sweep_of(setup, profile="mini", training={"batch_size": 32}, seeds=list(range(8)))
    plan = prepare(sweep, store)
    for key in [key for key, node in plan.nodes.items() if node.recipe != sweep.cells[0].recipes.target and node.needs]:
        del plan.nodes[key]

    def grow(node: Node, failure: Failure | None) -> More:
        return More()

    run_plan(plan, store, RunOptions(), grow)
    assert first_line(capsys) == "targets and evaluators train through Ray Train, one worker each on 8 GPUs"
    for artifact in store.artifacts.keys("target"):
        store.artifacts.set_aside(artifact, "to be trained again")
    run_plan(plan, store, RunOptions())
    assert first_line(capsys) == "targets train through Ray Train, 4 workers each on 8 GPUs"


def test_a_number_is_obeyed_wherever_ray_runs(sweep_of: SweepOf, store: Store, tune: Any) -> None:
    run_plan(prepare(sweep_of(train_workers={"target": 2, "evaluator": 0}), store), store, RunOptions())
    assert told(tune)["target"] == {(2, False, 0.0)} and told(tune)["evaluator"] == {(0, False, 0.0)}
    assert tune.with_dashboard and not tune.keeps_processes


# --- what Ray has -----------------------------------------------------------------------------------------------------


@pytest.fixture
def machines(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets Ray say that it has these machines."""
    import ray

    def have(*resources: dict[str, float]) -> None:
        names = {name for machine in resources for name in machine}
        sums = {name: sum(machine.get(name, 0.0) for machine in resources) for name in names}
        monkeypatch.setattr(ray, "is_initialized", lambda: True)
        monkeypatch.setattr(ray, "cluster_resources", lambda: sums)
        monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": one} for one in resources])
        monkeypatch.setattr(cluster_module, "_has_dashboard", lambda: True)

    return have


def machine(gpus: float = 0.0, kind: str = "", memory: float = 8 * GIB) -> dict[str, float]:
    described = {"CPU": 8.0, "memory": memory, **({"GPU": gpus} if gpus else {})}
    return described | ({f"accelerator_type:{kind}": 1.0} if kind else {})


@pytest.mark.parametrize(
    ("has", "expected", "alike"),
    [
        ([machine(4, "H100"), machine(4, "H100"), machine()], None, True),
        ([machine(4, "H100"), machine(4, "A100")], None, False),
        ([machine(4, "H100"), machine(4)], None, False),
        ([machine(4)], None, True),
        ([machine(4, "H100")], 8, False),  # nobody knows what joins later
    ],
    ids=["one kind", "two kinds", "one unknown", "unknown", "more to come"],
)
def test_workers_that_would_draw_other_numbers_share_no_training(
    machines: Callable[..., None], has: list[dict[str, float]], expected: int | None, alike: bool
) -> None:
    machines(*has)
    assert Cluster.now(RunOptions(gpus=expected)).facilities.are_alike is alike


def test_ray_train_is_not_used_where_it_would_not_be_cleaned_up_or_find_memory(
    machines: Callable[..., None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    machines(machine(memory=DRIVER_MEMORY / 2))
    found = Cluster.now(RunOptions(), is_joined=True)
    assert found.facilities == Facilities(is_joined=True, lacks=found.facilities.lacks)
    assert found.facilities.lacks == "no machine has the 500 MB of memory free that driving a training takes"
    with pytest.raises(PreflightError, match=r"500 MB of memory free .*; add memory, or set train_workers to 0"):
        found.check(replace(SMOKE, train_workers=1), RunOptions())
    found.check(SMOKE, RunOptions())
    machines(machine())
    monkeypatch.setattr(cluster_module, "_has_dashboard", lambda: False)
    found = Cluster.now(RunOptions(), is_joined=True)
    assert found.facilities.lacks == NO_DASHBOARD
    found.check(replace(SMOKE, train_workers=1), RunOptions())
    assert NO_DASHBOARD in caplog.text and "--include-dashboard=true" in caplog.text


def test_drivers_are_as_many_as_trainings_that_have_workers() -> None:
    """Each reserves its workers' part of the memory, and never more than one machine has."""
    cluster = Cluster(cpus=4, gpus=0, memory=8 * GIB, largest_memory=8 * GIB, is_joined=True)
    placement = cluster.placement(SMOKE, Trainings(workers={"target": 2, "evaluator": 1}))
    assert placement.resources("evaluator", 1, 0.0) == {"memory": 2 * GIB}, "four at once, as there are processors"
    assert placement.resources("target", 2, 0.0) == {"memory": 4 * GIB}, "two at once"
    assert placement.resources("target", 4, 0.0) == {"memory": float(int(0.8 * 8 * GIB))}
    assert placement.resources("target", 0, 0.0) == {"CPU": 1.0}, "its own process does the work"
    wide = cluster.placement(replace(SMOKE, cpus=2), Trainings(workers={"target": 1}))
    assert wide.resources("target", 1, 0.0) == {"memory": 4 * GIB}, "workers of two processors each"
    eight = replace(cluster, gpus=8, memory=4 * GIB, largest_memory=4 * GIB)
    many = Trainings(workers={"target": 4, "evaluator": 4}, on_gpu={"target", "evaluator"}, gpus=8)
    assert eight.placement(PROFILES["mini"], many).resources("target", 4, 0.0) == {"memory": 2 * GIB}


# --- starting Ray -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("found", "visible", "count"), [(0, None, 0), (2, None, 2), (4, ["0"], 1), (4, [], 0)])
def test_the_dashboard_is_started_for_gpus_that_ray_will_find(
    found: int, visible: list[str] | None, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray._private import accelerators

    manager = accelerators.get_accelerator_manager_for_resource("GPU")
    monkeypatch.setattr(manager, "get_current_node_num_accelerators", lambda: found)
    monkeypatch.setattr(manager, "get_current_process_visible_accelerator_ids", lambda: visible)
    assert gpus_here(RunOptions()) == count and gpus_here(RunOptions(gpus=3)) == 3
    mini = PROFILES["mini"]
    assert needs_dashboard(mini, RunOptions()) is (count > 0)
    assert not needs_dashboard(mini, RunOptions(gpus=0)) and not needs_dashboard(SMOKE, RunOptions(gpus=2))
    assert needs_dashboard(replace(SMOKE, train_workers={"target": 1}), RunOptions(gpus=0))
    assert not needs_dashboard(replace(mini, train_workers=0), RunOptions(gpus=2))


# --- a trial ----------------------------------------------------------------------------------------------------------


def test_an_input_that_was_lost_is_trained_by_one_worker(
    sweep_of: SweepOf, store: Store, publish: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of workers was chosen for the node; its first phase may keep what several cannot learn."""
    target = sweep_of(defenses=["loft"]).cells[0].recipes.target
    publish(target.inputs["private"])
    trained: list[tuple[str, int]] = []

    def fit(recipe: Any, config: TrialConfig) -> None:
        trained.append((recipe.params["defense"]["name"], config.train_workers))
        publish(recipe)

    monkeypatch.setattr(trial_module, "fit_with_ray_train", fit)
    about: dict[str, Any] = {"run": "sweep-1", "node": target.key, "recipe": target, "store": store.uri}
    assert trial_module._try_to_build(TrialConfig(**about, train_workers=4)) is None
    assert trained == [("none", 1), ("loft", 4)]


def test_where_memory_ran_out_only_what_is_trained_is_tried_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The head of a judge is fitted at once: a second try would be the same."""
    tries: list[float] = []

    def out_of_memory(trial: TrialConfig) -> Failure:
        tries.append(trial.memory_share)
        return Failure("oom", "CUDA out of memory")

    monkeypatch.setattr(trial_module, "_try_to_build", out_of_memory)
    head = Recipe("evaluator", FITTED_HEAD, {}, {"private": Recipe("split", "celeba", {})})
    failure = trial_module._build(TrialConfig(run="sweep-1", node=head.key, recipe=head, store=""))
    assert failure is not None and "cannot be done in smaller parts" in failure.message
    assert tries == [1.0]


# --- shares of a GPU that were measured -------------------------------------------------------------------------------


@pytest.mark.parametrize("fails", [False, True], ids=["fits", "runs out of memory"])
def test_a_measured_target_holds_a_part_of_a_gpu_and_a_whole_one_once_if_memory_runs_out(
    fails: bool, sweep_of: SweepOf, store: Store, tune: Any, gpus: None, publish: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(cluster_module, "card_memory_mb", lambda: 80 * 1024.0)
    publish(sweep_of(profile="mini").cells[0].recipes.target, device="NVIDIA H100", peak_memory_mb=8 * 1024.0)
    tune.fails = {"target": "oom: CUDA out of memory"} if fails else {}
    outcome = run_plan(prepare(sweep_of(profile="mini", seeds=[1]), store), store, RunOptions())
    tries = [(c["gpu"], c["train_workers"]) for c in tune.configs if c["kind"] == "target"]
    assert tries == ([(0.25, 0), (0.0, 1)] if fails else [(0.25, 0)]), "13 GiB of 20; then a worker with a whole GPU"
    assert sum(outcome.failed.values()) == fails
    said = capsys.readouterr().err
    assert "nodes by share of a GPU of 80 GiB: " in said and ("gets a whole one" in said) is fails


def test_a_placement_holds_the_share_of_the_node() -> None:
    cluster = Cluster(cpus=8, gpus=1)
    placement = cluster.placement(PROFILES["mini"], Trainings())
    assert placement.resources("target", 0, 0.125) == {"CPU": 1.0, "GPU": 0.125}
    assert placement.resources("split", 0, 0.0) == {"CPU": 1.0}
