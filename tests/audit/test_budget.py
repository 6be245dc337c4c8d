"""Rate limits hold in every window; costs are sums that anybody can check."""

from __future__ import annotations

import random

import pytest

from midef.attacks import ATTACKS
from midef.audit.budget import Asked, Rate, estimate, queries_of
from midef.core import SpecError


@pytest.mark.parametrize(
    "rate",
    [Rate(per_second=3), Rate(per_minute=7), Rate(per_second=2.5, per_minute=40), Rate(per_second=0.3)],
    ids=str,
)
def test_no_window_ever_holds_more_than_the_limit(rate: Rate) -> None:
    rng, now, sent = random.Random(0), 1000.0, list[tuple[float, int]]()
    for _ in range(200):
        now += rng.choice([0.0, 0.05, 0.9])
        images = rng.randint(1, int(rate.most_at_once))
        while wait_s := rate.wait_s(sent, now, images):
            now += wait_s
        sent.append((now, images))
    for begin, _ in sent:
        within = lambda seconds: sum(count for at, count in sent if begin <= at < begin + seconds)  # noqa: E731, B023
        if rate.per_second is not None:
            assert within(1.0) <= rate.per_second or (within(1 / rate.per_second) <= 1 and rate.per_second < 1)
        if rate.per_minute is not None:
            assert within(60.0) <= rate.per_minute


def test_a_full_window_is_waited_for_and_no_longer() -> None:
    rate = Rate(per_second=3)
    assert rate.wait_s([], 5.0, 3) == 0.0
    assert rate.wait_s([(5.0, 2)], 5.25, 1) == 0.0
    assert rate.wait_s([(5.0, 2)], 5.25, 2) == pytest.approx(0.75, abs=0.01)
    assert Rate().wait_s([(5.0, 10**9)], 5.0, 10**9) == 0.0


def test_limits_of_0_are_refused_together() -> None:
    with pytest.raises(SpecError, match=r"2 problems:(.|\n)*per second above 0, got 0(.|\n)*per minute of 1 or more"):
        Rate(per_second=0, per_minute=0)


def test_price_and_time_of_an_audit() -> None:
    cost = estimate(
        {"rlb_mi": Asked(12_000), "accuracy on private images": Asked(500)},
        price_per_1000=1.5,
        rate=Rate(per_second=10, per_minute=300),
        batch_size=64,
        budget=20_000,
        paid=8_000,
    )
    assert cost.queries == 12_500 and cost.money == pytest.approx(18.75)
    assert cost.requests == 1250  # never more than ten images in one: that is what a second allows
    assert cost.seconds == pytest.approx(12_500 / 5)
    assert not cost.is_within and cost.is_exact
    assert cost.text().splitlines() == [
        "  rlb_mi: 12,000",
        "  accuracy on private images: 500",
        "queries: 12,500, one for each image, in 1,250 requests",
        "price: 18.75 at 1.50 per 1,000 queries",
        "time of the questions: 42 min",
        "budget: 20,000 queries, 12,000 of them left; that is too little, and what does not fit is not asked",
    ]


def test_slow_requests_take_longer_than_the_rate_limit_asks() -> None:
    parts = {"a": Asked(640)}
    assert estimate(parts, request_s=2.0).seconds == 20.0
    assert estimate(parts, request_s=2.0, rate=Rate(per_second=1)).seconds == 1280.0
    assert estimate(parts).seconds is None and estimate(parts).money is None


def test_a_guess_is_called_one() -> None:
    cost = estimate({"brep_mi": Asked(1000, is_exact=False)}, price_per_1000=2.0)
    assert not cost.is_exact
    assert "queries: about 1,000" in cost.text() and "price: about 2.00" in cost.text() and "guess" in cost.text()


def test_questions_of_attacks_count_those_of_their_priors() -> None:
    def asked(name: str, public_images: int | None = 600, **params: int) -> Asked:
        attack = ATTACKS.make(name, params)
        return queries_of(attack, reconstructions=8, identities=4, n_classes=10, public_images=public_images)

    assert asked("rlb_mi", episodes=30) == Asked(2 * 30 * 8)
    assert not asked("brep_mi").is_exact
    assert asked("inversion_model") == Asked(600)  # its network learns from answers to all public images
    assert asked("inversion_model", public_images=None) == Asked(0, is_exact=False)
    lokt = ATTACKS.make("lokt", {})
    gan = lokt.surrogates.gan  # type: ignore[attr-defined]
    trained = (gan.iterations - gan.warm_up) * gan.discriminator_steps * gan.batch_size
    assert trained == 12_160_000
    assert asked("lokt") == Asked(trained + 10 * lokt.surrogates.latents_per_class)  # type: ignore[attr-defined]
