"""Artifacts: published whole or not at all, verified when loaded, set aside when damaged."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from midef.core import ArtifactKey, DamagedArtifact, MissingArtifact, Recipe, StoreError, StoreSchemaError
from midef.core.code_version import code_version
from midef.storage import ArtifactStore, Location, Store, _checksums
from midef.storage._meta import META_SCHEMA
from midef.storage.seals import sealed_json

SPLIT = Recipe("split", "synthetic_faces", {"classes": 10})
TARGET = Recipe("target", "classifier", {"lr": 0.1, "epochs": 2}, {"data": SPLIT})
PAYLOAD = {"weights.safetensors": bytes(range(256)) * 40, "log/curve.json": b"[1, 2]"}


def publish(store: Store, recipe: Recipe = TARGET, payload: dict[str, bytes] = PAYLOAD, **given: Any) -> None:
    with store.artifacts.workspace() as folder:
        fill(folder, payload)
        store.artifacts.publish(recipe, folder, **{"wall_s": 1.5, **given})


def fill(folder: Path, payload: dict[str, bytes] = PAYLOAD) -> None:
    for name, content in payload.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def stored(store: Store, name: str, recipe: Recipe = TARGET) -> str:
    """The path of one file of an artifact, wherever the store has put it."""
    paths = store.location.files(f"artifacts/{recipe.key}")
    return next(path for path in paths if path.endswith("/" + name))


def litter(store: Store) -> list[Path]:
    return list(Path(store.uri).glob("artifacts/.tmp/*"))


def run_python(code: str, *given: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), *given], text=True, stdout=subprocess.PIPE)


# --- a life without trouble -------------------------------------------------------------------------------------------


def test_an_artifact_comes_back(store: Store) -> None:
    assert not store.artifacts.has(TARGET.key)
    publish(store)
    again = Store.open(store.uri, create=False).artifacts
    folder = again.fetch(TARGET.key)
    assert {name: (folder / name).read_bytes() for name in PAYLOAD} == PAYLOAD
    assert again.has(TARGET.key)
    assert again.recipe(TARGET.key) == TARGET
    assert json.loads((folder / "recipe.json").read_bytes()) == TARGET.as_plain()


def test_meta_tells_how_it_was_made(store: Store) -> None:
    publish(store, facts={"accuracy": 93.5, "notes": ["a", None]}, packages={"torch": "2.11"})
    meta = store.artifacts.meta(TARGET.key)
    assert (meta["schema"], meta["key"], meta["midef"]) == (META_SCHEMA, str(TARGET.key), code_version())
    assert (meta["wall_s"], meta["packages"]) == (1.5, {"torch": "2.11"})
    assert meta["facts"] == {"accuracy": 93.5, "notes": ["a", None]}
    assert {name: about["size"] for name, about in meta["files"].items()} == {n: len(c) for n, c in PAYLOAD.items()}


def test_keys_lists_complete_artifacts(store: Store) -> None:
    assert store.artifacts.keys() == set()
    publish(store)
    publish(store, SPLIT)
    store.location.put(f"artifacts/prior/{'0' * 64}/weights.npz", b"no META.json yet")
    store.location.put(f"artifacts/prior/{'1' * 64}/deep/META.json", b"{}")
    assert store.artifacts.keys() == {TARGET.key, SPLIT.key}
    assert store.artifacts.keys("split") == {SPLIT.key}
    assert store.artifacts.keys("pool") == set()


def test_publishing_twice_keeps_the_first(store: Store) -> None:
    publish(store)
    publish(store, payload={"weights.safetensors": b"other"})
    folder = store.artifacts.fetch(TARGET.key)
    assert (folder / "weights.safetensors").read_bytes() == PAYLOAD["weights.safetensors"]
    assert len(store.location.files(f"artifacts/{TARGET.key}")) == len(PAYLOAD) + 2


def test_a_folder_from_elsewhere_can_be_published(store: Store, tmp_path: Path) -> None:
    fill(tmp_path / "mine")
    store.artifacts.publish(TARGET, tmp_path / "mine", wall_s=0.0)
    assert (store.artifacts.fetch(TARGET.key) / "log/curve.json").read_bytes() == b"[1, 2]"
    assert (tmp_path / "mine/log/curve.json").exists()


def test_a_moved_folder_still_has_its_artifacts(local_store: Store, tmp_path: Path) -> None:
    publish(local_store)
    moved = Store.open(Path(local_store.uri).rename(tmp_path / "moved"), create=False)
    assert moved.artifacts.keys() == {TARGET.key}
    assert moved.artifacts.fetch(TARGET.key).is_relative_to(tmp_path / "moved")


def test_a_bucket_copied_to_a_folder_is_a_store(s3_store: Store, tmp_path: Path) -> None:
    publish(s3_store)
    for path in s3_store.location.files("artifacts"):
        s3_store.location.download(path, tmp_path / "copy" / path)
    folder = Store.open(tmp_path / "copy").artifacts.fetch(TARGET.key)
    assert (folder / "log/curve.json").read_bytes() == b"[1, 2]"


def test_files_are_read_once_per_process_unless_they_change(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(store)
    folder = store.artifacts.fetch(TARGET.key)
    read: list[Path] = []
    original = _checksums.digest_file
    monkeypatch.setattr(_checksums, "digest_file", lambda path: (read.append(path), original(path))[1])
    assert Store.open(store.uri).artifacts.fetch(TARGET.key) == folder
    assert read == []
    os.utime(folder / "log/curve.json", (1, 1))
    store.artifacts.fetch(TARGET.key)
    assert folder / "log/curve.json" in read


def test_a_workspace_is_private_and_goes_away(store: Store) -> None:
    with pytest.raises(RuntimeError, match="diverged"), store.artifacts.workspace() as folder:
        fill(folder)
        assert store.artifacts.keys() == set()
        raise RuntimeError("training diverged")
    assert not folder.exists()
    if store.location.local:
        assert litter(store) == []


# --- what may not be stored -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["weights.pt", "weights.pkl", "run.py", "weights", "weights.safetensors.bin"])
def test_files_that_might_execute_code_are_refused(store: Store, name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name}: expected one of \.json, .* which execute nothing when loaded"):
        publish(store, payload={**PAYLOAD, name: b"1"})
    assert store.artifacts.keys() == set()


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({}, "nothing to store in"),
        ({"META.json": b"{}"}, r"META\.json: this name is written by the store"),
        ({"recipe.json": b"{}"}, r"recipe\.json: this name is written by the store"),
        ({"a/.b.json": b"{}"}, "a leading dot"),
    ],
    ids=["nothing", "META.json", "recipe.json", "hidden"],
)
def test_other_wrong_payloads_are_refused(store: Store, payload: dict[str, bytes], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        publish(store, payload=payload)


def test_links_are_refused(store: Store, tmp_path: Path) -> None:
    with store.artifacts.workspace() as folder:
        (folder / "weights.npz").symlink_to(tmp_path)
        with pytest.raises(ValueError, match="found a link or device; copy the content"):
            store.artifacts.publish(TARGET, folder, wall_s=0.0)


@pytest.mark.parametrize("facts", [{"loss": float("nan")}, {"path": Path("x")}], ids=["nan", "path"])
def test_facts_must_be_json(store: Store, facts: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be JSON data without NaN"):
        publish(store, facts=facts)


# --- damage -----------------------------------------------------------------------------------------------------------


def flipped(content: bytes) -> bytes:
    return content[:100] + bytes([content[100] ^ 4]) + content[101:]


def truncated(content: bytes) -> bytes:
    return content[:-1]


@pytest.mark.parametrize("seen_before", [False, True], ids=["fresh", "after a good fetch"])
@pytest.mark.parametrize("damage", [flipped, truncated])
def test_a_changed_payload_is_found(local_store: Store, damage: Callable[[bytes], bytes], seen_before: bool) -> None:
    publish(local_store)
    if seen_before:
        local_store.artifacts.fetch(TARGET.key)
    expect_damage(local_store, damage)


@pytest.mark.parametrize("damage", [flipped, truncated])
def test_a_changed_object_is_found(s3_store: Store, damage: Callable[[bytes], bytes]) -> None:
    publish(s3_store)
    expect_damage(s3_store, damage)


def expect_damage(store: Store, damage: Callable[[bytes], bytes]) -> None:
    path = stored(store, "weights.safetensors")
    expected = store.artifacts.meta(TARGET.key)["files"]["weights.safetensors"]["sha256"]
    store.location.put(path, damage(store.location.get(path)))
    for _ in range(2):  # a failed check is not remembered as a good one
        with pytest.raises(DamagedArtifact, match=rf"weights\.safetensors: expected .* sha256 {expected}, found .*"):
            store.artifacts.fetch(TARGET.key)


def test_a_lost_payload_file_is_named(store: Store) -> None:
    publish(store)
    store.location.delete(stored(store, "log/curve.json"))
    with pytest.raises(DamagedArtifact, match=r"log/curve\.json: expected 6 bytes .*, found no file"):
        store.artifacts.fetch(TARGET.key)


def test_without_meta_there_is_no_artifact(store: Store) -> None:
    publish(store)
    store.location.delete(stored(store, "META.json"))
    assert not store.artifacts.has(TARGET.key)
    assert store.artifacts.keys() == set()
    with pytest.raises(MissingArtifact, match=r"no complete artifact target/.* run the plan again to build it"):
        store.artifacts.fetch(TARGET.key)
    publish(store)
    assert store.artifacts.fetch(TARGET.key).is_dir()


def test_a_lost_recipe_is_damage(store: Store) -> None:
    publish(store)
    store.location.delete(stored(store, "recipe.json"))
    with pytest.raises(DamagedArtifact, match=r"recipe\.json: expected a file, found none"):
        store.artifacts.fetch(TARGET.key)


def test_an_unknown_key_is_missing(store: Store) -> None:
    for ask in (store.artifacts.fetch, store.artifacts.meta, store.artifacts.recipe):
        with pytest.raises(MissingArtifact, match="no complete artifact"):
            ask(TARGET.key)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("META.json", b"{", r"META\.json: it is no JSON"),
        ("META.json", b"\xff\xfe\xfd", r"META\.json: it is no JSON"),
        ("META.json", b"[]", r"META\.json: expected a JSON object, found list"),
        ("META.json", b'{"schema": 1}', r"missing or of another type: key, midef, wall_s"),
        ("recipe.json", b"{", r"recipe\.json cannot be read: JSONDecodeError"),
        ("recipe.json", b'{"kind": "target"}', r"recipe\.json cannot be read: KeyError"),
        (
            "recipe.json",
            json.dumps(SPLIT.as_plain()).encode(),
            r"recipe\.json: expected the key target/.*, found split/",
        ),
    ],
    ids=["cut META", "binary META", "list META", "empty META", "cut recipe", "empty recipe", "other recipe"],
)
def test_damaged_documents_are_explained(store: Store, name: str, content: bytes, message: str) -> None:
    publish(store)
    store.location.put(stored(store, name), content)
    with pytest.raises(DamagedArtifact, match=message):
        store.artifacts.fetch(TARGET.key)


def rewrite_meta(store: Store, **changes: Any) -> None:
    path = stored(store, "META.json")
    store.location.put(path, sealed_json({**json.loads(store.location.get(path)), **changes}))


def test_an_artifact_of_a_newer_midef_is_refused(store: Store) -> None:
    publish(store)
    rewrite_meta(store, schema=META_SCHEMA + 1, midef="9.1", files=["another format"])
    with pytest.raises(
        StoreSchemaError, match=r"has schema 3, written by midef 9\.1; .* supports up to 2: upgrade midef"
    ):
        store.artifacts.fetch(TARGET.key)


@pytest.mark.parametrize("name", ["../outside.json", "/etc/outside.json", "a/../../outside.json"])
def test_meta_cannot_name_files_outside(store: Store, name: str) -> None:
    publish(store)
    rewrite_meta(store, files={name: {"sha256": "0", "size": 1}})
    with pytest.raises(DamagedArtifact, match="expected files inside the artifact"):
        store.artifacts.fetch(TARGET.key)


def test_meta_of_another_key_is_damage(store: Store) -> None:
    publish(store)
    rewrite_meta(store, key=str(SPLIT.key))
    with pytest.raises(DamagedArtifact, match=r"expected the key target/.*, found split/"):
        store.artifacts.fetch(TARGET.key)


def test_a_file_in_the_place_of_a_local_copy_is_no_damage_of_the_store(s3_store: Store) -> None:
    publish(s3_store)
    copy = s3_store.artifacts.fetch(TARGET.key)
    shutil.rmtree(copy)
    copy.write_bytes(b"?")
    assert s3_store.artifacts.fetch(TARGET.key).is_dir()


def test_no_bit_of_meta_changes_what_is_read(local_store: Store) -> None:
    """An accuracy of 18.8 must not become 98.8."""
    publish(local_store, facts={"evaluator_accuracy": 18.8})
    path = Path(local_store.uri) / stored(local_store, "META.json")
    content = path.read_bytes()
    for position in range(len(content)):
        for bit in (position % 8, 3):
            damaged = bytearray(content)
            damaged[position] ^= 1 << bit
            path.write_bytes(damaged)
            with pytest.raises(DamagedArtifact, match=r"META\.json: .*`midef verify --repair` sets it aside"):
                local_store.artifacts.meta(TARGET.key)


def test_meta_that_an_older_midef_wrote_has_no_checksum_and_is_read(store: Store) -> None:
    publish(store, facts={"evaluator_accuracy": 18.8})
    path = stored(store, "META.json")
    older = {**json.loads(store.location.get(path)), "schema": 1}
    del older["seal"]
    store.location.put(path, json.dumps(older).encode())
    assert store.artifacts.meta(TARGET.key) == older
    assert store.artifacts.fetch(TARGET.key).is_dir()
    store.location.put(path, json.dumps({**older, "schema": 2}).encode())
    with pytest.raises(DamagedArtifact, match="its checksum is missing"):
        store.artifacts.meta(TARGET.key)


@pytest.mark.parametrize("name", ["META.json", "recipe.json", "weights.safetensors"])
def test_a_folder_in_the_place_of_a_file_is_damage(local_store: Store, name: str) -> None:
    publish(local_store)
    path = Path(local_store.uri) / stored(local_store, name)
    path.unlink()
    path.mkdir()
    assert local_store.artifacts.keys() == {TARGET.key}
    with pytest.raises(DamagedArtifact, match="found a folder"):
        local_store.artifacts.fetch(TARGET.key)
    local_store.artifacts.set_aside(TARGET.key, "damaged")
    publish(local_store)
    assert local_store.artifacts.fetch(TARGET.key).is_dir()


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("listed", [True, False], ids=["listed", "published at once"])
def test_a_file_in_the_place_of_a_folder_is_set_aside(
    local_store: Store, caplog: pytest.LogCaptureFixture, depth: int, listed: bool
) -> None:
    place = "/".join(("artifacts", TARGET.key.kind, TARGET.key.digest)[:depth])
    (Path(local_store.uri) / place).parent.mkdir(parents=True, exist_ok=True)
    (Path(local_store.uri) / place).write_bytes(b"?")
    with caplog.at_level(logging.WARNING):
        if listed:
            assert local_store.artifacts.keys() == set()
            assert f"{place} is damaged and set aside as" in caplog.text
        publish(local_store)
    assert "expected a folder" in caplog.text
    assert local_store.artifacts.keys() == {TARGET.key}
    assert local_store.artifacts.fetch(TARGET.key).is_dir()


def test_a_damaged_artifact_is_set_aside_and_built_again(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    for number in (1, 2):
        publish(store)
        store.location.put(stored(store, "log/curve.json"), b"[1, 3]")
        with pytest.raises(DamagedArtifact) as caught:
            store.artifacts.fetch(TARGET.key)
        with caplog.at_level(logging.WARNING):
            store.artifacts.set_aside(TARGET.key, str(caught.value))
        aside = f"artifacts/.damaged/target-{TARGET.key.digest}-{number}"
        assert f"is set aside as {aside} and will be rebuilt: artifact target/" in caplog.text
        assert store.location.exists(f"{aside}/META.json")
        assert not store.artifacts.has(TARGET.key)
        assert store.artifacts.keys() == set()
    publish(store)
    assert (store.artifacts.fetch(TARGET.key) / "log/curve.json").read_bytes() == b"[1, 2]"


def test_setting_aside_what_is_gone_does_nothing(store: Store) -> None:
    store.artifacts.set_aside(TARGET.key, "somebody else was faster")
    publish(store)
    assert store.artifacts.has(TARGET.key)


def test_setting_objects_aside_hides_the_artifact_first(s3_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def dying(self: Location, path: str, target: str) -> None:
        raise KeyboardInterrupt

    publish(s3_store)
    monkeypatch.setattr(Location, "move", dying)
    with pytest.raises(KeyboardInterrupt):
        s3_store.artifacts.set_aside(TARGET.key, "test")
    assert not s3_store.artifacts.has(TARGET.key)
    publish(s3_store)
    assert s3_store.artifacts.fetch(TARGET.key).is_dir()


def test_a_damaged_local_copy_is_downloaded_again(s3_store: Store, caplog: pytest.LogCaptureFixture) -> None:
    publish(s3_store)
    copy = s3_store.artifacts.fetch(TARGET.key) / "weights.safetensors"
    copy.write_bytes(b"damaged")
    assert s3_store.artifacts.fetch(TARGET.key) == copy.parent
    assert copy.read_bytes() == PAYLOAD["weights.safetensors"]
    assert "is damaged and downloaded again" in caplog.text


def test_a_rebuilt_artifact_does_not_meet_its_old_copy(s3_store: Store) -> None:
    publish(s3_store)
    s3_store.artifacts.fetch(TARGET.key)
    s3_store.artifacts.set_aside(TARGET.key, "test")
    publish(s3_store, payload={"weights.safetensors": b"rebuilt"})
    assert (s3_store.artifacts.fetch(TARGET.key) / "weights.safetensors").read_bytes() == b"rebuilt"


def test_a_copy_in_the_folder_of_somebody_else_is_refused(s3_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(s3_store)
    s3_store.artifacts.fetch(TARGET.key)
    me = os.getuid()
    shared = next(Path(tempfile.gettempdir()).glob("midef-cache-*"))
    shared.rename(shared.with_name(f"midef-cache-{me + 1}"))
    monkeypatch.setattr(os, "getuid", lambda: me + 1)
    with pytest.raises(StoreError, match="belongs to somebody else; remove it or set TMPDIR"):
        s3_store.artifacts.fetch(TARGET.key)


# --- several processes, and processes that die ------------------------------------------------------------------------

PUBLISH = """
    import sys, time
    from midef.core import Recipe
    from midef.storage import Store
    uri, content, start = sys.argv[1], sys.argv[2].encode() * 1000, float(sys.argv[3])
    store = Store.open(uri)
    time.sleep(max(0, start - time.time()))
    for number in range(15):
        recipe = Recipe("target", "classifier", {"number": number})
        with store.artifacts.workspace() as folder:
            for name in ("a.npz", "b.npz"):
                (folder / name).write_bytes(content)
            store.artifacts.publish(recipe, folder, wall_s=0.0)
