"""Steps of loops in the source of a package: what runs in each, and the lines that wait for the device.

A step is found by itself: a function marked `in_step` and whatever overrides it, a function given to
`TrainingRun.steps` or `TrainingRun.update`, loops over batches in one given to `TrainingRun.epochs`, a loop whose line
says `# in step`, and every `forward` of a network. What these call is followed where the source tells what it is:
functions by name, methods of `self`. Functions with a cache are not: they work once.

A line that waits on purpose says why: `# waits: Telea's inpainting runs on the CPU`. On a line that begins a function,
this holds for all of it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from midef.testing.waits import waits_of

MARK = "in_step"
_ON_PURPOSE = re.compile(r"# waits: \w+")
_LOOP = "# in step"
_CACHES = frozenset({"cache", "lru_cache", "cached_property"})

Scope: TypeAlias = tuple[ast.AST, ...]
"""What a node stands in, outermost first."""


@dataclass
class _Module:
    """Source of one module.

    Args:
        imports: local name -> (module, name there; "" for the module itself).
    """

    name: str
    path: Path
    lines: list[str]
    tree: ast.Module
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)
    classes: dict[str, ast.ClassDef] = field(default_factory=dict)
    functions: dict[str, ast.FunctionDef] = field(default_factory=dict)
    given_to_steps: set[str] = field(default_factory=set)
    given_to_epochs: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        nodes = list(ast.walk(self.tree))
        for node in nodes:
            if isinstance(node, ast.ImportFrom) and node.module:
                self.imports |= {a.asname or a.name: (node.module, a.name) for a in node.names}
            elif isinstance(node, ast.ClassDef):
                self.classes.setdefault(node.name, node)
        self.functions = {node.name: node for node in self.tree.body if isinstance(node, ast.FunctionDef)}
        self.given_to_steps, self.given_to_epochs = (
            _given_to(nodes, "steps", "update", "plain_update"),
            _given_to(nodes, "epochs"),
        )

    def is_on_purpose(self, line: int) -> bool:
        return bool(_ON_PURPOSE.search(self.lines[line - 1]))


@dataclass(frozen=True, eq=False)
class _Part:
    """A function, or the body of a loop, that runs in a step."""

    module: _Module
    node: ast.FunctionDef | ast.For
    scope: Scope

    @property
    def name(self) -> str:
        named = [one.name for one in (*self.scope, self.node) if isinstance(one, ast.FunctionDef | ast.ClassDef)]
        return ".".join(named)


class Steps:
    """The steps of the loops in a package.

    Args:
        folder: of the package.
        package: its name, `midef`.
    """

    def __init__(self, folder: Path, package: str) -> None:
        self._folder = folder
        self._paths = {
            ".".join((package, *path.relative_to(folder).with_suffix("").parts)).removesuffix(".__init__"): path
            for path in sorted(folder.rglob("*.py"))
        }
        self._read: dict[str, _Module] = {}

    def parts(self, *rooms: str) -> list[_Part]:
        """Everything that runs in a step of a loop of these packages (`midef.training`), itself or called by it.

        Without any, of the whole package.
        """
        found: dict[int, _Part] = {}
        names = [name for name in self._paths if not rooms or name.startswith(rooms)]
        waiting = [part for name in names for part in self._roots(self._module(name))]
        while waiting:
            part = waiting.pop()
            if id(part.node) not in found and not self._is_left_out(part):
                found[id(part.node)] = part
                waiting += self._called_by(part)
        return sorted(found.values(), key=lambda part: (part.module.name, part.node.lineno))

    def waits(self, *rooms: str) -> list[str]:
        """Lines of these steps that wait for the device, `path:line: function: what`."""
        said = []
        for part in self.parts(*rooms):
            for line, what in waits_of(part.node):
                if not part.module.is_on_purpose(line):
                    said.append(f"{part.module.path}:{line}: {part.name}: {what}")
        return sorted(set(said))

    # What is a step

    def _module(self, name: str) -> _Module:
        if name not in self._read:
            path = self._paths[name]
            text = path.read_text(encoding="utf-8")
            where = path.relative_to(self._folder.parent)
            self._read[name] = _Module(name, where, text.splitlines(), ast.parse(text))
        return self._read[name]

    def _roots(self, module: _Module) -> Iterator[_Part]:
        for node, scope in _statements(module.tree):
            if isinstance(node, ast.For):
                stands_in = [one.name for one in scope if isinstance(one, ast.FunctionDef)]
                over_batches = bool(stands_in) and stands_in[-1] in module.given_to_epochs
                if _LOOP in module.lines[node.lineno - 1] or over_batches:
                    yield _Part(module, node, scope)
            elif isinstance(node, ast.FunctionDef):
                owner = scope[-1] if scope and isinstance(scope[-1], ast.ClassDef) else None
                is_nested = any(isinstance(one, ast.FunctionDef) for one in scope)
                if (
                    MARK in _decorators(node)
                    or (is_nested and node.name in module.given_to_steps)
                    or (owner is not None and (node.name == "forward" or self._overrides_mark(module, owner, node)))
                ):
                    yield _Part(module, node, scope)

    def _overrides_mark(self, module: _Module, owner: ast.ClassDef, node: ast.FunctionDef) -> bool:
        return any(
            MARK in _decorators(method)
            for _, base in self._bases(module, owner)
            for method in base.body
            if isinstance(method, ast.FunctionDef) and method.name == node.name
        )

    def _is_left_out(self, part: _Part) -> bool:
        if isinstance(part.node, ast.For):
            return False
        return bool(_decorators(part.node) & _CACHES) or part.module.is_on_purpose(part.node.lineno)

    # What a step calls

    def _called_by(self, part: _Part) -> Iterator[_Part]:
        for node in ast.walk(part.node):
            if part.module.is_on_purpose(getattr(node, "lineno", part.node.lineno)):
                continue
            match node:
                case ast.Name(id=name, ctx=ast.Load()):  # called here, or handed on to be
                    found = self._named(part, name)
                case ast.Attribute(value=ast.Name(id="self"), attr=name):
                    found = self._method(part, name)
                case ast.Call(func=ast.Attribute(value=ast.Call(func=ast.Name(id="super")), attr=name)):
                    found = self._method(part, name, skip=1)
                case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=attr)) if name in part.module.imports:
                    found = self._function(".".join(part.module.imports[name]), attr)
                case _:
                    found = None
            if found is not None:
                yield found

    def _named(self, part: _Part, name: str) -> _Part | None:
        """A function by the name it is called by: defined inside, around, in the module, or imported."""
        around = (*part.scope, part.node)
        for depth in range(len(around), 0, -1):
            owner = around[depth - 1]
            if isinstance(owner, ast.FunctionDef):
                for node, _ in _statements(owner):
                    if isinstance(node, ast.FunctionDef) and node.name == name:
                        return _Part(part.module, node, around[:depth])
        return self._function(part.module.name, name)

    def _function(self, module_name: str, name: str) -> _Part | None:
        if module_name not in self._paths:
            return None
        module = self._module(module_name)
        if name in module.functions:
            return _Part(module, module.functions[name], ())
        if name in module.imports and module.imports[name][0] != module_name:  # of another one, perhaps handed on
            return self._function(*module.imports[name])
        return None

    def _method(self, part: _Part, name: str, skip: int = 0) -> _Part | None:
        owner = next((one for one in reversed(part.scope) if isinstance(one, ast.ClassDef)), None)
        if owner is None:
            return None
        for module, base in [(part.module, owner), *self._bases(part.module, owner)][skip:]:
            for node in base.body:
                if isinstance(node, ast.FunctionDef) and node.name == name:
                    return _Part(module, node, (base,))
        return None

    def _bases(self, module: _Module, owner: ast.ClassDef) -> Iterator[tuple[_Module, ast.ClassDef]]:
        for base in owner.bases:
            name = base.id if isinstance(base, ast.Name) else ""
            found = self._class(module, name)
            if found is not None and found[1] is not owner:
                yield found
                yield from self._bases(*found)

    def _class(self, module: _Module, name: str) -> tuple[_Module, ast.ClassDef] | None:
        if name in module.classes:
            return module, module.classes[name]
        origin, there = module.imports.get(name, ("", ""))
        if origin in self._paths and origin != module.name:
            return self._class(self._module(origin), there)
        return None


def _statements(node: ast.AST, scope: Scope = ()) -> Iterator[tuple[ast.AST, Scope]]:
    """Functions, classes and loops below a node, each with what it stands in; expressions hold none of them."""
    inner = (*scope, node) if isinstance(node, ast.FunctionDef | ast.ClassDef) else scope
    for name in ("body", "orelse", "finalbody", "handlers", "cases"):
        for child in getattr(node, name, None) or ():
            if isinstance(child, ast.FunctionDef | ast.ClassDef | ast.For):
                yield child, inner
            yield from _statements(child, inner)


def _decorators(function: ast.FunctionDef) -> set[str]:
    called = (one.func if isinstance(one, ast.Call) else one for one in function.decorator_list)
    return {one.id if isinstance(one, ast.Name) else getattr(one, "attr", "") for one in called}


def _given_to(nodes: Iterable[ast.AST], *methods: str) -> set[str]:
    """Names of functions that are given, second, to a method of one of these names."""
    return {
        node.args[1].id
        for node in nodes
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in methods
        if len(node.args) > 1 and isinstance(node.args[1], ast.Name)
    }
