from __future__ import annotations

import functools
import operator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from midef.analysis.low_rank_heads import CUT, Head, LowRankHeads, cut_error, family_and_rank, findings_of, kept_gap
from midef.analysis.stored.load import splits_of, target_of
from midef.core.statistics import wilson_interval
from midef.defenses import DEFENSES
from midef.defenses.families.low_rank import LowRankHead
from midef.defenses.loft import LoFt
from midef.stages import BuildContext, ensure
from midef.storage import Store
from midef.sweep.cli.analyse import found
from midef.sweep.spec.load import parse_spec
from midef.sweep.spec.resolve import Sweep, resolve

CUT_AT_3 = "loft(rank=3,activation=identity,fine_tune=false)"
TINY: dict[str, Any] = {
    "name": "heads",
    "setups": [
        {
            "attack": {"name": "pool_search", "prior": "renderer", "pool": 8, "iterations": 2},
            "private": {"name": "synthetic_faces", "identities": 6, "train_images": 4},
            "public": {"name": "synthetic_faces", "population": "public", "identities": 4, "train_images": 4},
            "protocol": {"identities": 4},
        }
    ],
    "training": {"epochs": 2, "batch_size": 8},
    "evaluator_training": {"epochs": 1, "batch_size": 8},
    "defenses": ["none", CUT_AT_3, "loft(rank=2)"],
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sweep, Store]:
    torch.set_num_threads(1)
    sweep, store = resolve(parse_spec(TINY)), Store.open(tmp_path_factory.mktemp("heads") / "store")
    for planned in sweep.cells:
        ensure(planned.recipes.scores, BuildContext(store=store))
    return sweep, store


def diagonal(*sizes: float) -> nn.Linear:
    """A head whose singular values are these; where nothing is seen it answers with class 0."""
    head = nn.Linear(len(sizes), len(sizes))
    with torch.no_grad():
        head.weight.copy_(torch.diag(torch.tensor(sizes)))
        head.bias.copy_(torch.eye(len(sizes))[0] * 0.1)
    return head


@pytest.mark.parametrize(("rank", "expected"), [(1, (4 + 1) ** 0.5), (2, 1.0), (3, 0.0), (9, 0.0)])
def test_the_error_is_that_of_eckart_and_young(rank: int, expected: float) -> None:
    turned = torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(0))).Q
    weight = torch.diag(torch.tensor([3.0, 2.0, 1.0]))
    weight = torch.cat([weight, torch.zeros(3, 2)], dim=1) @ turned
    assert cut_error(weight, rank) == pytest.approx(expected / 14**0.5, abs=1e-6)


@pytest.mark.parametrize("rank", [1, 2, 3, 4])
def test_a_cut_head_knows_the_classes_of_its_largest_singular_values(rank: int) -> None:
    """Class i is seen along one direction of size 5 - i alone, so a head of rank r knows r classes of 4."""
    head = LoFt(rank=rank, activation="identity", fine_tune=False).prepare_head(diagonal(4.0, 3.0, 2.0, 1.0))
    predicted = head(torch.eye(4)).argmax(dim=1)
    assert predicted.tolist() == [i if i < rank else 0 for i in range(4)]


def test_a_cut_target_is_the_undefended_one_with_its_head_cut(built: tuple[Sweep, Store]) -> None:
    sweep, store = built
    plain, cut = (target_of(p.recipes.target, store, 6) for p in sweep.cells[:2])
    assert isinstance(plain.head, nn.Linear) and isinstance(cut.head, LowRankHead)
    for name, value in plain.blocks.state_dict().items():
        assert torch.equal(value, cut.blocks.state_dict()[name]), name
    vectors = torch.linalg.eigh(plain.head.weight.double().T @ plain.head.weight.double()).eigenvectors[:, -3:]
    nearest = plain.head.weight.double() @ vectors @ vectors.T
    torch.testing.assert_close((cut.head.wide.weight @ cut.head.narrow.weight).double(), nearest, atol=1e-5, rtol=1e-3)
    report = splits_of(sweep.cells[1].recipes.private, store).report
    with torch.no_grad():
        logits = plain(report.images.float() / 255).features.double() @ nearest.T + plain.head.bias
    facts = store.artifacts.meta(sweep.cells[1].recipes.target.key)["facts"]
    assert facts["report_accuracy"] == pytest.approx(100 * float((logits.argmax(1) == report.labels).float().mean()))
    assert facts["train_s"] >= store.artifacts.meta(sweep.cells[0].recipes.target.key)["facts"]["train_s"]


def test_the_analysis_of_a_stored_sweep(built: tuple[Sweep, Store]) -> None:
    heads = found(LowRankHeads(), *built)
    assert [(row["family"], row["rank"]) for row in heads.rows] == [("undefended", 6), ("LoFt, tanh", 2), (CUT, 3)]
    assert heads.rows[2]["retained"] == pytest.approx(0.5) and 0 < heads.rows[2]["cut_error"] < 1
    assert heads.rows[1]["cut_error"] is None and heads.rows[0]["accuracy_kept"] in (1.0, None)
    accuracies = [100 * float(row["accuracy"]) / 100 for row in heads.rows]
    stored = [built[1].artifacts.meta(p.recipes.target.key)["facts"]["report_accuracy"] for p in built[0].cells]
    assert accuracies == pytest.approx([stored[0], stored[2], stored[1]])


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("none", None),
        ("loft(rank=7)", ("LoFt, tanh", 7)),
        ("loft(rank=7,activation=identity)", ("LoFt, identity", 7)),
        ("loft(rank=7,activation=identity,fine_tune=false)", (CUT, 7)),
        ("calor(rank=9,gamma=4)", ("CALoR, tanh, gamma 4", 9)),
        ("loft(rank=0)", None),
    ],
)
def test_a_head_is_a_point_of_its_family(written: str, expected: tuple[str, int] | None) -> None:
    assert family_and_rank(DEFENSES.remake(DEFENSES.choose(written))) == expected


