"""Which cells `--only` and `retry --filter` choose, and what is said of words that choose nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from midef.core import SpecError
from midef.core.errors import FailureKind
from midef.core.failure import signature
from midef.storage.cell_state import CellState
from midef.sweep.planning.selection import choose_cells, choose_failed
from midef.sweep.spec.resolve import Sweep


@pytest.fixture
def sweep(sweep_of: Callable[..., Sweep]) -> Sweep:
    return sweep_of({"attack": ["gmi", "brep_mi"]}, defenses=["none", "midre(area_high=0.8)", "bido"], seeds=[0, 1])


def chosen(sweep: Sweep, *only: str) -> set[tuple[str, str, int]]:
    choose = choose_cells(sweep, only)
    return {(c.cell.setup.attack.name, c.cell.defense.name, c.cell.seed) for c in sweep.cells if choose(c)}


def test_nothing_given_chooses_all(sweep: Sweep) -> None:
    assert len(chosen(sweep)) == 12


@pytest.mark.parametrize(
    ("only", "count"),
    [
        (("defense=bido",), 4),
        (("defense=midre",), 4),
        (("defense=midre(area_high=0.8)",), 4),
        (("defense=bido", "defense=none"), 8),
        (("defense=bido", "seed=1"), 2),
        (("defense=bido", "seed=1", "attack=gmi"), 1),
        (("attack=*mi",), 12),
        (("setup=gmi*",), 6),
    ],
)
def test_equal_keys_add_and_different_keys_narrow(sweep: Sweep, only: tuple[str, ...], count: int) -> None:
    assert len(chosen(sweep, *only)) == count


def test_every_wrong_word_is_named_at_once(sweep: Sweep) -> None:
    with pytest.raises(SpecError) as caught:
        choose_cells(sweep, ["defence=bido", "seed", "attack="])
    assert len(caught.value.problems) == 3
    assert "did you mean 'defense'" in str(caught.value) and "write key=value" in str(caught.value)


def test_a_value_no_cell_has_is_an_error_with_the_nearest(sweep: Sweep) -> None:
    with pytest.raises(SpecError, match="defense=bidoo matches no cell of sweep small; did you mean 'bido'"):
        choose_cells(sweep, ["defense=bidoo"])


def retried(
    sweep: Sweep, reasons: Mapping[int, str], *filters: str, kinds: Mapping[int, FailureKind] | None = None
) -> list[int]:
    """Cells that are chosen, of those that failed for a reason; kinds: "" as of an older midef where none is given."""
    failed = {i: CellState("failed", reason, (kinds or {}).get(i, "")) for i, reason in reasons.items()}
    states = {c.cell.digest: failed.get(i, CellState("ok")) for i, c in enumerate(sweep.cells)}
    choose = choose_failed(sweep, filters, states)
    return [i for i, c in enumerate(sweep.cells) if choose(c)]


def test_failed_cells_are_chosen_by_kind_and_by_text(sweep: Sweep) -> None:
    reasons = {1: "GPU 3 says no", 2: "it made no progress, then out of memory", 5: "the process died", 6: "hung jury"}
    kinds: dict[int, FailureKind] = {1: "oom", 2: "hung", 5: "oom", 6: "bug"}
    assert retried(sweep, reasons, "error=oom", kinds=kinds) == [1, 5], "its words do not count where the kind is known"
    assert retried(sweep, reasons, "error=hung", kinds=kinds) == [2]
    assert retried(sweep, reasons, "error=hang", "error=bug", kinds=kinds) == [2, 6], "`hang` is the older word"
    assert retried(sweep, reasons, "error=died", kinds=kinds) == []
    assert retried(sweep, reasons, "error=GPU 3", kinds=kinds) == [1], "text that is no kind is text"
    assert retried(sweep, {**reasons, 7: "CUDA out of memory"}, "error=oom", kinds=kinds) == [1, 5, 7]


def test_failed_cells_of_an_older_midef_are_chosen_by_cause_and_by_text(sweep: Sweep) -> None:
    reasons = {
        1: "target/0123456789 failed: OutOfMemoryError at x.py:3: CUDA out of memory. Tried to allocate 2 GiB",
        2: "target/0123456789 failed: TrainingDiverged: the loss became nan",
        5: "it made no progress for 1800 s on w1 and was ended",
    }
    assert retried(sweep, reasons) == [1, 2, 5]
    assert retried(sweep, reasons, "error=oom") == [1]
    assert retried(sweep, reasons, "error=hang", "error=diverged") == [2, 5]
    assert retried(sweep, reasons, "error=became NAN") == [2], "text is text, whatever its case"
    assert retried(sweep, reasons, "error=oom", "seed=0") == []
    assert retried(sweep, reasons, "error=nothing like it") == []


def test_reasons_of_one_cause_are_alike() -> None:
    def oom(key: str, size: Any) -> str:
        return f"{key} failed: OutOfMemoryError at _search.py:91: CUDA out of memory. Tried to allocate {size} MiB"

    one = signature(oom("target/0123456789", 512))
    assert one == signature(oom("target/abcdef0123", 20.5)) and "CUDA out of memory" in one
    assert one != signature("target/0123456789 failed: TrainingDiverged: the loss became nan")
    assert signature("cannot read /data/a/b.png") == signature("cannot read /data/c.png")
