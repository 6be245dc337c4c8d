"""Copies of host tensors on a device."""

from __future__ import annotations

from typing import Any

import torch

from midef.core.upload import uploaded


def test_on_a_cpu_it_is_the_tensor_itself() -> None:
    values = torch.arange(3)
    assert uploaded(values, "cpu") is values


def test_a_gpu_gets_it_through_pinned_memory_and_nobody_waits() -> None:
    class Seen:
        """Notes what is asked of it: there need be no GPU."""

        calls: list[Any] = []

        def pin_memory(self) -> Seen:
            self.calls.append("pinned")
            return self

        def to(self, device: str, **how: Any) -> Seen:
            self.calls.append((device, how))
            return self

    uploaded(Seen(), "cuda:1")  # type: ignore[arg-type]
    assert Seen.calls == ["pinned", ("cuda:1", {"non_blocking": True})]
