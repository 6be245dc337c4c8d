"""Shares of made-up GPUs, from memory that equal work is said to have taken. Nothing here needs a GPU."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midef.core import Recipe
from midef.storage import Store
from midef.sweep.planning import card
from midef.sweep.planning.card import card_memory_mb, smallest_of
from midef.sweep.planning.gpu_shares import GpuShares, allocated_fraction, footprint, share_of, shares_for
from midef.sweep.planning.plan import make_plan
from midef.sweep.planning.trainings import Facilities, Trainings, choose_trainings
from midef.sweep.spec.resolve import Sweep

SweepOf = Callable[..., Sweep]
GIB = 1024.0
CARD = 80 * GIB
H100 = "NVIDIA H100"


@pytest.mark.parametrize(
    ("peak_gib", "share"),
    [(0.1, 1 / 8), (6.0, 1 / 8), (6.1, 1 / 4), (12.6, 1 / 4), (13.0, 1 / 2), (26.0, 1 / 2), (26.1, 1.0), (300.0, 1.0)],
)
def test_a_share_holds_half_more_than_was_measured_and_the_process(peak_gib: float, share: float) -> None:
    """80 GiB: an eighth is 10, of which 1 is the process's, so that 9 / 1.5 = 6 may have been measured."""
    assert share_of(peak_gib * GIB, CARD) == share


@given(
    peaks=st.lists(st.floats(1.0, 50 * GIB), min_size=1, max_size=40),
    card_gib=st.sampled_from([16, 24, 40, 48, 80, 141]),
)
def test_what_shares_a_gpu_never_takes_more_than_it_has(peaks: list[float], card_gib: int) -> None:
    """Processes are packed as Ray packs them, each takes all that its allocator may and what it takes beside."""
    card_mb = card_gib * GIB
    gpus: list[list[float]] = []
    for share in sorted((share_of(peak, card_mb) for peak in peaks), reverse=True):
        assert share in (0.125, 0.25, 0.5, 1.0)
        free = [gpu for gpu in gpus if sum(gpu) + share <= 1]
        (free[0] if free else gpus.append([]) or gpus[-1]).append(share)  # type: ignore[func-returns-value]
    for gpu in gpus:
        taken = sum(allocated_fraction(share, card_mb) * card_mb + 1024 for share in gpu if share < 1)
        assert taken <= card_mb + 1e-6
    for peak in peaks:
        share = share_of(peak, card_mb)
        assert share == 1 or 1.5 * peak <= allocated_fraction(share, card_mb) * card_mb + 1e-6


def test_a_whole_gpu_is_not_limited_and_a_small_one_leaves_half() -> None:
    assert allocated_fraction(1.0, CARD) == 1.0
    assert allocated_fraction(0.25, 4 * GIB) == 0.125


def prior_of(sweep: Sweep) -> Recipe:
    return next(r for r in sweep.cells[0].recipes.scores.walk() if r.kind == "prior")


def shares(sweep: Sweep, store: Store | None, card_mb: float = CARD) -> GpuShares:
    recipes = [node.recipe for node in make_plan(sweep, None).nodes.values()]
    return shares_for(sweep.profile.gpus, recipes, store, card_mb)


def test_equal_work_of_another_seed_on_a_gpu_is_what_counts(
    sweep_of: SweepOf, store: Store, publish: Callable[..., None]
) -> None:
    measured = sweep_of(profile="mini", seeds=[0]).cells[0].recipes
    publish(measured.target, device=H100, peak_memory_mb=5 * GIB)
    publish(measured.reconstructions, device="cpu test", peak_memory_mb=5 * GIB)
    sweep = sweep_of(profile="mini", seeds=[1], defenses=["none", "midre"])
    cells = {c.cell.defense.label: c.recipes for c in sweep.cells}
    held = shares(sweep, store)
    assert held.of(cells["none"].target) == 1 / 8
    assert held.of(cells["midre"].target) == 1.0, "another defense was never measured"
    assert held.of(cells["none"].reconstructions) == 0.5, "a CPU says nothing about a GPU"
    assert held.of(cells["none"].private) == 0.0, "the profile gives it none"
    recipes = [node.recipe for node in make_plan(sweep, None).nodes.values()]
    assert held.text(recipes).startswith("nodes by share of a GPU of 80 GiB: ")
    assert "1 at 1/8" in held.text(recipes) and held.text(recipes).endswith("; 1 by measured memory")


def test_the_most_that_was_measured_counts_and_never_more_than_the_profile_gives(
    sweep_of: SweepOf, store: Store, publish: Callable[..., None]
) -> None:
    for seed, peak in enumerate([1.0, 20.0, 2.0]):
        publish(sweep_of(profile="mini", seeds=[seed]).cells[0].recipes.target, device=H100, peak_memory_mb=peak * GIB)
    publish(prior_of(sweep_of(profile="mini")), device=H100, peak_memory_mb=70 * GIB)
    sweep = sweep_of(profile="mini", seeds=[9])
    held, cell = shares(sweep, store), sweep.cells[0].recipes
    assert held.of(cell.target) == 1 / 2
    prior = prior_of(sweep)
    assert held.of(prior) == 0.5 and not held.is_measured(prior)


