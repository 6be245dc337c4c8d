"""What runs leave behind, and where."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from midef.core import Recipe
from midef.storage import Store
from midef.sweep.execution.cleanup import forget_finished_checkpoints, train_storage_of
from midef.sweep.planning.plan import Plan
from midef.sweep.spec.resolve import Sweep

SweepOf = Callable[..., Any]
States = Callable[[Plan], dict[str, str]]


def test_a_checkpoint_is_removed_once_its_training_is_stored(
    sweep_of: Callable[..., Sweep], store: Store, publish: Callable[..., None]
) -> None:
    """A process killed between storing a target and forgetting its checkpoint never comes back to it."""
    walked: list[Recipe] = list(sweep_of().cells[0].recipes.scores.walk())
    target, evaluator = (next(r for r in walked if r.kind == kind) for kind in ("target", "evaluator"))
    for recipe in (target, evaluator):
        store.location.put(f"checkpoints/{recipe.key.digest}/state.pt", b"weights")
        store.location.put(f"ray/{recipe.key.digest}/state.json", b"a record of Ray Train, written late")
    publish(target)
    forget_finished_checkpoints(store)
    assert store.location.local is not None
    for folder in ("checkpoints", "ray"):
        assert [p.name for p in (store.location.local / folder).glob("[!.]*")] == [evaluator.key.digest]


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("s3://bucket/results?region=eu-central-1", "s3://bucket/results/ray?region=eu-central-1"),
        ("gs://bucket/results/", "gs://bucket/results/ray"),
    ],
)
def test_the_options_of_a_store_stay_behind_its_path(uri: str, expected: str) -> None:
    class Remote:
        location = type("Location", (), {"local": None})
        uri = ""

    remote: Any = Remote()
    remote.uri = uri
    assert train_storage_of(remote) == expected
