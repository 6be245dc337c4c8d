"""The Optuna studies of a store: one journal file, which `optuna-dashboard` opens."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midef.storage import Store
from midef.storage.cache import cache_folder
from midef.storage.location import process_lives, this_machine

if TYPE_CHECKING:
    from optuna import Study
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

JOURNAL = "studies/journal.log"
"""Where the studies lie in a store."""
_DRIVER = "driver"


class Studies:
    """Opens studies of a store, and keeps them.

    On an object store the journal is worked on in this machine's cache, by each process in its own copy: fetched at
    first, put back by `save`. Of drivers that save to one store, the last one's studies stay; what they trained all do.
    """

    def __init__(self, store: Store) -> None:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.location = store.location
        local = self.location.local
        if local is not None:
            self.path = local / JOURNAL
            self.path.parent.mkdir(parents=True, exist_ok=True)
        else:
            self.path = cache_folder(store.uri) / f"{JOURNAL}-{os.getpid()}"
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_bytes(self.location.get(JOURNAL) if self.location.exists(JOURNAL) else b"")
        _drop_half_line(self.path)
        with quietly():
            self.storage = JournalStorage(JournalFileBackend(str(self.path)))

    def open(
        self, name: str, *, directions: Sequence[str], sampler: BaseSampler, about: Mapping[str, Any] | None = None
    ) -> Study:
        """The study of this name; made if it is not there. Trials whose driver died are told as failed."""
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
        return study

    def look(self, name: str) -> Study | None:
        """The study of this name as it is; None if there is none."""
        import optuna

        try:
            return optuna.load_study(study_name=name, storage=self.storage)
        except KeyError:
            return None

    def save(self) -> None:
        """Put the journal back where it belongs; on a disk it is there already."""
        if self.location.local is None and self.path.exists():
            self.location.put(JOURNAL, self.path.read_bytes())


def _drop_half_line(path: Path) -> None:
    """Drop the half line that a killed driver left at the end: with the next one appended, no line could be read."""
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
    """Without Optuna's remarks that a sampler is experimental."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def ask(study: Study, distributions: Mapping[str, Any]) -> Any:
    """A new trial, marked with the process that runs it."""
    with quietly():
        trial = study.ask(dict(distributions))
    trial.set_user_attr(_DRIVER, [this_machine(), os.getpid()])
    return trial


def _is_alive(trial: FrozenTrial) -> bool:
    """Whether the driver that asked for a running trial may still be there; one on another machine may."""
    machine, pid = trial.user_attrs.get(_DRIVER, ("", 0))
    return bool(machine) and pid != os.getpid() and process_lives(machine, pid) is not False
