"""Specifications from YAML files and plain data: reading, overrides, validation against the schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from midef.core.errors import SpecError
from midef.sweep.spec.matching import FrontSpec, MatchSpec, RangeSpec
from midef.sweep.spec.schema import ProtocolSpec, SetupSpec, SweepSpec


def read_yaml(path: Path, named: Sequence[str] = ()) -> dict[str, Any]:
    """Plain data of a specification in a YAML file, its relative paths of data sets made absolute.

    Args:
        path: the file; data sets' paths in it are relative to its folder.
        named: named sweeps, listed in the error if there is no such file.

    Raises:
        SpecError: if the file cannot be read as a mapping.
    """
    import yaml  # here: a named sweep is planned without it

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SpecError(f"no such file {path}; give a YAML file or one of: {', '.join(named)}") from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise SpecError(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(data, dict):
        raise SpecError(f"{path} must hold a mapping with name, setups, defenses; it holds {type(data).__name__}")
    _make_paths_absolute(data, path.parent)
    return data


def override(data: dict[str, Any], text: str) -> None:
    """Apply `a.b.0.c=value` to plain data in place; the value is read as YAML.

    Raises:
        SpecError: if the text cannot be read, or names a place that the data cannot have.
    """
    import yaml

    path, equals, value = text.partition("=")
    if not equals:
        raise SpecError(f"cannot read --set {text!r}; write key.path=value")
    place: Any = data
    keys = path.split(".")
    try:
        for key in keys[:-1]:
            place = place[int(key)] if isinstance(place, list) else place.setdefault(key, {})
        if isinstance(place, list):
            place[int(keys[-1])] = yaml.safe_load(value)
        else:
            place[keys[-1]] = yaml.safe_load(value)
    except (ValueError, IndexError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise SpecError(f"--set {text!r} does not fit the specification: {error}") from error


def parse_spec(data: Mapping[str, Any], where: str = "sweep") -> SweepSpec:
    """Check plain data against the schema.

    Args:
        data: the specification.
        where: file or name it comes from, the beginning of each problem.

    Raises:
        SpecError: every problem at once.
    """
    try:
        return SweepSpec.model_validate(data)
    except ValidationError as error:
        problems = []
        for item in error.errors():
            place = where + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in item["loc"])
            if item["type"] == "extra_forbidden":
                known = _known_fields(item["loc"])
                near = get_close_matches(str(item["loc"][-1]), known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}"
                problems.append(f"{place}: unknown field{hint}")
            else:
                message = item["msg"].removeprefix("Value error, ")
                problems.append(f"{place}: {message}, got {item['input']!r}"[:400])
        raise SpecError(problems) from None


def _known_fields(loc: tuple[int | str, ...]) -> list[str]:
    """Fields of the model that an unknown field was found in."""
    models: dict[str, type[BaseModel]] = {"setups": SetupSpec, "match": MatchSpec, "front": FrontSpec}
    model = models.get(str(loc[0]), SweepSpec) if len(loc) > 1 else SweepSpec
    if "protocol" in loc[1:-1]:
        model = ProtocolSpec
    elif "ranges" in loc[1:-1]:
        model = RangeSpec
    return sorted(model.model_fields)


def _make_paths_absolute(data: dict[str, Any], folder: Path) -> None:
    """Make the paths of data sets in unchecked plain data absolute."""
    from midef.datasets import DATASETS  # here: a named sweep is read without a component
    from midef.datasets.base import PATHS
    from midef.sweep.spec.datasets import location_fields

    setups = data.get("setups")
    for setup in setups if isinstance(setups, list) else []:
        for role in ("private", "public", "pretraining") if isinstance(setup, dict) else ():
            written = setup.get(role)
            if isinstance(written, str) and "(" in written:
                try:
                    name, preset, params = DATASETS.parse(written)
                except SpecError:
                    continue  # reported with its place when the specification is resolved
                written = setup[role] = {"name": name, **({"preset": preset} if preset else {}), **params}
            if isinstance(written, dict):
                for key in location_fields(str(written.get("name", ""))) & PATHS:
                    if isinstance(written.get(key), str) and written[key]:
                        written[key] = str((folder / Path(written[key]).expanduser()).resolve())
