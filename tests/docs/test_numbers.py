"""Measured numbers say what made them: a table in README or benchmarks names commit, date and machine, or its age."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "benchmarks").rglob("*.md"))]
MADE = re.compile(r"[Mm]ade at commit `[0-9a-f]{7,}`( and `[0-9a-f]{7,}`)*, 20\d\d-\d\d-\d\d, on \w")
OLDER = "older than this version"
NUMBER_CELL = re.compile(r"^\|.*\|\s*[-+*~<>]?\d[\d,.]*\b.*\|", re.MULTILINE)


def sections(text: str) -> list[tuple[str, str]]:
    """(title, text) of each part of a page between two headings."""
    parts = re.split(r"^(#+ .*)$", text, flags=re.MULTILINE)
    return list(zip(["", *parts[1::2]], parts[0::2], strict=True))


def unexplained(text: str) -> list[str]:
    """Titles of the sections with a table of numbers and no word of what made it."""
    return [
        title
        for title, body in sections(text)
        if NUMBER_CELL.search(body) and not MADE.search(body) and OLDER not in body.lower()
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_table_says_what_made_it(page: Path) -> None:
    assert unexplained(page.read_text("utf-8")) == []


def test_the_rule_sees_a_table_without_a_word() -> None:
    table = "| defense | att@1 % |\n| --- | ---: |\n| none | 31.2 [23.7, 40.0] |\n"
    assert unexplained(f"# A\n\n{table}\n## B\n\nwords\n") == ["# A"]
    assert unexplained(f"# A\n\nMade at commit `abcdef12`, 2026-11-29, on cpu x86_64.\n\n{table}") == []
    assert unexplained(f"# A\n\nOlder than this version: made before it.\n\n{table}") == []
    assert unexplained(f"# A\n\nMade at commit `abcdef12`.\n\n{table}") == ["# A"]
