from __future__ import annotations

import pytest

from midef.core import errors
from midef.core.errors import MidefError, PreflightError, SpecError, did_you_mean


def test_one_problem_is_the_message() -> None:
    assert str(SpecError("a is wrong; give b")) == str(SpecError(["a is wrong; give b"])) == "a is wrong; give b"
    assert SpecError("a").problems == ["a"]


def test_several_problems_are_counted_and_numbered() -> None:
    error = SpecError(f"problem {letter}" for letter in "ab")
    assert str(error) == "2 problems:\n  1. problem a\n  2. problem b"
    assert error.problems == ["problem a", "problem b"]


@pytest.mark.parametrize(
    ("name", "code"),
    [("MidefError", 1), ("SpecError", 2), ("PreflightError", 3), ("DataError", 3), ("StoreError", 3)],
)
def test_exit_codes(name: str, code: int) -> None:
    assert getattr(errors, name).exit_code == code


def test_every_error_is_one_of_ours() -> None:
    ours = [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, Exception)]
    assert len(ours) >= 10 and all(issubclass(cls, MidefError) for cls in ours)
    assert issubclass(PreflightError, SpecError) and issubclass(errors.StoreSchemaError, errors.StoreError)


@pytest.mark.parametrize(
    ("word", "clause"),
    [
        ("midra", "did you mean 'midre'? Known: bido, midre"),
        ("MIDRE", "did you mean 'midre'? Known: bido, midre"),
        ("xyz", "Known: bido, midre"),
    ],
)
def test_nearest_name(word: str, clause: str) -> None:
    assert did_you_mean(word, ["midre", "bido"]) == clause
    assert did_you_mean(word, []) == "Known: none"
