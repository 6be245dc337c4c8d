"""The most that can run at once, against trying every set of pieces."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midef.sweep.planning.width import width

Graph = dict[int, set[int]]


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Graph, dict[int, float]]:
    """Up to seven pieces, each of which waits for some before it, with weights like shares of GPUs."""
    count = draw(st.integers(1, 7))
    needs = {piece: draw(st.sets(st.integers(0, max(0, piece - 1)))) - {piece} for piece in range(count)}
    weights = draw(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, 3.0]), min_size=count, max_size=count))
    return needs, dict(enumerate(weights))


def waits(needs: Graph, later: int, earlier: int) -> bool:
    return earlier in needs[later] or any(waits(needs, other, earlier) for other in needs[later])


@given(graphs())
def test_it_is_that_of_the_best_set_of_pieces_that_do_not_wait_for_each_other(
    graph: tuple[Graph, dict[int, float]],
) -> None:
    needs, weights = graph
    best = 0.0
    for size in range(len(needs) + 1):
        for chosen in combinations(needs, size):
            if not any(waits(needs, later, earlier) for earlier, later in combinations(chosen, 2)):
                best = max(best, sum(weights[piece] for piece in chosen))
    assert width(needs, weights) == pytest.approx(best)


def test_a_chain_is_as_wide_as_its_widest_piece_whatever_lies_between() -> None:
    needs = {"target": set[str](), "split": {"target"}, "attack": {"split"}, "other": {"stored"}}
    assert width(needs, {"target": 4.0, "attack": 1.5}) == 4.0
    assert width(needs, {"target": 1.0, "attack": 1.5, "other": 2.0}) == 3.5
