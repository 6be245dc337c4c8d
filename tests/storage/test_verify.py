"""Verification of a store, on a disk and in a bucket."""

from __future__ import annotations

import pytest

from midef.core import Recipe
from midef.storage import Store
from midef.storage.verify import verify

SPLIT = Recipe("split", "synthetic_faces", {"classes": 10})
TARGET = Recipe("target", "classifier", {"lr": 0.1}, {"data": SPLIT})


@pytest.mark.parametrize("name", ["weights.safetensors", "META.json", "recipe.json"])
def test_a_damaged_artifact_is_found_and_set_aside(store: Store, name: str) -> None:
    for recipe in (SPLIT, TARGET):
        with store.artifacts.workspace() as folder:
            (folder / "weights.safetensors").write_bytes(bytes(1000))
            store.artifacts.publish(recipe, folder, wall_s=1.0)
        assert store.artifacts.fetch(recipe.key).is_dir()  # what was checked before is read again
    assert verify(store).damaged == ()
    (path,) = (p for p in store.location.files(f"artifacts/{SPLIT.key}") if p.endswith(name))
    content = bytearray(store.location.get(path))
    content[500 if len(content) > 500 else 50] ^= 1
    store.location.put(path, bytes(content))
    (damage,) = verify(store).damaged
    assert (damage.path, damage.what, damage.set_aside_as) == (f"artifacts/{SPLIT.key}", "split", "")
    assert name in damage.problem
    assert damage.built_from_it == "1 target"
    (damage,) = verify(store, repair=True).damaged
    assert damage.set_aside_as == f"artifacts/.damaged/split-{SPLIT.key.digest}-1"
    assert (verify(store).damaged, verify(store).set_aside_before) == ((), 1)
    assert store.artifacts.keys() == {TARGET.key}
