"""celeba: who is private, which images are public, what is cut out, and the published lists."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from midef.core.errors import DataError, SpecError
from midef.datasets import DATASETS
from midef.datasets.celeba import Celeba, private_identities, public_images
from midef.datasets.files.arrangement import Arrangement

Tree = Callable[..., Path]
Lists = dict[str, str]
PUBLISHED = {30: 991, 31: 4, 34: 2, 35: 3}  # images: identities, among the 1,000 private ones


def coordinates(size: tuple[int, int] = (178, 218)) -> Image.Image:
    """Red is x, green is y."""
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    return Image.fromarray(np.stack([x % 256, y % 256, 0 * x], axis=2).astype(np.uint8))


def write_identities(root: Path, people: Mapping[int, int], seed: int = 0) -> dict[int, list[str]]:
    """identity_CelebA.txt of these identities, in random order over the numbered files.

    Returns the numbers of each identity's files, ascending.
    """
    shown = np.random.default_rng(seed).permutation(np.repeat(list(people), list(people.values())))
    own: dict[int, list[str]] = {identity: [] for identity in people}
    for i, identity in enumerate(shown.tolist(), 1):
        own[identity].append(f"{i:06d}")
    root.mkdir(parents=True, exist_ok=True)
    lines = (f"{i:06d}.jpg {identity}\n" for i, identity in enumerate(shown.tolist(), 1))
    (root / "identity_CelebA.txt").write_text("".join(lines))
    return own


def choose(dataset: Celeba) -> dict[str, list[tuple[str, int]]]:
    """Number and label of each split's images, by the annotations alone: thousands of image files are slow to make."""
    found = Arrangement()
    chosen = dataset._choose(found)
    assert found.problems == []
    return chosen


def counts(chosen: Mapping[str, list[tuple[str, int]]]) -> dict[str, int]:
    return {split: len(part) for split, part in chosen.items()}


def all_numbers(chosen: Mapping[str, list[tuple[str, int]]]) -> set[str]:
    return {number for part in chosen.values() for number, _ in part}


SMALL = {3: 30, 7: 29, 8: 31, 20: 30, 1001: 5, 1002: 29, 1003: 30, 1004: 2}


@pytest.fixture
def own(tmp_path: Path) -> dict[int, list[str]]:
    """Eight people (`SMALL`) and their images, all different, in img_align_celeba/."""
    own = write_identities(tmp_path, SMALL)
    rng = np.random.default_rng(0)
    (tmp_path / "img_align_celeba").mkdir()
    for number in (n for images in own.values() for n in images):
        tint = Image.new("RGB", (178, 218), tuple(rng.integers(0, 256, 3).tolist()))
        tint.save(tmp_path / "img_align_celeba" / f"{number}.jpg")
    return own


def numbers(dataset: Celeba) -> set[str]:
    return {member.removeprefix("celeba:") for member in dataset.members() if member.startswith("celeba:")}


# ---------------------------------------------------------------- the rule


def test_private_are_the_lowest_numbers_with_thirty_images_labels_are_ranks(
    tmp_path: Path, own: dict[int, list[str]]
) -> None:
    splits = Celeba(root=str(tmp_path), identities=3).load(16)
    assert splits.class_names == ("3", "8", "20")  # neither 7, with 29 images, nor 1003, the fourth
    counts = {name: part.labels.bincount().tolist() for name, part in splits.parts.items()}
    assert counts == {"train": [24, 24, 24], "select": [3, 3, 3], "report": [3, 4, 3]}  # 27 are not for reporting
    assert numbers(Celeba(root=str(tmp_path), identities=2)) == {*own[3], *own[8]}


def test_public_are_numbers_above_a_thousand_with_fewer_than_thirty_images(
    tmp_path: Path, own: dict[int, list[str]]
) -> None:
    dataset = Celeba(root=str(tmp_path), role="public", public_images=36)
    assert numbers(dataset) == {*own[1001], *own[1002], *own[1004]}
    splits = dataset.load(16)
    assert [len(part) for part in splits.parts.values()] == [28, 4, 4]
    assert all((part.labels == -1).all() for part in splits.parts.values())
    assert splits.class_names == () and dataset.n_identities() == 0 and not dataset.is_labelled


