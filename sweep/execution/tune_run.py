"""Runs a plan on Ray: Tune schedules, the store remembers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from midef.core.errors import PreflightError
from midef.core.recipe import Recipe, each_once
from midef.storage import Store
from midef.sweep.execution.budget import Budget
from midef.sweep.execution.cleanup import forget_finished_checkpoints, make_room, remove_folder, scratch_of
from midef.sweep.execution.cluster import Cluster
from midef.sweep.execution.interrupts import stopping
from midef.sweep.execution.outcome import Outcome, RunOptions
from midef.sweep.execution.progress import Progress
from midef.sweep.execution.ray_start import needs_dashboard, quiet, start_ray, stop_ray
from midef.sweep.execution.room import Room
from midef.sweep.execution.run_record import RunRecord, new_run
from midef.sweep.execution.trial_config import trial_configs
from midef.sweep.planning.estimate import load_here
from midef.sweep.planning.gpu_shares import shares_for
from midef.sweep.planning.plan import Grow, Node, Plan
from midef.sweep.planning.trainings import choose_trainings

if TYPE_CHECKING:
    from midef.sweep.execution.listener import Listener
    from midef.sweep.planning.resources import Placement


def run_plan(plan: Plan, store: Store, options: RunOptions, grow: Grow | None = None) -> Outcome:
    """Build every node of the plan. Returns when all are built, failed or blocked, or when a stop is requested.

    What is stored is not built again, and neither is what failed in this run. Nothing is added after a stop, and
    `grow` is not called for nodes that the machine lost. A plan without nodes ends at once.

    The first SIGINT lets running nodes finish, the second ends them too, as SIGTERM does; either way the same sweep
    goes on from what is stored.

    Args:
        plan: what is built; gains what `grow` returns.
        store: where it is kept.
        options: where and how it runs.
        grow: called in this process after each node that ended, when its rows are written.

    Raises:
        StoreError, PreflightError: if the store is full or cannot be written, or no Ray can be reached.
        KeyboardInterrupt: when told to stop at once; what is finished is stored.
        Exception: whatever `grow` raised, once what ran then has finished.
    """
    outcome = Outcome(rows=len(plan.rows_only))
    if not plan.nodes:
        return outcome
    make_room(store, plan.sweep.digest, len(plan.nodes))
    quiet(options.verbose)
    profile = plan.sweep.profile
    is_joined = start_ray(options, with_dashboard=needs_dashboard(profile, options))
    try:
        cluster = Cluster.now(options, is_joined=is_joined)
        cluster.check(profile, options)
        _run(plan, store, options, outcome, cluster, grow)
    finally:
        stop_ray()
        store.artifacts.sweep_tmp()  # of nodes whose process died during this run
        forget_finished_checkpoints(store)
    if outcome.environment:
        raise PreflightError(outcome.environment)
    return outcome


def _run(plan: Plan, store: Store, options: RunOptions, outcome: Outcome, cluster: Cluster, grow: Grow | None) -> None:
    """Run to the end, or until a stop is requested."""
    from midef.sweep.execution.listener import Listener

    profile, record = plan.sweep.profile, RunRecord(store, new_run(plan.sweep.digest))
    recipes = _recipes_of(plan, grows=grow is not None)
    shares = shares_for(profile.gpus if cluster.gpus else {}, recipes, store, cluster.card_mb)
    trainings = choose_trainings(profile, recipes, cluster.facilities, plan.estimates, shares)
    slots = cluster.cpus / profile.cpus
    load = 1.0 if options.address else load_here(slots)

    def held(node: Node) -> float:
        return trainings.gpus_of(node.recipe)

    progress = Progress(plan, slots=slots, gpus=cluster.gpus, gpu_of=held, load=load, grows=grow is not None)
    budget = Budget(options.max_gpu_hours, held, progress)
    placement = cluster.placement(profile, trainings)
    config_of = trial_configs(record.run, plan, store, options, trainings, placement)

    def resources_of(node: Node) -> Mapping[str, float]:
        return placement.resources(node.key.kind, trainings.workers_of(node.recipe), trainings.gpus_of(node.recipe))

    # a cluster that was joined may get machines for what waits: it is told all that is ready
    room = None if cluster.is_joined else Room(resources_of, cluster.totals)
    listener = Listener(
        plan, store, options, outcome, progress=progress, budget=budget, record=record, config_of=config_of, grow=grow,
        room=room, shares=shares,
    )  # fmt: skip
    ended = "failed"
    listener.report.write("running", 0.0)
    if how := trainings.text(recipes):
        progress.say(how)
    if how := shares.text(recipes):
        progress.say(how)
    progress.tick(force=True)
    kinds = {recipe.kind for recipe in recipes}
    try:
        with stopping(listener.stop):
            _tuner(plan, store, options, listener, placement, keeps_processes=not trainings.use_ray(kinds)).fit()
        if listener.growth.error is not None:
            raise listener.growth.error
        ended = outcome.stopped or "finished"
        listener.rows.end()
    except KeyboardInterrupt:
        ended = "interrupted"
        raise
    finally:
        outcome.gpu_hours = budget.spent
        progress.close()
        remove_folder(scratch_of(store) / record.run)
        record.remove()
        if ended != "finished":
            listener.report.write(ended, budget.spent)


def _recipes_of(plan: Plan, *, grows: bool) -> list[Recipe]:
    """What a run builds, inputs first; where the plan grows, what the cells of its sweep take as well."""
    recipes = [node.recipe for node in plan.nodes.values()]
    if not grows:
        return recipes
    cells = [planned.recipes.scores for planned in plan.sweep.cells if not planned.refused]
    return list(each_once([*recipes, *cells]))


def _tuner(
    plan: Plan, store: Store, options: RunOptions, listener: Listener, placement: Placement, *, keeps_processes: bool
) -> Any:
    """Tune, with one trial for each node that the searcher hands out.

    Args:
        keeps_processes: for the next node. A process that waits keeps its CPU and GPU; a training that needs all there
            are, for its own processes, would wait for ever.
    """
    from ray import tune

    from midef.sweep.execution.listener import Ticker
    from midef.sweep.execution.trial import run_node
    from midef.sweep.execution.trial_order import InOrder

    return tune.Tuner(
        tune.with_resources(run_node, placement),
        tune_config=tune.TuneConfig(
            search_alg=listener.searcher,
            scheduler=InOrder(),
            num_samples=-1
            if listener.searcher.grows or listener.searcher.tries_again
            else len(plan.nodes),  # the searcher says when a plan that grows, or whose nodes are tried again, ends
            reuse_actors=keeps_processes,
        ),
        run_config=tune.RunConfig(
            name=listener.record.run,
            storage_path=str(scratch_of(store)),
            verbose=1 if options.verbose else 0,
            callbacks=[Ticker(listener)],
            failure_config=tune.FailureConfig(max_failures=options.retries),
        ),
    )
