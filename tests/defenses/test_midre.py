from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any

import pytest
import torch
from torch import Generator, Tensor
from torchvision.transforms import RandomErasing
from typing_extensions import override

from midef.core import SpecError
from midef.datasets import DATASETS
from midef.defenses import DEFENSES, Batch, Tuning
from midef.defenses import midre as module
from midef.defenses.entire_erasing import EntireErasing
from midef.defenses.families.erasing import covered, hashed_draws, inpainted, reject_joint_boxes, valid_corner_boxes
from midef.defenses.midre import IMAGENET_MEAN, Midre
from midef.defenses.stack import choose_defense, remake_defense
from midef.models import ARCHITECTURES, ModelFacts
from midef.training import TrainingRecipe
from midef.training.classifier.fit import fit_classifier

Sampler = Callable[..., Tensor]
SAMPLERS = {"valid_corner": valid_corner_boxes, "reject_joint": reject_joint_boxes}
FACTS = ModelFacts("toy", ("a",), ("a",), has_batch_norm=False)
every_sampler = pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)


def seeded(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


def noise(n: int, side: int) -> Batch:
    """Images in which no pixel has the fill colour by chance."""
    return Batch(torch.rand(n, 3, side, side, generator=seeded(1)), torch.zeros(n, dtype=torch.long), torch.arange(n))


def uniform(n: int, seed: int = 0) -> Tensor:
    return torch.rand(n, 3, generator=seeded(seed))


def erased_by(defense: Midre, batch: Batch, seed: int = 0) -> Tensor:
    """[B, H, W]: the pixels the defense changed."""
    images = defense.transform_batch(batch, 0.0, seeded(seed)).images
    return (images != batch.images).any(dim=1)


# --- one square -------------------------------------------------------------------------------------------------------


@every_sampler
@pytest.mark.parametrize(
    ("side_px", "area", "expected"), [(224, 0.1, 71), (224, 0.4, 142), (224, 0.8, 200), (64, 0.1, 20), (64, 0.4, 40)]
)
def test_side_of_the_square(sampler: Sampler, side_px: int, area: float, expected: int) -> None:
    boxes = sampler(uniform(8), (side_px, side_px), area=(area, area))
    assert boxes[:, 2:].tolist() == [[expected, expected]] * 8


@pytest.mark.parametrize("place", ["random", "fixed"])
@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("fill_space", ["pixel", "normalised"])
def test_every_image_holds_exactly_one_constant_square(sampler: str, fill_space: str, place: str) -> None:
    batch = noise(64, 40)
    defense = DEFENSES.make("midre", {"area_high": 0.8, "sampler": sampler, "fill_space": fill_space, "place": place})
    assert isinstance(defense, Midre)
    images = defense.transform_batch(batch, 0.0, seeded()).images
    colour = IMAGENET_MEAN if fill_space == "pixel" else tuple(0.5 + 0.5 * v for v in IMAGENET_MEAN)
    filled = (images - torch.tensor(colour).view(1, 3, 1, 1)).abs().amax(dim=1) < 1e-6
    for before, after, mask in zip(batch.images, images, filled, strict=True):
        rows, columns = torch.nonzero(mask.any(dim=1)).squeeze(1), torch.nonzero(mask.any(dim=0)).squeeze(1)
        side = len(rows)
        assert side == len(columns) == int(rows[-1] - rows[0] + 1) == int(columns[-1] - columns[0] + 1)
        assert int(mask.sum()) == side**2
        assert round(sqrt(0.1) * 40) <= side <= round(sqrt(0.8) * 40)
        assert torch.equal(after[:, ~mask], before[:, ~mask])
    assert len({tuple(mask.flatten().tolist()) for mask in filled}) > 55, "the images share their squares"


@pytest.mark.parametrize("area_high", [0.4, 0.8])
def test_mean_area_of_the_released_sampler(area_high: float) -> None:
    sides = valid_corner_boxes(uniform(20_000), (224, 224), area=(0.1, area_high))[:, 2]
    area = (sides.double() / 224).square()
    assert float(area.mean()) == pytest.approx({0.4: 0.25, 0.8: 0.45}[area_high], abs=0.005)
    share_below_the_middle = float((area < (0.1 + area_high) / 2).double().mean())
    assert share_below_the_middle == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(("area_high", "published"), [(0.4, 0.22), (0.8, 0.29)])
def test_mean_area_of_the_papers_text(area_high: float, published: float) -> None:
    sides = reject_joint_boxes(uniform(20_000), (224, 224), area=(0.1, area_high))[:, 2]
    found = float((sides.double() / 224).square().mean())
    areas = torch.linspace(0.1, area_high, 10_001, dtype=torch.float64)
    accepted = (1 - areas.sqrt()).square()  # a corner fits with this probability
    expected = float((areas * accepted).sum() / accepted.sum())
    assert expected == pytest.approx(published, abs=0.005)
    assert found == pytest.approx(expected, abs=0.006)


@every_sampler
def test_corners_are_uniform_among_those_that_fit(sampler: Sampler) -> None:
    boxes = sampler(uniform(20_000), (16, 16), area=(0.25, 0.25))
    for corner in (boxes[:, 0], boxes[:, 1]):
        counts = torch.bincount(corner, minlength=9).double()
        assert len(counts) == 9, "a corner beyond those that fit"
        assert (counts / 20_000 - 1 / 9).abs().max() < 0.01


def test_released_sampler_by_a_loop() -> None:
    n, height, width, low, high = 50, 30, 40, 0.1, 0.4
    found = valid_corner_boxes(uniform(n, 7), (height, width), area=(low, high))
    for (top, left, tall, wide), (share, down, right) in zip(found.tolist(), uniform(n, 7).tolist(), strict=True):
        assert tall == wide == round(sqrt((low + (high - low) * share) * height * width))
        assert top == int(down * (height - tall + 1))
        assert left == int(right * (width - wide + 1))


@pytest.mark.parametrize(("area", "ratio"), [((0.1, 0.8), 1.0), ((0.05, 0.3), 2.0)], ids=["square", "rectangle"])
def test_sampler_of_the_text_by_rejection(area: tuple[float, float], ratio: float) -> None:
    """The paper's words, literally: everything drawn again until it fits."""
    n, side = 40_000, 20
    found = reject_joint_boxes(uniform(n), (side, side), area=area, ratio=ratio)
    share, down, right = torch.rand(3, 12 * n, generator=seeded(9))
    pixels = (area[0] + (area[1] - area[0]) * share) * side**2
    tall, wide = (pixels * ratio).sqrt().round(), (pixels / ratio).sqrt().round()
    top, left = (down * side).floor(), (right * side).floor()
    expected = torch.stack([top, left, tall, wide], dim=1)[(top + tall <= side) & (left + wide <= side)].long()
    assert len(expected) > n
    for column in range(4):
        shares = [torch.bincount(some[:, column], minlength=side) / len(some) for some in (found, expected)]
        assert (shares[0] - shares[1]).abs().max() < 0.01
    together = [(some[:, 0] * some[:, 2]).double().mean() for some in (found, expected)]
    assert float(together[0]) == pytest.approx(float(together[1]), rel=0.02)


@every_sampler
def test_areas_near_one_do_not_wait(sampler: Sampler) -> None:
    boxes = sampler(uniform(1000), (64, 64), area=(0.95, 0.99))
    assert int(boxes[:, 2].min()) >= 62 and int(boxes[:, 2].max()) == 63


@every_sampler
def test_the_largest_square_stays_below_the_image(sampler: Sampler) -> None:
    boxes = sampler(uniform(100), (16, 16), area=(0.99, 0.99))
    assert boxes[:, 2:].unique().tolist() == [15]
    assert int((boxes[:, :2] + boxes[:, 2:]).max()) <= 16


def test_mask_by_a_loop() -> None:
    boxes = torch.tensor([[[0, 0, 3, 3], [1, 2, 4, 2]], [[6, 6, 3, 3], [0, 0, 0, 5]], [[0, 1, 9, 8], [2, 2, 1, 1]]])
    expected = torch.zeros(3, 1, 9, 9, dtype=torch.bool)
    for mask, patches in zip(expected, boxes.tolist(), strict=True):
        for top, left, height, width in patches:
            mask[0, top : top + height, left : left + width] = True
    assert torch.equal(covered(boxes, (9, 9)), expected)


# --- fixed place ------------------------------------------------------------------------------------------------------


def test_fixed_squares_depend_on_the_position_alone() -> None:
    defense = Midre(place="fixed")
    batch = noise(16, 32)
    first = erased_by(defense, batch)
    assert torch.equal(erased_by(defense, batch, seed=5), first)
    turned = Batch(batch.images.flip(0), batch.labels, batch.indices.flip(0))
    assert torch.equal(erased_by(defense, turned).flip(0), first)
    moved = Batch(batch.images, batch.labels, batch.indices + 16)
    assert not (erased_by(defense, moved) == first).flatten(1).all(dim=1).any()


def test_fixed_squares_draw_nothing() -> None:
    rng = seeded()
    state = rng.get_state()
    Midre(place="fixed").transform_batch(noise(4, 8), 0.5, rng)
    assert torch.equal(rng.get_state(), state)


def test_hashed_draws_are_uniform_and_independent() -> None:
    draws = hashed_draws(torch.arange(20_000), 2).view(-1, 6)
    assert draws.min() >= 0 and draws.max() < 1
    deciles = torch.stack([torch.histc(column, bins=10, min=0, max=1) for column in draws.T]) / len(draws)
    assert (deciles - 0.1).abs().max() < 0.01
    beside = torch.cat([draws[:-1], draws[1:]], dim=1)  # an image and the next one
    assert (torch.corrcoef(beside.T) - torch.eye(12)).abs().max() < 0.03


def test_hashed_draws_by_a_loop() -> None:
    def hashed(x: int) -> float:
        for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
            x = (x ^ (x >> shift)) * factor % 2**32
        return ((x ^ (x >> 16)) >> 8) / 2**24

    positions = [0, 1, 77, 200_000]
    expected = [[[hashed(12 * p + 3 * patch + draw + 1) for draw in range(3)] for patch in range(4)] for p in positions]
    assert hashed_draws(torch.tensor(positions), 4).tolist() == expected


class _Seen(Midre):
    """Remembers what a training showed it."""

    seen: list[Batch]

    @override
    def transform_batch(self, batch: Batch, progress: float, rng: Generator) -> Batch:
        changed = super().transform_batch(batch, progress, rng)
        self.seen += [batch, changed]
        return changed


@pytest.mark.parametrize("beside", [None, EntireErasing(share=0.5)], ids=["all images", "half of the images"])
def test_in_a_training_each_image_keeps_its_square(
    beside: EntireErasing | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Indices are positions in the train split, also where an epoch shows only some of its images."""
    monkeypatch.setattr(_Seen, "seen", [], raising=False)
    defense = _Seen(place="fixed", area_low=0.2, area_high=0.2)
    if beside is not None:
        monkeypatch.setattr(_Seen, "images_of_epoch", lambda self, labels, rng: beside.images_of_epoch(labels, rng))
    splits = DATASETS.make("synthetic_faces", {"identities": 4, "train_images": 6}).load(32)
    torch.manual_seed(0)
    model = ARCHITECTURES.make("vgg16_tiny").build(4, 32)
    fit_classifier(
        model,
        splits.train,
        splits.select,
        facts=ARCHITECTURES.make("vgg16_tiny").facts(),
        recipe=TrainingRecipe(epochs=4, batch_size=6, flip=0.0),
        defense=defense,
        seed=0,
    )
    squares: dict[int, Tensor] = {}
    for before, after in zip(defense.seen[::2], defense.seen[1::2], strict=True):
        assert torch.equal(before.images, splits.train.images[before.indices].float() / 255)
        assert torch.equal(before.labels, splits.train.labels[before.indices])
        square = covered(valid_corner_boxes(hashed_draws(before.indices, 1), (32, 32), area=(0.2, 0.2)), (32, 32))
        erased = after.images == torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1)
        assert torch.equal(erased.all(dim=1, keepdim=True), square)
        for position, mask in zip(before.indices.tolist(), square, strict=True):
            assert torch.equal(squares.setdefault(position, mask), mask)
    assert len(squares) > 12
    assert len({tuple(mask.flatten().tolist()) for mask in squares.values()}) == len(squares)


# --- several patches and other shapes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("patches", [4, 8])
def test_patches_share_the_area(patches: int) -> None:
    batch = noise(400, 112)
    mask = erased_by(Midre(patches=patches), batch)
    boxes = Midre(patches=patches)._boxes(batch.indices, (112, 112), seeded())
    assert boxes.shape == (400, patches, 4)
    areas = boxes[..., 2:].prod(dim=-1).double() / 112**2
    low, high = 0.1 / patches, 0.4 / patches
    assert float(areas.min()) > 0.95 * low and float(areas.max()) < 1.05 * high
    assert float(areas.sum(dim=1).mean()) == pytest.approx(0.25, abs=0.01)
    assert torch.equal(mask, covered(boxes, (112, 112))[:, 0]), "another place than its draws say"
    share = mask.double().mean(dim=(1, 2))
    assert (share <= areas.sum(dim=1) + 1e-9).all() and float(share.mean()) > 0.17
    assert len(boxes[0].unique(dim=0)) == patches


@every_sampler
@pytest.mark.parametrize("ratio", [0.5, 2.0])
def test_ratio_is_height_to_width(sampler: Sampler, ratio: float) -> None:
    boxes = sampler(uniform(500), (224, 224), area=(0.1, 0.4), ratio=ratio).double()
    height, width = boxes[:, 2], boxes[:, 3]
    torch.testing.assert_close(height / width, torch.full_like(height, ratio), atol=0.03, rtol=0)
    area = height * width / 224**2
    assert float(area.min()) > 0.099 and float(area.max()) < 0.401
    assert (boxes[:, :2] + boxes[:, 2:]).max() <= 224


@every_sampler
@pytest.mark.parametrize("side_px", [64, 224])
@pytest.mark.parametrize(("area", "ratio"), [(0.25, 0.5), (0.25, 2.0), (0.1, 0.5), (0.4, 2.0), (0.3, 1.5), (0.4, 1.0)])
def test_sides_are_those_of_torchvisions_random_erasing(
    sampler: Sampler, side_px: int, area: float, ratio: float
) -> None:
    """The released configs pass `ratio` to torchvision; so what it makes of a ratio is what a preset must make."""
    image = torch.zeros(3, side_px, side_px)
    _, _, height, width, _ = RandomErasing.get_params(image, scale=(area, area), ratio=(ratio, ratio), value=[0.0])
    boxes = sampler(uniform(4), (side_px, side_px), area=(area, area), ratio=ratio)
    assert boxes[:, 2:].tolist() == [[height, width]] * 4


@pytest.mark.parametrize(("preset", "height_px", "width_px"), [("0.5", 23, 45), ("2", 45, 23)])
def test_presets_of_the_aspect_ratio_by_hand(preset: str, height_px: int, width_px: int) -> None:
    """A quarter of 64 x 64 is 1024 pixels: sqrt(1024 / 2) = 22.6 by sqrt(1024 * 2) = 45.3."""
    written = f"midre:celeba-vgg16-ratio-{preset}(area_low=0.25, area_high=0.25)"
    defense = remake_defense(choose_defense(written))
    assert isinstance(defense, Midre)
    erased = erased_by(defense, noise(3, 64))
    assert erased.any(dim=2).sum(dim=1).tolist() == [height_px] * 3
    assert erased.any(dim=1).sum(dim=1).tolist() == [width_px] * 3


# --- fills ------------------------------------------------------------------------------------------------------------


def test_fill_is_the_imagenet_mean_in_the_space_chosen() -> None:
    assert IMAGENET_MEAN == (0.485, 0.456, 0.406)
    assert torch.equal(Midre().fill_colours(5, seeded()), torch.tensor([IMAGENET_MEAN]))
    in_pixels = Midre(fill_space="normalised").fill_colours(5, seeded())
    torch.testing.assert_close((in_pixels - 0.5) / 0.5, torch.tensor([IMAGENET_MEAN]))
    torch.testing.assert_close(in_pixels, torch.tensor([[0.743, 0.728, 0.703]]), atol=6e-4, rtol=0)


@pytest.mark.parametrize(
    ("fill", "fill_space", "expected"),
    [("zero", "pixel", 0.0), ("one", "pixel", 1.0), ("zero", "normalised", 0.5), ("one", "normalised", 1.0)],
)
def test_constant_fills(fill: Any, fill_space: Any, expected: float) -> None:
    batch = noise(8, 16)
    defense = Midre(fill=fill, fill_space=fill_space)
    images = defense.transform_batch(batch, 0.0, seeded()).images
    erased = (images != batch.images).any(dim=1)
    assert (erased.flatten(1).sum(dim=1) >= 25).all()
    assert images.movedim(1, -1)[erased].unique().tolist() == [expected]


@pytest.mark.parametrize(("fill_space", "low"), [("pixel", 0.0), ("normalised", 0.5)])
def test_a_random_fill_is_one_colour_per_image_and_iteration(fill_space: Any, low: float) -> None:
    batch = noise(500, 16)
    defense = Midre(fill="random", patches=2, place="fixed", fill_space=fill_space)
    rng = seeded()
    seen = []
    for _ in range(2):
        images = defense.transform_batch(batch, 0.0, rng).images
        erased = (images != batch.images).any(dim=1)
        colours = [image[:, mask].unique(dim=1) for image, mask in zip(images, erased, strict=True)]
        assert all(colour.shape == (3, 1) for colour in colours)
        seen.append(torch.cat(colours, dim=1))
    assert not (seen[0] == seen[1]).any()
    values = seen[0].flatten()
    assert low <= float(values.min()) < low + 0.02 and 0.98 < float(values.max()) <= 1
    assert float(values.mean()) == pytest.approx((1 + low) / 2, abs=0.03)
    assert float((seen[0][0] - seen[0][1]).abs().mean()) > 0.1, "the channels share their draw"


def test_inpainting_is_opencvs() -> None:
    import cv2

    images = noise(3, 24).images
    mask = covered(torch.tensor([[[4, 5, 9, 9]], [[0, 0, 6, 6]], [[10, 2, 5, 7]]]), (24, 24))
    found = inpainted(images, mask)
    for one in range(3):
        picture = (255 * images[one]).round().byte().permute(1, 2, 0).contiguous().numpy()
        filled = cv2.inpaint(picture, mask[one, 0].byte().numpy(), 3, cv2.INPAINT_TELEA)
        expected = torch.where(mask[one], torch.from_numpy(filled).permute(2, 0, 1) / 255, images[one])
        assert torch.equal(found[one], expected)


def test_inpainting_continues_what_is_around() -> None:
    ramp = torch.linspace(0.2, 0.8, 32).expand(1, 3, 32, 32).contiguous()
    mask = covered(torch.tensor([[[10, 10, 8, 8]]]), (32, 32))
    torch.testing.assert_close(inpainted(ramp, mask), ramp, atol=0.08, rtol=0)
    plain = torch.full((1, 3, 32, 32), 100 / 255)
    torch.testing.assert_close(inpainted(plain, mask), plain, atol=0.01, rtol=0)
    batch = Batch(ramp, torch.zeros(1, dtype=torch.long), torch.arange(1))
    found = Midre(fill="inpaint").transform_batch(batch, 0.0, seeded()).images
    assert not torch.equal(found, ramp)
    torch.testing.assert_close(found, ramp, atol=0.3, rtol=0)


def test_inpainting_without_opencv_is_a_problem_told_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Midre(fill="inpaint").problems(FACTS) == []
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    problems = Midre(fill="inpaint").problems(FACTS)
    assert problems == ["midre with fill=inpaint needs OpenCV; pip install opencv-python-headless"]
    assert Midre(fill="inpaint").off().problems(FACTS) == Midre().problems(FACTS) == []


# --- switches, presets, stacks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"place": "fixed"},
        {"patches": 8},
        {"fill": "inpaint"},
        {"fill": "random"},
        {"sampler": "reject_joint"},
        {"ratio": 2.0},
    ],
    ids=str,
)
def test_off_touches_neither_images_nor_generator(other: dict[str, Any]) -> None:
    batch, rng = noise(4, 8), seeded()
    state = rng.get_state()
    assert Midre(**other).off().transform_batch(batch, 0.5, rng) is batch
    assert torch.equal(rng.get_state(), state)


def test_every_strength_of_the_search_is_valid() -> None:
    assert isinstance(Midre.tuning, Tuning) and Midre.tuning.larger_hides
    batch = noise(200, 32)
    shares = []
    for strength in (Midre.tuning.low, 0.4, Midre.tuning.high):
        defense = DEFENSES.make("midre", Midre.tuning.params(strength))
        assert isinstance(defense, Midre)
        shares.append(float(erased_by(defense, batch).double().mean()))
    assert shares == pytest.approx([0.1, 0.25, 0.45], abs=0.03)


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("facescrub-resnet18-fixed-area-0.2", Midre(area_low=0.2, area_high=0.2, fill_space="normalised")),
        (
            "facescrub-resnet18-fixed-place-0.2",
            Midre(area_low=0.2, area_high=0.2, fill_space="normalised", place="fixed"),
        ),
        ("facescrub-224-8-patches", Midre(patches=8, fill_space="normalised")),
        ("facescrub-224-strong", Midre(area_high=0.8, fill_space="normalised")),
        ("celeba-vgg16-ratio-2", Midre(ratio=2.0)),
        ("celeba-vgg16-inpaint", Midre(fill="inpaint")),
    ],
)
def test_published_settings(preset: str, expected: Midre) -> None:
    assert DEFENSES.remake(DEFENSES.choose(f"midre:{preset}")) == expected


def test_a_stack_erases_as_it_does_alone() -> None:
    stack = remake_defense(choose_defense("midre(place=fixed,patches=4)+nls"))
    alone = Midre(place="fixed", patches=4)
    batch = noise(6, 20)
    for progress in (0.0, 0.9):
        found = stack.transform_batch(batch, progress, seeded())
        assert torch.equal(found.images, alone.transform_batch(batch, progress, seeded()).images)


@pytest.mark.parametrize(("low", "high"), [(0.5, 0.4), (-0.1, 0.4), (0.1, 1.0), (float("nan"), 0.4)])
def test_an_impossible_range_is_refused(low: float, high: float) -> None:
    with pytest.raises(SpecError, match=r"defense 'midre'.*(needs 0 <= area_low <= area_high < 1|finite)"):
        DEFENSES.make("midre", {"area_low": low, "area_high": high})


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"patches": 0}, "needs patches >= 1 and ratio > 0, got 0 and 1.0"),
        ({"ratio": 0.0}, "needs patches >= 1 and ratio > 0, got 1 and 0.0"),
        ({"ratio": 2.0, "area_high": 0.5}, "ratio 2 and 0.5 of the area is longer than the image; lower area_high"),
        ({"ratio": 0.25, "area_high": 0.4}, "ratio 0.25 and 0.4 of the area is longer than the image"),
    ],
)
def test_an_impossible_patch_is_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        DEFENSES.make("midre", params)
