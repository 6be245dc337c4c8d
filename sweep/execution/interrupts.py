"""Interrupts: the first lets what runs finish, the second ends it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stopping(stop: Callable[[str], None]) -> Iterator[None]:
    """SIGINT once calls `stop`; twice, or SIGTERM, raises KeyboardInterrupt. Only the main thread hears signals.

    Args:
        stop: called with why: "interrupted".
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received = 0

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal received
        received += 1
        if number == signal.SIGTERM or received > 1:
            raise KeyboardInterrupt
        stop("interrupted")

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
