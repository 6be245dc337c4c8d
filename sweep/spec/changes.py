"""What differs between two specifications: the keys, each with its old and its new value."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from midef.core.canonical import digest
from midef.sweep.spec.lines import Place, shown_place
from midef.sweep.spec.schema import SweepSpec

if TYPE_CHECKING:
    from midef.sweep.spec.resolve import Sweep

NO_CHANGE = (("train_workers",), ("match", "trainings"), ("front", "trials"), ("front", "together"))
"""Keys that decide how work is done and how much of it, never what a cell is: processes, and the length of a search,
which goes on from what it has found."""
ABSENT = "nothing"
_LONGEST = 60
_PATH_IN_TEXT = re.compile(r"(path|root|train_list|report_list|public_list)=[^,)]*")


@dataclass(frozen=True)
class Change:
    """One key whose value differs.

    Args:
        place: keys and positions that lead to it.
        old: its value, as JSON data; `ABSENT` where there was none.
        new: likewise.
    """

    place: Place
    old: Any
    new: Any

    @property
    def is_path(self) -> bool:
        """Whether files were moved and nothing else is said to have changed: only their content tells."""
        from midef.datasets.base import PATHS

        if self.place[-1] in PATHS:
            return True
        texts = [self.old, self.new]
        return all(isinstance(text, str) for text in texts) and len({_PATH_IN_TEXT.sub("", t) for t in texts}) == 1

    @property
    def text(self) -> str:
        """`training.epochs: 2 -> 3`; of long lists, what is new and what is gone."""
        where, old, new = shown_place(self.place), _shown(self.old), _shown(self.new)
        if isinstance(self.old, list) and isinstance(self.new, list) and max(len(old), len(new)) > _LONGEST:
            sides = (("new", self.new, self.old), ("gone", self.old, self.new))
            parts = [f"{word} {_shown(items)}" for word, a, b in sides if (items := [one for one in a if one not in b])]
            return f"{where}: {len(self.old)} -> {len(self.new)} items: {'; '.join(parts) or 'their order'}"
        return f"{where}: {_cut(old)} -> {_cut(new)}"


def changes(old: Mapping[str, Any], new: SweepSpec) -> list[Change]:
    """Keys in which a stored specification differs from one at hand, in the order of the schema.

    Keys that decide nothing about a cell (`NO_CHANGE`) are left out, and so is the name.

    Args:
        old: as a manifest keeps it; fields that an older midef did not know count as their defaults.
        new: as it was checked.
    """
    found = _differences((), _with_defaults(old), json.loads(new.model_dump_json()))
    return [change for change in found if change.place not in NO_CHANGE and change.place != ("name",)]


def basis_of(sweep: Sweep) -> str:
    """Digest of the cells of a sweep as they were written, where strengths are searched; "" of other sweeps."""
    if sweep.spec.match is None and sweep.spec.front is None:
        return ""
    seeds = sweep.spec.seeds
    written = [e.cell(d, s).cell.digest for e in sweep.entries for d in e.defenses for s in seeds]
    return digest(sorted(written))


def _with_defaults(old: Mapping[str, Any]) -> dict[str, Any]:
    known = {name: value for name, value in old.items() if name in SweepSpec.model_fields}
    try:
        as_data: dict[str, Any] = json.loads(SweepSpec(**known).model_dump_json())
    except ValidationError:  # what an older midef took
        return dict(old)
    return as_data | {name: value for name, value in old.items() if name not in known}


def _differences(place: Place, old: Any, new: Any) -> Iterator[Change]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*new, *old]):
            yield from _differences((*place, key), old.get(key, ABSENT), new.get(key, ABSENT))
    elif _are_setups(old) and _are_setups(new) and place == ("setups",):
        yield from _of_setups(old, new)
    elif old != new:
        yield Change(place, old, new)


def _are_setups(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _of_setups(old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]) -> Iterator[Change]:
    """Differences of setups, which are the same by their ids; by their place where those do not tell them apart."""
    ids = [[setup.get("id") for setup in setups] for setups in (old, new)]
    if any(len(set(named)) < len(named) or not all(named) for named in ids):
        for i in range(max(len(old), len(new))):
            sides = [setups[i] if i < len(setups) else ABSENT for setups in (old, new)]
            yield from _differences(("setups", i), *sides)
        return
    before = {setup["id"]: setup for setup in old}
    for i, setup in enumerate(new):
        yield from _differences(("setups", i), before.pop(setup["id"], ABSENT), setup)
    for name in before:
        yield Change(("setups", str(name)), before[name], ABSENT)


def _shown(value: Any) -> str:
    if isinstance(value, dict) and value.get("id"):
        return f"setup {value['id']}"
    return value if value == ABSENT else json.dumps(value, ensure_ascii=False, separators=(", ", ": "))


def _cut(text: str) -> str:
    """A text of bearable length; its end is what tells paths apart."""
    return text if len(text) <= 4 * _LONGEST else f"{text[:_LONGEST]}...{text[-2 * _LONGEST :]}"
