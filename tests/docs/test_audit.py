"""The commands and options of the pages about audits are those of the program."""

from __future__ import annotations

import inspect
import re
import shlex
from pathlib import Path

import pytest

from midef.audit.input import NORMALISATIONS
from midef.audit.run import audit
from midef.sweep.cli.app import make_parser

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("docs/audit.md", "docs/audit_endpoint.md", "benchmarks/audit/README.md")


def commands(page: str) -> list[list[str]]:
    """Every `midef audit` of the page's shell blocks, as words."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith("midef audit ")]


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_are_read_by_the_parser(page: str) -> None:
    found = commands(page)
    assert found
    for words in found:
        read = make_parser().parse_args(words)
        assert read.verb == "audit" and read.input in NORMALISATIONS and read.private


def test_every_option_in_the_text_exists() -> None:
    help_text = next(a for a in make_parser()._actions if a.dest == "verb").choices["audit"].format_help()  # type: ignore[index,call-overload]
    text = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")
    for option in set(re.findall(r"`(--[a-z-]+)", text)):
        assert option in help_text, option


def test_the_arguments_of_the_call_exist() -> None:
    text = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")
    known = inspect.signature(audit).parameters
    call = re.search(r"midef\.audit\(module, (.*?)\)\n", text)
    assert call is not None
    for name in re.findall(r"(\w+)=", call[1]):
        assert name in known, name
