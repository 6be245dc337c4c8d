"""The head and the penalty of MID against the formula, torch.distributions and a double loop."""

from __future__ import annotations

from math import exp, log, log1p

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal, kl_divergence

from midef.core import Inputs, SpecError
from midef.defenses import DEFENSES, Batch, Tuning
from midef.defenses.families.heads import VibHead, gaussian_of
from midef.defenses.mid import Mid, kl_to_standard_normal
from midef.models import ARCHITECTURES
from midef.nn.network import FixedZeroBias, TargetModel
from midef.nn.taps import CODE

CLASSES, RESOLUTION_PX = 11, 32
NOTHING = Inputs({}, lambda recipe: None)  # type: ignore[arg-type, return-value]


def prepared(defense: Mid, architecture: str = "vgg16_tiny", resolution_px: int = RESOLUTION_PX) -> TargetModel:
    torch.manual_seed(0)
    model = ARCHITECTURES.make(architecture).build(CLASSES, resolution_px)
    model = defense.prepare_model(model, NOTHING)
    model.head = defense.prepare_head(model.head)
    return model


def some_images(n: int = 4) -> Tensor:
    return torch.rand(n, 3, RESOLUTION_PX, RESOLUTION_PX, generator=torch.Generator().manual_seed(1))


def head(*, eval_sample: bool = True, features: int = 6) -> VibHead:
    torch.manual_seed(0)
    return VibHead(features, 3, eval_sample=eval_sample)


# --- penalty ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sigma", "per_dimension"), [(0.5, 0.318147), (1.0, 0.0)])
def test_kl_of_a_centred_gaussian(sigma: float, per_dimension: float) -> None:
    mean, log_sigma = torch.zeros(3, 5), torch.full((3, 5), log(sigma))
    assert float(kl_to_standard_normal(mean, log_sigma)) == pytest.approx(5 * per_dimension, abs=1e-5)


def test_kl_is_that_of_torch_distributions() -> None:
    rng = torch.Generator().manual_seed(0)
    mean, log_sigma = torch.randn(2, 7, 4, generator=rng, dtype=torch.float64)
    first = Independent(Normal(mean, log_sigma.exp()), 1)
    second = Independent(Normal(torch.zeros(4).double(), torch.ones(4).double()), 1)
    torch.testing.assert_close(kl_to_standard_normal(mean, log_sigma), kl_divergence(first, second).mean())


