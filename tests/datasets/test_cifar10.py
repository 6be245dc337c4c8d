"""cifar10: the records of the binary version, and no pickles."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from midef.core.errors import DataError, SpecError
from midef.datasets import DATASETS
from midef.datasets.cifar10 import FILES, Cifar10


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """cifar-10-batches-bin/ with 20 training images of each class over five batches, and 5 test images of each."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for names, count in ((FILES["train"], 20), (FILES["report"], 5)):
        classes = rng.permutation(np.repeat(np.arange(10), count))
        pixels = rng.integers(0, 256, (len(classes), 3072))
        records = np.concatenate([classes[:, None], pixels], axis=1).astype(np.uint8)
        for name, part in zip(names, np.array_split(records, len(names)), strict=True):
            (folder / name).write_bytes(part.tobytes())
    return tmp_path


def records(root: Path, part: str) -> dict[bytes, int]:
    """Pixels and class of each record, cut out of the bytes one by one."""
    content = b"".join((root / "cifar-10-batches-bin" / name).read_bytes() for name in FILES[part])
    return {content[i + 1 : i + 3073]: content[i] for i in range(0, len(content), 3073)}


def test_pixels_and_labels_are_those_of_the_records(root: Path) -> None:
    splits = Cifar10(root=str(root)).load(32)
    found = {
        name: {i.numpy().tobytes(): label for i, label in zip(part.images, part.labels.tolist(), strict=True)}
        for name, part in splits.parts.items()
    }
    assert found["report"] == records(root, "report")
    assert found["train"] | found["select"] == records(root, "train") and not found["train"].keys() & found["select"]
    assert splits.select.labels.bincount().tolist() == [2] * 10  # 10 % of 20
    assert splits.class_names[0] == "airplane" and splits.class_names[9] == "truck"


def test_planes_are_red_green_blue_and_rows_run_downwards(root: Path) -> None:
    y, x = np.mgrid[:32, :32]
    image = np.stack([x, y, np.full_like(x, 200)]).astype(np.uint8)
    folder = root / "cifar-10-batches-bin"
    for name in (*FILES["train"], *FILES["report"]):
        (folder / name).write_bytes(b"".join(bytes([k]) + image.tobytes() for k in range(10)))
    found = Cifar10(root=str(root)).load(16).report.images[3].float()
    middle = 2 * torch.arange(16) + 0.5  # a bilinear half of the size averages pairs, but for the borders
    assert (found[0, :, 2:-2] - middle[2:-2]).abs().max() <= 1
    assert (found[1, 2:-2] - middle[2:-2, None]).abs().max() <= 1
    assert (found[2] == 200).all()


def test_the_halves_share_nothing(root: Path) -> None:
    private, public = (
        DATASETS.remake(DATASETS.choose({"name": "cifar10", "preset": f"halves-{role}", "root": str(root)}))
        for role in ("private", "public")
    )
    assert private.load(32).class_names == ("airplane", "automobile", "bird", "cat", "deer")
    assert private.is_labelled and not public.is_labelled and public.n_identities() == 0
    assert all((part.labels == -1).all() for part in public.load(32).parts.values())
    assert not private.members() & public.members()
    assert private.members() | public.members() == Cifar10(root=str(root)).members()
    assert sum(public.card().counts.values()) == 5 * 25


def test_images_per_class_are_drawn_by_the_seed(root: Path) -> None:
    few = Cifar10(root=str(root), images_per_class=4)
    assert few.card().counts == {"identities": 10, "train": 30, "select": 10, "report": 40}
    assert few.members() == Cifar10(root=str(root), images_per_class=4).members()
    assert few.members() != Cifar10(root=str(root), images_per_class=4, seed=1).members()


def test_the_fingerprint_follows_the_content_and_not_the_place(root: Path) -> None:
    folder = root / "cifar-10-batches-bin"
    before = Cifar10(root=str(root)).fingerprint()
    assert Cifar10(root=str(folder)).fingerprint() == before  # the folder of the files itself
    content = bytearray((folder / "data_batch_4.bin").read_bytes())
    content[100] ^= 1
    (folder / "data_batch_4.bin").write_bytes(content)
    assert Cifar10(root=str(root)).fingerprint() != before


class Opened:
    """Says so when unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise AssertionError('a pickle was opened')",)


@pytest.mark.parametrize("inside", ["cifar-10-batches-py", ""], ids=["its folder", "the files themselves"])
def test_pickles_are_refused_unopened(tmp_path: Path, inside: str) -> None:
    folder = tmp_path / inside
    folder.mkdir(exist_ok=True)
    for name in ("data_batch_1", "test_batch"):
        (folder / name).write_bytes(pickle.dumps(Opened()))
    missing, refused = Cifar10(root=str(tmp_path)).problems()
    assert f"no such file {tmp_path / 'cifar-10-batches-bin' / 'data_batch_1.bin'}, " in missing
    assert refused.startswith(f"cifar10: {tmp_path} holds the python version; it consists of pickles")
    with pytest.raises(DataError, match="fetch the binary version"):
        Cifar10(root=str(tmp_path)).load(32)


def test_damaged_files_are_named(root: Path) -> None:
    path = root / "cifar-10-batches-bin" / "data_batch_2.bin"
    path.write_bytes(path.read_bytes()[:-1])
    dataset = Cifar10(root=str(root))
    (problem,) = dataset.problems()
    assert problem.startswith(f"cifar10: {path} has {40 * 3073 - 1} bytes, a multiple of 3073 expected")
    for ask in (dataset.fingerprint, dataset.members, dataset.card, lambda: dataset.load(32)):
        with pytest.raises(DataError, match=r"cifar10: .*a multiple of 3073 expected"):
            ask()


def test_a_class_with_too_few_images_is_named(root: Path) -> None:
    path = root / "cifar-10-batches-bin" / "test_batch.bin"
    rows = np.frombuffer(path.read_bytes(), np.uint8).reshape(-1, 3073)
    path.write_bytes(rows[rows[:, 0] != 3].tobytes())
    (problem,) = Cifar10(root=str(root)).problems()
    assert problem.startswith("cifar10: class 'cat' has 20 training and 0 test images, 2 and 1 needed")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"classes": [1, 1]}, "different numbers from 0 to 9"),
        ({"classes": [1]}, "at least 2"),
        ({"images_per_class": 1}, "images_per_class must be at least 2"),
    ],
    ids=["twice", "one", "cap"],
)
def test_wrong_parameters_are_refused(params: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        DATASETS.make("cifar10", {"root": "x", **params})