"""


@pytest.mark.slow
def test_publishers_at_the_same_time_do_not_mix(store: Store) -> None:
    start = str(time.time() + 2)
    processes = [run_python(PUBLISH, store.uri, who, start) for who in ("x", "y")]
    assert [process.wait(280) for process in processes] == [0, 0]
    keys = [Recipe("target", "classifier", {"number": number}).key for number in range(15)]
    assert store.artifacts.keys() == set(keys)
    for key in keys:
        folder = store.artifacts.fetch(key)
        assert (folder / "a.npz").read_bytes() == (folder / "b.npz").read_bytes()
    if store.location.local:
        assert litter(store) == []


def test_losing_the_race_drops_ours(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with store.artifacts.workspace() as folder:
        fill(folder, {"weights.safetensors": b"ours"})
        original = ArtifactStore.has

        def has_just_before_theirs(self: ArtifactStore, key: ArtifactKey) -> bool:
            monkeypatch.setattr(ArtifactStore, "has", original)
            publish(store, payload={"weights.safetensors": b"theirs"})
            return False

        monkeypatch.setattr(ArtifactStore, "has", has_just_before_theirs)
        store.artifacts.publish(TARGET, folder, wall_s=0.0)
    assert (store.artifacts.fetch(TARGET.key) / "weights.safetensors").read_bytes() == b"theirs"
    assert len(store.location.files(f"artifacts/{TARGET.key}")) == 3


DIE = """
    import os, sys
    from pathlib import Path
    from midef.core import Recipe
    from midef.storage import Location, Store, _meta, artifacts
    store, moment = Store.open(sys.argv[1]), sys.argv[2]
    put = Location.put
    def put_or_die(self, path, content):
        if path.endswith("META.json"):
            os._exit(7)
        put(self, path, content)
    with store.artifacts.workspace() as folder:
        (folder / "weights.npz").write_bytes(b"1" * 1000)
        if moment == "payload":
            os._exit(7)
        Path.rename = lambda self, target: os._exit(7)
        Location.put = put_or_die
        store.artifacts.publish(Recipe("split", "x"), folder, wall_s=0.0)
