"""pubfig83: its crop and its private identities; the rest is tested with facescrub."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from midef.datasets import DATASETS
from midef.datasets.pubfig83 import Pubfig83


@pytest.fixture
def figures(tmp_path: Path) -> Path:
    """83 people with 3 images of 100x100; red is x, green is y, blue the position of the identity."""
    x, y = np.meshgrid(np.arange(100), np.arange(100))
    for k in range(83):
        (tmp_path / f"figure {k:02d}").mkdir()
        image = Image.fromarray(np.stack([x, y, np.full_like(x, k)], axis=2).astype(np.uint8))
        for i in range(3):
            image.save(tmp_path / f"figure {k:02d}" / f"{i}.png", compress_level=1)
    return tmp_path


def test_fifty_are_private_and_cut_to_the_centre_67_of_100(figures: Path) -> None:
    chosen = DATASETS.choose({"name": "pubfig83", "preset": "lokt-private", "path": str(figures)})
    splits = DATASETS.remake(chosen).load(67)
    assert splits.class_names == tuple(f"figure {k:02d}" for k in range(50))
    for part in splits.parts.values():
        assert torch.equal(part.images[:, 2, 0, 0].long(), part.labels) and len(part) == 50
        assert (part.images[:, 0] == 16 + torch.arange(67)).all()
        assert (part.images[:, 1] == 16 + torch.arange(67)[:, None]).all()


def test_all_83_are_for_the_evaluator_and_33_are_left_to_be_public(figures: Path) -> None:
    assert Pubfig83(path=str(figures)).n_identities() == 83
    public = Pubfig83(path=str(figures), role="public", start=50)
    assert sum(public.card().counts.values()) == 33 * 3
    (problem,) = Pubfig83(path=str(figures), identities=84).problems()
    assert problem.startswith("pubfig83: 83 identity folders")
