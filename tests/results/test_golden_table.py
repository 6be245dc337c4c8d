"""A whole table as it is printed: every kind of sentence once, with the images that it was made from."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from midef.core import ResultRow
from midef.results.render import text_table
from midef.results.summary import summarise

Rows = Callable[..., list[ResultRow]]

MISSED = range(0, 4000, 10)  # of 400 people x 10 images the undefended model misses one image each: 90.0 %
NOT_FOUND = range(0, 400, 2)  # of 100 people x 4 reconstructions every second one: 50.0 %


def judged_images(identities: int, images: int, misses: Iterable[int]) -> np.ndarray:
    hits = np.ones(identities * images, dtype=int)
    hits[list(misses)] = 0
    return hits.reshape(identities, images)


def natural(more: Iterable[int] = (), fewer: Iterable[int] = ()) -> np.ndarray:
    """Answers on the report split, with `more` images missed and `fewer` not."""
    return judged_images(400, 10, {*MISSED, *more} - set(fewer))


def attack(more: Iterable[int] = (), fewer: Iterable[int] = ()) -> np.ndarray:
    return judged_images(100, 4, {*NOT_FOUND, *more} - set(fewer))


SETUP = {
    "none": (natural(), attack()),
    "strong": (natural(range(1, 4000, 20)), attack(range(1, 400, 4))),
    "leaky": (natural(fewer=range(0, 4000, 40)), attack(fewer=range(0, 400, 4))),
    "same": (natural([1, 11], [0, 10]), attack()),
    "small": (natural(range(1, 4000, 500)), attack(range(1, 400, 16))),
    "less": (natural(range(1, 4000, 500)), attack([1])),
}

# ruff: noqa: E501
TABLE = """\
one: gmi (white box) on tiny_vgg16, synthetic_faces from synthetic_faces, 32 px
profile smoke, 60 identities x 3, chance 0.50 %, evaluator resnet 99.0 %, 2 seeds
mean over 2 seeds [interval within a run, averaged; test acc and attack: 95 % interval over identities; without the differences between trainings]

   defense  test acc %         att@1 %            att@5 %  KNN dist  Delta  against none                                                                 queries  attack s  ok/failed
-------------------------------------------------------------------------------------------------------------------------------------------------------------------------------------
●  none     90.0 [89.0, 90.9]  50.0 [45.1, 54.9]  –               –      –  reference                                                                          –         –        2/0
●  strong   85.0 [83.9, 86.1]  25.0 [20.9, 29.5]  –               –   5.00  loses 5.0 [4.3, 5.7]; leaks 25.0 less [20.7, 29.2]                                 –         –        2/0
●  small    89.8 [88.8, 90.7]  43.8 [38.9, 48.7]  –               –      –  loses no more than 1 point [-0.1, 0.5]; leaks 6.2 less [3.8, 8.7]                  –         –        2/0
   less     89.8 [88.8, 90.7]  49.8 [44.8, 54.7]  –               –      –  loses no more than 1 point [-0.1, 0.5]; not resolved (att -0.2 [-3.0, 2.5])        –         –        2/0
   old      87.5 [86.4, 88.5]  50.0 [45.1, 54.9]  –               –   0.00  loses 2.5 [1.1, 3.9]; not resolved (att +0.0 [-7.0, 7.0]) (unpaired)               –         –        3/0
●  same     90.0 [89.0, 90.9]  50.0 [45.1, 54.9]  –               –      –  loses no more than 1 point [-0.6, 0.6]; not resolved (att +0.0 [-2.8, 2.8])        –         –        2/0
●  leaky    92.5 [91.6, 93.3]  75.0 [70.5, 79.1]  –               –      –  gains 2.5 [2.0, 3.0]; leaks 25.0 more [20.7, 29.2]                                 –         –        2/0

● on the front: no other defense here is both at least as accurate and attacked less
against none: points of test accuracy (acc) and attack accuracy@1 (att) [95 % interval, without the differences between trainings], said only where the interval shows it; not resolved: the interval holds no change as well as changes up to its ends
(unpaired): not compared image by image, because one of the two or both are of an older midef, which does not say which images succeeded, or they are about different images; the interval is wider than a paired one
Delta: points of attack accuracy@1 less for each point of test accuracy lost, only where the interval of the loss is above 0 and the loss at least 0.1
seed 2 of old: not shown, 6 defenses have seeds 0, 1 only
missing: none has no result for 1 of the setup's seeds
missing: strong has no result for 1 of the setup's seeds
missing: small has no result for 1 of the setup's seeds
missing: less has no result for 1 of the setup's seeds
missing: same has no result for 1 of the setup's seeds
missing: leaky has no result for 1 of the setup's seeds"""


def test_every_kind_of_sentence_in_one_table(judged: Rows) -> None:
    """`old` has no outcomes, and a seed that nobody else has."""
    rows = [row for defense, answers in SETUP.items() for seed in (0, 1) for row in judged(defense, seed, *answers)]
    rows += [r for seed in range(3) for r in judged("old", seed, natural(range(1, 4000, 40)), attack(), outcomes="")]
    assert text_table(summarise(rows)) == TABLE
