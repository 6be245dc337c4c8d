"""Problems that a first look at a specification hides: what is wrong is taken out, and the rest is looked at again."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from midef.core.errors import PreflightError, SpecError
from midef.sweep.spec.document import Document
from midef.sweep.spec.lines import Place
from midef.sweep.spec.load import parse_document
from midef.sweep.spec.resolve import resolve


def further_problems(document: Document, problems: Sequence[str]) -> list[str]:
    """Problems of names, parameters and combinations in a document whose types are wrong elsewhere.

    Args:
        document: with every override.
        problems: found in its types; those that know their place are taken out.

    Returns:
        Problems of what is left, without those of values that stand beside something taken out; none where too much is
        wrong to look further.
    """
    places = sorted({tuple(at) for problem in problems if (at := getattr(problem, "at", ()))}, reverse=True)
    if len(places) < len(set(problems)):
        return []  # something that has no place: nothing is left to look at
    data = deepcopy(document.data)
    for place in places:
        _take_out(data, place)
    data.setdefault("name", "unnamed")
    try:
        resolve(parse_document(Document(data, document.lines)), absent=True)
    except PreflightError:
        return []
    except SpecError as error:
        around = {place[:-1] for place in places if len(place) > 1}
        return [p for p in error.problems if not any(tuple(getattr(p, "at", ()))[: len(a)] == a for a in around)]
    return []


def _take_out(data: Any, place: Place) -> None:
    """Remove the value at a place of plain data, in place, and a list that it leaves empty."""
    around: list[Any] = [data]
    for step in place[:-1]:
        try:
            around.append(around[-1][step])
        except (KeyError, IndexError, TypeError):
            return
    inner, last = around[-1], place[-1]
    if isinstance(inner, dict):
        inner.pop(last, None)
    elif isinstance(inner, list) and isinstance(last, int) and last < len(inner):
        del inner[last]
        if not inner and len(place) > 1 and isinstance(around[-2], dict):
            around[-2].pop(place[-2])
