from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from midef.core import SpecError
from midef.datasets import DATASETS, Splits
from midef.datasets.faces.ranges import IDENTITY
from midef.datasets.synthetic_faces import SyntheticFaces

SMALL: dict[str, Any] = {"identities": 8, "train_images": 4, "select_images": 1, "report_images": 2}


def faces(resolution_px: int = 32, **params: Any) -> Splits:
    return DATASETS.make("synthetic_faces", {**SMALL, **params}).load(resolution_px)


def as_set(images: Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in images}


def test_the_same_parameters_give_the_same_images() -> None:
    first, again = faces(), faces()
    for name, part in first.parts.items():
        assert torch.equal(part.images, again.parts[name].images)
        assert torch.equal(part.labels, again.parts[name].labels)
    assert not torch.equal(first.train.images, faces(seed=1).train.images)


def test_an_identity_is_the_same_whatever_their_number() -> None:
    few, many = faces(), faces(identities=13)
    for name, part in few.parts.items():
        assert torch.equal(many.parts[name].images[: len(part)], part.images)


def test_an_identity_keeps_its_traits_whatever_the_number_of_images() -> None:
    first, second = SyntheticFaces(identities=5), SyntheticFaces(identities=9, train_images=3)
    assert np.array_equal(first.traits(), second.traits()[:5])


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = faces().train.images
    monkeypatch.setattr("midef.datasets.synthetic_faces._CHUNK", 5)
    difference = (faces().train.images.int() - whole.int()).abs()
    assert difference.max() <= 1 and difference.float().mean() < 1e-3  # vectorised exp may round differently


def test_private_and_public_people_are_others() -> None:
    private, public = (SyntheticFaces(population=p, identities=300).traits() for p in ("private", "public"))
    low, high = np.array(list(IDENTITY.values())).T
    scaled = [(traits - low) / (high - low) for traits in (private, public)]
    for traits in scaled:
        assert traits.min() >= 0 and traits.max() <= 1 and traits.shape == (300, 24)
    distances = np.abs(scaled[0][:, None] - scaled[1][None]).max(axis=2)
    assert distances.min() > 0.2, "a public person resembles a private one in every trait"
    assert not as_set(faces().train.images) & as_set(faces(population="public").train.images)


def test_public_images_have_no_labels() -> None:
    public = faces(population="public")
    assert all((part.labels == -1).all() for part in public.parts.values())
    assert public.class_names == ()
    dataset = DATASETS.make("synthetic_faces", {**SMALL, "population": "public"})
    assert not dataset.is_labelled and dataset.n_identities() == 0


def test_labels_and_counts() -> None:
    private = faces()
    for part, count in ((private.train, 4), (private.select, 1), (private.report, 2)):
        assert torch.equal(part.labels, torch.arange(8).repeat_interleave(count))
    assert private.class_names[:2] == ("person 0000", "person 0001") and len(private.class_names) == 8


def test_no_image_is_in_two_splits() -> None:
    sets = [as_set(part.images) for part in faces().parts.values()]
    assert [len(s) for s in sets] == [32, 8, 16]
    assert len(set.union(*sets)) == 56


@pytest.mark.parametrize("resolution_px", [24, 32, 64, 45])
def test_any_resolution_shows_the_same_faces(resolution_px: int) -> None:
    images = faces(resolution_px, difficulty=0.5).train.images
    assert images.shape == (32, 3, resolution_px, resolution_px) and images.dtype == torch.uint8
    reference = faces(96, difficulty=0.5).train.images.float()
    small = [torch.nn.functional.interpolate(x, (8, 8), mode="area") for x in (images.float(), reference)]
    assert (small[0] - small[1]).abs().mean() < 6
    assert (small[0] - small[1].roll(1, dims=0)).abs().mean() > 12


@pytest.mark.parametrize("difficulty", [0.0, 1.0, 3.0])
def test_pixels_use_the_range_and_nothing_is_broken(difficulty: float) -> None:
    images = faces(difficulty=difficulty, identities=30).train.images
    assert images.min() < 60 and images.max() > 190
    darkest_corner = images[:, :, [0, 0, -1, -1], [0, -1, 0, -1]].amax(dim=1).float()
    share_black = float((darkest_corner == 0).float().mean())
    assert difficulty > 1 or share_black < 0.01, "not-a-number becomes black"  # strong light may darken a corner
    assert (images.float().flatten(1).std(dim=1) > 10).all(), "a blank image"


