"""Stacked agents against one complete soft actor critic, written out for one agent at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Normal

from midef.attacks.latent_search.streams import RowStreams
from midef.attacks.rl.sac import Agents, Noise, Replay, mean_log_prob, run

DIM, HIDDEN, BATCH, LEARNING_RATE = 6, 16, 32, 5e-3


def agents_of(seeds: list[int], noise: Noise = "shared_scalar", **given: float) -> Agents:
    sizes = {"dim": DIM, "hidden": HIDDEN, "learning_rate": LEARNING_RATE, **given}
    return Agents(seeds, RowStreams(seeds), noise=noise, device="cpu", **sizes)  # type: ignore[arg-type]


def experience(seed: int, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of states and actions [B, 2Z], paid like the attack pays [B]: far below 0."""
    rng = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        states = torch.randn(BATCH, DIM, generator=rng)
        actions = torch.rand(BATCH, DIM, generator=rng) * 2 - 1
        yield torch.cat([states, actions], dim=1), -20 * (actions - 0.3).square().sum(dim=1) - 5


def train(agents: Agents, seeds: list[int], steps: int) -> None:
    for batches in zip(*(experience(seed, steps) for seed in seeds), strict=True):
        agents.update(torch.stack([pairs for pairs, _ in batches]), torch.stack([paid for _, paid in batches]))


# ---------------------------------------------------------------- the whole algorithm


def as_network(layers: list[Tensor], row: int) -> nn.Sequential:
    """The network of one agent, in torch's own layout."""
    found: list[nn.Module] = []
    for weight, bias in zip(layers[::2], layers[1::2], strict=True):
        linear = nn.Linear(weight.shape[1], weight.shape[2])
        with torch.no_grad():
            linear.weight.copy_(weight[row].T)
            linear.bias.copy_(bias[row, 0])
        found += [linear, nn.ReLU()]
    return nn.Sequential(*found[:-1])


