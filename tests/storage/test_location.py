"""Files of a store, relative to its root."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from midef.core import DamagedFile, StoreError
from midef.storage import Store
from midef.storage.location import is_full
from midef.storage.processes import this_machine


def test_files_lists_everything_but_private_things(store: Store) -> None:
    for path in ("a/x.json", "a/b/y.json", "a/.tmp/z.json", "a/.hidden", "ab/other"):
        store.location.put(path, b"1")
    assert store.location.files("a") == ["a/b/y.json", "a/x.json"]
    assert store.location.files("nothing here") == []


def test_put_replaces(store: Store) -> None:
    store.location.put("a/x", b"old")
    store.location.put("a/x", b"new")
    assert store.location.get("a/x") == b"new"
    assert store.location.get_all(["a/x", "store.json", "a/x"])[::2] == [b"new", b"new"]


def test_a_reader_of_the_old_file_is_not_disturbed(local_store: Store) -> None:
    local_store.location.put("a/x", b"old")
    with (Path(local_store.uri) / "a/x").open("rb") as reader:
        local_store.location.put("a/x", b"new and longer")
        assert reader.read() == b"old"


def test_delete_forgives_what_is_gone(store: Store) -> None:
    store.location.put("a/x", b"1")
    store.location.delete("a/x")
    store.location.delete("a/x")
    assert not store.location.exists("a/x")


def test_what_is_not_there_is_told_apart_from_trouble(store: Store) -> None:
    with pytest.raises(FileNotFoundError):
        store.location.get("a/x")
    with pytest.raises(FileNotFoundError):
        store.location.move("a/x", "a/y")
    with pytest.raises(FileNotFoundError):
        store.location.modified("a/x")


def test_unused_counts_up(store: Store) -> None:
    store.location.put("a/x-1", b"1")
    assert store.location.unused("a/x") == "a/x-2"


def test_a_failed_write_leaves_the_old_file_and_no_litter(local_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    local_store.location.put("a/x", b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"store is full: .* needs 3 B, has .* free; free space or choose another"):
        local_store.location.put("a/x", b"new")
    assert local_store.location.get("a/x") == b"old"
    assert list((Path(local_store.uri) / "a/.tmp").iterdir()) == []


def test_an_unreachable_object_store_is_explained(s3_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.open(s3_uri)
    monkeypatch.setattr(type(store.location), "_full", lambda self, path: "bucket-that-is-not-there/" + path)
    with pytest.raises(StoreError, match=r"cannot write x in the store s3://bucket/.*check the place, your rights"):
        store.location.put("x", b"1")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "full"), True),
        (OSError(errno.EDQUOT, "quota"), True),
        (RuntimeError("I/O error: No space left on device (os error 28)"), True),
        (OSError(errno.EACCES, "denied"), False),
    ],
    ids=["full", "quota", "rust", "rights"],
)
def test_a_full_disk_is_recognised(error: Exception, expected: bool) -> None:
    assert is_full(error) is expected


def test_sweeping_takes_things_of_dead_processes_here_and_old_ones_of_others(local_store: Store) -> None:
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    host = this_machine()
    private = Path(local_store.uri) / "artifacts/.tmp"
    names = {
        "old_dead": f"{host}-{dead.stdout.strip()}-1",
        "old_running": f"{host}-{os.getpid()}-2",
        "old_elsewhere": "another-host-7-3",
        "young_elsewhere": "another-host-7-6",
        "young_dead": f"{host}-{dead.stdout.strip()}-4",
        "old_but_growing": f"{host}-{dead.stdout.strip()}-5",
    }
    for what, name in names.items():
        (private / name).mkdir(parents=True)
        (private / name / "weights.npz").write_bytes(b"1")
        if what.startswith("old"):
            os.utime(private / name, (0, 0))
            if what != "old_but_growing":
                os.utime(private / name / "weights.npz", (0, 0))
    assert local_store.artifacts.sweep_tmp() == 4
    kept = {names["old_running"], names["young_elsewhere"]}
    assert {path.name for path in private.iterdir()} == kept


def test_sweeping_an_object_store_does_nothing(s3_store: Store) -> None:
    s3_store.location.put("artifacts/.tmp/x", b"1")
    assert s3_store.artifacts.sweep_tmp(0) == 0
    assert s3_store.location.exists("artifacts/.tmp/x")


# --- what is no file --------------------------------------------------------------------------------------------------


def put_in_place(path: Path, what: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    match what:
        case "folder":
            path.mkdir()
        case "link to nowhere":
            path.symlink_to("nowhere")
        case "pipe":
            os.mkfifo(path)
        case "ring of links":
            path.symlink_to(path.name)


@pytest.mark.parametrize("what", ["folder", "link to nowhere", "pipe", "ring of links"])
def test_what_stands_in_the_place_of_a_file_is_damage(local_store: Store, what: str) -> None:
    location = local_store.location
    put_in_place(Path(local_store.uri) / "a/x.json", what)
    location.put("a/y.json", b"1")
    assert location.exists("a/x.json")
    assert location.files("a") == ["a/x.json", "a/y.json"]
    assert location.modified("a/x.json") > 0
    with pytest.raises(DamagedFile):
        location.get("a/x.json")
    damaged, whole = location.get_all(["a/x.json", "a/y.json"])
    assert isinstance(damaged, DamagedFile)
    assert whole == b"1"
    assert location.set_aside("a/x.json", "test") == "a/.damaged/x.json-1"
    assert not location.exists("a/x.json")
    put_in_place(Path(local_store.uri) / "a/x.json", what)
    location.put("a/x.json", b"2")
    assert location.get("a/x.json") == b"2"
    put_in_place(Path(local_store.uri) / "a/z.json", what)
    location.delete("a/z.json")
    assert not location.exists("a/z.json")


@pytest.mark.parametrize("code", [errno.EIO, errno.EUCLEAN], ids=errno.errorcode.get)
def test_a_bad_sector_is_damage_of_one_file(local_store: Store, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    local_store.location.put("a/x.json", b"1")
    monkeypatch.setattr(os, "open", _refusing(code))
    with pytest.raises(DamagedFile, match="it cannot be read"):
        local_store.location.get("a/x.json")


@pytest.mark.parametrize("is_mine", [True, False], ids=["mine", "somebody else's"])
def test_only_our_own_files_are_damaged_by_lost_rights(
    local_store: Store, monkeypatch: pytest.MonkeyPatch, is_mine: bool
) -> None:
    """A file that another user of a shared store keeps to themselves must not be moved away."""
    local_store.location.put("a/x.json", b"1")
    monkeypatch.setattr(os, "open", _refusing(errno.EACCES))
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() if is_mine else os.getuid() + 1)
    with pytest.raises(StoreError, match=r"cannot be read|check the place, your rights") as caught:
        local_store.location.get("a/x.json")
    assert isinstance(caught.value, DamagedFile) == is_mine


def _refusing(code: int) -> Callable[..., int]:
    def refuse(*given: object, **options: object) -> int:
        raise OSError(code, os.strerror(code))

    return refuse


def test_a_damaged_object_is_set_aside(s3_store: Store) -> None:
    s3_store.location.put("a/b/x.json", b"1")
    assert s3_store.location.set_aside("a/b/x.json", "test") == "a/.damaged/b-x.json-1"
    assert s3_store.location.files("a") == []
    assert s3_store.location.get("a/.damaged/b-x.json-1") == b"1"


def test_where_nothing_can_be_moved_readers_go_on(
    local_store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*given: object) -> None:
        raise StoreError("a disk that is only read")

    local_store.location.put("a/x.json", b"1")
    monkeypatch.setattr(type(local_store.location), "move", refuse)
    local_store.location.try_to_set_aside("a/x.json", "test")
    assert "a/x.json stays where it is: a disk that is only read" in caplog.text
    assert local_store.location.get("a/x.json") == b"1"
