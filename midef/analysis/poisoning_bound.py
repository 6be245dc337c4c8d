"""Proposition 1 of the LPA paper along a training: where the step is below its bound, the defensive loss must fall."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from typing_extensions import override

from midef.analysis.base import ANALYSES, AnalysedCell, Analysis
from midef.analysis.stored.load import asked_of, needed_to_ask, splits_of, spread_over
from midef.core.lazy import torch
from midef.results.findings import Drawing, Findings, Panel, Series

if TYPE_CHECKING:
    from torch import Tensor, nn

    from midef.analysis.stored.load import Asked
    from midef.core.recipe import Recipe
    from midef.datasets import Splits
    from midef.results.findings import Row
    from midef.storage import Store

    Weights: TypeAlias = Mapping[str, Tensor]
    Loss: TypeAlias = Callable[[Weights], Tensor]

PROBES = (0.25, 0.5, 0.75, 1.0)
"""Shares of a step at which the slope of the defensive loss is compared with the one at its start."""


@ANALYSES.add("poisoning_bound")
@dataclass(frozen=True, kw_only=True)
class PoisoningBound(Analysis):
    """Step sizes below which learning from poisoned answers must unlearn private images, along a gradient descent.

    An inversion network descends its mean squared error on public images and their answers, all at once. The defensive
    loss is minus that on private training images and their clean answers. The proposition: with alpha < cos |grad def|
    / (L |grad|), the defensive loss falls, where cos is that of the two gradients and L bounds how fast the defensive
    gradient changes. Each row is a step: the quantities, the bound, whether the step is below it, and what happened.

    Args:
        images: public images, and private ones, at most; >= 2.
        steps: of each descent, >= 1.
        rate: alpha; > 0.

    Source: LPA data-poisoning paper, proposition 1. We differ: batch normalisation keeps its statistics, since the
    proposition is about one function of the weights; L is measured along the step, at quarters of it; all in double
    precision. Its further claim, that the loss falls by c cos^2 |grad def|^2 / L or more, does not follow: what is
    guaranteed shrinks with alpha. The row gives both.
    """

    paper: ClassVar[str] = "Zhou et al., LPA data poisoning, proposition 1"
    needs: ClassVar[str] = "a defense that poisons answers by a substitute inversion network, such as `lpa`"

    images: int = 128
    steps: int = 20
    rate: float = 1.0

    def __post_init__(self) -> None:
        if self.images < 2 or self.steps < 1 or self.rate <= 0:
            raise ValueError(f"needs images >= 2, steps >= 1 and rate > 0, got {self}")

    @override
    def problems(self, cells: Sequence[AnalysedCell]) -> list[str]:
        if any(poisons(cell) for cell in cells):
            return []
        return ["no defense of it poisons answers; add `lpa` to defenses, at a radius above 0"]

    @override
    def requires(self, cells: Sequence[AnalysedCell]) -> Sequence[Recipe]:
        cell = next(filter(poisons, cells))
        return [cell.recipes.public, cell.recipes.private, *needed_to_ask(cell.recipes.target)]

    @override
    def analyse(self, cells: Sequence[AnalysedCell], store: Store) -> Findings:
        cell = next(filter(poisons, cells))
        private = splits_of(cell.recipes.private, store)
        asked = asked_of(cell.recipes.target, store, len(private.class_names))
        courses = descents(self, asked, splits_of(cell.recipes.public, store), private)
        return findings_of(courses, f"{cell.label} on {cell.cell.setup.target}, rate {self.rate:g}")


def poisons(cell: AnalysedCell) -> bool:
    """Whether a part of its defense poisons answers with the help of a substitute."""
    from midef.defenses.families.poisoning import Poisoning

    return any(isinstance(part, Poisoning) and not part.is_off for part in cell.answering)


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step of gradient descent on the training loss, as the defensive loss sees it.

    Args:
        rate: alpha.
        loss, next_loss: defensive, before and after.
        cosine: of both gradients.
        defensive_norm, training_norm: of the gradients.
        smoothness: L, largest change of the defensive gradient along the step, per distance.
    """

    rate: float
    loss: float
    next_loss: float
    cosine: float
    defensive_norm: float
    training_norm: float
    smoothness: float

    @property
    def bound(self) -> float:
        """Rates below it must let the defensive loss fall; below 0 where the gradients point apart."""
        return self.cosine * self.defensive_norm / max(self.smoothness * self.training_norm, 1e-300)

    @property
    def is_below(self) -> bool:
        """The condition of the proposition."""
        return self.rate < self.bound

    @property
    def fall(self) -> float:
        """By which the defensive loss fell."""
        return self.loss - self.next_loss

    @property
    def guaranteed(self) -> float:
        """Least fall, by the descent lemma; above 0 where the condition holds."""
        aligned = self.cosine * self.defensive_norm * self.training_norm
        return self.rate * aligned - self.smoothness / 2 * (self.rate * self.training_norm) ** 2

    @property
    def claimed(self) -> float:
        """Least fall that the proposition states where the condition holds, for its constant c at 1."""
        return (self.cosine * self.defensive_norm) ** 2 / max(self.smoothness, 1e-300)


def gradient_step(weights: Weights, rate: float, training: Loss, defensive: Loss) -> tuple[Step, dict[str, Tensor]]:
    """One step, and the weights after it.

    Args:
        training: what is descended.
        defensive: what the defender hopes to see fall.
    """
    slope, (loss, wanted) = _gradient(training, weights)[1], _gradient(defensive, weights)
    lengths = {"training": _norm(slope), "defensive": _norm(wanted)}
    most, after = 0.0, loss
    for share in PROBES:
        moved = {name: w - share * rate * slope[name] for name, w in weights.items()}
        after, there = _gradient(defensive, moved)
        distance = share * rate * lengths["training"]
        most = max(most, _norm({name: there[name] - wanted[name] for name in there}) / max(distance, 1e-300))
    inner = sum(float((wanted[name] * slope[name]).sum()) for name in slope)
    step = Step(
        rate=rate,
        loss=loss,
        next_loss=after,
        cosine=inner / max(lengths["training"] * lengths["defensive"], 1e-300),
        defensive_norm=lengths["defensive"],
        training_norm=lengths["training"],
        smoothness=most,
    )
    return step, moved


