"""Problems of a specification, and one whose images lie beside its file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from midef.core import PreflightError, SpecError
from midef.sweep.spec.load import parse_spec
from midef.sweep.spec.resolve import resolve

Spec = Callable[..., dict[str, Any]]


@pytest.fixture
def problems_of() -> Callable[[dict[str, Any]], list[str]]:
    """Resolves plain data, and returns what is wrong with it."""

    def problems(data: dict[str, Any]) -> list[str]:
        with pytest.raises(SpecError) as caught:
            resolve(parse_spec(data, "sweep.yaml"))
        assert caught.value.exit_code == (3 if isinstance(caught.value, PreflightError) else 2)
        return caught.value.problems

    return problems


@pytest.fixture
def own_images(spec: Spec, make_tree: Callable[..., Path]) -> dict[str, Any]:
    """A specification whose data sets lie in `data/`, relative to its file."""
    make_tree("data/private", {"ada": 6, "bob": 6})
    make_tree("data/public", {"others": 6}, seed=9)
    return spec(
        {
            "private": {"name": "image_folder", "path": "data/private"},
            "public": {"name": "image_folder", "path": "data/public", "labelled": False},
            "protocol": {"identities": 2},
        }
    )
