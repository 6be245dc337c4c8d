"""The page that `benchmarks/stores.py` writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stores import Block

PAGE = """# How stores grow

`python benchmarks/stores.py --before CHECKOUT --rounds 1 --page benchmarks/stores.md` makes up stores and runs
commands on them, each in a process of its own. A sweep has up to 37 setups x 20 defenses x 5 seeds x 15 metrics, 55,500
rows, in one compact file; larger stores hold several sweeps, and table and page are of the latest: 740 lines. There are
no artifacts, so the pages have no pictures ([dashboard.md](dashboard.md) has those). CPU seconds and peak memory are of
the process, start included; "before" is the same command of an older checkout in the same run, in turn, and tables of
both are equal to the last character. The aims at a million rows are 2 s for status and table and 10 s for the page.

{stamp}

| rows | command | CPU s | before | ratio | peak MB | before |
| ---: | --- | ---: | ---: | ---: | ---: | ---: |
{rows}

{one}"""
ONE = """All rows in one sweep, of {setups} setups, which one table shows whole, 20 lines of each:

| rows | command | CPU s | peak MB |
| ---: | --- | ---: | ---: |
{rows}
"""


def written(blocks: Sequence[Block], stamp: str) -> str:
    """The page of what was measured."""
    lines = []
    for one in (one for one in blocks if not one.is_one):
        old = one.before
        if old is not None:
            assert old.said == one.now.said, f"{one.command} of {one.rows:,} rows prints something else than before"
        ratio, cpu, peak = ("", "", "")
        if old is not None:
            ratio, cpu, peak = f"{old.cpu_s / one.now.cpu_s:.1f}", f"{old.cpu_s:.2f}", f"{old.peak_mb:,.0f}"
        cells = (
            f"{one.rows:,}",
            f"`{one.command}`",
            f"{one.now.cpu_s:.2f}",
            cpu,
            ratio,
            f"{one.now.peak_mb:,.0f}",
            peak,
        )
        lines.append(f"| {' | '.join(cells)} |")
    whole = [one for one in blocks if one.is_one]
    alone = [f"| {one.rows:,} | `{one.command}` | {one.now.cpu_s:.2f} | {one.now.peak_mb:,.0f} |" for one in whole]
    setups = round(whole[0].rows / 1500) if whole else 0
    return PAGE.format(
        stamp=stamp, rows="\n".join(lines), one=ONE.format(setups=setups, rows="\n".join(alone)) if whole else ""
    )
