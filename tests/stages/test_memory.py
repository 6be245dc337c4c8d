"""What is told, and done, when memory ran out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from midef.attacks.latent_search.memory import memory_share
from midef.attacks.latent_search.owners import OwnedSearch
from midef.core.failure import ran_out_of_memory
from midef.stages import BuildContext, ensure
from midef.stages.build import checkpoint_home
from midef.storage import Store


def raised_from(cause: BaseException, *, explicitly: bool) -> BaseException:
    try:
        try:
            raise cause
        except type(cause):
            if explicitly:
                raise ValueError("outer") from cause
            raise ValueError("outer")  # noqa: B904  # the other way an error remembers another
    except ValueError as error:
        return error


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: not enough memory"),
        RuntimeError("can't allocate memory: you tried to allocate 8 bytes"),
    ],
    ids=["gpu", "python", "allocator", "allocate"],
)
def test_an_error_of_memory_is_known_however_it_is_wrapped(error: BaseException) -> None:
    assert ran_out_of_memory(error)
    assert ran_out_of_memory(raised_from(error, explicitly=True))
    assert ran_out_of_memory(raised_from(error, explicitly=False))
    assert ran_out_of_memory(raised_from(raised_from(error, explicitly=False), explicitly=True))


def test_what_the_allocator_really_says_is_known() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**55, dtype=torch.uint8)
    assert ran_out_of_memory(caught.value)


def test_other_errors_are_not_of_memory() -> None:
    circle = RuntimeError("size mismatch")
    circle.__cause__ = ValueError("DefaultCPUAllocator is only quoted here")
    circle.__cause__.__context__ = circle
    assert not ran_out_of_memory(circle)


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_less_memory_means_micro_batches_and_smaller_searches(
    share: float, plan: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares: list[float] = []
    found = OwnedSearch.found

    def spy(self: OwnedSearch, owners: Any, chosen: Any) -> Any:
        shares.append(memory_share.get())
        assert len(owners) <= 8 * share
        return found(self, owners, chosen)

    monkeypatch.setattr("midef.attacks.latent_search.memory.CHUNK", 8)
    monkeypatch.setattr(OwnedSearch, "found", spy)
    context = BuildContext(store=Store.open(tmp_path / "store"), memory_share=share)
    recipes = plan()
    ensure(recipes.reconstructions, context)
    facts = context.store.artifacts.meta(recipes.target.key)["facts"]
    assert facts.get("micro_batches") == {1.0: None, 0.5: 2}[share]
    assert len(shares) == {1.0: 3, 0.5: 5}[share] and set(shares) == {share}  # 18 images
    assert memory_share.get() == 1.0


def test_only_checkpoints_of_an_object_store_have_another_home(tmp_path: Path) -> None:
    assert checkpoint_home(BuildContext(store=Store.open(tmp_path / "store"))) is None
