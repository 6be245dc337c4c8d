"""What further seeds cost: accuracy matching to the end, where the mean of three trainings decides.

    python benchmarks/matching_seeds.py [--problems 60]

The curves are the gentle family of `matching.py`; every training, of whatever strength and seed, draws its own noise. A
strength matches when the mean of its three trainings is within 0.5 points of the target; at most 90 trainings. Beside
`midef.sweep.matching.search.search`, which weighs further seeds against new strengths, the obvious rule: confirm a
strength when its first training is within the tolerance, else try another.
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
from midef.sweep.matching.case import Case, StrengthResult
from midef.sweep.matching.concurrent import RequestedTraining, TrainingRequest
from midef.sweep.matching.search import search
from midef.sweep.matching.strengths import Strength
from midef.sweep.spec.matching import MatchSpec

SEEDS, TOLERANCE, CAP = (0, 1, 2), 0.5, 90
WRITTEN = choose_defense("midre")


class Simulated(Case):
    """A case whose trainings are drawn from a curve over `area_high`."""

    def request(self, choice: Any, strength: float | None, seeds: Any, phase: Any) -> TrainingRequest:
        return TrainingRequest([RequestedTraining(None, strength, seed, phase) for seed in seeds])  # type: ignore[arg-type]

    def study_name(self, target: float) -> str:
        return "simulated"

    def result(self, target: float | None, state: Any, reason: str = "", **fields: Any) -> StrengthResult:
        group = fields["group"]
        strength = None if group is None else group.strength
        return StrengthResult({"state": state, "strength": strength}, None)  # type: ignore[arg-type]


class InMemory:
    """Studies that are not stored."""

    def open(self, name: str, *, directions: Any, sampler: Any, about: Any = None) -> optuna.Study:
        return optuna.create_study(directions=directions, sampler=sampler)


def place(strength: float, scale: Strength) -> float:
    return (strength - scale.tuning.low) / (scale.tuning.high - scale.tuning.low)


def ours(problem: Any, noise: float, rng: np.random.Generator) -> tuple[int, float | None]:
    """Trainings, and how far the noiseless accuracy of what was chosen is from the target; None without a match."""
    scale = Strength.of(WRITTEN)
    assert scale is not None
    case = Simulated((), WRITTEN, scale, SEEDS, MatchSpec(tolerance=TOLERANCE, trainings=CAP))
    running = search(case, problem.target, InMemory(), [])  # type: ignore[arg-type]
    request, count = next(running), 0
    try:
        while True:
            answers = []
            for requested in request.trainings:
                accuracy = problem.accuracy(place(requested.strength, scale)) + noise * rng.standard_normal()
                answers.append(
                    MatchTraining(
                        strength=requested.strength,
                        seed=requested.seed,
                        accuracy=accuracy,
                        phase=requested.phase,
                        target_key=f"{requested.strength}/{requested.seed}",
                    )
                )
            count += len(answers)
            request = running.send(answers)
    except StopIteration as end:
        said: dict[str, Any] = end.value.outcome
    if said["state"] != "matched":
        return count, None
    return count, abs(problem.accuracy(place(said["strength"], scale)) - problem.target)


def obvious(problem: Any, noise: float, rng: np.random.Generator) -> tuple[int, float | None]:
    """The same, confirming whatever strength has a first training within the tolerance."""
    scale = Strength.of(WRITTEN)
    assert scale is not None
    study = optuna.create_study(sampler=BracketingSampler(tolerance=TOLERANCE, start=scale.start, seed=0))
    gaps: dict[float, list[float]] = defaultdict(list)
    count = 0

    def train(strength: float) -> float:
        gap = problem.accuracy(place(strength, scale)) + noise * rng.standard_normal() - problem.target
        gaps[strength].append(gap)
        return float(gap)

    distribution = scale.distribution()
    name = scale.tuning.parameter
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
            return count, abs(problem.accuracy(place(strength, scale)) - problem.target)
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
