"""Optuna studies of a store: one journal file, which `optuna-dashboard` opens."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midef.core.errors import DamagedFile, StoreError
from midef.storage import Store
from midef.storage.cache import cache_folder
from midef.storage.processes import process_lives, this_machine
from midef.sweep.matching.journal_lines import JOURNAL, first_damaged_line, readable_lines

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.storages import JournalStorage
    from optuna.trial import FrozenTrial

log = logging.getLogger(__name__)

_DRIVER = "driver"


class Studies:
    """Opens the studies of a store.

    On an object store each process works on its own copy of the journal, in this machine's cache: fetched at first, put
    back by `save`. Run one matching driver per object store; concurrent drivers overwrite each other's journal, though
    not their trainings.
    """

    def __init__(self, store: Store) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.store, self.location = store, store.location
        local = self.location.local
        with self.location.explained("make the folder of studies"):
            if local is not None:
                self.path = local / JOURNAL
                self.path.parent.mkdir(parents=True, exist_ok=True)
            else:
                self.path = cache_folder(store.uri) / f"{JOURNAL}-{os.getpid()}"
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self.path.write_bytes(self.location.get(JOURNAL) if self.location.exists(JOURNAL) else b"")
        self.storage = self._read()
        self._opened: dict[str, Study] = {}

    def _read(self) -> JournalStorage:
        """The journal as Optuna's storage; one that is damaged is set aside first."""
        if problem := self._damage():
            self._set_aside(problem)
        _drop_half_line(self.path)
        try:
            return self._storage()
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001  # whole lines that make no sense: Optuna has no error class for it
            self._set_aside(f"its lines contradict each other ({type(error).__name__}: {error})")
        return self._storage()

    def _storage(self) -> JournalStorage:
        from optuna.storages import JournalStorage

        from midef.sweep.matching.journal import CheckedJournal

        with quietly():
            return JournalStorage(CheckedJournal(self.path, self.location))

    def _damage(self) -> str:
        """Why the journal cannot be used; "" if it can."""
        try:
            damaged = first_damaged_line(self._content())
        except FileNotFoundError:
            return ""
        except DamagedFile as error:
            return str(error)
        return f"line {damaged[0]}: {damaged[1]}" if damaged is not None else ""

    def _content(self) -> bytes:
        """What the journal holds.

        Raises:
            FileNotFoundError: if there is none.
            DamagedFile: if something is in its place that is no file, such as a folder or a pipe.
        """
        if self.location.local is not None:
            return self.location.get(JOURNAL)
        with self.location.explained(f"read {JOURNAL}"):
            return self.path.read_bytes()

    def _set_aside(self, problem: str) -> None:
        """Move a damaged journal away and begin a new one.

        Raises:
            StoreError: if another process of this machine searches with it.
        """
        if self._is_written_by_another():
            raise StoreError(
                f"{JOURNAL} of the store {self.location.shown} is damaged ({problem}), and a run on this machine is "
                "searching with it; start again when it has ended, no training is lost"
            )
        aside = self.location.unused(f"studies/.damaged/{Path(JOURNAL).name}")
        if self.location.local is not None:
            self.location.move(JOURNAL, aside)
        else:
            self.location.put(aside, self.path.read_bytes())
            self.path.unlink()
        log.warning(
            "%s is damaged (%s) and is set aside as %s; searches begin anew with the stored trainings, none is lost",
            JOURNAL,
            problem,
            aside,
        )

    def _is_written_by_another(self) -> bool:
        """True if a driver that wrote into the journal still runs on this machine, besides this process."""
        try:
            content = self._content()
        except DamagedFile:
            return False
        owners = {owner for log in readable_lines(content) if (owner := _owner(log)) is not None}
        return any(pid != os.getpid() and process_lives(machine, pid) for machine, pid in owners)

    def open(
        self, name: str, *, directions: Sequence[str], sampler: BaseSampler, about: Mapping[str, Any] | None = None
    ) -> Study:
        """Open the study of this name; made if it is not there. Trials whose driver died are told as failed.

        Args:
            name: of the study.
            directions: of its objectives.
            sampler: proposes the next trial.
            about: user attributes to set.
        """
        import optuna

        study = optuna.create_study(
            study_name=name, storage=self.storage, sampler=sampler, directions=list(directions), load_if_exists=True
        )
        for key, value in (about or {}).items():
            if study.user_attrs.get(key) != value:
                study.set_user_attr(key, value)
        for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
            if not _is_alive(trial):
                study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        self._opened[name] = study
        return study

    def look(self, name: str) -> Study | None:
        """The study of this name as it is; None if there is none. One that was opened is not read again."""
        import optuna

        if name in self._opened:
            return self._opened[name]
        try:
            return optuna.load_study(study_name=name, storage=self.storage)
        except KeyError:
            return None

    def save(self) -> None:
        """Put the journal back into an object store; on a disk it is there already."""
        if self.location.local is None and self.path.exists():
            self.location.put(JOURNAL, self.path.read_bytes())


def _drop_half_line(path: Path) -> None:
    """Drop the half line that a killed driver left at the end; a line appended to it could not be read."""
    from optuna.storages.journal import JournalFileSymlinkLock

    if not path.exists() or path.read_bytes()[-1:] in (b"", b"\n"):
        return
    lock = JournalFileSymlinkLock(str(path))
    lock.acquire()
    try:
        content = path.read_bytes()  # again: it may have been another driver at work
        with path.open("r+b") as journal:
            journal.truncate(content.rfind(b"\n") + 1)
    finally:
        lock.release()


@contextmanager
def quietly() -> Iterator[None]:
    """Silence Optuna's warnings that a sampler is experimental."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def ask(study: Study, distributions: Mapping[str, BaseDistribution]) -> Trial:
    """A new trial, marked with the process that runs it."""
    with quietly():
        trial = study.ask(dict(distributions))
    trial.set_user_attr(_DRIVER, [this_machine(), os.getpid()])
    return trial


def _owner(log: Mapping[str, Any]) -> tuple[str, int] | None:
    """Machine and process of the driver that a line of the journal names; None if it names none."""
    attribute = log.get("user_attr")
    match attribute.get(_DRIVER) if isinstance(attribute, dict) else None:
        case [str() as machine, int() as pid]:
            return machine, pid
    return None


def _is_alive(trial: FrozenTrial) -> bool:
    """True if the driver that asked for a running trial may still run, as one on another machine may."""
    machine, pid = trial.user_attrs.get(_DRIVER, ("", 0))
    return bool(machine) and pid != os.getpid() and process_lives(machine, pid) is not False
