"""How targets and evaluators are trained, decided from made-up clusters: nothing here starts Ray or trains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from midef.core import Choice, Recipe
from midef.core.errors import SpecError
from midef.datasets import DATASETS
from midef.defenses import remake_defense
from midef.models import ARCHITECTURES
from midef.stages.recipes import FITTED_HEAD, PUBLISHED
from midef.sweep.planning.plan import Plan, make_plan
from midef.sweep.planning.trainings import (
    Facilities,
    Trainings,
    choose_trainings,
    expected_text,
    is_trained,
    most_workers,
)
from midef.sweep.planning.width import width
from midef.sweep.spec.load import parse_spec
from midef.sweep.spec.resolve import resolve

HERE, JOINED = Facilities(), Facilities(is_joined=True)
OWN = "targets and evaluators train in the node's own process"


@dataclass(frozen=True)
class Planned:
    plan: Plan

    @property
    def recipes(self) -> list[Recipe]:
        return [node.recipe for node in self.plan.nodes.values()]

    def on(self, facilities: Facilities) -> Trainings:
        return choose_trainings(self.plan.sweep.profile, self.recipes, facilities, self.plan.estimates)

    def text(self, facilities: Facilities) -> str:
        return self.on(facilities).text(self.recipes)

    def target(self, defense: str) -> Recipe:
        return next(c.recipes.target for c in self.plan.sweep.cells if c.cell.defense.name == defense)


def planned(defenses: Sequence[str] = ("none", "midre"), **changes: Any) -> Planned:
    """Mini-sized, batches of 64 images, from 800 of 40 people."""
    data = {"name": "t", "profile": "mini", "setups": [{"attack": "gmi"}], "defenses": list(defenses), **changes}
    return Planned(make_plan(resolve(parse_spec(data)), None))


@pytest.mark.parametrize(
    ("profile", "facilities", "expected"),
    [
        ("smoke", HERE, OWN),
        ("mini", HERE, OWN),
        ("small", HERE, OWN),
        ("smoke", JOINED, "through Ray Train, one worker each"),
        ("mini", JOINED, "through Ray Train, one worker each"),
        ("mini", Facilities(gpus=1), "through Ray Train, one worker each"),
        ("smoke", Facilities(gpus=8), OWN),  # this profile gives nodes no GPU
        ("smoke", Facilities(gpus=8, is_joined=True), "through Ray Train, one worker each"),
        ("mini", Facilities(gpus=4), "through Ray Train, one worker each on 4 GPUs"),
        ("mini", Facilities(gpus=8), "through Ray Train, 2 workers each on 8 GPUs"),
        ("mini", Facilities(gpus=8, is_joined=True), "through Ray Train, 2 workers each on 8 GPUs"),
        ("mini", Facilities(gpus=8, are_alike=False), "through Ray Train, one worker each on 8 GPUs"),
        ("mini", Facilities(is_joined=True, lacks="no dashboard"), f"{OWN} (no dashboard)"),
        ("mini", Facilities(lacks="no dashboard"), OWN),
    ],
)
def test_it_follows_from_the_profile_and_what_ray_has(profile: str, facilities: Facilities, expected: str) -> None:
    assert planned(profile=profile).text(facilities).removeprefix("targets and evaluators train ") == (
        expected.removeprefix("targets and evaluators train ")
    )


@pytest.mark.parametrize("gpus", [1, 3, 7, 8, 16, 64])
@pytest.mark.parametrize("seeds", [[0], [0, 1, 2]])
def test_all_that_can_run_at_once_has_its_gpus_and_one_more_worker_each_would_be_too_many(
    gpus: int, seeds: list[int]
) -> None:
    work = planned(seeds=seeds)
    trainings = work.on(Facilities(gpus=gpus))
    workers = trainings.workers["target"]
    needs = {r.key: [other.key for other in r.inputs.values()] for r in work.recipes}
    held = {r.key: trainings.gpus_of(r) for r in work.recipes}
    more = {r.key: held[r.key] + is_trained(r) for r in work.recipes}
    assert workers == 1 or width(needs, held) <= gpus
    assert workers == 8 or width(needs, more) > gpus  # 8 images of a batch for each worker


def test_several_workers_train_only_what_they_learn_alike() -> None:
    """MID's head draws, Trap-MID keeps state beside the network, erasing leaves an unknown number of images."""
    defenses = ["none", "midre", "bido", "loft", "mid", "midre+mid", "trap_mid", "entire_erasing"]
    work = planned(defenses)
    trainings = work.on(Facilities(gpus=1000))
    workers = {c.cell.defense.label: trainings.workers_of(c.recipes.target) for c in work.plan.sweep.cells}
    assert workers == {"none": 8, "midre": 8, "bido": 8, "loft": 8} | dict.fromkeys(defenses[4:], 1)
    said = trainings.text(work.recipes)
    assert said.endswith(
        "8 workers each on 1000 GPUs; 4 of 9 by fewer: as many would learn something else, or get too few images each"
    )


