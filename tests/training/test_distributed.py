from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import torch

import midef


def test_two_workers_end_with_the_same_weights_and_learn(tmp_path: Path) -> None:
    script = Path(__file__).with_name("two_workers.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(midef.__file__).parents[1])}
    command = [str(tmp_path / "meeting"), str(tmp_path)]
    workers = [
        subprocess.Popen([sys.executable, str(script), str(rank), *command], env=environment, stderr=subprocess.PIPE)
        for rank in (0, 1)
    ]
    try:
        told = [worker.communicate(timeout=200)[1].decode() for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert [worker.returncode for worker in workers] == [0, 0], "\n".join(told)
    first, second = (torch.load(tmp_path / f"weights{rank}.pt", weights_only=True) for rank in (0, 1))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    losses = [json.loads((tmp_path / f"report{rank}.json").read_text()) for rank in (0, 1)]
    assert losses[0] != losses[1], "both workers saw the same images"
    assert all(loss[-1] < loss[0] for loss in losses)