def test_fewer_public_images_are_drawn_by_the_seed(tmp_path: Path, own: dict[int, list[str]]) -> None:
    drawn = [numbers(Celeba(root=str(tmp_path), role="public", public_images=20, seed=seed)) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2] and len(drawn[0]) == len(drawn[2]) == 20


def test_images_carry_the_label_of_their_identity(tmp_path: Path, own: dict[int, list[str]]) -> None:
    splits = Celeba(root=str(tmp_path), identities=3).load(8)
    colours = {
        label: {np.asarray(Image.open(tmp_path / "img_align_celeba" / f"{n}.jpg"))[0, 0].tobytes() for n in own[who]}
        for label, who in enumerate((3, 8, 20))
    }
    for part in splits.parts.values():
        for image, label in zip(part.images, part.labels.tolist(), strict=True):
            assert image[:, 0, 0].numpy().tobytes() in colours[label]


def test_reported_images_follow_the_seed_and_never_train(tmp_path: Path, own: dict[int, list[str]]) -> None:
    def reported(**params: Any) -> tuple[set[bytes], set[bytes]]:
        parts = Celeba(root=str(tmp_path), identities=3, **params).load(8).parts
        found = {name: {image.numpy().tobytes() for image in part.images} for name, part in parts.items()}
        assert sum(map(len, found.values())) == len(set.union(*found.values())) == 91  # all there, none twice
        return found["report"], found["select"]

    assert reported() == reported()
    assert reported()[0] != reported(seed=1)[0]
    assert reported()[0] == reported(select_fraction=0.3)[0]  # what is reported depends on nothing but the seed
    assert len(reported(select_fraction=0.3)[1]) == 24


def published_histogram() -> dict[int, int]:
    """Numbers and image counts in which the first 1,000 private identities have the published histogram."""
    rng = np.random.default_rng(1)
    private = rng.permutation(np.repeat(list(PUBLISHED), list(PUBLISHED.values()))).tolist()
    people = {14 + 4 * rank: count for rank, count in enumerate(private)}  # 14 ... 4010
    people |= {12 + 4 * rank: 29 for rank in range(200)}  # too few images: 12 ... 808
    people |= {4011: 30, 4012: 35}  # rich, but too late
    return people | {5000 + i: 1 + i % 29 for i in range(2100)}  # 31,456 public images


def test_the_counts_are_the_published_ones(tmp_path: Path) -> None:
    people = published_histogram()
    own = write_identities(tmp_path, people)
    private, public = (choose(Celeba(root=str(tmp_path), role=role)) for role in ("private", "public"))
    assert counts(private) == {"train": 24_018, "select": 3_000, "report": 3_009}  # 27,018 and 3,009 in the lists
    assert counts(public) == {"train": 24_000, "select": 3_000, "report": 3_000}
    assert len(all_numbers(public)) == 30_000 and len(all_numbers(private)) == 30_027
    shows = {n: identity for identity, images in own.items() for n in images}
    for part in private.values():
        assert all(shows[n] == 14 + 4 * label for n, label in part) and {label for _, label in part} == set(range(1000))
    assert {shows[n] for n in all_numbers(public)} <= {5000 + i for i in range(2100)}


def test_the_real_annotations(real_data: Callable[[str], Path]) -> None:
    path = real_data("celeba/identity_CelebA.txt")
    shows = {line.split(".")[0]: int(line.split()[1]) for line in path.read_text().splitlines()}
    private = private_identities(shows, "papers")
    assert (len(private), private[:4], private[-1]) == (1000, [14, 15, 17, 21], 4566)
    count = Counter(shows.values())
    assert Counter(count[identity] for identity in private) == PUBLISHED
    assert len(public_images(shows, "papers")) == 114_179
    assert len(public_images(shows, "vmi")) == 172_561
    assert Counter(count[i] for i in private_identities(shows, "vmi")) == {30: 983, 31: 9, 32: 3, 34: 2, 35: 3}