def test_penalty_from_the_formula() -> None:
    model = prepared(Mid(weight=0.2))
    batch = Batch(some_images(), torch.arange(4), torch.arange(4))
    forward = model(batch.images, (CODE,))
    code = forward.taps[CODE].detach().double().numpy()
    k = model.feature_dim // 2
    assert code.shape == (4, 2 * k)
    per_image = []
    for row in code:
        total = 0.0
        for c in range(k):
            mu, sigma = float(row[c]), log1p(exp(float(row[k + c]) - 5))
            total += 0.5 * (mu**2 + sigma**2 - 1 - 2 * log(sigma))
        per_image.append(total)
    ((name, term),) = Mid(weight=0.2).penalties(forward, batch, 0.0).items()
    assert name == "kl" and float(term.detach()) == pytest.approx(0.2 * np.mean(per_image), rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_ln_sigma_stays_finite_and_right_however_small_sigma_is(dtype: torch.dtype) -> None:
    r = torch.tensor([[-1e4, -200.0, -110.0, -25.0 - 1e-3, -25.0 + 1e-3, -20.0, 0.0, 30.0, 1e4]], dtype=dtype)
    statistics = torch.cat([torch.zeros_like(r), r], dim=1).requires_grad_()
    _, log_sigma = gaussian_of(statistics)
    # ln(log1p(e^x)) = x - e^x / 2 + ...: x itself once e^x is below rounding
    expected = [x if x < -40 else log(log1p(exp(x)) if x < 40 else x) for x in (float(v) - 5 for v in r[0])]
    torch.testing.assert_close(log_sigma[0], torch.tensor(expected, dtype=dtype), rtol=1e-6, atol=0)
    kl_to_standard_normal(torch.zeros_like(r), log_sigma[:, :-1].sum(dim=1, keepdim=True)).backward()
    assert statistics.grad is not None and torch.isfinite(statistics.grad).all()
    assert (statistics.grad[0, len(r[0]) : -1] != 0).all(), "a small sigma has no way back"


def test_half_precision_statistics_are_judged_in_single() -> None:
    mean, log_sigma = gaussian_of(torch.zeros(2, 8, dtype=torch.bfloat16))
    assert mean.dtype == log_sigma.dtype == torch.float32


def test_a_smaller_weight_is_a_smaller_part_of_the_same_penalty() -> None:
    forward = prepared(Mid())(some_images(), (CODE,))
    batch = Batch(some_images(), torch.arange(4), torch.arange(4))
    one, tenth = (Mid(weight=w).penalties(forward, batch, 0.0)["kl"] for w in (1.0, 0.1))
    torch.testing.assert_close(tenth, 0.1 * one)


# --- head -------------------------------------------------------------------------------------------------------------


def test_sizes_of_the_head_of_vgg16_at_64_px() -> None:
    model = prepared(Mid(), "vgg16", 64)
    vib = model.head
    assert isinstance(vib, VibHead) and model.feature_dim == 2048
    assert vib.statistics.weight.shape == (2 * 1024, 2048) and vib.classifier.weight.shape == (CLASSES, 1024)


def test_sigma_starts_near_nothing() -> None:
    vib = head(features=512)
    nn.init.zeros_(vib.statistics.weight)
    nn.init.zeros_(vib.statistics.bias)
    _, log_sigma = gaussian_of(vib.with_code(torch.randn(2, 512))[1])
    torch.testing.assert_close(log_sigma.exp(), torch.full((2, 256), log1p(exp(-5))))
    assert log1p(exp(-5)) == pytest.approx(0.0067, abs=5e-5)


def test_logits_are_those_of_a_sample() -> None:
    vib = head()
    features = torch.randn(4, 6)
    torch.manual_seed(5)
    logits, statistics = vib.with_code(features)
    torch.manual_seed(5)
    sigma = torch.log1p(torch.exp(statistics[:, 3:] - 5))
    expected = vib.classifier(statistics[:, :3] + sigma * torch.randn(4, 3))
    torch.testing.assert_close(logits, expected)
    torch.testing.assert_close(statistics, vib.statistics(features))


@pytest.mark.parametrize("eval_sample", [True, False], ids=["samples", "mean"])
def test_two_passes_in_eval_mode(eval_sample: bool) -> None:
    model = prepared(Mid(eval_sample=eval_sample)).eval()
    first, again = model(some_images()).logits, model(some_images()).logits
    assert torch.equal(first, again) == (not eval_sample)
    if not eval_sample:
        vib = model.head
        assert isinstance(vib, VibHead)
        mean = vib.statistics(model(some_images()).features).chunk(2, dim=1)[0]
        torch.testing.assert_close(first, vib.classifier(mean))


@pytest.mark.parametrize("eval_sample", [True, False], ids=["samples", "mean"])
def test_training_always_samples(eval_sample: bool) -> None:
    vib = head(eval_sample=eval_sample).train()
    features = torch.randn(4, 6)
    assert not torch.equal(vib(features), vib(features))


def test_a_white_box_attacker_gets_a_slope_through_the_sample() -> None:
    model = prepared(Mid()).eval()
    images = some_images().requires_grad_()
    model(images).logits[:, 0].sum().backward()
    assert images.grad is not None and images.grad.abs().sum() > 0


# --- surgery ----------------------------------------------------------------------------------------------------------


def test_the_last_batch_norm_of_vgg16_goes_and_every_other_stays() -> None:
    plain, found = prepared(Mid().off()), prepared(Mid())
    assert isinstance(plain.blocks.embedding[1], FixedZeroBias)  # type: ignore[index]
    assert not any(isinstance(m, nn.BatchNorm1d) for m in found.modules())
    assert isinstance(found.blocks.embedding[1], nn.Identity)  # type: ignore[index]
    assert found.block_names == plain.block_names
    missing = plain.blocks.state_dict().keys() - found.blocks.state_dict().keys()
    assert missing and all(key.startswith("embedding.1.") for key in missing)


def test_another_network_keeps_its_blocks() -> None:
    plain, found = prepared(Mid().off(), "resnet18_tiny"), prepared(Mid(), "resnet18_tiny")
    theirs = found.blocks.state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in plain.blocks.state_dict().items())
    assert isinstance(found.head, VibHead)


def test_weight_zero_keeps_the_bottleneck_and_asks_for_nothing() -> None:
    defense = Mid(weight=0.0)
    model = prepared(defense)
    assert isinstance(model.head, VibHead)
    facts = ARCHITECTURES.make("vgg16_tiny").facts()
    assert defense.taps(facts) == () and Mid().taps(facts) == (CODE,)
    batch = Batch(some_images(), torch.arange(4), torch.arange(4))
    assert defense.penalties(model(batch.images, (CODE,)), batch, 0.0) == {}


def test_off_is_the_linear_head() -> None:
    off = Mid().off()
    assert off == Mid(weight=0.0, bottleneck=False)
    linear = nn.Linear(4, 2)
    assert off.prepare_head(linear) is linear


def test_tuning_covers_every_published_strength() -> None:
    tuning = Mid.tuning
    assert isinstance(tuning, Tuning)
    assert all(tuning.low <= p["weight"] <= tuning.high for p in Mid.presets.values() if p["weight"])


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"weight": -0.1}, "needs weight >= 0, got -0.1"),
        ({"bottleneck": False}, "bottleneck=False leaves nothing for weight 0.003 to act on; set weight to 0"),
    ],
    ids=["negative weight", "no bottleneck"],
)
def test_impossible_values_are_refused(params: dict[str, float], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        DEFENSES.make("mid", params)
