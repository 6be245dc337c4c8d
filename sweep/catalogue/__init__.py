"""The named sweeps: one matrix per file; a function of the same name returns it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from midef.core.errors import SpecError, did_you_mean
from midef.sweep.spec.document import Document
from midef.sweep.spec.extends import SUFFIXES, read_extended, with_base
from midef.sweep.spec.lines import Lines
from midef.sweep.spec.load import override, parse_document
from midef.sweep.spec.schema import SweepSpec


def named_sweeps() -> dict[str, Callable[[], SweepSpec]]:
    """Functions that return a `SweepSpec`, by name: one per file of this folder."""
    names = sorted(module.name for module in iter_modules(__path__) if not module.ispkg)
    return {name: getattr(import_module(f"{__name__}.{name}"), name) for name in names}


def read_spec(source: str | Path, overrides: Sequence[str] = ()) -> SweepSpec:
    """A specification from a YAML file, or a named sweep of this folder.

    Args:
        source: path of a `.yaml` or `.yml` file, or a name.
        overrides: `key.path=value`, values in YAML.

    Raises:
        SpecError: every problem, with the place and the nearest valid name.
    """
    document = read_document(source)
    for text in overrides:
        document = override(document, text)
    return parse_document(document)


def read_document(source: str | Path) -> Document:
    """What a YAML file or a named sweep says, with what it extends; not yet checked.

    Args:
        source: path of a `.yaml` or `.yml` file, or a name.

    Raises:
        SpecError: if there is none, or it cannot be read.
    """
    known = named_sweeps()
    path = Path(source)
    if path.suffix in SUFFIXES:
        document = read_extended(path, known)
    else:
        if str(source) not in known:
            raise SpecError(f"unknown sweep {str(source)!r}; {did_you_mean(str(source), known)}, or a YAML file")
        document = Document(known[str(source)]().model_dump(exclude_unset=True), Lines(str(source)))
    return document


def extended(document: Document) -> Document:
    """Plain data with what it extends; paths are relative to where the process runs.

    Raises:
        SpecError: as `read_document`.
    """
    return with_base(document, Path.cwd(), named_sweeps())
