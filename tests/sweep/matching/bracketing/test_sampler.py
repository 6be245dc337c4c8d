"""The sampler as Optuna uses it: which trials it reads, that it proposes what `assess` says, and its fallback."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial
from typing_extensions import override

from midef.sweep.matching.bracketing.assess import CLIP, assess
from midef.sweep.matching.bracketing.sampler import GAP, BracketingSampler, evaluations

LINEAR = FloatDistribution(0.0, 1.0)
LOG = FloatDistribution(0.01, 10.0, log=True)
WHOLE = IntDistribution(1, 9)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(level)


def study_of(sampler: optuna.samplers.BaseSampler, distribution: Any, *gaps: tuple[float, float]) -> optuna.Study:
    study = optuna.create_study(sampler=sampler)
    for strength, gap in gaps:
        study.add_trial(told(distribution, strength, gap))
    return study


def told(distribution: Any, strength: float, gap: float) -> optuna.trial.FrozenTrial:
    return create_trial(
        params={"strength": strength},
        distributions={"strength": distribution},
        value=abs(gap),
        user_attrs={GAP: gap},
    )


class Spy(optuna.samplers.RandomSampler):  # type: ignore[misc]
    """A fallback that counts and always answers the same."""

    def __init__(self, answer: float) -> None:
        super().__init__(seed=0)
        self.answer, self.asked = answer, 0

    @override
    def sample_independent(self, *arguments: Any) -> float:
        self.asked += 1
        return self.answer


def proposed(study: optuna.Study) -> float | None:
    """What `assess` says comes next in a study over `LOG`."""
    return assess(evaluations(study.trials, "strength", LOG), LOG, tolerance=0.5, noise=0.3).next


# --- trials -----------------------------------------------------------------------------------------------------------


def test_seeds_of_one_strength_are_averaged_and_other_trials_ignored() -> None:
    study = study_of(Spy(2.0), LOG, (1.0, 3.0), (1.0, 5.0), (0.1, -2.0))
    running = study.ask({"strength": LOG})
    running.set_user_attr(GAP, 1.0)
    for state, attributes in ((TrialState.FAIL, {GAP: 1.0}), (TrialState.PRUNED, {GAP: 1.0}), (None, {})):
        study.add_trial(
            create_trial(
                state=state or TrialState.COMPLETE,
                value=1.0 if state is None else None,
                params={"strength": 2.0},
                distributions={"strength": LOG},
                user_attrs=attributes,
            )
        )
    study.add_trial(told(FloatDistribution(0.001, 100.0, log=True), 50.0, -9.0))  # outside the range
    averaged = evaluations(study.trials, "strength", LOG)
    assert [(e.strength, e.gap, e.count, e.latest) for e in averaged] == [(0.1, -2.0, 1, 2), (1.0, 4.0, 2, 1)]
    assert [e.at for e in averaged] == pytest.approx([1 / 3, 2 / 3])
    assert evaluations(study.trials, "another", LOG) == []


def test_a_diverged_seed_counts_as_the_limit() -> None:
    study = study_of(Spy(0.0), LOG, (1.0, -1e9))
    assert evaluations(study.trials, "strength", LOG)[0].gap == -CLIP


# --- the sampler ------------------------------------------------------------------------------------------------------


def reads(strength: float) -> float:
    """A gap that is zero at 0.7."""
    return -8 * math.log10(strength / 0.7)


def test_ask_and_tell_end_at_a_match() -> None:
    study = optuna.create_study(sampler=BracketingSampler())
    for _ in range(8):
        trial = study.ask()
        gap = reads(trial.suggest_float("strength", 0.01, 10, log=True))
        trial.set_user_attr(GAP, gap)
        study.tell(trial, abs(gap))
        if abs(gap) <= 0.5:
            break
    assert study.best_value <= 0.5


def test_fixed_distributions_and_suggestions_propose_the_same() -> None:
    gaps = ((0.1, 6.8), (5.0, -6.8))
    asked = study_of(BracketingSampler(), LOG, *gaps).ask({"strength": LOG}).params["strength"]
    trial = study_of(BracketingSampler(), LOG, *gaps).ask()
    assert trial.suggest_float("strength", 0.01, 10, log=True) == asked
    assert asked == proposed(study_of(BracketingSampler(), LOG, *gaps))


def test_optimize_matches_and_starts_with_what_was_enqueued() -> None:
    def objective(trial: optuna.Trial) -> float:
        gap = reads(trial.suggest_float("strength", 0.01, 10, log=True))
        trial.set_user_attr(GAP, gap)
        if abs(gap) <= 0.5:
            trial.study.stop()
        return abs(gap)

    study = optuna.create_study(sampler=BracketingSampler(start=5.0))
    study.enqueue_trial({"strength": 0.05})
    study.optimize(objective, n_trials=8)
    assert study.trials[0].params["strength"] == 0.05 and study.best_value <= 0.5
    assert study.trials[1].params["strength"] > 0.05


def test_an_integer_is_an_integer() -> None:
    study = study_of(BracketingSampler(), WHOLE, (2, 3.0))
    assert type(study.ask({"strength": WHOLE}).params["strength"]) is int


def test_a_study_from_a_journal_goes_on_where_it_was(tmp_path: Path) -> None:
    def storage() -> optuna.storages.BaseStorage:
        return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(tmp_path / "journal.log")))

    study = optuna.create_study(study_name="m", storage=storage(), sampler=BracketingSampler(seed=3))
    for gap in (6.0, -3.0, 1.5):
        trial = study.ask({"strength": LOG})
        trial.set_user_attr(GAP, gap)
        study.tell(trial, abs(gap))
    again = optuna.load_study(study_name="m", storage=storage(), sampler=BracketingSampler(seed=3))
    expected = proposed(study)
    assert again.ask({"strength": LOG}).params["strength"] == expected


NOT_MONOTONE = ((0.1, -6.0), (0.5, -1.0), (2.0, -9.0))


def test_the_fallback_searches_where_no_monotone_curve_fits() -> None:
    spy = Spy(0.777777)
    study = study_of(BracketingSampler(fallback=spy), LOG, *NOT_MONOTONE)
    assert study.ask({"strength": LOG}).params["strength"] == 0.7778 and spy.asked == 1
    study.add_trial(told(LOG, 0.7778, 3.0))  # a sign change: bracketing goes on
    assert 0.01 < study.ask({"strength": LOG}).params["strength"] < 2.0 and spy.asked == 1


def test_the_fallback_is_not_taken_at_its_word_when_it_repeats() -> None:
    spy = Spy(10.0)
    study = study_of(BracketingSampler(fallback=spy), LOG, *NOT_MONOTONE, (10.0, -9.5))
    strength = study.ask({"strength": LOG}).params["strength"]
    assert spy.asked == 1 and 9 < strength < 10


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_the_default_fallback_finds_something_new() -> None:
    strength = study_of(BracketingSampler(seed=5), LOG, *NOT_MONOTONE).ask({"strength": LOG}).params["strength"]
    assert 0.01 <= strength <= 10 and strength not in dict(NOT_MONOTONE)


def test_the_default_fallback_is_seeded_anew_for_each_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []

    def record(*, seed: int, n_startup_trials: int) -> Spy:
        seeds.append(seed)
        return Spy(0.7)

    monkeypatch.setattr(optuna.samplers, "GPSampler", record)
    study = study_of(BracketingSampler(seed=5), LOG, *NOT_MONOTONE)
    trial = study.ask({"strength": LOG})
    study.ask({"strength": LOG})
    trial.set_user_attr(GAP, -3.0)
    study.tell(trial, 3.0)
    study.ask({"strength": LOG})
    assert seeds == [8, 8, 9], "of what was told, so that a killed search proposes the same again"


def test_what_it_cannot_search_is_refused() -> None:
    study = optuna.create_study(sampler=BracketingSampler())
    with pytest.raises(ValueError, match="needs a float or int parameter; 'kind' is Categorical"):
        study.ask({"kind": CategoricalDistribution(["a", "b"])})
    with pytest.raises(ValueError, match=r"matches one parameter, 'rate', but the study also has 'strength'"):
        study.ask({"strength": LOG, "rate": LINEAR})
    with pytest.raises(ValueError, match="multi-objective"):
        optuna.create_study(directions=["minimize"] * 2, sampler=BracketingSampler()).ask({"strength": LOG})
    with pytest.raises(ValueError, match=r"tolerance .* must be > 0"):
        BracketingSampler(tolerance=0.0)
    with pytest.raises(ValueError, match=r"noise .* must be >= 0"):
        BracketingSampler(noise=-1.0)
