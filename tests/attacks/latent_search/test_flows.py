"""The families of VMI: exact densities, inverses, and starts near the standard normal."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, kl_divergence

from midef.attacks.latent_search.flows import WARM_UP, Flow, Gauss

SMALL = Flow(dim=6, levels=2, steps=3, hidden=5)
SHAPES = [SMALL, Flow(dim=7, levels=3, steps=2, hidden=4), Flow(dim=2, levels=1, steps=1, hidden=3)]
every_shape = pytest.mark.parametrize("flow", SHAPES, ids=lambda flow: f"dim {flow.dim}, {flow.levels} levels")


def shaken(parameters: list[Tensor], scale: float = 0.05) -> list[Tensor]:
    """Parameters away from their start, where couplings and splits do nothing. Random weights stay as they are."""
    rng = torch.Generator().manual_seed(1)
    moves = [scale * torch.randn(p.shape, generator=rng, dtype=p.dtype) for p in parameters]
    return [p if p.dim() == 4 and p.any() else p + move for p, move in zip(parameters, moves, strict=True)]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@every_shape
def test_encoding_a_sample_gives_back_its_noise_and_its_log_ratio(flow: Flow) -> None:
    parameters = shaken(flow.start([3, 4], 2, "cpu"))
    noise = normal(2, 2, 9, flow.dim)
    sample, log_ratio = flow.sample(parameters, noise)
    assert (sample - noise).abs().mean() > 0.05
    back, same_ratio = flow.encode(parameters, sample)
    assert torch.allclose(back, noise, atol=1e-9) and torch.allclose(same_ratio, log_ratio, atol=1e-9)


@every_shape
def test_the_log_ratio_is_that_of_the_jacobian(flow: Flow) -> None:
    """log q(s) = log N(e) - log|det ds/de|, the determinant by autograd."""
    parameters = shaken(flow.start([5], 1, "cpu"))
    for seed in range(3):
        noise = normal(flow.dim, seed=seed)
        jacobian = torch.autograd.functional.jacobian(
            lambda e: flow.sample(parameters, e.view(1, 1, 1, -1))[0].flatten(), noise
        )
        sample, log_ratio = flow.sample(parameters, noise.view(1, 1, 1, -1))
        constant = -flow.dim / 2 * math.log(2 * math.pi)
        log_q = constant - noise.square().sum() / 2 - torch.linalg.slogdet(jacobian).logabsdet
        log_n = constant - sample.square().sum() / 2
        assert log_ratio.item() == pytest.approx(float(log_q - log_n), abs=1e-9)


def test_a_density_adds_up_to_one() -> None:
    """q = N * exp(log-ratio), summed over a grid in two dimensions."""
    flow = Flow(dim=2, levels=1, steps=3, hidden=4)
    parameters = shaken(flow.start([2], 1, "cpu"))
    axis = torch.linspace(-9, 9, 361, dtype=torch.float64)
    points = torch.cartesian_prod(axis, axis).view(1, 1, -1, 2)
    _, log_ratio = flow.encode(parameters, points)
    log_n = -points.square().sum(dim=-1) / 2 - math.log(2 * math.pi)
    assert float((log_n + log_ratio).exp().sum() * (axis[1] - axis[0]) ** 2) == pytest.approx(1, abs=0.01)


def test_a_new_flow_is_nearly_standard_normal() -> None:
    """Each coordinate has the mean and variance of `WARM_UP` vectors undone: KL is about 1 / WARM_UP a coordinate."""
    flow = Flow(dim=16, levels=3, steps=4, hidden=12)
    sample, log_ratio = flow.sample(flow.start(list(range(4)), 5, "cpu"), normal(4, 5, 1000, 16))
    assert sample.mean(dim=2).abs().max() < 0.55 and (sample.std(dim=2) - 1).abs().max() < 0.4
    assert abs(float(sample.mean())) < 0.03 and float(sample.std()) == pytest.approx(1, abs=0.03)
    assert float(log_ratio.mean()) == pytest.approx(flow.dim / WARM_UP, rel=0.35)


def test_a_new_flow_does_nothing_but_shift_and_scale() -> None:
    parameters = SMALL.start([1], 1, "cpu")
    noise = normal(1, 1, 4, 6)
    by_one, _ = SMALL.sample(parameters, noise)
    moved = noise.clone()
    moved[..., 2] += 1
    changed = (SMALL.sample(parameters, moved)[0] - by_one).abs() > 1e-9
    assert (changed.sum(dim=-1) == 1).all()


def test_act_norm_is_settled_on_what_passes_through_it() -> None:
    """After the start, every hidden layer gives mean 0 and variance 1 on the vectors it was started with."""
    flow = Flow(dim=8, levels=1, steps=1, hidden=6)
    parameters = flow.start([4], 1, "cpu")
    rng = torch.Generator().manual_seed(4)
    first = 0.05 * torch.randn(1, 1, 4, 6, generator=rng, dtype=torch.float64)
    torch.randn(1, 6, 6, generator=rng, dtype=torch.float64)
    data = torch.randn(1, 1, WARM_UP, 8, generator=rng, dtype=torch.float64)
    assert torch.equal(parameters[2], first)
    whitened = (data + parameters[0][:, :, None]) * parameters[1].exp()[:, :, None]
    for values in (whitened, flow.encode(parameters, data)[0]):
        assert torch.allclose(values.mean(dim=2), torch.zeros(8, dtype=torch.float64), atol=1e-9)
        assert torch.allclose(values.var(dim=2, unbiased=False), torch.ones(8, dtype=torch.float64), atol=1e-4)
    log_scale = -(data.std(dim=2, unbiased=False) + 1e-6).log()
    assert torch.allclose(parameters[0], -data.mean(dim=2)) and torch.allclose(parameters[1], log_scale)


def test_the_first_noise_feeds_the_deepest_level_and_the_last_leaves_first() -> None:
    """With the splits alone in action, the last half of the noise is scaled by the first split's Gaussian."""
    flow = Flow(dim=8, levels=3, steps=1, hidden=3)
    assert flow.widths == [8, 4, 2] and Flow(dim=100, levels=3, steps=1, hidden=1).widths == [100, 50, 25]
    parameters = flow.start([0], 1, "cpu")
    noise = normal(1, 1, 1, 8)
    base, _ = flow.sample(parameters, noise)
    split_bias = parameters[11]  # ten tensors of the only step, then the split's weight and bias
    assert split_bias.shape == (1, 1, 8)
    split_bias[..., :4] = 5.0  # the mean of what leaves after the first level
    shift = flow.sample(parameters, noise)[0] - base
    assert int((shift.abs() > 1e-9).sum()) == 4, "only the four channels that leave here move"
    back, _ = flow.encode(parameters, base)
    assert torch.allclose((back - noise)[..., :4], torch.zeros(4, dtype=torch.float64), atol=1e-9)
    assert ((back - noise)[..., 4:].abs() > 1).all(), "they are the last of the noise"


