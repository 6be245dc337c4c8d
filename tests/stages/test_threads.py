"""Which of torch's operations give the same bits with one thread and with two, and so why a node's threads are fixed.

An operation that computes each output for itself does not care how many threads share the outputs. One whose sums are
split among threads adds in another order: gradients of weights and sums of large tensors, and with them every
training. Idle cores are therefore given other nodes, never more threads to a node that runs.
"""

from __future__ import annotations

import subprocess
import sys
from functools import cache

import pytest

PROGRAM = """
import hashlib, sys
import torch
import torch.nn.functional as F

torch.set_num_threads(int(sys.argv[1]))
rng = torch.Generator().manual_seed(0)

def draw(*shape):
    return torch.randn(*shape, generator=rng)

def say(name, *tensors):
    data = b"".join(t.detach().contiguous().numpy().tobytes() for t in tensors)
    print(name, hashlib.sha256(data).hexdigest())

long, images, rows = draw(2_000_000), draw(64, 16, 32, 32), draw(1000, 500)
say("exp", long.exp())
say("relu", F.relu(images))
say("max_pool", F.max_pool2d(images, 2))
say("interpolate", F.interpolate(images, 20, mode="area"))
say("softmax", rows.softmax(1))
say("row_sums", rows.sum(1))
say("distances", torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist"))
say("random", torch.randn(1_000_000, generator=rng))
for name, optimizer in (("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)):
    parameter = torch.nn.Parameter(draw(500_000))
    steps = optimizer([parameter], lr=0.1)
    for _ in range(3):
        parameter.grad = draw(500_000)
        steps.step()
    say(name, parameter)
say("whole_sums", *(draw(500_000).sum() for _ in range(16)))
say("threads", torch.tensor(torch.get_num_threads()))
"""
EQUAL = ["exp", "relu", "max_pool", "interpolate", "softmax", "row_sums", "distances", "random", "adam", "sgd"]


@cache
def bits(threads: int) -> dict[str, str]:
    """Digest of the result of each operation, in a process of its own."""
    command = [sys.executable, "-c", PROGRAM, str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(line.split() for line in done.stdout.splitlines())


@pytest.mark.parametrize("operation", EQUAL)
def test_what_is_computed_for_each_output_is_equal_for_two_threads(operation: str) -> None:
    assert bits(1)["threads"] != bits(2)["threads"]
    assert bits(1)[operation] == bits(2)[operation]


def test_sums_that_threads_share_are_not() -> None:
    """If this ever fails, threads may have become free to choose: see what else is equal then."""
    assert bits(1)["whole_sums"] != bits(2)["whole_sums"]
