"""`midef match` as a user types it: killed in the middle, started again, with its table, its rows and its page."""

from __future__ import annotations

import contextlib
import copy
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml

from midef.core import ArtifactKey
from midef.core.match import MatchReport
from midef.storage import Store, rows_of_sweep
from midef.storage.matches import read_matches
from midef.sweep.matching.journal_lines import JOURNAL

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

COMMAND = [sys.executable, "-m", "midef", "match", "micro.yaml", "--store", "store"]


@dataclass(frozen=True)
class Story:
    """One store through a kill, the same command again, and a third time."""

    folder: Path
    before: dict[ArtifactKey, int]
    resumed: subprocess.CompletedProcess[str]
    again: subprocess.CompletedProcess[str]

    @property
    def store(self) -> Store:
        return Store.open(self.folder / "store", create=False)

    @property
    def report(self) -> MatchReport:
        (report,) = read_matches(self.store)
        return report


def written(folder: Path) -> dict[ArtifactKey, int]:
    """Every stored target, and when it was written."""
    paths = (folder / "store" / "artifacts" / "target").glob("*/META.json")
    return {ArtifactKey("target", p.parent.name): p.stat().st_mtime_ns for p in paths}


def kill_in_the_middle(folder: Path, targets: int, env: dict[str, str]) -> dict[ArtifactKey, int]:
    """Start matching, and kill -9 its driver and all it started once so many targets are stored."""
    with (folder / "killed.log").open("w") as log:
        command = [*COMMAND, "--cpus", "2"]
        driver = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=env, start_new_session=True)
        deadline = time.monotonic() + 300
        while len(written(folder)) < targets:
            assert driver.poll() is None, f"it ended by itself:\n{(folder / 'killed.log').read_text()}"
            assert time.monotonic() < deadline, f"no {targets} targets after 300 s"
            time.sleep(0.02)
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    time.sleep(3)  # Ray ends what its driver started
    with contextlib.suppress(ProcessLookupError):
        os.killpg(driver.pid, signal.SIGKILL)
    return written(folder)


def match(folder: Path, env: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *options], capture_output=True, text=True, cwd=folder, timeout=600, env=env)


@pytest.fixture(scope="module")
def story(
    tmp_path_factory: pytest.TempPathFactory,
    micro: dict[str, Any],
    environment: dict[str, str],
    joining: dict[str, str],
) -> Iterator[Story]:
    data = copy.deepcopy(micro)
    data["defenses"] = ["none", "midre", "ls"]
    # Enough that no network guesses: those are not matched.
    data["setups"][0]["private"] |= {"train_images": 8, "select_images": 4}
    data["training"] = {"epochs": 8, "batch_size": 16, "learning_rate": 0.003, "optimizer": "adamw"}
    data["match"] = {"target": "none - 3", "tolerance": 2.5, "confirm": [1], "trainings": 9}
    folder = tmp_path_factory.mktemp("match")
    (folder / "micro.yaml").write_text(yaml.safe_dump(data))
    before = kill_in_the_middle(folder, targets=3, env=environment)
    yield Story(folder, before, match(folder, joining), match(folder, joining, "--dashboard", "--out", "page"))


def test_no_training_is_done_twice(story: Story) -> None:
    after = written(story.folder)
    assert len(story.before) >= 3
    assert {key: after[key] for key in story.before} == story.before
    asked = {t.target_key for o in story.report.outcomes for t in o.trainings}
    started_with = {str(key) for key in after} - asked
    assert len(started_with) <= 2, "beside what was searched only the strengths that searches may begin with"


def test_every_defense_is_decided(story: Story) -> None:
    assert story.resumed.returncode in (0, 1), story.resumed.stderr
    for outcome in story.report.outcomes:
        assert outcome.state in ("matched", "unreachable", "fixed", "undecided"), outcome
        if outcome.state == "matched":
            assert outcome.gap is not None and abs(outcome.gap) <= 2.5
            assert outcome.seeds == (0, 1)
        assert f"{outcome.defense} " in story.resumed.stdout and outcome.state in story.resumed.stdout


def test_the_rows_say_what_was_matched(story: Story) -> None:
    rows = [r for r in rows_of_sweep(story.store, "micro") if r.metric == "attack_accuracy_at_1"]
    states = {o.defense_name: o for o in story.report.outcomes}
    assert {r.defense_name for r in rows} == {"none", "midre", "ls"}
    for row in rows:
        outcome = states[row.defense_name]
        assert row.status == "ok" and row.matched == (outcome.state == "matched")
        assert row.match_target == pytest.approx(outcome.target) and row.match_tolerance == 2.5
        assert row.match_accuracy == pytest.approx(outcome.accuracy)
        assert row.defense == outcome.chosen


def test_the_journal_knows_every_training(story: Story) -> None:
    path = story.folder / "store" / JOURNAL
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    for outcome in story.report.outcomes:
        if outcome.study:
            study = optuna.load_study(study_name=outcome.study, storage=storage)
            done = [t for t in study.trials if t.state == optuna.trial.TrialState.COMPLETE]
            assert len(done) == len(outcome.trainings)
            assert not [t for t in study.trials if t.state == optuna.trial.TrialState.RUNNING]


def test_a_third_time_nothing_is_trained(story: Story) -> None:
    assert story.again.returncode == story.resumed.returncode, story.again.stderr
    assert "0 of them new in this run" in story.again.stdout
    assert "nothing to do: all 3 cells of sweep micro are done" in story.again.stdout
    page = (story.folder / "page" / "data" / "matching.js").read_text()
    assert all(outcome.chosen in page for outcome in story.report.outcomes)
