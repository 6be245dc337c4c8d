"""About how long the attacks of an audit take, before any runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from midef.attacks import ATTACKS, AccessLevel, Attack
from midef.audit import seconds
from midef.audit.answers import AnswerStore
from midef.audit.budget import Rate
from midef.audit.data import read_data
from midef.audit.function import Function
from midef.audit.given import Model, take_model
from midef.audit.input import read_input
from midef.audit.judge import choose_judge
from midef.audit.plan import Plan, make_plan
from midef.audit.seconds import Seconds, seconds_of_image
from midef.core.errors import SpecError
from midef.core.recipe import each_once
from midef.stages import BuildContext, ensure
from midef.storage import Store
from midef.sweep.planning.estimate import NODE_S, SEARCHED, Estimates

PX, PEOPLE = 32, 4
PRIVATE = {"name": "synthetic_faces", "identities": PEOPLE, "train_images": 3, "report_images": 2}
PUBLIC = {"name": "synthetic_faces", "population": "public", "identities": 6, "train_images": 2}
DATA = read_data(PRIVATE, PUBLIC)
MODEL = take_model(nn.Sequential(nn.Flatten(), nn.Linear(3 * PX * PX, PEOPLE)), read_input(resolution_px=PX))


def plan_of(model: Model = MODEL, **options: Any) -> Plan:
    return make_plan(model, DATA, choose_judge(model.given, PX), [], profile="smoke", identities=2, **options)


def gmi_of(plan: Plan) -> Any:
    return next(one.recipes.scores for one in plan.cells if one.cell.setup.attack.name == "gmi")


def test_a_budget_leaves_out_what_takes_longer_and_every_reason_says_how_long() -> None:
    all_of_them = plan_of()
    assert gmi_of(all_of_them) and "would take" not in all_of_them.reasons
    tried = [line for line in all_of_them.reasons.splitlines() if line.startswith("+ ")]
    assert len(tried) == len(all_of_them.cells) and all("; about " in line for line in tried)
    with pytest.raises(SpecError, match=r"gmi: would take about .* and 1 s of the budget of 1 s are left"):
        plan_of(seconds=1.0)
    some = plan_of(seconds=90.0)
    assert 0 < len(some.cells) < len(all_of_them.cells) and "would take about" in some.reasons


def test_what_is_stored_costs_nothing_and_shared_work_has_one_name(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    plan = plan_of()
    gmi, gan_search = gmi_of(plan), ATTACKS.make("gmi")

    def costs(recipe_of: Any = lambda _: gmi) -> Seconds:
        return Seconds(MODEL, recipe_of, lambda _: 0, locations=plan.locations, store=store)

    needed = {str(recipe.key) for recipe in each_once([gmi])}
    assert set(costs()(gan_search)) == needed
    ensure(plan.private_split, BuildContext(store=store, locations=plan.locations))
    assert set(costs()(gan_search)) == needed - {str(plan.private_split.key)}
    assert costs(lambda _: plan.private_split)(gan_search) == {}


def test_the_search_takes_as_long_as_the_model_that_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of()
    gmi, made = gmi_of(plan), ATTACKS.make("gmi")
    search = gmi.inputs["reconstructions"]

    def took(image_s: float) -> float:
        monkeypatch.setattr(seconds, "seconds_of_image", lambda _: image_s)
        return Seconds(MODEL, lambda _: gmi, lambda _: 0, locations=plan.locations)(made)[str(search.key)]

    attack = next(one.cell.setup.attack for one in plan.cells if one.cell.setup.attack.name == "gmi")
    drawn = ATTACKS.remake(attack).images_drawn(reconstructions=2, identities=2)
    assert took(0.01) - took(0.0) == pytest.approx(SEARCHED * drawn * 0.01)
    assert took(0.0) >= NODE_S
    target = search.inputs["target"]
    assert Estimates(plan.locations).gflop(target) == 0.0, "facts say nothing of a given network"


def test_a_model_that_costs_is_not_asked_and_its_rate_limit_counts(tmp_path: Path) -> None:
    asked: list[int] = []

    def function(images: Tensor) -> Tensor:
        asked.append(len(images))
        return torch.full((len(images), PEOPLE), 1 / PEOPLE)

    store = AnswerStore(tmp_path / "answers.sqlite")
    door = Function(function, name="door", store=store, n_classes=PEOPLE, rate=Rate(per_second=4))
    model = replace(MODEL, network=door, access=AccessLevel.SCORES)
    plan = plan_of(model)
    attack: Attack = ATTACKS.remake(plan.cells[0].cell.setup.attack)
    costs = Seconds(model, lambda _: plan.cells[0].recipes.scores, lambda _: 1000, locations=plan.locations)
    label = ATTACKS.describe(attack).label
    assert costs(attack)[f"questions of {label}"] == 250
    assert not asked and seconds_of_image(model) == 0.0 and seconds_of_image(MODEL) > 0.0
