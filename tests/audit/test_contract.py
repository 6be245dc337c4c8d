"""What is sent can be read by anybody; what comes back is believed only if it can be true."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from midef.audit.contract import checked, digest_of, png_of, read_response, request_body
from midef.core.errors import EndpointError

NAN, INF = float("nan"), float("inf")
PIXELS = np.random.default_rng(0).integers(0, 256, (2, 3, 5, 7), dtype=np.uint8)
DIGESTS = [digest_of(image) for image in PIXELS]


def test_the_request_is_as_the_page_says() -> None:
    request = json.loads(request_body(PIXELS, DIGESTS, "labels"))
    assert request.keys() == {"contract", "answer", "ids", "images"}
    assert request["contract"] == "midef-audit-1" and request["answer"] == "labels"
    for pixels, image, name in zip(PIXELS, request["images"], request["ids"], strict=True):
        decoded = Image.open(io.BytesIO(base64.b64decode(image, validate=True)))
        assert decoded.format == "PNG" and decoded.mode == "RGB"
        assert np.array_equal(np.asarray(decoded).transpose(2, 0, 1), pixels)
        assert name == hashlib.sha256(b"3x5x7:" + pixels.tobytes()).hexdigest()


def test_equal_images_are_equal_bytes_and_others_are_not() -> None:
    assert png_of(PIXELS[0]) == png_of(PIXELS[0].copy()) != png_of(PIXELS[1])
    assert digest_of(PIXELS[0]) != digest_of(PIXELS[0].reshape(3, 7, 5))
    assert digest_of(PIXELS[0][:, ::-1]) == digest_of(PIXELS[0][:, ::-1].copy())


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "expected JSON, got nothing"),
        (b"<!DOCTYPE html><title>Login</title>", "expected JSON, got HTML: '<!DOCTYPE html><title>Login</title>'"),
        (b"[" * 100_000, r"expected JSON, got '\[\[\["),
        (b"\xff\xfe\x1b[2J", r"expected JSON, got "),
        (b"[[0.5, 0.5]]", "expected an object with 'scores', got"),
        (b'{"labels": [1, 0]}', "expected an object with 'scores', got .*; it answers with labels: say so"),
        (b'{"scores": [], "ids": ["b", "a"]}', "the ids of the answers are not those of the images in their order"),
        (b'{"scores": [], "classes": true}', "expected 'classes' to be a number of 2 or more, got True"),
    ],
)
def test_a_response_that_is_none(body: bytes, message: str) -> None:
    with pytest.raises(EndpointError, match=message) as raised:
        read_response(body, DIGESTS, "scores")
    assert raised.value.failure == "data" and "\x1b" not in str(raised.value)


def test_ids_in_their_order_and_classes_are_read() -> None:
    ids = [digest.hex() for digest in DIGESTS]
    body = json.dumps({"labels": [1, 0], "ids": ids, "classes": 3}).encode()
    assert read_response(body, DIGESTS, "labels") == ([1, 0], 3)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([[0.5, 0.5]], "expected 2 answers, one for each image, got 1"),
        ([[0.5, 0.5], [0.2, 0.3, 0.5]], "expected as many scores for each image, got between 2 and 3"),
        ([[0.5, 0.5], [1.0, 0.0]], "expected 3 scores for each image, got 2: the model has another number of classes"),
        ([[0.5, 0.5, "0"], [0.2, 0.3, 0.5]], "expected a list of scores for each image, got '0' among them"),
        ([[0.5, 0.5, None], [0.2, 0.3, 0.5]], "got None among them"),
        ([[0.5, 0.5, False], [0.2, 0.3, 0.5]], "got False among them"),
        ([[0.5, 0.5, 10**400], [0.2, 0.3, 0.5]], "got numbers too large to hold"),
        ([0.5, 0.5], "expected a list of scores for each image, got"),
        ({"a": 1}, "expected a list of scores for each image, got"),
        ([[], []], r"expected scores \[images, classes\], got an array \[2, 0\]"),
        (np.array([["a"] * 3] * 2), r"expected scores .*, got an array \[2, 3\] of <U1"),
    ],
)
def test_scores_of_which_none_can_be_used(answers: Any, message: str) -> None:
    with pytest.raises(EndpointError, match=message) as raised:
        checked(answers, "scores", 2, 3)
    assert raised.value.failure == "data"


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([0, 1.0], "expected one whole number for each image, got 1.0 among them"),
        ([0, True], "got True among them"),
        ([[0], [1]], r"expected one whole number for each image, got \[0\] among them"),
        (3, "expected one whole number for each image, got 3"),
        ([0, 10**30], "got numbers too large to hold"),
        (np.array([0.0, 1.0]), r"expected one whole number for each image, got an array \[2\] of float64"),
        ([1], "expected 2 answers"),
    ],
)
def test_labels_of_which_none_can_be_used(answers: Any, message: str) -> None:
    with pytest.raises(EndpointError, match=message):
        checked(answers, "labels", 2, 3)
    with pytest.raises(EndpointError, match="labels do not tell how many classes there are"):
        checked([0, 1], "labels", 2, None)


@pytest.mark.parametrize(
    ("row", "message", "failure"),
    [
        ([NAN, 0.5, 0.5], "a score is no finite number", "diverged"),
        ([INF, 0.5, 0.5], "a score is no finite number", "diverged"),
        ([-0.2, 0.6, 0.6], r"a score is negative \(-0.2\); logits are not scores", "data"),
        ([0.5, 0.5, 0.5], "the scores sum to 1.5, not to 1", "data"),
        ([0.0, 0.0, 0.0], "the scores sum to 0, not to 1", "data"),
    ],
)
def test_a_row_that_cannot_be_true_spoils_no_other(row: list[float], message: str, failure: str) -> None:
    result = checked([[0.2, 0.3, 0.5], row, [1, 0, 0]], "scores", 3, None)
    assert result.failure == failure and result.classes == 3
    assert result.text().startswith("1 of 3 answers cannot be used: image 1: ")
    assert list(result.problems) == [1] and message.replace("\\", "") in result.text()
    assert result.values.dtype == np.float32
    assert np.array_equal(result.values[[0, 2]], np.float32([[0.2, 0.3, 0.5], [1, 0, 0]]))


def test_labels_out_of_range_spoil_no_others() -> None:
    result = checked([2, 3, -1, 0], "labels", 4, 3)
    assert result.problems == {1: "label 3 is none of 0 to 2", 2: "label -1 is none of 0 to 2"}
    assert result.values[[0, 3]].tolist() == [2, 0] and result.failure == "data"


def test_rounded_scores_are_believed() -> None:
    assert checked([[0.33, 0.33, 0.33], [0.25, 0.51, 0.25]], "scores", 2, 3).problems == {}