# ---------------------------------------------------------------- vmi


def test_vmi_trains_on_the_first_25_labels_count_upwards_from_the_fewest_images(
    tmp_path: Path, own: dict[int, list[str]]
) -> None:
    ascending = [1004, 1001, 7, 1002, 3, 20, 1003, 8]  # 2, 5, 29, 29, 30, 30, 30, 31 images
    shows = {n: identity for identity, images in own.items() for n in images}
    assert private_identities(shows, "vmi") == ascending
    (problem,) = Celeba(root=str(tmp_path), split="vmi", identities=8).problems()
    assert "too few images to train on and to report, 2 and 1 of each identity needed: 1004 (2 and 0)" in problem
    own = write_identities(tmp_path, {3: 27, 4: 26})  # over the images there are
    dataset = Celeba(root=str(tmp_path), split="vmi", identities=2)
    chosen = choose(dataset)
    assert chosen["report"] == [(own[4][25], 0), (own[3][25], 1), (own[3][26], 1)]
    assert sorted(chosen["train"] + chosen["select"]) == sorted(
        (n, label) for label, who in enumerate((4, 3)) for n in own[who][:25]
    )
    assert len(chosen["select"]) == 6  # 3 of 25


def test_vmi_public_is_everything_else(tmp_path: Path) -> None:
    people = {**dict.fromkeys(range(1, 1001), 26), 2000: 30, 2001: 3}
    own = write_identities(tmp_path, people)
    public = Celeba(root=str(tmp_path), role="public", split="vmi")
    assert numbers(public) == {*own[1], *own[2001]}  # of those with 26 images, 1 has the lowest number
    assert not public.members() & Celeba(root=str(tmp_path), split="vmi").members()


# ---------------------------------------------------------------- ppa


def test_ppa_ranks_identities_by_their_images_ties_by_first_appearance(
    tmp_path: Path, own: dict[int, list[str]]
) -> None:
    shows = {n: identity for identity, images in own.items() for n in images}
    first = {identity: min(images) for identity, images in own.items()}
    slow = []
    while len(slow) < len(own):  # the most images, then the lowest number of a first image
        slow.append(max((i for i in own if i not in slow), key=lambda i: (len(own[i]), -int(first[i]))))
    assert private_identities(dict(sorted(shows.items())), "ppa") == slow
    assert slow != sorted(own, key=lambda i: (-len(own[i]), i)), "numbers decide nothing"
    splits = Celeba(root=str(tmp_path), split="ppa", crop="centred", identities=4).load(8)
    assert splits.class_names == tuple(map(str, slow[:4]))


def test_ppa_reports_a_tenth_by_the_published_permutation_of_the_positions(
    tmp_path: Path, own: dict[int, list[str]], published_order: Callable[[int], list[int]]
) -> None:
    dataset = Celeba(root=str(tmp_path), split="ppa", crop="centred", identities=4)
    label_of = {identity: label for label, identity in enumerate(map(int, dataset.load(8).class_names))}
    shows = {n: identity for identity, images in own.items() for n in images}
    positions = [n for n in sorted(shows) if shows[n] in label_of]
    order = [positions[i] for i in published_order(len(positions))]
    cut_at = int(0.9 * len(order))
    chosen = choose(dataset)
    assert chosen["report"] == sorted((n, label_of[shows[n]]) for n in order[cut_at:])
    assert sorted(chosen["train"] + chosen["select"]) == sorted((n, label_of[shows[n]]) for n in order[:cut_at])
    assert {label for _, label in chosen["select"]} == {0, 1, 2, 3}
    assert "aligned images in place of PPA's HD crops" in " ".join(dataset.examine().notes), "a deviation, said"


