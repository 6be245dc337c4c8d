"""MI-Face against its two stopping rules, written out for one image at a time."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Tensor, nn
from typing_extensions import override

from midef.attacks import ATTACKS, AccessLevel
from midef.attacks.base import Task
from midef.attacks.latent_search.recording import Recorder
from midef.attacks.mi_face import MiFace
from midef.attacks.target_handle import TargetHandle
from midef.core import Inputs
from midef.defenses import Defense
from midef.nn.network import Forward, TargetModel

RESOLUTION_PX, PIXELS = 8, 3 * 8 * 8


class Waves(nn.Module):
    """Pixels through a sine: a long step can lead past the top."""

    @override
    def forward(self, pixels: Tensor) -> Tensor:
        return torch.sin(6 * pixels)


def softmax_regression(classes: int, scale: float = 1.0, *, wavy: bool = False) -> TargetModel:
    """A linear classifier with one random template per class."""
    head = nn.Linear(PIXELS, classes)
    with torch.no_grad():
        head.weight.copy_(scale * torch.randn(classes, PIXELS, generator=torch.Generator().manual_seed(1)))
        head.bias.zero_()
    body = nn.Sequential(nn.Flatten(), Waves()) if wavy else nn.Flatten()
    return TargetModel([("pixels", body)], head, feature_dim=PIXELS, n_classes=classes)


def templates(target: TargetModel) -> Tensor:
    """[K, pixels]"""
    weight = target.head.weight
    assert isinstance(weight, Tensor)
    return weight.detach()


class Watcher(TargetHandle):
    """Writes down every batch it answers."""

    def __init__(self, target: TargetModel) -> None:
        super().__init__(target, Defense(), AccessLevel.WHITE_BOX)
        self.shown: list[Tensor] = []

    @override
    def run(self, images: Tensor) -> Forward:
        self.shown.append(images.detach().clone())
        return super().run(images)


def attacked(attack: MiFace, handle: TargetHandle, labels: list[int], restarts: list[int] | None = None) -> Tensor:
    task = Task(torch.tensor(labels), torch.tensor(restarts or [0] * len(labels)), RESOLUTION_PX, 3, "cpu")
    return attack.reconstruct(handle, Inputs({}, lambda recipe: Path()), task).images


def starts(count: int) -> Tensor:
    return 0.3 * torch.rand(count, 3, RESOLUTION_PX, RESOLUTION_PX, generator=torch.Generator().manual_seed(7))


def cost_and_slope(target: TargetModel, x: Tensor, y: int) -> tuple[float, Tensor]:
    x = x.clone().requires_grad_(True)
    cost = 1 - target(x[None]).logits.softmax(1)[0, y]
    (slope,) = torch.autograd.grad(cost, x)
    return float(cost.detach()), slope


def by_hand(attack: MiFace, target: TargetModel, x: Tensor, y: int) -> tuple[Tensor, int]:
    """The result for one image, and after how many steps it ended."""
    costs: list[float] = []
    path = [x]
    _, slope = cost_and_slope(target, x, y)
    for _ in range(attack.iterations):
        x = (x - attack.learning_rate * slope).clamp(0, 1)
        path.append(x)
        cost, slope = cost_and_slope(target, x, y)
        window = costs[-attack.window :]
        stuck = len(window) == attack.window and cost >= max(window)
        costs.append(cost)
        if attack.compat == "paper" and (cost <= 1 - attack.threshold or stuck):
            break
        if attack.compat == "art" and not (cost <= attack.threshold or stuck):
            break
    if attack.compat == "art":
        return path[-1], len(costs)
    return min(path, key=lambda image: cost_and_slope(target, image, y)[0]), len(costs)


# ---------------------------------------------------------------- the descent


@pytest.mark.parametrize("compat", ["paper", "art"])
@pytest.mark.parametrize("learning_rate", [0.1, 10.0], ids=["smooth", "overshooting"])
def test_each_row_ends_by_its_own_rule(compat: Literal["paper", "art"], learning_rate: float) -> None:
    """Rows end at different steps; each is what it would be alone, and is asked about once per step and once more."""
    target = softmax_regression(6, scale=0.1, wavy=True)
    attack = MiFace(iterations=6, window=2, threshold=0.9, learning_rate=learning_rate, compat=compat, start_noise=0)
    labels = torch.arange(12) % 6
    handle = Watcher(target)
    images, found = attack.descend(handle, starts(12), labels)
    ended = []
    for row in range(12):
        expected, steps = by_hand(attack, target, starts(12)[row], int(labels[row]))
        assert torch.allclose(images[row], expected, atol=2e-3), (row, steps)
        assert bool(found[row]) == (int(target(expected[None]).logits.argmax()) == int(labels[row]))
        ended.append(steps)
    assert handle.queries == sum(ended) + len(ended)
    assert len(set(ended)) > 1, "the rules can be told apart"


def test_the_trace_of_a_row_is_its_descent_and_its_last_value_after_it_has_ended() -> None:
    target = softmax_regression(6, scale=0.1, wavy=True)
    attack = MiFace(iterations=6, window=2, threshold=0.9, learning_rate=10.0, start_noise=0.0)
    recorder = Recorder([(row % 6, row // 6) for row in range(12)])
    handle = Watcher(target)
    attack.descend(handle, starts(12), torch.arange(12) % 6, recorder)
    traces = recorder.traces()
    assert traces is not None and traces.steps.tolist() == list(range(len(handle.shown)))
    assert traces.series["confidence"] == pytest.approx(1 - traces.series["loss"], abs=1e-6)
    costs = [cost_and_slope(target, starts(12)[row], row % 6) for row in range(12)]
    assert traces.series["loss"][:, 0].tolist() == pytest.approx([cost for cost, _ in costs], rel=1e-4)
    norms = [float(slope.norm()) for _, slope in costs]
    assert traces.series["gradient_norm"][:, 0].tolist() == pytest.approx(norms, rel=1e-3)
    steps = [by_hand(attack, target, starts(12)[row], row % 6)[1] for row in range(12)]
    for row, last in enumerate(steps):
        assert len(set(traces.series["confidence"][row, last:].tolist())) == 1, "it ended there"
    assert min(steps) < max(steps) == traces.steps[-1]


@pytest.mark.parametrize(
    ("sureness", "recent", "paper", "art"),
    [
        (0.5, [0.1, 0.2, 0.4], True, True),  # on its way up
        (0.95, [0.1, 0.2, 0.4], False, True),  # there
        (0.05, [0.01, 0.02, 0.03], True, False),  # far below: the cost is above the toolbox's threshold
        (0.4, [0.5, 0.4, 0.6], False, True),  # no better than any of the window
        (0.05, [0.05, 0.06, 0.07], False, True),  # the same far below: no progress keeps the toolbox going
        (0.4, [0.5, -1.0, -1.0], True, True),  # worse, but the window is not full
    ],
    ids=str,
)
def test_a_step_more_or_the_end(sureness: float, recent: list[float], paper: bool, art: bool) -> None:
    given = torch.tensor([sureness]), torch.tensor([recent])
    assert MiFace(window=3, threshold=0.9, compat="paper").goes_on(*given).tolist() == [paper]
    assert MiFace(window=3, threshold=0.9, compat="art").goes_on(*given).tolist() == [art]


def test_recovers_the_template_of_a_softmax_regression() -> None:
    """From black, pixels only rise where the template is positive and above the others'."""
    classes = 10
    target = softmax_regression(classes, scale=0.3)
    attack = MiFace(iterations=400, learning_rate=0.5, start_noise=0)
    handle = Watcher(target)
    images = attacked(attack, handle, list(range(classes))).flatten(1)
    template = templates(target)
    bright = ((template - template.mean(0)) @ images.T).argmax(dim=0)
    assert torch.equal(bright, torch.arange(classes))
    for y in range(classes):
        own = torch.corrcoef(torch.stack([images[y], template[y].clamp(min=0)]))[0, 1]
        other = torch.corrcoef(torch.stack([images[y], template[y - 1].clamp(min=0)]))[0, 1]
        assert own > 0.4 and other < 0.3, (y, own, other)
    sureness = target(images.view(-1, 3, RESOLUTION_PX, RESOLUTION_PX)).logits.softmax(1).diagonal()
    assert (sureness >= attack.threshold).all()


