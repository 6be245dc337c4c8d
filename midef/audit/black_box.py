"""A model that can only be asked, with everything that keeps its owner's money: store, budget, rate limit, retries."""

from __future__ import annotations

import logging
import random
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from midef.attacks.access import AccessLevel
from midef.audit.answers import AnswerStore
from midef.audit.budget import Asked, Cost, Rate, estimate
from midef.audit.contract import AnswerKind, Pixels, checked, digest_of
from midef.audit.source import Retries, Source, Unanswered
from midef.core.errors import BudgetReached, DataError, EndpointError, ShapeError, SpecError
from midef.core.seeds import derive_seed

_STORED = {"scores": "<f4", "labels": "<i4"}
"""How an answer is stored."""
LONGEST_WAIT_S = 600.0
"""A model that asks for a longer pause than this ends the run; the next one goes on."""
OFF_RANGE = 0.01
"""How far from [0, 1] a value may be; it is brought there."""
POLL_S = 0.1
"""Seconds between two looks at what another process asks about."""
_LOG = logging.getLogger(__name__)


class BlackBox:
    """A model that can only be asked: images [B, 3, H, W] in [0, 1] -> scores [B, K] or labels [B], without gradients.

    Images are rounded to 8 bits before they are sent. An image whose answer is stored is not sent again; of equal
    images in a call one is sent. Answers are checked, and stored as they come.

    Args:
        source: asks the model.
        name: says which model this is. Stored answers are found by it, so another model needs another name.
        store: of answers.
        answers: what the model gives, `scores` or `labels`.
        n_classes: K; None asks the model, which works for scores and for responses that say it.
        budget: most images that are ever sent to it, those of earlier runs included; None for no limit.
        rate: most images in a second and in a minute; None for no limit.
        batch_size: images in a request.
        retries: of requests without an answer.
        price_per_1000: of queries, in any currency, for `cost`; None where nothing is paid.
        clock, sleep: time in seconds, and how to wait.

    Raises:
        SpecError: with all that is wrong.
    """

    def __init__(
        self,
        source: Source,
        *,
        name: str,
        store: AnswerStore,
        answers: AnswerKind = "scores",
        n_classes: int | None = None,
        budget: int | None = None,
        rate: Rate | None = None,
        batch_size: int = 64,
        retries: Retries | None = None,
        price_per_1000: float | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if problems := _problems(name, answers, n_classes, budget, batch_size, price_per_1000):
            raise SpecError(problems)
        self.name, self.answers, self.budget = name, answers, budget
        self.rate, self.retries = rate or Rate(), retries or Retries()
        self.batch_size = int(min(batch_size, self.rate.most_at_once))
        self.price_per_1000 = price_per_1000
        self._took_s, self._answers = 0.0, 0
        self.asked = 0
        """Images that this object was asked about, stored ones included."""
        self._source, self._store, self._clock, self._sleep = source, store, clock, sleep
        self._rng = random.Random(derive_seed("retries", self.retries.seed))
        self._model = store.model(name, f"{source.contract}:{answers}", n_classes)
        self._n_classes = store.classes(self._model)
        self._assumed: int | None = None

    @property
    def access(self) -> AccessLevel:
        """What an attacker sees."""
        return AccessLevel.SCORES if self.answers == "scores" else AccessLevel.LABELS

    @property
    def n_classes(self) -> int:
        """Classes of the model.

        Raises:
            SpecError: before the first answer, where nobody said it.
        """
        classes = self.known_classes or self._assumed
        if classes is None:
            raise SpecError(f"nobody knows yet how many classes {self.name} has; give n_classes, or ask it first")
        return classes

    @property
    def known_classes(self) -> int | None:
        """Classes of the model, as somebody said or its answers tell; None before."""
        if self._n_classes is None:
            self._n_classes = self._store.classes(self._model)
        return self._n_classes

    def assume_classes(self, classes: int) -> None:
        """Take labels without a number of classes as being of so many; nothing is stored of it.

        Args:
            classes: of the private images, which are those of the model, or the audit stops.
        """
        self._assumed = classes

    @property
    def paid(self) -> int:
        """Images that were ever sent to the model of this name, by all processes that share the store."""
        return self._store.paid(self._model)

    @property
    def stored(self) -> int:
        """Answers of the model in the store."""
        return self._store.count(self._model)

    @property
    def left(self) -> int | None:
        """Images that the budget still holds; None without one."""
        return None if self.budget is None else max(0, self.budget - self.paid)

    @property
    def request_s(self) -> float | None:
        """Mean seconds from a request to its answer, of this object; None before the first."""
        return self._took_s / self._answers if self._answers else None

    def cost(self, parts: Mapping[str, Asked], *, price_per_1000: float | None = None) -> Cost:
        """What questions cost at its rate limit, budget and the time its requests have taken so far.

        Args:
            parts: images by what asks about them, see `queries_of`.
            price_per_1000: of queries; None gives the one it was made with.
        """
        return estimate(
            parts,
            price_per_1000=self.price_per_1000 if price_per_1000 is None else price_per_1000,
            rate=self.rate,
            request_s=self.request_s,
            batch_size=self.batch_size,
            budget=self.budget,
            paid=self.paid,
        )

    def known(self, images: Tensor) -> int:
        """How many of these images have a stored answer."""
        digests = [digest_of(image) for image in pixels_of(images)]
        found = self._store.read(self._model, digests)
        return sum(digest in found for digest in digests)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Scores [B, K] float32 or labels [B] int64, on the device of the images.

        Args:
            images: [B, 3, H, W] in [0, 1].

        Raises:
            ShapeError: if they have another shape.
            DataError: if they are not finite.
            BudgetReached: if the budget does not hold what is not stored; then nothing is sent.
            EndpointError: without an answer that can be used. What came before is stored.
        """
        pixels = pixels_of(images)
        digests = [digest_of(image) for image in pixels]
        self.asked += len(digests)
        by_digest = dict(zip(digests, pixels, strict=True))
        found = self._store.read(self._model, by_digest)
        if missing := [digest for digest in by_digest if digest not in found]:
            found |= self._asked_for({digest: by_digest[digest] for digest in missing})
        kind = _STORED[self.answers]
        rows = [np.frombuffer(found[digest], kind) for digest in digests]
        values = np.stack(rows) if rows else np.zeros((0, self.n_classes), kind)
        if self.answers == "scores":
            return torch.from_numpy(values.astype(np.float32)).to(images.device)
        return torch.from_numpy(values.astype(np.int64).reshape(len(digests))).to(images.device)

    def _asked_for(self, missing: dict[bytes, Pixels]) -> dict[bytes, bytes]:
        """Answers to images that are not stored: asked for here, or by another process that is at it."""
        found: dict[bytes, bytes] = {}
        token = secrets.token_hex(8)
        try:
            while waiting := [digest for digest in missing if digest not in found]:
                if ours := self._store.claim(self._model, waiting, token, self._clock()):
                    self._check_budget(len(ours))
                for begin in range(0, len(ours), self.batch_size):
                    batch = ours[begin : begin + self.batch_size]
                    found |= self._ask(batch, np.stack([missing[digest] for digest in batch]), token)
                if others := [digest for digest in waiting if digest not in found]:
                    found |= self._store.read(self._model, others)
                    if not ours and not found.keys() >= set(others):
                        self._sleep(POLL_S)
        except BaseException:
            self._store.release(self._model, token)
            raise
        return found  # which ended the claims

    def _check_budget(self, images: int) -> None:
        """Refuse a call that cannot be answered as a whole, before any of it is paid."""
        if self.left is not None and images > self.left:
            raise self._over_budget(images)

    def _over_budget(self, images: int) -> BudgetReached:
        return BudgetReached(
            f"{self.name}: the query budget of {self.budget:,} is reached: {self.paid:,} were sent, and the next step "
            f"needs {images:,} more. {self._kept()}; raise the query budget to go on"
        )

    def _ask(self, digests: Sequence[bytes], pixels: Pixels, token: str) -> dict[bytes, bytes]:
        """Ask about images, and store the answers that can be used."""
        try:
            answers, classes = self._answered(digests, pixels, token)
            if classes is not None:
                self._take_classes(classes)
            is_assumed = self._n_classes is None and self.answers == "labels"
            result = checked(answers, self.answers, len(digests), self._assumed if is_assumed else self._n_classes)
            if not is_assumed:
                self._take_classes(result.classes)
        except BudgetReached as error:
            raise self._over_budget(len(digests)) from error
        except EndpointError as error:
            raise EndpointError(f"{self._at()}: {error}. {self._kept()}", failure=error.failure) from error
        good = {
            digest: _bytes(row, self.answers)
            for i, (digest, row) in enumerate(zip(digests, result.values, strict=True))
            if i not in result.problems
        }
        self._store.write(self._model, good, token)
        if result.problems:
            raise EndpointError(f"{self._at()}: {result.text()}. {self._kept()}", failure=result.failure)
        return good

    def _answered(self, digests: Sequence[bytes], pixels: Pixels, token: str) -> tuple[Any, int | None]:
        """Send a request until it is answered."""
        for retry in range(self.retries.most + 1):
            self._wait_turn(len(digests), token)
            begun = self._clock()
            try:
                answer = self._source(pixels, digests, self.answers)
            except Unanswered as failed:
                if failed.is_declined:
                    self._store.give_back(self._model, len(digests))
                if failed.is_final:
                    raise EndpointError(str(failed), failure=failed.failure) from failed
                if failed.wait_s > LONGEST_WAIT_S:
                    what = f"{failed}, and asks to wait {failed.wait_s:,.0f} s; run it again after that"
                    raise EndpointError(what, failure=failed.failure) from failed
                if retry == self.retries.most:
                    what = f"{failed} ({retry + 1} times)" if retry else str(failed)
                    raise EndpointError(what, failure=failed.failure) from failed
                pause_s = max(failed.wait_s, self.retries.pause_s(retry, self._rng))
                _LOG.info("%s: %s; asking again in %.1f s", self.name, failed, pause_s)
                self._sleep(pause_s)
            else:
                self._took_s, self._answers = self._took_s + self._clock() - begun, self._answers + 1
                return answer
        raise AssertionError("the last retry returns or raises")

    def _wait_turn(self, images: int, token: str) -> None:
        """Count a request as sent once budget and rate limit allow it."""
        while wait_s := self._store.reserve(
            self._model, images, token=token, budget=self.budget, rate=self.rate, now=self._clock()
        ):
            self._sleep(wait_s)

    def _take_classes(self, classes: int) -> None:
        if self._n_classes is None:
            self._store.set_classes(self._model, classes)
            self._n_classes = classes
        if classes != self._n_classes:
            raise EndpointError(
                f"expected {self._n_classes} classes, got {classes}: another model answers there", failure="data"
            )

    def _at(self) -> str:
        return f"{self.name} ({self._source.where})"

    def _kept(self) -> str:
        return f"{self.stored:,} answers are stored in {self._store.path} and are not asked for again"


def pixels_of(images: Tensor) -> Pixels:
    """Images [B, 3, H, W] in [0, 1] in 8 bits, each value the nearest.

    Raises:
        ShapeError: if they have another shape.
        DataError: if a value is not finite, or far from [0, 1].
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise ShapeError(f"expected images [B, 3, H, W], got {list(images.shape)}")
    if not torch.isfinite(images).all():
        raise DataError("expected images in [0, 1], got values that are not finite", failure="diverged")
    least, most = (float(images.min()), float(images.max())) if len(images) else (0.0, 1.0)
    if least < -OFF_RANGE or most > 1 + OFF_RANGE:
        raise DataError(
            f"expected images in [0, 1], got values from {least:.3g} to {most:.3g}; a model that is asked normalises "
            "for itself, so give it no mean and no std"
        )
    pixels: Pixels = (images.detach().float().clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
    return pixels


def _bytes(row: NDArray[Any], answers: AnswerKind) -> bytes:
    return np.asarray(row).astype(_STORED[answers]).tobytes()


def _problems(
    name: str, answers: str, n_classes: int | None, budget: int | None, batch_size: int, price: float | None
) -> list[str]:
    problems = []
    if not 0 < len(name) <= 200 or not name.isprintable():
        problems.append(f"expected a name of 1 to 200 characters that says which model this is, got {name!r:.50}")
    if answers not in ("scores", "labels"):
        problems.append(f"expected answers to be 'scores' or 'labels', got {answers!r}")
    if n_classes is not None and n_classes < 2:
        problems.append(f"expected n_classes of 2 or more, got {n_classes}")
    if budget is not None and budget < 0:
        problems.append(f"expected a query budget of 0 or more, got {budget}")
    if price is not None and not price >= 0:
        problems.append(f"expected a price of 0 or more, got {price}")
    if batch_size < 1:
        problems.append(f"expected a batch_size of 1 or more, got {batch_size}")
    return problems
