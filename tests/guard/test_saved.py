"""A guard comes back from its folder with the same answers; what is lost, damaged or another is said."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from midef.core.canonical import canonical_json
from midef.core.errors import DataError, PreflightError, SpecError
from midef.defenses.lpa import Lpa
from midef.guard import Guard
from midef.testing.own_classifier import IMAGES, PER_QUERY, PRIVATE, PUBLIC, Classifier


@pytest.fixture(scope="module")
def guard() -> Guard:
    return Guard(Classifier(), PER_QUERY).prepare(public=PUBLIC, private=PRIVATE)


@pytest.fixture
def folder(guard: Guard, tmp_path: Path) -> Path:
    return guard.save(tmp_path / "saved")


def edited(change: Callable[[dict[str, Any]], None], path: Path) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_a_guard_comes_back_with_the_same_answers(guard: Guard, folder: Path) -> None:
    loaded = Guard.load(folder, Classifier())
    assert torch.equal(loaded(IMAGES), guard(IMAGES))
    assert (loaded.choice, loaded.facts, loaded.classes) == (guard.choice, guard.facts, guard.classes)
    again = loaded.save(folder.with_name("again"))
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    artifacts = [f"artifacts/lpa.inverter/{name}.safetensors" for name in ("gradient", "inverter")]
    assert names == [*artifacts, "guard.json", "secret.json"]
    assert all((again / name).read_bytes() == (folder / name).read_bytes() for name in artifacts)


def test_the_weights_are_known_whatever_wraps_the_model(folder: Path) -> None:
    assert Guard.load(folder, nn.DataParallel(Classifier())).is_prepared


def test_a_defense_without_artifacts_and_before_any_question(tmp_path: Path) -> None:
    guard = Guard(Classifier(), "noisy_scores+rounding", outputs="logits")
    loaded = Guard.load(guard.save(tmp_path / "saved"), Classifier())
    assert torch.equal(loaded(IMAGES), guard(IMAGES))


def test_the_secret_is_kept_from_others(guard: Guard, folder: Path) -> None:
    secret = folder / "secret.json"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    written = hex(guard._secret)
    assert len(written) > 50 and written in secret.read_text()
    others = [path.read_bytes() for path in folder.rglob("*") if path.is_file() and path != secret]
    assert not any(written[2:].encode() in content for content in others)
    secret.chmod(0o644)
    with pytest.warns(UserWarning, match="read by other users; chmod 600"):
        Guard.load(folder, Classifier())


def test_a_lost_secret_is_said_and_can_be_replaced(guard: Guard, folder: Path, tmp_path: Path) -> None:
    (folder / "secret.json").unlink()
    with pytest.raises(PreflightError, match=r"secret.json cannot be read \(No such file.*who has both answers"):
        Guard.load(folder, Classifier())
    assert not torch.equal(Guard.load(folder, Classifier(), secret=1)(IMAGES), guard(IMAGES))
    other = guard.save(tmp_path / "other")
    (other / "secret.json").rename(folder / "secret.json")
    with pytest.raises(PreflightError, match=r"secret.json is that of another guard"):
        Guard.load(folder, Classifier())


def test_another_model_is_refused(folder: Path) -> None:
    for other in (Classifier(seed=1), Classifier().double()):
        with pytest.raises(PreflightError, match=r"sha256 \w{12}, this one has \w{12}; load the weights that"):
            Guard.load(folder, other)
    with pytest.raises(PreflightError, match=r"has the weights .* answers otherwise, by up to .* preprocessing"):
        Guard.load(folder, Classifier(mean=0.1))


def test_a_model_that_changed_since_is_not_saved(tmp_path: Path) -> None:
    guard = Guard(Classifier(), PER_QUERY).prepare(public=PUBLIC, private=PRIVATE)
    with torch.no_grad():
        guard.model.body[0].bias += 1.0
    with pytest.raises(SpecError, match="weights have changed since the guard was prepared; call prepare again"):
        guard.save(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()
    with pytest.raises(SpecError, match=r"call guard\.prepare"):
        Guard(Classifier(), PER_QUERY).save(tmp_path / "saved")


def test_all_that_is_missing_or_damaged_is_said_at_once(folder: Path) -> None:
    inverter = folder / "artifacts" / "lpa.inverter" / "inverter.safetensors"
    inverter.write_bytes(inverter.read_bytes()[:-1] + b"x")
    inverter.with_name("gradient.safetensors").unlink()
    (folder / "secret.json").write_text("{")
    with pytest.raises(PreflightError) as caught:
        Guard.load(folder, Classifier())
    said = sorted(str(problem) for problem in caught.value.problems)
    assert len(said) == 3
    assert "gradient.safetensors cannot be read (No such file or directory); copy it again" in said[0]
    assert "inverter.safetensors is damaged: its sha256" in said[1]
    assert "secret.json is damaged; put it back" in said[2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.update(outputs="probabilities"), "its content is not what was written"),
        (lambda content: content.update(format=2), "has format 2, this midef reads 1; use the midef that wrote it"),
        (lambda content: content.pop("sha256"), "guard.json is damaged; this is no guard, or"),
    ],
)
def test_a_changed_description_is_refused(folder: Path, change: Callable[[dict[str, Any]], None], message: str) -> None:
    edited(change, folder / "guard.json")
    with pytest.raises(PreflightError, match=message):
        Guard.load(folder, Classifier())


@pytest.mark.parametrize("place", ["artifacts/../x.safetensors", "artifacts/lpa.inverter/x.pt", "/etc/passwd"])
def test_a_folder_cannot_name_files_elsewhere(folder: Path, place: str) -> None:
    def forge(content: dict[str, Any]) -> None:
        content["files"][place] = ""
        del content["sha256"]
        content["sha256"] = sha256(canonical_json(content).encode()).hexdigest()

    edited(forge, folder / "guard.json")
    with pytest.raises(PreflightError, match="which no guard has; this was not written by midef"):
        Guard.load(folder, Classifier())


def test_no_guard_at_all(tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match=r"guard.json cannot be read .*; this is no guard"):
        Guard.load(tmp_path, Classifier())


def test_another_version_of_the_defense_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Lpa, "version", Lpa.version + 1)
    with pytest.raises(PreflightError, match="'lpa' is version 2 here, the recipe asks for version 1; prepare a new"):
        Guard.load(folder, Classifier())


def test_a_folder_is_written_whole_or_not_at_all(guard: Guard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("x")
    with pytest.raises(DataError, match="full is there already"):
        guard.save(tmp_path / "full")

    def broken(path: Path, *_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_text", broken)
    with pytest.raises(OSError, match="disk full"):
        guard.save(tmp_path / "saved")
    assert [path.name for path in tmp_path.iterdir()] == ["full"]
