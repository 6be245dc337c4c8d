"""JSON documents of a folder of a store, each in a file of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from midef.core.errors import DamagedFile, StoreSchemaError
from midef.storage.location import Location

T = TypeVar("T")
log = logging.getLogger(__name__)


def read_documents(
    location: Location, root: str, parse: Callable[[str, bytes], T], problems: list[str] | None = None
) -> list[tuple[float, T]]:
    """Every document with the time it was written; one that cannot be read is named in a warning and left out.

    Args:
        location: of the store.
        root: the folder.
        parse: path and content to a document; raises DamagedFile or StoreSchemaError.
        problems: gains the warnings.
    """
    found = []
    for path in location.files(root):
        if not path.endswith(".json"):
            continue
        try:
            document, when = parse(path, location.get(path)), location.modified(path)
        except FileNotFoundError:
            continue  # gone meanwhile
        except (DamagedFile, StoreSchemaError) as error:
            log.warning("%s is passed over: %s", path, error)
            if problems is not None:
                problems.append(f"{path} is passed over: {error}")
            continue
        found.append((when, document))
    return found