@pytest.mark.parametrize("family", [SMALL, Gauss(6)], ids=["flow", "gauss"])
def test_identities_and_layers_have_nothing_to_do_with_each_other(family: Flow | Gauss) -> None:
    together = family.start([7, 8, 9], 2, "cpu")
    alone = family.start([8], 2, "cpu")
    assert all(torch.allclose(a[1:2], b, atol=1e-12) for a, b in zip(together, alone, strict=True))
    searched = [p.requires_grad_(True) for p in shaken(together)]
    sample, log_ratio = family.sample(searched, normal(3, 2, 4, 6))
    slopes = torch.autograd.grad(sample[1, 0].square().sum() + log_ratio[1, 0].sum(), searched)
    for slope in slopes:
        own = torch.zeros(3, 2, dtype=torch.bool)
        own[1, 0] = True
        assert not slope[~own].any()
    assert sum(float(slope[1, 0].abs().sum()) for slope in slopes) > 0


def test_seeds_give_different_flows_and_layers() -> None:
    parameters = SMALL.start([1, 2], 2, "cpu")
    weights = parameters[2].flatten(2)
    assert len(weights.flatten(0, 1).unique(dim=0)) == 4
    assert all(p.dtype == torch.float64 for p in parameters)


def test_the_log_ratio_of_gaussians_has_the_closed_form_of_their_divergence() -> None:
    gauss = Gauss(4)
    mean, triangle = gauss.start([0, 1], 3, "cpu")
    assert torch.equal(triangle[1, 2], torch.eye(4, dtype=torch.float64)) and not mean.any()
    mean, triangle = mean + 0.5 * normal(2, 3, 4, seed=1), triangle + 0.3 * normal(2, 3, 4, 4, seed=2)
    sample, log_ratio = gauss.sample([mean, triangle], normal(2, 3, 10_000, 4))
    for i in range(2):
        for j in range(3):
            lower = triangle[i, j].tril()
            q = MultivariateNormal(mean[i, j], covariance_matrix=lower @ lower.T)
            n = MultivariateNormal(torch.zeros(4).double(), torch.eye(4).double())
            points = sample[i, j, :5]
            assert torch.allclose(log_ratio[i, j, :5], q.log_prob(points) - n.log_prob(points))
            assert float(log_ratio[i, j].mean()) == pytest.approx(float(kl_divergence(q, n)), rel=0.1)
    assert torch.allclose(sample.mean(dim=2), mean, atol=0.08)


def test_descending_the_log_ratio_brings_a_flow_to_the_standard_normal() -> None:
    flow = Flow(dim=6, levels=2, steps=1, hidden=5)
    searched = [p.requires_grad_(True) for p in shaken(flow.start([1], 1, "cpu"), scale=0.1)]
    adam = torch.optim.Adam(searched, lr=0.03)
    values = []
    for step in range(30):
        divergence = flow.sample(searched, normal(1, 1, 64, 6, seed=step))[1].mean()
        for p, slope in zip(searched, torch.autograd.grad(divergence, searched), strict=True):
            p.grad = slope
        adam.step()
        values.append(divergence.item())
    assert sum(values[:5]) > 3 * sum(values[-5:]) > 0
