"""What further seeds cost: accuracy matching to the end, where the mean of three trainings decides.

    python benchmarks/matching_seeds.py [--problems 60]

The curves are the gentle family of `matching.py`; every training, of whatever strength and seed, draws its own noise. A
strength matches when the mean of its three trainings is within 0.5 points of the target; at most 90 trainings. Beside
`sweep.strength_search.search`, which weighs further seeds against new strengths, the obvious rule: confirm a strength
when its first training is within the tolerance, else try another.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from statistics import fmean
from typing import Any

import numpy as np
import optuna
from matching import problems

from midef.core.match import MatchTraining
from midef.defenses.stack import choose_defense
from midef.sweep.matching.bracketing.sampler import GAP, BracketingSampler
from midef.sweep.matching.concurrent import Request, Wanted
from midef.sweep.matching.search import Case, Found, search
from midef.sweep.matching.strengths import Strength
from midef.sweep.spec.matching import MatchSpec

SEEDS, TOLERANCE, CAP = (0, 1, 2), 0.5, 90
WRITTEN = choose_defense("midre")


class Simulated(Case):
    """A case whose trainings are drawn from a curve over `area_high`."""

    def request(self, choice: Any, strength: float | None, seeds: Any, phase: Any) -> Request:
        return Request([Wanted(None, strength, seed, phase) for seed in seeds])  # type: ignore[arg-type]

    def study_name(self, target: float) -> str:
        return "simulated"

    def found(self, target: float | None, choice: Any = None, **found: Any) -> Found:
        return Found(found, choice)  # type: ignore[arg-type]


class InMemory:
    """Studies that nobody keeps."""

    def open(self, name: str, *, directions: Any, sampler: Any, about: Any = None) -> optuna.Study:
        return optuna.create_study(directions=directions, sampler=sampler)


def place(strength: float, found: Strength) -> float:
    return (strength - found.tuning.low) / (found.tuning.high - found.tuning.low)


def ours(problem: Any, noise: float, rng: np.random.Generator) -> tuple[int, float | None]:
    """Trainings, and how far the noiseless accuracy of what was chosen is from the target; None without a match."""
    found = Strength.of(WRITTEN)
    assert found is not None
    case = Simulated((), WRITTEN, found, SEEDS, MatchSpec(tolerance=TOLERANCE, trainings=CAP))
    hunt = search(case, problem.target, InMemory(), [])  # type: ignore[arg-type]
    request, count = next(hunt), 0
    try:
        while True:
            answers = []
            for wanted in request.wanted:
                accuracy = problem.accuracy(place(wanted.strength, found)) + noise * rng.standard_normal()
                answers.append(
                    MatchTraining(
                        strength=wanted.strength, seed=wanted.seed, accuracy=accuracy, phase=wanted.phase, target_key=""
                    )
                )
            count += len(answers)
            request = hunt.send(answers)
    except StopIteration as end:
        said: dict[str, Any] = end.value.outcome
    if said["state"] != "matched":
        return count, None
    return count, abs(problem.accuracy(place(said["strength"], found)) - problem.target)


def obvious(problem: Any, noise: float, rng: np.random.Generator) -> tuple[int, float | None]:
    """The same, confirming whatever strength has a first training within the tolerance."""
    found = Strength.of(WRITTEN)
    assert found is not None
    study = optuna.create_study(sampler=BracketingSampler(tolerance=TOLERANCE, start=found.start, seed=0))
    gaps: dict[float, list[float]] = defaultdict(list)
    count = 0

    def train(strength: float) -> float:
        gap = problem.accuracy(place(strength, found)) + noise * rng.standard_normal() - problem.target
        gaps[strength].append(gap)
        return float(gap)

    distribution = found.distribution()
    name = found.tuning.parameter
    while count < CAP:
        trial = study.ask({name: distribution})
        strength = trial.params[name]
        gap = train(strength)
        count += 1
        trial.set_user_attr(GAP, gap)
        study.tell(trial, abs(gap))
        if abs(gap) > TOLERANCE:
            continue
        for _ in SEEDS[1:]:
            gap = train(strength)
            count += 1
            study.add_trial(
                optuna.trial.create_trial(
                    params={name: strength},
                    distributions={name: distribution},
                    value=abs(gap),
                    user_attrs={GAP: gap},
                )
            )
        if abs(fmean(gaps[strength][-3:])) <= TOLERANCE:
            return count, abs(problem.accuracy(place(strength, found)) - problem.target)
    return count, None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, default=60)
    count = parser.parse_args().problems
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    print("| seeds differ by | rule | median | p90 | mean | % not matched in 90 | mean true error |")
    print("| ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    for noise in (0.15, 0.5, 1.5, 3.0):
        for name, rule in (("ours", ours), ("confirm what hits", obvious)):
            rng = np.random.default_rng(1)
            results = [rule(problem, noise, rng) for problem in problems("gentle", noise, count)]
            needed = np.array([n if error is not None else CAP for n, error in results])
            errors = [error for _, error in results if error is not None]
            missed = 100 * (1 - len(errors) / count)
            print(
                f"| {noise:g} | {name} | {np.median(needed):g} | {np.quantile(needed, 0.9):.0f} | {needed.mean():.1f} "
                f"| {missed:.0f} | {fmean(errors):.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
