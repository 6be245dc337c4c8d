"""Lines about the files that a sweep reads: what is here, what is missing, who needs it, where to get it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from midef.nn.named_file import FOLDER_VARIABLE, NamedFile
from midef.sweep.spec.lines import Lines
from midef.sweep.spec.needed import Need, Needs, shown_size, state_of
from midef.sweep.spec.schema import SweepSpec

_SETUP = re.compile(r"setups\[(\d+)\]\.?")
_BELOW = "\n         "


def dataset_lines(needs: Needs, spec: SweepSpec) -> list[str]:
    """A line for each data set that cannot be read, with one below it for each clause of why."""
    return [
        _BELOW.join([f"missing  data set {', '.join(need.about)}, for {who(need, spec)}", *_clauses(need.problems)])
        for need in needs.datasets.values()
    ]


def refused_lines(needs: Needs, spec: SweepSpec) -> list[str]:
    """A line for each reason why setups cannot run, so that what they need is not known."""
    return [
        f"note     {who(need, spec)}: {reason}, what they need is not known" for reason, need in needs.refused.items()
    ]


def file_lines(needs: Needs, spec: SweepSpec, folder: Path) -> list[str]:
    """A line for each published file; below one that is missing, where it was looked for and where to get it.

    Args:
        folder: of published files.
    """
    lines = []
    for file, need in needs.files.items():
        about = f"{', '.join(need.about)}, for {who(need, spec)}"
        state = state_of(file, folder)
        if not state.is_here:
            where = f"looked for in {folder}; ${FOLDER_VARIABLE} names another folder"
            name = f"missing  {file.names}{published_facts(file)}: {about}"
            lines.append(_BELOW.join([name, where, f"get it from {file.source}"]))
        elif state.problem:
            lines.append(
                _BELOW.join([f"problem  {file.names}: {about}", f"{state.problem}; get it from {file.source}"])
            )
        else:
            lines.append(f"ok       {file.names} ({state.about}): {about}")
    return lines


def published_facts(file: NamedFile) -> str:
    """Size and first digits of the sha256 of a file, as far as they are published."""
    known = [shown_size(file.size_mib)] if file.size_mib else []
    known += [f"sha256 {file.sha256[:8]}..."] if file.sha256 else []
    return f" ({', '.join(known)})" if known else ""


def _clauses(problems: Sequence[str]) -> list[str]:
    """Of each of these sentences what is wrong, then in one line what to do about them, each clause once."""
    wrong = [problem.partition("; ")[0] for problem in problems]
    rest = dict.fromkeys(clause for problem in problems for clause in problem.split("; ")[1:])
    return [*dict.fromkeys(wrong), *(["; ".join(rest)] if rest else [])]


def who(need: Need, spec: SweepSpec) -> str:
    """The setups that need something, and as what; the line of the first where the specification has lines."""
    ids: dict[str, None] = {}
    roles: dict[str, None] = {}
    for place in need.places:
        if found := _SETUP.match(place):
            number = int(found[1])
            ids[spec.setups[number].id or f"setups[{number}]"] = None
            roles[re.split(r"[ \[]", place[found.end() :])[0]] = None
        else:
            roles[place] = None
    where = _line(next(iter(need.places)), spec.lines)
    about = f"{', '.join(filter(None, roles))}{where}"
    return (ranges(list(ids)) or "all setups") + (f" ({about.removeprefix('; ')})" if about else "")


def _line(place: str, lines: Lines) -> str:
    steps = tuple(int(step) if step.isdigit() else step for step in re.findall(r"\w+", place.partition(" ")[0]))
    found = lines.find(steps)
    return "" if found == lines.where else f"; {found}"


def ranges(ids: Sequence[str]) -> str:
    """Ids in a row as a range.

    >>> ranges(["S01", "S02", "S03", "S07", "faces", "S08"])
    'S01 to S03, S07, faces, S08'
    """
    rows: list[list[str]] = []
    for one in ids:
        if rows and _follows(rows[-1][-1], one):
            rows[-1].append(one)
        else:
            rows.append([one])
    return ", ".join(f"{row[0]} to {row[-1]}" if len(row) > 2 else ", ".join(row) for row in rows)


def _follows(one: str, other: str) -> bool:
    before, after = re.fullmatch(r"(\D*)(\d+)", one), re.fullmatch(r"(\D*)(\d+)", other)
    return bool(before and after and before[1] == after[1] and int(after[2]) == int(before[2]) + 1)