def test_nothing_is_not_a_number_before_it_becomes_8_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    from midef.datasets import synthetic_faces

    seen: list[Tensor] = []
    render = synthetic_faces.render

    def spied(face: dict[str, Tensor], resolution_px: int) -> Tensor:
        seen.append(render(face, resolution_px))
        return seen[-1]

    monkeypatch.setattr(synthetic_faces, "render", spied)
    faces(difficulty=2.0, identities=30)
    assert seen and all(torch.isfinite(image).all() for image in seen)


def test_difficulty_zero_leaves_only_colour_to_vary() -> None:
    easy = SyntheticFaces(**SMALL, difficulty=0.0)
    drawn = easy._nuisance(0, "train", 4, 16)
    for name, values in drawn.items():
        if values.ndim == 1:
            assert (values == 0).all(), f"{name} varies"
    same_colours = {name: np.repeat(values[:1], 4, axis=0) for name, values in drawn.items() if name != "noise"}
    from midef.datasets.faces.drawing import render

    traits = dict(zip(IDENTITY, easy.traits()[:1].repeat(4, axis=0).T, strict=True))
    face = {k: torch.from_numpy(np.asarray(v, dtype=np.float32)) for k, v in (traits | same_colours).items()}
    images = render(face, 32)
    assert torch.equal(images, images[:1].expand(4, -1, -1, -1))
    varied = SyntheticFaces(**SMALL, difficulty=1.0)._nuisance(0, "train", 4, 16)
    assert all(values.std() > 0 for values in varied.values())


def nearest_mean(train: Tensor, labels: Tensor, asked: Tensor, answers: Tensor) -> float:
    """Accuracy, in percent, of choosing the identity with the nearest mean."""
    means = torch.stack([train[labels == k].mean(dim=0) for k in range(int(labels.max()) + 1)])
    return 100 * float((torch.cdist(asked, means).argmin(dim=1) == answers).float().mean())


def test_colour_does_not_give_the_identity_away_but_geometry_does() -> None:
    """Forty people: blind guessing is right in 2.5 % of the cases."""
    split = faces(identities=40, train_images=12, report_images=10)
    seen, asked = split.train.images.float() / 255, split.report.images.float() / 255
    colour = nearest_mean(seen.mean(dim=(2, 3)), split.train.labels, asked.mean(dim=(2, 3)), split.report.labels)
    assert colour < 9, f"a mean colour names {colour:.1f} % of the people"

    def outline(images: Tensor) -> Tensor:
        """Where grey values change, whatever the colours."""
        grey = torch.nn.functional.avg_pool2d(images.mean(dim=1, keepdim=True), 2)
        edges = (grey[..., 1:, :-1] - grey[..., :-1, :-1]).abs() + (grey[..., :-1, 1:] - grey[..., :-1, :-1]).abs()
        return torch.nn.functional.normalize(edges.flatten(1))

    geometry = nearest_mean(outline(seen), split.train.labels, outline(asked), split.report.labels)
    assert geometry > 3 * max(colour, 2.5), f"outlines name only {geometry:.1f} %"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"identities": 1}, "needs at least 2 identities, got 1"),
        ({"report_images": 0}, "at least 1 image per identity in each of train, select and report"),
        ({"difficulty": -0.5}, "needs difficulty >= 0, got -0.5"),
        ({"population": "publik"}, "'private' or 'public'"),
    ],
    ids=["one identity", "no report", "negative difficulty", "population"],
)
def test_impossible_values_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        DATASETS.make("synthetic_faces", params)


def test_the_card_says_what_it_is() -> None:
    card = DATASETS.make("synthetic_faces", SMALL).card()
    assert card.counts == {"identities": 8, "images": 56}
    assert "nobody is depicted" in card.consent and card.licence and card.fingerprint == ""
