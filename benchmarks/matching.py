"""How many trainings accuracy matching needs: our sampler against a plain bracketing, and against Optuna's samplers.

    python benchmarks/matching.py [--problems 150] [--gp-problems 40] [--quick]

A problem is a simulated defense: accuracy as a function of the place u of its strength in the range, 0 to 1, and a
target. A training reads that accuracy with seed noise; the search ends at the first that reads within 0.5 percentage
points of the target, or after 30. The n-th training of a problem draws the same noise whoever asks for it.

    accuracy(u) = high - drop * (s(k (u - m)) - s(-k m)) / (s(k (1 - m)) - s(-k m)) + hump * exp(-((u - c) / w)^2)

with the logistic function s; k is log-uniform, all else is uniform:

    family  high   drop  k     m         hump  c         w           target
    gentle  70-99  20-60 1-6   0.2-0.8   0     -         -           10 % to 90 % of the way down
    steep   70-99  5-60  4-30  0.1-0.9   0     -         -           anywhere 0.5 points inside the curve's range
    hump    70-99  5-60  4-30  0.1-0.9   1-6   0.1-0.5   0.08-0.25   0.5 above its lowest to 0.2 below its highest point

Gentle is what accuracy over strength looks like in a range that somebody chose with care. Its drop and k were chosen by
what the plain bracketing alone needs: 4 trainings in the median and 5 in nine of ten problems, as in an earlier study.
Steep puts most of its fall into a small part of the range; hump rises before it falls.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import optuna

from midef.sweep.matching.bracketing.sampler import GAP, BracketingSampler

TOLERANCE, CAP = 0.5, 30
RANGE = optuna.distributions.FloatDistribution(0.01, 10.0, log=True)
CASES = (("gentle", 0.15), ("gentle", 0.5), ("steep", 0.15), ("steep", 0.5), ("hump", 0.15), ("hump", 0.5))


# --- problems ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A curve and a target in percentage points, and the noise of the n-th training."""

    accuracy: Callable[[float], float]
    target: float
    noise: Sequence[float]


