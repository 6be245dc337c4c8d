"""What a published row knows, in words: of all settings, of some, of none, and of rows that an older midef wrote."""

from __future__ import annotations

import pytest

from midef.core.certainty import (
    BASES,
    CERTAINTY_LEGEND,
    SETTINGS,
    join_settings,
    read_settings,
    settings_line,
    settings_word,
    with_certainty,
)


@pytest.mark.parametrize(
    ("bases", "word", "label"),
    [
        (("paper", "code"), "certain", "S01 (row certain, settings certain)"),
        (("code", "ours"), "partly", "S01 (row certain, settings 1 of 2)"),
        (("ours", "ours"), "inferred", "S01 (row certain, settings inferred)"),
        ((), "", "S01 (row certain)"),
    ],
)
def test_one_setting_of_ours_is_enough_to_be_no_longer_certain(bases: tuple[str, ...], word: str, label: str) -> None:
    text = join_settings(dict(zip(SETTINGS, bases, strict=False)))  # type: ignore[arg-type]
    assert settings_word(text) == word
    assert with_certainty("S01", "certain", text) == label


def test_settings_come_back_as_they_were_in_one_order() -> None:
    given = {name: list(BASES)[i % 3] for i, name in enumerate(reversed(SETTINGS))}
    text = join_settings(given)
    assert read_settings(text) == given
    assert text == join_settings(dict(reversed(given.items())))
    assert read_settings("") == {} and settings_line("") == ""


def test_a_setup_that_nobody_published_has_its_name_alone() -> None:
    assert with_certainty("mine", "", "") == "mine"


def test_the_legend_explains_every_setting_and_every_basis() -> None:
    for words in (*SETTINGS, *BASES.values(), "row certain", "2 of 5", "inferred"):
        assert words in CERTAINTY_LEGEND
