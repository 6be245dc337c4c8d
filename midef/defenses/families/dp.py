"""Training state of DP-SGD: per-image gradients, Poisson batches, an accountant. Needs Opacus.

Importing Opacus gives the root logger a handler on stderr, so nothing imports this file before a training needs it.
"""

from __future__ import annotations

import warnings
from collections import deque
from typing import Any

import torch
from opacus.accountants import RDPAccountant
from opacus.grad_sample import GradSampleModule
from opacus.optimizers import DPOptimizer
from torch import Generator, Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer
from typing_extensions import override

from midef.core.errors import SpecError
from midef.core.in_step import in_step
from midef.core.seeds import derive_seed
from midef.defenses.base import Batch
from midef.defenses.training_state import AuxiliaryBatch, TrainingFacts, TrainingState
from midef.nn.network import TargetModel

ORDERS = [1.001, 1.01, 1.05, *RDPAccountant.DEFAULT_ALPHAS]
"""Renyi orders the accountant picks from. Those near 1 matter for the tiny noise of this literature."""


class HollowOptimizer(DPOptimizer):  # type: ignore[misc]  # Opacus is not typed
    """Opacus' optimizer, which can take a step for an empty batch although images went through the network."""

    is_hollow = False

    @override
    @in_step
    def clip_and_accumulate(self) -> None:
        if self.is_hollow:
            for p in self.params:
                p.grad_sample = p.grad_sample[:0]
        super().clip_and_accumulate()


class DPTrainingState(TrainingState):
    """Clips the gradient of each image, adds noise, and counts what the steps cost.

    Args:
        delta: of the (epsilon, delta) that is reported; 0 means 1 / number of images.
        noise_multiplier, max_grad_norm: as in `dp_sgd`.

    Raises:
        SpecError: if a batch norm or a layer without per-image gradients is left in the network.
    """

    def __init__(
        self, model: TargetModel, facts: TrainingFacts, *, noise_multiplier: float, max_grad_norm: float, delta: float
    ) -> None:
        if any(isinstance(m, _BatchNorm) for m in model.modules()):
            raise SpecError("dp_sgd met a batch norm, in the head another defense made; set pre_bn=False there")
        self._model = model
        self._facts = facts
        self._sigma = noise_multiplier
        self._clip = max_grad_norm
        self._delta = delta or 1 / facts.images
        self._rate = min(1.0, facts.batch_size / facts.images)
        self._noise = torch.Generator(facts.device).manual_seed(derive_seed(facts.seed, "dp-noise"))
        self._accountant = RDPAccountant()
        self._hollow: deque[bool] = deque()
        self._optimizer: HollowOptimizer | None = None
        # Opacus unfolds a convolution's input by its strides and takes channels-last images for garbage, silently.
        self._was_channels_last = any(p.dim() == 4 and not p.is_contiguous() for p in model.parameters())
        model.to(memory_format=torch.contiguous_format)
        convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
        self._handles = [m.register_forward_pre_hook(_contiguous_inputs) for m in convolutions]
        # A backward hook hands out a view of the layer's output, which nothing may then change in place.
        self._in_place = [m for m in model.modules() if getattr(m, "inplace", False) is True]
        for module in self._in_place:
            module.inplace = False  # type: ignore[assignment]
        warnings.filterwarnings("ignore", message="Full backward hook is firing")  # images need no gradient, as always
        try:
            self._samples = GradSampleModule(model)
        except NotImplementedError as error:
            raise SpecError(f"Opacus knows no per-image gradient for this network: {error}") from error

    @override
    def optimizer(self, optimizer: Optimizer) -> Optimizer:
        self._optimizer = HollowOptimizer(
            optimizer,
            noise_multiplier=self._sigma,
            max_grad_norm=self._clip,
            expected_batch_size=self._rate * self._facts.images,
            generator=self._noise,
        )
        self._optimizer.attach_step_hook(self._count)
        return self._optimizer

    def _count(self, _: DPOptimizer) -> None:
        """One step was taken, with noise and images drawn as announced."""
        self._accountant.step(noise_multiplier=self._sigma, sample_rate=self._rate)

    @override
    def batches(self, count: int, rng: Generator) -> list[Tensor]:
        """Poisson batches: every image is in every batch with the same probability, whatever else is in it.

        A batch that comes out empty still costs a step of noise alone. The loop cannot take a mean over nothing, so
        it is given image 0, whose gradient `HollowOptimizer` throws away. Leaving the batch out or drawing it again
        would tell that it was empty, which the accountant does not know about.
        """
        assert self._optimizer is not None
        self._rate = min(1.0, self._facts.batch_size / count)
        self._optimizer.expected_batch_size = self._rate * count
        steps = max(1, round(count / self._facts.batch_size))
        drawn = [torch.nonzero(torch.rand(count, generator=rng) < self._rate).squeeze(1) for _ in range(steps)]
        self._hollow = deque(len(batch) == 0 for batch in drawn)
        return [batch if len(batch) else torch.zeros(1, dtype=torch.int64) for batch in drawn]

    @override
    def before_step(
        self, model: TargetModel, batch: Batch, progress: float, rng: Generator
    ) -> tuple[Batch, AuxiliaryBatch | None]:
        assert self._optimizer is not None
        self._optimizer.is_hollow = self._hollow.popleft()
        return batch, None

    @override
    def finish(self) -> None:
        self._samples.to_standard_module()
        for handle in self._handles:
            handle.remove()
        for parameter in self._model.parameters():
            if hasattr(parameter, "summed_grad"):
                del parameter.summed_grad
        for module in self._model.modules():
            if "activations" in vars(module):
                del module.activations
        if self._was_channels_last:
            self._model.to(memory_format=torch.channels_last)
        for module in self._in_place:
            module.inplace = True  # type: ignore[assignment]

    @override
    def state_dict(self) -> dict[str, Any]:
        history = torch.tensor(self._accountant.history, dtype=torch.float64).view(-1, 3)
        return {"noise": self._noise.get_state(), "history": history}

    @override
    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._noise.set_state(state["noise"].cpu())
        self._accountant.history = [(sigma, rate, int(steps)) for sigma, rate, steps in state["history"].tolist()]

    @override
    def facts(self, run: Any, images: Tensor) -> dict[str, float]:
        """Without noise there is no epsilon, and none is given."""
        found = {"delta": self._delta, "noise_multiplier": self._sigma, "max_grad_norm": self._clip}
        if self._sigma:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Optimal order is the")  # epsilon is an upper bound anyway
                found["epsilon"] = self._accountant.get_epsilon(delta=self._delta, alphas=ORDERS)
        return found


def _contiguous_inputs(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(value.contiguous() for value in inputs)
