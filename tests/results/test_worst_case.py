"""The worst case over attacks, against enumeration, simulation and the plain rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import beta, binom

from midef.core import ResultRow
from midef.core.outcomes import Outcomes
from midef.core.statistics import identity_interval, identity_lower_bound
from midef.results.worst_case import METRIC, Attempt, WorstCase, common_attacks, worst_case, worst_case_row, worst_cases

ATTACK = "attack_accuracy_at_1"


def a_row(attack: str, hits: Any, *, seed: int = 0, keeps_outcomes: bool = True, **changes: Any) -> ResultRow:
    """The attack accuracy of hits [identities, images] as `midef` stores it."""
    hits = np.atleast_2d(np.asarray(hits, dtype=float))
    people = np.repeat(np.arange(len(hits)), hits.shape[1])
    low, high, kind = identity_interval(hits.ravel(), people)
    facts: dict[str, Any] = {
        **{"sweep": "audit", "profile": "small", "cell": f"{attack}{seed}", "setup": f"audit-{attack}"},
        **{"defense": "none", "defense_name": "none", "defense_params": "{}", "attack": attack, "attack_name": attack},
        **{"access": "white box", "architecture": "resnet18", "private": "people", "public": "strangers"},
        **{"evaluator": "vgg16", "resolution_px": 32, "identities": len(hits), "images_per_identity": hits.shape[1]},
        **{"seed": seed, "unit": "percent", "larger_is": "less private", "low": 100 * low, "high": 100 * high},
        **{"interval": kind, "n": hits.size, "groups": len(hits), "chance": 2.0, "evaluator_accuracy": 95.0},
        "outcomes": Outcomes.of(hits.ravel(), people, "ab" * 8).text if keeps_outcomes else "",
    }
    return ResultRow(**{**facts, "metric": ATTACK, "value": 100 * float(hits.mean()), **changes})


def hits_of(successes: int, identities: int) -> Any:
    """Successes among identities with one image each [identities, 1]."""
    return (np.arange(identities) < successes)[:, None]


def failed(attack: str, reason: str, status: str = "failed") -> ResultRow:
    return replace(a_row(attack, hits_of(0, 40)), value=None, low=None, high=None, status=status, reason=reason)


def test_one_attack_has_the_ordinary_interval() -> None:
    row = a_row("gmi", np.random.default_rng(0).random((30, 4)) < 0.4)
    worst = worst_case([row])
    assert worst.interval is not None
    assert (worst.value, worst.interval.low, worst.interval.high) == (row.value, row.low, row.high)
    assert worst.interval.kind == row.interval


def test_more_attacks_lower_the_lower_end_and_leave_the_upper_one() -> None:
    """Attacks that succeed on the same images: there is one rate, and the rule does not know."""
    hits = np.random.default_rng(0).random((40, 5)) < 0.5
    ends = [worst_case([a_row(f"a{i}", hits) for i in range(k)]).interval for k in (1, 2, 5, 20)]
    lows = [span.low for span in ends if span]
    assert lows == sorted(lows, reverse=True)
    assert len(set(lows)) == 4
    assert {span.high for span in ends if span} == {ends[0].high if ends[0] else None}
    assert all(span and span.low < 100 * hits.mean() < span.high for span in ends)


def test_the_rule_by_hand() -> None:
    """One image of each identity: Clopper's and Pearson's end at .025 / 2, and the ordinary upper end."""
    n, successes = 40, {"a": 30, "b": 22}
    worst = worst_case([a_row(name, hits_of(x, n)) for name, x in successes.items()])
    assert worst.interval is not None
    assert worst.interval.low == pytest.approx(100 * beta.ppf(0.025 / 2, 30, n - 30 + 1), abs=1e-9)
    assert worst.interval.high == pytest.approx(100 * identity_interval(hits_of(30, n).ravel(), range(n))[1], abs=1e-9)
    assert worst.winner is not None
    assert worst.winner.attack == "a"


def coverage_by_enumeration(rates: tuple[float, ...], n: int, *, corrected: bool) -> float:
    """Probability that the interval holds the largest rate, from the distribution of independent binomials."""
    k, truth = len(rates), 100 * max(rates)
    spans = [identity_interval(hits_of(x, n).ravel(), range(n)) for x in range(n + 1)]
    ordinary_lows, highs = (100 * np.array(ends) for ends in list(zip(*spans, strict=True))[:2])
    exact = [identity_lower_bound(hits_of(x, n).ravel(), range(n), level=1 - 0.05 / k) for x in range(n + 1)]
    exact_lows = np.minimum(ordinary_lows, 100 * np.array(exact))
    if not corrected:
        exact_lows = ordinary_lows
    # Both ends grow with the count, so the interval is that of the highest count: its distribution is all there is.
    assert (np.diff(exact_lows) >= 0).all()
    counts = np.arange(n + 1)
    at_most = np.prod([binom.cdf(counts, n, p) for p in rates], axis=0)
    weight = np.diff(at_most, prepend=0.0)
    return float(weight[(exact_lows <= truth) & (truth <= highs)].sum())


@pytest.mark.parametrize("rates", [(0.5, 0.5), (0.02, 0.02), (0.3, 0.1), (0.9, 0.88)])
def test_two_attacks_with_known_rates_are_covered_exactly(rates: tuple[float, float]) -> None:
    n = 20
    assert coverage_by_enumeration(rates, n, corrected=True) >= 0.95
    x, y = 9, 7
    worst = worst_case([a_row("a", hits_of(x, n)), a_row("b", hits_of(y, n))])
    exact = max(identity_lower_bound(hits_of(z, n).ravel(), range(n), level=0.975) for z in (x, y))
    assert worst.interval is not None
    assert worst.interval.low == pytest.approx(100 * exact)


def test_the_winners_own_interval_would_not_cover() -> None:
    rates = (0.005,) * 3
    assert coverage_by_enumeration(rates, 10, corrected=False) < 0.87
    assert coverage_by_enumeration(rates, 10, corrected=True) >= 0.95


@pytest.mark.parametrize(("rate", "shared"), [(0.05, 0.0), (0.6, 0.8)])
def test_coverage_with_images_of_one_identity_and_shared_people(rate: float, shared: float) -> None:
    """Four equal attacks on the same 40 people x 4, whose effects the attacks share in part. 60 audits."""
    from scipy.special import ndtr, ndtri

    rng, held, spread = np.random.default_rng(7), 0, 0.65
    for _ in range(audits := 60):
        effect = np.sqrt(shared) * rng.normal(size=(1, 40)) + np.sqrt(1 - shared) * rng.normal(size=(4, 40))
        rates = ndtr(ndtri(rate) * np.sqrt(1 + spread**2) + spread * effect)
        hits = rng.random((4, 40, 4)) < rates[..., None]
        span = worst_case([a_row(f"a{i}", one) for i, one in enumerate(hits)]).interval
        assert span is not None
        held += span.low <= 100 * rate <= span.high
    assert held / audits >= 0.93  # .95 less a standard error of .03


def test_seeds_are_in_the_interval() -> None:
    rng = np.random.default_rng(3)
    few = [a_row("a", rng.random((40, 2)) < 0.5, seed=s) for s in range(2)]
    many = [a_row(name, rng.random((40, 2)) < 0.3 + 0.2 * s, seed=s) for s in range(3) for name in ("a", "b")]
    alone, pair = worst_case(few), worst_case(many)
    assert alone.interval is not None
    assert alone.interval.kind == "95 % interval over identities, mean of 2 runs"
    assert pair.interval is not None
    assert pair.measured[0].interval is not None
    assert "over seeds and identities" in pair.measured[0].interval.kind
    assert pair.interval.low < min(one.interval.low for one in pair.measured if one.interval) + 1e-9


def test_what_gave_no_number_is_named_and_does_not_count() -> None:
    good = a_row("ppa", hits_of(30, 40))
    rising = {"confidence_end": 0.5, "confidence_rise": 0.4, "confidence_rise_low": 0.2}
    slow = a_row("gmi", hits_of(10, 40), **rising)
    rows = [slow, failed("plg_mi", "out of memory"), good, failed("mirror", "no generator", "refused")]
    worst = worst_case(rows)
    assert [(one.attack, one.state, one.reason) for one in worst.attempts] == [
        ("ppa", "measured", ""),
        ("gmi", "measured", ""),
        ("plg_mi", "failed", "out of memory"),
        ("mirror", "refused", "no generator"),
    ]
    assert [one.attack for one in worst.not_converged] == ["gmi"]
    assert [one.attack for one in worst.maybe_converged] == ["ppa"], "its row keeps no confidence"
    flat = {"confidence_end": 0.9, "confidence_rise": 0.0, "confidence_rise_low": -0.1}
    converged = worst_case([a_row("ppa", hits_of(30, 40), **flat)])
    assert [one.is_converged for one in converged.attempts] == [True] and not converged.maybe_converged
    assert [one.is_converged for one in worst_case([failed("plg_mi", "out of memory")]).attempts] == [None]
    expected = worst_case([good, slow]).interval
    assert worst.interval == expected
    assert worst.words == (
        f"75.0 % {expected.ends if expected else ''} by ppa, the highest of 2 attacks; without a number: plg_mi, "
        "mirror; not converged: gmi"
    )


def test_a_judge_that_cannot_judge_gives_no_worst_case() -> None:
    worst = worst_case([a_row("ppa", hits_of(30, 40), evaluator_accuracy=5.0)])
    assert (worst.value, worst.interval) == (None, None)
    assert worst.attempts[0].state == "excluded"
    assert "cannot judge" in worst.attempts[0].reason
    assert worst.words == "no attack accuracy: 1 attack tried, none gave a number"


def test_a_row_without_outcomes_counts_each_identity_once() -> None:
    hits = np.random.default_rng(0).random((30, 4)) < 0.5
    kept, lost = (
        worst_case([a_row("a", hits, keeps_outcomes=keeps), a_row("b", hits_of(2, 30), keeps_outcomes=keeps)])
        for keeps in (True, False)
    )
    assert kept.interval is not None
    assert lost.interval is not None
    assert lost.interval.low < kept.interval.low
    assert lost.interval.high == kept.interval.high


@pytest.mark.parametrize("name", ["defense", "architecture", "private", "evaluator"])
def test_rows_of_two_targets_are_refused(name: str) -> None:
    rows = [a_row("a", hits_of(3, 9)), a_row("b", hits_of(3, 9), **{name: "another"})]
    with pytest.raises(ValueError, match=f"several in {name}"):
        worst_case(rows)


def test_one_attack_in_two_setups_is_two_attempts() -> None:
    rows = [a_row("ppa", hits_of(x, 20), setup=setup) for x, setup in ((4, "ffhq"), (9, "metfaces"))]
    assert [(one.attack, one.value) for one in worst_case(rows).measured] == [
        ("ppa in metfaces", 45.0),
        ("ppa in ffhq", 20.0),
    ]


def test_defenses_are_compared_over_the_attacks_that_all_of_them_have() -> None:
    none = [a_row("a", hits_of(30, 40)), a_row("b", hits_of(20, 40))]
    bido = [replace(row, defense="bido") for row in (a_row("b", hits_of(9, 40)), failed("a", "out of memory"))]
    broken = [replace(failed("a", "out of memory"), defense="midre")]
    targets = {"none": none, "bido": bido, "midre": broken}
    assert common_attacks(targets.values()) == {"b"}
    found = worst_cases(targets)
    assert {name: one.value for name, one in found.items()} == {"none": 50.0, "bido": 22.5, "midre": None}
    assert [(one.attack, one.state) for one in found["none"].attempts] == [("b", "measured"), ("a", "left out")]
    assert found["none"].interval == worst_case([none[1]]).interval


def test_the_row_of_a_worst_case() -> None:
    rows = [a_row("ppa", hits_of(30, 40)), a_row("gmi", hits_of(10, 40))]
    worst = worst_case(rows)
    row = worst_case_row(worst, rows)
    assert row is not None
    assert worst.interval is not None
    assert (row.metric, row.attack, row.value, row.status) == (METRIC, "ppa", 75.0, "ok")
    assert (row.low, row.high, row.remark) == (worst.interval.low, worst.interval.high, worst.words)
    nothing = [failed("ppa", "out of memory")]
    lost = worst_case_row(worst_case(nothing), nothing)
    assert lost is not None
    assert (lost.status, lost.reason, lost.value) == ("refused", worst_case(nothing).words, None)
    assert worst_case_row(worst_case([]), []) is None


def test_nothing_tried() -> None:
    worst = worst_case([])
    assert worst == WorstCase(attempts=())
    assert not worst.is_at_chance
    assert Attempt(attack="a", access="scores", state="failed").value is None
