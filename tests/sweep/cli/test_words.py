"""Words of help texts and messages: terms of the field, singular for one."""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from midef.core.text import counted
from midef.sweep.cli.app import VERBS, make_parser

Midef = Callable[..., tuple[int, str, str]]
ROOT = Path(__file__).resolve().parents[3]

FORBIDDEN = re.compile(
    r"goes beyond|tries of|begin nothing|nobody said|what a person writes|\bpub\.|\bnets?\b|\blikewise\b|"
    r"\bthing(s|y)?\b.*\bthing|(?<![\w-])etc\.|\bsimply\b|\bjust\b|\bplease\b",
    re.I,
)
NOUNS = (
    "network|setup|cell|seed|defense|attack|artifact|training|image|strength|metric|run|piece|problem|row|sweep|trial|"
    "reconstruction|identitie|categorie|file|pair|process(?=es)|second"
)
WRONG_PLURAL = re.compile(rf"(?<![\d.,:x@-])\b1 ({NOUNS})e?s\b")


def faults(text: str) -> list[str]:
    """Forbidden words and wrong plurals."""
    return [found[0] for check in (FORBIDDEN, WRONG_PLURAL) for found in check.finditer(text)]


@pytest.mark.parametrize(
    "text", ["on 1 networks", "1 identities", "begin nothing that goes beyond", "pub. 86.9", "1 cells"]
)
def test_the_check_sees(text: str) -> None:
    assert faults(text)


@pytest.mark.parametrize("text", ["1 network", "11 networks", "0.1 points", "1 of 2 cells", "public", "setups 1, 2"])
def test_the_check_lets_pass(text: str) -> None:
    assert not faults(text)


@pytest.mark.parametrize("verb", VERBS)
def test_help_texts(verb: str) -> None:
    (verbs,) = (a for a in make_parser()._actions if isinstance(a, argparse._SubParsersAction))
    parser = verbs.choices[verb]
    assert not faults(parser.format_help())
    for action in parser._actions:
        text = action.help or ""
        assert text and text[0].islower() | text[0].isdigit() | (text[0] in "`-.") | text.split()[0].isupper() | (
            text.split()[0] in ("BibTeX", "HTML", "CPUs", "JSON")
        ), (verb, action.dest, text)
        assert not text.endswith("."), (verb, action.dest, text)


def messages(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of every string of a module but docstrings; what is filled in stands as `{}`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    said: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            said.add(id(node.value))
        if isinstance(node, ast.JoinedStr):
            said |= {id(part) for part in ast.walk(node) if isinstance(part, ast.Constant)}
            parts = (part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
            yield node.lineno, "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            yield node.lineno, node.value


@pytest.mark.parametrize("room", ["midef", "sweep", "dashboards"])
def test_messages_in_the_code(room: str) -> None:
    found = {
        f"{path.relative_to(ROOT)}:{line}": text
        for path in sorted((ROOT / room).rglob("*.py"))
        if "sweep" not in path.relative_to(ROOT).parts[1:] and "dashboards" not in path.relative_to(ROOT).parts[1:]
        for line, text in messages(path)
        if " " in text and PHRASES.search(text)
    }
    assert not found


PHRASES = re.compile(
    r"goes beyond|tries of|begin nothing|nobody said|what a person writes|(?<!\w)pub\. |\b1 networks\b"
)


def test_what_a_small_sweep_prints(midef: Midef, finished: Path) -> None:
    """One setup, one seed: every count is one somewhere."""
    printed = [
        midef(*arguments)[1]
        for arguments in (
            ("plan", finished, "--store", "store", "--set", "defenses=[none]"),
            ("plan", finished, "--store", "other", "--set", "defenses=[none]"),
            ("status", "--store", "store"),
            ("table", "--store", "store"),
            ("table", "--store", "store", "--worst"),
            ("table", "--store", "store", "--paper", "MIDRE", "--table", "3"),
            ("compare", "none", "midre", "--store", "store"),
            ("list", "sweeps"),
            ("list", "profiles"),
        )
    ]
    assert all(printed) and not [fault for text in printed for fault in faults(text)]


def test_counting(spec: Callable[..., dict[str, Any]]) -> None:
    assert [counted(n, "identity", "identities") for n in (0, 1, 2)] == ["0 identities", "1 identity", "2 identities"]
