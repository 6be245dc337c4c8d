"""Published numbers that somebody brings: a CSV or YAML file, checked as a whole, as rows with their source.

One line is one number:

    source,setup,defense,attack,private,metric,value,spread,spread_kind,remark
    "Example et al. 2026, Table 3",faces32-gmi,midre,gmi,celeba,attack_accuracy_at_1,38.2,4.1,standard deviation,

In YAML, a list of mappings with these keys, or a mapping whose `numbers` is that list and whose other keys hold for all
of them.
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from midef.attacks import ATTACKS
from midef.core.canonical import digest
from midef.core.errors import SpecError, did_you_mean
from midef.core.rows import ResultRow
from midef.defenses.stack import choose_defense
from midef.metrics import METRICS
from midef.storage.published import IMPORTED
from midef.sweep.catalogue.published.rows import METRICS as PRINTED
from midef.sweep.spec.document import read_file

OTHER = "other:"
"""Stands before the name of a defense or attack that midef does not have."""
_REQUIRED = ("source", "defense", "metric", "value")
_TEXTS = ("setup", "attack", "architecture", "private", "public", "evaluator", "spread_kind", "remark")
_COUNTS = ("resolution_px", "identities", "images_per_identity", "n", "seed")
COLUMNS = (*_REQUIRED, *_TEXTS, "spread", *_COUNTS)
_MAX_NUMBERS = 100_000
_NUMBERS = "numbers"


@dataclass(frozen=True)
class _Line:
    """One number as written, and where."""

    where: str
    values: Mapping[str, Any]


def read_numbers(path: Path) -> list[ResultRow]:
    """The numbers of a file as rows.

    Raises:
        SpecError: everything wrong with it, each with its line.
    """
    lines = _lines(path)
    problems: list[str] = []
    rows = [row for line in lines if (row := _row(line, problems)) is not None]
    problems += _of_all(rows, lines, path)
    if problems:
        raise SpecError(problems)
    return rows


def _lines(path: Path) -> list[_Line]:
    if path.suffix in (".yaml", ".yml"):
        return _of_yaml(path)
    if path.suffix != ".csv":
        raise SpecError(f"{path}: published numbers are brought as .csv, .yaml or .yml")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise SpecError(f"there is no file {path}; check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path} cannot be read: {error}; save it as CSV in UTF-8") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    lines: list[_Line] = []
    try:
        head = [name.strip() for name in next(reader, [])]
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            where = f"{path.name}, line {reader.line_num}"
            if len(cells) != len(head):
                raise SpecError(f"{where}: {len(cells)} values for {len(head)} columns; quote texts with commas")
            lines.append(_Line(where, dict(zip(head, (cell.strip() for cell in cells), strict=True))))
    except csv.Error as error:
        raise SpecError(f"{path.name}, line {reader.line_num}: cannot be read as CSV: {error}") from error
    twice = {name for name in head if head.count(name) > 1}
    if twice:
        raise SpecError(f"{path.name}: columns that are there twice: {', '.join(sorted(twice))}")
    return lines


def _of_yaml(path: Path) -> list[_Line]:
    try:
        document = read_file(path)
    except FileNotFoundError:
        raise SpecError(f"there is no file {path}; check the path") from None
    if document.problems:
        raise SpecError(document.problems)
    data, shared, place = document.data, {}, []
    if isinstance(data, dict) and isinstance(data.get(_NUMBERS), list):
        shared, data, place = {k: v for k, v in data.items() if k != _NUMBERS}, data[_NUMBERS], [_NUMBERS]
    if not isinstance(data, list) or not all(isinstance(one, dict) for one in data):
        raise SpecError(f"{path.name}: expected a list of mappings, or a mapping with such a list as `{_NUMBERS}`")
    return [_Line(document.lines.find([*place, i]), {**shared, **one}) for i, one in enumerate(data)]


def _row(line: _Line, problems: list[str]) -> ResultRow | None:
    """The row of one number; None where something is wrong with it, which is then among the problems."""
    before = len(problems)
    values = {name: value for name, value in line.values.items() if value not in (None, "")}

    def wrong(name: str, problem: str) -> None:
        problems.append(f"{line.where}: {name}: {problem}")

    for name in values.keys() - set(COLUMNS):
        wrong(str(name), f"unknown column; {did_you_mean(str(name), COLUMNS)}")
    for name in _REQUIRED:
        if name not in values:
            wrong(
                name, "is missing" + ("; say where the number stands: paper, table, page" if name == "source" else "")
            )
    for name in ("source", *_TEXTS):
        if not isinstance(values.get(name, ""), str):
            wrong(name, f"expected text, got {values[name]!r}")
    numbers = {name: _number(values[name], name, wrong) for name in ("value", "spread") if name in values}
    counts: dict[str, Any] = {name: _count(values[name], name, wrong) for name in _COUNTS if name in values}
    metric = str(values.get("metric", ""))
    unit, larger_is = _metric(metric, wrong) if metric else ("", "")
    if unit == "percent" and (value := numbers.get("value")) is not None and not 0 <= value <= 100:
        wrong("value", f"a percentage lies between 0 and 100, got {value:g}")
    if (spread := numbers.get("spread")) is not None and (spread < 0 or not values.get("spread_kind")):
        wrong("spread", "is 0 or more, and spread_kind says what it is, such as `standard deviation`")
    defense = _component(str(values.get("defense", "")), "defense", choose_defense, wrong)
    attack = _component(str(values.get("attack", "")), "attack", ATTACKS.choose, wrong)
    if len(problems) > before:
        return None
    texts: dict[str, Any] = {name: str(values.get(name, "")) for name in _TEXTS if name != "attack"}
    further: dict[str, Any] = {name: counts.get(name) for name in _COUNTS}
    return ResultRow(
        sweep=IMPORTED,
        profile="published",
        cell=f"{IMPORTED}-{digest([values.get('source'), texts['setup'], defense, attack])[:16]}",
        defense=defense[0],
        defense_name=defense[1],
        defense_params="{}",
        attack=attack[0],
        attack_name=attack[1],
        access="",
        metric=metric,
        value=numbers["value"],
        unit=unit,
        larger_is=larger_is,
        spread=numbers.get("spread"),
        origin="published",
        source=str(values["source"]),
        **texts,
        **further,
    )


def _number(value: Any, name: str, wrong: Callable[[str, str], None]) -> float | None:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        wrong(name, f"expected a number with a decimal point, got {value!r}")
        return None
    return number


def _count(value: Any, name: str, wrong: Callable[[str, str], None]) -> int | None:
    text = str(value)
    if isinstance(value, bool) or not text.isdecimal() or len(text) > 18:
        wrong(name, f"expected a whole number, got {value!r}")
        return None
    return int(text)


def _metric(name: str, wrong: Callable[[str, str], None]) -> tuple[str, str]:
    if name in METRICS.names():
        metric = METRICS.get(name)
        return metric.unit, metric.larger_is
    if name in PRINTED:
        return PRINTED[name].unit, PRINTED[name].larger_is
    wrong("metric", f"unknown metric {name!r}; {did_you_mean(name, {*METRICS.names(), *PRINTED})}")
    return "", ""


def _component(
    written: str, role: str, choose: Callable[[str], Any], wrong: Callable[[str, str], None]
) -> tuple[str, str]:
    """Label and name of a component; the name is "" of one that midef does not have."""
    if not written:
        return "", ""
    if written.startswith(OTHER):
        return written.removeprefix(OTHER).strip(), ""
    try:
        choice = choose(written)
    except SpecError as error:
        for problem in error.problems:
            wrong(role, f"{problem}; one that midef does not have is written `{OTHER} NAME`")
        return "", ""
    return choice.label, choice.name


def _of_all(rows: Sequence[ResultRow], lines: Sequence[_Line], path: Path) -> list[str]:
    """What is wrong with the numbers together."""
    if not lines:
        return [f"{path.name}: no numbers; the first line of a CSV file names the columns: {', '.join(COLUMNS)}"]
    if len(lines) > _MAX_NUMBERS:
        return [f"{path.name}: {len(lines):,} numbers; a file has at most {_MAX_NUMBERS:,}"]
    problems = []
    percents = [row.value for row in rows if row.unit == "percent" and row.value is not None]
    if percents and max(percents) <= 1 and any(percents):
        problems.append(f"{path.name}: no percentage is above 1: write 86.9, not 0.869")
    asked = [(r.source, r.setup, r.defense, r.attack, r.architecture, r.private, r.public, r.metric) for r in rows]
    for twice in (one for one, count in Counter(asked).items() if count > 1):
        problems.append(f"{path.name}: {twice[-1]} of {twice[2]} in {twice[1] or twice[5]}, {twice[0]}: is there twice")
    return problems
