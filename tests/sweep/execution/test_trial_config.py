"""A trial's configuration survives the way through Tune, and says where its process builds."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from midef.core import Recipe
from midef.storage import Store
from midef.sweep.execution.trial_config import TrialConfig


@pytest.fixture
def config(store: Store) -> TrialConfig:
    recipe = Recipe("target", "classifier", {"seed": 3}, {"private": Recipe("split", "synthetic_faces", {})})
    about: dict[str, Any] = {"run": "sweep-1", "node": recipe.key, "recipe": recipe, "store": store.uri}
    numbers: dict[str, Any] = {"cpus": 2, "gpu": 0.5, "workers_on_gpu": True, "train_workers": 2, "retries": 3}
    return TrialConfig(**about, **numbers, locations={"ab12": {"path": "x"}}, train_storage="s3://b/ray", beat_s=1.5)


def test_it_is_read_back_as_it_was_written(config: TrialConfig) -> None:
    plain = json.loads(json.dumps(config.as_plain()))
    assert TrialConfig.from_plain(plain) == config
    assert TrialConfig.from_plain({**plain, "what Tune adds": 1}) == config
    assert (plain["node"], plain["kind"]) == (str(config.recipe.key), "target")


def test_every_value_is_passed_on(config: TrialConfig) -> None:
    """No field has its default here, so that one that is not written would show."""
    bare = TrialConfig(run=config.run, node=config.node, recipe=config.recipe, store=config.store)
    changed = replace(config, memory_share=0.5)
    assert not [name for name in vars(bare) if name not in ("run", "node", "recipe", "store")
                and getattr(changed, name) == getattr(bare, name)]  # fmt: skip
    assert TrialConfig.from_plain(changed.as_plain()) == changed


def test_it_builds_where_the_trial_is(config: TrialConfig, store: Store) -> None:
    context = replace(config, gpu=0.0, memory_share=0.5).context()
    assert (context.store.uri, context.device, context.memory_share) == (store.uri, "cpu", 0.5)
    assert store.location.local is not None and context.checkpoints == store.location.local / "checkpoints"
    assert context.locations == {"ab12": {"path": "x"}} and context.fit is None


def test_a_worker_beats_for_the_node_whatever_it_builds(config: TrialConfig) -> None:
    other = replace(config, recipe=config.recipe.inputs["private"], gpu=0.0)
    heartbeat = other.heartbeat()
    assert (heartbeat.node, heartbeat.kind, heartbeat.every_s) == (config.node.digest, "target", 1.5)
