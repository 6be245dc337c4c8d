"""More steps of an attack read no more of a GPU: counted as it runs. The source is checked in tests/test_steps.py."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from midef.attacks import ATTACKS, Attack, brep_mi, mi_face
from midef.attacks.latent_search.recording import Recorder
from midef.attacks.mi_face import MiFace
from midef.attacks.target_handle import TargetHandle
from midef.core import Inputs
from midef.defenses import Defense
from midef.testing.attacks import Stored, small, storing, task_of, toy_target
from midef.testing.host_waits import HostWaits, waits_of_steps

ON_PURPOSE = {
    "if_gmi": "on a CPU it looks whether all rows are inside their ball, and sorts nothing then",
    "mirror_black_box": "who breeds with whom is drawn on the host, once in a generation of a thousand images",
}
"""Attacks whose steps read what a device has, and why."""
COUNTS = ("iterations", "episodes", "patience", "layer_iterations", "tuning_steps", "inversion_steps", "generations")
"""Fields that say how many steps an attack makes."""


@pytest.fixture(scope="module")
def stored_priors(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return storing(tmp_path_factory.mktemp)


def loops() -> list[tuple[str, str]]:
    return [(name, f.name) for name in ATTACKS.names() for f in fields(ATTACKS.get(name)) if f.name in COUNTS]


def search(attack: Attack, inputs: Inputs, device: str) -> None:
    handle = TargetHandle(toy_target(), Defense(), attack.access, device=device)
    attack.reconstruct(handle, inputs, replace(task_of([3, 0, 4]), device=device))


@pytest.mark.parametrize(("name", "count"), loops(), ids=lambda value: str(value))
def test_a_step_reads_nothing_of_the_device(
    name: str, count: str, stored_priors: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(brep_mi, "LOOK", 1000)
    monkeypatch.setattr(mi_face, "steps_between_looks", lambda device: 1000)
    attack = small(name)
    inputs = stored_priors(attack)
    search(attack, inputs, "cpu")  # what is made once is there

    def run(steps: int) -> None:
        search(replace(attack, **{count: steps}), inputs, "cpu")

    waits = waits_of_steps(run, 6, 12)
    if name in ON_PURPOSE:
        assert waits, f"{name} is clean now: take it from the list"
    else:
        assert waits == {}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(("name", "count"), loops(), ids=lambda value: str(value))
def test_a_step_on_a_gpu_does_not_wait(name: str, count: str, stored_priors: Stored) -> None:
    attack = small(name)
    inputs = stored_priors(attack)

    def waits(steps: int) -> int:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                search(replace(attack, **{count: steps}), inputs, "cuda")
            finally:
                torch.cuda.set_sync_debug_mode("default")
        return sum("synchronizing CUDA operation" in str(one.message) for one in said)

    waits(2)
    if name not in ON_PURPOSE or name == "if_gmi":
        looks = 2 if name in ("brep_mi", "mi_face") else 0  # at which rows are done, once in several steps
        assert waits(12) - waits(6) <= 3 * looks


# ---------------------------------------------------------------- what counts as waiting

WAITS: dict[str, Callable[[Tensor], object]] = {
    "item": lambda x: x.sum().item(),
    "float": lambda x: float(x[0]),
    "bool": lambda x: bool((x > 0).all()),
    "mask": lambda x: x[x > 0],
    "list": lambda x: x[[0, 2]],
    "nonzero": lambda x: torch.nonzero(x),
    "tensor": lambda x: x + torch.tensor([1.0, 2.0, 3.0]),
    "cpu": lambda x: x.cpu(),
    "to": lambda x: x.to("cpu"),
    "repeats": lambda x: x.repeat_interleave(torch.arange(3)),
    "tolist": lambda x: x.tolist(),
}
WORKS: dict[str, Callable[[Tensor], object]] = {
    "where": lambda x: torch.where(x > 0, x, 0.0),
    "index": lambda x: x[x.argsort()],
    "dtype": lambda x: x.to(torch.float64).float(),
    "repeat": lambda x: x.repeat_interleave(2),
    "non_blocking": lambda x: x.to("cpu", non_blocking=True),
    "full": lambda x: x + torch.full((3,), 2.0),
}


@pytest.mark.parametrize("case", [*WAITS, *WORKS])
def test_it_counts_what_waits_and_nothing_else(case: str) -> None:
    x = torch.arange(3.0)
    with HostWaits() as waits:
        (WAITS | WORKS)[case](x)
    assert sum(waits.counts.values()) == (case in WAITS)
    assert all("test_steps.py" in why for why in waits.counts), "it says where"


def test_counters_of_an_optimizer_are_no_waits() -> None:
    x = torch.ones(3, requires_grad=True)
    x.grad = torch.ones(3)
    optimizer = torch.optim.Adam([x], foreach=False)
    with HostWaits() as waits:
        optimizer.step()
    assert not waits.counts


# ---------------------------------------------------------------- MI-Face looks seldom


@pytest.mark.parametrize(
    "attack",
    [
        MiFace(iterations=40, threshold=0.5, window=5, learning_rate=5.0),
        MiFace(iterations=40, window=3, learning_rate=20.0),
        MiFace(iterations=21, compat="art", threshold=1.0),
    ],
    ids=["threshold", "no progress", "art"],
)
def test_mi_face_gives_the_same_however_seldom_it_looks_who_is_done(
    attack: MiFace, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = []
    for between in (1, 7, 1000):
        monkeypatch.setattr(mi_face, "steps_between_looks", lambda device, between=between: between)
        handle, labels = TargetHandle(toy_target(), Defense(), attack.access), torch.arange(5)
        recorder = Recorder([(label, 0) for label in range(5)])
        start = 0.01 * torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        images, found = attack.descend(handle, start, labels, recorder)
        traces = recorder.traces()
        assert traces is not None
        outcomes.append((images, found, handle.queries, {k: v[:, -1] for k, v in traces.series.items()}))
    for images, found, queries, last in outcomes[1:]:
        assert torch.allclose(images, outcomes[0][0], atol=1e-5) and torch.equal(found, outcomes[0][1])
        assert queries == outcomes[0][2], "rows that are done and still computed are no queries"
        for name, values in last.items():
            assert values == pytest.approx(outcomes[0][3][name], rel=1e-3), name
    assert attack.compat == "art" or outcomes[0][2] < 5 * (attack.iterations + 1), "some are done before the end"
