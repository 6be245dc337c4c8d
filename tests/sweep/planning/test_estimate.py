"""Estimates of what was never timed: they follow the work, are about right on one machine, and end no plan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import midef.sweep
from midef.attacks import ATTACKS, PRIORS
from midef.core import Choice
from midef.core.errors import DataError
from midef.core.recipe import Recipe
from midef.datasets import DATASETS
from midef.defenses import DEFENSES
from midef.models import ARCHITECTURES
from midef.stages import published_recipe
from midef.stages.recipes import evaluator_recipe, split_recipe
from midef.sweep.planning import estimate
from midef.sweep.planning.estimate import NODE_S, UNUSUAL_S, Estimates, load_here, on_gpu, slowness
from midef.sweep.planning.plan import Plan, make_plan
from midef.sweep.spec.resolve import Sweep
from midef.training import TrainingRecipe

SweepOf = Callable[..., Sweep]


@pytest.fixture(autouse=True)
def reference_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """As fast as the one the rates were measured on."""
    monkeypatch.setattr(estimate, "slowness", lambda: 1.0)


def seconds(plan: Plan) -> dict[str, float]:
    """Of the first node of each kind and component."""
    found: dict[str, float] = {}
    for node in plan.nodes.values():
        assert node.estimated_s is not None
        found.setdefault(f"{node.recipe.kind} {node.recipe.component}", node.estimated_s)
    return found


# CPU seconds of one core of the machine of the rates, from a second of each (`python benchmarks/unit_costs.py`).
MEASURED: dict[str, dict[str, float]] = {
    "matrix37": {
        "target classifier": 8.9, "evaluator classifier": 14.9, "prior wgan_gp": 150.0, "prior kedmi_gan": 83.0,
        "prior plg_gan": 96.0, "surrogate students": 6.6, "reconstructions gmi": 7.7, "reconstructions kedmi": 5.3,
        "reconstructions lomma_gmi": 12.9, "reconstructions lomma_kedmi": 7.1, "reconstructions plg_mi": 15.9,
        "reconstructions brep_mi": 24.2, "reconstructions rlb_mi": 13.6, "scores metrics": 0.8,
        "prior style_gan2": 790.0, "reconstructions ppa": 30.6,
    },
    "others": {
        "target classifier": 8.9, "prior t_acgan": 80.0, "surrogate lokt_surrogates": 19.0,
        "reconstructions lokt": 19.0, "inverter diffusion": 35.0, "reconstructions diffusion_inverter": 7.9,
        "inverter tcnn": 4.6, "reconstructions vmi": 13.3, "reconstructions mi_face": 6.7,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", MEASURED)
def test_estimates_are_about_what_was_measured(name: str) -> None:
    attacks = ["lokt", "diffusion_inverter", "inversion_model", "vmi", "mi_face"]
    others = {"name": name, "profile": "mini", "setups": [{"attack": attacks}], "defenses": ["none"]}
    plan = midef.sweep.plan(others if name == "others" else name, "no store")
    found = seconds(plan)
    for work, measured in MEASURED[name].items():
        assert measured / 3 < found[work] < 3 * measured, f"{work}: {found[work]:.1f} for {measured}"
    each = [
        (n.estimated_s or 0.0, MEASURED[name].get(f"{n.recipe.kind} {n.recipe.component}")) for n in plan.nodes.values()
    ]
    known = [(estimated, measured) for estimated, measured in each if measured is not None]
    assert len(known) > len(each) / 3
    ratio = sum(estimated for estimated, _ in known) / sum(measured for _, measured in known)
    assert 0.5 < ratio < 2, f"the sum is wrong by {ratio:.2f}"


def test_more_work_takes_longer(sweep_of: SweepOf) -> None:
    def of(setup: dict[str, Any] | None = None, **changes: Any) -> dict[str, float]:
        return seconds(make_plan(sweep_of(setup, **changes), None))

    usual, longer = of(), of(training={"epochs": 8})
    assert longer["target classifier"] - estimate.TRAINING_S > 1.9 * (
        of(training={"epochs": 4})["target classifier"] - estimate.TRAINING_S - NODE_S
    )
    assert longer["prior wgan_gp"] == usual["prior wgan_gp"]
    assert of({"attack": "gmi(iterations=400)"})["reconstructions gmi"] > usual["reconstructions gmi"]


def test_every_component_is_estimated_from_facts_of_its_own() -> None:
    plan = midef.sweep.plan("every_pair", "no store")
    for node in plan.nodes.values():
        assert node.estimated_s is not None and NODE_S < node.estimated_s < 60
        assert node.estimated_s != NODE_S + UNUSUAL_S * plan.estimates.speed, f"nothing is known about {node.work}"


def test_a_defense_says_what_its_steps_cost(sweep_of: SweepOf) -> None:
    plan = make_plan(sweep_of(defenses=["none", "trap_mid", "midre+nls"]), None)
    by_defense = {
        n.recipe.params["defense"]["name"]: n.estimated_s for n in plan.nodes.values() if n.recipe.kind == "target"
    }
    plain = by_defense.pop("none")
    assert plain is not None and by_defense["trap_mid"] > plain
    assert by_defense["trap_mid"] < DEFENSES.get("trap_mid").training_work * plain
    assert all(seconds == plain for name, seconds in by_defense.items() if name != "trap_mid")


def test_a_stylegan2_is_estimated_from_the_operations_of_its_networks() -> None:
    """Golden, by hand, 4 channels at 8 px: the block at 4 px has one convolution; that at 8 px one that doubles, at 16
    pixels, its filter of 16, one at 64 pixels, and three colours, whose sum is doubled by a filter; styles come from
    512 numbers."""
    small = PRIORS.make("style_gan2", {"channel_base": 1024, "channel_max": 4})
    at_4 = 4 * (9 * 4 + 3) * 16 + 512 * 2 * 4
    at_8 = 9 * 4 * 4 * 16 + 16 * 4 * 64 + 9 * 4 * 4 * 64 + (3 * 4 + 3 * 16) * 64 + 512 * 3 * 4
    assert small.gflop(8) == pytest.approx(2e-9 * (at_4 + at_8))
    assert small.learned_gflop(8) > 2 * small.gflop(8)
    of_others = PRIORS.make("renderer")
    assert (of_others.gflop(64), of_others.learned_gflop(64)) == (of_others.gflop_64px, 0)


@pytest.mark.parametrize("name", ["wgan_gp", "plg_gan", "kedmi_gan", "t_acgan", "tcnn", "diffusion"])
def test_a_gan_of_256_px_is_estimated_from_its_operations(name: str) -> None:
    """Each of its images is drawn by 16 times the pixels, and by a fraction of the channels they would have had."""
    prior = PRIORS.make(name)
    assert prior.gflop(112) == prior.gflop(224) == prior.gflop(256)
    assert 3 * prior.gflop(64) < prior.gflop(224) <= 16 * prior.gflop(64)
    assert 0 <= prior.learned_gflop(64) < prior.learned_gflop(224) == prior.learned_gflop(256)
    assert prior.learned_gflop(224) >= prior.gflop(224)


def test_hours_of_a_published_gan_at_224_px_are_those_of_its_operations() -> None:
    """Golden, by hand: 0.761 GMAC to draw, 3.121 to judge; for an image 1/3 + 1/5 and 4 + 1/5 of them."""
    private, public = (
        split_recipe(DATASETS.choose({"name": "synthetic_faces", "identities": 20, "seed": seed}), 224)
        for seed in (0, 1)
    )
    recipe = PRIORS.make("wgan_gp").recipe(public=public, target=private)
    images = 120 * 468 * 64
    expected = estimate.LEARNED * estimate.SEEN_S * images * 2 * (0.761 * (1 / 3 + 1 / 5) + 3.121 * (4 + 1 / 5))
    assert Estimates({}).seconds(recipe) == pytest.approx(NODE_S + expected, rel=1e-3)


def test_the_head_of_a_judge_is_estimated_from_the_images_it_sees() -> None:
    judge = ARCHITECTURES.choose("mobilefacenet")
    published = published_recipe(Choice("ms1m", {"sha256": "0" * 64}), judge, 112)

    def seconds_for(people: int) -> float:
        private = split_recipe(DATASETS.choose({"name": "synthetic_faces", "identities": people}), 112)
        recipe = evaluator_recipe(private, judge, TrainingRecipe(), published=published)
        return Estimates({}).seconds(recipe) - NODE_S

    assert seconds_for(60) == pytest.approx(2 * seconds_for(30))


def test_data_that_cannot_be_read_here_is_guessed(sweep_of: SweepOf, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Any) -> Any:
        raise DataError("not on this machine")

    private = sweep_of().cells[0].recipes.private
    assert Estimates({}).sizes(private).all == sum(
        DATASETS.make("synthetic_faces", private.params["params"]).sizes().values()
    )
    monkeypatch.setattr(DATASETS.get("synthetic_faces"), "sizes", broken)
    assert Estimates({}).sizes(private).all == estimate.UNKNOWN_IMAGES


def test_unusual_fields_end_no_plan() -> None:
    odd = Recipe("reconstructions", "nobody_wrote_it", {"attack": {"name": "nobody_wrote_it"}})
    assert Estimates({}).seconds(odd) == NODE_S + UNUSUAL_S
    assert Estimates({}).seconds(Recipe("target", "classifier", {"training": {"epochs": None}})) == NODE_S + UNUSUAL_S


@pytest.mark.parametrize(
    "said",
    [float("nan"), float("inf"), -5.0, 10**400, NotImplementedError("not mine")],
    ids=["nan", "inf", "negative", "large", "raises"],
)
def test_an_odd_answer_of_a_component_ends_no_plan(
    said: Any, sweep_of: SweepOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drawn(self: Any, *, reconstructions: int, identities: int) -> Any:
        if isinstance(said, Exception):
            raise said
        return said

    monkeypatch.setattr(ATTACKS.get("gmi"), "images_drawn", drawn)
    recipe = sweep_of().cells[0].recipes.reconstructions
    assert Estimates({}).seconds(recipe) == NODE_S + UNUSUAL_S


def test_threads_and_gpus_take_less(sweep_of: SweepOf) -> None:
    target = sweep_of().cells[0].recipes.target
    one = Estimates({}).seconds(target)
    assert Estimates({}, cpus=4).seconds(target) < one
    assert NODE_S < on_gpu(one) < one and on_gpu(NODE_S) == NODE_S


def test_the_machine_is_timed_in_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[float] = []
    monkeypatch.setattr(estimate, "_loop", lambda: tries.append(2 * estimate.REFERENCE_LOOP_S) or tries[-1])
    slowness.cache_clear()
    assert slowness() == pytest.approx(2.0) and len(tries) < 10
    slowness.cache_clear()


def test_other_work_on_the_machine_takes_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "cpus_here", lambda: 2)
    monkeypatch.setattr(estimate.os, "cpu_count", lambda: 2)
    for load, expected in ((0.0, 1.0), (1.0, 1.0), (3.0, 2.0), (13.0, 7.0)):
        monkeypatch.setattr(estimate.os, "getloadavg", lambda load=load: (load, 0.0, 0.0))
        assert load_here(2.0) == expected, f"load {load}"
    assert load_here(1.0) < load_here(2.0)
    monkeypatch.setattr(estimate.os, "cpu_count", lambda: 26)
    assert load_here(2.0) == pytest.approx((12 / 13 + 2) / 2), "most of the load is on other processors"

    def unknown() -> None:
        raise OSError("no load average here")

    monkeypatch.setattr(estimate.os, "getloadavg", unknown)
    assert load_here(2.0) == 1.0
