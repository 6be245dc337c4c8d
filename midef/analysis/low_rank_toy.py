"""LoFt's example in two dimensions: how far a gradient attack ends from the class it looks for."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from typing_extensions import override

from midef.analysis.base import ANALYSES, NO_SWEEP, Analysis
from midef.core.lazy import F, nn, torch
from midef.results.findings import Drawing, Findings, Panel, Series

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from midef.results.findings import Row

CLASSES, HIDDEN = 3, 20
FROM_CLASS, TO_CLASS = 1, 0
TOP, LEFT, RIGHT = (0.0, 2.0), (-1.7320508, -1.0), (1.7320508, -1.0)
CENTRES = (TOP, LEFT, RIGHT)
"""Of the classes: corners of a triangle with equal sides, at distance 2 from the origin."""
UNDEFENDED, WITH_TANH = "no defense", "last ReLU is tanh"
STEP_SIZES: Mapping[str, float] = {"sgd": 0.1, "adam": 0.05}
PAPERS_MODELS = 4
"""Drawn: the two without LoFt, and both heads of the first rank."""
MAP_REACH, MAP_POINTS = 4.0, 61
"""The map of each model covers -4 to 4 on both axes, with so many points on each."""


@ANALYSES.add("low_rank_toy")
@dataclass(frozen=True, kw_only=True)
class LowRankToy(Analysis):
    """A gradient attack on points of the plane: networks with and without a low-rank head, where it ends and how sure.

    Three classes, a network of three layers with 20 hidden units. Four models: ReLU; tanh in place of the last ReLU;
    and the first with LoFt's head, without and with tanh. The attack starts at points of another class and descends
    the cross entropy of the wanted one, by plain gradient steps and by Adam, whose steps do not shrink with the
    gradient.

    Args:
        ranks: of LoFt's heads, each 1 to 3; the first is drawn. Rank 3 keeps all logits of three classes, rank 2 all
            their differences.
        epochs: full-batch Adam steps of a training, and again of the fine-tuning behind LoFt's head; >= 1.
        steps: of the attack; >= 1.
        trainings: independent data and networks, for the spread; >= 2.
        points: of each class; >= 2. The attack starts from at most 20 of the other class.

    Source: the LoFt paper, Sec. 4 and Fig. 4, after the example of Struppek et al., ICLR 2024.
    We differ: the paper's rank, number of steps, optimizer and data are not legible in our copy, so these are ours; and
    it prints one path, we the mean over trainings and starts with its interval.
    """

    paper: ClassVar[str] = "Rank Matters (LoFt), Fig. 4"
    needs: ClassVar[str] = NO_SWEEP

    ranks: tuple[int, ...] = (2, 1)
    epochs: int = 300
    steps: int = 500
    trainings: int = 5
    points: int = 100

    def __post_init__(self) -> None:
        if not self.ranks or not all(1 <= rank <= CLASSES for rank in self.ranks):
            raise ValueError(f"needs ranks of 1 to {CLASSES}, at least one; got {self.ranks}")
        if min(self.epochs, self.steps) < 1 or min(self.trainings, self.points) < 2:
            given = f"{self.epochs}, {self.steps}, {self.trainings}, {self.points}"
            raise ValueError(f"needs epochs, steps >= 1 and trainings, points >= 2; got {given}")

    @override
    def standalone(self) -> Findings:
        from midef.core.seeds import derive_seed

        measured: list[Measured] = []
        panels: list[Panel] = []
        with torch.random.fork_rng(devices=[]):
            for training in range(self.trainings):
                torch.manual_seed(derive_seed("low_rank_toy", training))
                rng = torch.Generator().manual_seed(derive_seed("low_rank_toy", "data", training))
                points, labels = toy_points(self.points, rng)
                starts, wanted = points[labels == FROM_CLASS][:20], points[labels == TO_CLASS]
                for name, model in toy_models(points, labels, ranks=self.ranks, epochs=self.epochs).items():
                    with torch.no_grad():
                        accuracy = float((model(points).argmax(dim=1) == labels).float().mean())
                    for optimizer in ("sgd", "adam"):
                        path, slopes = descend(model, starts, TO_CLASS, steps=self.steps, optimizer=optimizer)
                        confidence = confidence_of(model, path[-1])
                        measured.append(
                            Measured(
                                model=name,
                                optimizer=optimizer,
                                training=training,
                                accuracy=accuracy,
                                distance=float(torch.cdist(path[-1], wanted).min(dim=1).values.mean()),
                                confidence=float(confidence.mean()),
                                gradient_start=float(slopes[0].median()),
                            )
                        )
                        if training == 0 and optimizer == "sgd" and len(panels) < PAPERS_MODELS:
                            panels.append(map_of(name, model, path[:, 0], starts[:1]))
        return findings_of(measured, panels)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One attack on one trained model.

    Args:
        model: which of them.
        optimizer: of the attack.
        training: number of the training.
        accuracy: on the points it was trained on.
        distance: from where the attack ends to the nearest point of the wanted class, mean over starts.
        confidence: there, of the wanted class, mean over starts.
        gradient_start: norm of the first gradient, median over starts.
    """

    model: str
    optimizer: str
    training: int
    accuracy: float
    distance: float
    confidence: float
    gradient_start: float


