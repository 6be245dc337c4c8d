"""`midef list`: complete, in every format."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from midef.attacks import ATTACKS
from midef.defenses import DEFENSES
from midef.sweep.cli.listing import LISTED

Midef = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("what", LISTED)
def test_lists(midef: Midef, what: str) -> None:
    entries = json.loads(midef("list", what, "--json")[1])
    first, last = ("source", "value") if what == "published" else ("name", "meaning")
    assert entries and all(entry[first] and entry[last] for entry in entries)
    text = midef("list", what)[1].splitlines()
    assert [line.split()[0] for line in text] == [entry[first].split()[0] for entry in entries]
    markdown = midef("list", what, "--markdown")[1].splitlines()
    assert len(markdown) == len(entries) + 2
    assert {line.count(" | ") for line in (markdown[0], *markdown[2:])} == {len(entries[0]) - 1}


def test_lists_are_complete(midef: Midef) -> None:
    found = {e["name"]: e for e in json.loads(midef("list", "defenses", "--json")[1])}
    assert sorted(found) == DEFENSES.names()
    assert "ls" in found["nls"]["combines with"] and "nls" not in found["midre"]["combines with"]
    assert "celeba-64" in found["midre"]["presets"]
    attacks = {e["name"]: e["access"] for e in json.loads(midef("list", "attacks", "--json")[1])}
    assert sorted(attacks) == ATTACKS.names() and len(set(attacks.values())) == 3
