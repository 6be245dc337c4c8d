"""Studies in a folder and in an object store: kept, found again, and what a dead driver left told as failed."""

from __future__ import annotations

import json
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

from midef.core import StoreError
from midef.storage import Store
from midef.storage.cache import cache_folder
from midef.storage.processes import this_machine
from midef.sweep.matching.journal_lines import JOURNAL
from midef.sweep.matching.studies import Studies, ask

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
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
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


def told(store: Store, *values: float) -> list[float]:
    """Tell these values, and return every value that the study then knows."""
    studies = Studies(store)
    study = opened(studies)
    for value in values:
        study.tell(ask(study, ONE), value)
    studies.save()
    return [t.value for t in opened(Studies(store)).get_trials() if t.value is not None]


def cut_line(content: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    lines[2] = lines[2][:12] + b"\n"
    return b"".join(lines)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "a line that two writers wrote": cut_line,
    "a digit": lambda content: content.replace(b"0.25", b"9.25"),
    "its second half": lambda content: content[len(content) // 2 :],
    "no text": lambda content: bytes(range(256)) + b"\n" + content,
    "no object": lambda content: b"[1, 2]\n" + content,
    "nesting": lambda content: b"[" * 100_000 + b"\n" + content,
    "a line too many": lambda content: content + content.splitlines(keepends=True)[-1],
    "its first line": lambda content: b"".join(content.splitlines(keepends=True)[1:]),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_journal_is_set_aside_and_never_becomes_a_number(
    store: Store, damage: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    assert told(store, 0.25, 0.5) == [0.25, 0.5]
    damaged = damage(store.location.get(JOURNAL))
    store.location.put(JOURNAL, damaged)
    assert told(store, 0.75) == [0.75]
    (message,) = (record.getMessage() for record in caplog.records if "is set aside" in record.getMessage())
    assert message.startswith("studies/journal.log is damaged (") and "none is lost" in message
    assert store.location.get("studies/.damaged/journal.log-1") == damaged
    assert told(store, 0.5) == [0.75, 0.5], "and the new one is sound"


def test_the_line_that_is_damaged_is_named(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    told(store, 0.25, 0.5)
    store.location.put(JOURNAL, cut_line(store.location.get(JOURNAL)))
    Studies(store)
    assert "studies/journal.log is damaged (line 3: " in caplog.text


def test_a_flipped_bit_never_changes_what_is_read(store: Store) -> None:
    if store.location.local is None:
        pytest.skip("the same bytes, read from another place")
    assert told(store, 0.25) == [0.25]
    sound = store.location.get(JOURNAL)
    path = Path(store.uri) / JOURNAL
    for place in range(0, len(sound), 7):
        damaged = bytearray(sound)
        damaged[place] ^= 1 << (place % 8)
        path.write_bytes(bytes(damaged))
        found = Studies(store).look("one")
        values = [] if found is None else [t.value for t in found.get_trials() if t.value is not None]
        assert values in ([0.25], []), (place, values)


def test_a_journal_that_another_program_damages_meanwhile_ends_the_run_in_words(store: Store) -> None:
    studies = Studies(store)
    study = opened(studies)
    with studies.path.open("ab") as journal:
        journal.write(b'{"op_code": 4, "wor{"op_code"\n{}\n')
    with pytest.raises(
        StoreError, match=r"journal of studies .* is damaged in line \d+ .*no training is lost"
    ) as caught:
        study.tell(ask(study, ONE), 0.5)
    assert caught.value.exit_code == 3
    with pytest.raises(StoreError):
        study.get_trials()


def test_a_damaged_journal_is_left_to_the_run_that_writes_it(store: Store, living: int, dead: int) -> None:
    def damage_by(pid: int) -> None:
        told(store, 0.25)
        study = opened(studies := Studies(store))
        study.ask(ONE).set_user_attr("driver", [this_machine(), pid])
        studies.save()
        store.location.put(JOURNAL, cut_line(store.location.get(JOURNAL)))

    damage_by(dead)
    assert told(store) == []
    damage_by(living)
    with pytest.raises(StoreError, match=r"damaged \(line 3: .*and a run on this machine is searching with it"):
        Studies(store)


@pytest.mark.parametrize("store", ["local"], indirect=True)
def test_a_journal_that_another_run_set_aside_ends_this_one_in_words(store: Store) -> None:
    study = opened(Studies(store))
    study.tell(ask(study, ONE), 0.5)
    (Path(store.uri) / JOURNAL).rename(Path(store.uri) / "elsewhere")
    with pytest.raises(StoreError, match="was replaced by another program"):
        study.ask(ONE)


@pytest.mark.parametrize("store", ["local"], indirect=True)
def test_a_folder_in_the_place_of_the_journal_is_set_aside(store: Store) -> None:
    (Path(store.uri) / JOURNAL).mkdir(parents=True)
    assert told(store, 0.25) == [0.25]
    assert (Path(store.uri) / "studies/.damaged/journal.log-1").is_dir()


@pytest.mark.timeout(60)  # nobody writes into the pipe
@pytest.mark.parametrize("what", ["pipe", "link to nowhere"])
def test_what_is_no_file_in_the_place_of_the_journal_is_set_aside(tmp_path: Path, what: str) -> None:
    store = Store.open(tmp_path / "store")
    place = tmp_path / "store" / JOURNAL
    place.parent.mkdir()
    if what == "pipe":
        os.mkfifo(place)
    else:
        place.symlink_to("nowhere")
    assert Studies(store).look("one") is None
    assert [path.name for path in (place.parent / ".damaged").iterdir()] == ["journal.log-1"]


@pytest.mark.parametrize("store", ["local"], indirect=True)
def test_a_file_in_the_place_of_the_folder_is_said(store: Store) -> None:
    (Path(store.uri) / "studies").touch()
    with pytest.raises(StoreError, match="cannot make the folder of studies in the store"):
        Studies(store)


def test_a_journal_of_an_older_store_has_no_checksums(store: Store) -> None:
    told(store, 0.25)
    lines = [json.loads(line) for line in store.location.get(JOURNAL).splitlines()]
    assert all(line.pop("checksum") and line.pop("at") is not None for line in lines)
    store.location.put(JOURNAL, b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    assert told(store, 0.5) == [0.25, 0.5]


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
