"""BREP-MI's repulsion against a scalar loop written from the specification."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor
from typing_extensions import override

from midef.attacks import Attack, brep_mi
from midef.attacks.base import Task
from midef.attacks.brep_mi import LARGEST_RADIUS, BrepMi, repulsion, sphere_points
from midef.attacks.latent_search.recording import Recorder
from midef.attacks.priors.wgan_gp import WganGp
from midef.attacks.target_handle import TargetHandle
from midef.core import Inputs, derive_seed
from midef.defenses import Defense
from midef.defenses.serving import Query
from midef.models import ARCHITECTURES

DIM, SEED = 6, 11
Ask = Callable[[Tensor], Tensor]


def task_of(labels: list[int], restarts: list[int] | None = None) -> Task:
    return Task(torch.tensor(labels), torch.tensor(restarts or [0] * len(labels)), 32, SEED, "cpu")


def attack(**given: float) -> BrepMi:
    return BrepMi(**{"prior": WganGp(latent_dim=DIM), **given})  # type: ignore[arg-type]


def linear_rule(classes: int = 4, seed: int = 0) -> Ask:
    """A target whose label is the largest of some linear scores of the latent."""
    weight = torch.randn(classes, DIM, generator=torch.Generator().manual_seed(seed))
    return lambda latents: (latents @ weight.T).argmax(dim=1)


def striped_rule() -> Ask:
    """Labels come in stripes that return, so that a push can lead into another class and be rejected."""
    weight = torch.randn(DIM, generator=torch.Generator().manual_seed(0))
    return lambda latents: (2 * (latents @ weight) / weight.norm()).floor().long() % 4


# ---------------------------------------------------------------- the parts


@pytest.mark.parametrize("dim", [2, 100])
def test_sphere_points_have_length_one_and_no_direction_is_preferred(dim: int) -> None:
    points = sphere_points([torch.Generator().manual_seed(0)], 4000, dim)[0]
    assert torch.allclose(points.norm(dim=1), torch.ones(4000), atol=1e-5)
    assert points.mean(dim=0).norm() < 0.05
    assert (points.pow(2).mean(dim=0) * dim - 1).abs().max() < 0.2


@pytest.mark.parametrize(("count", "dim"), [(32, 100), (2, 6), (3, 5)], ids=str)
def test_a_row_is_pushed_by_its_own_random_numbers_whoever_is_drawn_with_it(count: int, dim: int) -> None:
    """To the bit, for sizes at which torch draws in sixteens and for others; round after round."""

    def streams() -> list[torch.Generator]:
        return [torch.Generator().manual_seed(seed) for seed in (5, 6, 7)]

    together, alone = streams(), streams()
    for _ in range(3):
        points = sphere_points(together, count, dim)
        for row, rng in enumerate(alone):
            drawn = torch.randn(count, dim, generator=rng)
            assert torch.equal(points[row], drawn / drawn.norm(dim=1, keepdim=True))


def test_repulsion_equals_the_formula_by_loops() -> None:
    rng = torch.Generator().manual_seed(1)
    rows, points = 3, 7
    signs = torch.where(torch.rand(rows, points, generator=rng) < 0.5, 1.0, -1.0)
    offsets, radius = torch.randn(rows, points, DIM, generator=rng), torch.tensor([2.0, 2.6, 9.0])
    expected = torch.zeros(rows, DIM, dtype=torch.float64)
    for i in range(rows):
        for j in range(points):
            w = (float(signs[i, j]) - 1) / 2
            for d in range(DIM):
                expected[i, d] += w * float(offsets[i, j, d]) / points / float(radius[i])
    assert torch.allclose(repulsion(signs, offsets, radius).double(), expected, atol=1e-6)


def test_repulsion_is_nothing_when_all_points_are_inside_and_leads_away_from_those_outside() -> None:
    offsets = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    one = torch.ones(1)
    assert repulsion(torch.tensor([[1.0, 1.0]]), offsets, one).abs().max() == 0
    assert repulsion(torch.tensor([[-1.0, 1.0]]), offsets, one).tolist() == [[-0.5, 0.0]]


# ---------------------------------------------------------------- when a sphere grows


def first_radii(inside: int, **given: float) -> list[float]:
    """Lengths of the offsets asked for, iteration by iteration, when `inside` of the first 32 points are inside.

    Later answers are all outside, but the current latent stays inside, so that the row ends after its patience.
    """
    radii: list[float] = []

    def ask(latents: Tensor) -> Tensor:
        if len(latents) == 1:
            return torch.tensor([5])
        centre = latents.mean(dim=0)  # only nearly the latent; good enough to tell 2.0 from 2.6
        radii.append(float((latents - centre).norm(dim=1).mean()))
        labels = torch.zeros(len(latents), dtype=torch.long)
        labels[: inside if len(radii) == 1 else 0] = 5
        return labels

    attack(patience=2, **given).repel(ask, torch.zeros(1, DIM), torch.tensor([True]), task_of([5]))
    return radii


@pytest.mark.parametrize(("inside", "grows"), [(32, True), (29, True), (28, False), (0, False)], ids=lambda v: str(v))
def test_a_sphere_grows_from_29_of_32_inside(inside: int, grows: bool) -> None:
    radii = first_radii(inside)
    assert radii[0] == pytest.approx(2.0, rel=0.1)
    assert radii[1] == pytest.approx(2.6 if grows else 2.0, rel=0.1)
    assert len(radii) == (3 if grows else 2), "patience counts from the last growth"


def test_the_share_can_be_lowered_to_25_of_32() -> None:
    assert first_radii(25, inside_share=0.5)[1] == pytest.approx(2.6, rel=0.1)
    assert first_radii(24, inside_share=0.5)[1] == pytest.approx(2.0, rel=0.1)


# ---------------------------------------------------------------- the loop


@dataclass
class Row:
    """One identity on its own."""

    best: list[float]
    current: list[float]
    radius: float
    grew: bool
    asked: int
    rejected: int


def one_row(ask: Ask, start: Tensor, label: int, restart: int, patience: int) -> Row:
    """The loop of the specification for one identity, in Python numbers: one step counter, one mark."""
    stream = torch.Generator().manual_seed(derive_seed("brep", SEED, label, restart))
    z = [float(v) for v in start]
    radius, i, last_change, asked, rejected, grew = 2.0, 0, 0, 0, 0, False
    best = list(z)
    while i - last_change < patience:
        s = min(radius / 3, 3.0)
        points = []
        for row in torch.randn(32, DIM, generator=stream).tolist():
            length = math.sqrt(sum(v * v for v in row))
            points.append([radius * v / length for v in row])
        labels = ask(torch.tensor([[a + b for a, b in zip(z, u, strict=True)] for u in points])).tolist()
        asked += 33
        c = [1 if found == label else -1 for found in labels]
        is_new = sum(c) > 24
        if is_new:
            radius *= 1.3
            last_change = i
        w = [(sign - 1) / 2 for sign in c]
        g = [sum(w[j] * points[j][d] for j in range(32)) / 32 / radius for d in range(DIM)]
        moved = [min(1.5, max(-1.5, a + s * b)) for a, b in zip(z, g, strict=True)]
        if int(ask(torch.tensor([moved]))) != label:
            rejected += 1
            assert rejected < 2000
            continue  # drawn again: i stays, a growth is kept, its verdict is not recorded
        z = moved
        if is_new:
            best, grew = list(z), True
        else:
            i += 1
    return Row(best, z, radius, grew, asked, rejected)


RULES = {"linear": linear_rule(), "another linear": linear_rule(seed=1), "striped": striped_rule()}


@pytest.mark.parametrize("rule", RULES)
def test_the_batched_loop_equals_one_row_after_the_other(rule: str) -> None:
    ask = RULES[rule]
    labels = [0, 0, 1, 2, 3, 3]
    task = task_of(labels, [0, 1, 0, 0, 0, 1])
    starts = []
    for k, label in enumerate(labels):
        pool = torch.randn(500, DIM, generator=torch.Generator().manual_seed(k)).clamp(-1.5, 1.5)
        starts.append(pool[ask(pool) == label][0])
    asked = 0

    def counted(latents: Tensor) -> Tensor:
        nonlocal asked
        asked += len(latents)
        return ask(latents)

    recorder = Recorder([(label, 0) for label in labels])
    best, grew = attack(patience=12, redraws=1000).repel(
        counted, torch.stack(starts), torch.ones(6, dtype=torch.bool), task, recorder
    )
    traces = recorder.traces()
    assert traces is not None and (traces.series["radius"][:, 0] == 2.0).all()
    growths = np.log(traces.series["radius"] / 2.0) / math.log(1.3)
    assert np.allclose(growths, growths.round(), atol=1e-3) and (np.diff(growths, axis=1) > -1e-3).all()
    assert (growths[:, -1] > 0.5).tolist() == grew.tolist()
    rows = [one_row(ask, starts[k], labels[k], int(task.restarts[k]), 12) for k in range(6)]
    assert grew.tolist() == [row.grew for row in rows]
    assert torch.allclose(best, torch.tensor([row.best for row in rows]), atol=1e-4)
    assert asked == sum(row.asked for row in rows)
    if rule == "striped":
        assert sum(row.rejected for row in rows) >= 5
    else:
        assert any(row.grew and row.best != row.current for row in rows), "the last growth is not always the last move"


@pytest.mark.parametrize("rule", RULES)
def test_how_often_it_looks_who_is_done_changes_neither_results_nor_queries(
    rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looked at after every round, or only when somebody may be done."""
    ask, labels, outcomes = RULES[rule], [0, 1, 2, 3], []
    pool = torch.randn(500, DIM, generator=torch.Generator().manual_seed(3)).clamp(-1.5, 1.5)
    starts = torch.stack([pool[ask(pool) == label][0] for label in labels])
    for look in (1, 8, 10_000):
        monkeypatch.setattr(brep_mi, "LOOK", look)
        asked: list[int] = []
        recorder = Recorder([(label, 0) for label in labels])

        def counted(latents: Tensor, asked: list[int] = asked) -> Tensor:
            asked.append(len(latents))
            return ask(latents)

        best, grew = attack(patience=30).repel(
            counted, starts, torch.tensor([True, True, False, True]), task_of(labels), recorder
        )
        traces = recorder.traces()
        assert traces is not None
        outcomes.append((best, grew, traces.series["radius"], asked))
    for best, grew, radius, asked in outcomes[1:]:
        assert torch.equal(best, outcomes[0][0]) and torch.equal(grew, outcomes[0][1])
        assert np.array_equal(radius, outcomes[0][2]) and asked == outcomes[0][3]


