"""FGSM, BIM and PGD on a linear model, whose adversarial images are known in closed form."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from midef.metrics.robustness.changes import ADVERSARIAL, changed, next_class
from midef.metrics.robustness.gradient import bim, fgsm, pgd

SIDE = 4
PIXELS = 3 * SIDE * SIDE


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def weights() -> Tensor:
    """[2, PIXELS], with no equal columns: the sign of their difference is known everywhere."""
    return torch.randn(2, PIXELS, generator=rng(1)).double()


@pytest.fixture
def images() -> Tensor:
    """In [0.2, 0.8]: a change of at most 0.2 is never cut at the border."""
    return (0.2 + 0.6 * torch.rand(40, 3, SIDE, SIDE, generator=rng(2))).double()


def linear(weights: Tensor, images: Tensor) -> Tensor:
    return images.flatten(1) @ weights.T


@pytest.mark.parametrize("epsilon", [0.005, 0.05, 0.2])
@pytest.mark.parametrize("targeted", [False, True])
def test_fgsm_on_two_classes_moves_every_pixel_along_the_sign_of_the_weights(
    weights: Tensor, images: Tensor, epsilon: float, targeted: bool
) -> None:
    """The loss of class y rises along w_other - w_y, whatever the image; the margin falls by eps |w_y - w_other|_1."""
    labels = linear(weights, images).argmax(dim=1)
    aimed = 1 - labels if targeted else labels
    found = fgsm(lambda x: linear(weights, x), images, aimed, targeted=targeted, epsilon=epsilon)
    away = (weights[1 - labels] - weights[labels]).sign().reshape(images.shape)
    torch.testing.assert_close(found, images + epsilon * away)
    logits = linear(weights, images)
    margin = logits.gather(1, labels[:, None]) - logits.gather(1, 1 - labels[:, None])
    falls = epsilon * (weights[1] - weights[0]).abs().sum()
    flipped = linear(weights, found).argmax(dim=1) != labels
    assert torch.equal(flipped, (margin < falls).squeeze(1))


def test_fgsm_on_three_classes_follows_the_gradient_of_the_softmax(images: Tensor) -> None:
    """d CE / d x = W^T (softmax - onehot); a targeted step goes against it."""
    weights = torch.randn(3, PIXELS, generator=rng(3)).double()
    labels = torch.arange(len(images)) % 3
    aimed = next_class(labels, 3)
    assert aimed.tolist()[:4] == [1, 2, 0, 1]
    slope = (linear(weights, images).softmax(dim=1) - nn.functional.one_hot(aimed, 3)) @ weights
    found = fgsm(lambda x: linear(weights, x), images, aimed, targeted=True, epsilon=0.1)
    torch.testing.assert_close(found, images - 0.1 * slope.sign().reshape(images.shape))


@pytest.mark.parametrize(("step", "steps", "moved"), [(0.02, 3, 0.06), (0.02, 10, 0.1), (0.02, 0, 0.0)])
def test_bim_walks_to_the_border_of_the_ball(
    weights: Tensor, images: Tensor, step: float, steps: int, moved: float
) -> None:
    labels = linear(weights, images).argmax(dim=1)
    away = (weights[1 - labels] - weights[labels]).sign().reshape(images.shape)
    found = bim(lambda x: linear(weights, x), images, labels, targeted=False, epsilon=0.1, step=step, steps=steps)
    torch.testing.assert_close(found, images + moved * away)


def test_pgd_ends_in_the_corner_wherever_it_starts(weights: Tensor, images: Tensor) -> None:
    """10 steps of eps / 4 cross the ball of diameter 2 eps; fewer leave a trace of the start."""
    labels = linear(weights, images).argmax(dim=1)
    away = (weights[1 - labels] - weights[labels]).sign().reshape(images.shape)

    def walk(seed: int, steps: int) -> Tensor:
        options = {"epsilon": 0.1, "step": 0.025, "steps": steps}
        return pgd(lambda x: linear(weights, x), images, labels, targeted=False, rng=rng(seed), **options)  # type: ignore[arg-type]

    torch.testing.assert_close(walk(0, 10), images + 0.1 * away)
    torch.testing.assert_close(walk(1, 10), images + 0.1 * away)
    assert not torch.equal(walk(0, 1), walk(1, 1)) and torch.equal(walk(0, 1), walk(0, 1))
    assert (walk(0, 1) - images).abs().max() <= 0.1 + 1e-9


@pytest.mark.parametrize("name", [*ADVERSARIAL, *(f"{one} targeted" for one in ADVERSARIAL)])
def test_every_attack_stays_in_the_image_and_lowers_what_it_should(name: str) -> None:
    """On images at the border of [0, 1]; the network gets no gradient."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, 5))
    images, labels = torch.rand(12, 3, SIDE, SIDE, generator=rng()).round(), torch.arange(12) % 5
    found = changed(name, model, images, labels, n_classes=5)
    assert found.shape == images.shape and found.min() >= 0 and found.max() <= 1 and not found.requires_grad
    aimed = next_class(labels, 5) if name.endswith("targeted") else labels
    before, after = (nn.functional.cross_entropy(model(x), aimed).item() for x in (images, found))
    assert after < before if name.endswith("targeted") else after > before
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(changed(name, model, images, labels, n_classes=5), found), "it repeats"


def test_an_unknown_change_is_refused() -> None:
    with pytest.raises(ValueError, match="no change of images is called 'fgms'; did you mean 'fgsm'"):
        changed("fgms", nn.Identity(), torch.zeros(1, 3, 2, 2), torch.zeros(1, dtype=torch.int64), n_classes=2)


def test_art_finds_the_same_images() -> None:
    """The Adversarial Robustness Toolbox, where it is installed (`pip install midef[adversarial]`), on one network."""
    pytest.importorskip("art", reason="needs adversarial-robustness-toolbox")
    from art.attacks.evasion import BasicIterativeMethod, FastGradientMethod
    from art.estimators.classification import PyTorchClassifier

    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, 16), nn.ReLU(), nn.Linear(16, 5)).eval()
    images, labels = torch.rand(20, 3, SIDE, SIDE, generator=rng()), torch.arange(20) % 5
    classifier = PyTorchClassifier(
        model, nn.CrossEntropyLoss(), (3, SIDE, SIDE), 5, clip_values=(0.0, 1.0), device_type="cpu"
    )
    options = {"eps": 8 / 255, "targeted": False, "batch_size": 64}
    theirs = FastGradientMethod(classifier, **options).generate(images.numpy(), labels.numpy())
    torch.testing.assert_close(fgsm(model, images, labels, targeted=False), torch.from_numpy(theirs))
    stepped = BasicIterativeMethod(classifier, eps_step=2 / 255, max_iter=10, verbose=False, **options)
    theirs = stepped.generate(images.numpy(), labels.numpy())
    torch.testing.assert_close(bim(model, images, labels, targeted=False), torch.from_numpy(theirs))
