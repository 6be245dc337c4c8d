"""The order in which Tune starts trials is that of its default, without a look at what ended long ago."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from ray.tune.schedulers import FIFOScheduler

from midef.sweep.execution.trial_order import InOrder


@dataclass
class Trial:
    trial_id: str
    status: str = "PENDING"
    looks: int = 0

    def is_finished(self) -> bool:
        self.looks += 1
        return self.status in ("TERMINATED", "ERROR")


@dataclass
class Controller:
    """Tune's list of trials, in which one that is tried again goes to the end."""

    trials: list[Trial] = field(default_factory=list)

    def get_trials(self) -> list[Trial]:
        return self.trials


def test_it_is_the_order_of_tune() -> None:
    """A thousand random events: added, started, paused, ended, failed and tried again."""
    rng, controller, ours, theirs = random.Random(0), Controller(), InOrder(), FIFOScheduler()
    chosen: list[Any] = []
    for step in range(1000):
        event = rng.choice(["add", "start", "start", "pause", "end", "end", "fail", "again"])
        some = [t for t in controller.trials if (t.status == "RUNNING") == (event != "start")]
        one = rng.choice(some) if some else None
        if event == "add":
            controller.trials.append(Trial(str(step)))
            ours.on_trial_add(controller, controller.trials[-1])
        elif event == "start":
            first = theirs.choose_trial_to_run(controller)
            if first is not None:
                first.status = "RUNNING"
        elif one is not None and one.status == "RUNNING":
            one.status = {"pause": "PAUSED", "end": "TERMINATED", "fail": "ERROR", "again": "PENDING"}[event]
            if event == "again":
                controller.trials.remove(one)
                controller.trials.append(one)
                ours.on_trial_add(controller, one)
        chosen.append(ours.choose_trial_to_run(controller))
        assert chosen[-1] is theirs.choose_trial_to_run(controller), (step, event)
    assert len({trial.trial_id for trial in chosen if trial}) > 50 and None in chosen


def test_a_trial_that_ended_is_looked_at_no_more() -> None:
    controller, order = Controller(), InOrder()
    for number in range(500):
        trial = Trial(str(number))
        controller.trials.append(trial)
        order.on_trial_add(controller, trial)
        assert order.choose_trial_to_run(controller) is trial
        trial.status = "TERMINATED"
        assert order.choose_trial_to_run(controller) is None
    assert {trial.looks for trial in controller.trials} == {2}
