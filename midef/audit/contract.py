"""The JSON contract of an endpoint, and the checks that answers of every black box must pass."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from midef.core.errors import EndpointError, FailureKind, few
from midef.core.text import printable

CONTRACT = "midef-audit-1"
"""Written in every request: version of the contract."""
SUM_TOLERANCE = 0.05
"""How far the sum of scores may be from 1: what rounding to two digits does to a few dozen classes."""
SHOWN = 120
"""Characters of an unreadable answer that a message shows."""

AnswerKind: TypeAlias = Literal["scores", "labels"]
Pixels: TypeAlias = NDArray[np.uint8]


def digest_of(pixels: Pixels) -> bytes:
    """sha256 of the size and the 8-bit values of an image [3, H, W]."""
    size = "x".join(map(str, pixels.shape)).encode()
    return hashlib.sha256(size + b":" + np.ascontiguousarray(pixels).tobytes()).digest()


def request_body(pixels: Pixels, digests: Sequence[bytes], answers: AnswerKind) -> bytes:
    """A request about images [B, 3, H, W], as JSON."""
    return json.dumps(
        {
            "contract": CONTRACT,
            "answer": answers,
            "ids": [digest.hex() for digest in digests],
            "images": [base64.b64encode(png_of(image)).decode() for image in pixels],
        }
    ).encode()


def png_of(pixels: Pixels) -> bytes:
    """An image [3, H, W] as PNG, 8 bits a channel, RGB: what is decoded is equal to it."""
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def read_response(body: bytes, digests: Sequence[bytes], answers: AnswerKind) -> tuple[Any, int | None]:
    """The answers of a response, unchecked, and the number of classes where it says one.

    Raises:
        EndpointError: if it is no JSON object of the contract.
    """
    try:
        told = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise EndpointError(f"expected JSON, got {_excerpt(body)}", failure="data") from error
    if not isinstance(told, dict) or answers not in told:
        other = "labels" if answers == "scores" else "scores"
        hint = f"; it answers with {other}: say so" if isinstance(told, dict) and other in told else ""
        raise EndpointError(f"expected an object with {answers!r}, got {_excerpt(body)}{hint}", failure="data")
    ids = [digest.hex() for digest in digests]
    if "ids" in told and told["ids"] != ids:
        raise EndpointError(
            "the ids of the answers are not those of the images in their order; answer in the order of the request",
            failure="data",
        )
    classes = told.get("classes")
    if classes is not None and (type(classes) is not int or classes < 2):
        raise EndpointError(f"expected 'classes' to be a number of 2 or more, got {classes!r:.50}", failure="data")
    return told[answers], classes


@dataclass(frozen=True)
class Checked:
    """Answers to B images after the checks.

    Args:
        values: scores [B, K] float32, or labels [B] int32; rows with a problem are not to be used.
        problems: by row.
        classes: K.
        failure: kind of the problems.
    """

    values: NDArray[Any]
    problems: dict[int, str]
    classes: int
    failure: FailureKind = "data"

    def text(self) -> str:
        """The problems, for people."""
        said = few([f"image {row}: {problem}" for row, problem in self.problems.items()], 3)
        return f"{len(self.problems):,} of {len(self.values):,} answers cannot be used: {said}"


def checked(answers: Any, kind: AnswerKind, count: int, classes: int | None) -> Checked:
    """Check answers to so many images.

    Args:
        answers: rows of scores, or labels: lists, or an array of numbers.
        classes: that the model has; None where nobody knows yet, of scores only.

    Raises:
        EndpointError: if none of them can be used, such as a wrong number of answers or of classes.
    """
    if kind == "labels" and classes is None:
        raise EndpointError(
            "labels do not tell how many classes there are; give the number of classes, or answer it as 'classes'",
            failure="data",
        )
    if not isinstance(answers, np.ndarray):
        answers = _array(answers, kind)
    if len(answers) != count:
        raise EndpointError(f"expected {count} answers, one for each image, got {len(answers)}", failure="data")
    if kind == "labels":
        assert classes is not None, "asked above"
        return _checked_labels(answers, classes)
    return _checked_scores(answers, classes)


def _array(answers: Any, kind: AnswerKind) -> NDArray[Any]:
    """Lists as an array; refuses what numpy would turn into numbers, as texts and truth values."""
    depth = 2 if kind == "scores" else 1
    rows = answers if depth == 2 else [answers]
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise EndpointError(f"expected {_WANTED[kind]}, got {answers!r:.50}", failure="data")
    lengths = {len(row) for row in rows}
    if len(lengths) > 1:
        raise EndpointError(
            f"expected as many scores for each image, got between {min(lengths)} and {max(lengths)}", failure="data"
        )
    allowed = (int, float) if kind == "scores" else (int,)
    strange = [value for row in rows for value in row if type(value) not in allowed]
    if strange:
        raise EndpointError(f"expected {_WANTED[kind]}, got {strange[0]!r:.50} among them", failure="data")
    try:
        return np.array(answers, dtype=np.float64 if kind == "scores" else np.int64)
    except (OverflowError, ValueError) as error:
        raise EndpointError(f"expected {_WANTED[kind]}, got numbers too large to hold", failure="data") from error


_WANTED = {"scores": "a list of scores for each image", "labels": "one whole number for each image"}


def _checked_scores(scores: NDArray[Any], classes: int | None) -> Checked:
    if scores.ndim != 2 or scores.shape[1] < 2 or scores.dtype.kind not in "fiu":
        raise EndpointError(
            f"expected scores [images, classes], got an array {list(scores.shape)} of {scores.dtype}", failure="data"
        )
    if classes is not None and scores.shape[1] != classes:
        raise EndpointError(
            f"expected {classes} scores for each image, got {scores.shape[1]}: the model has another number of "
            "classes, or answers only with the highest",
            failure="data",
        )
    exact: NDArray[np.float64] = scores.astype(np.float64)
    is_finite: NDArray[np.bool_] = np.asarray(np.isfinite(exact).all(axis=1))
    least, total = exact.min(axis=1), exact.sum(axis=1)
    problems: dict[int, str] = {}
    for row in range(len(exact)):
        if not is_finite[row]:
            problems[row] = "a score is no finite number"
        elif least[row] < -1e-6:
            problems[row] = f"a score is negative ({least[row]:.3g}); logits are not scores"
        elif abs(total[row] - 1) > SUM_TOLERANCE:
            problems[row] = f"the scores sum to {total[row]:.3g}, not to 1"
    values = np.where(is_finite[:, None], exact, 0).clip(0, 2).astype(np.float32)
    return Checked(values, problems, exact.shape[1], "data" if is_finite.all() else "diverged")


def _checked_labels(labels: NDArray[Any], classes: int) -> Checked:
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise EndpointError(
            f"expected {_WANTED['labels']}, got an array {list(labels.shape)} of {labels.dtype}", failure="data"
        )
    problems = {
        row: f"label {label} is none of 0 to {classes - 1}"
        for row, label in enumerate(labels.tolist())
        if not 0 <= label < classes
    }
    return Checked(np.where((labels >= 0) & (labels < classes), labels, 0).astype(np.int32), problems, classes)


def _excerpt(body: bytes) -> str:
    """The beginning of an unreadable answer; HTML is named."""
    text = " ".join(body[: 4 * SHOWN].decode("utf-8", "replace").split())
    named = "HTML: " if text.lstrip().lower().startswith(("<!doctype", "<html")) else ""
    return f"{named}{printable(text[:SHOWN], keep='')!r}" if text else "nothing"
