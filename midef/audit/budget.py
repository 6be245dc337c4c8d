"""Rate limits of a model that is asked from outside, and what an audit costs before it starts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from midef.attacks.priors.base import Prior, TargetedPrior
from midef.core.errors import SpecError
from midef.core.text import duration

if TYPE_CHECKING:
    from midef.attacks import Attack

_A_MOMENT_S = 0.001
"""Added to every wait: sums of seconds are rounded."""


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Most images that a model may be shown in any second and in any minute; None for no limit.

    Args:
        per_second: > 0; below 1, one image in each 1 / per_second seconds.
        per_minute: >= 1.
    """

    per_second: float | None = None
    per_minute: int | None = None

    def __post_init__(self) -> None:
        problems = []
        if self.per_second is not None and not 0 < self.per_second < math.inf:
            problems.append(f"expected a rate limit per second above 0, got {self.per_second}")
        if self.per_minute is not None and self.per_minute < 1:
            problems.append(f"expected a rate limit per minute of 1 or more, got {self.per_minute}")
        if problems:
            raise SpecError(problems)

    @property
    def windows(self) -> tuple[tuple[float, int], ...]:
        """Seconds, and most images in any so many seconds."""
        found = []
        if self.per_second is not None:
            found.append((max(1.0, 1 / self.per_second), max(1, math.floor(self.per_second))))
        if self.per_minute is not None:
            found.append((60.0, self.per_minute))
        return tuple(found)

    @property
    def longest_s(self) -> float:
        """Seconds after which a question is forgotten."""
        return max((window_s for window_s, _ in self.windows), default=0.0)

    @property
    def most_at_once(self) -> float:
        """Images of the largest request; infinite without a limit."""
        return min((images for _, images in self.windows), default=math.inf)

    @property
    def per_s(self) -> float:
        """Images a second in the long run; infinite without a limit."""
        return min((images / window_s for window_s, images in self.windows), default=math.inf)

    def wait_s(self, sent: Sequence[tuple[float, int]], now: float, images: int) -> float:
        """Seconds until this many images may be sent; 0.0 if they may be sent now.

        Args:
            sent: time and number of images of earlier requests.
            now: on the clock of these times.
            images: at most `most_at_once`.
        """
        return max((_wait_s(sent, now, images, *window) for window in self.windows), default=0.0)


def _wait_s(sent: Sequence[tuple[float, int]], now: float, images: int, window_s: float, most: int) -> float:
    inside = sorted((at, count) for at, count in sent if now - window_s < at)
    over = sum(count for _, count in inside) + images - most
    for at, count in inside:
        if over <= 0:
            return 0.0
        over -= count
        if over <= 0:
            return max(0.0, at + window_s - now) + _A_MOMENT_S
    return 0.0


@dataclass(frozen=True)
class Asked:
    """Images that a model will be shown.

    Args:
        is_exact: False where only the attack itself can tell; the number is then a guess.
    """

    images: int
    is_exact: bool = True


def queries_of(
    attack: Attack, *, reconstructions: int, identities: int, n_classes: int, public_images: int | None = None
) -> Asked:
    """Images that an attack shows the model, those that its priors ask about in training too.

    Args:
        n_classes: of the model.
        public_images: that the attacker has; None where that is not known.
    """
    asked = attack.queries(reconstructions=reconstructions, identities=identities)
    search = attack.images_drawn(reconstructions=reconstructions, identities=identities) if asked is None else asked
    priors, is_known = list(_asking(attack)), asked is not None
    for prior in priors:
        given = prior.queries(n_classes=n_classes, public_images=public_images or 0)
        is_known = is_known and (public_images is not None or given > 0)
        search += given
    return Asked(search, is_known)


def _asking(component: Attack | Prior) -> Iterator[TargetedPrior]:
    """Its priors that ask the target, and those that these start from."""
    for field in fields(component):
        value = getattr(component, field.name)
        if isinstance(value, Prior):
            yield from _asking(value)
            if isinstance(value, TargetedPrior):
                yield value


@dataclass(frozen=True)
class Cost:
    """Questions of an audit, with their price and time, at most: an image asked about again costs nothing.

    Args:
        parts: images by what asks about them.
        queries: sum of the parts.
        requests: that carry them.
        is_exact: False where a part is a guess.
        money: in the unit of the price; None without a price.
        price_per_1000: of queries; None without a price.
        seconds: at the rate limit and the seconds of a request; None where neither is known.
        budget: most queries; None without one.
        paid: of the budget, before.
    """

    parts: Mapping[str, Asked]
    queries: int
    requests: int
    is_exact: bool
    money: float | None
    price_per_1000: float | None
    seconds: float | None
    budget: int | None
    paid: int

    @property
    def is_within(self) -> bool:
        """Whether the budget holds all of it."""
        return self.budget is None or self.paid + self.queries <= self.budget

    def text(self) -> str:
        """The parts, the sum, and whether the budget holds it, for people."""
        lines = [f"  {name}: {_about(part)}{part.images:,}" for name, part in self.parts.items()]
        about = "" if self.is_exact else "about "
        lines.append(f"queries: {about}{self.queries:,}, one for each image, in {self.requests:,} requests")
        if self.money is not None:
            lines.append(f"price: {about}{self.money:,.2f} at {self.price_per_1000:,.2f} per 1,000 queries")
        if self.seconds is not None:
            lines.append(f"time of the questions: {about}{duration(self.seconds)}")
        if self.budget is not None:
            left = max(0, self.budget - self.paid)
            said = "" if self.is_within else "; that is too little, and what does not fit is not asked"
            lines.append(f"budget: {self.budget:,} queries, {left:,} of them left{said}")
        if not self.is_exact:
            lines.append("An attack that searches until it is satisfied may ask more or fewer: these are guesses.")
        return "\n".join(lines)


def estimate(
    parts: Mapping[str, Asked],
    *,
    price_per_1000: float | None = None,
    rate: Rate | None = None,
    request_s: float | None = None,
    batch_size: int = 64,
    budget: int | None = None,
    paid: int = 0,
) -> Cost:
    """Queries, money and time of an audit, before it starts.

    Args:
        parts: images by what asks about them: attacks, the accuracy on private images.
        price_per_1000: of queries, in any currency.
        request_s: seconds that the model takes for a request of `batch_size` images; None where nobody measured it.
        batch_size: images in a request, at most.
        budget: most queries, those of earlier runs included.
        paid: queries of earlier runs.
    """
    limit = rate or Rate()
    images = sum(part.images for part in parts.values())
    at_once = max(1, int(min(batch_size, limit.most_at_once)))
    requests = sum(math.ceil(part.images / at_once) for part in parts.values())
    seconds = None
    if request_s is not None or limit.windows:
        seconds = max(images / limit.per_s, requests * (request_s or 0.0))
    return Cost(
        parts=dict(parts),
        queries=images,
        requests=requests,
        is_exact=all(part.is_exact for part in parts.values()),
        money=None if price_per_1000 is None else images / 1000 * price_per_1000,
        price_per_1000=price_per_1000,
        seconds=seconds,
        budget=budget,
        paid=paid,
    )


def _about(part: Asked) -> str:
    return "" if part.is_exact else "about "