"""


@pytest.mark.parametrize("moment", ["payload", "publish"])
def test_a_process_killed_while_writing_leaves_nothing_visible(store: Store, moment: str) -> None:
    recipe = Recipe("split", "x")
    assert run_python(DIE, store.uri, moment).wait(280) == 7
    assert store.artifacts.keys() == set()
    assert not store.artifacts.has(recipe.key)
    with pytest.raises(MissingArtifact):
        store.artifacts.fetch(recipe.key)
    publish(store, recipe)
    assert store.artifacts.fetch(recipe.key).is_dir()
    if store.location.local:
        assert len(litter(store)) == 1
        assert store.artifacts.sweep_tmp(older_than_s=3600) == 1, "its process is dead"
        assert litter(store) == []


# --- a full disk ------------------------------------------------------------------------------------------------------


def test_a_full_disk_while_building_is_explained(local_store: Store) -> None:
    for error in (OSError(errno.ENOSPC, "x"), RuntimeError("No space left on device (os error 28)")):
        expected = r"store is full: .* free; free space or choose another --store; nothing"
        with pytest.raises(StoreError, match=expected), local_store.artifacts.workspace():
            raise error


def test_a_full_temporary_folder_is_told_apart_from_a_full_store(s3_store: Store, tmp_path: Path) -> None:
    expected = f"no space in {tmp_path}, where files of s3://.* pass through; .* set TMPDIR"
    with pytest.raises(StoreError, match=expected), s3_store.artifacts.workspace():
        raise OSError(errno.ENOSPC, "x")


def test_a_full_disk_while_publishing_leaves_nothing(local_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with local_store.artifacts.workspace() as folder:
        fill(folder)
        with monkeypatch.context() as patch, pytest.raises(StoreError, match="store is full"):
            patch.setattr(Path, "write_bytes", full)
            local_store.artifacts.publish(TARGET, folder, wall_s=0.0)
    assert local_store.artifacts.keys() == set()
    assert litter(local_store) == []


FILL = """
    import sys
    from midef.core import Recipe, StoreError
    from midef.storage import Store
    store = Store.open(sys.argv[1])
    for number in range(100):
        try:
            with store.artifacts.workspace() as folder:
                (folder / "weights.npz").write_bytes(b"1" * 100_000)
                store.artifacts.publish(Recipe("split", "x", {"number": number}), folder, wall_s=0.0)
        except StoreError as error:
            done = store.artifacts.keys()
            for key in done:
                store.artifacts.fetch(key)
            print(number, len(done), error)
            break