def test_the_identities_at_224_px_are_not_those_at_64_px(tmp_path: Path) -> None:
    own = write_identities(tmp_path, published_histogram())
    at_64, at_224 = Celeba(root=str(tmp_path)), Celeba(root=str(tmp_path), split="ppa", crop="hd")
    arrangements = [Arrangement(), Arrangement()]
    chosen = [dataset._choose(found) for dataset, found in zip((at_64, at_224), arrangements, strict=True)]
    people = [set(map(int, found.names)) for found in arrangements]
    assert [len(who) for who in people] == [1000, 1000] and people[0] != people[1]
    assert 4012 in people[1] - people[0], "35 images, but a late number"
    assert counts(chosen[1])["report"] == (len(all_numbers(chosen[1])) + 9) // 10
    assert len(all_numbers(chosen[1])) == sum(len(own[who]) for who in people[1])


def test_hd_crops_are_used_whole_and_have_a_place_and_size_of_their_own(
    tmp_path: Path, own: dict[int, list[str]]
) -> None:
    dataset = DATASETS.make("celeba", {"root": str(tmp_path), "identities": 2, **Celeba.presets["ppa"]})
    (problem,) = dataset.problems()
    assert problem.startswith(f"celeba: no such file or folder {tmp_path / 'img_hd_224'} or img_hd_224.zip, nor in")
    assert "cut the photographs with HD-CelebA-Cropper: face factor 0.65" in problem
    (tmp_path / "img_hd_224").mkdir()
    for number in (n for images in own.values() for n in images):
        coordinates((224, 224)).save(tmp_path / "img_hd_224" / f"{number}.png", compress_level=1)
    assert dataset.problems() == []
    image = dataset.load(224).train.images[0].numpy()
    assert (image[0] == np.arange(224)[None, :]).all() and (image[1] == np.arange(224)[:, None]).all()
    for path in (tmp_path / "img_hd_224").iterdir():
        Image.new("RGB", (256, 256)).save(path)
    (problem,) = dataset.problems()
    assert (
        "has 256x256 pixels, 224x224 expected; cut the photographs with HD-CelebA-Cropper: face factor 0.65" in problem
    )


# ---------------------------------------------------------------- pixels