def logistic(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


def problems(family: str, noise: float, count: int) -> list[Problem]:
    """The first so many of a family; their curves and standardised noise do not depend on the level of noise."""
    rng = np.random.default_rng(0)
    return [_problem(family, noise, rng) for _ in range(count)]


def _problem(family: str, noise: float, rng: np.random.Generator) -> Problem:
    is_gentle = family == "gentle"
    high, drop = rng.uniform(70, 99), rng.uniform(*((20, 60) if is_gentle else (5, 60)))
    k = np.exp(rng.uniform(*np.log((1, 6) if is_gentle else (4, 30))))
    m = rng.uniform(*(0.2, 0.8) if is_gentle else (0.1, 0.9))
    hump, c, w = rng.uniform(1, 6) if family == "hump" else 0.0, rng.uniform(0.1, 0.5), rng.uniform(0.08, 0.25)
    first, last = logistic(-k * m), logistic(k * (1 - m))

    def accuracy(u: Any) -> Any:
        fall = (logistic(k * (u - m)) - first) / (last - first)
        return high - drop * fall + hump * np.exp(-(((u - c) / w) ** 2))

    seen = accuracy(np.linspace(0, 1, 2001))
    if is_gentle:
        target = high - drop * rng.uniform(0.1, 0.9)
    else:
        target = rng.uniform(seen.min() + 0.5, seen.max() - (0.2 if family == "hump" else 0.5))
    return Problem(
        accuracy=lambda u: float(accuracy(u)), target=target, noise=(noise * rng.standard_normal(CAP)).tolist()
    )


# --- searches ---------------------------------------------------------------------------------------------------------

Search: TypeAlias = Callable[[Problem, int], tuple[int | None, float]]
"""Of a problem and its number: trainings until the first match (None: not in CAP), and the last place tried."""


def by_plain_bracketing(problem: Problem, number: int) -> tuple[int | None, float]:
    """Both ends; then where the straight line between the ends of the bracket meets the target; and the middle
    whenever two such steps did not halve the bracket, or while both ends lie on one side.

    It believes every sign it reads."""
    seen: list[tuple[float, float]] = []

    def train(u: float) -> float:
        gap = problem.accuracy(u) + problem.noise[len(seen)] - problem.target
        seen.append((u, gap))
        return gap

    low, high, low_gap = 0.0, 1.0, train(0.0)
    if abs(low_gap) <= TOLERANCE:
        return 1, 0.0
    high_gap = train(1.0)
    if abs(high_gap) <= TOLERANCE:
        return 2, 1.0
    widths = [1.0]
    while len(seen) < CAP:
        is_slow = len(widths) > 2 and widths[-1] > 0.5 * widths[-3]
        if is_slow or (low_gap > 0) == (high_gap > 0):
            u = (low + high) / 2
        else:
            u = low + (high - low) * low_gap / (low_gap - high_gap)
        gap = train(u)
        if abs(gap) <= TOLERANCE:
            return len(seen), u
        if (gap > 0) == (low_gap > 0):
            low, low_gap = u, gap
        else:
            high, high_gap = u, gap
        widths.append(high - low)
    return None, seen[-1][0]


def by_sampler(make: Callable[[int], optuna.samplers.BaseSampler]) -> Search:
    """As accuracy matching does it: ask, train, tell |gap|, until one matches."""

    def search(problem: Problem, number: int) -> tuple[int | None, float]:
        study = optuna.create_study(sampler=make(number))
        u = 0.0
        for n in range(CAP):
            trial = study.ask({"strength": RANGE})
            u = float(np.log(trial.params["strength"] / RANGE.low) / np.log(RANGE.high / RANGE.low))
            gap = problem.accuracy(u) + problem.noise[n] - problem.target
            trial.set_user_attr(GAP, gap)
            study.tell(trial, abs(gap))
            if abs(gap) <= TOLERANCE:
                return n + 1, u
        return None, u

    return search


SEARCHES: dict[str, Search] = {
    "BracketingSampler": by_sampler(lambda number: BracketingSampler(tolerance=TOLERANCE, seed=number)),
    "plain bracketing": by_plain_bracketing,
    "TPESampler": by_sampler(lambda number: optuna.samplers.TPESampler(seed=number)),
    "GPSampler": by_sampler(lambda number: optuna.samplers.GPSampler(seed=number)),
    "QMCSampler": by_sampler(lambda number: optuna.samplers.QMCSampler(seed=number)),
}


# --- the table --------------------------------------------------------------------------------------------------------


def row(family: str, noise: float, name: str, given: Sequence[Problem]) -> str:
    """Of one search over the problems; trainings of a search that did not match count as more than CAP."""
    start = time.process_time()
    found = [SEARCHES[name](problem, number) for number, problem in enumerate(given)]
    cpu_s = (time.process_time() - start) / len(given)
    needed = np.array([CAP + 1 if n is None else n for n, _ in found])
    matched = [(p, u) for p, (n, u) in zip(given, found, strict=True) if n is not None]
    true = [abs(p.accuracy(u) - p.target) <= TOLERANCE for p, u in matched]
    median, p90 = (f"{q:g}" if q <= CAP else f"> {CAP}" for q in np.quantile(needed, (0.5, 0.9), method="higher"))
    return (
        f"| {family} | {noise:g} | {name} | {len(given)} | {median} | {p90} | {np.minimum(needed, CAP).mean():.2f} "
        f"| {100 * (needed > CAP).mean():.1f} | {100 * np.mean(true) if true else np.nan:.0f} | {cpu_s:.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--problems", type=int, default=150)
    parser.add_argument("--gp-problems", type=int, default=40, help="of GPSampler, the slowest; the first of the same")
    parser.add_argument("--quick", action="store_true", help="10 problems, 2 of them for GPSampler")
    arguments = parser.parse_args()
    count, gp_count = (10, 2) if arguments.quick else (arguments.problems, arguments.gp_problems)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    import torch

    torch.set_num_threads(1)
    print(
        "| family | noise | search | problems | median | p90 | mean (a miss as 30) | % missed in 30 | % truly within "
        "| CPU s a search |"
    )
    print("| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for family, noise in CASES:
        given = problems(family, noise, count)
        for name in SEARCHES:
            print(row(family, noise, name, given[:gp_count] if name == "GPSampler" else given), flush=True)


if __name__ == "__main__":
    main()
