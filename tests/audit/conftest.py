"""A small endpoint on this machine, and a clock that only sleeping moves."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from midef.audit.answers import AnswerStore

CLASSES = 4
Reply = tuple[int, dict[str, str], bytes]


class Clock:
    """Seconds that pass while somebody sleeps."""

    def __init__(self) -> None:
        self.now, self.slept = 1_000_000.0, list[float]()

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Server(ThreadingHTTPServer):
    """Answers with `reply`, and writes down what it was asked; answers trickle on until `hold` is set."""

    daemon_threads = True
    requests: list[dict[str, Any]]
    headers: list[dict[str, str]]
    hold: Event | None = None
    reply: Callable[[dict[str, Any]], Reply | None]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/predict"

    @property
    def ids(self) -> list[str]:
        """Every image that it was asked about, in their order."""
        return [image for request in self.requests for image in request["ids"]]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(request)
        self.server.headers.append(dict(self.headers))
        reply = self.server.reply(request)
        if reply is None:  # closes the connection without a word
            return
        status, headers, body = reply
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        hold, left = self.server.hold, 60
        with suppress(OSError):  # who reads may go
            while hold is not None and left and not hold.wait(0.03):
                self.wfile.write(b" ")
                left -= 1

    def log_message(self, format: str, *args: Any) -> None:
        pass


def scores_of(request: dict[str, Any]) -> list[list[float]]:
    """Scores that only the image decides, by its digest."""
    rows = [np.frombuffer(bytes.fromhex(image)[:CLASSES], np.uint8) + 1.0 for image in request["ids"]]
    return [(row / row.sum()).tolist() for row in rows]


def told(**answer: Any) -> Reply:
    return 200, {}, json.dumps(answer).encode()


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as made:
        made.requests, made.headers = [], []
        made.reply = lambda request: told(scores=scores_of(request))
        thread = Thread(target=made.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def store(tmp_path: Path) -> AnswerStore:
    return AnswerStore(tmp_path / "answers.sqlite")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def images() -> Tensor:
    """Ten images of 6 px."""
    return torch.randint(0, 256, (10, 3, 6, 6), generator=Generator().manual_seed(0)) / 255
