"""mnist: the files, the splits, and the reading of idx files shared with fashion_mnist."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from midef.core.errors import DataError, SpecError
from midef.datasets import DATASETS
from midef.datasets.files.idx import FILES
from midef.datasets.image_folder import ImageFolder
from midef.datasets.mnist import Mnist

Root = Callable[..., Path]


def raw(root: Path, name: str) -> np.ndarray:
    data = (root / "MNIST" / "raw" / name).read_bytes()
    return (
        np.frombuffer(data[16:], np.uint8).reshape(-1, 28, 28)
        if "images" in name
        else np.frombuffer(data[8:], np.uint8)
    )


def test_pixels_and_labels_are_torchvisions(idx_root: Root) -> None:
    torchvision = pytest.importorskip("torchvision")
    root = idx_root("MNIST")
    splits = Mnist(root=str(root)).load(28)
    train, test = (torchvision.datasets.MNIST(root, train=t) for t in (True, False))

    def pairs(images: torch.Tensor, labels: torch.Tensor) -> set[tuple[bytes, int]]:
        return {(i.numpy().tobytes(), label) for i, label in zip(images, labels.tolist(), strict=True)}

    found = {name: pairs(part.images[:, 0], part.labels) for name, part in splits.parts.items()}
    assert found["report"] == pairs(test.data, test.targets)
    assert found["train"] | found["select"] == pairs(train.data, train.targets)
    assert not found["train"] & found["select"]
    assert splits.select.labels.bincount().tolist() == [2] * 10  # 10 % of 20
    assert all(torch.equal(splits.train.images[:, 0], splits.train.images[:, c]) for c in (1, 2))


def test_resized_like_pillow(idx_root: Root) -> None:
    root = idx_root("MNIST")
    found = Mnist(root=str(root)).load(32).report
    images, labels = raw(root, FILES[2]), raw(root, FILES[3])
    first = images[labels == 0][0]  # in the order of the file within a class
    expected = np.asarray(Image.fromarray(first).resize((32, 32), Image.Resampling.BILINEAR))
    assert found.labels[0] == 0 and np.array_equal(found.images[0, 1].numpy(), expected)


def test_packed_and_plain_files_are_the_same(idx_root: Root) -> None:
    plain, packed = Mnist(root=str(idx_root("MNIST"))), Mnist(root=str(idx_root("MNIST", ".gz")))
    assert plain.fingerprint() == packed.fingerprint() and plain.members() == packed.members()
    a, b = plain.load(28), packed.load(28)
    assert all(torch.equal(part.images, b.parts[name].images) for name, part in a.parts.items())
    inside = Mnist(root=str(Path(packed.root) / "MNIST" / "raw"))  # the folder of the files itself
    assert inside.fingerprint() == plain.fingerprint()


def test_nothing_is_written(idx_root: Root) -> None:
    root = idx_root("MNIST", ".gz")
    before = sorted(root.rglob("*"))
    Mnist(root=str(root)).load(28)
    assert sorted(root.rglob("*")) == before


def test_classes_become_compact_labels(idx_root: Root) -> None:
    root = str(idx_root("MNIST"))
    private, public = Mnist(root=root, classes=(7, 2)), Mnist(root=root, classes=(0, 1), labelled=False)
    splits = private.load(28)
    assert splits.class_names == ("7", "2") and private.n_identities() == 2
    sevens = raw(Path(root), FILES[2])[raw(Path(root), FILES[3]) == 7]
    assert np.array_equal(splits.report.images[splits.report.labels == 0][:, 0].numpy(), sevens)
    unlabelled = public.load(28)
    assert unlabelled.class_names == () and public.n_identities() == 0 and not public.is_labelled
    assert all((part.labels == -1).all() for part in unlabelled.parts.values())
    assert not private.members() & public.members()
    assert private.members() < Mnist(root=root).members()


def test_images_per_class(idx_root: Root) -> None:
    root = str(idx_root("MNIST"))
    few = Mnist(root=root, images_per_class=4)
    assert few.card().counts == {"identities": 10, "train": 30, "select": 10, "report": 40}
    assert torch.equal(few.load(28).train.images, Mnist(root=root, images_per_class=4).load(28).train.images)
    assert few.members() != Mnist(root=root, images_per_class=4, seed=1).members()


def test_missing_files_are_all_named(idx_root: Root) -> None:
    root = idx_root("MNIST")
    for name in FILES[1:3]:
        (root / "MNIST" / "raw" / name).unlink()
    problems = Mnist(root=str(root)).problems()
    assert len(problems) == 2
    for name, problem in zip(FILES[1:3], problems, strict=True):
        assert problem.startswith(f"mnist: no such file {root / 'MNIST' / 'raw' / name}; also looked for ")
        assert f"{name}.gz" in problem
    dataset = Mnist(root=str(root))
    for ask in (dataset.fingerprint, dataset.members, dataset.card, lambda: dataset.load(28)):
        with pytest.raises(DataError, match="mnist: no such file"):
            ask()


def test_damaged_files_are_named(idx_root: Root) -> None:
    root = idx_root("MNIST")
    images, labels = (root / "MNIST" / "raw" / name for name in FILES[:2])
    content = images.read_bytes()
    images.write_bytes(content[:-5])
    with pytest.raises(DataError, match=f"{images} has 156795 bytes of data, 156800 expected"):
        Mnist(root=str(root)).load(28)
    assert "has 156795 bytes of data, 156800 expected" in Mnist(root=str(root)).examine().problems[0]
    images.write_bytes(labels.read_bytes())
    (problem,) = Mnist(root=str(root)).problems()
    assert f"{images} is no idx file of bytes with 3 dimensions" in problem
    images.write_bytes(content[:7] + bytes([199]) + content[8 : 16 + 199 * 784])
    (problem,) = Mnist(root=str(root)).problems()
    assert f"{images} has 199 images but there are 200 labels" in problem
    images.unlink()
    images.with_name(images.name + ".gz").write_bytes(gzip.compress(content)[:-2000])
    with pytest.raises(DataError, match=r"\.gz cannot be read: Compressed file ended"):
        Mnist(root=str(root)).load(28)


def test_a_class_with_too_few_images_is_named(idx_root: Root) -> None:
    root = idx_root("MNIST", counts={"train": 1, "t10k": 5})
    problems = Mnist(root=str(root), classes=(3, 4)).problems()
    assert len(problems) == 2
    assert problems[0].startswith("mnist: class '3' has 1 training and 5 test images, 2 and 1 needed")


def test_images_saved_as_files_are_found_again(idx_root: Root, tmp_path: Path) -> None:
    """A folder of pictures made from the files shares its images with them."""
    dataset = Mnist(root=str(idx_root("MNIST")))
    splits = dataset.load(28)
    for label in (0, 1):
        for i, image in enumerate(splits.train.images[splits.train.labels == label][:6]):
            (tmp_path / "saved" / str(label)).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[0].numpy()).save(tmp_path / "saved" / str(label) / f"{i}.png")
    saved = ImageFolder(path=str(tmp_path / "saved"))
    assert saved.pixel_ids().keys() < dataset.pixel_ids().keys() and len(saved.pixel_ids()) == 12
    assert dataset.examine().problems == () and {s.pixels for s in dataset.seen().values()} == set(dataset.pixel_ids())


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"classes": [1, 1]}, "different numbers from 0 to 9"),
        ({"classes": [1, 10]}, "different numbers from 0 to 9"),
        ({"classes": [1]}, "at least 2"),
        ({"images_per_class": 1}, "images_per_class must be at least 2"),
    ],
    ids=["twice", "unknown", "one", "cap"],
)
def test_wrong_parameters_are_refused(params: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        DATASETS.make("mnist", {"root": "x", **params})


def test_the_halves_share_nothing(idx_root: Root) -> None:
    root = str(idx_root("MNIST"))
    private, public = (
        DATASETS.remake(DATASETS.choose({"name": "mnist", "preset": f"halves-{role}", "root": root}))
        for role in ("private", "public")
    )
    assert private.load(28).class_names == ("0", "1", "2", "3", "4") and not public.is_labelled
    assert not private.members() & public.members()
    assert private.members() | public.members() == Mnist(root=root).members()


def test_the_real_halves_have_the_published_counts(real_data: Callable[[str], Path]) -> None:
    """The papers' lists: 30,596 images of 0 to 4 to train on, 5,139 to test on, and all 34,265 of 5 to 9 public."""
    root = str(real_data("mnist"))
    private, public = (Mnist(root=root, **Mnist.presets[f"halves-{role}"]) for role in ("private", "public"))
    counts = private.card().counts
    assert (counts["train"] + counts["select"], counts["report"], counts["identities"]) == (30_596, 5_139, 5)
    assert sum(public.card().counts.values()) == len(public.members()) == 34_265
    with zipfile.ZipFile(real_data("mi_splits/defend_mi_splits.zip")) as archive:
        listed = {n: archive.read(f"MNIST/{n}set.txt").decode().split("\n") for n in ("train", "test", "gan")}
    lines = {name: len([line for line in all_ if line]) for name, all_ in listed.items()}
    assert lines == {"train": 30_596, "test": 5_139, "gan": 34_265}


def test_the_real_files(real_data: Callable[[str], Path]) -> None:
    dataset = Mnist(root=str(real_data("mnist")))
    assert dataset.problems() == []
    assert dataset.card().counts == {"identities": 10, "train": 54000, "select": 6000, "report": 10000}
    assert len(dataset.members()) == 70000
    few = Mnist(root=str(real_data("mnist")), images_per_class=20).load(28)
    ones, zeros = (few.train.images[few.train.labels == k].float().mean() for k in (1, 0))
    assert ones < 0.6 * zeros  # a one has less ink