def test_a_first_phase_whose_head_draws_is_seen_behind_the_second() -> None:
    """The network of the second phase has the surgery of the first."""
    work = planned(
        ["tts", "rolss"], setups=[{"attack": "gmi", "architecture": "resnet18_tiny", "evaluator": "vgg16_tiny"}]
    )
    tts = work.target("tts")
    assert most_workers(tts, work.plan.estimates) == 8
    drawing = work_of_phase_one(tts, planned(["mid"]).target("mid"))
    assert most_workers(drawing, work.plan.estimates) == 1


def work_of_phase_one(target: Recipe, phase: Recipe) -> Recipe:
    return Recipe(target.kind, target.component, target.params, {**target.inputs, "phase_one": phase}, target.version)


@pytest.mark.parametrize("name", ["facenet64_tiny", "ir152_tiny"])
def test_a_network_with_dropout_trains_in_one_process(name: str) -> None:
    assert ARCHITECTURES.make(name).facts().draws
    work = planned(setups=[{"attack": "gmi", "architecture": name}])
    assert {work.on(Facilities(gpus=64)).workers_of(work.target(d)) for d in ("none", "midre")} == {1}


@pytest.mark.parametrize(
    ("changes", "most"),
    [
        ({}, 8),
        ({"training": {"batch_size": 24}}, 3),
        ({"training": {"batch_size": 15}}, 1),
        ({"training": {"compiled": True}}, 1),  # refused by several processes
        ({"training": {"batch_size": 512}}, 1),  # the only batch of an epoch: all images there are
        ({"private": {"name": "synthetic_faces", "identities": 12, "train_images": 4}}, 1),
    ],
    ids=str,
)
def test_each_worker_gets_images_enough_of_every_batch(changes: dict[str, Any], most: int) -> None:
    private = changes.pop("private", None)
    setup = {"attack": "gmi", "protocol": {"identities": 4}, **({"private": private} if private else {})}
    work = planned(["none"], setups=[setup], **changes)
    assert most_workers(work.target("none"), work.plan.estimates) == most


