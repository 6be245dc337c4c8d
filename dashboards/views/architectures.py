"""Over architectures: what each defense changes on every network that the same data and attack were run on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from midef.dashboards.views.base import Pieces, Shown, View
from midef.dashboards.views.sheet import Sheet, SheetColumn, numbers, words
from midef.results.compare import Difference
from midef.results.over_architectures import OnArchitecture, Place, over_architectures
from midef.results.summary import SummaryRow


@dataclass(frozen=True, kw_only=True)
class ArchitecturesData:
    """Data of the view.

    Args:
        places: attack and data of each comparison, in words.
        place: index in `places` of each row of the sheet.
        sheet: a defense on an architecture in each row.
        legend: what the differences and their intervals are.
        nothing: why there is nothing to compare; "" where there is.
    """

    places: tuple[str, ...]
    place: tuple[int, ...]
    sheet: Sheet
    legend: str
    nothing: str


def architectures_data(summaries: Sequence[SummaryRow]) -> ArchitecturesData:
    """Defenses over architectures, of all places that have several."""
    found = over_architectures(summaries)
    places = list(dict.fromkeys(one.place for one in found))
    kinds = sorted({d.interval.kind for one in found for d in (one.utility, one.attack) if d and d.interval})
    return ArchitecturesData(
        places=tuple(_place_words(place, places) for place in places),
        place=tuple(places.index(one.place) for one in found),
        sheet=_sheet(found),
        legend="Points, defended minus undefended model of the same network, over the seeds and images both have: a "
        "test accuracy that falls costs use, an attack accuracy that falls leaks less."
        + (f" [{'; '.join(kinds)}]" if kinds else ""),
        nothing="" if found else _nothing(summaries),
    )


def _place_words(place: Place, places: Sequence[Place]) -> str:
    sweep, profile, attack, private, public, resolution_px = place
    words = f"{attack} on {private} from {public}, {resolution_px} px"
    alike = [one for one in places if one[2:] == place[2:]]
    return words if len(alike) == 1 else f"{words}, sweep {sweep}, profile {profile}"


def _sheet(found: Sequence[OnArchitecture]) -> Sheet:
    return Sheet(
        name="architectures",
        caption="Defenses over architectures",
        columns=(
            words("defense", "defense", (one.defense for one in found)),
            words("architecture", "architecture", (one.row.architecture for one in found)),
            *_difference("accuracy", "test acc", [one.utility for one in found]),
            *_difference("attack", "att@1", [one.attack for one in found]),
            numbers("seeds", "seeds", (len(one.row.shown_seeds) or None for one in found), 0),
            words("why", "why not", (one.reason or None for one in found), long=True),
            words("as", "run as", (one.row.defense if one.row.defense != one.defense else None for one in found)),
            words("setup", "setup", (one.row.setup for one in found)),
        ),
    )


def _difference(key: str, header: str, falls: Sequence[Difference | None]) -> tuple[SheetColumn, ...]:
    """Change in points, with its ends."""
    spans = [None if one is None or one.interval is None else (-one.interval.high, -one.interval.low) for one in falls]
    return (
        numbers(key, f"{header} change", (None if one is None else 0.0 - one.drop for one in falls), 1),
        numbers(f"{key}_low", "low", (None if span is None else span[0] for span in spans), 1),
        numbers(f"{key}_high", "high", (None if span is None else span[1] for span in spans), 1),
    )


def _nothing(summaries: Sequence[SummaryRow]) -> str:
    """The architectures there are."""
    names = sorted({row.architecture for row in summaries})
    if len(names) == 1:
        return f"This page holds one architecture, {names[0]}: there is nothing to compare over architectures."
    return (
        f"This page holds {len(names)} architectures, {', '.join(names)}, and no data and attack on more than one of "
        "them: what differs would be the data or the attack, too."
    )


def pieces(shown: Shown) -> Pieces:
    """One piece."""
    yield "architectures", architectures_data(shown.summaries)


VIEW = View(name="architectures", title="Architectures", pieces=pieces, is_shown=lambda shown: bool(shown.summaries))
