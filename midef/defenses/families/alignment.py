"""Gradient alignment: answers that teach an inversion network the opposite of what inverts private images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from midef.core.lazy import torch
from midef.nn.answers import IMAGE_LOSSES, score_features

if TYPE_CHECKING:
    from torch import Tensor, nn

AT_ONCE = 32
"""Queries whose own gradients are computed at a time. Changes memory and speed, not results beyond rounding."""

Tensors = Mapping[str, "Tensor"]


@dataclass(frozen=True)
class Substitute:
    """The defender's inversion network, frozen, in eval mode, and the gradient that its answers shall teach.

    Args:
        target_gradient: by parameter, of minus the loss on private images; None where nothing is aligned.
        loss: of drawn images, a key of `IMAGE_LOSSES`.
    """

    network: nn.Module
    loss: str
    target_gradient: Tensors | None = None

    def losses(self, answers: Tensor, images: Tensor) -> Tensor:
        """Loss [B] of the images that the network draws from answers [B, K]."""
        return IMAGE_LOSSES[self.loss](self.network(score_features(answers)), images)

    def gradient(self, answers: Tensor, images: Tensor) -> dict[str, Tensor]:
        """Gradient of the mean loss on (answers [B, K], images) with respect to the weights, differentiable itself."""
        from torch.func import functional_call, grad

        def mean_loss(weights: Tensors) -> Tensor:
            drawn = functional_call(self.network, (dict(weights), buffers), (score_features(answers),))
            return IMAGE_LOSSES[self.loss](drawn, images).mean()

        buffers = dict(self.network.named_buffers())
        found: dict[str, Tensor] = grad(mean_loss)({k: p.detach() for k, p in self.network.named_parameters()})
        return found


def misalignment(target: Tensors, found: Tensors) -> Tensor:
    """1 - cosine of two gradients, each all parameters in one vector; 0 to 2, a scalar."""
    return 1 - _dot(target, found) / (_dot(target, target) * _dot(found, found)).clamp(min=1e-30).sqrt()


def squared_difference(target: Tensors, found: Tensors) -> Tensor:
    """Squared L2 distance of two gradients, a scalar."""
    differences = {name: target[name] - found[name] for name in target}
    return _dot(differences, differences)


def _dot(first: Tensors, second: Tensors) -> Tensor:
    return torch.stack([(first[name] * second[name]).sum() for name in sorted(first)]).sum()


DISTANCES: dict[str, Callable[[Tensors, Tensors], Tensor]] = {"cosine": misalignment, "squared": squared_difference}
"""Of a target gradient and one that is found."""
Move = Callable[["Tensor"], "Tensor"]
"""Answers [B, K] for a perturbation [B, K]."""


@dataclass(frozen=True)
class Course:
    """How far answers that are aligned together came, round by round.

    Args:
        images: [B, 3, H, W] of the queries.
        distances: [R + 1, B] of the gradients, of the start and after each round; never rising.
    """

    alignment: Alignment
    substitute: Substitute
    images: Tensor
    distances: Tensor


_courses: ContextVar[list[Course] | None] = ContextVar("courses", default=None)


@contextmanager
def recording(courses: list[Course]) -> Iterator[None]:
    """While this lasts, every descent of answers adds its course to `courses`; no answer changes."""
    before = _courses.set(courses)
    try:
        yield
    finally:
        _courses.reset(before)


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """Descent of a perturbation that aligns the gradient of what it teaches with the target gradient.

    Args:
        rounds: steps.
        step: length of the first one in multiples of the radius, halved after each that does not come nearer. A step
            goes along the signs of the slope: through the logarithm that feeds an inversion network, the slopes of an
            answer's scores differ by orders of magnitude.
        radius: of the ball in L2 that perturbations stay in.
        alignment: `joint` aligns the gradient of the mean loss of all queries, `per_query` that of each.
        distance: of the two gradients: 1 - their `cosine`, or the `squared` L2 distance.
    """

    rounds: int
    step: float
    radius: float
    alignment: Literal["joint", "per_query"]
    distance: Literal["cosine", "squared"] = "cosine"

    def descend(self, substitute: Substitute, move: Move, start: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        """Perturbations [B, K] and their distances [B], never above those of the start.

        Args:
            move: its answers for rows of `start` that are alike in number and order.
        """
        best = project(start, self.radius)
        lowest, slope = self.slope(substitute, move, best, images)
        lengths = torch.full_like(best[:, :1], self.step * self.radius / best.shape[1] ** 0.5)
        course = [lowest]
        for _ in range(self.rounds):
            tried = project(best - lengths * slope.sign(), self.radius)
            losses, its_slope = self.slope(substitute, move, tried, images)
            is_nearer = (losses < lowest)[:, None]
            best = torch.where(is_nearer, tried, best)
            slope = torch.where(is_nearer, its_slope, slope)
            lowest = torch.minimum(losses, lowest)
            lengths = torch.where(is_nearer, lengths, lengths / 2)
            course.append(lowest)
        if (courses := _courses.get()) is not None:
            courses.append(Course(self, substitute, images, torch.stack(course)))
        return best, lowest

    def slope(self, substitute: Substitute, move: Move, delta: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        """Distances [B], all the same where they are joint, and their gradient with respect to `delta` [B, K]."""
        target = substitute.target_gradient
        assert target is not None, "an alignment needs the target gradient"
        if self.alignment == "joint":
            with torch.enable_grad():
                leaf = delta.detach().requires_grad_()
                distance = DISTANCES[self.distance](target, substitute.gradient(move(leaf), images))
                (slope,) = torch.autograd.grad(distance, leaf)
            return distance.detach().expand(len(delta)), slope
        return self._own_slopes(substitute, move, delta, images, target)

    def _own_slopes(
        self, substitute: Substitute, move: Move, delta: Tensor, images: Tensor, target: Tensors
    ) -> tuple[Tensor, Tensor]:
        """Distance and gradient of each query alone: first with respect to its answer, then through `move`."""
        from torch.func import grad_and_value, vmap

        def distance(answer: Tensor, image: Tensor) -> Tensor:
            return DISTANCES[self.distance](target, substitute.gradient(answer[None], image[None]))

        with torch.enable_grad():
            leaf = delta.detach().requires_grad_()
            answers = move(leaf)
            parts = zip(answers.detach().split(AT_ONCE), images.split(AT_ONCE), strict=True)
            found = [vmap(grad_and_value(distance))(part, shown) for part, shown in parts]
            (slope,) = torch.autograd.grad(answers, leaf, torch.cat([gradient for gradient, _ in found]))
        return torch.cat([value for _, value in found]).detach(), slope


def project(delta: Tensor, radius: float) -> Tensor:
    """Perturbations [B, K], those longer than the radius shortened to it."""
    lengths: Tensor = torch.linalg.vector_norm(delta, dim=1, keepdim=True)
    return delta * (radius / lengths.clamp(min=1e-30)).clamp(max=1.0)
