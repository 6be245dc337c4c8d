"""Named sweeps are found by name, and take overrides."""

from __future__ import annotations

from pathlib import Path

import pytest

from midef.core import PreflightError, SpecError
from midef.sweep.catalogue import named_sweeps, read_spec
from midef.sweep.spec.resolve import resolve


def test_a_named_sweep_that_does_not_exist() -> None:
    with pytest.raises(SpecError, match=r"unknown sweep 'smokee'; did you mean 'smoke'\? Known: .*, or a YAML file"):
        read_spec("smokee")


def test_every_named_sweep_resolves_or_says_what_is_missing() -> None:
    needs_files = set()
    for name in named_sweeps():
        sweep = resolve(read_spec(name), absent=True)
        assert sweep.name == name and sweep.cells
        if sweep.lacking:
            needs_files.add(name)
            with pytest.raises(PreflightError, match="no such file"):
                resolve(read_spec(name))
    assert needs_files <= {"tl_dmi_pretraining"}, "all others run on a machine that has nothing"


def test_a_named_sweep_takes_overrides() -> None:
    assert len(resolve(read_spec("smoke", ["seeds=[7]", "defenses=[none]"])).cells) == 1


def test_what_the_first_sweep_stored_is_part_of_the_longer_ones() -> None:
    orderings = Path(__file__).parents[3] / "benchmarks" / "smoke" / "orderings.yaml"
    short, full, longest = (
        {planned.cell.digest for planned in resolve(read_spec(source)).cells}
        for source in ("smoke", "smoke_full", orderings)
    )
    assert short < full < longest
