"""`midef init`: what it proposes for a folder validates and plans; what cannot work is refused, with no file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from midef.sweep.catalogue import read_spec
from midef.sweep.cli import init

Midef = Callable[..., tuple[int, str, str]]
Tree = Callable[..., Path]


@pytest.fixture(autouse=True)
def few_public(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small trees of 8 px images do."""
    monkeypatch.setattr(init, "FEWEST_PUBLIC", 4)


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """Five people with 6 to 10 images of 40 x 48 px, and one with too few."""
    return tree(tmp_path / "my people", {"ann": 10, "bob": 8, "cem": 7, "dee": 6, "eve": 6, "few": 3}, (40, 48))


def tree(root: Path, counts: dict[str, int], size: tuple[int, int], seed: int = 0) -> Path:
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(seed)
    for identity, count in counts.items():
        (root / identity).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / identity / f"{i}.png")
    return root


def test_what_is_written_validates_and_plans(midef: Midef, people: Path) -> None:
    strangers = tree(people.parent / "strangers", {"all": 5}, (40, 40), seed=1)
    code, out, err = midef("init", people, "--public", strangers, "--out", "my sweep.yaml")
    assert (code, err) == (0, "")
    assert out.startswith("6 people, 5 of them with at least 6 images, 37 images in all\nshorter side 40 px")
    assert out.endswith("written: my sweep.yaml\nnext: midef plan 'my sweep.yaml'\n")
    spec = read_spec("my sweep.yaml")
    setup = spec.setups[0]
    assert isinstance(setup.private, dict) and setup.private["path"] == str(people)
    assert setup.protocol.identities == 5 and setup.resolution_px == 32 and setup.private["min_images"] == 6
    comments = [line for line in Path("my sweep.yaml").read_text().splitlines() if "#" in line]
    assert len(comments) > 12, "every line that is to be changed says what it means"
    code, out, _ = midef("validate", "my sweep.yaml")
    assert code == 0 and out.startswith("config ok: 2 setups × 3 defenses × 3 seeds = 18 runs")
    assert "images_per_identity" not in out, "what is proposed needs no advice"
    code, out, _ = midef("plan", "my sweep.yaml", "--store", "store")
    assert code == 0 and "18 to do" in out
    assert "Next: midef plan 'my sweep.yaml'" in Path("my sweep.yaml").read_text()


def test_file_and_images_may_be_moved_together(midef: Midef, people: Path, tmp_path: Path) -> None:
    assert midef("init", people, "--out", "mine.yaml")[0] == 0
    assert 'path: "my people"' in Path("mine.yaml").read_text()
    assert midef("init", people, "--out", "below/mine.yaml")[0] == 0
    assert f'path: "{people}"' in Path("below/mine.yaml").read_text(), "beside the images, not above them"


def test_without_public_images_it_says_what_stands_in(midef: Midef, people: Path) -> None:
    assert midef("init", people)[0] == 0
    assert "# public: {name: image_folder" in Path("mine.yaml").read_text() and read_spec("mine.yaml").name == "mine"


@pytest.mark.parametrize(
    ("counts", "size", "said"),
    [
        ({"ann": 8, "bob": 8, "cem": 8, "dee": 5}, (40, 40), "3 of 4 people have 6 images or more, at least 4 needed"),
        ({f"p{i}": 6 for i in range(5)}, (12, 40), "half of the images are below 16 px"),
        ({"ann": 9}, (40, 40), "1 identity folder in "),
    ],
    ids=["few images", "small images", "one person"],
)
def test_3_for_what_cannot_work(
    midef: Midef, tmp_path: Path, counts: dict[str, int], size: tuple[int, int], said: str
) -> None:
    code, out, err = midef("init", tree(tmp_path / "faces", counts, size))
    assert (code, out) == (3, "") and said in err and not Path("mine.yaml").exists()


def test_private_images_among_the_public_ones_and_broken_ones_are_refused(midef: Midef, people: Path) -> None:
    code, _, err = midef("init", people, "--public", people)
    assert code == 2 and "are both private and public" in err and not Path("mine.yaml").exists()
    (people / "ann" / "0.png").write_bytes(b"no image")
    code, _, err = midef("init", people)
    assert code == 3 and "ann/0.png" in err and not Path("mine.yaml").exists()


def test_wrong_places(midef: Midef, people: Path) -> None:
    code, _, err = midef("init", "nowhere")
    assert code == 3 and "nowhere: no such folder or archive" in err
    assert "a specification ends in .yaml" in midef("init", people, "--out", "mine.txt")[2]
    Path("mine.yaml").write_text("mine: true\n")
    code, _, err = midef("init", people)
    assert code == 2 and "mine.yaml is there already" in err and Path("mine.yaml").read_text() == "mine: true\n"
