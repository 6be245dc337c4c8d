"""Published numbers beside ours."""

from __future__ import annotations

from collections.abc import Callable

from midef.core import ResultRow
from midef.results.published import published_of
from midef.results.render import text_table
from midef.results.summary import summarise

Rows = Callable[..., list[ResultRow]]


def test_two_publications_of_one_cell(cell: Rows, published: Callable[..., ResultRow], papers: list[ResultRow]) -> None:
    rows = [published("natural_accuracy", 85.0, source="Table 9"), *papers]
    rows += [published("attack_accuracy_at_1", 80.0, source="Table 9"), published("attack_accuracy_at_1", 78.47)]
    found = published_of("one", rows)["none"]
    # the first attack accuracy, and the test accuracy of the same source
    assert (found.natural_accuracy, found.attack_accuracy_at_1) == (86.9, 78.47)
    assert found.others == ("test accuracy 85.00 (Table 9)", "attack accuracy@1 80.00 (Table 9)")
    text = text_table(summarise(cell("none", 0, 99, 85)), rows)
    assert "also published for none: test accuracy 85.00 (Table 9); attack accuracy@1 80.00 (Table 9)" in text


def test_measured_rows_are_no_publication(cell: Rows, papers: list[ResultRow]) -> None:
    assert published_of("one", [*cell("none", 0, 1, 2), *cell("loft", 0, 1, 2), *papers]) == (
        published_of("one", papers)
    )


def test_half_a_publication(published: Callable[..., ResultRow]) -> None:
    rows = [published("attack_accuracy_at_1", 78.47), published("natural_accuracy", None, "bido")]
    assert {name: one.values for name, one in published_of("one", rows).items()} == {"none": "– / 78.47"}


def test_a_defense_published_with_other_parameters_is_the_same_defense_where_there_is_one_of_its_name(
    published: Callable[..., ResultRow],
) -> None:
    rows = [
        published("attack_accuracy_at_1", 8.0, "tl_dmi(cut=layer3)"),
        published("attack_accuracy_at_1", 9.0, "dp_sgd"),
    ]
    found = published_of("one", rows, ["none", "tl_dmi", "dp_sgd(batch_norm=group)"])
    assert {label: one.attack_accuracy_at_1 for label, one in found.items()} == {
        "tl_dmi": 8.0,
        "dp_sgd(batch_norm=group)": 9.0,
    }
    assert found["tl_dmi"].remarks == ("published as tl_dmi(cut=layer3)",)


def test_two_strengths_of_a_defense_are_never_taken_for_each_other(published: Callable[..., ResultRow]) -> None:
    rows = [published("attack_accuracy_at_1", value, f"midre(area_high={value})") for value in (0.4, 0.8)]
    assert set(published_of("one", rows, ["midre", "none"])) == {"midre(area_high=0.4)", "midre(area_high=0.8)"}
    assert set(published_of("one", rows[:1], ["midre", "midre(area_high=0.8)"])) == {"midre(area_high=0.4)"}
    both = {"midre(area_high=0.8)", "midre(area_high=0.4)"}
    assert set(published_of("one", rows, ["midre(area_high=0.8)", "midre"])) == both