"""


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare to mount a small disk of its own")
def test_a_really_full_disk_keeps_what_is_finished(tmp_path: Path) -> None:
    mount = f"mount -t tmpfs -o size=1m small {tmp_path}"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True).returncode != 0:
        pytest.skip("this system lets nobody mount a small disk")
    command = f'{mount} && exec "$0" -c "$1" {tmp_path}/store'
    arguments = ["unshare", "-rm", "sh", "-c", command, sys.executable, textwrap.dedent(FILL)]
    said = subprocess.run(arguments, capture_output=True, text=True, timeout=280).stdout
    failed_at, finished, message = said.split(" ", 2)
    assert failed_at == finished
    assert 5 <= int(finished) <= 10
    assert message.startswith(f"store is full: {tmp_path}/store")
    assert "nothing finished is lost" in message


def test_too_little_space_is_found_before_a_run(local_store: Store, s3_store: Store) -> None:
    free = local_store.artifacts.free_bytes()
    assert free is not None
    local_store.artifacts.check_space(1)
    with pytest.raises(StoreError, match=r"store is too small: the plan needs 1000000\.0 TB, .* free; free space or"):
        local_store.artifacts.check_space(10**18)
    assert s3_store.artifacts.free_bytes() is None
    s3_store.artifacts.check_space(10**18)


def test_an_upload_that_fails_leaves_nothing_visible(s3_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Location.put

    def put_without_rights(self: Location, path: str, content: bytes) -> None:
        if path.endswith("META.json"):
            raise StoreError("denied")
        original(self, path, content)

    monkeypatch.setattr(Location, "put", put_without_rights)
    with pytest.raises(StoreError, match="denied"):
        publish(s3_store)
    assert s3_store.artifacts.keys() == set()
