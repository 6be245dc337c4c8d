from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from midef.analysis.low_rank_toy import (
    CENTRES,
    FROM_CLASS,
    TO_CLASS,
    UNDEFENDED,
    WITH_TANH,
    LowRankToy,
    Measured,
    descend,
    findings_of,
    map_of,
    toy_models,
    toy_points,
)

CENTRE = torch.tensor(CENTRES)


def bayes(variance: float) -> nn.Linear:
    """The best classifier of equal round Gaussians: logits mu_k . x / s^2 - |mu_k|^2 / (2 s^2)."""
    model = nn.Linear(2, 3)
    with torch.no_grad():
        model.weight.copy_(CENTRE / variance)
        model.bias.copy_(-CENTRE.square().sum(dim=1) / (2 * variance))
    return model.requires_grad_(False)


def cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(torch.cosine_similarity(one, other, dim=0))


@pytest.fixture(scope="module")
def trained() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    points, labels = toy_points(60, torch.Generator().manual_seed(0))
    return toy_models(points, labels, ranks=(1, 2), epochs=150)


def test_centres_are_equally_far_from_each_other() -> None:
    assert torch.pdist(CENTRE).tolist() == pytest.approx([12**0.5] * 3, rel=1e-6)


def test_the_attack_on_the_best_classifier_follows_the_separating_direction() -> None:
    """At a centre the other classes are all but impossible, so the gradient is (mu_wanted - mu_start) / s^2."""
    start = CENTRE[FROM_CLASS][None]
    path, slopes = descend(bayes(0.1), start, TO_CLASS, steps=1, optimizer="sgd")
    direction = CENTRE[TO_CLASS] - CENTRE[FROM_CLASS]
    np.testing.assert_allclose((path[1] - path[0])[0], 0.1 * direction / 0.1, rtol=1e-5)
    assert float(slopes[0]) == pytest.approx(12**0.5 / 0.1, rel=1e-5)


def test_the_attack_is_gradient_descent_of_the_cross_entropy() -> None:
    """A slow reference in numpy: the gradient of a linear softmax model is W^T (p - one-hot)."""
    model = bayes(2.0)
    weight, bias = model.weight.double().numpy(), model.bias.double().numpy()
    at = np.array([0.3, -1.4])
    path, _ = descend(model, torch.tensor([[0.3, -1.4]]), TO_CLASS, steps=30, optimizer="sgd")
    for step in range(30):
        logits = weight @ at + bias
        p = np.exp(logits - logits.max())
        p /= p.sum()
        at = at - 0.1 * weight.T @ (p - np.eye(3)[TO_CLASS])
        np.testing.assert_allclose(path[step + 1, 0], at, atol=1e-4)


@pytest.mark.parametrize(("one", "other"), [(0, 1), (1, 2), (2, 0)])
@pytest.mark.parametrize("name", [UNDEFENDED, WITH_TANH])
def test_between_two_centres_a_trained_network_separates_along_their_difference(
    trained: dict[str, nn.Module], name: str, one: int, other: int
) -> None:
    middle = ((CENTRE[one] + CENTRE[other]) / 2).requires_grad_(True)
    logits = trained[name](middle[None])[0]
    (slope,) = torch.autograd.grad(logits[one] - logits[other], middle)
    assert cosine(slope, CENTRE[one] - CENTRE[other]) > 0.9


@pytest.mark.parametrize(("name", "rank"), [("LoFt rank 1, no tanh", 1), ("LoFt rank 2, no tanh", 2), (UNDEFENDED, 2)])
def test_the_head_leaves_an_attack_as_many_directions_as_its_rank(
    trained: dict[str, nn.Module], name: str, rank: int
) -> None:
    """Of the network's 20 last units, the logits see `rank` directions; of an undefended head their number of 3."""
    head = trained[name][-1]
    weight = head.weight if isinstance(head, nn.Linear) else head.wide.weight @ head.narrow.weight
    seen = weight if name != UNDEFENDED else weight - weight.mean(dim=0)  # what softmax sees
    sizes = torch.linalg.svdvals(seen)
    assert int((sizes > 1e-4 * sizes[0]).sum()) == rank


def test_the_map_marks_where_the_model_is_unsure() -> None:
    """Of the best classifier, no point near a centre is unsure, and points halfway between two are."""
    panel = map_of("best", bayes(0.5), CENTRE, CENTRE[:1])
    unsure = torch.tensor([panel.series[0].x, panel.series[0].y]).T
    assert float(torch.cdist(unsure, CENTRE).min()) > 0.9
    assert float((unsure - (CENTRE[0] + CENTRE[1]) / 2).norm(dim=1).min()) < 0.2
    assert [series.name for series in panel.series] == ["confidence 5 to 95 %", "class looked for", "start", "path"]


def measured(model: str, *distances: float) -> list[Measured]:
    return [
        Measured(model=model, optimizer="sgd", training=i, accuracy=1.0, distance=d, confidence=0.5, gradient_start=1.0)
        for i, d in enumerate(distances)
    ]


def test_the_verdict_compares_intervals_with_both_models_without_loft() -> None:
    plain = measured(UNDEFENDED, 0.2, 0.3) + measured(WITH_TANH, 0.2, 0.3)
    far, near = measured("LoFt rank 1, no tanh", 9.0, 9.1), measured("LoFt rank 2, no tanh", 0.2, 0.4)
    both = findings_of([*plain, *far, *near], [])
    assert both.verdict == (
        "reproduced in part; distance of the attack's end to the nearest point of the class: by sgd it ends at 0.25 no "
        "defense, 0.25 last ReLU is tanh, 9.05 LoFt rank 1, no tanh (farther), 0.30 LoFt rank 2, no tanh."
    )
    assert findings_of([*plain, *far], []).verdict.startswith("reproduced; ")
    assert findings_of([*plain, *near], []).verdict.startswith("not reproduced; ")
    also_far = measured(UNDEFENDED, 0.2, 0.3) + measured(WITH_TANH, 9.0, 9.1)
    assert findings_of([*also_far, *far], []).verdict.startswith("not reproduced; ")
    # Student's interval of two values d apart is their mean and 12.7062 d / 2 on both sides.
    assert both.rows[2]["distance_high"] == pytest.approx(9.05 + 12.7062 * 0.05, rel=1e-5)


def test_a_short_run_has_a_row_for_every_model_and_attack_and_repeats() -> None:
    toy = LowRankToy(ranks=(1,), epochs=2, steps=2, trainings=2, points=4)
    found = toy.standalone()
    assert [(row["model"], row["attack"]) for row in found.rows][:3] == [
        (UNDEFENDED, "sgd"),
        (UNDEFENDED, "adam"),
        (WITH_TANH, "sgd"),
    ]
    assert len(found.rows) == 8 and len(found.drawing.panels) == 4
    assert toy.standalone() == found


def test_refuses_ranks_that_three_classes_do_not_have() -> None:
    with pytest.raises(ValueError, match=r"needs ranks of 1 to 3, at least one; got \(4,\)"):
        LowRankToy(ranks=(4,))
