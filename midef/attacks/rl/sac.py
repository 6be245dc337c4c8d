"""Soft actor critic for one-step episodes, many agents at once: stacked weights make an update a few `baddbmm`.

Shapes: A agents, B transitions, Z coordinates of a state and of an action, H hidden units.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log, pi
from typing import Literal

import torch
from torch import Generator, Tensor

from midef.attacks.latent_search.streams import RowStreams
from midef.core.in_step import in_step
from midef.core.seeds import derive_seed

Noise = Literal["shared_scalar", "per_dim"]

LOG_STD_RANGE = (-20.0, 2.0)
LAST_CRITIC_BOUND = 3e-3


class Agents:
    """A agents that learn which action [Z] in (-1, 1) a state [Z] should be answered with, each from its own rewards.

    An actor Z-H-H-2Z gives mean and log standard deviation of a normal that tanh squashes; a critic 2Z-H-H-1 predicts
    the reward of a state and an action; a temperature weighs the actor's entropy. Nothing is shared between agents, so
    what one learns does not depend on the others.

    Each episode is one step, so the value of a transition is its reward. Discount, target critics and the second critic
    would only enter the value of the state that follows, and the actor looks at the first critic: without them the
    actor takes exactly the same path (a test compares it with the complete algorithm).

    Args:
        seeds: of the initial weights, one for each agent.
        streams: random numbers of the same agents.
        dim: Z.
        hidden: H.
        noise: `shared_scalar` is the released code's, one number for all coordinates and all transitions of a forward,
            `per_dim` the usual one for each coordinate, which draws B * Z times the numbers.

    Source: RLB-MI's released code, HanGyojin/RLB-MI@3a113bd2, on Haarnoja et al. 2018 (arXiv 1812.05905). As there: the
    log-probability is averaged over coordinates while the target entropy is -Z, so the temperature only falls; the
    critic's loss is half the squared error; the actor follows the temperature from before its step; critic weights
    start within 1 / sqrt(outputs of the layer), the last within 3e-3, all others within 1 / sqrt(inputs).
    We differ: there, all agents start from the same weights; here from their own.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        streams: RowStreams,
        *,
        dim: int,
        hidden: int,
        learning_rate: float,
        noise: Noise,
        device: str,
    ) -> None:
        rngs = [Generator().manual_seed(derive_seed("agent", seed)) for seed in seeds]
        actor = [dim, hidden, hidden, 2 * dim]
        critic = [2 * dim, hidden, hidden, 1]
        self.actor = _stacked(rngs, actor, [inputs**-0.5 for inputs in actor[:-1]], device)
        self.critic = _stacked(rngs, critic, [*(outputs**-0.5 for outputs in critic[1:-1]), LAST_CRITIC_BOUND], device)
        self.log_temperature = torch.zeros(len(seeds), device=device)
        self._streams = streams
        self._noise = noise
        # Adam works on each number alone: one optimiser of stacked weights is as many optimisers as there are agents.
        self._actor_optimizer = torch.optim.Adam(self.actor, lr=learning_rate, fused=True)
        self._critic_optimizer = torch.optim.Adam(self.critic, lr=learning_rate, fused=True)
        self._temperature_optimizer = torch.optim.Adam([self.log_temperature], lr=learning_rate, fused=True)

    @in_step
    @torch.no_grad()
    def act(self, states: Tensor) -> Tensor:
        """An action [A, Z] for each agent's state [A, Z]."""
        return self._decide(states[:, None])[0].squeeze(1)

    @in_step
    def update(self, pairs: Tensor, rewards: Tensor) -> None:
        """One step of critic, temperature and actor of every agent, in this order.

        Args:
            pairs: states and the actions taken in them, side by side [A, B, 2Z].
            rewards: [A, B].
        """
        dim = pairs.shape[-1] // 2
        errors = run(self.critic, pairs).squeeze(-1) - rewards
        _step(self._critic_optimizer, self.critic, 0.5 * errors.square().mean(dim=1))

        states = pairs[..., :dim]
        actions, log_prob = self._decide(states)
        temperature = self.log_temperature.exp()
        self.log_temperature.grad = dim - log_prob.detach().mean(dim=1)
        self._temperature_optimizer.step()

        values = run(self.critic, torch.cat([states, actions], dim=-1)).squeeze(-1)
        _step(self._actor_optimizer, self.actor, (temperature[:, None] * log_prob - values).mean(dim=1))

    def _decide(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Actions [A, B, Z] for states [A, B, Z], and their log-probabilities [A, B]."""
        mean, log_std = run(self.actor, states).chunk(2, dim=-1)
        log_std = log_std.clamp(*LOG_STD_RANGE)
        shape = (1, 1) if self._noise == "shared_scalar" else tuple(states.shape[1:])
        noise = self._streams.normal(*shape)
        actions = torch.tanh(mean + noise * log_std.exp())
        return actions, mean_log_prob(actions, noise, log_std)


class Replay:
    """Replay memory of A agents, at most `capacity` transitions each; the oldest give way."""

    def __init__(self, agents: int, capacity: int, dim: int, device: str) -> None:
        self._pairs = torch.empty(agents, capacity, 2 * dim, device=device)
        self._rewards = torch.empty(agents, capacity, device=device)
        self._added = 0

    def __len__(self) -> int:
        return min(self._added, self._rewards.shape[1])

    @in_step
    def add(self, states: Tensor, actions: Tensor, rewards: Tensor) -> None:
        """One transition for each agent: states [A, Z], actions [A, Z], rewards [A]."""
        place = self._added % self._rewards.shape[1]
        self._pairs[:, place] = torch.cat([states, actions], dim=1)
        self._rewards[:, place] = rewards
        self._added += 1

    @in_step
    def sample(self, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """Random transitions, with replacement.

        Args:
            uniform: numbers from [0, 1) [A, B] that choose them.

        Returns:
            states and actions side by side [A, B, 2Z] and rewards [A, B].
        """
        which = (uniform * len(self)).long()  # below len(self) also for the largest float32 below 1
        return self._pairs[torch.arange(len(which), device=which.device)[:, None], which], self._rewards.gather(
            1, which
        )


def run(layers: Sequence[Tensor], inputs: Tensor) -> Tensor:
    """The stacked networks, ReLU between layers: inputs [A, B, I] -> [A, B, O].

    Args:
        layers: weights [A, I, O] and biases [A, 1, O] in turn.
    """
    out = inputs
    for i in range(0, len(layers), 2):
        out = torch.baddbmm(layers[i + 1], out if i == 0 else out.relu_(), layers[i])
    return out


def mean_log_prob(actions: Tensor, noise: Tensor, log_std: Tensor) -> Tensor:
    """Log-density of actions = tanh(mean + noise * exp(log_std)), averaged over coordinates [..., Z] -> [...].

    1e-6 keeps the logarithm finite where tanh is flat.
    """
    normal = -0.5 * noise.square() - log_std - 0.5 * log(2 * pi)
    return (normal - torch.log(1 - actions.square() + 1e-6)).mean(dim=-1)


def _stacked(
    rngs: Sequence[Generator], sizes: Sequence[int], weight_bounds: Sequence[float], device: str
) -> list[Tensor]:
    """Initial weights [A, I, O] and biases [A, 1, O] in turn, uniform, each agent's from its own stream."""
    layers = []
    for inputs, outputs, weight_bound in zip(sizes, sizes[1:], weight_bounds, strict=False):
        for rows, bound in ((inputs, weight_bound), (1, inputs**-0.5)):
            drawn = torch.stack([torch.rand(rows, outputs, generator=rng) for rng in rngs])
            layers.append(((2 * drawn - 1) * bound).to(device).requires_grad_(True))
    return layers


def _step(optimizer: torch.optim.Optimizer, layers: Sequence[Tensor], losses: Tensor) -> None:
    """Follow each agent's own loss [A]: the gradient of their sum is each agent's own."""
    for layer, slope in zip(layers, torch.autograd.grad(losses.sum(), list(layers)), strict=True):
        layer.grad = slope
    optimizer.step()
