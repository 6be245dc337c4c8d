"""What every defense that changes answers keeps to: probabilities, labels, its budget, one answer for one question."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from midef.defenses.serving import Serving
from midef.metrics import METRICS, ScoreAnswers
from midef.testing.metrics import evidence
from midef.testing.suite import Contract
from midef.testing.trainings import CLASSES, RESOLUTION_PX, Trainings, made

ASKED = 12
SHARPNESS = (0.01, 1.0, 30.0)
"""Of the probabilities asked about: nearly uniform, usual, and with scores that are 0 in float32."""


def asked(sharpness: float) -> Tensor:
    """Probabilities [ASKED, CLASSES] of one sharpness."""
    rng = torch.Generator().manual_seed(2)
    return torch.softmax(sharpness * torch.randn(ASKED, CLASSES, generator=rng), dim=1)


def distortion(served: Tensor, undefended: Tensor) -> float:
    """Confidence distortion of answers [ASKED, K], as a cell measures it."""
    scores = {"served": served.numpy(), "undefended": undefended.numpy()}
    answers = ScoreAnswers(labels=np.arange(ASKED) % CLASSES, are_observed=True, **scores)
    return METRICS.make("confidence_distortion").measure(replace(evidence(), answers=answers)).value


class AnswersContract(Contract):
    """Asked of `answering`, the defenses that change answers."""

    @pytest.fixture(scope="class")
    @classmethod
    def trained(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainings]:
        """Targets that are trained once for all questions."""
        torch.set_num_threads(1)
        yield Trainings(tmp_path_factory.mktemp("stores"))

    @pytest.fixture(scope="class")
    @classmethod
    def images(cls) -> Tensor:
        """Images that are all different."""
        return torch.rand(ASKED, 3, RESOLUTION_PX, RESOLUTION_PX, generator=torch.Generator().manual_seed(1))

    @pytest.fixture
    def serving(self, answering: str, trained: Trainings) -> Serving:
        """The answers of a target under the defense."""
        return trained.serving(answering)

    def test_answers_are_probabilities(self, answering: str, serving: Serving, images: Tensor) -> None:
        for sharpness in SHARPNESS:
            given = asked(sharpness)
            answered = serving(images, given)
            assert torch.equal(asked(sharpness), given), "the probabilities were changed in place"
            assert answered.shape == given.shape and answered.dtype == given.dtype and not answered.requires_grad
            assert (answered >= 0).all()
            torch.testing.assert_close(answered.sum(dim=1), torch.ones(ASKED))

    def test_answers_keep_the_labels_where_it_says_so(self, answering: str, serving: Serving, images: Tensor) -> None:
        for sharpness in SHARPNESS if made(answering).keeps_labels else ():
            given = asked(sharpness)
            assert torch.equal(serving(images, given).argmax(dim=1), given.argmax(dim=1))

    def test_answers_and_their_distortion_keep_to_the_budget(
        self, answering: str, serving: Serving, images: Tensor
    ) -> None:
        """Where a defense has no budget of its own, that of two probability vectors: the square root of 2."""
        budget = made(answering).answer_budget
        most = math.sqrt(2) if budget is None else budget
        values = []
        for sharpness in SHARPNESS:
            given = asked(sharpness)
            answered = serving(images, given)
            distances = torch.linalg.vector_norm(answered - given, dim=1)
            assert float(distances.max()) <= most + 1e-6
            values.append(distortion(answered, given))
            assert values[-1] == pytest.approx(float(distances.mean()), abs=1e-6) and values[-1] <= most + 1e-6
        assert max(values) > 0, "it changes no answer"

    def test_the_same_question_has_the_same_answer(self, answering: str, trained: Trainings, images: Tensor) -> None:
        given = asked(1.0)
        first, second = trained.serving(answering), trained.serving(answering)
        answered = first(images, given)
        torch.manual_seed(7)
        assert torch.equal(first(images, given), answered), "the second answer differs from the first"
        assert torch.equal(second(images, given), answered), "another handle on the target answers differently"

    def test_answers_do_not_depend_on_the_others_asked_about(
        self, answering: str, serving: Serving, images: Tensor
    ) -> None:
        """Exactly what is drawn, and up to rounding what is computed: several images are summed in another order."""
        if made(answering).answers_jointly:
            return
        given = asked(1.0)
        together = serving(images, given)
        turned = torch.arange(ASKED).flip(0)
        torch.testing.assert_close(serving(images[turned], given[turned])[turned], together, rtol=1e-4, atol=1e-6)
        for begin, end in pairwise((0, 1, 2, 7)):
            alone = serving(images[begin:end], given[begin:end])
            torch.testing.assert_close(alone, together[begin:end], rtol=1e-4, atol=1e-6)

    def test_a_defense_switched_off_answers_what_it_was_given(self, answering: str, images: Tensor) -> None:
        given = asked(1.0)
        answered = Serving(made(answering).off(), CLASSES)(images, given)
        torch.testing.assert_close(answered, given, rtol=1e-6, atol=0.0)
        assert made(answering).off().keeps_labels
