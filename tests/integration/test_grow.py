"""A plan that grows while it runs, on real Ray: what is trained next follows from what was stored before."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from midef.core import ArtifactKey, Failure
from midef.metrics import standard_metrics
from midef.storage import Store
from midef.sweep.execution.outcome import Outcome, RunOptions
from midef.sweep.execution.tune_run import run_plan
from midef.sweep.planning.plan import More, Node, Plan, extend_plan, make_plan
from midef.sweep.spec.load import parse_spec
from midef.sweep.spec.planned_cell import PlannedCell
from midef.sweep.spec.resolve import resolve

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

Named = Callable[[str], PlannedCell]
RayHere = Callable[[dict[str, str]], AbstractContextManager[pytest.MonkeyPatch]]


@pytest.fixture(scope="module", autouse=True)
def shared_ray(joining: dict[str, str], ray_here: RayHere) -> Iterator[None]:
    """Runs of this process join the Ray of the session."""
    with ray_here(joining):
        yield


@pytest.fixture(scope="module")
def cell(micro: dict[str, Any]) -> Named:
    """The cell of the micro sweep under another defense."""
    return lambda defense: resolve(parse_spec({**micro, "defenses": [defense]})).cells[0]


def first_target(micro: dict[str, Any], store: Store) -> Plan:
    """A plan of no cell, with the undefended target asked for."""
    sweep = resolve(parse_spec({**micro, "defenses": ["none"]}))
    plan = make_plan(sweep, store, chosen=lambda planned: False)
    extend_plan(plan, More(recipes=[sweep.cells[0].recipes.target]), store)
    return plan


def after(accuracies: list[float]) -> str:
    """A defense that no accuracies but these lead to."""
    return f"midre(area_high={0.3 + 0.1 * len(accuracies) + sum(accuracies) / 10_000:.6f})"


def accuracy(store: Store, key: ArtifactKey) -> float:
    return float(store.artifacts.meta(key)["facts"]["train_accuracy"])


@dataclass
class Chain:
    """Asks for one target after another, each from the accuracies of those before, and for a cell of the last one."""

    store: Store
    cell: Named
    length: int
    accuracies: list[float] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    lock: Any = field(default_factory=threading.Lock)  # cannot be pickled, like much that a caller may hold

    def __call__(self, node: Node, failure: Failure | None) -> More:
        self.asked.append((node.recipe.kind, "" if failure is None else failure.message))
        if node.recipe.kind != "target":
            return More()
        earlier = after(self.accuracies)
        self.accuracies.append(accuracy(self.store, node.key))
        if len(self.accuracies) == self.length:
            return More(cells=[self.cell(earlier)])
        return More(recipes=[self.cell(after(self.accuracies)).recipes.target])


@dataclass(frozen=True)
class Grown:
    """A run of a chain, and what it said."""

    store: Store
    chain: Chain
    plan: Plan
    outcome: Outcome


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory, micro: dict[str, Any], cell: Named) -> Grown:
    store = Store.open(tmp_path_factory.mktemp("grow") / "store")
    plan, chain = first_target(micro, store), Chain(store, cell, length=3)
    return Grown(store, chain, plan, run_plan(plan, store, RunOptions(), chain))


def test_each_target_follows_from_the_accuracies_before_it(grown: Grown, cell: Named) -> None:
    expected = ["none"]
    accuracies: list[float] = []
    for _ in range(2):
        accuracies.append(accuracy(grown.store, cell(expected[-1]).recipes.target.key))
        expected.append(after(accuracies))
    assert grown.store.artifacts.keys("target") == {cell(name).recipes.target.key for name in expected}


def test_the_cell_asked_for_last_has_its_rows(grown: Grown, cell: Named) -> None:
    wanted = cell(after(grown.chain.accuracies[:2]))
    assert grown.store.results.cells() == {wanted.cell.digest: "ok"}
    assert len(grown.store.results.read()) == len(standard_metrics())


def test_every_piece_is_built_once_and_asked_about_once(grown: Grown) -> None:
    built = grown.store.artifacts.keys()
    assert grown.plan.nodes.keys() == built
    assert (grown.outcome.built, grown.outcome.rows, grown.outcome.failed) == (len(built), 1, {})
    assert sorted(grown.chain.asked) == sorted((key.kind, "") for key in built)


def test_what_goes_wrong_in_growing_ends_the_run_and_keeps_what_is_built(
    tmp_path: Path, micro: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    store = Store.open(tmp_path / "store")
    sweep = resolve(parse_spec({**micro, "defenses": ["none"]}))
    plan = make_plan(sweep, store, chosen=lambda planned: False)
    extend_plan(plan, More(recipes=[sweep.cells[0].recipes.private]), store)
    mistake = KeyError("accuracy")

    def grow(node: Node, failure: Failure | None) -> More:
        raise mistake

    with pytest.raises(KeyError) as caught:
        run_plan(plan, store, RunOptions(), grow)
    assert caught.value is mistake
    assert store.artifacts.keys() == plan.nodes.keys() and len(plan.nodes) == 1
    assert "no further node starts, 0 running nodes finish: KeyError: 'accuracy'" in capfd.readouterr().err
