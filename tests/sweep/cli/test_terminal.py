"""What the command line writes, whatever stands in a name or a message."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from midef.sweep.cli.app import main
from midef.sweep.cli.options import say
from midef.sweep.cli.terminal import LogFormatter

Midef = Callable[..., tuple[int, str, str]]
NASTY = "a\x1b[2Jb\x07\x9b\u202e"
SHOWN = "a\\x1b[2Jb\\x07\\x9b\\u202e"


def test_output(capsys: pytest.CaptureFixture[str]) -> None:
    say(f"{NASTY}\nnext")
    assert capsys.readouterr().out == f"{SHOWN}\nnext\n"


def test_an_error_of_ours(midef: Midef) -> None:
    code, _, err = midef("plan", f"{NASTY}.yaml")
    assert code == 2 and SHOWN in err and "\x1b" not in err


def test_an_option_that_cannot_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["plan", "smoke", f"--{NASTY}"])
    assert SHOWN in (err := capsys.readouterr().err) and "\x1b" not in err


def test_a_log_line_is_one_line() -> None:
    name = f"{NASTY}\nERROR midef: forged"
    record = logging.LogRecord("midef", logging.WARNING, "", 0, "%s is damaged", (name,), None)
    text = LogFormatter("%(levelname)s %(name)s: %(message)s").format(record)
    assert text == f"WARNING midef: {SHOWN}\n    ERROR midef: forged is damaged"