@pytest.mark.parametrize(
    ("crop", "side", "left", "top"), [("papers", 108, 35, 55), ("yang", 108, 35, 70), ("vmi", 128, 25, 45)]
)
def test_the_crops_are_the_published_boxes(tmp_path: Path, crop: str, side: int, left: int, top: int) -> None:
    own = write_identities(tmp_path, {3: 30, 4: 30})
    (tmp_path / "img_align_celeba").mkdir()
    for number in (n for images in own.values() for n in images):
        coordinates().save(tmp_path / "img_align_celeba" / f"{number}.png", compress_level=1)

    def first(px: int, **params: Any) -> np.ndarray:
        made = DATASETS.make("celeba", {"root": str(tmp_path), "identities": 2, "crop": crop, **params})
        return made.load(px).train.images[0].numpy()

    whole = first(side)
    assert (whole[0] == left + np.arange(side)[None, :]).all()
    assert (whole[1] == top + np.arange(side)[:, None]).all()
    box = (left, top, left + side, top + side)
    expected = np.asarray(coordinates().crop(box).resize((64, 64), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert np.array_equal(first(64), expected)
    luma = np.floor((299.0 * expected[0] + 587.0 * expected[1] + 114.0 * expected[2]) / 1000 + 0.5)
    assert all(np.array_equal(channel, luma) for channel in first(64, grey=True))


# ---------------------------------------------------------------- lists


@pytest.fixture
def lists(tmp_path: Path, own: dict[int, list[str]]) -> Lists:
    """Published lists of .png names: the last three images of 3, 8 and 20 are reported; ten of 1002 are public."""
    lines: dict[str, list[str]] = {"train_list": [], "report_list": []}
    for label, who in enumerate((3, 8, 20)):
        for i, number in enumerate(reversed(own[who])):
            lines["report_list" if i < 3 else "train_list"].append(f"{number}.png {label}\n")
    lines["public_list"] = [f"{n}.png 0\n" for n in own[1002][:10]]
    for role, content in lines.items():
        (tmp_path / f"{role}.txt").write_text("".join(content))
    return {role: str(tmp_path / f"{role}.txt") for role in lines}


def two(lists: Lists) -> Lists:
    return {role: path for role, path in lists.items() if role != "public_list"}


def test_lists_decide_what_is_reported(tmp_path: Path, own: dict[int, list[str]], lists: Lists) -> None:
    dataset = Celeba(root=str(tmp_path), identities=3, **two(lists))
    assert dataset.problems() == []
    splits = dataset.load(8)
    expected = {
        np.asarray(Image.open(tmp_path / "img_align_celeba" / f"{n}.jpg"))[0, 0].tobytes()
        for who in (3, 8, 20)
        for n in own[who][-3:]
    }
    assert {image[:, 0, 0].numpy().tobytes() for image in splits.report.images} == expected
    assert (splits.train.labels.bincount() + splits.select.labels.bincount()).tolist() == [27, 28, 27]
    public = Celeba(root=str(tmp_path), role="public", public_list=lists["public_list"])
    assert numbers(public) == set(own[1002][:10]) and sum(public.card().counts.values()) == 10
    assert dataset.fingerprint() != Celeba(root=str(tmp_path), identities=3).fingerprint()


def test_wrong_lists_are_all_reported(tmp_path: Path, own: dict[int, list[str]], lists: Lists) -> None:
    train, report = Path(lists["train_list"]), Path(lists["report_list"])
    first, last = own[3][0], own[8][-1]
    train.write_text(train.read_text().replace(f"{first}.png 0", f"{first}.png 1") + f"999999.png 0\n{last}.png 1\n")
    found = Celeba(root=str(tmp_path), identities=3, **two(lists)).problems()
    assert len(found) == 3 and all(problem.startswith("celeba: ") for problem in found)
    assert f"train_list {train} names 1 images identity_CelebA.txt does not know: 999999.png" in found[0]
    assert f"{first}.png has label 1, expected 0 of identity 3" in found[1]
    assert f"1 images are in train_list and in report_list: {last}" in found[2]
    report.unlink()
    found = Celeba(root=str(tmp_path), identities=3, **two(lists)).problems()
    assert found == [
        f"celeba: report_list {report} cannot be read: no such file; give a text file with an image on each line"
    ]


def test_a_public_list_with_private_people_is_refused(tmp_path: Path, own: dict[int, list[str]], lists: Lists) -> None:
    path = Path(lists["public_list"])
    path.write_text(path.read_text() + f"{own[8][4]}.jpg\n")
    (problem,) = Celeba(root=str(tmp_path), role="public", public_list=str(path)).problems()
    assert f"disagrees with identity_CelebA.txt in 1 lines: {own[8][4]}.jpg shows the private identity 8" in problem


def test_the_published_lists_agree_with_the_rule(real_data: Callable[[str], Path], tmp_path: Path) -> None:
    """The annotations are not ours to pass on: they are made up here from the lists, an identity for each label."""
    with zipfile.ZipFile(real_data("mi_splits/defend_mi_splits.zip")) as archive:
        archive.extractall(tmp_path)
    paths = {
        r: tmp_path / "CelebA" / f"{n}set.txt" for r, n in (("train", "train"), ("report", "test"), ("public", "gan"))
    }
    shows: dict[str, int] = {}
    for role in ("train", "report"):
        for line in paths[role].read_text().splitlines():
            name, label = line.split()
            shows[name[:6]] = 14 + 4 * int(label)
    public = [line[:6] for line in paths["public"].read_text().split()]
    shows |= {number: 5000 + i // 25 for i, number in enumerate(public)}
    assert len(shows) == 27_018 + 3_009 + 30_000
    (tmp_path / "identity_CelebA.txt").write_text("".join(f"{n}.jpg {shows[n]}\n" for n in sorted(shows)))
    lists = {"train_list": str(paths["train"]), "report_list": str(paths["report"])}
    listed = choose(Celeba(root=str(tmp_path), **lists))  # it finds that every label is the rank of its identity
    assert counts(listed) == {"train": 24_018, "select": 3_000, "report": 3_009}
    assert counts(listed) == counts(choose(Celeba(root=str(tmp_path)))), "the rule alone gives as many"
    assert [f"{n}.png {label}" for n, label in listed["report"]] == sorted(
        paths["report"].read_text().splitlines(), key=lambda line: (int(line.split()[1]), line)
    )
    taken = choose(Celeba(root=str(tmp_path), role="public", public_list=str(paths["public"])))
    assert all_numbers(taken) == set(public) and not set(public) & all_numbers(listed)


# ---------------------------------------------------------------- files


def test_a_folder_inside_a_folder_of_its_name_is_found(tmp_path: Path, own: dict[int, list[str]]) -> None:
    dataset = Celeba(root=str(tmp_path), identities=3)
    before = dataset.fingerprint()
    (tmp_path / "img_align_celeba").rename(tmp_path / "moved")
    (tmp_path / "img_align_celeba").mkdir()
    (tmp_path / "moved").rename(tmp_path / "img_align_celeba" / "img_align_celeba")
    assert dataset.problems() == [] and dataset.fingerprint() == before


@pytest.mark.parametrize("layout", ["celeba", "Anno and Img"])
def test_other_layouts_and_a_zip_have_the_same_key(
    tmp_path: Path, own: dict[int, list[str]], pack: Callable[..., Path], layout: str
) -> None:
    expected = Celeba(root=str(tmp_path), identities=3)
    annotations, images = (["celeba"] * 2) if layout == "celeba" else layout.split(" and ")
    moved = tmp_path / "moved"
    for folder in (annotations, images):
        (moved / folder).mkdir(parents=True, exist_ok=True)
    (moved / annotations / "identity_CelebA.txt").write_bytes((tmp_path / "identity_CelebA.txt").read_bytes())
    packed = pack(tmp_path / "img_align_celeba", prefix="img_align_celeba/")
    packed.rename(moved / images / "img_align_celeba.zip")
    found = Celeba(root=str(moved), identities=3)
    assert found.problems() == [] and found.fingerprint() == expected.fingerprint()
    assert found.members() == expected.members()
    assert torch.equal(found.load(8).report.images, expected.load(8).report.images)


def test_the_fingerprint_follows_sizes_annotations_and_what_is_used(tmp_path: Path, own: dict[int, list[str]]) -> None:
    def fingerprint() -> str:
        return Celeba(root=str(tmp_path), identities=3).fingerprint()

    before = fingerprint()
    images = tmp_path / "img_align_celeba"
    with (images / f"{own[1004][0]}.jpg").open("ab") as stream:
        stream.write(b"\0")  # not among those used
    assert fingerprint() == before
    with (images / f"{own[8][0]}.jpg").open("ab") as stream:
        stream.write(b"\0")
    resized = fingerprint()
    assert resized != before
    annotations = tmp_path / "identity_CelebA.txt"
    annotations.write_text(annotations.read_text() + "999999.jpg 12\n")
    assert fingerprint() not in (before, resized)


def test_missing_files_are_all_named_with_where_to_ask(tmp_path: Path) -> None:
    problems = Celeba(root=str(tmp_path)).problems()
    assert len(problems) == 2
    for name, problem in zip(("identity_CelebA.txt", "img_align_celeba"), problems, strict=True):
        assert problem.startswith(f"celeba: no such file or folder {tmp_path / name}")
        assert ", nor in its celeba/, Anno/, Img/; CelebA may not be passed on; ask for the aligned images" in problem
        assert problem.count(str(tmp_path)) == 1, "one place, not twelve"
    assert " or img_align_celeba.zip or img_align_celeba_png, nor" in problems[1]
    with pytest.raises(DataError, match="celeba: no such file or folder"):
        Celeba(root=str(tmp_path)).members()


def test_images_that_are_missing_or_not_aligned_are_named(tmp_path: Path, own: dict[int, list[str]]) -> None:
    dataset = Celeba(root=str(tmp_path), identities=3)
    used = sorted(numbers(dataset))
    for number in used[:7]:
        (tmp_path / "img_align_celeba" / f"{number}.jpg").unlink()
    (problem,) = dataset.problems()
    assert f"7 of the 91 images used are not in {tmp_path / 'img_align_celeba'}: {', '.join(used[:5])} and 2" in problem
    for number in used:
        Image.new("RGB", (409, 687)).save(tmp_path / "img_align_celeba" / f"{number}.jpg")
    (problem,) = dataset.problems()
    assert "has 409x687 pixels, 178x218 expected; the crops are meant for the aligned" in problem


def test_unreadable_images_are_named_when_loading(tmp_path: Path, own: dict[int, list[str]]) -> None:
    broken = tmp_path / "img_align_celeba" / f"{own[20][-1]}.jpg"
    broken.write_bytes(broken.read_bytes()[:300])
    dataset = Celeba(root=str(tmp_path), identities=3)
    with pytest.raises(DataError, match=f"celeba: 1 of 91 images cannot be read: {broken.name}: ") as caught:
        dataset.load(8)
    assert dataset.problems() == [] and dataset.examine().problems == (str(caught.value),)


def test_one_image_of_another_size_is_found_before_it_is_cut_in_the_wrong_place(
    tmp_path: Path, own: dict[int, list[str]]
) -> None:
    dataset = Celeba(root=str(tmp_path), identities=3)
    assert dataset.examine().problems == ()
    Image.new("RGB", (200, 300)).save(tmp_path / "img_align_celeba" / f"{own[8][3]}.jpg")
    assert dataset.problems() == []
    (problem,) = dataset.examine().problems
    assert f"have other than 178x218 pixels: {own[8][3]}.jpg 200x300" in problem


def test_annotations_that_are_cut_short_or_something_else_are_named(tmp_path: Path, own: dict[int, list[str]]) -> None:
    (problem,) = Celeba(root=str(tmp_path), identities=5).problems()
    assert f"4 identities in {tmp_path / 'identity_CelebA.txt'} can be private, 5 needed; lower identities" in problem
    (problem,) = Celeba(root=str(tmp_path), role="public").problems()
    assert "36 images can be public, 30000 needed; lower public_images" in problem
    (tmp_path / "identity_CelebA.txt").write_text("000001.jpg 5\n<html>\n")
    (problem,) = Celeba(root=str(tmp_path)).problems()
    assert "line 2 is '<html>', '<file> <identity>' expected" in problem


def test_problems_and_members_load_no_torch(tmp_path: Path, own: dict[int, list[str]]) -> None:
    code = (
        "import sys; from midef.datasets.celeba import Celeba\n"
        f"d = Celeba(root={str(tmp_path)!r}, identities=3)\n"
        "assert not d.problems() and d.members() and d.fingerprint() and d.n_identities() == 3\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"identities": 1}, "identities must be 2 to 1000"),
        ({"identities": 1001}, "identities must be 2 to 1000"),
        ({"train_list": "a"}, "give both train_list and report_list"),
        ({"public_list": "a"}, "for role public only"),
        ({"public_images": 9}, "for role public only"),
        ({"role": "public", "identities": 9}, "identities is for role private only"),
        ({"role": "public", "public_images": 2}, "public_images must be at least 3"),
        ({"role": "public", "train_list": "a", "report_list": "b"}, "for role private only"),
        ({"split": "vmi", "train_list": "a", "report_list": "b"}, "published lists are of split papers"),
        ({"select_fraction": 0.5}, "select_fraction must lie between 0 and 0.5"),
        ({"crop": "centre"}, "Input should be 'papers', 'yang', 'vmi', 'hd' or 'centred'"),
    ],
)
def test_wrong_parameters_are_refused(params: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        DATASETS.make("celeba", {"root": "x", **params})


def test_presets_say_role_and_split() -> None:
    chosen = {name: DATASETS.choose({"name": "celeba", "preset": name, "root": "x"}) for name in Celeba.presets}
    found = {name: (c.params["role"], c.params["split"], c.params["crop"]) for name, c in chosen.items()}
    assert found == {
        "papers-private": ("private", "papers", "papers"),
        "papers-public": ("public", "papers", "papers"),
        "vmi-private": ("private", "vmi", "vmi"),
        "vmi-public": ("public", "vmi", "vmi"),
        "ppa": ("private", "ppa", "hd"),
        "ppa-aligned": ("private", "ppa", "centred"),
    }
