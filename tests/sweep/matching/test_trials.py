"""Trainings as trials: what comes back from them, and that one training counts once."""

from __future__ import annotations

import optuna
import pytest
from optuna.distributions import FloatDistribution

from midef.core.match import MatchTraining
from midef.sweep.matching.trials import add, complete_trials, gap_of, tell, training_of

RANGE = {"x": FloatDistribution(0.0, 1.0)}
TRAINED = MatchTraining(strength=0.5, seed=1, accuracy=88.0, phase="search", target_key="target/a")
DIVERGED = MatchTraining(
    strength=0.5, seed=2, accuracy=None, phase="confirm", target_key="target/b", reason="nan", failure="diverged"
)


@pytest.fixture
def study() -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))


@pytest.mark.parametrize("training", [TRAINED, DIVERGED], ids=["trained", "diverged"])
@pytest.mark.parametrize("way", ["told", "added"])
def test_a_training_comes_back_as_it_was(study: optuna.Study, training: MatchTraining, way: str) -> None:
    if way == "told":
        tell(study, study.ask(RANGE), training, 90.0, [1.0])
    else:
        add(study, training, 90.0, [1.0], params={"x": 0.5}, distributions=RANGE, more={"of": 7})
    (trial,) = complete_trials(study)
    assert training_of(trial) == training and trial.values == [1.0]
    assert trial.user_attrs["gap"] == gap_of(training, 90.0)
    assert trial.user_attrs.get("of") == (7 if way == "added" else None)


def test_the_gap_of_a_diverged_training_is_that_of_no_accuracy() -> None:
    assert gap_of(TRAINED, 90.0) == -2.0 and gap_of(DIVERGED, 90.0) == -90.0


def test_a_training_that_another_driver_told_is_not_told_again(study: optuna.Study) -> None:
    first, second = study.ask(RANGE), study.ask(RANGE)
    tell(study, first, TRAINED, 90.0, [2.0])
    tell(study, second, TRAINED, 90.0, [3.0])
    add(study, TRAINED, 90.0, [4.0], params={"x": 0.5}, distributions=RANGE)
    assert [trial.values for trial in complete_trials(study)] == [[2.0]]
    assert study.trials[1].state == optuna.trial.TrialState.FAIL and len(study.trials) == 2


def test_a_trial_that_was_taken_for_dead_is_added_anew(study: optuna.Study) -> None:
    trial = study.ask(RANGE)
    study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    tell(study, trial, TRAINED, 90.0, [2.0])
    (told,) = complete_trials(study)
    assert training_of(told) == TRAINED and told.params == trial.params


def test_of_one_training_told_twice_the_first_counts(study: optuna.Study) -> None:
    for value in (1.0, 2.0):  # as two drivers at once
        attributes = {"target_key": "target/a", "seed": 1}
        study.add_trial(
            optuna.trial.create_trial(params={"x": 0.5}, distributions=RANGE, value=value, user_attrs=attributes)
        )
    assert [trial.value for trial in complete_trials(study)] == [1.0]


def test_trials_without_a_training_all_count(study: optuna.Study) -> None:
    for value in (1.0, 2.0):
        study.tell(study.ask(RANGE), value)
    assert [trial.value for trial in complete_trials(study)] == [1.0, 2.0]
