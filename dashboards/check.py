"""Checks a built page in a real browser without a network: what it loads, says and offers."""

from __future__ import annotations

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


def check_page(index: Path) -> list[RuleResult]:
    """Open every view and every setup of a built page.

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
        tab.call("Page.navigate", url=index.resolve().as_uri())
        names = _names(tab)
        if not names:
            found["drawn"].append("index.html: the page did not start")
        for fragment in names:
            _look(tab, fragment, found)
            found["requests"] += [f"{fragment}: {url}" for url in _requests(tab.events)]
            found["errors"] += [f"{fragment}: {said}" for said in _errors(tab.events)]
            tab.events.clear()
    return [RuleResult(name, meaning, tuple(dict.fromkeys(found[name]))) for name, meaning in RULES]


def _names(tab: Browser) -> list[str]:
    """Links to every view, and to every setup in the view of setups."""
    code = """(async () => {
        for (let i = 0; i < 600 && !(window.MIDEF && document.querySelector("#views a")); i++) {
            await new Promise(done => setTimeout(done, 50));
        }
        const page = window.MIDEF || { views: [], setups: [] };
        return { views: page.views.map(v => v.name), setups: page.setups.map(s => s.name) };
    })()"""
    names: dict[str, Any] = tab.evaluate(code) or {}
    from urllib.parse import urlencode

    views = [f"#view={name}" for name in names.get("views", [])]
    setups = [f"#{urlencode({'view': 'setup', 'setup': name})}" for name in names.get("setups", [])]
    return [*views, *(setups if "setup" in names.get("views", []) else [])]


def _look(tab: Browser, fragment: str, found: dict[str, list[str]]) -> None:
    seen = tab.evaluate(f"{SHOW}({json.dumps(fragment)})")
    if not seen["settled"] or seen["trouble"]:
        found["drawn"].append(f"{fragment}: {seen['trouble'] or 'it is still loading after 30 s'}")
    found["share"] += [f"{fragment}: {title}" for title in seen["buttons"] if "share" in title.lower()]
    if seen["wide"] > 0:
        found["width"].append(f"{fragment}: {seen['wide']} px wider than the window")


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
