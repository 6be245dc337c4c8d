"""Order in which Tune starts trials: as they were handed over, without looking through those that ended."""

from __future__ import annotations

from typing import Any

from ray.tune.schedulers import FIFOScheduler
from typing_extensions import override


class InOrder(FIFOScheduler):  # type: ignore[misc]
    """Tune's default order, at a cost that does not grow with the trials that ended.

    Source: Ray 2.60, `FIFOScheduler.choose_trial_to_run`, which goes through every trial of the run up to the first
    that waits, several times for each trial. A trial that is tried again is added again, at the end.
    """

    def __init__(self) -> None:
        super().__init__()
        self.not_ended: dict[str, Any] = {}

    @override
    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        self.not_ended.pop(trial.trial_id, None)
        self.not_ended[trial.trial_id] = trial

    @override
    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """The first trial that is pending, else the first that is paused, else None."""
        self.not_ended = {name: trial for name, trial in self.not_ended.items() if not trial.is_finished()}
        for status in ("PENDING", "PAUSED"):
            for trial in self.not_ended.values():
                if trial.status == status:
                    return trial
        return None
