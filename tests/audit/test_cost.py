"""An audit of a model whose questions cost something says so before it asks the first."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from midef.attacks import ATTACKS
from midef.audit.answers import AnswerStore
from midef.audit.budget import Asked, queries_of
from midef.audit.cost import cost_of
from midef.audit.data import read_data
from midef.audit.function import Function
from midef.audit.given import take_model
from midef.audit.input import read_input
from midef.audit.judge import choose_judge
from midef.audit.plan import Plan, make_plan
from midef.core import SpecError
from tests.audit.test_run import PEOPLE, PRIVATE, PUBLIC, PX


def plan_of(box: Function, *attacks: str) -> Plan:
    model = take_model(box, read_input(resolution_px=PX))
    data = read_data(PRIVATE, PUBLIC)
    return make_plan(model, data, choose_judge(model.given, PX), attacks, profile="smoke", identities=2)


def scores(images: Tensor) -> Tensor:
    pytest.fail("asked before anybody knew what it costs")


def test_all_questions_of_the_plan_are_counted_and_none_is_asked(store: AnswerStore) -> None:
    box = Function(scores, name="m", store=store, n_classes=PEOPLE, budget=10_000, price_per_1000=2.0)
    plan = plan_of(box, "rlb_mi", "inversion_model")
    cost = cost_of(plan)
    assert cost is not None and box.asked == 0
    rlb_mi, inversion = (planned.cell.setup for planned in plan.cells)
    made = rlb_mi.protocol.identities * rlb_mi.protocol.images_per_identity
    asked = queries_of(ATTACKS.remake(rlb_mi.attack), reconstructions=made, identities=2, n_classes=PEOPLE)
    assert plan.data.public_set is not None
    assert cost.parts == {
        "accuracy on private images": Asked(plan.data.sizes[2]),
        rlb_mi.attack.label: asked,
        inversion.attack.label: Asked(sum(plan.data.public_set.sizes().values())),
        "scores of reconstructions": Asked(3 * made),  # and what the attacker of inversion_model observed
    }
    assert cost.money == pytest.approx(cost.queries / 500) and cost.budget == 10_000
    stored = cost_of(plan, {planned.cell.digest for planned in plan.cells})
    assert stored is not None and stored.queries == plan.data.sizes[2]


def test_attacks_are_chosen_that_the_query_budget_holds(store: AnswerStore) -> None:
    def chosen(budget: int, name: str) -> set[str]:
        labels = Function(scores, name=name, store=store, answers="labels", n_classes=PEOPLE, budget=budget)
        return {planned.cell.setup.attack.name for planned in plan_of(labels).cells}

    assert chosen(1_000_000, "a") == {"lokt", "brep_mi"} and chosen(28_000, "b") == {"brep_mi"}
    with pytest.raises(SpecError, match=r"lokt: would ask [\d,]+ questions, and 2,000 of the budget of 2,000 are left"):
        chosen(2_000, "c")


def test_a_network_costs_nothing() -> None:
    model = take_model(
        torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * PX**2, PEOPLE)), read_input(resolution_px=PX)
    )
    plan = make_plan(model, read_data(PRIVATE, PUBLIC), choose_judge(model.given, PX), ["gmi"], profile="smoke")
    assert cost_of(plan) is None
