"""Rows, verdict and figure of features whose overlaps are known; and the images they are of."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from midef.analysis.feature_space import FeatureSpace, findings_of, grouped
from midef.analysis.plane.spaces import Model, under
from midef.core import SpecError
from midef.datasets import Images
from midef.defenses.midre import IMAGENET_MEAN, Midre

CORNERS = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]], dtype=torch.float64)


def square(right: float) -> Tensor:
    return CORNERS + torch.tensor([right, 0.0], dtype=torch.float64)


def model(label: str, area: float, *, erased: float, reconstructed: tuple[float, ...]) -> Model:
    """Unit squares: the erased features and the reconstructions of each identity are moved to the right."""
    features = {
        i: {"private": square(0), "control": square(0), "erased": square(erased), "reconstructed": square(moved)}
        for i, moved in enumerate(reconstructed)
    }
    return under(label, area, features, CORNERS, torch.arange(4) % 2)


def overlap(shift: float) -> float:
    """Of a unit square and itself, moved along a side."""
    shared = max(0.0, 1 - abs(shift))
    return shared / (2 - shared)


PLAIN = model("none", 0.0, erased=0.3, reconstructed=(0.1, 0.15, 0.2))
FOLLOWS = model("midre", 0.4, erased=0.5, reconstructed=(0.5, 0.5, 0.6))


def test_a_row_is_an_identity_under_a_model() -> None:
    found = findings_of([PLAIN, FOLLOWS], "here")
    assert [(row["defense"], row["identity"]) for row in found.rows] == [
        *(("none", i) for i in range(3)),
        *(("midre", i) for i in range(3)),
    ]
    last = found.rows[-1]
    assert (last["images"], last["private_control"]) == (4, pytest.approx(1.0))
    assert last["private_reconstructed"] == pytest.approx(overlap(0.6))
    assert last["erased_reconstructed"] == pytest.approx(overlap(0.1))
    assert last["private_erased"] == pytest.approx(overlap(0.5))


def test_the_verdict_is_reproduced_where_reconstructions_follow_the_erased_features() -> None:
    said = findings_of([PLAIN, FOLLOWS], "here").verdict
    before = (overlap(0.1) + overlap(0.15) + overlap(0.2)) / 3
    after = (2 * overlap(0.5) + overlap(0.6)) / 3
    with_erased = (2 * overlap(0.0) + overlap(0.1)) / 3
    assert said.startswith("reproduced: ")
    assert f"private features by {before:.2f}, where two halves of the private images overlap by 1.00" in said
    assert f"(half of that less: {before - 0.5:+.2f} [" in said
    assert f"under midre by {after:.2f}, {before - after:+.2f} [" in said
    assert f"erased features {with_erased - after:+.2f} [" in said and "95 % over 3 identities" in said


def test_the_verdict_is_another_where_reconstructions_cover_little_without_a_defense() -> None:
    far = model("none", 0.0, erased=0.3, reconstructed=(0.7, 0.75, 0.8))
    follows = model("midre", 0.4, erased=0.9, reconstructed=(0.9, 0.9, 0.95))
    assert findings_of([far, follows], "here").verdict.startswith("not reproduced: ")


@pytest.mark.parametrize(
    ("erased", "reconstructed", "word"),
    [
        (0.5, (0.0, 0.0, 0.0), "not reproduced"),  # they keep covering private features
        (0.5, (0.1, 0.9, 0.1), "not decidable at this size"),  # one of three follows
        (-0.5, (0.6, 0.6, 0.7), "not reproduced"),  # they leave private features, away from the erased ones
    ],
    ids=["stays", "one of three", "elsewhere"],
)
def test_the_verdict_is_another_where_they_do_not(erased: float, reconstructed: tuple[float, ...], word: str) -> None:
    other = model("midre", 0.4, erased=erased, reconstructed=reconstructed)
    assert findings_of([PLAIN, other], "here").verdict.startswith(f"{word}: ")


def test_the_verdict_is_about_the_largest_area_and_the_figure_about_all() -> None:
    weaker = model("weak", 0.1, erased=0.1, reconstructed=(0.1, 0.1, 0.1))
    found = findings_of([PLAIN, FOLLOWS, weaker], "here")
    assert "under midre" in found.verdict and "weak" not in found.verdict
    # identities lose 0.48, 0.41 and 0.42: the one in the middle is drawn
    first, second, neighbours, overlaps = found.drawing.panels
    assert [panel.title for panel in (first, second)] == ["identity 2, none", "identity 2, midre"]
    assert [(series.name, series.kind, len(series.x)) for series in first.series] == [
        (name, kind, count)
        for name in ("private", "erased", "reconstructed")
        for kind, count in (("points", 4), ("line", 5))  # an outline is closed
    ]
    assert len(neighbours.series) == 12
    line = overlaps.series[0]
    assert (line.name, list(line.x)) == ("private - reconstructed", [0.0, 0.1, 0.4])
    assert line.y == pytest.approx(
        [(overlap(0.1) + overlap(0.15) + overlap(0.2)) / 3, overlap(0.1), (2 * overlap(0.5) + overlap(0.6)) / 3]
    )


def test_the_sets_of_an_identity_are_as_large_as_its_reconstructions_and_share_no_image() -> None:
    images = torch.arange(24, dtype=torch.uint8)[:, None, None, None].expand(24, 3, 10, 10).contiguous()
    train = Images(images, torch.arange(24) % 2)
    erasing = Midre(area_low=0.36, area_high=0.36)  # a square of 6 of 10 px
    sets = grouped(train, images[:5], 1, erasing)
    assert {name: len(members) for name, members in sets.items()} == dict.fromkeys(sets, 5)
    shown = {name: set(sets[name][:, 0, 0, 0].tolist()) for name in ("private", "control")}
    assert shown == {"private": {1, 5, 9, 13, 17}, "control": {3, 7, 11, 15, 19}}
    changed = (sets["erased"] != sets["private"]).any(dim=1)
    assert changed.sum(dim=(1, 2)).tolist() == [36] * 5
    colours = sets["erased"].permute(0, 2, 3, 1)[changed]
    assert (colours == torch.tensor([round(255 * value) for value in IMAGENET_MEAN])).all()


def test_too_few_images_are_refused_with_what_to_do() -> None:
    images = torch.zeros(8, 3, 4, 4, dtype=torch.uint8)
    train = Images(images, torch.zeros(8, dtype=torch.long))
    with pytest.raises(SpecError, match="3 reconstructions and 6 private images of each identity, got 2 and 8 of"):
        grouped(train, images[:2], 0, Midre())


@pytest.mark.parametrize(
    "wrong", [{"identities": 1}, {"images": 2}, {"erased_area": 0.0}, {"erased_area": 1.0}], ids=str
)
def test_parameters_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"needs .*, got "):
        FeatureSpace(**wrong)  # type: ignore[arg-type]
