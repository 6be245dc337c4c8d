"""Queries, their random streams, and the order in which the parts of a defense change answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor
from typing_extensions import override

from midef.core.errors import MidefError, SpecError
from midef.defenses import Defense
from midef.defenses.rounding import Rounding
from midef.defenses.serving import Query, Served, Serving
from midef.defenses.stack import Stack

IMAGES = torch.rand(5, 3, 4, 4, generator=torch.Generator().manual_seed(0))
GIVEN = torch.softmax(torch.randn(5, 6, generator=torch.Generator().manual_seed(1)), dim=1)


@dataclass(frozen=True, kw_only=True)
class Drawn(Defense):
    """Answers with noise alone, and remembers nothing."""

    @override
    def answer(self, query: Query, state: None) -> Tensor:
        return query.normal(query.probabilities.shape[1]).softmax(dim=1)


class Prepared(Defense):
    """Asks for a file to prepare its answers."""

    made = 0

    @override
    def answer_state(self, served: Served) -> object:
        Prepared.made += 1
        return served.path("helper")

    @override
    def answer(self, query: Query, state: object) -> Tensor:
        return query.probabilities


class Broken(Defense):
    @override
    def answer(self, query: Query, state: None) -> Tensor:
        return query.probabilities / 0 * 0


def test_an_image_has_the_same_stream_in_every_batch_and_another_for_another_secret() -> None:
    served = Serving(Drawn(), 6, secret=3)
    together = served(IMAGES, GIVEN)
    assert torch.equal(torch.cat([served(IMAGES[i : i + 1], GIVEN[i : i + 1]) for i in range(5)]), together)
    assert torch.equal(served(IMAGES.flip(0), GIVEN).flip(0), together), "the stream is the image's, not the position's"
    assert torch.equal(Serving(Drawn(), 6, secret=3)(IMAGES, GIVEN), together), "whoever asks"
    assert not torch.isclose(Serving(Drawn(), 6, secret=4)(IMAGES, GIVEN), together).any()
    assert len(together.unique(dim=0)) == 5, "two images share a stream"


def test_what_changes_an_image_by_less_than_a_bit_changes_nothing_drawn() -> None:
    """Or an attacker averages the noise away with images that only look different to a computer."""
    images = (IMAGES * 255).round() / 255
    served = Serving(Drawn(), 6)
    assert torch.equal(served(images + 1e-4, GIVEN), served(images, GIVEN))
    assert not torch.equal(served(images + 1 / 255, GIVEN), served(images, GIVEN))


def test_drawing_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    Serving(Drawn(), 6)(IMAGES, GIVEN)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_part_is_given_the_answers_of_the_part_before_and_the_labels_of_the_network() -> None:
    seen: list[Query] = []

    class Watching(Defense):
        registered_name: ClassVar[str] = "watching"

        @override
        def answer(self, query: Query, state: None) -> Tensor:
            seen.append(query)
            return query.probabilities.flip(1)

    class Also(Watching):
        registered_name: ClassVar[str] = "also"

    served = Serving(Stack(members=(Watching(), Also())), 6)
    assert torch.equal(served(IMAGES, GIVEN), GIVEN), "reversed twice"
    assert torch.equal(seen[0].probabilities, GIVEN) and torch.equal(seen[1].probabilities, GIVEN.flip(1))
    assert all(torch.equal(query.labels, GIVEN.argmax(dim=1)) for query in seen)


def test_the_state_is_made_once_when_the_first_query_comes() -> None:
    Prepared.made = 0
    served = Serving(Prepared(), 6, path=lambda role: role)  # type: ignore[arg-type, return-value]
    assert Prepared.made == 0
    served(IMAGES, GIVEN)
    served(IMAGES, GIVEN)
    assert Prepared.made == 1


def test_an_artifact_that_was_not_given_is_named() -> None:
    with pytest.raises(SpecError, match="with the help of 'helper', which was not given"):
        Serving(Prepared(), 6)(IMAGES, GIVEN)


def test_answers_that_are_no_numbers_are_an_error() -> None:
    with pytest.raises(MidefError, match="not finite"):
        Serving(Broken(), 6)(IMAGES, torch.zeros(5, 6))


def test_a_defense_of_training_alone_answers_what_the_network_says() -> None:
    assert Serving(Defense(), 6)(IMAGES, GIVEN) is GIVEN
    assert Defense().keeps_labels and not Defense().changes_answers
    assert Rounding().keeps_labels and Rounding().changes_answers and not Rounding().acts_on_training


def test_whoever_changes_answers_and_says_nothing_has_its_accuracy_measured() -> None:
    assert not Drawn().keeps_labels
    assert not Stack(members=(Rounding(), Drawn())).keeps_labels
