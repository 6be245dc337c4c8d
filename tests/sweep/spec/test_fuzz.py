"""Specifications with mistakes at random: planned, or refused with a clear error; never a traceback, never a hang."""

from __future__ import annotations

from pathlib import Path

import pytest
from reliability import inputs
from reliability.mutations import BASES, mutations, text_of, tree_of

N = 1200


def content_of(base: object) -> bytes:
    return text_of(tree_of(base)).strip().encode()


@pytest.fixture(autouse=True)
def no_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MIDEF_DATA", str(tmp_path / "no-data"))


@pytest.mark.parametrize("base", BASES, ids=lambda base: str(list(base)[-1]))
def test_what_is_changed_is_right_before(base: object, tmp_path: Path) -> None:
    assert inputs.try_input(content_of(base), tmp_path) == ("planned", "")


def test_changed_specifications(tmp_path: Path) -> None:
    counts = inputs.run(tmp_path, N, seed=13)
    bad = [(content[:2000].decode("utf-8", "backslashreplace"), text) for one in counts for content, text in one.bad]
    assert not bad, "\n".join(bad[0])
    assert sum(sum(one.endings.values()) for one in counts) == N
    assert sum(one.endings.get("planned", 0) for one in counts) > N / 20, "hardly any input comes as far as the plan"


def test_the_same_seed_makes_the_same_changes() -> None:
    assert list(mutations(20, 3)) == list(mutations(20, 3)) != list(mutations(20, 4))


def test_a_traceback_and_a_hang_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(spec: object) -> None:
        raise KeyError(spec)

    def endless(spec: object) -> None:
        while True:
            pass

    monkeypatch.setattr(inputs, "HANG_S", 0.05)
    monkeypatch.setattr(inputs, "resolve", broken)
    assert inputs.try_input(content_of(BASES[0]), tmp_path)[0] == "traceback"
    monkeypatch.setattr(inputs, "resolve", endless)
    assert inputs.try_input(content_of(BASES[0]), tmp_path)[0] == "hang"
