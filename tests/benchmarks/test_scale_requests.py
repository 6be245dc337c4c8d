"""Requests to an object store, counted at a server: a small write is one, a driver asks for many at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from scale_costs import Requests
from scale_requests import CountingServer, billed

from midef.storage import Store
from midef.storage.location import Location
from midef.sweep.execution.run_record import RunRecord


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[CountingServer]:
    pytest.importorskip("moto.server")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with CountingServer() as server:
        yield server


@pytest.mark.parametrize(
    ("method", "query", "is_object", "field"),
    [
        ("PUT", "", True, "writes"), ("POST", "uploads", True, "writes"), ("GET", "", True, "reads"),
        ("HEAD", "", True, "reads"), ("HEAD", "", False, "reads"), ("DELETE", "", True, "free"),
        ("GET", "list-type=2&prefix=a", False, "writes"),
    ],
)  # fmt: skip
def test_requests_are_counted_as_they_are_billed(method: str, query: str, is_object: bool, field: str) -> None:
    assert billed(method, query, is_object) == field


def test_a_small_write_is_one_request(server: CountingServer) -> None:
    """Arrow's default is three, all of the dear kind: start, part, end. Who writes that option gets it."""
    store = Store.open(server.uri)
    server.taken()
    store.location.put("results/x.json", b"1" * 1000)
    assert server.taken() == Requests(writes=1)
    assert store.location.get("results/x.json") == b"1" * 1000
    assert store.uri == server.uri, "the store is called as before"
    server.taken()
    Location.open(f"{server.uri}&allow_delayed_open=false").put("results/x.json", b"2")
    assert server.taken() == Requests(writes=3)


def test_heartbeats_of_an_object_store_are_read_many_at_a_time(
    server: CountingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = RunRecord(Store.open(server.uri), "run")
    for i in range(12):
        record.beat(f"n{i}", {"pid": i, "beats": 1})
    record.location.put("runs/run/nodes/damaged.json", b"{")
    under_way, most, lock, get = [0], [0], threading.Lock(), Location.get

    def slow(self: Location, path: str) -> bytes:
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
        time.sleep(0.05)
        try:
            if path.endswith("n3.json"):
                raise FileNotFoundError(path)  # its node ended since the listing
            return get(self, path)
        finally:
            with lock:
                under_way[0] -= 1

    monkeypatch.setattr(Location, "get", slow)
    assert record.beats() == {f"n{i}": {"pid": i, "beats": 1} for i in range(12) if i != 3}
    assert most[0] > 4
