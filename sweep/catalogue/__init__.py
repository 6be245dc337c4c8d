"""The named sweeps: one matrix per file; a function of the same name returns it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from midef.core.errors import SpecError, did_you_mean
from midef.sweep.spec.document import Document
from midef.sweep.spec.lines import Lines
from midef.sweep.spec.load import override, parse_document, read_yaml
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
    known = named_sweeps()
    path = Path(source)
    if path.suffix in (".yaml", ".yml"):
        document = read_yaml(path, list(known))
    else:
        if str(source) not in known:
            raise SpecError(f"unknown sweep {str(source)!r}; {did_you_mean(str(source), known)}, or a YAML file")
        document = Document(known[str(source)]().model_dump(exclude_unset=True), Lines(str(source)))
    for text in overrides:
        document = override(document, text)
    return parse_document(document)