def test_attacks_on_other_networks_or_at_other_sizes_are_other_work(sweep_of: SweepOf) -> None:
    def attack(**setup: Any) -> Recipe:
        return sweep_of(setup, seeds=[3]).cells[0].recipes.reconstructions

    usual = footprint(attack())
    assert usual == footprint(sweep_of(seeds=[4]).cells[0].recipes.reconstructions)
    assert usual == footprint(sweep_of(defenses=["midre"]).cells[0].recipes.reconstructions), "the network is the same"
    for other in ({"architecture": "ir152_tiny"}, {"resolution_px": 64}, {"attack": "gmi(iterations=77)"}):
        assert footprint(attack(**other)) != usual, other


def test_no_key_and_no_digest_knows_of_shares(sweep_of: SweepOf, store: Store, publish: Callable[..., None]) -> None:
    before = sweep_of(profile="mini", seeds=[1])
    keys, digest = list(make_plan(before, None).nodes), before.digest
    publish(sweep_of(profile="mini", seeds=[0]).cells[0].recipes.target, device=H100, peak_memory_mb=GIB)
    held = shares(before, store)
    assert held.give_whole(before.cells[0].recipes.target)
    after = sweep_of(profile="mini", seeds=[1])
    assert (list(make_plan(after, None).nodes), after.digest) == (keys, digest)


def test_memory_that_ran_out_at_a_measured_share_gets_a_whole_gpu_once(
    sweep_of: SweepOf, store: Store, publish: Callable[..., None]
) -> None:
    publish(sweep_of(profile="mini", seeds=[0]).cells[0].recipes.target, device=H100, peak_memory_mb=GIB)
    sweep = sweep_of(profile="mini", seeds=[1])
    held, cell = shares(sweep, store), sweep.cells[0].recipes
    assert held.of(cell.target) == 1 / 8
    assert held.give_whole(cell.target) and held.of(cell.target) == 1.0
    assert not held.give_whole(cell.target), "it had one"
    assert not held.give_whole(cell.reconstructions), "the profile's share is the user's"


@pytest.mark.parametrize("lacks", ["a GPU", "its memory", "a store"])
def test_without_a_gpu_whose_memory_is_known_nothing_changes(
    lacks: str, sweep_of: SweepOf, store: Store, publish: Callable[..., None]
) -> None:
    publish(sweep_of(profile="mini", seeds=[0]).cells[0].recipes.target, device=H100, peak_memory_mb=GIB)
    sweep = sweep_of(profile="mini", seeds=[1])
    plan = make_plan(sweep, None)
    recipes = [node.recipe for node in plan.nodes.values()]
    facilities = Facilities(gpus=0 if lacks == "a GPU" else 1)
    by_kind = sweep.profile.gpus if facilities.gpus else {}
    held = shares_for(by_kind, recipes, None if lacks == "a store" else store, 0.0 if lacks == "its memory" else CARD)
    now = choose_trainings(sweep.profile, recipes, facilities, plan.estimates, held)
    before = choose_trainings(sweep.profile, recipes, facilities, plan.estimates)
    assert [(now.workers_of(r), now.gpus_of(r)) for r in recipes] == [
        (before.workers_of(r), before.gpus_of(r)) for r in recipes
    ]
    assert now.text(recipes) == before.text(recipes) and not any(map(held.is_measured, recipes))


def test_a_measured_training_takes_no_worker_with_a_whole_gpu(
    sweep_of: SweepOf, store: Store, publish: Callable[..., None]
) -> None:
    publish(sweep_of(profile="mini", seeds=[0]).cells[0].recipes.target, device=H100, peak_memory_mb=GIB)
    sweep = sweep_of(profile="mini", seeds=[1])
    plan, cell = make_plan(sweep, None), sweep.cells[0].recipes
    recipes = [node.recipe for node in plan.nodes.values()]

    def trainings(profile: Any) -> Trainings:
        return choose_trainings(profile, recipes, Facilities(gpus=1), plan.estimates, shares(sweep, store))

    chosen = trainings(sweep.profile)
    assert (chosen.workers_of(cell.target), chosen.gpus_of(cell.target)) == (0, 1 / 8)
    assert (chosen.workers_of(cell.evaluator), chosen.gpus_of(cell.evaluator)) == (1, 1.0)
    assert chosen.text(recipes).endswith("; 1 of 2 in the node's own process, on a part of a GPU")
    ordered = trainings(replace(sweep.profile, train_workers=1))
    assert (ordered.workers_of(cell.target), ordered.gpus_of(cell.target)) == (1, 1.0), "a number is an order"


@pytest.mark.parametrize(
    ("said", "memory"),
    [
        ("81559, Disabled\n81559, Disabled\n", 81559.0),
        ("81559, Disabled\n24564, [N/A]\n", 24564.0),
        ("81559, Enabled\n", 0.0),
        ("[N/A], Disabled\n", 0.0),
        ("", 0.0),
    ],
)
def test_memory_of_the_smallest_gpu(said: str, memory: float) -> None:
    assert smallest_of(said) == memory


def test_a_machine_without_the_tool_has_no_known_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*args: Any, **options: Any) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(subprocess, "run", missing)
    assert card.subprocess is subprocess and card_memory_mb() == 0.0
