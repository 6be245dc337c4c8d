"""What makes the host wait for the device, as seen in the source of one function.

A tensor is known by its annotation, by the call that made it, or by where it was assigned; what cannot be told is
taken for no tensor. So the check finds lines, and proves nothing where it finds none.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

READS = frozenset({"item", "tolist", "cpu", "numpy", "nonzero", "masked_select", "unique", "bincount", "argwhere"})
"""Methods, and functions of torch, that read from the device."""
COPIES = frozenset({"tensor", "as_tensor", "new_tensor", "from_numpy", "asarray"})
"""Those that copy from the host."""
CHECKS = frozenset(
    {"inv", "solve", "cholesky", "lstsq", "eigh", "svd", "multinomial", "equal", "allclose", "is_nonzero"}
)
"""Those that look at what they computed: `inv_ex` and its like do not."""
_PLAIN = frozenset({"size", "dim", "numel", "stride", "is_contiguous", "get_device", "element_size", "data_ptr"})
_NO_TENSORS = frozenset(
    {"Generator", "no_grad", "device", "Size", "finfo", "is_grad_enabled", "autocast", "manual_seed"}
)
_TENSOR_FIELDS = frozenset({"images", "labels", "indices", "logits", "features", "T", "mT", "grad"})
_TENSOR_MODULES = frozenset({"torch", "F"})
_BOOLEAN = frozenset({"isfinite", "isnan", "isinf", "bool", "logical_not", "logical_and", "logical_or"})
_DEVICES = ("device",)

Function = ast.FunctionDef | ast.For | ast.Lambda


def waits_of(function: Function) -> Iterator[tuple[int, str]]:
    """Line, and what is wrong with it, of everything in a function (or the body of a loop) that waits."""
    names = _Names(function)
    body = function.body if isinstance(function.body, list) else [function.body]
    for statement in body:
        for node in _own(statement):
            found = _wait(node, names)
            if found:
                yield getattr(node, "lineno", function.lineno), found


def _own(node: ast.AST) -> Iterator[ast.AST]:
    """A node and those below it, without functions that are defined inside: these are looked at where they are used."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _own(child)


class _Names:
    """Names of a function that stand for tensors, and for masks."""

    def __init__(self, function: Function) -> None:
        self.tensors: set[str] = set()
        self.masks: set[str] = set()
        if isinstance(function, ast.FunctionDef):
            arguments = function.args
            for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
                if argument.annotation is not None and _says_tensor(argument.annotation):
                    self.tensors.add(argument.arg)
        for _ in range(2):  # a loop assigns what its next pass reads
            for node in ast.walk(function):
                self._assigned(node)

    def _assigned(self, node: ast.AST) -> None:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            if _says_tensor(node.annotation):
                self.tensors.add(node.target.id)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                for name in ast.walk(target):
                    if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store):
                        if self.is_tensor(node.value):
                            self.tensors.add(name.id)
                        if self.is_mask(node.value):
                            self.masks.add(name.id)

    def is_tensor(self, node: ast.AST) -> bool:
        """Whether an expression is known to be a tensor."""
        match node:
            case ast.Name(id=name):
                return name in self.tensors
            case ast.Attribute(attr=attr):
                return attr in _TENSOR_FIELDS
            case ast.Subscript(value=value):
                return self.is_tensor(value)
            case ast.BinOp(left=left, right=right):
                return self.is_tensor(left) or self.is_tensor(right)
            case ast.UnaryOp(op=op, operand=operand):
                return not isinstance(op, ast.Not) and self.is_tensor(operand)
            case ast.Compare(left=left, ops=ops, comparators=others):
                is_value = all(not isinstance(op, ast.Is | ast.IsNot | ast.In | ast.NotIn) for op in ops)
                return is_value and any(map(self.is_tensor, (left, *others)))
            case ast.IfExp(body=body, orelse=other):
                return self.is_tensor(body) or self.is_tensor(other)
            case ast.Call(func=ast.Attribute(value=value, attr=attr)):
                if isinstance(value, ast.Name) and value.id in _TENSOR_MODULES:
                    return attr not in _NO_TENSORS
                return attr not in _PLAIN and self.is_tensor(value)
        return False

    def is_mask(self, node: ast.AST) -> bool:
        """Whether an expression is known to be a tensor of truth values."""
        match node:
            case ast.Name(id=name):
                return name in self.masks
            case ast.Compare():
                return self.is_tensor(node)
            case ast.UnaryOp(op=ast.Invert(), operand=operand):
                return self.is_mask(operand)
            case ast.BinOp(op=ast.BitAnd() | ast.BitOr() | ast.BitXor(), left=left, right=right):
                return self.is_mask(left) or self.is_mask(right)
            case ast.Call(func=ast.Attribute(value=value, attr=attr)):
                if attr in _BOOLEAN:
                    return self.is_tensor(node)
                return attr in ("any", "all", "view", "reshape", "flatten", "squeeze") and self.is_mask(value)
        return False


def _says_tensor(annotation: ast.expr) -> bool:
    said = annotation.value if isinstance(annotation, ast.Constant) else ast.unparse(annotation)
    return said in ("Tensor", "torch.Tensor", "Tensor | None", "'Tensor'")


def _wait(node: ast.AST, names: _Names) -> str | None:
    match node:
        case ast.Call(func=ast.Name(id="bool" | "float" | "int" as made), args=[value]) if names.is_tensor(value):
            return f"{made}() of a tensor reads it"
        case ast.Call(func=ast.Attribute(value=value, attr=attr)):
            return _called(node, value, attr, names)
        case ast.Subscript(slice=index):
            parts = index.elts if isinstance(index, ast.Tuple) else [index]
            if any(map(names.is_mask, parts)):
                return "a mask as an index counts its True values; torch.where keeps the shape"
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test) | ast.Assert(test=test):
            return _tested(test, names)
    return None


def _called(call: ast.Call, value: ast.expr, attr: str, names: _Names) -> str | None:
    is_torch = isinstance(value, ast.Name) and value.id in _TENSOR_MODULES
    is_linalg = isinstance(value, ast.Attribute) and value.attr == "linalg"
    if attr in READS and (is_torch or not isinstance(value, ast.Name) or names.is_tensor(value) or attr != "unique"):
        return f"{attr}() reads from the device"
    if attr in COPIES and (is_torch or attr == "new_tensor"):
        return f"{attr}() copies numbers from the host; make them once, before the loop"
    if attr in CHECKS and (is_torch or is_linalg):
        return f"{attr}() waits to look at its result"
    if is_torch and attr == "one_hot" and len(call.args) + len(call.keywords) < 2:
        return "one_hot() without the number of classes reads the largest label"
    if attr in ("to", "cuda") and not any(word.arg == "non_blocking" for word in call.keywords):
        places = [*call.args, *(word.value for word in call.keywords if word.arg in ("device", "other"))]
        if attr == "cuda" or any(_names_a_device(place, names) for place in places):
            return "a copy to a device waits; bring it there once, before the loop, or use uploaded()"
    return None


def _names_a_device(node: ast.expr, names: _Names) -> bool:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) if name.endswith(_DEVICES):
            return True
        case ast.Constant(value=str()):
            return True
    return names.is_tensor(node)


def _tested(test: ast.expr, names: _Names) -> str | None:
    match test:
        case ast.BoolOp(values=values):
            return next((found for value in values if (found := _tested(value, names))), None)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return _tested(operand, names)
    return "the truth of a tensor is read from the device" if names.is_tensor(test) else None
