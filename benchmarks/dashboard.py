"""How long a dashboard of a full matrix takes: to build, to load, and to switch to another setup.

    python benchmarks/dashboard.py [--page benchmarks/dashboard.md] [--setups 37] [--defenses 20] [--seeds 5]

The rows are made up; every cell has test and attack accuracy with intervals, and four reconstructions of its own. The
page is opened in headless Chromium with the network off. CPU seconds are of this process (build) and of the page's own
thread (load and switch), so that other work on the machine hardly counts; wall seconds are given beside them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from midef.core import ArtifactKey, ResultRow
from midef.core.code_version import code_version
from midef.dashboards.build import BuildReport, build_page

FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")
SWITCHES = 8
PAGE = """# How long a dashboard takes

`python benchmarks/dashboard.py --page benchmarks/dashboard.md` builds the page of {setups} setups x {defenses} defenses
x {seeds} seeds = {cells:,} cells with made-up rows and reconstructions, opens it in headless Chromium from disk with
the network off, and chooses {switches} other setups. The aim is 1.5 s to load and 150 ms to switch on two cores.

{made}

| step | CPU s | wall s |
| --- | ---: | ---: |
{rows}

`data.js`, which is loaded first, has {first:,.0f} kB; all data together {data:,.1f} MB in {files} files, pictures
included. CPU of loading and switching is that of the page's own thread: scripts, styles, layout.
"""


class Cost(NamedTuple):
    """CPU and wall seconds of a step."""

    step: str
    cpu_s: float
    wall_s: float


class Shelf:
    """Artifacts that are made up when they are asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def fetch(self, key: ArtifactKey) -> Path:
        """The folder of an artifact."""
        folder = self.root / key.digest[:16]
        if not folder.is_dir():
            folder.mkdir(parents=True)
            draws = np.random.default_rng(int(key.digest[:8], 16))
            images = draws.integers(0, 255, (4, 3, 64, 64), np.uint8)
            about = {"labels": np.arange(4), "restarts": np.zeros(4, int)}
            np.savez(folder / "images.npz", images=images, **about)
            hits = draws.random(4) < 0.5
            np.savez(folder / "per_image.npz", hit_at_1=hits, hit_at_5=hits, **about)
        return folder


def made_up(setups: int, defenses: int, seeds: int) -> Iterator[ResultRow]:
    """Rows of every cell."""
    draws = np.random.default_rng(0)
    names = ["none", *(f"defense_{i}(strength={i / 10:.1f})" for i in range(1, defenses))]
    for s in range(setups):
        for d, defense in enumerate(names):
            for seed in range(seeds):
                digest = f"{(s * defenses + d) * seeds + seed + 1:08x}{0:056x}"
                facts: dict[str, Any] = {
                    **{"sweep": "made-up", "profile": "mini", "setup": f"S{s + 1:02d}", "defense": defense},
                    **{"defense_name": defense.partition("(")[0], "defense_params": defense, "seed": seed},
                    **{"attack": f"attack_{s % 3}", "attack_name": f"attack_{s % 3}", "access": "white box"},
                    **{"architecture": f"network_{s % 4}", "private": f"faces_{s % 2}", "public": "others"},
                    **{"evaluator": "judge", "evaluator_accuracy": 97.0, "resolution_px": 64, "identities": 300},
                    **{"images_per_identity": 5, "code_version": "0", "cell": f"{s}-{d}-{seed}", "unit": "percent"},
                    **{"private_is_generated": True, "reconstructions_key": f"reconstructions/{digest}"},
                    "scores_key": f"scores/{digest}",
                }
                natural, attack = draws.normal(85 - d / 3, 1), draws.normal(70 - 2 * d, 3)
                for metric, value, larger in (
                    ("natural_accuracy", natural, "more useful"),
                    ("attack_accuracy_at_1", attack, "less private"),
                ):
                    span = {"low": value - 2, "high": value + 2, "interval": "95 % over identities"}
                    yield ResultRow(metric=metric, value=float(value), larger_is=larger, **span, **facts)


def built(rows: list[ResultRow], shelf: Shelf, out: Path, step: str) -> tuple[Cost, BuildReport]:
    """Build the page once."""
    wall, cpu = time.perf_counter(), time.process_time()
    report = build_page(rows, shelf.fetch, out, store_name="made up")
    return Cost(step, time.process_time() - cpu, time.perf_counter() - wall), report


def shown(index: Path) -> list[Cost]:
    """Load the page, then a setup, then other setups."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("chromium is not on PATH; install it, the page is measured in it")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=list(FLAGS))
        page = browser.new_context(offline=True, viewport={"width": 1440, "height": 900}).new_page()
        page.set_default_timeout(300_000)
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})  # CPU, not wall

        def thread_s() -> float:
            metrics = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
            return float(metrics["TaskDuration"])

        def drawn() -> None:
            page.wait_for_selector("main:not([aria-busy])", state="attached")
            page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

        def step(name: str, act: Any) -> Cost:
            wall, cpu = time.perf_counter(), thread_s()
            act()
            drawn()
            return Cost(name, thread_s() - cpu, time.perf_counter() - wall)

        costs = [step("load: overview", lambda: page.goto(index.as_uri()))]
        costs.append(step("first setup", lambda: page.click("#views a[data-view=setup]")))
        names = page.eval_on_selector_all("#setup option", "found => found.map(o => o.value)")[1 : SWITCHES + 1]
        switches = [step(name, lambda name=name: page.select_option("#setup", name)) for name in names]
        for pick, word in ((statistics.median, "median"), (max, "largest")):
            cpu, wall = pick([one.cpu_s for one in switches]), pick([one.wall_s for one in switches])
            costs.append(Cost(f"switch to another setup, {word} of {len(switches)}", cpu, wall))
        browser.close()
    return costs


def main() -> None:
    """Measure, and print or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path)
    for name, count in (("setups", 37), ("defenses", 20), ("seeds", 5)):
        parser.add_argument(f"--{name}", type=int, default=count)
    args = parser.parse_args()
    rows = list(made_up(args.setups, args.defenses, args.seeds))
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        shelf, out = Shelf(Path(folder) / "artifacts"), Path(folder) / "page"
        first, _ = built(rows, shelf, out, "build")
        again, report = built(rows, shelf, out, "build again, nothing changed")
        costs = [first, again, *shown(report.index)]
        size = sum(path.stat().st_size for path in out.rglob("*") if path.name != "plotly.min.js" and path.is_file())
        kb = (out / "data.js").stat().st_size / 1e3
    version, _, commit = code_version().partition("+")
    made = (
        f"Made at commit `{commit or version}`, {datetime.now(UTC):%Y-%m-%d}, on {os.cpu_count()} cores, load "
        f"{before:.0f} to {os.getloadavg()[0]:.0f}, most of it by other programs: wall seconds are an upper bound."
    )
    text = PAGE.format(
        setups=args.setups,
        defenses=args.defenses,
        seeds=args.seeds,
        cells=args.setups * args.defenses * args.seeds,
        switches=SWITCHES,
        made=made,
        rows="\n".join(f"| {one.step} | {one.cpu_s:.2f} | {one.wall_s:.2f} |" for one in costs),
        first=kb,
        data=size / 1e6,
        files=report.files - 1,
    )
    if args.page:
        args.page.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
