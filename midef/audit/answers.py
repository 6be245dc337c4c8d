"""Answers that were paid for: kept in one file, never asked for again. Holds the count of what was sent, too."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typing_extensions import override

from midef.audit.budget import Rate
from midef.core.errors import BudgetReached, DamagedFile, SpecError, StoreError, StoreSchemaError
from midef.storage.processes import process_lives, this_machine

VERSION = 1
APPLICATION = 0x6D64_6566
"""Says that a file of SQLite is one of ours."""
LOCKED_S = 60.0
"""Seconds to wait for another process that writes."""
CLAIM_S = 3600.0
"""Seconds after which nobody waits for the answer that another process asked for."""
AT_ONCE = 500
"""Images of one SQL statement."""
TABLES = {
    "models": "id INTEGER PRIMARY KEY, name TEXT, contract TEXT, classes INTEGER, paid INTEGER, UNIQUE(name, contract)",
    "answers": "model INTEGER, image BLOB, answer BLOB, checksum BLOB, PRIMARY KEY(model, image)",
    "claims": "model INTEGER, image BLOB, token TEXT, machine TEXT, pid INTEGER, until REAL, PRIMARY KEY(model, image)",
    "sent": "model INTEGER, at REAL, images INTEGER",
}


@dataclass(frozen=True)
class ModelEntry:
    """A model in the store.

    Args:
        key: in the tables of this file.
        name: that its owner gave it.
        contract: how it is asked, and whether it answers with scores or labels.
    """

    key: int
    name: str
    contract: str


class AnswerStore:
    """Answers by model and image, in one SQLite file. Several processes of one machine may use it at once.

    An answer is written in the transaction that ends its request, so a killed process loses at most the answers that
    were on their way. Nothing in the file is executed: answers are bytes of numbers, each with a checksum.

    What was sent is counted before it is sent. So the count is never below what the other side may charge for.

    While it is used, files with the ends `-wal` and `-shm` lie beside it; who copies it copies them.

    Args:
        path: of the file; made where there is none.

    Raises:
        StoreError: if it cannot be opened.
        StoreSchemaError: if a newer midef wrote it.
        DamagedFile: if it is no store of answers.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"no folder for the answers in {self.path}: {error}; name another file") from error
        self._kept: tuple[int, sqlite3.Connection] | None = None
        with self._writing() as db:
            self._prepare(db)

    @override
    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_kept": None}

    # ------------------------------------------------------------ models

    def model(self, name: str, contract: str, classes: int | None) -> ModelEntry:
        """The model of this name and contract, a new one where there is none.

        Args:
            classes: that it has, as far as is known.

        Raises:
            SpecError: if the stored one has another number of classes.
        """
        with self._writing() as db:
            db.execute("INSERT OR IGNORE INTO models VALUES (NULL, ?, ?, NULL, 0)", (name, contract))
            row = db.execute("SELECT id FROM models WHERE name = ? AND contract = ?", (name, contract)).fetchone()
        entry = ModelEntry(int(row[0]), name, contract)
        if classes is not None:
            self.set_classes(entry, classes)
        return entry

    def classes(self, model: ModelEntry) -> int | None:
        """Classes of the model; None before the first answer."""
        with self._reading() as db:
            found = db.execute("SELECT classes FROM models WHERE id = ?", (model.key,)).fetchone()[0]
        return None if found is None else int(found)

    def set_classes(self, model: ModelEntry, classes: int) -> None:
        """Remember how many classes the model has.

        Raises:
            SpecError: if it had another number before.
        """
        with self._writing() as db:
            db.execute("UPDATE models SET classes = ? WHERE id = ? AND classes IS NULL", (classes, model.key))
            stored = int(db.execute("SELECT classes FROM models WHERE id = ?", (model.key,)).fetchone()[0])
        if stored != classes:
            raise SpecError(
                f"{model.name} has {stored} classes in {self.path}, and now {classes}: another model answers under "
                "this name. Give it another name; its stored answers stay"
            )

    def paid(self, model: ModelEntry) -> int:
        """Images that were sent to the model, by all processes, but those that it declined."""
        with self._reading() as db:
            return int(db.execute("SELECT paid FROM models WHERE id = ?", (model.key,)).fetchone()[0])

    def count(self, model: ModelEntry) -> int:
        """Answers of the model that are stored."""
        with self._reading() as db:
            return int(db.execute("SELECT COUNT(*) FROM answers WHERE model = ?", (model.key,)).fetchone()[0])

    # ------------------------------------------------------------ answers

    def read(self, model: ModelEntry, images: Iterable[bytes]) -> dict[bytes, bytes]:
        """Stored answers to images, by their digests. One whose checksum does not hold is not given."""
        with self._reading() as db:
            return self._answers(db, model, list(dict.fromkeys(images)))

    def write(self, model: ModelEntry, answers: Mapping[bytes, bytes], token: str) -> None:
        """Store answers, and give up the claims on their images, in one transaction.

        Args:
            answers: by digest of the image.
        """
        rows = [(model.key, image, answer, _checksum(model, image, answer)) for image, answer in answers.items()]
        with self._writing(lasting=True) as db:
            db.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)", rows)
            db.executemany(
                "DELETE FROM claims WHERE model = ? AND image = ? AND token = ?",
                [(model.key, image, token) for image in answers],
            )

    # ------------------------------------------------------------ who asks

    def claim(self, model: ModelEntry, images: Sequence[bytes], token: str, now: float) -> list[bytes]:
        """Those of these images that the caller is to ask about: not stored, and nobody else is asking.

        A claim ends with its answer, with `release`, with its process, or after an hour.

        Args:
            token: of the caller.
        """
        with self._writing() as db:
            stored = self._answers(db, model, images)
            held = {
                image: (holder, machine, pid, until)
                for image, holder, machine, pid, until in db.execute(
                    "SELECT image, token, machine, pid, until FROM claims WHERE model = ?", (model.key,)
                )
            }
            free = [i for i in images if i not in stored and (i not in held or _has_ended(held[i], token, now))]
            rows = [(model.key, image, token, this_machine(), os.getpid(), now + CLAIM_S) for image in free]
            db.executemany("INSERT OR REPLACE INTO claims VALUES (?, ?, ?, ?, ?, ?)", rows)
        return free

    def release(self, model: ModelEntry, token: str) -> None:
        """Give up all claims of a caller."""
        with self._writing() as db:
            db.execute("DELETE FROM claims WHERE model = ? AND token = ?", (model.key, token))

    def reserve(
        self, model: ModelEntry, images: int, *, token: str, budget: int | None, rate: Rate, now: float
    ) -> float:
        """Count a request as sent, if budget and rate limit allow it now; 0.0 if so, else the seconds to wait.

        Raises:
            BudgetReached: if the budget does not hold it.
        """
        with self._writing() as db:
            paid = int(db.execute("SELECT paid FROM models WHERE id = ?", (model.key,)).fetchone()[0])
            if budget is not None and paid + images > budget:
                raise BudgetReached(f"{paid:,} of {budget:,} queries were sent, {images:,} more are needed")
            db.execute("DELETE FROM sent WHERE model = ? AND at <= ?", (model.key, now - max(60.0, rate.longest_s)))
            sent = db.execute(
                "SELECT at, images FROM sent WHERE model = ? AND at <= ?", (model.key, now + rate.longest_s)
            ).fetchall()  # later ones are of a clock that was set back
            if wait_s := rate.wait_s(sent, now, images):
                return wait_s
            db.execute("INSERT INTO sent VALUES (?, ?, ?)", (model.key, now, images))
            db.execute("UPDATE models SET paid = paid + ? WHERE id = ?", (images, model.key))
            db.execute("UPDATE claims SET until = ? WHERE model = ? AND token = ?", (now + CLAIM_S, model.key, token))
        return 0.0

    def give_back(self, model: ModelEntry, images: int) -> None:
        """Take a request that the model declined out of what was paid; the rate limit still counts it."""
        with self._writing() as db:
            db.execute("UPDATE models SET paid = paid - ? WHERE id = ?", (images, model.key))

    def _answers(self, db: sqlite3.Connection, model: ModelEntry, images: Sequence[bytes]) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        for begin in range(0, len(images), AT_ONCE):
            part = images[begin : begin + AT_ONCE]
            rows = db.execute(
                "SELECT image, answer, checksum FROM answers WHERE model = ? AND image IN "
                f"({','.join('?' * len(part))})",
                (model.key, *part),
            )
            found |= {image: answer for image, answer, checksum in rows if _holds(model, image, answer, checksum)}
        return found

    # ------------------------------------------------------------ the file

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """A connection; each question opens its own, so that threads and forked processes share none."""
        try:
            with closing(sqlite3.connect(self.path, timeout=LOCKED_S, isolation_level=None)) as db:
                db.execute("PRAGMA trusted_schema = OFF")
                yield db
        except sqlite3.OperationalError as error:
            raise StoreError(
                f"the answers in {self.path} cannot be read or written: {error}; free the disk or name another file"
            ) from error
        except sqlite3.DatabaseError as error:
            raise DamagedFile(
                f"expected a file of stored answers, found something else in {self.path} ({error}); move it away or "
                "name another file"
            ) from error

    @contextmanager
    def _writing(self, *, lasting: bool = False) -> Iterator[sqlite3.Connection]:
        """A transaction that no other process writes beside; undone if an error ends it.

        Args:
            lasting: it survives a power cut from its end on, with all before it; else the end of its process.
        """
        self._keep_open()
        with self._reading() as db:
            db.execute(f"PRAGMA synchronous = {'FULL' if lasting else 'NORMAL'}")
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    def _keep_open(self) -> None:
        """Hold one connection in each process: the last that closes writes the whole log back, which is slow."""
        if not self.path.exists() or (self._kept is not None and self._kept[0] == os.getpid()):
            return
        with suppress(sqlite3.DatabaseError):  # another process is at it, or it is no database of ours
            kept = sqlite3.connect(self.path, timeout=LOCKED_S, isolation_level=None, check_same_thread=False)
            self._kept = (os.getpid(), kept)
            if kept.execute("PRAGMA application_id").fetchone()[0] == APPLICATION:
                kept.execute("PRAGMA journal_mode = WAL")

    def _prepare(self, db: sqlite3.Connection) -> None:
        """Make the tables of an empty file, and refuse one that is not ours."""
        found = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'")}
        if not found:
            for name, columns in TABLES.items():
                db.execute(f"CREATE TABLE {name} ({columns})")
            db.execute(f"PRAGMA application_id = {APPLICATION}")
            db.execute(f"PRAGMA user_version = {VERSION}")
            return
        application, version = (
            db.execute(f"PRAGMA {fact}").fetchone()[0] for fact in ("application_id", "user_version")
        )
        if application == APPLICATION and version > VERSION:
            raise StoreSchemaError(f"the answers in {self.path} were stored by a newer midef; update it")
        if application != APPLICATION or found != set(TABLES):
            raise DamagedFile(
                f"expected a file of stored answers, found another database in {self.path}; move it away or name "
                "another file"
            )


def _checksum(model: ModelEntry, image: bytes, answer: bytes) -> bytes:
    told = f"{model.name}\n{model.contract}\n".encode()
    return hashlib.sha256(told + image + answer).digest()[:8]


def _holds(model: ModelEntry, image: bytes, answer: object, checksum: object) -> bool:
    return isinstance(answer, bytes) and checksum == _checksum(model, image, answer)


def _has_ended(claim: tuple[str, str, int, float], token: str, now: float) -> bool:
    """Whether a claim is the caller's own, or of a process that ended or never answered."""
    holder, machine, pid, until = claim
    return holder == token or now >= until or process_lives(machine, pid) is False
