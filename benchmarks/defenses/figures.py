"""One figure per defense: test accuracy and attack accuracy against its strength, from stored results.

    python benchmarks/defenses/figures.py STORE [--out benchmarks/defenses]

Reads the sweeps of this folder from a store and draws with the system's Chromium (the test extra brings the driver).
The bars are the range over seeds, the line is their mean; dotted lines are the undefended target of the same sweep.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from playwright.sync_api import sync_playwright

from midef.core.rows import ResultRow
from midef.defenses import DEFENSES, Tuning
from midef.storage import Store, rows_of_sweep

SWEEPS = ("strengths", "skips", "pretrained")
ACCURACY, ATTACK = "natural_accuracy", "attack_accuracy_at_1"


@dataclass(frozen=True)
class Panel:
    """What one figure shows. strength: the parameter on the x axis; fixed: parameters every point must have."""

    title: str
    sweep: str
    defense: str
    strength: str
    fixed: tuple[tuple[str, Any], ...] = ()
    log: bool = False
    others: tuple[tuple[str, float], ...] = ()
    """Other defenses that are points of the same line: (name, x)."""


MIDRE = (("place", "random"), ("area_low", 0.1))
PANELS = {
    "midre": Panel("MIDRE: largest erased share (smallest 0.1)", "strengths", "midre", "area_high", MIDRE),
    "entire_erasing": Panel("Entire erasing: share of images left out", "strengths", "entire_erasing", "share"),
    "pixel_masking": Panel("Pixel masking: largest share of pixels", "strengths", "pixel_masking", "share_high"),
    "cutmix": Panel("CutMix: share of batches", "strengths", "cutmix", "p"),
    "random_crop": Panel("Random crop: smallest share kept", "strengths", "random_crop", "scale_low"),
    "gaussian_blur": Panel("Gaussian blur: largest sigma", "strengths", "gaussian_blur", "sigma_high"),
    "ls": Panel("Label smoothing: factor", "strengths", "ls", "alpha"),
    "nls": Panel("Negative label smoothing: factor", "strengths", "nls", "alpha"),
    "bido_hsic": Panel(
        "BiDO, HSIC: lambda_x (lambda_y = 10 x)", "strengths", "bido", "lambda_x", (("measure", "hsic"),), True
    ),
    "bido_coco": Panel(
        "BiDO, COCO: lambda_x (lambda_y = 10 x)", "strengths", "bido", "lambda_x", (("measure", "coco"),), True
    ),
    "mid": Panel("MID: weight of the KL term", "strengths", "mid", "weight", (), True),
    "loft": Panel("LoFt: rank of the head", "strengths", "loft", "rank"),
    "calor": Panel("CALoR: gamma (rank 30)", "strengths", "calor", "gamma"),
    "trap_mid": Panel("Trap-MID: share of the trigger in a trapped image", "strengths", "trap_mid", "alpha"),
    "dp_sgd": Panel(
        "DP-SGD: noise multiplier (clip 1, group norm)", "strengths", "dp_sgd", "noise_multiplier", (), True
    ),
    "ssf_rolss": Panel(
        "SSF: scale k of the last skips (0 is RoLSS)", "skips", "ssf", "k", (), False, (("rolss", 0.0),)
    ),
    "tts": Panel("TTS: scale k of the last skips in phase two", "skips", "tts", "k"),
    "tl_dmi": Panel("TL-DMI: share of units frozen", "pretrained", "tl_dmi", "share"),
}
AREAS = {
    "random place (RE)": ("midre", "area_high", "random"),
    "fixed place (FE)": ("midre", "area_high", "fixed"),
    "entire images (EE)": ("entire_erasing", "share", None),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    options = parser.parse_args()
    store = Store.open(options.store, create=False)
    rows = {sweep: rows_of_sweep(store, sweep) for sweep in SWEEPS}
    print(table(rows))
    draw(rows, options.out)


def draw(rows: dict[str, list[ResultRow]], out: Path) -> None:
    """Every figure, as PNG in the folder `out`."""
    figures = {name: panel_figure(panel, rows[panel.sweep]) for name, panel in PANELS.items()}
    figures["erasing_variants"] = areas_figure(rows["strengths"])
    photograph({name: figure for name, figure in figures.items() if figure is not None}, out)


def values(rows: list[ResultRow], defense: str, metric: str) -> dict[str, list[tuple[dict[str, Any], float]]]:
    """By label of the defense: parameters and value of every seed."""
    found: dict[str, list[tuple[dict[str, Any], float]]] = defaultdict(list)
    for row in rows:
        if row.defense_name == defense and row.metric == metric and row.value is not None:
            found[row.defense].append((json.loads(row.defense_params), row.value))
    return found


def points(rows: list[ResultRow], panel: Panel, metric: str) -> list[tuple[float, list[float]]]:
    """(strength, value of every seed), sorted by strength."""
    found = []
    for seeds in values(rows, panel.defense, metric).values():
        params = seeds[0][0]
        if all(params[name] == value for name, value in panel.fixed):
            found.append((float(params[panel.strength]), [v for _, v in seeds]))
    for name, x in panel.others:
        found += [(x, [v for _, v in seeds]) for seeds in values(rows, name, metric).values()]
    return sorted(found)


def table(rows: dict[str, list[ResultRow]]) -> str:
    """All points as Markdown, weakest strength first, and which way the attack goes from each to the next."""
    lines = ["| defense | strength | test accuracy % | attack accuracy@1 % | attack, weak to strong |"]
    lines.append("| --- | --- | ---: | ---: | --- |")
    for sweep, measured in rows.items():
        found = [[v for seeds in values(measured, "none", m).values() for _, v in seeds] for m in (ACCURACY, ATTACK)]
        if all(found):
            lines.append(f"| none ({sweep}) | | {spread(found[0])} | {spread(found[1])} | |")
    for panel in PANELS.values():
        tuning = DEFENSES.get(panel.defense).tuning
        accuracy, attack = (points(rows[panel.sweep], panel, metric) for metric in (ACCURACY, ATTACK))
        if not attack:
            continue
        if panel.defense in ("tts", "ssf") or (isinstance(tuning, Tuning) and not tuning.larger_hides):
            accuracy, attack = accuracy[::-1], attack[::-1]
        means = [sum(v) / len(v) for _, v in attack]
        steps = [later - earlier for earlier, later in pairwise(means)]
        verdict = "falls" if all(s <= 0 for s in steps) else "rises" if all(s >= 0 for s in steps) else "not monotone"
        for i, ((x, accurate), (_, attacked)) in enumerate(zip(accuracy, attack, strict=True)):
            name = panel.title.partition(":")[0] if i == 0 else ""
            last = verdict if i == 0 else ""
            lines.append(f"| {name} | {panel.strength} {x:g} | {spread(accurate)} | {spread(attacked)} | {last} |")
    return "\n".join(lines)


def spread(seeds: list[float]) -> str:
    """Mean and range over seeds."""
    return f"{sum(seeds) / len(seeds):.1f} [{min(seeds):.1f}, {max(seeds):.1f}]"


def add_line(
    figure: Any, line: list[tuple[float, list[float]]], name: str, colour: str, symbol: str = "circle"
) -> None:
    means = [sum(v) / len(v) for _, v in line]
    figure.add_scatter(
        x=[x for x, _ in line],
        y=means,
        name=name,
        mode="lines+markers",
        line_color=colour,
        marker_symbol=symbol,
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [max(v) - m for (_, v), m in zip(line, means, strict=True)],
            "arrayminus": [m - min(v) for (_, v), m in zip(line, means, strict=True)],
        },
    )


def panel_figure(panel: Panel, rows: list[ResultRow]) -> Any:
    figure = go.Figure()
    for metric, name, colour in ((ACCURACY, "test accuracy", "#0072B2"), (ATTACK, "attack accuracy@1", "#D55E00")):
        line = points(rows, panel, metric)
        if not line:
            return None
        add_line(figure, line, name, colour)
        undefended = [v for seeds in values(rows, "none", metric).values() for _, v in seeds]
        if undefended:
            figure.add_hline(y=sum(undefended) / len(undefended), line_dash="dot", line_color=colour)
    figure.update_xaxes(title=panel.strength, type="log" if panel.log else "linear")
    return dressed(figure, panel.title)


def areas_figure(rows: list[ResultRow]) -> Any:
    """MIDRE's properties P2 and P3: one area, three ways of leaving it out."""
    figure = go.Figure()
    for (name, (defense, parameter, place)), symbol in zip(AREAS.items(), ("circle", "square", "diamond"), strict=True):
        for metric, colour in ((ACCURACY, "#0072B2"), (ATTACK, "#D55E00")):
            line = []
            for seeds in values(rows, defense, metric).values():
                params = seeds[0][0]
                if place is None or (params["place"] == place and params["area_low"] == params["area_high"]):
                    line.append((float(params[parameter]), [v for _, v in seeds]))
            word = "test" if metric == ACCURACY else "attack"
            add_line(figure, sorted(line), f"{word}, {name}", colour, symbol)
    figure.update_xaxes(title="share of the image, or of the images, that is left out")
    figure = dressed(figure, "Erasing at random places, at a fixed place, and whole images")
    return figure.update_layout(height=440, margin_t=125, title_y=0.97)  # six names above the plot


def dressed(figure: Any, title: str) -> Any:
    figure.update_layout(
        title={"text": title, "font": {"size": 14}},
        template="plotly_white",
        width=520,
        height=380,
        margin={"l": 50, "r": 15, "t": 70, "b": 45},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "font": {"size": 11}},
        font={"family": "DejaVu Sans, sans-serif"},
    )
    figure.update_yaxes(title="%", range=[-2, 102])
    return figure


def photograph(figures: dict[str, Any], out: Path) -> None:
    """One PNG per figure, through a page in Chromium."""
    page_text = "".join(
        f'<div id="{name}" style="width:520px">{f.to_html(full_html=False, include_plotlyjs=not i)}</div>'
        for i, (name, f) in enumerate(figures.items())
    )
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as player:
        path = Path(folder) / "figures.html"
        path.write_text(f"<meta charset=utf-8>{page_text}")
        browser = player.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 560, "height": 800})
        page.goto(path.as_uri())
        for name in figures:
            page.locator(f"#{name}").screenshot(path=out / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    main()