def head(family: str, hits: list[list[int]], correct: list[int], *, rank: int = 4) -> Head:
    """Identities 0, 1, ..., each with these reconstructions and one private image."""
    return Head(
        label=family or "none",
        family=family,
        rank=rank,
        cut_error=None,
        attacked=np.repeat(np.arange(len(hits)), [len(h) for h in hits]),
        hits=np.array(functools.reduce(operator.iadd, hits, [])),
        report_labels=np.arange(len(correct)),
        correct=np.array(correct, dtype=bool),
    )


WHOLE = head("", [[1, 1], [1, 0], [1, 1], [0, 0]], [1, 1, 1, 1], rank=8)


def test_what_is_kept_is_compared_identity_by_identity() -> None:
    """Undefended: test 3 of 4, attack 5 of 8. Each identity adds correct / 0.75 - hit / 0.625."""
    whole = head("", [[1, 1], [1, 0], [1, 1], [0, 0]], [1, 1, 0, 1], rank=8)
    cut = head(CUT, [[1, 0], [0, 0], [0, 0], [0, 0]], [1, 1, 0, 1])
    each = np.array([1 / 0.75 - 0.5 / 0.625, 1 / 0.75, 0.0, 1 / 0.75])
    half = 3.182446 * each.std(ddof=1) / 2  # Student's quantile for 3 degrees of freedom, root of 4 identities
    gap = kept_gap(cut, whole)
    assert gap is not None
    assert gap == pytest.approx((each.mean(), each.mean() - half, each.mean() + half), abs=1e-5)
    row = findings_of([whole, cut], "x").rows[1]
    assert row["attack_low"] < 12.5 < row["attack_high"] < 100.0
    every = findings_of([head("", [[1], [1], [1], [1]], [1, 1, 1, 1]), cut], "x").rows[0]
    assert (every["attack_low"], every["attack_high"]) == (pytest.approx(100 * wilson_interval(4, 4)[0]), 100.0)
    assert (row["accuracy_kept"], row["attack_kept"]) == pytest.approx((1.0, 0.125 / 0.625))


def test_the_gap_is_that_of_both_columns_where_identities_have_different_numbers_of_images() -> None:
    """Undefended: test 4 of 5, attack 2 of 2. Cut: test 1 of 5, of the identity with four images; attack 1 of 2."""

    def of(family: str, hits: list[list[int]], correct: list[int]) -> Head:
        return replace(head(family, hits, []), report_labels=np.array([0, 0, 0, 0, 1]), correct=np.array(correct) > 0)

    whole, cut = of("", [[1], [1]], [1, 1, 1, 0, 1]), of(CUT, [[0], [1]], [1, 0, 0, 0, 0])
    first, second = findings_of([whole, cut], "x").rows
    assert (second["accuracy_kept"], second["attack_kept"]) == pytest.approx((0.25, 0.5))
    assert second["gap"] == pytest.approx(-0.25)
    assert first["gap"] is None, "the undefended head is compared with nothing"


def test_the_verdict_says_of_each_family_whether_the_attack_loses_more() -> None:
    lost, kept = [[0, 0]] * 4, [[1, 1], [1, 0], [1, 1], [0, 0]]
    found_of = findings_of(
        [WHOLE, head("A", lost, [1, 1, 1, 1]), head("B", [[1, 1]] * 4, [0, 0, 0, 0]), head("C", kept, [1, 1, 1, 1])],
        "x",
    )
    said = found_of.verdict
    assert (
        "A: reproduced, the attack loses more than accuracy at rank 4 of 4, most at 4 (keeps 0 % against 100 %)" in said
    )
    assert "B: not reproduced, at rank 4 accuracy loses more than the attack (keeps 0 % against 160 %)" in said
    assert "C: not decidable at this size" in said and said.startswith("undefended: test 100.0 %, attack 62.5 %; ")
    nothing = head("", lost, [1, 1, 1, 1], rank=8)
    assert "A: not decidable at this size" in findings_of([nothing, head("A", lost, [1, 1, 1, 1])], "x").verdict


def test_a_cut_head_that_is_not_a_trained_one_cut_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"cuts a trained head: it needs init='svd', activation='identity'; got .*tanh"
    ):
        LoFt(fine_tune=False)


def test_keys_of_fine_tuned_heads_do_not_know_the_new_parameter() -> None:
    assert "fine_tune" not in DEFENSES.choose("loft(rank=7)").params
    assert DEFENSES.choose("loft(rank=7,activation=identity,fine_tune=false)").params["fine_tune"] is False
