"""Parameters and fields are documented in an `Args:` block, where editors find them, and only those that exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTED = ("midef", "sweep", "dashboards")
"""Folders that keep the rule: all that is shipped. The links inside `midef` are not followed."""

Definition: TypeAlias = ast.ClassDef | ast.FunctionDef
SECTION = re.compile(r"(Args|Returns|Raises|Yields|Source|We differ|Example|Note)s?:")
EXPLAINED = re.compile(r"(?:^|[.;] )(\w+(?:, \w+)*): ")
"""Names before a colon, where a sentence could begin."""


def parameters_of(node: Definition) -> set[str]:
    """Parameters of a function; fields of a class, with the parameters of its `__init__`."""
    if isinstance(node, ast.ClassDef):
        fields = {
            statement.target.id
            for statement in node.body
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
        }
        inits = [s for s in node.body if isinstance(s, ast.FunctionDef) and s.name == "__init__"]
        return fields.union(*map(parameters_of, inits))
    arguments = node.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    starred = [argument for argument in (arguments.vararg, arguments.kwarg) if argument is not None]
    return {argument.arg for argument in (*named, *starred)} - {"self", "cls"}


def sections_of(docstring: str) -> Iterator[tuple[str, str]]:
    """Lines of a docstring, each with the name of its section, "" outside all."""
    section = ""
    for line in docstring.splitlines():
        heading = SECTION.match(line)
        if heading:
            section = heading[1]
        elif line and not line.startswith(" "):
            section = ""
        yield section, line


def faults_of(source: str) -> list[str]:
    """Parameters that are explained in prose, and entries of `Args:` that name none."""
    faults = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, Definition) or (docstring := ast.get_docstring(node)) is None:
            continue
        parameters, where = parameters_of(node), f"line {node.lineno}: {node.name}"
        for section, line in sections_of(docstring):
            if not section:
                names = [name for match in EXPLAINED.finditer(line) for name in match[1].split(", ")]
                faults += [f"{where}: {name} belongs into Args" for name in names if name in parameters]
            # A class may document fields that it inherits.
            entry = re.match(r" {4}(\w+(?:, \w+)*): ", line) if section == "Args" else None
            if entry and isinstance(node, ast.FunctionDef):
                faults += [f"{where}: no parameter {name}" for name in entry[1].split(", ") if name not in parameters]
    return faults


@pytest.mark.parametrize("room", DOCUMENTED)
def test_parameters_are_documented_in_args_blocks(room: str) -> None:
    paths = sorted((ROOT / room).rglob("*.py"))
    assert paths
    faults = {str(path.relative_to(ROOT)): faults_of(path.read_text(encoding="utf-8")) for path in paths}
    assert {path: said for path, said in faults.items() if said} == {}


FUNCTION = '''
def fit(images, *more, noise=0.1):
    """{}"""
'''
CLASS = '''
class Fit:
    """{}"""

    noise: float = 0.1

    def __init__(self, images):
        self.images = images
'''


@pytest.mark.parametrize(
    ("source", "docstring", "faults"),
    [
        (FUNCTION, "Fit a curve.\n\n    noise: standard deviation.\n    ", ["noise belongs into Args"]),
        (FUNCTION, "Fit a curve. noise: standard deviation.", ["noise belongs into Args"]),
        (FUNCTION, "Fit.\n\n    To what is given; images, more: [B].\n    ", ["images", "more"]),
        (FUNCTION, "Fit a curve to images: one each.", []),
        (FUNCTION, "Fit a curve; others: none of its parameters.", []),
        (FUNCTION, "Fit a curve.\n\n    Args:\n        images, more: [B].\n        noise: above 0.\n    ", []),
        (FUNCTION, "Fit.\n\n    Args:\n        images: [B].\n\n    noise: above 0.\n    ", ["noise belongs into Args"]),
        (FUNCTION, "Fit.\n\n    Args:\n        nose: above 0.\n    ", ["no parameter nose"]),
        (FUNCTION, "Fit.\n\n    Args:\n        noise: one of\n            small: 0.1.\n    ", []),
        (FUNCTION, "Fit.\n\n    Raises:\n        ValueError: noise: below 0.\n    ", []),
        (CLASS, "Fit.\n\n    noise: above 0; images: [B].\n    ", ["noise", "images"]),
        (CLASS, "Fit.\n\n    Args:\n        noise: above 0.\n        inherited: of the base.\n    ", []),
    ],
)
def test_what_counts_as_a_fault(source: str, docstring: str, faults: list[str]) -> None:
    actual = faults_of(source.format(docstring))
    assert len(actual) == len(faults) and all(part in fault for part, fault in zip(faults, actual, strict=True))
