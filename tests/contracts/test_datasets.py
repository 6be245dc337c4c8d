"""The same questions to every dataset; images are asked for where no real files are needed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from midef.core import Choice, DataError, SpecError
from midef.datasets import DATASETS, Dataset, Images, Splits

NAMES = DATASETS.names()
every_dataset = pytest.mark.parametrize("name", NAMES)
PX = 16
Make = Callable[..., Dataset]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three identities with 5, 6 and 7 images."""
    folder = tmp_path_factory.mktemp("tree")
    rng = np.random.default_rng(0)
    for identity, count in {"ada": 5, "bob": 6, "cyd": 7}.items():
        (folder / identity).mkdir()
        for i in range(count):
            Image.fromarray(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(folder / identity / f"{i}.png")
    return folder


@pytest.fixture(params=["synthetic private", "synthetic public", "folder labelled", "folder unlabelled"])
def make(request: pytest.FixtureRequest, tree: Path) -> Make:
    """Builds one dataset, each time anew; `overrides` change its parameters."""
    source, kind = request.param.split()
    given: dict[str, Any]
    if source == "synthetic":
        given = {"population": kind, "identities": 4, "train_images": 3, "select_images": 1, "report_images": 2}
        return lambda **overrides: DATASETS.make("synthetic_faces", {**given, **overrides})
    given = {"path": str(tree), "labelled": kind == "labelled", "min_images": 3}
    return lambda **overrides: DATASETS.make("image_folder", {**given, **overrides})


def content(part: Images) -> list[bytes]:
    return [image.numpy().tobytes() for image in part.images]


def same(a: Splits, b: Splits) -> bool:
    return a.class_names == b.class_names and all(
        torch.equal(part.images, b.parts[name].images) and torch.equal(part.labels, b.parts[name].labels)
        for name, part in a.parts.items()
    )


# ---------------------------------------------------------------- what a dataset says about itself


def needed(name: str) -> dict[str, Any]:
    """Values for the fields without a default (they say where files lie)."""
    return {
        f.name: "nowhere"
        for f in fields(DATASETS.get(name))  # type: ignore[arg-type]
        if f.default is MISSING and f.default_factory is MISSING
    }


@every_dataset
def test_only_fields_that_say_where_files_lie_have_no_default(name: str) -> None:
    without_default = set(needed(name))
    location = {f.name for f in fields(DATASETS.get(name)) if f.metadata.get("location")}  # type: ignore[arg-type]
    assert without_default <= location
    assert DATASETS.make(name, needed(name)) == DATASETS.make(name, needed(name))


@every_dataset
def test_refuses_an_unknown_field_by_name(name: str) -> None:
    with pytest.raises(SpecError, match=f"dataset '{name}' has no parameter 'no_such_field'"):
        DATASETS.make(name, {**needed(name), "no_such_field": 1})


@every_dataset
def test_a_choice_comes_back(name: str) -> None:
    choice = DATASETS.choose({"name": name, **needed(name)})
    assert Choice.from_plain(json.loads(choice.keyed_json)) == choice
    assert DATASETS.remake(choice) == DATASETS.make(name, needed(name))


@every_dataset
def test_names_its_source_and_documents_its_parameters(name: str) -> None:
    cls = DATASETS.get(name)
    doc = "".join(base.__doc__ or "" for base in cls.__mro__ if base.__module__.startswith("midef.datasets"))
    missing = [f.name for f in fields(cls) if f.name not in doc]  # type: ignore[arg-type]
    assert not missing, f"{name} does not say what {missing} mean"


@every_dataset
def test_missing_files_are_a_problem_said_early(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    dataset = DATASETS.make(name, needed(name))
    if not needed(name) and not dataset.problems():
        assert dataset.fingerprint() == "", "a dataset without files has nothing to hash"
        return
    assert dataset.problems() and all(name.split("_")[0] in problem for problem in dataset.problems())
    with pytest.raises(DataError):
        dataset.load(PX)


# ---------------------------------------------------------------- what it gives


def test_three_splits_share_no_image_and_none_is_empty(make: Make) -> None:
    splits = make().load(PX)
    parts = {name: content(part) for name, part in splits.parts.items()}
    everything = [image for part in parts.values() for image in part]
    assert set(parts) == {"train", "select", "report"} and all(parts.values())
    assert len(set(everything)) == len(everything)


def test_images_are_eight_bit_colour_of_the_size_asked_for(make: Make) -> None:
    for px in (PX, 24):
        for part in make().load(px).parts.values():
            assert part.images.shape == (len(part), 3, px, px) and part.images.dtype == torch.uint8
            assert part.labels.dtype == torch.int64
            assert part.images.float().std() > 10, "they show something"


def test_labels_are_the_positions_of_the_class_names_or_minus_one(make: Make) -> None:
    dataset = make()
    splits = dataset.load(PX)
    assert dataset.n_identities() == len(splits.class_names)
    for part in splits.parts.values():
        wanted = set(range(len(splits.class_names))) if dataset.is_labelled else {-1}
        assert set(part.labels.tolist()) == wanted
    assert bool(splits.class_names) == dataset.is_labelled


def test_loading_twice_gives_the_same_whatever_the_global_generators_say(make: Make) -> None:
    first = make().load(PX)
    torch.manual_seed(123)
    np.random.seed(123)
    assert same(first, make().load(PX))


def test_another_seed_gives_other_splits(make: Make) -> None:
    assert not same(make().load(PX), make(seed=1).load(PX))


def test_the_fingerprint_is_stable(make: Make) -> None:
    assert make().fingerprint() == make().fingerprint() == make().card().fingerprint
    assert make().problems() == []


def test_the_card_says_what_a_reader_must_know(make: Make) -> None:
    card, splits = make().card(), make().load(PX)
    assert card.title and card.licence and card.consent
    counts = dict(card.counts)
    assert all(isinstance(count, int) for count in counts.values())
    images = counts.get("images", sum(counts.get(name, 0) for name in splits.parts))
    assert images == sum(len(part) for part in splits.parts.values())
    if splits.class_names:
        assert counts["identities"] == len(splits.class_names)


# ---------------------------------------------------------------- files that change, people that are shared


def test_the_fingerprint_follows_the_content_and_not_the_place(tree: Path, tmp_path: Path) -> None:
    import shutil

    moved = tmp_path / "elsewhere"
    shutil.copytree(tree, moved)

    def fingerprint() -> str:
        return DATASETS.make("image_folder", {"path": str(moved), "min_images": 3}).fingerprint()

    assert fingerprint() == DATASETS.make("image_folder", {"path": str(tree), "min_images": 3}).fingerprint()
    before = fingerprint()
    Image.new("RGB", (20, 20)).save(moved / "ada" / "0.png")
    assert fingerprint() != before


def test_private_and_public_synthetic_people_are_other_people() -> None:
    small = {"identities": 6, "train_images": 2, "select_images": 1, "report_images": 1}
    private = DATASETS.make("synthetic_faces", {**small, "population": "private"})
    public = DATASETS.make("synthetic_faces", {**small, "population": "public"})
    mine, theirs = private.traits(), public.traits()  # type: ignore[attr-defined]
    assert np.abs(mine[:, None] - theirs[None]).max(axis=2).min() > 1e-3
    together = [set().union(*(content(part) for part in d.load(PX).parts.values())) for d in (private, public)]
    assert not together[0] & together[1]


def test_the_first_identities_are_the_same_whatever_their_number() -> None:
    def load(identities: int) -> Splits:
        given = {"identities": identities, "train_images": 2, "select_images": 1, "report_images": 1}
        return DATASETS.make("synthetic_faces", given).load(PX)

    few, many = load(3), load(5)
    for name, part in few.parts.items():
        assert torch.equal(part.images, many.parts[name].images[: len(part)])
