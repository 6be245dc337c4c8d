"""Paths that no file can have: too long for the file system, with characters it refuses, of users who are not here."""

from __future__ import annotations

from pathlib import Path

import pytest

from midef.core.errors import DataError
from midef.datasets import DATASETS
from midef.datasets.files.places import LONGEST_PATH, whereabouts
from midef.sweep.spec.datasets import or_path

IMPOSSIBLE = {
    "5,000 letters": ("a" * 5000, "of 5,000 characters is too long for a file; give a shorter one"),
    "many short folders": ("ab/" * 1400, "of 4,200 characters is too long for a file; give a shorter one"),
    "300 letters": ("a" * 300, "of 300 characters is too long for a file; give a shorter one"),
    "NUL": ("faces\0.zip", r"path faces\x00.zip cannot be that of a file"),
    "half a character": ("faces\ud800", r"path faces\ud800 cannot be that of a file"),
    "no such user": ("~nobody-is-called-so/faces", "cannot be that of a file (Could not determine home directory.)"),
}


@pytest.fixture(params=IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
def impossible(request: pytest.FixtureRequest) -> tuple[str, str]:
    return request.param  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", sorted({*DATASETS.names()} - {"synthetic_faces"}))  # it has no files
def test_each_data_set_says_that_no_file_is_called_so(name: str, impossible: tuple[str, str]) -> None:
    path, expected = impossible
    place = "path" if "path" in DATASETS.get(name).__dataclass_fields__ else "root"  # type: ignore[attr-defined]
    (problem,) = DATASETS.make(name, {place: path}).problems()
    assert expected in problem and problem.startswith(f"{name}: ") and len(problem) < 200


def test_lists_say_it_too(faces: Path, impossible: tuple[str, str]) -> None:
    path, expected = impossible
    dataset = DATASETS.make("image_folder", {"path": str(faces), "train_list": path, "report_list": path})
    problems = [problem for problem in dataset.problems() if expected in problem]
    assert [problem.split(":")[1] for problem in problems] == [" train_list", " report_list"]
    for name, place in (("facescrub", "path"), ("celeba", "root")):
        listed = DATASETS.make(name, {place: str(faces), "role": "public", "public_list": path})
        assert f"{name}: public_list: path " in "\n".join(listed.problems())


def test_what_may_be_a_path_on_the_command_line_says_it_too(impossible: tuple[str, str]) -> None:
    with pytest.raises(DataError) as error:
        or_path(impossible[0], labelled=True)
    assert impossible[1] in str(error.value)
    assert or_path(f"image_folder(path={'a' * 5000})", labelled=True).startswith("image_folder")  # type: ignore[union-attr]


def test_a_path_of_almost_the_longest_can_be_looked_up(tmp_path: Path) -> None:
    name = "b/" * ((LONGEST_PATH - len(str(tmp_path)) - 2) // 2)
    place = whereabouts(f"{tmp_path}/{name}")
    for dataset in ("mnist", "celeba", "cifar10"):
        assert "no such file" in DATASETS.make(dataset, {"root": str(place)}).problems()[0]
