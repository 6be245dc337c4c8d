"""One HTML page of an audit: inline style, no scripts, no network; for screens, screen readers and A4."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from midef.audit.plot import Mark, plot
from midef.audit.style import STYLE
from midef.core.accuracy import percent
from midef.core.text import counted, duration

if TYPE_CHECKING:
    from midef.audit.people import Picture
    from midef.audit.report import AuditReport

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
LARGEST_PX = 112
_SHORT = 16
"""Letters of a cell that is never broken."""
_CONVERGED = {True: "converged", False: "not converged", None: "convergence unknown"}
_STATES = {"below": "kept", "above": "exceeded", "open": "not shown to be kept", "no number": "not shown to be kept"}


def page(report: AuditReport) -> str:
    """The page of a report."""
    subject = report.subject
    title = f"Privacy audit of {subject.model}"
    parts = [
        _head(report, title),
        _finding(report),
        _against(report),
        _attacks(report),
        _people(report),
        _pictures(report),
        _defenses(report),
        _not_tried(report),
        _facts(report),
    ]
    body = "\n".join(part for part in parts if part)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def _head(report: AuditReport, title: str) -> str:
    subject = report.subject
    of = [subject.date, f"attacker: {subject.access}", subject.identity if subject.digest else ""]
    return f'<header><h1>{escape(title)}</h1><p class="soft">{escape(" · ".join(filter(None, of)))}</p></header>'


def _finding(report: AuditReport) -> str:
    verdict = ""
    if report.threshold is not None:
        said = report.against(report.threshold)
        verdict = (
            f'<p class="verdict {said.state.replace(" ", "-")}"><strong>Threshold {_STATES[said.state]}.</strong> '
            f"{escape(said.text)}</p>"
        )
    rests = "".join(f"<li>{escape(line)}</li>" for line in report.limits)
    return _section(
        "What was found",
        f'<p class="lead">{escape(report.sentence)}</p>{verdict}<h3>What this rests on</h3><ul>{rests}</ul>',
    )


def _against(report: AuditReport) -> str:
    worst = report.worst
    if worst.value is None:
        return ""
    span = worst.interval
    marks = [Mark("this model, worst case", worst.value, (span.low, span.high) if span else None, "ours strong")]
    for one in worst.measured:
        ends = (one.interval.low, one.interval.high) if one.interval else None
        if one.value is not None and len(worst.measured) > 1:
            marks.append(Mark(one.attack, one.value, ends, "ours"))
    marks += [Mark(one.setting, one.attack_accuracy, None, "theirs") for one in report.published]
    rows = [
        ["Guessing", percent(worst.chance or 0.0), "", ""],
        [
            "This model, worst case",
            f"{worst.value:.1f} %",
            span.ends if span else "",
            f"{worst.winner.attack if worst.winner else ''}",
        ],
        *(
            [
                one.setting,
                f"{one.attack_accuracy:.1f} %",
                "",
                f"published, undefended: {one.source}" + ("" if one.is_same_attack else "; another attack"),
            ]
            for one in report.published
        ),
    ]
    note = (
        '<p class="soft">Published numbers are of other people, images, judges and budgets: they say what undefended '
        "models of the literature give away, not what this one should.</p>"
        if report.published
        else '<p class="soft">No published undefended model is near this setting.</p>'
    )
    table = _table("Attack accuracy", ["", "attack accuracy@1", "95 % interval", "attack or source"], rows)
    return _section("Beside guessing and published models", plot(marks, worst.chance or 0.0) + table + note)


def _attacks(report: AuditReport) -> str:
    rows = []
    for one in report.worst.attempts:
        number = "" if one.value is None else f"{one.value:.1f} %"
        notes = one.notes or one.reason
        said = _CONVERGED[one.is_converged] if one.state == "measured" else one.state
        rows.append([one.attack, one.access, number, one.interval.ends if one.interval else "", said, notes])
    if not rows:
        return ""
    head = ["attack", "needs", "accuracy@1", "95 % interval", "state", "to know"]
    text = f"<p>{escape(_first_upper(report.worst.words))}.</p>"
    alone = (
        '<p class="soft">Each interval is of that attack alone; that of the worst case accounts for the maximum.</p>'
        if len(report.worst.measured) > 1
        else ""
    )
    return _section("Every attack that was tried", text + _table("Attacks", head, rows) + alone)


def _people(report: AuditReport) -> str:
    people, subject = report.people, report.subject
    shown = [one for one in people.everybody if one.images][:8]
    if not shown:
        return ""
    guessed = "" if people.guessed is None else f" (guessing would find {people.guessed:.0f} %)"
    count = len(people.everybody)
    text = (
        f"<p>{people.found} of {count} attacked {subject.nouns} were recognised in at least one reconstruction of at "
        f"least one attack{guessed}.</p>"
    )
    rows = [[one.text, f"{one.hits} of {one.images}", f"{one.all_hits} of {one.all_images}"] for one in shown]
    head = [subject.noun, "recognised, strongest attack", "recognised, all attacks"]
    note = (
        '<p class="soft">With so few images each, much of the order is chance: the next audit may name others.</p>'
        if max(one.images for one in shown) < 20
        else ""
    )
    title = f"Worst {subject.nouns}"
    return _section(title, text + _table(title, head, rows) + note)


def _pictures(report: AuditReport) -> str:
    if not report.pictures:
        if report.pictures_of == "not asked for":
            return ""
        return _section("Reconstructions", f"<p>None to show: {escape(report.pictures_of)}.</p>")
    has_private = any(one.is_private for one in report.pictures)
    figures = "".join(map(_figure, report.pictures))
    note = (
        "Private images are shown beside: keep this page as you keep them."
        if has_private
        else "Private images are not shown."
    )
    text = (
        f"<p>By {escape(report.pictures_of)}: the first reconstruction of each of the worst, picked by rule. {note}</p>"
    )
    return _section("Reconstructions", f'{text}<div class="faces">{figures}</div>')


def _figure(one: Picture) -> str:
    kind = "private image" if one.is_private else "reconstruction"
    said = "" if one.is_hit is None else ", recognised" if one.is_hit else ", not recognised"
    classes = "private" if one.is_private else "hit" if one.is_hit else "miss"
    alt = f"{kind} of {one.person}{said}"
    return (
        f'<figure class="{classes}"><img src="{_data_uri(one)}" alt="{escape(alt, quote=True)}">'
        f"<figcaption>{escape(one.person)}<br><small>{escape(kind + said)}</small></figcaption></figure>"
    )


def _data_uri(one: Picture) -> str:
    import numpy as np
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(one.image.transpose(1, 2, 0)))
    if picture.height > LARGEST_PX:
        width = round(picture.width * LARGEST_PX / picture.height)
        picture = picture.resize((width, LARGEST_PX), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def _defenses(report: AuditReport) -> str:
    if not report.proposals:
        return ""
    rows = [[one.name, one.acts_on, one.published, one.paper] for one in report.proposals]
    table = _table("Defenses", ["defense", "acts on", "in published tables", "paper"], rows)
    sweep = ""
    if not report.subject.architecture:
        sweep = (
            "<p>midef does not have this architecture: what they would buy shows a sweep of the nearest that it has "
            "(<code>midef list architectures</code>), trained on the same images.</p>"
        )
    if report.sweep:
        sweep = (
            "<p>What they would buy here, this finds out: it trains the network under each and attacks all of them. "
            f"Save as <code>defenses.yaml</code>:</p><pre>{escape(report.sweep)}</pre>"
            "<p>then <code>midef run defenses.yaml</code> and <code>midef table</code>.</p>"
        )
    note = '<p class="soft">Medians over the published settings of each alone; of other people and no promise.</p>'
    return _section("Defenses that fit", table + note + sweep)


def _not_tried(report: AuditReport) -> str:
    if not report.not_tried:
        return ""
    rows = [[name, reason] for name, reason in report.not_tried.items()]
    return _section("What was not tried", _table("Not tried", ["attack", "why"], rows))


def _facts(report: AuditReport) -> str:
    subject = report.subject

    def accuracy(given: object) -> str:
        return "" if given is None else f"{given.value:.1f} % [{given.low:.1f}, {given.high:.1f}]"  # type: ignore[attr-defined]

    facts = {
        "model": subject.model,
        "identity": subject.identity,
        "architecture": subject.architecture,
        "input": subject.expects,
        "classes": f"{subject.classes:,}",
        "accuracy on private images": accuracy(subject.accuracy),
        "judge": subject.judge,
        "accuracy of the judge": accuracy(subject.judge_accuracy),
        "private images": subject.private,
        "public images": subject.public,
        "attacked": report.size,
        "questions asked": "" if subject.queries is None else f"{subject.queries:,}",
        "time of the attacks": "" if subject.seconds is None else duration(subject.seconds),
        "attack accuracies": f"{counted(len(report.rows), 'row')} in rows.parquet",
    }
    lines = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts.items() if v)
    return _section("The audit", f"<dl>{lines}</dl>")


def _section(title: str, content: str) -> str:
    name = "".join(c if c.isalnum() else "-" for c in title.lower())
    return f'<section aria-labelledby="{name}"><h2 id="{name}">{escape(title)}</h2>{content}</section>'


def _table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column names its rows; on narrow screens each row is a block, with the heads beside."""
    heads = "".join(f'<th scope="col" role="columnheader">{escape(text)}</th>' for text in head)
    lines = []
    for first, *others in rows:
        cells = "".join(
            f'<td role="cell"{_class_of(text)} data-head="{escape(name, quote=True)}">{escape(text)}</td>'
            for name, text in zip(head[1:], others, strict=True)
        )
        lines.append(f'<tr role="row"><th scope="row" role="rowheader">{escape(first)}</th>{cells}</tr>')
    # Roles in words: where a narrow screen shows rows as blocks, browsers would forget that they are a table.
    return (
        f'<table role="table"><caption>{escape(caption)}</caption><thead role="rowgroup"><tr role="row">{heads}</tr>'
        f'</thead><tbody role="rowgroup">{"".join(lines)}</tbody></table>'
    )


def _class_of(text: str) -> str:
    """Numbers and short words stay on one line."""
    return ' class="number"' if len(text) <= _SHORT else ""


def _first_upper(text: str) -> str:
    return text[:1].upper() + text[1:]
