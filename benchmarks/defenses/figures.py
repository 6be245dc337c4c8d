"""One figure per defense: test accuracy and attack accuracy against its strength, from stored results.

    python benchmarks/defenses/figures.py STORE [--out benchmarks/defenses]
    python benchmarks/defenses/figures.py --table benchmarks/defenses/README.md

Reads the sweeps of this folder from a store, or the tables that an earlier run printed, and draws with the system's
Chromium (the test extra brings the driver). The bars are the range over seeds, the line is their mean; dotted lines are
the undefended target of the same sweep.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
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
METRICS = {ACCURACY: ("test accuracy", "#0072B2", "circle"), ATTACK: ("attack accuracy@1", "#D55E00", "square")}
"""Words, colour and marker of both lines of a figure."""
SPREAD = r"(-?[\d.]+) \[(-?[\d.]+), (-?[\d.]+)\]"


@dataclass(frozen=True)
class Dot:
    """A point of a line. low, high: range over seeds, the mean twice where it is not known or nothing differs."""

    x: float
    mean: float
    low: float = math.nan
    high: float = math.nan

    def __post_init__(self) -> None:
        if math.isnan(self.low):
            object.__setattr__(self, "low", self.mean)
            object.__setattr__(self, "high", self.mean)

    @classmethod
    def of(cls, x: float, seeds: Sequence[float]) -> Dot:
        return cls(x, sum(seeds) / len(seeds), min(seeds), max(seeds))


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
AREA_COLOURS = ("#0072B2", "#009E73", "#882255")
AREAS = {
    "random place (RE)": ("midre", "area_high", "random"),
    "fixed place (FE)": ("midre", "area_high", "fixed"),
    "entire images (EE)": ("entire_erasing", "share", None),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", nargs="?", help="store of the three sweeps")
    parser.add_argument("--table", type=Path, help="page whose tables are drawn instead of a store")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    options = parser.parse_args()
    if (options.store is None) == (options.table is None):
        parser.error("give a store, or --table with a page, and not both")
    if options.table is not None:
        photograph(figures_of_page(options.table.read_text("utf-8")), options.out)
        return
    store = Store.open(options.store, create=False)
    rows = {sweep: rows_of_sweep(store, sweep) for sweep in SWEEPS}
    print(table(rows))
    draw(rows, options.out)


def draw(rows: dict[str, list[ResultRow]], out: Path) -> None:
    """Every figure, as PNG in the folder `out`."""
    figures: dict[str, Any] = {}
    for name, panel in PANELS.items():
        lines = {metric: [Dot.of(x, v) for x, v in points(rows[panel.sweep], panel, metric)] for metric in METRICS}
        found = {m: [v for seeds in values(rows[panel.sweep], "none", m).values() for _, v in seeds] for m in METRICS}
        if all(lines.values()):
            figures[name] = panel_figure(panel, lines, {m: sum(v) / len(v) for m, v in found.items() if v})
    areas = {(name, metric): area_line(rows["strengths"], name, metric) for name in AREAS for metric in METRICS}
    if any(areas.values()):
        figures["erasing_variants"] = areas_figure(areas)
    photograph(figures, out)


def figures_of_page(text: str) -> dict[str, Any]:
    """The figures from the tables of this folder's page, for data whose store is gone: numbers to a tenth.

    Args:
        text: the page, with the table over strengths (`table`) and the one over erased shares.
    """
    found, undefended, title = defaultdict[str, list[tuple[float, list[Dot]]]](list), dict[str, dict[str, float]](), ""
    for name, strength, *numbers in re.findall(rf"^\|([^|]*)\|([^|]*)\| {SPREAD} \| {SPREAD} \|", text, re.M):
        name = name.strip()
        accuracy, attack = (tuple(map(float, numbers[i : i + 3])) for i in (0, 3))
        if name.startswith("none ("):
            undefended[name[6:-1]] = {ACCURACY: accuracy[0], ATTACK: attack[0]}
            continue
        title, x = name or title, float(strength.split()[-1])
        found[title].append((x, [Dot(x, *accuracy), Dot(x, *attack)]))
    figures: dict[str, Any] = {}
    for name, panel in PANELS.items():
        dots = [two for _, two in sorted(found[panel.title.partition(":")[0]], key=lambda one: one[0])]
        if dots:
            lines = {metric: [two[i] for two in dots] for i, metric in enumerate(METRICS)}
            figures[name] = panel_figure(panel, lines, undefended.get(panel.sweep, {}))
    areas: dict[tuple[str, str], list[Dot]] = defaultdict(list)
    ways = 3 * r" ([\d.]+) / ([\d.]+) \|"
    for share, *cells in re.findall(rf"^ *\| ([\d.]+) \|{ways}", text, re.M):
        for i, value in enumerate(cells):
            areas[list(AREAS)[i // 2], list(METRICS)[i % 2]].append(Dot(float(share), float(value)))
    if areas:
        figures["erasing_variants"] = areas_figure(areas)
    return figures


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


def area_line(rows: list[ResultRow], name: str, metric: str) -> list[Dot]:
    """One way of leaving out an area, by its share."""
    defense, parameter, place = AREAS[name]
    dots = []
    for seeds in values(rows, defense, metric).values():
        params = seeds[0][0]
        if place is None or (params["place"] == place and params["area_low"] == params["area_high"]):
            dots.append(Dot.of(float(params[parameter]), [v for _, v in seeds]))
    return sorted(dots, key=lambda dot: dot.x)


def add_line(figure: Any, line: Sequence[Dot], name: str, colour: str, *, dash: str = "solid", symbol: str) -> None:
    """A line with a bar where the seeds differ: a bar without a width would look like certainty."""
    above, below = ([dot.high - dot.mean for dot in line], [dot.mean - dot.low for dot in line])
    figure.add_scatter(
        x=[dot.x for dot in line],
        y=[dot.mean for dot in line],
        name=name,
        mode="lines+markers",
        line={"color": colour, "dash": dash},
        marker={"symbol": symbol, "size": 8},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [up if up + down > 0 else None for up, down in zip(above, below, strict=True)],
            "arrayminus": [down if up + down > 0 else None for up, down in zip(above, below, strict=True)],
        },
    )


def panel_figure(panel: Panel, lines: Mapping[str, Sequence[Dot]], undefended: Mapping[str, float]) -> Any:
    """One defense; the dotted lines are labelled where they end.

    Args:
        panel: of the defense.
        lines: by metric.
        undefended: mean of the undefended model, by metric.
    """
    figure = go.Figure()
    for metric, (name, colour, symbol) in METRICS.items():
        add_line(figure, lines[metric], name, colour, symbol=symbol)
        if metric in undefended:
            figure.add_hline(y=undefended[metric], line_dash="dot", line_color=colour)
            figure.add_annotation(  # beside the plot, where it hides no point
                text=f"no defense<br>{undefended[metric]:.1f}", showarrow=False, align="left", xref="paper", x=1,
                xanchor="left", xshift=4, y=undefended[metric], font={"size": 10, "color": colour},
            )  # fmt: skip
    figure.update_xaxes(title=panel.strength, type="log" if panel.log else "linear")
    equal = [dot for line in lines.values() for dot in line if dot.low == dot.high]
    figure.update_layout(margin_r=72)
    return dressed(figure, panel.title, "point without a bar: equal in all seeds" if equal else "")


def areas_figure(areas: Mapping[tuple[str, str], Sequence[Dot]]) -> Any:
    """MIDRE's properties P2 and P3: one area, three ways of leaving it out, each a colour with its name at the end.

    Args:
        areas: lines by way and metric.
    """
    figure = go.Figure()
    for name, colour in zip(AREAS, AREA_COLOURS, strict=True):
        for metric, word in ((ACCURACY, "test"), (ATTACK, "attack")):
            line = areas.get((name, metric), ())
            if line:
                dash = "solid" if metric == ACCURACY else "dash"
                add_line(figure, line, f"{word}, {name}", colour, dash=dash, symbol=METRICS[metric][2])
    figure.update_xaxes(title="share of the image, or of the images, that is left out")
    has_bars = any(dot.low < dot.high for line in areas.values() for dot in line)
    note = "" if has_bars else "means over three seeds; their range is not stored"
    figure = dressed(figure, "Erasing at random places, at a fixed place, and whole images", note)
    return figure.update_layout(height=460, margin_t=125, title_y=0.97)  # six names above the plot


def dressed(figure: Any, title: str, note: str = "") -> Any:
    """The figure with title, legend and scale; `note` stands below the axis."""
    figure.update_layout(
        title={"text": title, "font": {"size": 14}},
        template="plotly_white",
        width=520,
        height=380,
        margin={"l": 50, "r": figure.layout.margin.r or 15, "t": 70, "b": 62 if note else 45},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "font": {"size": 11}},
        font={"family": "DejaVu Sans, sans-serif"},
    )
    figure.update_yaxes(title="%", range=[-2, 106], tickvals=[0, 20, 40, 60, 80, 100])
    if note:
        figure.add_annotation(
            text=note, showarrow=False, xref="paper", x=1, xanchor="right", yref="paper", y=0, yanchor="top",
            yshift=-44, font={"size": 10, "color": "#555555"},
        )  # fmt: skip
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
        page.goto(path.as_uri(), timeout=300_000)  # a loaded machine takes its time
        for name in figures:
            page.locator(f"#{name}").screenshot(path=out / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    main()
