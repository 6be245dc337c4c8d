"""Studies in a folder and in an object store: kept, found again, and what a dead driver left told as failed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.samplers import RandomSampler
from optuna.trial import TrialState

from midef.storage import Store
from midef.storage.cache import cache_folder
from midef.storage.processes import this_machine
from midef.sweep.matching.studies import JOURNAL, Studies, ask

ONE = {"x": FloatDistribution(0.0, 1.0)}


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    if request.param == "local":
        return Store.open(tmp_path / "store")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    options = f"endpoint_override={request.getfixturevalue('s3_endpoint')}&scheme=http&region=us-east-1"
    return Store.open(f"s3://bucket/{uuid.uuid4().hex}/store?{options}&allow_bucket_creation=true")


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Goes on as on another machine: with an empty cache."""

    def move() -> None:
        folder = tmp_path / uuid.uuid4().hex
        folder.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(folder))

    return move


def opened(studies: Studies, name: str = "one") -> Any:
    return studies.open(name, directions=["minimize"], sampler=RandomSampler(seed=0), about={"target": 88.5})


def test_what_is_saved_is_found_again_as_it_was(store: Store, elsewhere: Callable[[], None]) -> None:
    studies = Studies(store)
    study = opened(studies)
    for number in range(3):
        trial = ask(study, ONE)
        trial.set_user_attr("strength", number / 10)
        study.tell(trial, float(number))
    before = study.get_trials()
    studies.save()
    elsewhere()
    again = Studies(store)
    for found in (opened(again), again.look("one")):
        assert found is not None and found.get_trials() == before
        assert found.user_attrs == {"target": 88.5}
    assert store.location.exists(JOURNAL)


def test_the_journal_is_optuna_s_own(store: Store, tmp_path: Path) -> None:
    studies = Studies(store)
    study = opened(studies)
    study.tell(ask(study, ONE), 0.25)
    studies.save()
    (tmp_path / "copy.log").write_bytes(store.location.get(JOURNAL))
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "copy.log"))
    assert optuna.load_study(study_name="one", storage=optuna.storages.JournalStorage(backend)).best_value == 0.25


def test_an_unknown_study_is_none(store: Store) -> None:
    studies = Studies(store)
    assert studies.look("one") is None
    opened(studies)
    assert studies.look("one") is not None and studies.look("two") is None


def test_what_is_known_about_a_study_is_kept_up_to_date(store: Store) -> None:
    studies = Studies(store)
    opened(studies)
    studies.open("one", directions=["minimize"], sampler=RandomSampler(), about={"target": 86.0, "more": [1]})
    found = studies.look("one")
    assert found is not None and found.user_attrs == {"target": 86.0, "more": [1]}


@pytest.fixture
def dead() -> int:
    """The number of a process that has ended."""
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


@pytest.fixture
def living() -> Iterator[int]:
    """The number of another process that still runs."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process.pid
    process.kill()
    process.wait()


def test_trials_of_dead_drivers_alone_are_told_as_failed(store: Store, dead: int, living: int) -> None:
    drivers: dict[str, Any] = {
        "dead": [this_machine(), dead],
        "living": [this_machine(), living],
        "another machine": ["elsewhere.12345678", dead],
        "this process before": [this_machine(), os.getpid()],
        "killed before it signed": None,
    }
    study = opened(Studies(store))
    for driver in drivers.values():
        trial = study.ask(ONE)
        if driver is not None:
            trial.set_user_attr("driver", driver)
    study.tell(ask(study, ONE), 0.5)
    assert [t.state for t in study.get_trials()][:5] == [TrialState.RUNNING] * 5
    opened_again = opened(Studies(store)) if store.location.local is not None else opened(_saved(store, study))
    states = dict(zip(drivers, (t.state for t in opened_again.get_trials()), strict=False))
    assert states == {
        "dead": TrialState.FAIL,
        "living": TrialState.RUNNING,
        "another machine": TrialState.RUNNING,
        "this process before": TrialState.FAIL,
        "killed before it signed": TrialState.FAIL,
    }
    assert opened_again.get_trials()[5].value == 0.5


def _saved(store: Store, study: Any) -> Studies:
    """The studies of a store after the journal of this process was put there."""
    path = study._storage._backend._file_path
    store.location.put(JOURNAL, Path(path).read_bytes())
    return Studies(store)


def test_looking_changes_nothing(store: Store) -> None:
    studies = Studies(store)
    ask(opened(studies), ONE)
    found = studies.look("one")
    assert found is not None and [t.state for t in found.get_trials()] == [TrialState.RUNNING]


def test_half_a_line_of_a_killed_driver_costs_that_line_alone(store: Store) -> None:
    """Optuna reads up to it; with the next line appended to it, it would read nothing more."""
    study = opened(studies := Studies(store))
    study.tell(ask(study, ONE), 0.25)
    whole = studies.path.read_bytes()
    store.location.put(JOURNAL, whole + b'{"op_code": 4, "work')
    for value in (0.5, 0.75):
        again = Studies(store)
        study = opened(again)
        study.tell(ask(study, ONE), value)
        again.save()
    assert [t.value for t in opened(Studies(store)).get_trials()] == [0.25, 0.5, 0.75]
    assert store.location.get(JOURNAL).startswith(whole)


@pytest.mark.parametrize("store", ["s3"], indirect=True)
def test_a_store_without_a_journal_has_no_studies_whatever_was_cached(store: Store) -> None:
    opened(Studies(store))  # never saved: as of a store that was removed and made again
    assert Studies(store).look("one") is None


@pytest.mark.parametrize("store", ["s3"], indirect=True)
def test_processes_of_one_machine_do_not_share_a_copy(store: Store) -> None:
    studies = Studies(store)
    opened(studies)
    studies.save()
    code = "import sys; from midef.sweep.matching.studies import Studies; from midef.storage import Store; "
    code += "s = Studies(Store.open(sys.argv[1])); print(s.path); assert s.look('one')"
    environment = {**os.environ, "TMPDIR": tempfile.gettempdir()}
    done = subprocess.run([sys.executable, "-c", code, store.uri], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    other = Path(done.stdout.strip())
    assert other != studies.path and other.parent == studies.path.parent == cache_folder(store.uri) / "studies"
