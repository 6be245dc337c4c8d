"""Last net of the command line: an error that nobody foresaw ends as one sentence, its traceback in a file."""

from __future__ import annotations

import argparse
import errno
import io
import os
import platform
import select
import sys
import tempfile
import time
import traceback
from contextlib import suppress

import midef
from midef.core.errors import PreflightError
from midef.core.failure import Failure
from midef.core.text import printable
from midef.sweep.result import EXIT_UNFORESEEN

ERRORS = "errors"
"""Folder of a store for tracebacks."""
_LETTERS = 300


def last_words(error: BaseException, args: argparse.Namespace) -> int:
    """Say in one sentence how a command ended by an error that is none of ours, and return the exit code.

    Args:
        error: whatever was raised.
        args: of the command; its `store`, if it has one, gets the traceback, and `verbose` prints it as well.
    """
    failure = Failure.of(error)
    text = _report(error)
    if getattr(args, "verbose", False):
        tell(text)
    place = _keep(text, getattr(args, "store", None))
    kept = f"traceback: {place}" if place else f"no place for its traceback, so here it is:\n{text}"
    code, what = PreflightError.exit_code, _cause(error, failure)
    if not what:
        code, what = EXIT_UNFORESEEN, "an error nobody expected"
    ask = "; please report it with that file" if code == EXIT_UNFORESEEN and place else ""
    tell(f"midef: {what}: {_one_line(failure.message)}{ask}; {kept}\n")
    return code


def tell(text: str) -> None:
    """Write to standard error what is fit for a terminal, if anybody still listens."""
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(printable(text))


def _cause(error: BaseException, failure: Failure) -> str:
    """What this machine lacks, where that is the cause; "" if nobody knows it."""
    if failure.kind == "oom":
        return "this machine has not enough memory free for this command"
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left on device" in failure.message:
        return "no space is left on a disk of this machine"
    if isinstance(error, ModuleNotFoundError) and (error.name or "midef").partition(".")[0] != "midef":
        return f"a package is missing here (pip install {(error.name or '').partition('.')[0]})"
    return "Ray failed; what is finished is stored, the same command goes on" if failure.kind in ("ray", "died") else ""


def _report(error: BaseException) -> str:
    """The traceback, with what a report of the error needs."""
    trace = "".join(traceback.format_exception(error))
    shown = " ".join(argument.partition("?")[0].rpartition("@")[2] for argument in sys.argv[1:])  # without credentials
    return f"midef {midef.__version__}, Python {platform.python_version()}, {platform.platform()}\n{shown}\n\n{trace}"


def _keep(text: str, store: str | None) -> str:
    """Write a report into the store, if there is one, else into a temporary file; returns where, "" if nowhere."""
    name = f"{time.strftime('%Y-%m-%d_%H-%M-%S')}-{os.getpid()}.txt"
    content = text.encode(errors="backslashreplace")
    if store:
        with suppress(Exception):  # perhaps the store is what failed
            from midef.storage import Store

            location = Store.open(store, create=False).location
            location.put(f"{ERRORS}/{name}", content)
            return f"{location.shown}/{ERRORS}/{name}"
    with suppress(OSError):
        descriptor, path = tempfile.mkstemp(prefix="midef-error-", suffix=f"-{name}")
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
        return path
    return ""


def _one_line(message: str) -> str:
    """A message without line breaks and control characters, cut where it gets long."""
    line = "".join(letter if letter.isprintable() else " " for letter in message)
    line = " ".join(line.split())
    return line if len(line) <= _LETTERS else f"{line[:_LETTERS]}..."


def output_is_closed() -> bool:
    """True if nobody reads standard output any more, as after `| head`."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    except (AttributeError, OSError, ValueError, io.UnsupportedOperation):
        return False


def forget_output() -> None:
    """Let what is still to be written to standard output go nowhere."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def open_streams() -> None:
    """Let output that was closed before the start go nowhere, and a terminal that lacks a letter show its code."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # as after `>&-`
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - open until the end
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")
