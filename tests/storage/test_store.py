"""Opening a store: making it, finding it again, refusing what is none."""

from __future__ import annotations

import json
import logging
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import midef
from midef.core import StoreError, StoreSchemaError
from midef.storage import Store
from midef.storage.seals import read_json


def test_a_new_store_says_who_wrote_it(store: Store) -> None:
    about = read_json(store.location.get("store.json"), sealed_since=1)
    assert about == {"schema": 1, "written_by": midef.__version__}


def test_opening_again_keeps_what_is_written(store: Store) -> None:
    store.location.put("store.json", b'{"schema": 1, "written_by": "0.0.1"}')
    Store.open(store.uri)
    assert json.loads(store.location.get("store.json"))["written_by"] == "0.0.1"


def test_a_newer_store_is_refused(store: Store) -> None:
    store.location.put("store.json", b'{"schema": 2, "written_by": "9.1"}')
    with pytest.raises(StoreSchemaError, match=r"has schema 2, written by midef 9\.1.*supports up to 1: upgrade midef"):
        Store.open(store.uri)


@pytest.mark.parametrize("content", [b"{", b"", b"[]", b'{"schema": "one"}'], ids=["cut", "empty", "list", "text"])
def test_a_damaged_store_json_is_set_aside_and_written_again(
    store: Store, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    store.location.put("store.json", content)
    with caplog.at_level(logging.WARNING):
        Store.open(store.uri, create=False)
    assert "store.json is damaged and set aside as .damaged/store.json-1" in caplog.text
    assert store.location.get(".damaged/store.json-1") == content
    caplog.clear()
    Store.open(store.uri, create=False)
    assert "damaged" not in caplog.text


def test_a_lost_store_json_is_written_again(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    store.sweeps.write_manifest("abc", [{"cell": "c1"}], '{"name": "small"}')
    store.location.put("artifacts/split/0/images.npz", b"?")  # what nobody else has
    store.location.delete("store.json")
    again = Store.open(store.uri, create=False)
    assert f"store.json of the store {store.location.shown} is lost and written again" in caplog.text
    assert again.location.exists("store.json") and [digest for digest, _ in again.sweeps.manifests()] == ["abc"]


def test_no_bit_of_store_json_makes_it_newer(local_store: Store) -> None:
    content = local_store.location.get("store.json")
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 2  # 1 becomes 3
        local_store.location.put("store.json", bytes(damaged))
        Store.open(local_store.uri, create=False)
        assert local_store.location.get("store.json") == content, position


def test_a_place_without_store_is_not_opened_by_readers(uri: str) -> None:
    with pytest.raises(StoreError, match=r"no midef store at .*; check --store"):
        Store.open(uri, create=False)
    Store.open(uri)
    assert Store.open(uri, create=False).uri == uri


def test_a_worker_gets_the_same_store(store: Store) -> None:
    again = pickle.loads(pickle.dumps(store))  # noqa: S301 - our own bytes
    again.location.put("results/hello.txt", b"hi")
    assert store.location.get("results/hello.txt") == b"hi"


def test_parts_of_a_store_can_be_sent_to_a_worker(store: Store) -> None:
    for part in (store.artifacts, store.results, store.sweeps):
        assert pickle.loads(pickle.dumps(part)).location == store.location  # noqa: S301


def test_a_relative_path_is_found_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store.open("some where/50% #1")
    monkeypatch.chdir("/")
    assert store.uri == str(tmp_path / "some where/50% #1")
    assert Store.open(store.uri, create=False).uri == store.uri


def test_a_file_uri_is_local(tmp_path: Path) -> None:
    assert Store.open(f"file://{tmp_path}/store").uri == str(tmp_path / "store")


def test_a_moved_folder_is_the_same_store(local_store: Store, tmp_path: Path) -> None:
    local_store.sweeps.write_manifest("abc", [{"cell": "c1"}], '{"name": "small"}')
    shutil.move(local_store.uri, tmp_path / "moved")
    assert Store.open(tmp_path / "moved", create=False).sweeps.read_manifest("abc").rows == [{"cell": "c1"}]


def test_a_file_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("hi")
    with pytest.raises(StoreError, match=r"is a file; give the path of a folder"):
        Store.open(tmp_path / "file")


@pytest.mark.parametrize("uri", ["hdfs://host/store", "https://example.org/store", ""], ids=["hdfs", "https", "empty"])
def test_other_places_are_refused(uri: str) -> None:
    with pytest.raises(StoreError, match=r"give a local path, s3://bucket/prefix or gs://bucket/prefix"):
        Store.open(uri)


def test_a_missing_bucket_is_explained(s3_uri: str) -> None:
    uri = s3_uri.replace("s3://bucket/", "s3://no-such-bucket/").replace("allow_bucket_creation=true", "")
    with pytest.raises(StoreError, match=r"cannot create the store in the store s3://no-such-bucket/.*check the place"):
        Store.open(uri)


def test_errors_do_not_show_credentials(s3_uri: str) -> None:
    with pytest.raises(StoreError) as caught:
        Store.open(s3_uri.replace("s3://", "s3://user:secret@"), create=False)
    assert "secret" not in str(caught.value)


def test_an_unreadable_uri_is_explained() -> None:
    with pytest.raises(StoreError, match=r"cannot open the store s3://bucket/x: .*check the URI and its options"):
        Store.open("s3://bucket/x?no_such_option=1")


def test_importing_loads_nothing_heavy() -> None:
    code = "import sys, midef.storage; print([m for m in ('pandas', 'torch', 'ray') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_process_that_used_s3_ends(s3_uri: str) -> None:
    code = f"from midef.storage import Store; Store.open({s3_uri!r}).results.cells()"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=280)