def test_the_first_step_follows_minus_the_gradient_of_the_cost_from_black() -> None:
    target = softmax_regression(5)
    handle = Watcher(target)
    attacked(MiFace(iterations=1, learning_rate=0.1, start_noise=0), handle, [2])
    black, after = handle.shown
    weight = templates(target)
    slope = -(1 / 5) * (weight[2] - weight.mean(0))
    assert black.abs().max() == 0
    assert torch.allclose(after.flatten(), (-0.1 * slope).clamp(0, 1), atol=1e-6)


def test_a_target_that_is_very_sure_of_somebody_else_is_still_descended() -> None:
    """p_y is 1e-9: its cost is 1 in float32 and only p_y itself shows progress, which the window must not overlook."""
    target = softmax_regression(3, scale=0.1)
    target.head.load_state_dict({"weight": templates(target), "bias": torch.tensor([math.log(1e9), 0.0, 0.0])})
    handle = Watcher(target)
    attacked(MiFace(iterations=30, window=5, learning_rate=1e5, start_noise=0), handle, [1])
    assert handle.queries == 31


def test_the_surest_image_is_returned_though_later_ones_are_worse() -> None:
    target = softmax_regression(6, scale=0.1, wavy=True)
    handle = Watcher(target)
    attack = MiFace(iterations=20, window=100, threshold=1.0, learning_rate=10.0, start_noise=0)
    image = attacked(attack, handle, [3])
    path = [float(target(x).logits.softmax(1)[0, 3].detach()) for x in handle.shown]
    assert path[-1] < max(path)
    assert torch.equal(image, handle.shown[path.index(max(path))])


