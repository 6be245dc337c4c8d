"""How many images a plan counts for sets that are not here: the published ones, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from midef.datasets import DATASETS


@pytest.mark.parametrize(
    ("written", "sizes"),
    [
        ({"name": "celeba"}, (24_316, 2_702, 3_009)),
        ({"name": "celeba", "identities": 500}, (12_158, 1_351, 1_504)),
        ({"name": "celeba", "preset": "vmi-private"}, (22_500, 2_500, 5_038)),
        ({"name": "celeba", "preset": "ppa"}, (24_331, 2_703, 3_004)),
        ({"name": "celeba", "preset": "papers-public"}, (30_000, 0, 0)),
        ({"name": "celeba", "preset": "vmi-public"}, (172_561, 0, 0)),
        ({"name": "facescrub", "preset": "ppa"}, (30_681, 3_409, 3_788)),
        ({"name": "facescrub", "preset": "public"}, (43_683, 0, 0)),
        ({"name": "facescrub", "preset": "lpa-public"}, (7_146, 0, 0)),
        ({"name": "facescrub", "preset": "lpa-private"}, (5_002, 715, 1_429)),
        ({"name": "stanford_dogs"}, (16_670, 1_852, 2_058)),
        ({"name": "stanford_dogs", "select_fraction": 0.2}, (14_818, 3_704, 2_058)),
        ({"name": "stanford_cars"}, (7_330, 814, 8_041)),
        ({"name": "imagenette"}, (8_522, 947, 3_925)),
        ({"name": "vggface2"}, (2_199_323, 314_189, 628_378)),
        ({"name": "vggface2", "identities": 863}, (219_907, 31_415, 62_830)),
        ({"name": "ffhq"}, (70_000, 0, 0)),
        ({"name": "metfaces"}, (1_336, 0, 0)),
        ({"name": "afhq_dogs", "max_images": 1000}, (1_000, 0, 0)),
    ],
    ids=str,
)
def test_the_published_images_are_counted(written: dict[str, Any], sizes: tuple[int, int, int]) -> None:
    place = "path" if "path" in DATASETS.get(written["name"]).__dataclass_fields__ else "root"  # type: ignore[attr-defined]
    choice = DATASETS.choose({**written, place: "nowhere"})
    counts = DATASETS.make(choice.name, choice.params).published_sizes()
    assert tuple(counts.get(split, 0) for split in ("train", "select", "report")) == sizes
