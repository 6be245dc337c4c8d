"""Paid answers stay: under damage, between processes, under other names."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from midef.audit.answers import CLAIM_S, AnswerStore, ModelEntry
from midef.audit.budget import Rate
from midef.core import DamagedFile, SpecError, StoreError
from midef.core.errors import BudgetReached, StoreSchemaError

A, B, C = b"a" * 32, b"b" * 32, b"c" * 32


@pytest.fixture
def model(store: AnswerStore) -> ModelEntry:
    return store.model("a model", "test:scores", 3)


def test_answers_are_those_of_one_model_and_contract(store: AnswerStore, model: ModelEntry) -> None:
    store.write(model, {A: b"1", B: b"2"}, "me")
    assert AnswerStore(store.path).read(model, [A, C, B, A]) == {A: b"1", B: b"2"}
    assert store.count(model) == 2
    for other in (store.model("a model", "test:labels", 3), store.model("another", "test:scores", 3)):
        assert store.read(other, [A]) == {} and store.count(other) == 0
    assert store.model("a model", "test:scores", None) == model


def test_many_images_are_found(store: AnswerStore, model: ModelEntry) -> None:
    many = {i.to_bytes(32, "big"): str(i).encode() for i in range(1201)}
    store.write(model, many, "me")
    assert store.read(model, many) == many


def test_a_model_keeps_its_number_of_classes(store: AnswerStore, model: ModelEntry) -> None:
    assert store.classes(model) == 3 and store.classes(store.model("unknown", "test:scores", None)) is None
    with pytest.raises(
        SpecError, match=r"a model has 3 classes in .*, and now 4: another model answers under this name"
    ):
        store.model("a model", "test:scores", 4)


def test_a_changed_answer_is_not_believed(store: AnswerStore, model: ModelEntry) -> None:
    store.write(model, {A: b"1", B: b"2"}, "me")
    with sqlite3.connect(store.path) as db:
        db.execute("UPDATE answers SET answer = ? WHERE image = ?", (b"9", A))
    assert store.read(model, [A, B]) == {B: b"2"}
    assert store.claim(model, [A, B], "me", 0.0) == [A]
    store.write(model, {A: b"1"}, "me")
    assert store.read(model, [A, B]) == {A: b"1", B: b"2"}


def test_each_image_is_asked_about_by_one(store: AnswerStore, model: ModelEntry) -> None:
    assert store.claim(model, [A, B], "first", 0.0) == [A, B]
    assert store.claim(model, [B, C], "second", 0.0) == [C]
    assert store.claim(model, [A, B], "first", 0.0) == [A, B]
    store.write(model, {A: b"1"}, "first")
    store.release(model, "first")
    assert store.claim(model, [A, B, C], "third", 0.0) == [B]
    assert store.claim(model, [C], "third", CLAIM_S) == [C]  # its owner lives, and does not answer


def test_the_claim_of_a_dead_process_is_taken_over(
    store: AnswerStore, model: ModelEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.claim(model, [A], "first", 0.0)
    monkeypatch.setattr("midef.audit.answers.process_lives", lambda machine, pid: False)
    assert store.claim(model, [A], "second", 0.0) == [A]


def test_the_budget_counts_all_that_was_sent_and_not_declined(store: AnswerStore, model: ModelEntry) -> None:
    def reserve(images: int, now: float = 0.0) -> float:
        return store.reserve(model, images, token="me", budget=10, rate=Rate(per_second=6), now=now)

    assert reserve(6) == 0.0 and store.paid(model) == 6
    with pytest.raises(BudgetReached, match=r"6 of 10 queries were sent, 5 more are needed"):
        reserve(5, now=2.0)
    assert reserve(4) == pytest.approx(1.0, abs=0.01) and store.paid(model) == 6  # waits; nothing is counted
    store.give_back(model, 6)
    assert reserve(4) == pytest.approx(1.0, abs=0.01)  # a declined request counts for the rate limit
    assert reserve(4, now=1.1) == 0.0 and store.paid(model) == 4
    assert store.paid(store.model("another", "test:scores", 3)) == 0


def test_a_clock_that_was_set_back_does_not_stop_everything(store: AnswerStore, model: ModelEntry) -> None:
    rate = Rate(per_minute=5)
    assert store.reserve(model, 5, token="me", budget=None, rate=rate, now=10_000.0) == 0.0
    assert store.reserve(model, 5, token="me", budget=None, rate=rate, now=500.0) == 0.0


def test_other_files_are_refused_and_stay_as_they_are(tmp_path: Path, store: AnswerStore) -> None:
    text, other = tmp_path / "notes.txt", tmp_path / "other.sqlite"
    text.write_text("not a database, and long enough to be read as one" * 20)
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE mine (x)")
    for path in (text, other):
        before = path.read_bytes()
        with pytest.raises(
            DamagedFile, match=r"expected a file of stored answers, found .*move it away or name another"
        ):
            AnswerStore(path)
        assert path.read_bytes() == before
    with sqlite3.connect(store.path) as db:
        db.execute("CREATE TRIGGER t AFTER INSERT ON answers BEGIN DELETE FROM answers; END")
    with pytest.raises(DamagedFile, match="found another database"):
        AnswerStore(store.path)
    with pytest.raises(StoreError, match=r"cannot be read or written: unable to open database file; free the disk or"):
        AnswerStore(tmp_path)
    with pytest.raises(StoreError, match=r"no folder for the answers in .*notes.txt.answers"):
        AnswerStore(text / "answers")


def test_the_file_of_a_newer_midef_is_refused(store: AnswerStore) -> None:
    with sqlite3.connect(store.path) as db:
        db.execute("PRAGMA user_version = 2")
    with pytest.raises(StoreSchemaError, match="stored by a newer midef; update it"):
        AnswerStore(store.path)
