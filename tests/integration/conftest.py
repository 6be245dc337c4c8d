"""A sweep small enough to run end to end on real Ray in seconds."""

from __future__ import annotations

from typing import Any

import pytest

MICRO: dict[str, Any] = {
    "name": "micro",
    "setups": [
        {
            "id": "faces",
            "attack": {"name": "gmi", "iterations": 3, "prior": {"steps": 4, "width": 8}},
            "private": {
                "name": "synthetic_faces",
                "identities": 12,
                "train_images": 4,
                "select_images": 1,
                "report_images": 1,
            },
            "public": {
                "name": "synthetic_faces",
                "population": "public",
                "identities": 20,
                "train_images": 4,
                "select_images": 1,
                "report_images": 1,
            },
            "protocol": {"identities": 4, "images_per_identity": 2},
        }
    ],
    "defenses": ["none", "midre"],
    "training": {"epochs": 1, "batch_size": 16},
    "evaluator_training": {"epochs": 1, "batch_size": 16},
}


@pytest.fixture(scope="session")
def micro() -> dict[str, Any]:
    """The specification as plain data; copy it, never change it."""
    return MICRO