def findings_of(measured: Sequence[Measured], panels: Sequence[Panel]) -> Findings:
    """Rows, verdict and figure.

    Args:
        measured: of every model at least two trainings; among them both without LoFt.
        panels: of one training.
    """
    import numpy as np

    from midef.core.statistics import t_interval

    rows: list[Row] = []
    spans: dict[tuple[str, str], tuple[float, float]] = {}
    for model, optimizer in dict.fromkeys((m.model, m.optimizer) for m in measured):
        chosen = [m for m in measured if (m.model, m.optimizer) == (model, optimizer)]
        distances = [m.distance for m in chosen]
        span = t_interval(distances)
        assert span is not None, "two trainings have an interval"
        spans[model, optimizer] = span
        rows.append(
            {
                "model": model,
                "attack": optimizer,
                "distance": float(np.mean(distances)),
                "distance_low": max(span[0], 0.0),
                "distance_high": span[1],
                "confidence": float(np.mean([m.confidence for m in chosen])),
                "gradient_start": float(np.median([m.gradient_start for m in chosen])),
                "accuracy": float(np.mean([m.accuracy for m in chosen])),
                "trainings": len(chosen),
            }
        )
    return Findings(
        rows=rows,
        verdict=_verdict(rows, spans),
        drawing=Drawing(title="A gradient attack in the plane, and where models are unsure", panels=panels),
    )


def _verdict(rows: Sequence[Row], spans: Mapping[tuple[str, str], tuple[float, float]]) -> str:
    """Distances by attack; `farther` where a LoFt model's interval lies above those of both models without LoFt."""
    plain = (UNDEFENDED, WITH_TANH)
    are_farther, sentences = list[bool](), []
    for attack in dict.fromkeys(str(row["attack"]) for row in rows):
        bar = max(spans[model, attack][1] for model in plain)
        said = []
        for row in (row for row in rows if row["attack"] == attack):
            model = str(row["model"])
            is_farther = model not in plain and spans[model, attack][0] > bar
            are_farther += [is_farther] if model not in plain else []
            said.append(f"{row['distance']:.2f} {model}{' (farther)' if is_farther else ''}")
        sentences.append(f"by {attack} it ends at {', '.join(said)}")
    verdict = "reproduced" if all(are_farther) else "reproduced in part" if any(are_farther) else "not reproduced"
    return f"{verdict}; distance of the attack's end to the nearest point of the class: {'; '.join(sentences)}."


