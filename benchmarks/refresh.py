"""Writes the measured parts of pages anew, from the store that holds the results.

    python benchmarks/refresh.py README.md benchmarks/smoke/README.md --store midef-store

A page marks such a part by two comments; what stands between them is replaced, with a line that says what made it:

    <!-- numbers: table smoke -->
    <!-- /numbers -->

What a part can be, with each SWEEP a name, `NAME@DIGEST` or DIGEST of a sweep in the store:

- `table SWEEP`: what `midef table` prints of it
- `matrix SWEEP`: a whole matrix: what was built and shared, a line for each defense of each setup (matrix_table.py)
- `attacks SWEEP`: its attacks, strongest first (attack_table.py)
- `strengths FOLDER`: the table of defenses/figures.py; its figures go to FOLDER, beside the page
- `lines SWEEP`: a line for each defense of each setup (smoke/lines.py)
- `orderings FILE`: which of the orderings that FILE, beside the page, names are held (orderings.py)
- `judges SWEEP SWEEP ...`: reconstructions that two evaluators judged, by both (judges.py)
- `published FILE TABLES SWEEP ...`: the published numbers in FILE, beside the page, and ours (published_table.py)
- `course SWEEP`: how the errors of its inversion networks went, by epoch (training_course.py)
- `reconstructions SWEEP FILE`: a picture of what the attacks rebuilt, saved as FILE beside the page
  (reconstruction_grid.py)
- `stages SWEEP`: what the time model of real_size.py cut, and seconds and memory of each stage
- `dashboard SWEEP FILE`: a picture of its dashboard, saved as FILE beside the page; needs Chromium

Results that changed code made, or code outside a checkout, are refused: nobody could make them again. A part whose
sweep the store does not hold is named and left as it is; the exit code is then 1.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from midef.core import MidefError, ResultRow
from midef.storage import Store, rows_of_sweep

PART = re.compile(r"(<!-- numbers: ([^\n]*?) -->\n).*?(<!-- /numbers -->)", re.DOTALL)
COMMIT = re.compile(r"\+[0-9a-f]{7,}$")
SCREEN = {"width": 1400, "height": 1560}


class CannotRefresh(Exception):
    """Why a part stays as it is."""


def refresh(page: Path, store: Store) -> list[str]:
    """Rewrite the marked parts of a page; returns why any was left as it is.

    Args:
        page: a Markdown file.
        store: holds the results.
    """
    left = []

    def part(found: re.Match[str]) -> str:
        kind, *words = found[2].split()
        try:
            if kind not in KINDS:
                raise CannotRefresh(f"is of no kind that is known: {', '.join(KINDS)}")
            body = KINDS[kind](page, store, words)
        except (CannotRefresh, MidefError, OSError, ValueError) as error:
            left.append(f"{page}: `{found[2]}` {error}")
            return found[0]
        return f"{found[1]}{body}\n{found[3]}"

    text = page.read_text("utf-8")
    if not PART.search(text):
        left.append(f"{page}: has no part marked <!-- numbers: KIND ... --> to <!-- /numbers -->")
    rewritten = PART.sub(part, text)
    if rewritten != text:
        page.write_text(rewritten, "utf-8")
    return left


def provenance(store: Store, rows: Sequence[ResultRow]) -> str:
    """One line: commit, date and device of results.

    Raises:
        CannotRefresh: if they cannot be made again.
    """
    measured = [row for row in rows if row.origin == "measured" and row.status == "ok"]
    versions = sorted({row.code_version for row in measured})
    unclear = [version or "unknown" for version in versions if not COMMIT.search(version)]
    if unclear:
        raise CannotRefresh(
            f"was made by code that no commit holds ({', '.join(unclear)}); "
            "commit, and run the sweep anew in an empty store"
        )
    commits = " and ".join(f"`{version.partition('+')[2]}`" for version in versions)
    devices = " and ".join(sorted({row.device for row in measured}))
    return f"Made at commit {commits}, {_date(store)}, on {devices}."


def _date(store: Store) -> str:
    """Day of the newest result of the store."""
    times = [store.location.modified(path) for path in store.location.files("results")]
    return datetime.fromtimestamp(max(times), UTC).strftime("%Y-%m-%d")


def _rows(store: Store, sweep: str) -> list[ResultRow]:
    rows = rows_of_sweep(store, sweep)
    if not rows:
        raise CannotRefresh(f"has no results in {store.location.shown}")
    return rows


def _words(given: Sequence[str], *names: str) -> Sequence[str]:
    if len(given) != len(names):
        raise CannotRefresh(f"takes {', '.join(names)}; got {' '.join(given) or 'nothing'}")
    return given


def _can_import_from(folder: str) -> None:
    """Let this process import the scripts of a folder beside this one."""
    path = str(Path(__file__).parent / folder)
    if path not in sys.path:
        sys.path.append(path)


def table_part(page: Path, store: Store, words: Sequence[str]) -> str:
    """The table that `midef table --format md` prints."""
    from midef.sweep.result import results_table

    (sweep,) = _words(words, "SWEEP")
    return f"{provenance(store, _rows(store, sweep))}\n\n{results_table(store, sweep, 'md').strip()}"


def matrix_part(page: Path, store: Store, words: Sequence[str]) -> str:
    """A matrix in two tables."""
    from matrix_table import report  # type: ignore[import-not-found, unused-ignore]

    (sweep,) = _words(words, "SWEEP")
    rows = _rows(store, sweep)
    return f"{provenance(store, rows)}\n\n{report(store, rows)}"


def attacks_part(page: Path, store: Store, words: Sequence[str]) -> str:
    """The attacks of a sweep, strongest first."""
    from attack_table import attacks_report  # type: ignore[import-not-found, unused-ignore]

    (sweep,) = _words(words, "SWEEP")
    rows = _rows(store, sweep)
    return f"{provenance(store, rows)}\n\n{attacks_report(store, rows).strip()}"


def strengths_part(page: Path, store: Store, words: Sequence[str]) -> str:
    """The table of defenses over their strengths, and its figures."""
    _can_import_from("defenses")
    import figures  # type: ignore[import-not-found, unused-ignore]

    (folder,) = _words(words, "FOLDER")
    rows = {sweep: _rows(store, sweep) for sweep in figures.SWEEPS}
    line = provenance(store, [row for of_sweep in rows.values() for row in of_sweep])
    figures.draw(rows, page.parent / folder)
    return f"{line}\n\n{figures.table(rows)}"


def lines_part(page: Path, store: Store, words: Sequence[str]) -> str:
    """A sweep in one table."""
    _can_import_from("smoke")
    import lines  # type: ignore[import-not-found, unused-ignore]

    (sweep,) = _words(words, "SWEEP")
    rows = _rows(store, sweep)
    return f"{provenance(store, rows)}\n\n{lines.table(rows)}"


def orderings_part(page: Path, store: Store, words: Sequence[str]) -> str:
    """The pairs of defenses that papers order."""
    from orderings import Claims, table  # type: ignore[import-not-found, unused-ignore]

    (name,) = _words(words, "FILE")
    claims = Claims.read(page.parent / name)
    rows = [row for sweep in claims.sweeps for row in _rows(store, sweep)]
    return f"{provenance(store, rows)}\n\n{table(claims, rows)}"


def judges_part(page: Path, store: Store, words: Sequence[str]) -> str:
    """The same reconstructions by two evaluators."""
    from judges import table  # type: ignore[import-not-found, unused-ignore]

    if not words:
        raise CannotRefresh("takes SWEEP SWEEP ...; got nothing")
    rows = [row for sweep in words for row in _rows(store, sweep)]
    return f"{provenance(store, rows)}\n\n{table(rows)}"


def published_part(page: Path, store: Store, words: Sequence[str]) -> str:
    """Published numbers beside ours."""
    from published_table import Published, table  # type: ignore[import-not-found, unused-ignore]

    if len(words) < 3:
        raise CannotRefresh(f"takes FILE TABLES SWEEP ...; got {' '.join(words) or 'nothing'}")
    name, tables, *sweeps = words
    rows = [row for sweep in sweeps for row in _rows(store, sweep)]
    return f"{provenance(store, rows)}\n\n{table(Published.read(page.parent / name), tables.split(','), rows)}"


def course_part(page: Path, store: Store, words: Sequence[str]) -> str:
    """Errors of inversion networks by epoch."""
    from training_course import table  # type: ignore[import-not-found, unused-ignore]

    (sweep,) = _words(words, "SWEEP")
    rows = _rows(store, sweep)
    return f"{provenance(store, rows)}\n\n{table(store, rows)}"


def reconstructions_part(page: Path, store: Store, words: Sequence[str]) -> str:
    """What the attacks of a sweep rebuilt, as one picture."""
    from reconstruction_grid import draw  # type: ignore[import-not-found, unused-ignore]

    sweep, name = _words(words, "SWEEP", "FILE")
    rows = _rows(store, sweep)
    said = draw(store.artifacts.fetch, rows, page.parent / name)
    return f"![Reconstructions of {sweep}]({name})\n\n{said}\n\n{provenance(store, rows)}"


def stages_part(page: Path, store: Store, words: Sequence[str]) -> str:
    """Counts of the real-size run beside the published ones, and its stages."""
    from real_size import stages_report  # type: ignore[import-not-found, unused-ignore]

    (sweep,) = _words(words, "SWEEP")
    line = provenance(store, _rows(store, sweep))
    if store.location.local is None:
        raise CannotRefresh("is in a store that is no folder here; copy it")
    return f"{line}\n\n{stages_report(store.location.local)}"


def dashboard_part(page: Path, store: Store, words: Sequence[str]) -> str:
    """A picture of the dashboard."""
    from midef.dashboards.build import build

    sweep, name = _words(words, "SWEEP", "FILE")
    line = provenance(store, _rows(store, sweep))
    with tempfile.TemporaryDirectory() as folder:
        build(store.uri, Path(folder), sweep)
        photograph(Path(folder) / "index.html", page.parent / name)
    return f"![The dashboard of {sweep}]({name})\n\n{line}"


def photograph(page: Path, picture: Path) -> None:
    """The top of the first setup of a page as PNG.

    Raises:
        CannotRefresh: without Chromium.
    """
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    if chromium is None:
        raise CannotRefresh("needs Chromium: apt-get install chromium")
    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        shown = browser.new_page(viewport=SCREEN)
        shown.goto(f"{page.as_uri()}#view=setup")
        shown.wait_for_selector("#plot .main-svg")
        shown.wait_for_function("[...document.images].every(image => !image.checkVisibility() || image.complete)")
        shown.screenshot(path=picture)
        browser.close()


KINDS: dict[str, Callable[[Path, Store, Sequence[str]], str]] = {
    "table": table_part,
    "matrix": matrix_part,
    "attacks": attacks_part,
    "strengths": strengths_part,
    "lines": lines_part,
    "orderings": orderings_part,
    "judges": judges_part,
    "published": published_part,
    "course": course_part,
    "reconstructions": reconstructions_part,
    "stages": stages_part,
    "dashboard": dashboard_part,
}


def main(arguments: Iterable[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--store", default="midef-store")
    options = parser.parse_args(None if arguments is None else list(arguments))
    store = Store.open(options.store, create=False)
    left = [line for page in options.pages for line in refresh(page, store)]
    for line in left:
        sys.stderr.write(f"{line}\n")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
