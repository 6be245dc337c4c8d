"""Checks a built page in a real browser without a network: what it loads, says and offers."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from midef.core.errors import SpecError
from midef.dashboards.chromium import Browser, browser, find_browser
from midef.dashboards.files import POLICY

CDNS = ("cdn.plot.ly", "jsdelivr", "unpkg", "cdnjs", "googleapis")
OWN = ("file:", "data:", "blob:", "about:")
"""Schemes of a page from disk."""
SHOW = """(async (fragment) => {
    history.replaceState(null, "", fragment);
    dispatchEvent(new HashChangeEvent("hashchange"));
    const settled = () => !document.querySelector("main[aria-busy]");
    for (let i = 0; i < 600 && !settled(); i++) await new Promise(done => setTimeout(done, 50));
    await new Promise(done => setTimeout(done, 150));
    const trouble = document.getElementById("trouble");
    return {
        settled: settled(), trouble: trouble.hidden ? "" : trouble.textContent,
        buttons: [...document.querySelectorAll(".modebar-btn")].map(b => b.dataset.title || ""),
        wide: document.documentElement.scrollWidth - innerWidth,
    };
})"""
WIDTHS_PX = (1440, 1024, 390)
"""A desktop, a tablet and a phone."""
HIGH_PX = 900
MOST_HIGH_PX = 4000
"""Of a picture: a longer view is cut off."""
LOADED = """(async () => {
    const loads = () => [...document.images].some((image) => image.checkVisibility() && !image.complete);
    await new Promise(done => setTimeout(done, 100));
    for (let i = 0; i < 100 && loads(); i++) await new Promise(done => setTimeout(done, 50));
    await new Promise(done => setTimeout(done, 100));
})()"""
RULES = (
    ("policy", "the page has the content security policy"),
    ("cdn", "no file of the page names a CDN"),
    ("drawn", "every view is drawn"),
    ("requests", "nothing is asked for beyond the folder of the page"),
    ("errors", "no error in the console"),
    ("share", "no plot has a button that shares it"),
    ("width", "no view is wider than the window"),
)


@dataclass(frozen=True)
class RuleResult:
    """One rule: its meaning, and what breaks it, with the view."""

    name: str
    meaning: str
    problems: tuple[str, ...]


def check_page(index: Path, widths: Sequence[int] = WIDTHS_PX, pictures: Path | None = None) -> list[RuleResult]:
    """Open every view of a built page at every width, and every setup at the first.

    Args:
        index: the page.
        widths: of the window, pixels.
        pictures: folder that gets a picture of every view at every width, `VIEW-WIDTH.png`.

    Raises:
        SpecError: if there is no page.
        PreflightError: if there is no browser.
    """
    if not index.is_file():
        raise SpecError(f"no page at {index}: build it first, or name its folder with --out")
    program = find_browser()
    found: dict[str, list[str]] = {name: [] for name, _ in RULES}
    text = index.read_text(encoding="utf-8")
    if f'http-equiv="Content-Security-Policy" content="{POLICY}"' not in text:
        found["policy"].append("index.html: the policy is missing, or another")
    found["cdn"] += [f"index.html: {cdn}" for cdn in CDNS if cdn in text]
    with browser(program) as tab:
        for width in widths:
            _resize(tab, width)
            tab.call("Page.navigate", url="about:blank")
            tab.call("Page.navigate", url=index.resolve().as_uri())  # anew: a page may begin otherwise on a phone
            views, setups = _links(tab)
            if not views:
                found["drawn"].append("index.html: the page did not start")
            for name, fragment in (views | setups if width == widths[0] else views).items():
                where = fragment if width == widths[0] else f"{fragment} at {width} px"
                _look(tab, fragment, where, found)
                found["requests"] += [f"{where}: {url}" for url in _requests(tab.events)]
                found["errors"] += [f"{where}: {said}" for said in _errors(tab.events)]
                tab.events.clear()
                if pictures is not None and name in views:
                    pictures.mkdir(parents=True, exist_ok=True)
                    (pictures / f"{name}-{width}.png").write_bytes(_picture(tab, width))
    return [RuleResult(name, meaning, tuple(dict.fromkeys(found[name]))) for name, meaning in RULES]


def _links(tab: Browser) -> tuple[dict[str, str], dict[str, str]]:
    """Links to every view by its name, and to every setup in the view of setups."""
    code = """(async () => {
        for (let i = 0; i < 600 && !(window.MIDEF && document.querySelector("#views a")); i++) {
            await new Promise(done => setTimeout(done, 50));
        }
        const page = window.MIDEF || { views: [], setups: [] };
        return { views: page.views.map(v => v.name), setups: page.setups.map(s => s.name) };
    })()"""
    names: dict[str, Any] = tab.evaluate(code) or {}
    from urllib.parse import urlencode

    views = {name: f"#view={name}" for name in names.get("views", [])}
    links = [f"#{urlencode({'view': 'setup', 'setup': name})}" for name in names.get("setups", [])]
    return views, {link: link for link in links if "setup" in views}


def _resize(tab: Browser, width_px: int, height_px: int = HIGH_PX) -> None:
    size = {"width": width_px, "height": height_px, "deviceScaleFactor": 1, "mobile": False}
    tab.call("Emulation.setDeviceMetricsOverride", **size)


def _look(tab: Browser, fragment: str, where: str, found: dict[str, list[str]]) -> None:
    seen = tab.evaluate(f"{SHOW}({json.dumps(fragment)})")
    if not seen["settled"] or seen["trouble"]:
        found["drawn"].append(f"{where}: {seen['trouble'] or 'it is still loading after 30 s'}")
    found["share"] += [f"{where}: {title}" for title in seen["buttons"] if "share" in title.lower()]
    if seen["wide"] > 0:
        found["width"].append(f"{where}: {seen['wide']} px wider than the window")


def _picture(tab: Browser, width_px: int) -> bytes:
    """PNG of the view that is shown, from top to end: in a window as high as it is, since pictures load when seen."""
    high_px = min(MOST_HIGH_PX, max(HIGH_PX, tab.evaluate("document.documentElement.scrollHeight")))
    _resize(tab, width_px, high_px)
    tab.evaluate(LOADED)
    shot = tab.call("Page.captureScreenshot", format="png")
    _resize(tab, width_px)
    return base64.b64decode(shot["data"])


def _requests(events: Iterable[tuple[str, dict[str, Any]]]) -> list[str]:
    urls = [params["request"]["url"] for name, params in events if name == "Network.requestWillBeSent"]
    return [url for url in urls if not url.startswith(OWN)]


def _errors(events: Iterable[tuple[str, dict[str, Any]]]) -> list[str]:
    said = []
    for name, params in events:
        if name == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            said.append(str(details.get("exception", {}).get("description", details.get("text"))).splitlines()[0])
        elif name == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            said.append(" ".join(str(one.get("value", one.get("description", ""))) for one in params["args"]))
        elif name == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            said.append(params["entry"]["text"])
    return said


def check_text(results: Sequence[RuleResult], most: int = 5) -> str:
    """A line per rule, with what breaks it."""
    lines = []
    for one in results:
        lines.append(f"{'fail' if one.problems else 'pass'}  {one.meaning}")
        lines += [f"      {problem}" for problem in one.problems[:most]]
        if len(one.problems) > most:
            lines.append(f"      and {len(one.problems) - most} more")
    return "\n".join(lines)
