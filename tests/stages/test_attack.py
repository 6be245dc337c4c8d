"""What is attacked, what is kept of it, and what is counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from midef.attacks import Reconstructions
from midef.attacks.base import Task
from midef.attacks.gmi import Gmi
from midef.attacks.target_handle import TargetHandle
from midef.core import DataError, Inputs, MidefError, Protocol, SpecError
from midef.datasets import DATASETS, Images, Splits
from midef.defenses.rounding import Rounding
from midef.defenses.serving import Query
from midef.defenses.stack import choose_defense
from midef.stages import CellRecipes, ensure
from midef.stages.attack import repeated_victims, victims
from midef.stages.recipes import place_dataset
from midef.stages.split import load as load_splits
from midef.storage.traces import NAME, read_traces

PlanCell = Callable[..., CellRecipes]


def images_of(folder: Any) -> dict[str, np.ndarray]:
    with np.load(folder / "images.npz", allow_pickle=False) as stored:
        return dict(stored)


def test_every_identity_is_attacked_so_many_times(cell: Any) -> None:
    found = images_of(cell.folder("reconstructions"))
    assert found["images"].shape == (18, 3, 32, 32) and found["images"].dtype == np.uint8
    assert found["labels"].tolist() == [label for label in range(6) for _ in range(3)]
    assert found["restarts"].tolist() == [0, 1, 2] * 6
    assert cell.facts("reconstructions")["queries"] == 2 * 18  # iterations x reconstructions
    assert cell.facts("reconstructions")["found"] == 18


def test_the_course_of_the_search_is_stored_beside_the_images(cell: Any, own_cell: Any, plan: PlanCell) -> None:
    folder = cell.folder("reconstructions")
    traces = read_traces(folder)
    assert traces is not None and traces.series.keys() == {"loss", "confidence", "gradient_norm"}
    assert traces.steps.tolist() == [0, 1] and traces.series["loss"].shape == (18, 2)
    assert traces.labels.tolist() == images_of(folder)["labels"].tolist()
    assert (folder / NAME).stat().st_size < 4000
    without = ensure(plan("inversion_model").reconstructions, own_cell.context)
    assert read_traces(without) is None, "it takes no steps"


def test_traits_that_the_attack_knows_are_stored_beside_the_images(cell: Any, own_cell: Any, plan: PlanCell) -> None:
    assert "traits" not in images_of(cell.folder("reconstructions")), "a trained generator tells none"
    recipes = plan("pool_search")
    folder = ensure(recipes.reconstructions, own_cell.context)
    found = images_of(folder)
    assert found["traits"].shape == (18, 24) and found["traits"].dtype == np.float32
    assert np.isfinite(found["traits"]).all() and 0.3 < found["traits"].std() < 3
    prior = own_cell.context.store.artifacts.fetch(recipes.reconstructions.inputs["prior"].key)
    assert json.loads((prior / "formation.json").read_text())["name"] == "synthetic_faces"
    assert own_cell.context.store.artifacts.meta(recipes.reconstructions.key)["facts"]["queries"] == 4 + 18


def test_a_renderer_of_photographs_is_refused_where_it_is_built(own_cell: Any, plan: PlanCell, tmp_path: Path) -> None:
    """By whoever names recipes without planning them."""
    (tmp_path / "photographs").mkdir()
    for i in range(6):
        pixels = np.random.default_rng(i).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photographs" / f"{i}.png")
    given = {"name": "image_folder", "path": str(tmp_path / "photographs"), "labelled": False}
    public, where = place_dataset(DATASETS.choose(given))
    recipes = plan("pool_search", public=public)
    context = replace(own_cell.context, locations={recipes.public.key.digest: where})
    with pytest.raises(SpecError, match="nothing says how those of image_folder were"):
        ensure(recipes.reconstructions.inputs["prior"], context)


def test_images_are_truncated_to_eight_bits_not_rounded(own_cell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.tensor([0.0, 0.999, 1.0, 1.5, -0.2, 100.9 / 255])

    def found(self: Gmi, handle: TargetHandle, inputs: Inputs, task: Task) -> Reconstructions:
        images = values.repeat(3)[:, None, None, None].expand(18, 3, 32, 32)
        return Reconstructions(images, task.labels, task.restarts, torch.ones(18, dtype=torch.bool))

    monkeypatch.setattr(Gmi, "reconstruct", found)
    own_cell.context.store.artifacts.set_aside(own_cell.recipes.reconstructions.key, "for this test")
    stored = images_of(ensure(own_cell.recipes.reconstructions, own_cell.context))
    assert stored["images"][:6, 0, 0, 0].tolist() == [0, 254, 255, 255, 0, 100]


def test_queries_of_the_inverter_are_the_attackers_too(own_cell: Any, plan: PlanCell) -> None:
    recipes = plan("inversion_model")
    ensure(recipes.reconstructions, own_cell.context)
    facts = own_cell.context.store.artifacts.meta(recipes.reconstructions.key)["facts"]
    inverter = own_cell.context.store.artifacts.meta(recipes.reconstructions.inputs["inverter"].key)["facts"]
    assert inverter["queries"] == 8 * (4 + 1 + 2), "every public image, the held-out ones too"
    assert facts["queries"] == inverter["queries"], "observing victims is free, training the inverter is not"


def test_inverter_and_observed_answers_go_through_the_defense(
    own_cell: Any, plan: PlanCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[int] = []
    answer = Rounding.answer

    def spy(self: Rounding, query: Query, state: None) -> Tensor:
        served.append(len(query))
        return answer(self, query, state)

    monkeypatch.setattr(Rounding, "answer", spy)
    recipes = plan("inversion_model", defense=choose_defense("rounding"))
    ensure(recipes.reconstructions.inputs["inverter"], own_cell.context)
    assert sum(served) == 8 * (4 + 1 + 2)
    ensure(recipes.reconstructions, own_cell.context)
    assert sum(served) == 8 * (4 + 1 + 2) + 18


def test_brep_counts_its_pool_and_its_spheres(own_cell: Any, plan: PlanCell) -> None:
    recipes = plan("brep_mi")
    ensure(recipes.reconstructions, own_cell.context)
    queries = own_cell.context.store.artifacts.meta(recipes.reconstructions.key)["facts"]["queries"]
    assert queries >= 256 and (queries - 256) % 3 == 0  # one pool batch; 2 sphere points and the move


def test_more_identities_than_there_are_is_refused(own_cell: Any, plan: PlanCell) -> None:
    recipes = plan(protocol=Protocol(identities=9, images_per_identity=1, evaluator_resolution_px=40))
    with pytest.raises(DataError, match="attacks 9 identities, the private set has 8; lower it"):
        ensure(recipes.reconstructions, own_cell.context)


def test_another_seed_attacks_with_other_starts(own_cell: Any, plan: PlanCell) -> None:
    other = ensure(plan(seed=1).reconstructions, own_cell.context)
    mine = images_of(own_cell.folder("reconstructions"))["images"]
    assert not np.array_equal(mine, images_of(other)["images"])


# ---------------------------------------------------------------- whose answers are observed


def two_people() -> Splits:
    """Identity 0 has images 10, 11 and 12 to report and learns 30 and 31; 1 has 20 and learns 40; 2 has none."""

    def images(values: list[int], labels: list[int]) -> Images:
        pixels = torch.tensor(values, dtype=torch.uint8)[:, None, None, None].expand(len(values), 3, 2, 2)
        return Images(pixels, torch.tensor(labels, dtype=torch.long))

    train, none = images([30, 40, 31], [0, 1, 0]), images([], [])
    return Splits(train, none, images([20, 10, 11, 12], [1, 0, 0, 0]), ("a", "b", "c"))


def test_the_nth_restart_observes_the_nth_image_and_starts_over() -> None:
    labels, restarts = torch.tensor([0, 0, 0, 0, 0, 1, 1]), torch.tensor([0, 1, 2, 3, 4, 0, 5])
    found = victims(two_people(), "report", labels, restarts)
    assert found.dtype == torch.float32
    assert (found[:, 0, 0, 0] * 255).round().tolist() == [10, 11, 12, 10, 11, 20, 20]
    learned = victims(two_people(), "train", labels, restarts)
    assert (learned[:, 0, 0, 0] * 255).round().tolist() == [30, 31, 30, 31, 30, 40, 40]


def test_victims_that_an_earlier_restart_observed_are_counted() -> None:
    labels, restarts = torch.tensor([0, 0, 0, 0, 0, 1, 1]), torch.tensor([0, 1, 2, 3, 4, 0, 5])
    assert repeated_victims(two_people(), "report", labels, restarts) == 3, "0 has three images, 1 has one"
    assert repeated_victims(two_people(), "report", labels[[0, 1, 2, 5]], restarts[[0, 1, 2, 5]]) == 0
    assert repeated_victims(two_people(), "report", labels[[4, 6]], restarts[[4, 6]]) == 0, (
        "each once, though not first"
    )


def test_an_identity_without_an_image_cannot_be_observed() -> None:
    missing = torch.tensor([2, 0]), torch.tensor([0, 0])
    with pytest.raises(
        DataError, match=r"identity 2 has no image in the report split.* or set protocol.victims: train"
    ):
        victims(two_people(), "report", *missing)
    with pytest.raises(
        DataError, match=r"identity 2 has no image in the train split.* or set protocol.victims: report"
    ):
        victims(two_people(), "train", *missing)


def test_victims_of_the_training_are_the_images_the_target_learned_each_once(
    own_cell: Any, plan: PlanCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The protocol asks for three of the four that an identity has there."""
    asked: list[Tensor] = []
    answer = Rounding.answer

    def spy(self: Rounding, query: Query, state: None) -> Tensor:
        asked.append(query.images)
        return answer(self, query, state)

    protocol = Protocol(identities=6, images_per_identity=3, evaluator_resolution_px=40, victims="train")
    recipes = plan("inversion_model", defense=choose_defense("rounding"), protocol=protocol)
    ensure(recipes.reconstructions.inputs["inverter"], own_cell.context)
    monkeypatch.setattr(Rounding, "answer", spy)
    ensure(recipes.reconstructions, own_cell.context)
    splits = load_splits(own_cell.folder("private"))
    seen = (torch.cat(asked) * 255).round().to(torch.uint8)
    assert len(seen) == 18
    places = [(splits.train.images == image).flatten(1).all(dim=1).nonzero().flatten().tolist() for image in seen]
    assert [len(place) for place in places] == [1] * 18, "every one was learned"
    assert len({row for place in places for row in place}) == 18, "no image twice while there are enough"
    assert [int(splits.train.labels[row]) for (row,) in places] == [label for label in range(6) for _ in range(3)]
    assert not any((splits.report.images == image).flatten(1).all(dim=1).any() for image in seen)


