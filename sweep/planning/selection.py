"""Chooses cells of a sweep: `--only defense=midre --only seed=0`."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from midef.core.certainty import settings_word
from midef.core.errors import FAILURE_KINDS, SpecError, did_you_mean

if TYPE_CHECKING:
    from midef.core.rows import ResultRow
    from midef.storage.cell_state import CellState
    from midef.sweep.spec.planned_cell import PlannedCell
    from midef.sweep.spec.resolve import Sweep

T = TypeVar("T")
CellFilter: TypeAlias = "Callable[[PlannedCell], bool]"
"""True for the cells that are chosen."""
Line: TypeAlias = "Mapping[str, str | int | float | None]"
"""What the manifest of a sweep says of a cell."""


def every_cell(planned: PlannedCell) -> bool:
    """Choose every cell."""
    return True


_WORDS: Mapping[str, Callable[[PlannedCell], set[str]]] = {
    "setup": lambda c: {c.cell.setup.id},
    "attack": lambda c: {c.cell.setup.attack.name, c.cell.setup.attack.label},
    "defense": lambda c: {c.cell.defense.name, c.cell.defense.label},
    "architecture": lambda c: {c.cell.setup.architecture.name, c.cell.setup.architecture.label},
    "private": lambda c: {c.cell.setup.private.name, c.cell.setup.private.label},
    "public": lambda c: {c.cell.setup.public.name, c.cell.setup.public.label},
    "seed": lambda c: {str(c.cell.seed)},
    "certainty": lambda c: {c.cell.setup.certainty or "none"},
    "settings": lambda c: {settings_word(c.cell.setup.settings) or "none"},
    "cell": lambda c: {c.cell.digest, c.cell.digest[:10]},
}


def _said(key: str, line: Line, missing: str = "") -> set[str]:
    return {str(missing if line.get(key) in (None, "") else line.get(key))}


def _labels(key: str, line: Line) -> set[str]:
    """The label and the name in it."""
    label = str(line.get(key) or "")
    return {label, _name(label)}


_ROW_WORDS: Mapping[str, Callable[[ResultRow], set[str]]] = {
    "setup": lambda r: {r.setup},
    "attack": lambda r: {r.attack_name, r.attack},
    "defense": lambda r: {r.defense_name, r.defense},
    "architecture": lambda r: {_name(r.architecture), r.architecture},
    "private": lambda r: {_name(r.private), r.private},
    "public": lambda r: {_name(r.public), r.public},
    "seed": lambda r: {str(r.seed)},
    "certainty": lambda r: {r.certainty or "none"},
    "settings": lambda r: {settings_word(r.settings) or "none"},
    "cell": lambda r: {r.cell, r.cell[:10]},
}
_LINE_WORDS: Mapping[str, Callable[[Line], set[str]]] = {
    **{key: partial(_labels, key) for key in ("attack", "defense")},
    **{key: partial(_said, key) for key in ("setup", "seed")},
    **{key: partial(_said, key, missing="none") for key in ("certainty", "settings")},
    "cell": lambda line: {str(line["cell"]), str(line["cell"])[:10]},
}
_TEXTS: Mapping[str, str] = {
    "oom": r"out of memory|OutOfMemory|MemoryError|can't allocate",
    "died": r"the process died",
    "hung": r"made no progress",
    "diverged": r"Diverged|diverged",
    "data": r"DataError",
}
"""Reasons by kind of failure, in rows of an older midef, which know no kind."""


def _name(label: str) -> str:
    """`image_folder` of `image_folder(path=a.zip)` and of `image_folder:preset`."""
    return label.partition("(")[0].partition(":")[0]


def choose_cells(sweep: Sweep, only: Sequence[str]) -> CellFilter:
    """Cells that match every key, by any of its values; `*` and `?` stand for anything.

    Raises:
        SpecError: every unknown key, and every value that no cell of the sweep has.
    """
    return _chooser(sweep.cells, _WORDS, only, sweep.name)


def choose_rows(rows: Sequence[ResultRow], only: Sequence[str]) -> list[ResultRow]:
    """Rows of the cells of one sweep that match every key, as `choose_cells` chooses cells.

    Raises:
        SpecError: as `choose_cells`, and if no cell matches every key.
    """
    is_chosen = _chooser(rows, _ROW_WORDS, only, rows[0].sweep if rows else "")
    chosen = [row for row in rows if is_chosen(row)]
    if rows and not chosen:
        raise SpecError(f"no cell of sweep {rows[0].sweep} with results matches all of {', '.join(only)}")
    return chosen


def choose_lines(lines: Sequence[Line], only: Sequence[str], sweep: str) -> list[Line]:
    """Lines of the manifest of one sweep that match every key, as `choose_cells` chooses cells; finished or not.

    Raises:
        SpecError: as `choose_rows`.
    """
    is_chosen = _chooser(lines, _LINE_WORDS, only, sweep)
    chosen = [line for line in lines if is_chosen(line)]
    if not chosen:
        raise SpecError(f"no cell of sweep {sweep} matches all of {', '.join(only)}")
    return chosen


def _chooser(
    things: Sequence[T], words: Mapping[str, Callable[[T], set[str]]], only: Sequence[str], sweep: str
) -> Callable[[T], bool]:
    """True for the things that match every key.

    Args:
        things: of the sweep.
        words: what each key is compared with.
        only: `key=value`.
        sweep: its name.
    """
    by_key = _parse(only, words)
    problems = []
    for key, values in by_key.items():
        known = sorted(set().union(*(words[key](thing) for thing in things)))
        problems += [
            f"{key}={value} matches no cell of sweep {sweep}; {did_you_mean(value, known)}"
            for value in values
            if not any(fnmatchcase(word, value) for word in known)
        ]
    if problems:
        raise SpecError(problems)
    return lambda thing: all(
        any(fnmatchcase(word, value) for word in words[key](thing) for value in values)
        for key, values in by_key.items()
    )


def choose_failed(sweep: Sweep, filters: Sequence[str], states: Mapping[str, CellState]) -> CellFilter:
    """Cells that failed and match; `error=` is a kind of failure (`oom`, `hung`) or a part of the reason.

    Args:
        states: of stored cells, by digest.

    Raises:
        SpecError: as `choose_cells`.
    """
    errors = [text for text in filters if text.partition("=")[0] == "error"]
    causes = _parse(errors, {"error": None})["error"]
    others = choose_cells(sweep, [text for text in filters if text not in errors])

    def is_chosen(c: PlannedCell) -> bool:
        if not others(c):
            return False
        state = states.get(c.cell.digest)
        if state is None or state.status != "failed":
            return False
        return not causes or any(_is_cause(cause, state) for cause in causes)

    return is_chosen


def _is_cause(text: str, state: CellState) -> bool:
    kind = "hung" if text == "hang" else text
    if state.failure and kind in FAILURE_KINDS:
        return kind == state.failure
    return re.search(_TEXTS.get(kind, re.escape(text)), state.reason, re.I) is not None


def _parse(texts: Sequence[str], known: Mapping[str, object]) -> dict[str, list[str]]:
    values: dict[str, list[str]] = defaultdict(list)
    problems = []
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not value:
            problems.append(f"cannot read {text!r}; write key=value, with key one of {', '.join(known)}")
        elif key not in known:
            problems.append(f"{text!r}: unknown key {key!r}; {did_you_mean(key, known)}")
        else:
            values[key].append(value)
    if problems:
        raise SpecError(problems)
    return values
