"""The page of a running sweep: served on this machine only, and built again where rows changed."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from midef.core import StoreError
from midef.dashboards.files import POLICY
from midef.dashboards.serve import HOST, LivePage, server, store_state
from midef.storage import Store


class Building:
    """A build that writes what it is told, or fails."""

    def __init__(self) -> None:
        self.state, self.builds, self.fails = 1, 0, False

    def build(self, out: Path) -> None:
        if self.fails:
            raise StoreError("the store is gone")
        self.builds += 1
        out.mkdir(parents=True)
        (out / "index.html").write_text(f'<meta content="{POLICY}">page {self.state}')
        (out / "data.js").write_text("1")


@pytest.fixture
def building() -> Building:
    return Building()


@pytest.fixture
def page(building: Building) -> Iterator[LivePage]:
    page = LivePage(building.build, lambda: building.state, lambda text: None)
    yield page
    page.remove()


def test_the_page_is_built_again_only_where_rows_changed(building: Building, page: LivePage) -> None:
    assert page.refresh() and not page.refresh()
    first = page.folder
    building.state = 2
    assert page.refresh()
    assert (building.builds, page.version) == (2, 2)
    assert first.is_dir() and "page 2" in (page.folder / "index.html").read_text(), "whoever reads the old one may end"


def test_a_build_that_fails_leaves_the_page_as_it_is(building: Building) -> None:
    said: list[str] = []
    page = LivePage(building.build, lambda: building.state, said.append)
    page.refresh()
    building.state, building.fails = 2, True
    stop = threading.Event()
    follower = threading.Thread(target=page.keep_fresh, args=(0.01, stop))
    follower.start()
    while not said:
        stop.wait(0.01)
    stop.set()
    follower.join()
    assert page.version == 1 and page.folder.is_dir()
    assert said[0] == "not built again, the page stays as it is: the store is gone"
    page.remove()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_serving_ends_with_a_signal_and_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    Store.open(tmp_path / "store")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    command = [sys.executable, "-m", "midef", "dashboard", "serve", "--store", str(tmp_path / "store"), "--port", "0"]
    running = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    assert running.stdout is not None
    try:
        said = [running.stdout.readline(), running.stdout.readline()]
        assert said[0].startswith("dashboard: http://127.0.0.1:") and list(temporary.glob("midef-dashboard-*"))
        running.send_signal(number)
        rest = running.communicate(timeout=60)[0]
    finally:
        running.kill()
    assert running.returncode == 0 and rest.strip() == "ended"
    assert not list(temporary.glob("midef-dashboard-*"))


def test_a_build_that_is_in_the_middle_leaves_nothing_either() -> None:
    begun, go = threading.Event(), threading.Event()

    def build(out: Path) -> None:
        out.mkdir(parents=True)
        if out.name != "1":
            begun.set()
            go.wait(10)
            for name in ("a", "b"):
                (out / name).mkdir(parents=True)

    states = iter(range(1000))
    said: list[str] = []
    page = LivePage(build, lambda: next(states), said.append)
    page.refresh()
    stop = threading.Event()
    follower = threading.Thread(target=page.keep_fresh, args=(0.01, stop))
    follower.start()
    begun.wait(10)
    stop.set()
    threading.Timer(0.2, go.set).start()
    page.remove(follower)
    follower.join()
    assert not page.folder.parent.exists() and said == []


def test_only_files_of_the_page_are_served_and_only_to_this_machine(page: LivePage) -> None:
    page.refresh()
    (page.folder.parent / "secret").write_text("no")
    running = server(page, 0)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    port = running.server_address[1]

    def ask(path: str, host: str = "", method: str = "GET") -> tuple[int, str]:
        connection = http.client.HTTPConnection(HOST, port, timeout=10)
        connection.request(method, path, headers={"Host": host} if host else {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    try:
        assert running.server_address[0] == "127.0.0.1"
        status, text = ask("/")
        assert status == 200 and "connect-src 'self'" in text and "connect-src 'none'" not in text
        assert (page.folder / "index.html").read_text().count("connect-src 'none'") == 1, "the folder is one for disk"
        assert ask("/version") == (200, "1") and ask("/data.js") == (200, "1")
        for path in ("/secret", "/../secret", "/%2e%2e/secret", "/img", "/nothing.js"):
            assert ask(path)[0] == 404, path
        assert ask("/", host="evil.example")[0] == 403
        assert ask("/", method="POST")[0] == 501
    finally:
        running.shutdown()
        running.server_close()
        thread.join()


def test_the_state_of_a_store_changes_with_its_rows_and_not_with_its_artifacts(tmp_path: Path) -> None:
    Store.open(tmp_path)
    uri = str(tmp_path)
    before = store_state([uri])
    (tmp_path / "artifacts" / "target").mkdir(parents=True)
    (tmp_path / "artifacts" / "target" / "x").write_text("x")
    assert store_state([uri]) == before
    for folder in ("results", "analyses"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "a.parquet").write_text("x")
        after = store_state([uri])
        assert after != before
        before = after