def test_a_head_that_samples_answers_the_same_when_attacked_and_scored_again(own_cell: Any, plan: PlanCell) -> None:
    """MID draws whenever it answers; same recipe, same numbers all the same."""
    recipes = plan(defense=choose_defense("mid(weight=0.01)"))
    artifacts = own_cell.context.store.artifacts
    seen = []
    for _ in range(2):
        scores = (ensure(recipes.scores, own_cell.context) / "measurements.json").read_text()
        seen.append((images_of(ensure(recipes.reconstructions, own_cell.context))["images"], scores))
        for recipe in (recipes.reconstructions, recipes.scores):
            artifacts.set_aside(recipe.key, "to build it again")
        torch.rand(7)  # other work on the machine draws, too
    assert np.array_equal(seen[0][0], seen[1][0])
    accuracy = [[e["value"] for e in json.loads(s) if e["metric"].endswith("accuracy")] for _, s in seen]
    assert accuracy[0] == accuracy[1]


def test_a_search_that_diverged_is_an_error_and_never_a_picture(
    own_cell: Any, plan: PlanCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipes = plan(seed=2)
    ensure(recipes.target, own_cell.context)
    draw = Gmi.draw

    def broken(self: Gmi, networks: Any, latents: torch.Tensor, rows: Any) -> torch.Tensor:
        images = draw(self, networks, latents, rows).clone()
        images[rows.labels == 1] = float("nan")
        return images

    monkeypatch.setattr(Gmi, "draw", broken)
    with pytest.raises(MidefError, match=r"gmi diverged: 3 of 18 reconstructions .* lower its learning_rate"):
        ensure(recipes.reconstructions, own_cell.context)