@pytest.mark.parametrize(
    ("fruitless", "radius", "rounds"),
    [
        ([0.0, 70.0], [2.0, 2.0], 30),  # 70 + 30 = 100
        ([0.0], [2.0], 50),  # 2 * 1.3^50 = 995,858, and the 51st growth passes 1e6
        ([99.0, 0.0], [2.0, 2.0], 1),
        ([0.0], [9.9e5], 1),
    ],
    ids=str,
)
def test_nobody_is_done_before_it_is_looked(
    fruitless: list[float], radius: list[float], rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(brep_mi, "LOOK", 1000)
    assert attack(patience=100).rounds_that_end_no_row(torch.tensor(fruitless), torch.tensor(radius)) == rounds


def test_networks_compute_in_the_precision_asked_for_and_servers_answer_in_float32(
    gan_inputs: Callable[[Attack], Inputs], small_gan: WganGp
) -> None:
    torch.manual_seed(0)
    model = ARCHITECTURES.make("vgg16_tiny").build(3, 32)
    computed, shown, served = set[torch.dtype](), set[torch.dtype](), set[torch.dtype]()
    model.register_forward_hook(lambda module, given, answer: computed.add(answer.logits.dtype))
    model.register_forward_pre_hook(lambda module, given: shown.add(given[0].dtype))

    class Served(Defense):
        @override
        def answer(self, query: Query, state: None) -> Tensor:
            served.add((query.probabilities @ torch.eye(3)).dtype)
            return query.probabilities

    for precision in ("float32", "bfloat16"):
        searched = BrepMi(patience=2, pool_batches=1, prior=small_gan, precision=precision)  # type: ignore[arg-type]
        handle = TargetHandle(model, Served(), searched.access)
        assert searched.reconstruct(handle, gan_inputs(searched), task_of([1, 0])).images.dtype == torch.float32
        assert (computed, shown, served) == ({getattr(torch, precision)}, {torch.float32}, {torch.float32})
        computed.clear()


def test_a_row_that_never_grew_keeps_its_start_and_is_not_found() -> None:
    def ask(latents: Tensor) -> Tensor:
        return torch.full((len(latents),), 5 if len(latents) == 1 else 0)

    start = torch.full((1, DIM), 0.25)
    best, grew = attack(patience=3).repel(ask, start, torch.tensor([True]), task_of([5]))
    assert not grew.item() and torch.equal(best, start)


def test_moves_end_at_the_clamp() -> None:
    """Everything with a smaller first coordinate is outside, so that the row is pushed up, and up, and no further."""
    moves: list[Tensor] = []

    def ask(latents: Tensor) -> Tensor:
        if len(latents) == 1:
            moves.append(latents[0].clone())
            return torch.tensor([1])
        inside = latents[:, 0] > (moves[-1][0] if moves else 0.0)
        return inside.long()

    attack(patience=60, clamp=1.5).repel(ask, torch.zeros(1, DIM), torch.tensor([True]), task_of([1]))
    assert len(moves) == 60
    assert moves[-1][0] == 1.5 and max(float(m.abs().max()) for m in moves) == 1.5


def test_rejected_moves_end_after_their_redraws() -> None:
    calls: list[int] = []

    def ask(latents: Tensor) -> Tensor:
        calls.append(len(latents))
        return torch.zeros(len(latents), dtype=torch.long)  # always outside: no move is ever accepted

    start = torch.zeros(1, DIM)
    best, grew = attack(patience=2, redraws=3).repel(ask, start, torch.tensor([True]), task_of([1]))
    assert calls == [32, 1] * 6, "3 redraws for each of 2 iterations"
    assert torch.equal(best, start) and not grew.item()


def test_a_growth_whose_move_is_rejected_is_kept_but_not_recorded() -> None:
    verdicts = iter([0, 5, 0, 0, 0])  # of the moves: rejected, accepted, then rejected until the guard ends it
    radii: list[float] = []

    def ask(latents: Tensor) -> Tensor:
        if len(latents) == 1:
            return torch.tensor([next(verdicts)])
        radii.append(float(latents.std()))
        labels = torch.zeros(len(latents), dtype=torch.long)
        labels[:30] = 5 if len(radii) == 1 else 0
        return labels

    start = torch.full((1, DIM), 0.5)
    best, grew = attack(patience=2, redraws=3).repel(ask, start, torch.tensor([True]), task_of([5]))
    assert radii[1] / radii[0] == pytest.approx(1.3, rel=0.15)
    assert not grew.item() and torch.equal(best, start)


# ---------------------------------------------------------------- starts


def test_the_nth_hit_serves_the_nth_restart() -> None:
    ask = linear_rule()
    labels, restarts = [0, 0, 0, 2], [0, 1, 2, 0]
    task = task_of(labels, restarts)
    latents, found = attack().starts(attack().pool(ask, task, DIM), task, DIM)
    assert found.all() and ask(latents).tolist() == labels
    assert len(latents.unique(dim=0)) == 4
    pool = torch.randn(256, DIM, generator=torch.Generator().manual_seed(derive_seed("brep_pool", SEED)))
    pool = pool.clamp(-1.5, 1.5)
    assert torch.equal(latents[:3], pool[ask(pool) == 0][:3])


def test_the_search_for_starts_stops_at_its_cap_and_says_what_it_did_not_find() -> None:
    asked: list[int] = []

    def ask(latents: Tensor) -> Tensor:
        asked.append(len(latents))
        return torch.zeros(len(latents), dtype=torch.long)

    task = task_of([0, 9])
    latents, found = attack(pool_batches=3).starts(attack(pool_batches=3).pool(ask, task, DIM), task, DIM)
    assert asked == [256] * 3
    assert found.tolist() == [True, False]
    assert latents.abs().max() <= 1.5


def test_first_seen_attacks_the_labels_latents_get_first_in_that_order() -> None:
    """The label is the sign pattern of two coordinates, plus a class that nothing falls into."""

    def ask(latents: Tensor) -> Tensor:
        return 2 * (latents[:, 0] > 0).long() + (latents[:, 1] > 1.0).long()

    chosen = attack(targets="first_seen", pool_batches=3)
    rng = torch.Generator().manual_seed(derive_seed("brep_pool", SEED))
    seen = list(dict.fromkeys(ask(torch.randn(256, DIM, generator=rng).clamp(-1.5, 1.5)).tolist()))
    assert sorted(seen) == [0, 1, 2, 3] and seen != sorted(seen), "the order can be told from ascending"
    asked: list[int] = []

    def counted(latents: Tensor) -> Tensor:
        asked.append(len(latents))
        return ask(latents)

    task = task_of([0, 1, 2])
    pool = chosen.pool(counted, task, DIM)
    assert chosen.first_seen(pool, 5, task).tolist() == [*seen, 4]
    chosen.starts(pool, task, DIM)
    assert asked == [256], "the starts come from the same answers"


def test_a_sphere_does_not_grow_for_ever_where_everything_is_inside() -> None:
    calls = 0

    def ask(latents: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        assert calls < 1000 and bool(latents.isfinite().all())
        return torch.zeros(len(latents), dtype=torch.long)

    start = torch.full((1, DIM), 0.5)
    best, grew = attack(patience=2).repel(ask, start, torch.tensor([True]), task_of([0]))
    assert grew.item() and torch.equal(best, start), "nothing pushes it away"


def test_an_identity_no_latent_falls_into_is_returned_as_not_found(
    gan_inputs: Callable[[Attack], Inputs], small_gan: WganGp
) -> None:
    torch.manual_seed(0)
    model = ARCHITECTURES.make("vgg16_tiny").build(3, 32)
    with torch.no_grad():
        model.head.weight.zero_()  # type: ignore[union-attr,operator]
        model.head.bias.copy_(torch.tensor([5.0, 0.0, 0.0]))  # type: ignore[union-attr,operator]
    searched = BrepMi(patience=2, pool_batches=2, prior=small_gan)
    handle = TargetHandle(model, Defense(), searched.access)
    found = searched.reconstruct(handle, gan_inputs(searched), task_of([1, 0]))
    assert found.found.tolist() == [False, True]
    assert found.images.shape == (2, 3, 32, 32) and found.images.min() >= 0 and found.images.max() <= 1
    growths = math.ceil(math.log(LARGEST_RADIUS / 2) / math.log(1.3))
    assert handle.queries == 2 * 256 + 33 * growths, "the pool, and the identity that is everywhere until it is done"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"patience": 0}, "patience"),
        ({"redraws": 0}, "redraws >= 1"),
        ({"growth": 1.0}, "growth > 1"),
        ({"inside_share": 1.0}, "inside_share < 1"),
        ({"clamp": 0.0}, "clamp > 0"),
    ],
    ids=lambda v: str(v),
)
def test_refuses_what_cannot_end(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attack(**wrong)
