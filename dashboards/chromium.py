"""Chromium, driven through a pipe in its DevTools protocol: no package beyond the standard library is needed.

Protocol: https://chromedevtools.github.io/devtools-protocol/; `--remote-debugging-pipe` reads from descriptor 3 and
writes to 4, messages of JSON with a zero byte behind each.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from midef.core.errors import PreflightError

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")
"""Programs that are looked for on PATH, in this order; $BROWSER_PATH comes before them."""
FLAGS = (
    *("--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--hide-scrollbars", "--remote-debugging-pipe"),
    *("--host-resolver-rules=MAP * ~NOTFOUND", "--window-size=1400,900"),
)
"""No name is resolved: the page is opened as on a machine without a network."""
RENUMBER = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)
"""Gives the two pipes the numbers that Chromium expects; a POSIX shell may refuse numbers above 9."""
WAIT_S = 120.0
"""For an answer; a busy machine takes long to start a browser."""


def find_browser() -> str:
    """Path of Chromium or a relative of it.

    Raises:
        PreflightError: if there is none.
    """
    named = os.environ.get("BROWSER_PATH", "")
    found = shutil.which(named) if named else next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        raise PreflightError(
            f"no browser: {named} is no program; set BROWSER_PATH to Chromium or Chrome"
            if named
            else f"no browser: none of {', '.join(NAMES)} is on PATH; install Chromium, or set BROWSER_PATH"
        )
    return found


class Browser:
    """One tab of a running Chromium. Make it with `browser()`.

    Args:
        send: descriptor that it reads from.
        receive: descriptor that it writes to.
    """

    def __init__(self, send: int, receive: int) -> None:
        self._send, self._receive = send, receive
        self._rest = b""
        self._number = 0
        self._session = ""
        self.events: list[tuple[str, dict[str, Any]]] = []
        """(name, parameters) of what happened since the list was emptied."""

    def open_tab(self) -> None:
        """Make the tab, and be told of its requests, messages and errors."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Result of a command.

        Raises:
            PreflightError: if Chromium does not answer, or refuses.
        """
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._send, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            answer = self._read(end)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise PreflightError(f"Chromium refuses {method}: {answer['error'].get('message')}")
                result: dict[str, Any] = answer.get("result", {})
                return result
        raise PreflightError(f"Chromium did not answer {method} within {WAIT_S:.0f} s")

    def evaluate(self, code: str) -> Any:
        """Value of an expression in the tab; a promise is waited for.

        Raises:
            PreflightError: as `call`, and if the expression fails.
        """
        answer = self.call("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            said = answer["exceptionDetails"]
            raise PreflightError(f"the page failed: {said.get('exception', {}).get('description', said.get('text'))}")
        return answer["result"].get("value")

    def _read(self, end: float) -> dict[str, Any]:
        """The next message; events are kept."""
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._receive], [], [], max(0.0, end - time.monotonic()))
            content = os.read(self._receive, 1 << 20) if ready else b""
            if not content:
                raise PreflightError("Chromium ended, or answers no more")
            self._rest += content
        message, _, self._rest = self._rest.partition(b"\0")
        read: dict[str, Any] = json.loads(message)
        if "method" in read:
            self.events.append((read["method"], read.get("params", {})))
        return read


@contextmanager
def browser(program: str) -> Iterator[Browser]:
    """A running Chromium with one tab, without a network; ended and forgotten afterwards.

    Args:
        program: path, from `find_browser`.

    Raises:
        PreflightError: if it does not start.
    """
    to_read, to_write = os.pipe()
    from_read, from_write = os.pipe()
    with tempfile.TemporaryDirectory(prefix="midef-browser-", ignore_cleanup_errors=True) as profile:
        root = (
            ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        )  # Chromium refuses root with one
        command = [program, *FLAGS, *root, f"--user-data-dir={Path(profile)}", "about:blank"]
        start = [sys.executable, "-I", "-S", "-c", RENUMBER, str(to_read), str(from_write), *command]
        process = subprocess.Popen(
            start, pass_fds=(to_read, from_write), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(to_read)
        os.close(from_write)
        try:
            tab = Browser(to_write, from_read)
            tab.open_tab()
            yield tab
            with suppress(PreflightError, OSError):
                tab._session = ""
                tab.call("Browser.close")
        finally:
            for descriptor in (to_write, from_read):
                os.close(descriptor)
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
