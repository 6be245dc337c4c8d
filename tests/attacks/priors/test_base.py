"""What the types of priors say: whether the target is asked."""

from __future__ import annotations

from inspect import signature
from pathlib import Path
from typing import Any

import pytest

from midef.attacks import PRIORS
from midef.attacks.priors.base import FitContext, Prior, PublicPrior, TargetedPrior
from midef.core import Inputs, Recipe, derive_seed

every_prior = pytest.mark.parametrize("name", PRIORS.names())
PUBLIC, TARGET = Recipe("split", "synthetic_faces", {"resolution_px": 32}), Recipe("target", "classifier")


@every_prior
def test_a_prior_is_either_public_or_targeted_and_its_type_says_whether_it_asks(name: str) -> None:
    prior = PRIORS.make(name)
    assert isinstance(prior, PublicPrior) != isinstance(prior, TargetedPrior)
    assert isinstance(prior, TargetedPrior) == (prior.asks is not None)


@every_prior
def test_only_a_targeted_prior_has_the_target_among_its_inputs(name: str) -> None:
    prior = PRIORS.make(name)
    recipe = prior.recipe(public=PUBLIC, target=TARGET)
    assert recipe.inputs["public"] == PUBLIC
    assert ("target" in recipe.inputs) == isinstance(prior, TargetedPrior)


@every_prior
def test_only_a_targeted_prior_is_given_a_handle(name: str) -> None:
    prior = PRIORS.get(name)
    base: type[Prior] = TargetedPrior if issubclass(prior, TargetedPrior) else PublicPrior
    given = list(signature(prior.fit).parameters)  # type: ignore[attr-defined]
    assert given == list(signature(base.fit).parameters)  # type: ignore[attr-defined]
    assert ("handle" in given) == issubclass(prior, TargetedPrior)


@pytest.mark.parametrize("network", [(), ("student1",)], ids=["the only one", "one of several"])
def test_each_network_of_a_prior_has_a_seed_and_reports_of_its_own(network: tuple[str, ...]) -> None:
    told: list[dict[str, Any]] = []
    run = FitContext(inputs=Inputs({}, lambda recipe: Path()), device="cuda:1", report=told.append).run(7, *network)
    assert (run.seed, run.device) == (derive_seed("prior", 7, *network), "cuda:1")
    assert run.report is not None
    run.report({"step": 1})
    assert told == [{"network": network[0], "step": 1} if network else {"step": 1}]


def test_nobody_is_told_where_nobody_listens() -> None:
    assert FitContext(inputs=Inputs({}, lambda recipe: Path())).run(0, "student0").report is None
