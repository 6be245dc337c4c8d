"""Published numbers in a store: kept apart from measured rows, written when they change, read by every table."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest

from midef.core import ResultRow, StoreSchemaError
from midef.core.rows import ROW_SCHEMA_VERSION
from midef.storage import Store
from midef.storage.columns import SCHEMA_KEY, table_from_rows, to_parquet
from midef.storage.published import PATH, read_published, write_published


def row(metric: str, value: float, **given: Any) -> ResultRow:
    about: dict[str, Any] = {
        **{"sweep": "", "profile": "", "cell": "", "setup": "S02", "defense": "bido", "defense_name": "bido"},
        **{"defense_params": "{}", "attack": "kedmi", "attack_name": "kedmi", "access": "white box"},
        **{"architecture": "vgg16", "private": "celeba", "public": "celeba", "evaluator": "facenet112"},
        **{"resolution_px": None, "identities": None, "images_per_identity": None, "seed": None},
        **{"unit": "percent", "larger_is": "", "origin": "published", "source": "table 1", "certainty": "certain"},
    }
    return ResultRow(metric=metric, value=value, **{**about, **given})


ROWS = [row("natural_accuracy", 79.85), row("attack_accuracy_at_1", 43.53, spread=4.0, remark="the text says 43.3")]


def test_they_come_back_as_they_were_written(store: Store) -> None:
    assert read_published(store) == []
    write_published(store, ROWS)
    assert read_published(Store.open(store.uri)) == ROWS
    write_published(store, ROWS[:1])
    assert read_published(store) == ROWS[:1]


def test_they_are_no_results(store: Store) -> None:
    write_published(store, ROWS)
    assert store.location.exists(PATH)
    assert (store.results.read(), store.results.cells()) == ([], {})


def test_an_unchanged_file_is_not_written_again(local_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    puts: list[str] = []
    real = type(local_store.location).put

    def put(location: Any, path: str, content: bytes) -> None:
        puts.append(path)
        real(location, path, content)

    monkeypatch.setattr(type(local_store.location), "put", put)
    write_published(local_store, ROWS)
    write_published(local_store, list(ROWS))
    assert puts == [PATH]
    write_published(local_store, [ROWS[0], replace(ROWS[1], remark="")])
    assert puts == [PATH, PATH]


def test_measured_rows_are_refused(local_store: Store) -> None:
    with pytest.raises(ValueError, match=r"1 of 2 rows are not of origin 'published', .* bido in S02"):
        write_published(local_store, [ROWS[0], replace(ROWS[1], origin="measured", seed=0)])
    assert not local_store.location.exists(PATH)


def test_a_damaged_file_is_warned_about_and_written_again(local_store: Store, caplog: pytest.LogCaptureFixture) -> None:
    local_store.location.put(PATH, b"PAR1 not really")
    with caplog.at_level(logging.WARNING):
        assert read_published(local_store) == []
    assert f"{PATH} is damaged" in caplog.text
    write_published(local_store, ROWS)
    assert read_published(local_store) == ROWS


def test_a_file_of_a_newer_midef_is_neither_read_nor_overwritten(local_store: Store) -> None:
    newer = {SCHEMA_KEY: str(ROW_SCHEMA_VERSION + 1).encode()}
    content = to_parquet(table_from_rows(ROWS).replace_schema_metadata(newer))
    local_store.location.put(PATH, content)
    for use in (read_published, lambda store: write_published(store, ROWS)):
        with pytest.raises(StoreSchemaError, match=r"published\.parquet has row schema"):
            use(local_store)
    assert local_store.location.get(PATH) == content
