"""What a row of a published matrix knows: whether the paper counts the row, and whose its settings are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

Setting: TypeAlias = Literal["attack", "protocol", "weights", "training", "evaluator"]
Basis: TypeAlias = Literal["paper", "code", "ours"]

SETTINGS: Final[Mapping[Setting, str]] = {
    "attack": "parameters of the attack",
    "protocol": "identities and images of each",
    "weights": "start of the target's backbone",
    "training": "recipe of the target",
    "evaluator": "start and recipe of the evaluator",
}
"""Settings of a row, beside its attack, networks and data."""

BASES: Final[Mapping[Basis, str]] = {
    "paper": "stated in the paper",
    "code": "in its released code, or in that of the work it says it follows",
    "ours": "our choice",
}

CERTAINTY_LEGEND: Final = (
    "row certain: the paper counts this setup; inferred: it only makes the count; "
    f"settings ({', '.join(SETTINGS)}) certain: all are {BASES['paper']}, or {BASES['code']}; 2 of 5: so many are; "
    f"inferred: all are {BASES['ours']}; both are about the row as published, not about what stands in for it"
)


def join_settings(settings: Mapping[Setting, Basis]) -> str:
    """As rows and keys hold them: `attack: code; weights: ours`; `read_settings` is the inverse."""
    return "; ".join(f"{name}: {settings[name]}" for name in SETTINGS if name in settings)


def read_settings(text: str) -> dict[str, str]:
    """Settings of a row -> whose they are.

    >>> read_settings("attack: code; weights: ours")
    {'attack': 'code', 'weights': 'ours'}
    """
    return dict(part.split(": ", 1) for part in text.split("; ") if part)


def settings_word(text: str) -> str:
    """`certain` if every setting is published, `inferred` if none is, else `partly`; "" where nothing is said.

    >>> settings_word("attack: code; weights: ours")
    'partly'
    """
    bases = set(read_settings(text).values())
    if not bases:
        return ""
    return "certain" if "ours" not in bases else "inferred" if bases == {"ours"} else "partly"


def with_certainty(name: str, certainty: str, settings: str) -> str:
    """A setup's id as shown; the id alone where it is no row of a published matrix.

    >>> with_certainty("S21", "certain", "attack: code; weights: ours")
    'S21 (row certain, settings 1 of 2)'
    """
    if not certainty:
        return name
    word, bases = settings_word(settings), list(read_settings(settings).values())
    if word == "partly":
        word = f"{len(bases) - bases.count('ours')} of {len(bases)}"
    return f"{name} (row {certainty}{f', settings {word}' if word else ''})"


def settings_line(text: str) -> str:
    """Which settings of a row are whose, in words; "" where nothing is said.

    >>> settings_line("attack: code; weights: ours")
    'settings of the published row: attack in released code; weights our choice'
    """
    short = {"paper": "in the paper", "code": "in released code", "ours": "our choice"}
    found = read_settings(text)
    by_basis = {basis: [name for name, whose in found.items() if whose == basis] for basis in short}
    said = "; ".join(f"{', '.join(names)} {short[basis]}" for basis, names in by_basis.items() if names)
    return f"settings of the published row: {said}" if said else ""
