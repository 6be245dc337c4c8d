from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midef.core import derive_seed


@given(st.lists(st.text() | st.integers() | st.booleans() | st.none(), max_size=5))
def test_a_seed_is_63_bits_and_always_the_same(parts: list[object]) -> None:
    assert 0 <= derive_seed(*parts) < 2**63
    assert derive_seed(*parts) == derive_seed(*parts)


def test_neighbouring_purposes_have_unrelated_seeds() -> None:
    seeds = [derive_seed("order", seed, epoch) for seed in range(20) for epoch in range(20)]
    assert len(set(seeds)) == 400
    bits = [sum(seed >> bit & 1 for seed in seeds) / 400 for bit in range(63)]
    assert min(bits) > 0.35 and max(bits) < 0.65


@pytest.mark.parametrize("other", [("a", "b"), ("ab",), ("a", "b", ""), ("b", "a"), (["a", "b"],)], ids=str)
def test_parts_are_not_run_together(other: tuple[object, ...]) -> None:
    others = [("a", "b"), ("ab",), ("a", "b", ""), ("b", "a"), (["a", "b"],)]
    assert sum(derive_seed(*other) == derive_seed(*o) for o in others) == 1


def test_seeds_are_fixed_for_ever() -> None:
    """Stored results depend on it."""
    assert derive_seed("weights", 0) == 2409855656310234444  # sha256 of ["weights",0]
