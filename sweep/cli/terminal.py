"""Parser and log lines of the command line, fit for a terminal whatever a name or a message holds."""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
from typing import Any

from typing_extensions import override

from midef.core.text import printable
from midef.results.layout import WIDTH


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


LEAST_WIDTH = 40
"""Columns that a table is given on any terminal."""


def text_width() -> int:
    """Columns of the terminal, `$COLUMNS` if set; 100 where the output is no terminal."""
    fallback = (WIDTH, 24)
    if not sys.stdout.isatty():
        return WIDTH
    return max(LEAST_WIDTH, shutil.get_terminal_size(fallback).columns)
