"""What `midef doctor` says of the files of the published matrix, against a list made of its rows here."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torchvision

from midef.attacks import ATTACKS
from midef.datasets import DATASETS
from midef.models import ARCHITECTURES
from midef.nn.named_file import NamedFile
from midef.sweep.catalogue.matrix37 import matrix37
from midef.sweep.cli.missing import ranges
from midef.sweep.spec import datasets as reading
from midef.sweep.spec.needed import state_of
from midef.sweep.spec.schema import SetupSpec

Midef = Callable[..., tuple[int, str, str]]

# Our name -> torchvision's, where they differ; the files of the others are of their authors.
THEIRS = {"vgg16": "vgg16_bn"}
IR50, IR152 = "backbone_ir50_ms1m*", "backbone_ir152_ms1m*"
OTHERS = {
    ("ms1m", "facenet64"): IR50,
    ("ms1m", "facenet112"): IR50,
    ("ms1m", "ir152"): IR152,
    ("imagenet", "resnest101"): "resnest101-22405ba7.pth",
    ("vggface2", "inception_v1"): "20180402-114759-vggface2.pt",
}


def name(written: Any) -> str:
    return re.split(r"[:(]", written)[0]


def torchvision_file(architecture: str) -> str:
    weights = torchvision.models.get_model_weights(THEIRS.get(architecture, architecture))
    return str(weights["IMAGENET1K_V1"].url).rpartition("/")[2]


def files_of(row: SetupSpec) -> Iterator[str]:
    """The files of weights that a row reads, from what it says."""
    for weights, network in ((row.weights, row.architecture[0]), (row.evaluator_weights, row.evaluator)):
        if weights:
            yield OTHERS.get((weights, name(network))) or torchvision_file(name(network))
    (attack,) = row.attack
    if name(attack).startswith("lomma"):
        yield from (torchvision_file(f"efficientnet_b{i}") for i in range(3))
    if generator := re.search(r"style_gan2:([\w-]+)", str(attack)):
        yield from (f"stylegan2-{generator[1]}-{kind}.safetensors" for kind in ("generator", "discriminator"))


def is_known(row: SetupSpec) -> bool:
    sets = {name(row.private), name(row.public)}
    return (
        sets <= set(DATASETS.names())
        and name(row.attack[0]) in ATTACKS.names()
        and {name(row.architecture[0]), name(row.evaluator)} <= set(ARCHITECTURES.names())
    )


def sets_of(row: SetupSpec) -> Iterator[str]:
    """The data sets whose images a row reads: none of the public ones where the generator is published."""
    yield name(row.private)
    if "style_gan2:" not in str(row.attack[0]):
        yield name(row.public)


def expected(of: Callable[[SetupSpec], Iterator[str]]) -> dict[str, list[str]]:
    """What the rows that can run need -> their ids."""
    needed: dict[str, list[str]] = {}
    for row in filter(is_known, matrix37().setups):
        for one in of(row):
            ids = needed.setdefault(one, [])
            if row.id not in ids:
                ids.append(row.id)
    return needed


def ids_in(text: str) -> list[str]:
    """The ids that `S01 to S03, S07` means."""
    ids: list[str] = []
    for part in text.split(", "):
        begin, _, end = part.partition(" to ")
        ids += [f"S{i:02}" for i in range(int(begin[1:]), int((end or begin)[1:]) + 1)]
    return ids


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty folders of data and of weights, and a home without Ray's token."""
    for variable in ("HOME", "MIDEF_DATA", "MIDEF_WEIGHTS"):
        (tmp_path / variable).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / variable))
    for variable in ("RAY_ADDRESS", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path / "MIDEF_WEIGHTS"


def test_the_doctor_lists_exactly_what_the_matrix_needs(midef: Midef, empty: Path) -> None:
    code, out, _ = midef("doctor", "matrix37", "--profile", "paper")
    assert code == 3 and "optional" not in out
    lines = [line.removeprefix("missing  ") for line in out.splitlines() if line.startswith("missing")]
    files = [line for line in lines if not line.startswith("data set ")]
    named = [re.match(r"[^ :]+", line) for line in files]
    listed = [match[0].replace("*.pth", "*") for match in named if match]
    assert sorted(listed) == sorted(expected(files_of)), "every file once, and nothing else"
    for line, file in zip(files, listed, strict=True):
        about = re.search(r": .*, for (.*) \(", line)
        assert about and ids_in(about[1]) == expected(files_of)[file], file
    sets = [re.match(r"data set (.*), for (.*) \(", line) for line in lines if line not in files]
    found = {name(one) for match in sets if match for one in match[1].split(", ") if "=" not in one.partition("(")[0]}
    assert {one for one in found if one in DATASETS.names()} == set(expected(sets_of))
    digits = re.findall(r"^missing +(\S+) \(\d[\d.]* MiB, sha256 (\w{8})\.\.\.\)", out, re.M)
    assert {d for _, d in digits} == {f.rpartition("-")[2][:8] for f, _ in digits}, "the digits of torchvision's names"
    below = out[out.index("missing  vgg16_bn") :].splitlines()[1:3]
    assert below == [
        f"         looked for in {empty}; $MIDEF_WEIGHTS names another folder",
        "         get it from https://download.pytorch.org/models/vgg16_bn-6c64b313.pth",
    ]


def test_nothing_is_missing_once_every_file_is_there(
    midef: Midef, empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tiny files under the published names, whose digests are taken for the published ones; drawn faces for data."""
    monkeypatch.setattr("midef.nn.named_file.sha256_of", lambda path: f"{path.stem.rpartition('-')[2]:0<64}")
    counts = {"celeba": 1000, "facescrub": 530, "vggface2": 8631, "stanford_dogs": 120}
    real = reading.with_default_folder

    def drawn(written: Any) -> Any:
        one = name(written if isinstance(written, str) else written["name"])
        if one in counts and "public" not in str(written):
            return {"name": "synthetic_faces", "identities": counts[one]}
        if one in {name(row.public) for row in matrix37().setups}:
            return {"name": "synthetic_faces", "population": "public"}
        return real(written)

    monkeypatch.setattr(reading, "with_default_folder", drawn)
    monkeypatch.setattr("midef.sweep.spec.checks.check_disjoint", lambda *_: None)  # drawn people are numbered alike
    for file in expected(files_of):
        (empty / file.replace("*", "_epoch_120.pth")).write_bytes(b"weights")
    code, out, _ = midef("doctor", "matrix37", "--profile", "paper")
    assert not re.findall(r"^(?:missing|problem|optional).*", out, re.M) and code == 0
    assert "ok       sweep matrix37: 139 cells, data sets found, every image decodes" in out
    listed = re.findall(r"^ok +(\S+\.(?:pth|pt|safetensors))\b.* \(", out, re.M)
    assert len(listed) == len(expected(files_of))

    (empty / torchvision_file("vgg16")).unlink()
    (empty / "backbone_ir50_ms1m_second.pth").write_bytes(b"weights")
    code, out, _ = midef("doctor", "matrix37", "--profile", "paper")
    assert code == 3 and re.findall(r"^(?:missing|problem) +(\S+)", out, re.M) == [
        torchvision_file("vgg16"),
        "backbone_ir50_ms1m*.pth",
    ]
    assert f"{empty} holds backbone_ir50_ms1m_epoch_120.pth, backbone_ir50_ms1m_second.pth; keep one of them" in out


def test_a_file_that_is_there_is_compared_with_what_is_published(empty: Path) -> None:
    stated = NamedFile(name="x.pt", source="", sha256="", size_mib=3.0)
    assert not state_of(stated, empty).is_here
    (empty / "x.pt").write_bytes(bytes(3 << 20))
    whole = state_of(stated, empty)
    assert (whole.is_here, whole.problem) == (True, "") and re.fullmatch(
        r"3 MiB, sha256 [0-9a-f]{8}, none is published", whole.about
    )
    (empty / "x.pt").write_bytes(bytes(1 << 20))
    assert state_of(stated, empty).about.endswith("; 3 MiB is published: converted, or cut short")
    known = NamedFile(name="x.pt", source="", sha256="00000000")
    assert "damaged or another file: its sha256 begins with" in state_of(known, empty).problem
    assert state_of(NamedFile(name="y.pt", source="", sha256="00", also=("x.pt",)), empty).problem == ""


def test_ids_in_a_row_are_a_range() -> None:
    assert ranges(["S01", "S02"]) == "S01, S02" and ranges([]) == ""
    assert ranges(["S09", "S10", "S11", "T12"]) == "S09 to S11, T12"
