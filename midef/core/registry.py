"""Finds the components: every plain file of a package, every class it adds, and those of packages of others."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from dataclasses import MISSING, fields
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, ClassVar, Generic, Protocol, TypeVar, cast

from pydantic import ConfigDict, TypeAdapter, ValidationError

from midef.core.canonical import keyed_fields, plain
from midef.core.choice import Choice
from midef.core.conversion import exponent_hint, misread, shown
from midef.core.errors import NameClash, PreflightError, Problem, SpecError, did_you_mean
from midef.core.grammar import GrammarError, read_call, write_call
from midef.core.held import HELD, Held
from midef.core.packages import Package, lacking, load_packages, package_of, versioned


class Component(Protocol):
    """Component class as the registry needs it: a frozen dataclass with these class facts."""

    paper: ClassVar[str]
    registered_name: ClassVar[str]
    version: ClassVar[int]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]]


T = TypeVar("T")


class Registry(Generic[T]):
    """The components of one kind, found by searching the package's folder, and what packages of others add to them.

    Sub-folders, and files whose name starts with an underscore, hold what several share.

    Args:
        kind: what one is called in messages.
        package: where they lie, one per file.
        beside: modules of that folder that hold no component and are costly to import.
    """

    def __init__(self, kind: str, package: str, *, beside: Collection[str] = ()) -> None:
        self.kind = kind
        self.package = package
        self.beside = beside
        self._classes: dict[str, type[T]] = {}
        self._searched = False

    def add(self, name: str) -> Callable[[type[T]], type[T]]:
        """Class decorator that registers a component under `name`.

        Raises:
            NameClash: if another component has it; names both, and their packages.
        """

        def register(cls: type[T]) -> type[T]:
            known = self._classes.get(name)
            if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
                where = f"{_home(known)} and {_home(cls)}"
                raise NameClash(f"two {self.kind}s are registered as {name!r}: {where}; rename one")
            cls.registered_name = name  # type: ignore[attr-defined]
            cls.__pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)  # type: ignore[attr-defined]
            self._classes[name] = cls
            return cls

        return register

    def _search(self) -> None:
        if self._searched:
            return
        self._searched = True
        try:
            package = import_module(self.package)
            for module in iter_modules(package.__path__):
                if not (module.ispkg or module.name.startswith("_") or module.name in self.beside):
                    import_module(f"{self.package}.{module.name}")
            load_packages()
        except BaseException:
            self._searched = False
            raise

    def names(self) -> list[str]:
        """Every registered name, sorted."""
        self._search()
        return sorted(self._classes)

    def __iter__(self) -> Iterator[type[T]]:
        return (self._classes[name] for name in self.names())

    def get(self, name: str) -> type[T]:
        """The class registered as `name`.

        Raises:
            SpecError: names the nearest known name.
        """
        self._search()
        if name not in self._classes:
            raise SpecError(f"unknown {self.kind} {name!r}; {did_you_mean(name, self._classes)}")
        return self._classes[name]

    def make(self, name: str, params: Mapping[str, Any] | None = None) -> T:
        """An instance with `params` converted to their declared types.

        Raises:
            SpecError: with every wrong parameter, and the nearest valid name of a misspelt one.
        """
        cls = self.get(name)
        problems: list[Problem] = []
        known = {f.name for f in fields(cls)}  # type: ignore[arg-type]
        given = dict(params or {})
        for word in sorted(set(given) - known, key=str):
            text = f"{self.kind} {name!r} has no parameter {word!r}; {did_you_mean(str(word), known)}"
            problems.append(Problem(text, at=(word,)))
            del given[word]
        for word, held in self.exchangeable(name).items():
            if word in given:
                try:
                    given[word] = held.make(given[word])
                except SpecError as error:
                    problems += self._inside(name, word, error)
                    del given[word]
        for word, usual in _fixed(cls).items():
            written = given.get(word)
            if isinstance(written, str) or (isinstance(written, Mapping) and "name" in written):
                text = f"it cannot be exchanged by name, got {shown(written)}; give parameters of {usual} as a mapping"
                problems.append(self._wrong(name, (word,), text))
                del given[word]
        try:
            made = _adapter(cast(Hashable, cls)).validate_python(given)
            problems += [self._wrong(name, problem.at, str(problem)) for problem in misread(given, made)]
        except ValidationError as error:
            for item in error.errors():
                given_value = f", got {shown(item['input'])}{exponent_hint(item['input'])}" if item["loc"] else ""
                problems.append(self._wrong(name, item["loc"], item["msg"].removeprefix("Value error, ") + given_value))
        if problems:
            raise SpecError(problems)
        return made  # type: ignore[no-any-return]

    def _wrong(self, name: str, at: tuple[str | int, ...], text: str) -> Problem:
        """A problem of a parameter of a component."""
        where = f", {'.'.join(map(str, at))}" if at else ""
        return Problem(f"{self.kind} {name!r}{where}: {text}", at=at)

    def _inside(self, name: str, word: str, error: SpecError) -> list[Problem]:
        """The problems of a component that another one holds."""
        return [self._wrong(name, (word, *getattr(problem, "at", ())), str(problem)) for problem in error.problems]

    def choose(self, written: str | Mapping[str, Any]) -> Choice:
        """A `Choice` from what a person writes.

        Accepts `"midre"`, `"midre:paper-224"` (a preset), `"midre(area_high=0.8)"`, or
        `{"name": "midre", "area_high": 0.8}` (with an optional `preset`).

        Raises:
            SpecError: for an unknown name, preset or parameter, or a wrong value.
        """
        return self.describe(self.make(*self.complete(written)))

    def complete(self, written: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Name and parameters of what a person wrote, those of its preset among them; values are unchecked.

        Raises:
            SpecError: for an unknown name or preset, or a text that cannot be read.
        """
        name, preset, params = self.parse(written)
        cls = self.get(name)
        presets: Mapping[str, Mapping[str, Any]] = getattr(cls, "presets", {})
        if preset is not None:
            if not isinstance(preset, str) or preset not in presets:
                hint = did_you_mean(str(preset), presets)
                raise SpecError([Problem(f"{self.kind} {name!r} has no preset {preset!r}; {hint}", at=("preset",))])
            params = merged(presets[preset], params)
        return name, params

    def describe(self, component: T) -> Choice:
        """The `Choice` that makes an equal component. The label shows what differs from the defaults.

        A parameter that was `ADDED_LATER` is left out where it has its default.
        """
        cls = type(component)
        name: str = cls.registered_name  # type: ignore[attr-defined]
        keyed: dict[str, Any] = {}
        changed: dict[str, Any] = {}
        for f in keyed_fields(component):
            held, is_shown = f.metadata.get(HELD), f.metadata.get("shown", True)
            value = plain(getattr(component, f.name) if held is None else held.described(getattr(component, f.name)))
            keyed[f.name] = value
            default = plain(f.default) if f.default is not MISSING else MISSING  # a factory's value is always shown
            if held is not None and "name" in value:
                changed[f.name] = value if len(value) > 1 else value["name"]
            elif value != default and is_shown:
                changed[f.name] = value
        label = getattr(component, "label", None) or write_call(name, changed)
        return Choice(name, keyed, self.version(name), label)

    def version(self, name: str) -> int | str:
        """Of a component's maths, as recipes hold it; of a component from a package of others, with that package."""
        cls = self.get(name)
        return versioned(getattr(cls, "version", 1), cls.__module__)

    def origin(self, name: str) -> Package | None:
        """The package of others a component comes from; None for midef's own."""
        return package_of(self.get(name).__module__)

    def remake(self, choice: Choice) -> T:
        """The component a `Choice` stands for.

        Raises:
            PreflightError: if it comes from a package that is not installed here, or not in this version.
            SpecError: if the choice was made for another version of the component's maths.
        """
        if problem := lacking(choice.name, choice.version):
            raise PreflightError(f"{self.kind} {problem}")
        version = self.version(choice.name)
        if version != choice.version:
            raise SpecError(
                f"{self.kind} {choice.name!r} is version {version} here, the recipe asks for version {choice.version}; "
                "plan again with this code"
            )
        return self.make(choice.name, choice.params)

    def parse(self, written: str | Mapping[str, Any]) -> tuple[str, str | None, dict[str, Any]]:
        """Name, preset and parameters of what a person wrote, unchecked.

        Raises:
            SpecError: if it cannot be read.
        """
        if isinstance(written, Mapping):
            given = dict(written)
            if not isinstance(given.get("name"), str):
                raise SpecError(f"a {self.kind} needs a 'name'; got {dict(written)!r}")
            name, preset = given.pop("name"), given.pop("preset", None)
            if ":" in name:
                name, _, preset = name.partition(":")
            return name, preset, self._normal(name, given)
        try:
            call = read_call(written)
        except GrammarError as error:
            raise SpecError(f"cannot read {self.kind} {shown(written)}, {error}") from error
        return call.name, call.preset, self._normal(call.name, dict(call.params))

    def exchangeable(self, name: str) -> dict[str, Held]:
        """Fields of a component that hold another component, which may be exchanged; none of an unknown name."""
        self._search()
        cls = self._classes.get(name)
        return {} if cls is None else {f.name: f.metadata[HELD] for f in fields(cls) if HELD in f.metadata}  # type: ignore[arg-type]

    def _normal(self, name: str, params: dict[str, Any]) -> dict[str, Any]:
        """The parameters, components that they hold as mappings: those below and above can then be merged."""
        problems: list[Problem] = []
        for word, held in self.exchangeable(name).items():
            if word in params:
                try:
                    params[word] = held.normal(params[word])
                except SpecError as error:
                    problems += self._inside(name, word, error)
        if problems:
            raise SpecError(problems)
        return params