def decide(actor: nn.Module, states: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
    mean, log_std = actor(states).chunk(2, dim=1)
    std = log_std.clamp(-20, 2).exp()
    raw = mean + e * std
    action = torch.tanh(raw)
    log_prob = Normal(mean, std).log_prob(raw) - torch.log(1 - action**2 + 1e-6)
    return action, log_prob.mean(dim=1, keepdim=True)


def complete_sac(agents: Agents, row: int, seed: int, steps: int, *, twin_seed: int) -> tuple[nn.Module, nn.Module]:
    """The released algorithm with its second critic, target critics and discount; every episode is done at once."""
    gamma, tau, done = 0.99, 0.01, 1.0
    actor, critic_1 = as_network(agents.actor, row), as_network(agents.critic, row)
    critic_2, target_1, target_2 = (as_network(agents.critic, row) for _ in range(3))
    torch.manual_seed(twin_seed)  # whatever the second critic and the targets start from, they must not matter
    for parameter in [p for network in (critic_2, target_1, target_2) for p in network.parameters()]:
        nn.init.normal_(parameter)
    log_alpha = torch.zeros(1, requires_grad=True)
    optimizers = [
        torch.optim.Adam(params, lr=LEARNING_RATE)
        for params in (actor.parameters(), critic_1.parameters(), critic_2.parameters(), [log_alpha])
    ]
    streams = RowStreams([seed])
    for pairs, paid in experience(seed, steps):
        states, rewards = pairs[:, :DIM], paid[:, None]
        following = pairs[:, DIM:]
        with torch.no_grad():
            next_action, next_log_prob = decide(actor, following, torch.randn(1))
            answer = torch.cat([following, next_action], dim=1)
            future = torch.minimum(target_1(answer), target_2(answer)) - log_alpha.exp() * next_log_prob
            wanted = rewards + gamma * (1 - done) * future
        for critic, optimizer in ((critic_1, optimizers[1]), (critic_2, optimizers[2])):
            optimizer.zero_grad()
            (0.5 * F.mse_loss(critic(pairs), wanted)).backward()
            optimizer.step()
        alpha = log_alpha.exp().detach()
        action, log_prob = decide(actor, states, streams.normal(1, 1)[0])
        optimizers[3].zero_grad()
        (-(log_alpha * (log_prob - DIM).detach()).mean()).backward()
        optimizers[3].step()
        optimizers[0].zero_grad()
        (alpha * log_prob - critic_1(torch.cat([states, action], dim=1))).mean().backward()
        optimizers[0].step()
        with torch.no_grad():
            for target, critic in ((target_1, critic_1), (target_2, critic_2)):
                for slow, fast in zip(target.parameters(), critic.parameters(), strict=True):
                    slow.mul_(1 - tau).add_(tau * fast)
    return actor, critic_1


def test_stacked_agents_walk_the_path_of_the_complete_algorithm() -> None:
    seeds, steps = [3, 8], 25
    agents = agents_of(seeds)
    fresh = agents_of(seeds)
    train(agents, seeds, steps)
    states = torch.randn(2, 50, DIM)
    for row, seed in enumerate(seeds):
        actor, critic = complete_sac(fresh, row, seed, steps, twin_seed=row)
        for layers, network, start, width in (
            (agents.actor, actor, fresh.actor, DIM),
            (agents.critic, critic, fresh.critic, 2 * DIM),
        ):
            inputs = torch.cat([states[row], states[row].tanh()], dim=1)[:, :width]
            with torch.no_grad():
                expected, found = network(inputs), run(layers, inputs.expand(2, -1, -1))[row]
                moved = (expected - run(start, inputs.expand(2, -1, -1))[row]).abs().mean()
            assert moved > 0.05, "the path can be seen"
            assert (found - expected).abs().max() < 1e-3 * max(1, expected.abs().max())


def test_an_agent_does_not_depend_on_the_others() -> None:
    together, alone = agents_of([1, 2, 3]), agents_of([2])
    train(together, [1, 2, 3], 20)
    train(alone, [2], 20)
    for many, one in zip([*together.actor, *together.critic], [*alone.actor, *alone.critic], strict=True):
        assert torch.allclose(many[1], one[0], atol=1e-5)
        assert not torch.allclose(many[0], one[0], atol=1e-2)
    state = torch.randn(1, DIM)
    assert torch.allclose(together.act(state.expand(3, -1))[1], alone.act(state)[0], atol=1e-5)


@pytest.mark.parametrize("noise", ["shared_scalar", "per_dim"])
def test_agents_learn_what_they_are_paid_for(noise: Noise) -> None:
    """Each is paid for actions near a point of its own."""
    points = torch.tensor([[0.6, -0.6], [-0.5, 0.1]])
    agents = agents_of([0, 1], noise, dim=2, hidden=32)
    rng = torch.Generator().manual_seed(5)

    def distance() -> Tensor:
        actions = torch.stack([agents.act(torch.randn(2, 2, generator=rng)) for _ in range(50)])
        apart: Tensor = (actions - points).norm(dim=-1).mean(dim=0)
        return apart

    before = distance()
    for _ in range(200):
        pairs = torch.randn(2, BATCH, 4, generator=rng)
        pairs[..., 2:] = torch.rand(2, BATCH, 2, generator=rng) * 2 - 1
        agents.update(pairs, -20 * (pairs[..., 2:] - points[:, None]).square().sum(dim=-1))
    after = distance()
    assert (after < 0.6 * before).all(), (before, after)


# ---------------------------------------------------------------- the parts


def test_log_probabilities_are_those_of_a_squashed_normal() -> None:
    rng = torch.Generator().manual_seed(0)
    mean, log_std, e = (torch.randn(4, 7, DIM, generator=rng) * 0.3 for _ in range(3))
    actions = torch.tanh(mean + e * log_std.exp())
    expected = torch.zeros(4, 7, dtype=torch.float64)
    for place in torch.cartesian_prod(torch.arange(4), torch.arange(7), torch.arange(DIM)).tolist():
        i, j, d = place
        z, s = float(e[i, j, d]), float(log_std[i, j, d])
        density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi) / math.exp(s)
        expected[i, j] += math.log(density / (1 - float(actions[i, j, d]) ** 2 + 1e-6)) / DIM
    assert torch.allclose(mean_log_prob(actions, e, log_std).double(), expected, atol=1e-5)
    assert torch.isfinite(mean_log_prob(torch.ones(DIM), torch.zeros(DIM), torch.zeros(DIM)))


