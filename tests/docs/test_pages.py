"""Pages say what is there: links and paths lead somewhere, generated pages are up to date, lengths stay readable."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from midef.core.errors import FAILURE_KINDS

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "cluster" / "README.md"])
LINK = re.compile(r"\]\((?!https?://|mailto:)([^)#\s]*)(#[^)\s]*)?\)")
CODE_PATH = re.compile(r"`((?:midef|sweep|dashboards|tests|docs|benchmarks|cluster)/[\w./]*)`")


def heading_anchors(text: str) -> set[str]:
    """Anchors of a page's headings, as the usual renderers make them."""
    titles = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    broken = []
    for path, anchor in LINK.findall(text):
        target = (page.parent / path).resolve() if path else page
        if not target.exists():
            broken.append(path)
        elif anchor and target.suffix == ".md" and anchor[1:] not in heading_anchors(target.read_text("utf-8")):
            broken.append(path + anchor)
    assert broken == []


# CHANGELOG names what was moved away; cluster pages name paths on the nodes.
@pytest.mark.parametrize(
    "page",
    [p for p in PAGES if p.name not in ("CHANGELOG.md", "add_a_method.md")],
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_paths_in_the_text_exist(page: Path) -> None:
    named = set(CODE_PATH.findall(page.read_text("utf-8")))
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_generated_pages_are_up_to_date() -> None:
    new_files = ["git", "ls-files", "--others", "--exclude-standard", "midef"]
    if subprocess.run(new_files, cwd=ROOT, capture_output=True, check=False).stdout:
        pytest.skip("a component that is not committed yet need not be in the pages")
    done = subprocess.run(
        [sys.executable, "docs/make.py", "--check"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, f"run `python docs/make.py`:\n{done.stdout}{done.stderr}"


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 150


def test_every_kind_of_failure_has_its_line() -> None:
    table = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "failures.md").read_text("utf-8"), flags=re.MULTILINE)
    assert table == list(FAILURE_KINDS)