def _home(cls: type) -> str:
    package = package_of(cls.__module__)
    return cls.__module__ if package is None else f"{cls.__module__} (package {package})"


def _fixed(cls: type) -> dict[str, str]:
    """Fields of a component that hold another one which cannot be exchanged, with the registered name of that."""
    names = {f.name: getattr(f.default_factory, "registered_name", "") for f in fields(cls) if HELD not in f.metadata}
    return {word: usual for word, usual in names.items() if usual}


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Both, `above` first; where both hold a mapping (a prior, and a prior of that), their entries are merged.

    Not those of two components with different names: the one above then stands alone.

    >>> merged({"a": {"x": 1, "y": 2}, "b": 3}, {"a": {"x": 9}})
    {'a': {'x': 9, 'y': 2}, 'b': 3}
    >>> merged({"a": {"x": 1}}, {"a": {"name": "another"}})
    {'a': {'name': 'another'}}
    """
    both = {
        key: merged(below[key], value)
        for key, value in above.items()
        if isinstance(value, Mapping)
        and isinstance(lower := below.get(key), Mapping)
        and value.get("name") == lower.get("name")
    }
    return {**below, **above, **both}


@cache
def _adapter(cls: Hashable) -> TypeAdapter[Any]:
    return TypeAdapter(cast(Any, cls))