# ---------------------------------------------------------------- the toolbox's quirk


@pytest.mark.parametrize(("threshold", "steps"), [(0.99, 1), (1.0, 30)])
def test_art_ends_after_one_step_with_a_thousand_classes_unless_the_threshold_is_one(
    threshold: float, steps: int
) -> None:
    """Its condition is inverted: it goes on while the cost is below the threshold, and 1 - 1 / 1000 is not."""
    target = softmax_regression(1000, scale=0.01)
    handle = Watcher(target)
    attack = MiFace(compat="art", iterations=30, threshold=threshold, start_noise=0)
    image = attacked(attack, handle, [7])
    assert handle.queries == steps + 1
    assert torch.equal(image, handle.shown[-1])


def test_art_goes_on_past_the_confidence_at_which_the_paper_ends() -> None:
    target = softmax_regression(10, scale=0.5)
    queries = {}
    for compat in ("paper", "art"):
        handle = Watcher(target)
        attacked(MiFace(compat=compat, iterations=300, threshold=0.95, start_noise=0), handle, [7])
        queries[compat] = handle.queries
    assert queries["paper"] < queries["art"] == 301


# ---------------------------------------------------------------- restarts and settings


def test_restarts_start_in_their_own_noise_and_from_one_black_image_without_it() -> None:
    target = softmax_regression(4)
    first = Watcher(target)
    attacked(MiFace(iterations=1, start_noise=0.2), first, [0, 0, 1], [0, 1, 0])
    noise = first.shown[0]
    assert noise.min() >= 0 and 0.18 < noise.max() < 0.2
    assert len(noise.flatten(1).unique(dim=0)) == 3
    images = attacked(MiFace(iterations=5, start_noise=0), Watcher(target), [0, 0], [0, 1])
    assert torch.equal(images[0], images[1])


@pytest.mark.parametrize("preset", ["paper", "art"])
def test_presets_start_from_black_as_published(preset: str) -> None:
    attack = ATTACKS.remake(ATTACKS.choose(f"mi_face:{preset}"))
    assert isinstance(attack, MiFace) and attack.compat == preset and attack.start_noise == 0
    if preset == "art":  # the defaults of MIFace.__init__ in the toolbox
        assert (attack.iterations, attack.window, attack.threshold, attack.learning_rate) == (10_000, 100, 0.99, 0.1)


@pytest.mark.parametrize(
    "wrong",
    [{"iterations": 0}, {"window": 0}, {"learning_rate": 0.0}, {"threshold": 1.1}, {"start_noise": -0.1}],
    ids=str,
)
def test_refuses_what_cannot_descend(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"needs (iterations >= 1|threshold and start_noise in 0 to 1)"):
        MiFace(**wrong)  # type: ignore[arg-type]


def test_a_descent_that_left_the_numbers_gives_no_picture() -> None:
    """The slope of a root is infinite at black; where no weight reads the pixel, it is no number."""

    class Roots(nn.Module):
        @override
        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(1).sqrt()

    head = softmax_regression(3).head
    with torch.no_grad():
        head.weight[:, 0] = 0  # type: ignore[operator,index]
    target = TargetModel([("pixels", Roots())], head, feature_dim=PIXELS, n_classes=3)
    images = attacked(
        MiFace(iterations=3, start_noise=0.0), TargetHandle(target, Defense(), AccessLevel.WHITE_BOX), [0, 1]
    )
    assert images.isnan().all(), "what it had found before would hide it"
