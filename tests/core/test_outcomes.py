"""Outcomes per image in a row: nothing is lost, little is stored, and only the same images pair."""

from __future__ import annotations

import base64
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midef.core.outcomes import _HEADER, Outcomes, digest_of, read

IMAGES = "0123456789abcdef"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 70_000), st.booleans()), max_size=60))
def test_outcomes_come_back_ordered_by_identity(images: list[tuple[int, bool]]) -> None:
    labels, hits = [label for label, _ in images], [hit for _, hit in images]
    back = read(Outcomes.of(hits, np.array(labels, dtype=np.int64), IMAGES).text)
    assert back is not None and back.images == IMAGES
    ordered = sorted(images, key=lambda image: image[0])  # stable, as `Outcomes` is
    assert list(zip(back.identities.tolist(), back.hits.tolist(), strict=True)) == ordered


def test_three_thousand_images_take_less_than_a_kilobyte() -> None:
    """Hits at 50 % cannot be packed; 530 people with 3 to 8 images each, in the order of a shuffled split."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(530), rng.integers(3, 9, 530)))[:3000]
    text = Outcomes.of(rng.random(len(labels)) < 0.5, labels, IMAGES).text
    assert len(labels) > 2800 and len(text) < 1000


@pytest.mark.parametrize(
    "text",
    ["", "2" + IMAGES + "AAAA", "1" + IMAGES, "1" + IMAGES + "not base64", "1" + IMAGES + "AAAA", "measured"],
    ids=["none", "newer", "empty", "no base64", "not packed", "other"],
)
def test_what_cannot_be_read_is_no_outcome(text: str) -> None:
    assert read(text) is None


def test_a_shortened_text_is_no_outcome() -> None:
    text = Outcomes.of([True] * 40, np.arange(40), IMAGES).text
    assert all(read(text[:end]) is None for end in range(len(text)))


def test_outcomes_pair_only_where_images_and_identities_are_the_same() -> None:
    one = Outcomes.of([True, False], [0, 1], IMAGES)
    assert one.is_paired_with(Outcomes.of([False, False], [0, 1], IMAGES))
    assert not one.is_paired_with(Outcomes.of([True, False], [0, 1], IMAGES[::-1]))
    assert not one.is_paired_with(Outcomes.of([True, False], [0, 2], IMAGES))


def test_a_digest_is_of_values_types_shapes_and_order() -> None:
    images = np.arange(24, dtype=np.uint8).reshape(2, 3, 2, 2)
    others = [
        digest_of(images[::-1]),
        digest_of(images.astype(np.int16)),
        digest_of(images.reshape(4, 3, 2, 1)),
        digest_of(images, np.array([0, 1])),
        digest_of(images, np.array([1, 0])),
        digest_of(),
    ]
    assert len({digest_of(images), *others}) == 7
    assert digest_of(images) == digest_of(np.asfortranarray(images)) and len(digest_of(images)) == 16


def test_a_header_that_asks_for_more_memory_than_there_are_images_is_no_outcome() -> None:
    """What a damaged text says of its images is held against them before an array of that size is made."""
    whole = Outcomes.of([True], np.array([3], dtype=np.int64), IMAGES).text
    people = zlib.compress(np.array([3], np.uint32).tobytes() + np.array([2**24], np.uint32).tobytes())
    packed = _HEADER.pack(1, 1, 4, 4, len(people)) + people + zlib.compress(b"\x80")
    tracemalloc.start()
    try:
        assert read(whole[:17] + base64.b64encode(packed).decode()) is None
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()