def test_the_temperature_only_falls_by_the_learning_rate_at_each_update() -> None:
    """The averaged log-probability never reaches a target entropy of -Z, so each step of Adam has full length."""
    seeds = [1, 2]
    agents = agents_of(seeds, learning_rate=5e-4)
    assert agents.log_temperature.tolist() == [0, 0]
    train(agents, seeds, 100)
    assert torch.allclose(agents.log_temperature, torch.tensor(-100 * 5e-4), rtol=0.02)


def test_weights_start_within_the_bounds_of_the_released_code() -> None:
    agents = agents_of([1, 2], dim=25, hidden=64)
    bounds = {
        "actor": [25**-0.5, 25**-0.5, 1 / 8, 1 / 8, 1 / 8, 1 / 8],
        "critic": [1 / 8, 50**-0.5, 1 / 8, 1 / 8, 3e-3, 1 / 8],
    }
    for name, expected in bounds.items():
        for layer, bound in zip(getattr(agents, name), expected, strict=True):
            assert layer.abs().max() <= bound
            if layer[0].numel() >= 64:
                assert layer.abs().max() > 0.9 * bound and layer.mean().abs() < 0.3 * bound
            assert not torch.equal(layer[0], layer[1])
    assert [tuple(layer.shape[1:]) for layer in agents.actor[::2]] == [(25, 64), (64, 64), (64, 50)]
    assert [tuple(layer.shape[1:]) for layer in agents.critic[::2]] == [(50, 64), (64, 64), (64, 1)]


@pytest.mark.parametrize(("noise", "distinct"), [("shared_scalar", 1), ("per_dim", DIM)])
def test_exploration_is_one_number_or_one_for_each_coordinate(noise: Noise, distinct: int) -> None:
    agents, state = agents_of([4], noise), torch.randn(1, DIM)
    with torch.no_grad():
        mean, log_std = run(agents.actor, state[:, None]).chunk(2, dim=-1)
    e = (torch.atanh(agents.act(state)) - mean[0]) / log_std[0].exp()
    assert len(set((e * 1000).round().flatten().tolist())) == distinct
    again = (torch.atanh(agents.act(state)) - mean[0]) / log_std[0].exp()
    assert (again - e).abs().min() > 1e-3


# ---------------------------------------------------------------- what is remembered


def filled(count: int, capacity: int) -> Replay:
    """Two agents; transition t of agent a has state (10 a + t), action -(10 a + t) and reward 100 a + t."""
    replay = Replay(2, capacity, 1, "cpu")
    of_agent = torch.tensor([0.0, 1.0])
    for t in range(count):
        states = 10 * of_agent[:, None] + t
        replay.add(states, -states, 100 * of_agent + t)
    return replay


@pytest.mark.parametrize(("count", "remembered"), [(3, {0, 1, 2}), (5, {0, 1, 2, 3, 4}), (8, {3, 4, 5, 6, 7})], ids=str)
def test_the_newest_transitions_are_remembered_and_stay_whole(count: int, remembered: set[int]) -> None:
    replay = filled(count, 5)
    assert len(replay) == len(remembered)
    numbers = torch.rand(2, 200, generator=torch.Generator().manual_seed(0))
    numbers[:, :2] = torch.tensor([0.0, 1 - 2.0**-24])
    pairs, rewards = replay.sample(numbers)
    for a in range(2):
        assert {int(r) - 100 * a for r in rewards[a]} == remembered
        assert torch.equal(pairs[a, :, 0], rewards[a] - 90 * a) and torch.equal(pairs[a, :, 1], 90 * a - rewards[a])


def test_transitions_are_equally_likely() -> None:
    _, rewards = filled(4, 10).sample(torch.rand(2, 8000, generator=torch.Generator().manual_seed(1)))
    assert (rewards[0].long().bincount(minlength=4) / 8000 - 0.25).abs().max() < 0.03