def _gradient(loss: Loss, weights: Weights) -> tuple[float, dict[str, Tensor]]:
    from torch.func import grad_and_value

    slope, value = grad_and_value(loss)(dict(weights))
    return float(value), slope


def _norm(tensors: Weights) -> float:
    return float(torch.stack([tensor.square().sum() for tensor in tensors.values()]).sum().sqrt())


@dataclass(frozen=True)
class Descent:
    """A training.

    Args:
        start: of the network, `substitute` (whose gradient the answers are aligned with) or `fresh`.
        answers: that it learns from, `served` or `clean`.
    """

    start: str
    answers: str
    steps: Sequence[Step]


def descents(settings: PoisoningBound, asked: Asked, public: Splits, private: Splits) -> list[Descent]:
    """From the substitute and from a fresh network, on served and on clean answers."""
    shown = spread_over(public.train.images, settings.images)
    secret = spread_over(private.train.images, settings.images)
    known = asked.clean(secret)
    made = []
    for answers, given in (("served", asked.served(shown)), ("clean", asked.clean(shown))):
        substitute = asked.substitute().network
        for start, network in (("substitute", substitute), ("fresh", fresh_like(substitute, given))):
            training, private_loss = mean_loss(network, given, shown), mean_loss(network, known, secret)
            weights: Weights = {name: p.detach().double() for name, p in network.named_parameters()}
            taken = []
            for _ in range(settings.steps):
                step, weights = gradient_step(weights, settings.rate, training, negative(private_loss))
                taken.append(step)
            made.append(Descent(start, answers, taken))
    return made


def mean_loss(network: nn.Module, answers: Tensor, images: Tensor) -> Loss:
    """Mean squared error of what a network draws from answers [N, K], as a function of its weights, double precision.

    Args:
        network: in eval mode.
        images: [N, 3, H, W] uint8.
    """
    from torch.func import functional_call

    from midef.nn.answers import mean_squared, score_features

    features, pixels = score_features(answers).double(), images.double() / 255
    buffers = {name: b.double() if b.is_floating_point() else b for name, b in network.named_buffers()}

    def loss(weights: Weights) -> Tensor:
        return mean_squared(functional_call(network, {**weights, **buffers}, (features,)), pixels).mean()

    return loss


def negative(loss: Loss) -> Loss:
    """Minus a loss."""
    return lambda weights: -loss(weights)


def fresh_like(network: nn.Module, answers: Tensor) -> nn.Module:
    """The same network with fresh weights, its batch statistics those of answers [N, K]; in eval mode."""
    from copy import deepcopy

    from midef.nn.answers import score_features

    fresh = deepcopy(network)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        for module in fresh.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = None  # the mean over calls, of which there is one
            if callable(reset := getattr(module, "reset_parameters", None)):
                reset()
        fresh.train()(score_features(answers))
    return fresh.eval()


def findings_of(made: Sequence[Descent], about: str) -> Findings:
    """Rows, verdict and figure.

    Args:
        about: what was trained, for the title.
    """
    errors, cosines, bounds = [], [], []
    for one in made:
        name, x = f"{one.start}, {one.answers} answers", list(range(len(one.steps)))
        errors.append(Series(name=name, x=x, y=[-step.loss for step in one.steps]))
        cosines.append(Series(name=name, x=x, y=[step.cosine for step in one.steps]))
        bounds.append(Series(name=name, x=x, y=[step.bound for step in one.steps]))
    rate = made[0].steps[0].rate
    bounds.append(Series(name="rate", x=bounds[0].x, y=[rate] * len(bounds[0].x), kind="dashes"))
    panels = [
        Panel(series=errors, x_title="step", y_title="mean squared error on private images"),
        Panel(series=cosines, x_title="step", y_title="cosine of the two gradients"),
        Panel(series=bounds, x_title="step", y_title="bound on the rate"),
    ]
    return Findings(
        rows=[row for one in made for row in rows_of(one)],
        verdict="; ".join(map(sentence, made)) + ".",
        drawing=Drawing(title=f"Proposition 1 along a training: {about}", panels=panels),
    )


def rows_of(one: Descent) -> list[Row]:
    """A row for each step."""
    return [
        {
            "start": one.start,
            "answers": one.answers,
            "step": number,
            **vars(step),
            "bound": step.bound,
            "is_below": step.is_below,
            "fall": step.fall,
            "guaranteed": step.guaranteed,
            "claimed": step.claimed,
        }
        for number, step in enumerate(one.steps)
    ]


def sentence(one: Descent) -> str:
    """What the steps of a descent say."""
    below = [step for step in one.steps if step.is_below]
    who = f"from the {one.start} network on {one.answers} answers"
    change = f"the error on private images goes from {-one.steps[0].loss:.4f} to {-one.steps[-1].next_loss:.4f}"
    if not below:
        return f"{who} no step of {len(one.steps)} is below its bound, and {change}"
    fell, claimed = sum(s.fall > 0 for s in below), sum(s.fall >= s.claimed for s in below)
    return (
        f"{who} {len(below)} of {len(one.steps)} steps are below their bound, the defensive loss fell in {fell} of "
        f"these (by what the paper states in {claimed}), and {change}"
    )
