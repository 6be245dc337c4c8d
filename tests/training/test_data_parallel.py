"""Two and three processes learn what one process learns."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import midef
from midef.core import SpecError
from midef.defenses import Batch
from midef.training.data_parallel import World, parts

SIZES = (2, 3)
DEFENSES = ("none", "bido", "coco", "midre", "cutmix", "nls", "loft")
Found = dict[tuple[int, int], dict[str, Any]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What each worker ended with, by (size of its world, rank); (1, 0) trained alone."""
    folder = tmp_path_factory.mktemp("together")
    script = Path(__file__).with_name("workers.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(midef.__file__).parents[1])}
    workers = [
        subprocess.Popen([sys.executable, str(script), str(rank), str(folder)], env=environment, stderr=subprocess.PIPE)
        for rank in range(3)
    ]
    try:
        told = [worker.communicate(timeout=280)[1].decode() for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert [worker.returncode for worker in workers] == [0, 0, 0], "\n".join(told)
    ranks = [(size, rank) for size in (1, *SIZES) for rank in range(size)]
    return {(size, rank): torch.load(folder / f"found{size}-{rank}.pt", weights_only=True) for size, rank in ranks}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "name"), [*((2, name) for name in (*DEFENSES, "best", "resumed")), (3, "bido"), (3, "midre")]
)
def test_several_workers_end_with_the_weights_of_one(found: Found, name: str, size: int) -> None:
    """A batch of 20 does not divide by three."""
    alone = found[1, 0][name]
    for rank in range(size):
        together = found[size, rank][name]
        assert together["weights"].keys() == alone["weights"].keys()
        for key, weight in alone["weights"].items():
            torch.testing.assert_close(together["weights"][key], weight, rtol=1e-5, atol=1e-6, msg=key)
        assert together["loss"] == pytest.approx(alone["loss"], rel=1e-5)
        assert [together[key] for key in ("accuracy", "kept")] == [alone[key] for key in ("accuracy", "kept")]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*DEFENSES, "half", "best", "resumed", "in_parts"])
def test_workers_agree_to_the_last_bit(found: Found, name: str) -> None:
    first, second = found[2, 0][name], found[2, 1][name]
    assert all(torch.equal(second["weights"][key], weight) for key, weight in first["weights"].items())
    assert {k: v for k, v in second.items() if k != "weights"} == {k: v for k, v in first.items() if k != "weights"}


@pytest.mark.slow
def test_all_workers_went_on_from_the_state_of_the_first(found: Found) -> None:
    """Only its folder held one; what they end with is compared above."""
    assert [found[1, 0]["resumed"]["from"], *(found[2, rank]["resumed"]["from"] for rank in (0, 1))] == [1, 1, 1]


@pytest.mark.slow
def test_half_precision_is_near(found: Found) -> None:
    assert found[2, 0]["half"]["loss"] == pytest.approx(found[1, 0]["half"]["loss"], rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["2d", "1d", "zero_bias", "plain"])
def test_batch_norm_over_all_workers_is_that_of_the_whole_batch(found: Found, name: str, size: int) -> None:
    alone = found[1, 0]["norms"][name]
    shares = [found[size, rank]["norms"][name] for rank in range(size)]
    for key, expected in alone.items():
        if expected is None:
            assert all(share[key] is None for share in shares), key
        elif key in ("out", "slope"):  # two batches, each divided
            whole = torch.cat([_piece(share[key], half) for half in (0, 1) for share in shares])
            torch.testing.assert_close(whole, expected, rtol=1e-10, atol=1e-10, msg=key)
        elif key.startswith("grad_"):
            torch.testing.assert_close(sum(share[key] for share in shares), expected, rtol=1e-10, atol=1e-10, msg=key)
        else:
            for share in shares:
                torch.testing.assert_close(share[key], expected, rtol=1e-10, atol=1e-10, msg=key)


def _piece(two_batches: Tensor, half: int) -> Tensor:
    return two_batches.tensor_split(2)[half]


@pytest.mark.parametrize(("count", "size", "micro_batches"), [(20, 1, 1), (20, 3, 1), (20, 3, 2), (7, 1, 2), (3, 1, 2)])
def test_parts_hold_every_image_once(count: int, size: int, micro_batches: int) -> None:
    batch = Batch(
        torch.arange(count).float(), torch.arange(count), torch.arange(count), mixed_labels=torch.arange(count)
    )
    each = [parts(count, World(rank, size), micro_batches=micro_batches) for rank in range(size)]
    assert {len(pieces) for pieces in each} == {1 if count == 3 else micro_batches}
    for pieces in zip(*each, strict=True):
        mine = [piece.images_of(batch) for piece in pieces]
        assert max(map(len, mine)) - min(map(len, mine)) <= 1
        for piece in pieces:
            assert piece.sizes == tuple(len(images) for images in mine)
            assert torch.equal(piece.of(batch).images, torch.cat(mine))
            assert torch.equal(piece.of(batch).labels.float(), torch.cat(mine))
            assert piece.of(batch).mixed_share is None
    every = torch.cat([piece.images_of(batch) for pieces in each for piece in pieces])
    assert sorted(every.tolist()) == list(range(count))


def test_a_batch_smaller_than_the_world_is_refused() -> None:
    with pytest.raises(SpecError, match="a batch of 2 images cannot be shared by 3 workers"):
        parts(2, World(0, 3))
