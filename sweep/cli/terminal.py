"""Parser and log lines of the command line, fit for a terminal whatever a name or a message holds."""

from __future__ import annotations

import argparse
import logging
from typing import Any

from typing_extensions import override

from midef.core.text import printable


class Parser(argparse.ArgumentParser):
    """A parser whose messages repeat no control character of an argument."""

    @override
    def _print_message(self, message: str, file: Any = None) -> None:
        super()._print_message(printable(message), file)


class LogFormatter(logging.Formatter):
    """Log lines without control characters; what follows a line break is indented and passes for no other line."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record)).replace("\n", "\n    ")