def test_batches_of_few_people_are_smaller() -> None:
    """BiDO's sampler draws so many people and images of each: not more people than there are."""
    private = {"name": "synthetic_faces", "identities": 4, "train_images": 200}
    work = planned(["bido"], setups=[{"attack": "gmi", "private": private, "protocol": {"identities": 4}}])
    each = remake_defense(Choice.from_plain(work.target("bido").params["defense"])).images_per_identity
    assert 1 < each < 16
    assert most_workers(work.target("bido"), work.plan.estimates) == max(1, 4 * each // 8)


def test_one_worker_trains_on_data_whose_size_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A data set of another package may say nothing: a batch of fewer images than workers would fail."""
    work = planned(["none"])
    assert most_workers(work.target("none"), work.plan.estimates) == 8
    monkeypatch.setattr(DATASETS.get("synthetic_faces"), "sizes", lambda self: {})
    work = planned(["none"])
    assert most_workers(work.target("none"), work.plan.estimates) == 1
    assert work.plan.estimates.sizes(work.target("none").inputs["private"]).train == 8000


@pytest.mark.parametrize(
    ("written", "target", "evaluator"),
    [(0, 0, 0), (3, 3, 3), ({"target": 3}, 3, 1), ({"evaluator": 0, "target": "auto"}, 1, 0), ("auto", 1, 1)],
)
def test_a_number_is_an_order_and_what_is_left_out_is_auto(written: Any, target: int, evaluator: int) -> None:
    work = planned(["none", "trap_mid"] if written == 0 else ["none"], train_workers=written)
    trainings = work.on(JOINED)
    cell = work.plan.sweep.cells[0].recipes
    assert (trainings.workers_of(cell.target), trainings.workers_of(cell.evaluator)) == (target, evaluator)
    assert trainings.use_ray() == bool(target or evaluator)


def test_several_processes_for_a_compiled_training_are_refused_before_anything_runs() -> None:
    with pytest.raises(SpecError, match="compiled training of a target takes one process, train_workers is 3; set it"):
        planned(["none"], train_workers={"target": 3}, training={"compiled": True})
    planned(["none"], train_workers={"target": 1}, training={"compiled": True})


def test_both_ways_are_told_apart() -> None:
    work = planned(train_workers={"target": 2, "evaluator": 0})
    assert work.text(Facilities(gpus=2)) == (
        "targets train through Ray Train, 2 workers each on 2 GPUs; evaluators train in the node's own process"
    )
    assert expected_text(work.plan.sweep.profile, work.recipes) == (
        "targets train through Ray Train, 2 workers each; evaluators train in the node's own process"
    )


def test_an_order_of_several_says_what_they_learn_otherwise() -> None:
    """The key is that of one process's training, so the line is all that tells."""
    work = planned(["none", "mid"], train_workers={"target": 2})
    said = "; 1 of 3 has layers or a loss that draw: several workers learn something else than one"
    assert work.text(JOINED).endswith(said)
    assert expected_text(work.plan.sweep.profile, work.recipes).endswith(said)
    for workers in (1, 0, "auto"):
        work = planned(["none", "mid"], train_workers=workers)
        assert "draw" not in work.text(JOINED) + expected_text(work.plan.sweep.profile, work.recipes)


@pytest.mark.parametrize(("profile", "also"), [("smoke", ""), ("mini", ", or has GPUs")])
def test_a_plan_says_what_it_depends_on(profile: str, also: str) -> None:
    work = planned(profile=profile)
    said = expected_text(work.plan.sweep.profile, work.recipes)
    assert said == f"{OWN}, or through Ray Train if the run joins a cluster{also}"
    rest = [recipe for recipe in work.recipes if not is_trained(recipe)]
    assert expected_text(work.plan.sweep.profile, rest) == "" == work.on(JOINED).text(rest)


@pytest.mark.parametrize("workers", [2, "auto"])
def test_what_is_not_trained_is_made_in_the_nodes_own_process(workers: Any) -> None:
    """Published weights are read, the head of a judge is fitted."""
    trainings = planned(train_workers=workers).on(JOINED)
    published = Recipe("target", PUBLISHED, {"name": "imagenet"})
    judge = Recipe("evaluator", FITTED_HEAD, {}, {"private": Recipe("split", "celeba", {}), "backbone": published})
    assert [trainings.workers_of(recipe) for recipe in (published, judge)] == [0, 0]
    assert trainings.text([published, judge]) == ""


def test_gpus_are_those_of_the_workers_or_the_nodes_own_share() -> None:
    work = planned()
    cell = work.plan.sweep.cells[0].recipes
    on_eight, on_cpus = work.on(Facilities(gpus=8)), work.on(JOINED)
    assert [on_eight.gpus_of(r) for r in (cell.target, cell.reconstructions, cell.private)] == [2.0, 0.5, 0.0]
    assert {on_cpus.gpus_of(r) for r in work.recipes} == {0.0}
    plain = planned(profile="smoke")
    assert {plain.on(Facilities(gpus=8, is_joined=True)).gpus_of(r) for r in plain.recipes} == {0.0}
