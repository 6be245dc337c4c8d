"""Addresses of sweeps in a store: a name, `name@digest`, or a digest alone; digests may be shortened.

A name means the one plan that has it. Where several plans have it, and none took it from the others, the name alone is
refused: a table of the wrong one looks like a table of the right one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from midef.core.errors import SpecError, did_you_mean, few
from midef.storage.manifests import Manifest
from midef.storage.store import Store

SHOWN_DIGITS = 10
FEWEST_DIGITS = 4
"""Digits of a digest that are shown, and that must be given."""
_HEX = re.compile(r"[0-9a-fA-F]+")


@dataclass(frozen=True)
class StoredSweep:
    """A planned sweep of a store.

    Args:
        digest: in full.
        manifest: its plan.
        planned: seconds since the epoch at which it was planned.
        replaced_by: digest of the plan that has its name now; "" while it has it.
    """

    digest: str
    manifest: Manifest
    planned: float
    replaced_by: str = ""

    @property
    def name(self) -> str:
        """Name of the sweep."""
        return self.manifest.sweep

    @property
    def address(self) -> str:
        """`tiny@1a2b3c4d5e`, which means this plan whatever else the store holds."""
        return f"{self.name}@{self.digest[:SHOWN_DIGITS]}"

    def is_meant_by(self, address: str) -> bool:
        """Whether an address may mean this plan; several plans may be meant."""
        name, at, digits = address.rpartition("@")
        is_of_digest = bool(_HEX.fullmatch(digits)) and self.digest.startswith(digits.lower())
        return address == self.name or (is_of_digest and (not at or name == self.name))

    @property
    def text(self) -> str:
        """The address, with when it was planned and how large it is."""
        when = datetime.fromtimestamp(self.planned, UTC).strftime("%Y-%m-%d %H:%M")
        count = len(self.manifest)
        old = ", replaced" if self.replaced_by else ""
        return f"{self.address} (planned {when} UTC, {count} cell{'' if count == 1 else 's'}{old})"


def stored_sweeps(store: Store) -> list[StoredSweep]:
    """Every planned sweep, latest first; plans that cannot be read are passed over with a warning."""
    times, marks = dict(store.sweeps.sweeps()), store.sweeps.replaced()
    return [
        StoredSweep(digest, manifest, times.get(digest, 0.0), marks.get(digest, ""))
        for digest, manifest in store.sweeps.manifests()
    ]


def find_sweep(store: Store, address: str) -> StoredSweep:
    """The planned sweep at an address.

    Args:
        store: to look in.
        address: `tiny`, `tiny@1a2b3c4d`, or `1a2b3c4d`.

    Raises:
        SpecError: if the store has no such sweep, or several; it names them.
    """
    return choose_sweep(stored_sweeps(store), address)


def choose_sweep(sweeps: Sequence[StoredSweep], address: str) -> StoredSweep:
    """The same, among sweeps that were read already."""
    if named := [sweep for sweep in sweeps if sweep.name == address]:
        return _of_name(address, named)
    name, at, digits = address.rpartition("@")
    named = [sweep for sweep in sweeps if not at or sweep.name == name]
    if not named or not (at or _HEX.fullmatch(digits)):
        wrong = name if at else address
        raise SpecError(f"this store has no sweep {wrong!r}; {did_you_mean(wrong, {s.name for s in sweeps})}")
    found = [sweep for sweep in named if sweep.digest.startswith(digits.lower()) or sweep.digest == digits]
    if len(found) == 1 and (len(digits) >= FEWEST_DIGITS or at):
        return found[0]
    of_name = f" called {name!r}" if name else ""
    if not found or not digits:
        raise SpecError(
            f"this store has no sweep {address!r}; sweeps{of_name}: {few([sweep.text for sweep in named]) or 'none'}"
        )
    if len(found) == 1:
        raise SpecError(f"{address!r} is short for a digest: give at least {FEWEST_DIGITS} digits, {found[0].address}")
    raise SpecError(
        f"{len(found)} sweeps of this store{of_name} have a digest that begins with {digits!r}; give more digits: "
        f"{_choices(found)}"
    )


def _of_name(name: str, named: Sequence[StoredSweep]) -> StoredSweep:
    """The plan that a name means: the one that holds it; of plans of one specification, the latest."""
    holders = [sweep for sweep in named if not sweep.replaced_by] or list(named)
    if len({_canonical(sweep.manifest.spec_json) for sweep in holders}) == 1:
        return max(holders, key=lambda sweep: sweep.planned)
    raise SpecError(f"{len(holders)} sweeps of this store are called {name!r}; say which: {_choices(holders)}")


def _choices(sweeps: Sequence[StoredSweep]) -> str:
    longest = max(len(sweep.digest) for sweep in sweeps)
    digits = next(n for n in range(SHOWN_DIGITS, longest + 1) if n == longest or _tells_apart(sweeps, n))
    return few([sweep.text.replace(sweep.address, f"{sweep.name}@{sweep.digest[:digits]}", 1) for sweep in sweeps], 10)


def _tells_apart(sweeps: Sequence[StoredSweep], digits: int) -> bool:
    return len({sweep.digest[:digits] for sweep in sweeps}) == len(sweeps)


def _canonical(spec_json: str) -> str:
    return json.dumps(json.loads(spec_json), sort_keys=True)
