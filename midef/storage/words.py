"""Columns of Arrow tables as words and numbers: each different word once, and numbers without copies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pyarrow as pa


class Words(NamedTuple):
    """A column of words.

    Args:
        texts: the different ones.
        places: of each row in `texts` [N].
    """

    texts: list[str]
    places: Any


def words_of(column: pa.ChunkedArray) -> Words:
    """A column of words without gaps, as a dictionary or not."""
    coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    whole = coded.combine_chunks()
    return Words(whole.dictionary.to_pylist(), as_numpy(whole.indices))


def as_arrow(numbers: Any) -> pa.Array:
    """A column of whole numbers, int32 or int64 [N]; `pyarrow.array` would import pandas."""
    return pa.Array.from_buffers(pa.from_numpy_dtype(numbers.dtype), len(numbers), [None, pa.py_buffer(numbers)])


def as_numpy(values: pa.Array) -> Any:
    """Numbers without gaps as numpy has them, read-only; `to_numpy` of pyarrow would import pandas.

    Args:
        values: of a type of fixed width [N]; truths become bool.
    """
    import numpy as np

    if values.type == pa.bool_():
        return as_numpy(values.cast(pa.uint8())).astype(bool)
    kind = np.dtype(str(values.type).replace("double", "float64"))
    return np.frombuffer(values.buffers()[1], kind, len(values), values.offset * kind.itemsize)


def with_word(table: pa.Table, name: str, word: str) -> pa.Table:
    """The rows with one word in a column."""
    import numpy as np

    content = word.encode()
    ends = np.array([0, len(content)], np.int32)
    words = pa.StringArray.from_buffers(1, pa.py_buffer(ends), pa.py_buffer(content))
    same = pa.DictionaryArray.from_arrays(as_arrow(np.zeros(len(table), np.int32)), words)
    return table.set_column(table.column_names.index(name), name, same)


def has_word(column: pa.ChunkedArray, is_meant: Callable[[str], bool]) -> Any:
    """Whether each row of a column has a word that is meant [N], bool; each different word is asked for once."""
    import numpy as np

    texts, places = words_of(column)
    return np.array([is_meant(text) for text in texts], bool)[places]


def encoded(table: pa.Table) -> pa.Table:
    """The columns, those of words as dictionaries: each different word once, and places in that list."""
    columns = zip(table.column_names, table.columns, strict=True)
    return pa.table({name: one.dictionary_encode() if one.type == pa.string() else one for name, one in columns})
