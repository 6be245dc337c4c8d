"""Serves a page of a store that is being written: on this machine only, built again where rows changed."""

from __future__ import annotations

import logging
import posixpath
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from typing_extensions import override

from midef.core.errors import MidefError
from midef.dashboards.pictures import hand_on

HOST = "127.0.0.1"
VERSION = "/version"
"""Answers with a number that changes whenever the page was built anew."""
NO_CONNECTION, OWN_CONNECTION = "connect-src 'none'", "connect-src 'self'"
"""A served page asks for the version; one from disk may not connect at all."""
ENDING_S = 10.0
"""Longest wait for a build that is in its way when serving ends."""
WATCHED = ("results", "sweeps", "matches", "analyses")
"""Folders of a store that the page depends on."""

log = logging.getLogger(__name__)


class LivePage:
    """A page that is built anew into another folder, and served from there once it is whole.

    Args:
        build: builds into a folder.
        state: what the page depends on; the page is built again when it is another.
        say: told what was built, and what went wrong.
    """

    def __init__(
        self, build: Callable[[Path], object], state: Callable[[], object], say: Callable[[str], None]
    ) -> None:
        self._build, self._state, self._say = build, state, say
        self._root = Path(tempfile.mkdtemp(prefix="midef-dashboard-"))
        self._built_of: object = None
        self.version = 0
        self.took_s = 0.0

    @property
    def folder(self) -> Path:
        """Of the page as it was built last."""
        return self._root / str(self.version)

    def refresh(self) -> bool:
        """Build the page again if its rows changed; True if it did.

        Raises:
            MidefError: if it cannot be built.
        """
        state = self._state()
        if self.version and state == self._built_of:
            return False
        start = time.perf_counter()
        following = self._root / str(self.version + 1)
        if self.version:
            hand_on(self.folder, following)
        self._build(following)
        self._built_of, self.version = state, self.version + 1
        self.took_s = time.perf_counter() - start
        shutil.rmtree(self._root / str(self.version - 2), ignore_errors=True)  # the last but one may be being read
        return True

    def keep_fresh(self, every_s: float, stop: threading.Event) -> None:
        """Refresh until told to stop. A build may take at most half of the time.

        Args:
            every_s: seconds between two looks at the store.
            stop: ends it.
        """
        while not stop.wait(max(every_s, self.took_s)):
            try:
                if self.refresh():
                    self._say(f"built again in {self.took_s:.1f} s")
            except (MidefError, OSError) as error:  # the store is written meanwhile, and may be gone for a while
                if stop.is_set():
                    return
                self._say(f"not built again, the page stays as it is: {error}")

    def remove(self, follower: threading.Thread | None = None) -> None:
        """Remove every folder it built.

        Args:
            follower: runs `keep_fresh` and was told to stop; it may be in the middle of a build.
        """
        shutil.rmtree(self._root, ignore_errors=True)
        if follower is None or not follower.is_alive():
            return
        # A build would make its folder again: where a file has that name it fails at the next thing it writes.
        with suppress(OSError):
            self._root.touch()
        follower.join(timeout=ENDING_S)
        self._root.unlink(missing_ok=True)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM, and SIGHUP of a terminal that is closed, end what runs inside as Ctrl-C does."""

    def end(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    names = ("SIGTERM", "SIGHUP")
    before = {number: signal.signal(number, end) for name in names if (number := getattr(signal, name, None))}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def server(page: LivePage, port: int) -> ThreadingHTTPServer:
    """A server of the page on this machine's own address.

    Args:
        page: built at least once.
        port: 0 takes a free one.

    Raises:
        OSError: if the port is taken.
    """

    class Handler(SimpleHTTPRequestHandler):
        """Files of the page, and its version; nothing else is answered."""

        server_version, sys_version = "midef", ""

        @override
        def do_GET(self) -> None:
            self._answer(with_body=True)

        @override
        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def _answer(self, *, with_body: bool) -> None:
            # Another site that resolves to this machine would send its own name.
            if self.headers.get("Host", "").rsplit(":", 1)[0] not in (HOST, "localhost"):
                self.send_error(HTTPStatus.FORBIDDEN)
                return
            found = self._content(posixpath.normpath(unquote(urlsplit(self.path).path)))
            if found is None:
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            content, kind = found
            self.send_response(HTTPStatus.OK)
            for name, value in (
                *(("Content-Type", kind), ("Content-Length", str(len(content))), ("Cache-Control", "no-store")),
                *(("X-Content-Type-Options", "nosniff"), ("Cross-Origin-Resource-Policy", "same-origin")),
            ):
                self.send_header(name, value)
            self.end_headers()
            if with_body:
                self.wfile.write(content)

        def _content(self, path: str) -> tuple[bytes, str] | None:
            """Content and kind of what is asked for; None if there is nothing."""
            if path == VERSION:
                return str(page.version).encode(), "text/plain"
            folder = page.folder.resolve()
            file = (folder / path.lstrip("/")).resolve() if path != "/" else folder / "index.html"
            if not file.is_file() or not file.is_relative_to(folder):
                return None
            content = file.read_bytes()
            if file == folder / "index.html":
                content = content.replace(NO_CONNECTION.encode(), OWN_CONNECTION.encode(), 1)
            return content, self.guess_type(str(file))

        @override
        def log_message(self, format: str, *args: Any) -> None:
            log.debug(format, *args)

    return ThreadingHTTPServer((HOST, port), Handler)


def store_state(uris: Iterable[str]) -> tuple[tuple[str, float], ...]:
    """What tells that rows, plans, matchings or analyses of stores changed: their files and when these were written."""
    from midef.storage import Store

    state = []
    for uri in uris:
        location = Store.open(uri, create=False).location
        for root in WATCHED:
            for path in location.files(root):
                try:
                    state.append((f"{uri}/{path}", location.modified(path)))
                except FileNotFoundError:
                    continue  # gone meanwhile
    return tuple(state)
