"""`midef compare`."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from midef.storage import Store, rows_of_sweep
from midef.storage.addresses import stored_sweeps
from midef.sweep.catalogue import read_spec
from midef.sweep.execution.prepare import prepare
from midef.sweep.naming import check_name
from midef.sweep.spec.resolve import resolve

Midef = Callable[..., tuple[int, str, str]]


@pytest.fixture
def leaky(finished: Path, store: Store) -> Store:
    """Results in which midre leaks far less than the undefended model, with intervals."""
    cells: dict[str, list] = {}
    for row in rows_of_sweep(store):
        if row.metric in ("attack_accuracy_at_1", "natural_accuracy"):
            value = 20.0 if row.defense == "midre" and row.metric.startswith("attack") else 80.0
            row = replace(row, value=value, low=value - 4, high=value + 4, interval="95 %", chance=5.0, n=400)
        cells.setdefault(row.cell, []).append(row)
    for cell, rows in cells.items():
        store.results.write(cell, rows)
    return store


def test_two_defenses(midef: Midef, leaky: Store) -> None:
    code, text, _ = midef("compare", "none", "midre", "--store", "store")
    assert code == 0 and "midre leaks less than none: -60.0 points of attack accuracy@1" in text
    assert "excluded: none" in text and all(len(line) <= 100 for line in text.splitlines())
    code, text, _ = midef("compare", "midre", "none", "--store", "store")
    assert code == 5 and "none leaks more than midre: +60.0" in text


def test_numbers_in_a_file(midef: Midef, leaky: Store) -> None:
    text = midef("compare", "none", "midre", "--store", "store", "--format", "csv")[1]
    (record,) = csv.DictReader(io.StringIO(text))
    assert float(record["difference"]) == -60.0 and float(record["difference_high"]) < 0
    code, said, _ = midef("compare", "none", "midre", "--store", "store", "--format", "parquet", "--out", "d.parquet")
    assert code == 0 and "d.parquet" in said and Path("d.parquet").read_bytes()[:4] == b"PAR1"


def test_nothing_is_matched(midef: Midef, leaky: Store) -> None:
    code, text, _ = midef("compare", "none", "midre", "--store", "store", "--matched")
    assert code == 5 and "excluded: 1 of 1" in text and "midre is not matched" in text
    assert text.rstrip().endswith("nothing is paired, so nothing is compared")


def test_two_stored_sweeps_by_digest_and_two_without_a_common_setup(
    midef: Midef,
    leaky: Store,
    spec: Callable[..., dict[str, Any]],
    write_yaml: Callable[..., Path],
    publish_cell: Callable[..., None],
) -> None:
    """A name that was taken over means the newer plan; each digest still means its own."""
    for name, setup in (("small", "faces"), ("other", "elsewhere")):
        path = write_yaml(spec({"id": setup}, name=name, defenses=["none", "midre"], training={"epochs": 7}))
        sweep = resolve(read_spec(path))
        for planned in sweep.cells:
            publish_cell(planned)
        check_name(sweep, leaky, replace=True).settle(sweep, leaky, replace=True)
        prepare(sweep, leaky)
    newer, older = (plan.address for plan in stored_sweeps(leaky) if plan.name == "small")
    (other,) = (plan for plan in stored_sweeps(leaky) if plan.name == "other")
    code, text, _ = midef("compare", older, newer, "--store", "store")
    assert code in (0, 5) and f"{older} against {newer}, by setup" in text and "no result of" not in text
    code, text, _ = midef("compare", newer, other.digest[:8], "--store", "store")
    assert code == 5 and "nothing is paired" in text
    said = " ".join(text.split())
    assert (
        f"setups are paired by their id, and none is in both: {newer} has faces; {other.digest[:8]} has elsewhere"
        in said
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("none", "midr"), "'midr' is neither a defense of small nor a sweep of this store; did you mean 'midre'?"),
        (("nine", "mdre"), "2 problems"),
        (("none", "none"), "none against itself"),
        (("none", "small"), "are a defense and a sweep; name two defenses or two sweeps"),
        (("none", "midre", "--format", "parquet"), "give its name: --out"),
        (("none", "midre", "--setup", "S99"), "--setup S99 matches no setup with results"),
    ],
)
def test_wrong_names(midef: Midef, leaky: Store, given: tuple[str, ...], said: str) -> None:
    code, _, err = midef("compare", *given, "--store", "store")
    assert code == 2 and said in err


def test_an_empty_store(midef: Midef, store: Store) -> None:
    assert midef("compare", "none", "midre", "--store", "store") == (0, "no results yet\n", "")
