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
    heads, _, *text = midef("list", what)[1].partition("\n\nnot shown: ")[0].splitlines()
    assert heads.split()[0] == first
    assert all(len(line) <= 100 for line in text)
    starts = [line.split()[0].rstrip(",") for line in text if line[:1].strip()]
    assert starts == [entry[first].split()[0].rstrip(",") for entry in entries]
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


def test_filters_and_columns(midef: Midef) -> None:
    every = json.loads(midef("list", "defenses", "--json")[1])
    found = json.loads(midef("list", "defenses", "--filter", "ERAS", "--filter", "midre", "--json")[1])
    assert found and all("eras" in str(entry).lower() and "midre" in str(entry).lower() for entry in found)
    assert len(found) < len(every)
    text = midef("list", "defenses", "--columns", "name,tuned by", "--filter", "midre")[1]
    assert text.split("\n")[0].split() == ["name", "tuned", "by"] and "not shown" not in text
    whole = midef("list", "defenses", "--columns", "all", "--filter", "midre")[1]
    assert "combines" in whole and all(len(line) <= 100 for line in whole.splitlines())


def test_what_a_filter_and_a_column_cannot_find(midef: Midef) -> None:
    count = len(json.loads(midef("list", "attacks", "--json")[1]))
    assert midef("list", "attacks", "--filter", "zebra") == (0, f"none of the {count} attacks holds 'zebra'\n", "")
    assert json.loads(midef("list", "attacks", "--filter", "zebra", "--json")[1]) == []
    code, _, err = midef("list", "attacks", "--columns", "acess,name,tuned")
    assert code == 2 and "2 problems" in err and "no column 'acess'; did you mean 'access'?" in err


def test_a_list_fits_a_narrow_terminal(midef: Midef, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("midef.sweep.cli.listing.text_width", lambda: 60)
    lines = midef("list", "metrics")[1].partition("\n\nnot shown")[0].splitlines()
    assert all(len(line) <= 60 for line in lines)