def toy_points(count: int, rng: Generator, *, spread: float = 0.35) -> tuple[Tensor, Tensor]:
    """Points [3 * count, 2] around the three centres, and their classes [3 * count].

    Args:
        spread: standard deviation on each axis.
    """
    labels = torch.arange(CLASSES).repeat_interleave(count)
    return torch.tensor(CENTRES)[labels] + spread * torch.randn(len(labels), 2, generator=rng), labels


def toy_models(points: Tensor, labels: Tensor, *, ranks: Sequence[int], epochs: int) -> dict[str, nn.Module]:
    """The trained models by name; those of LoFt start from the first one's head, decomposed and cut."""
    from midef.defenses.families.low_rank import make_low_rank

    models = dict[str, nn.Module]()
    for name, last in ((UNDEFENDED, nn.ReLU()), (WITH_TANH, nn.Tanh())):
        layers = [nn.Linear(2, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), last, nn.Linear(HIDDEN, CLASSES)]
        models[name] = fit(nn.Sequential(*layers), points, labels, epochs=epochs)
    for rank in ranks:
        for activation in ("identity", "tanh"):
            model = copy.deepcopy(models[UNDEFENDED])
            assert isinstance(model, nn.Sequential) and isinstance(model[-1], nn.Linear)
            model[-1] = make_low_rank(model[-1], rank=rank, activation=activation, svd=True, pre_bn=False)
            name = f"LoFt rank {rank}, {'tanh' if activation == 'tanh' else 'no tanh'}"
            models[name] = fit(model, points, labels, epochs=epochs)
    return models


def fit(model: nn.Module, points: Tensor, labels: Tensor, *, epochs: int) -> nn.Module:
    """The model itself, trained by Adam with a rate of 0.01 on all points at once."""
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(epochs):
        optimizer.zero_grad()
        F.cross_entropy(model(points), labels).backward()
        optimizer.step()
    return model.requires_grad_(False)


def descend(
    model: nn.Module, starts: Tensor, wanted: int, *, steps: int, optimizer: Literal["sgd", "adam"] | str
) -> tuple[Tensor, Tensor]:
    """Descend the cross entropy of a class from each start [N, 2].

    Returns:
        where each point is, [steps + 1, N, 2], and the norms of the gradients on the way, [steps, N].
    """
    at = starts.clone().requires_grad_(True)
    rule = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer]([at], lr=STEP_SIZES[optimizer])
    goals = torch.full((len(at),), wanted)
    path, slopes = [starts.clone()], []
    for _ in range(steps):
        rule.zero_grad()
        F.cross_entropy(model(at), goals, reduction="sum").backward()
        assert at.grad is not None
        slopes.append(at.grad.norm(dim=1))
        rule.step()
        path.append(at.detach().clone())
    return torch.stack(path), torch.stack(slopes)


def confidence_of(model: nn.Module, points: Tensor) -> Tensor:
    """Probability of the wanted class at points [N, 2]."""
    with torch.no_grad():
        return torch.softmax(model(points), dim=1)[:, TO_CLASS]


def map_of(name: str, model: nn.Module, path: Tensor, start: Tensor) -> Panel:
    """Where the model is unsure of the wanted class, the centres, and one path [steps + 1, 2] of the attack."""
    axis = torch.linspace(-MAP_REACH, MAP_REACH, MAP_POINTS)
    grid = torch.cartesian_prod(axis, axis)
    confidence = confidence_of(model, grid)
    unsure = grid[(confidence > 0.05) & (confidence < 0.95)]
    drawn = {
        "confidence 5 to 95 %": (unsure, "points"),
        "class looked for": (torch.tensor([CENTRES[TO_CLASS]]), "points"),
        "start": (start, "points"),
        "path": (path, "line"),
    }
    series = [
        Series(name=what, x=p[:, 0].tolist(), y=p[:, 1].tolist(), kind="line" if kind == "line" else "points")
        for what, (p, kind) in drawn.items()
    ]
    return Panel(series=series, x_title="first coordinate", y_title="second coordinate", title=name)
