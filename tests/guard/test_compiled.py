"""What is compiled of a guard, and that it answers as before."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from midef.core.errors import SpecError
from midef.guard import Guard
from midef.testing.own_classifier import IMAGES, PER_QUERY, PRIVATE, PUBLIC, SMALL, Classifier


class Graphs:
    """A backend that runs what it is given and keeps the names of the operations of every graph."""

    def __init__(self) -> None:
        self.seen: list[set[str]] = []

    def __call__(self, graph: torch.fx.GraphModule, _: list[Tensor]) -> Callable[..., Any]:
        calls = (node for node in graph.graph.nodes if node.op.startswith("call"))
        self.seen.append({getattr(call.target, "__name__", str(call.target)).split(".")[0] for call in calls})
        return graph.forward


@pytest.fixture(autouse=True)
def _forget() -> None:
    torch._dynamo.reset()


@pytest.mark.parametrize(
    ("text", "answering"),
    [
        ("noisy_scores(scale=0.1)", {"image_streams", "mul", "clamp", "sum"}),
        (f"lpa_vae({SMALL}, epochs=1)", {"image_streams", "topk", "linear", "exp"}),
    ],
)
def test_the_network_and_the_answer_are_one_graph_each(text: str, answering: set[str]) -> None:
    guard = Guard(Classifier(), text).prepare(public=PUBLIC, private=PRIVATE)
    graphs = Graphs()
    compiled = guard.compiled(backend=graphs)
    torch.testing.assert_close(compiled(IMAGES), guard(IMAGES), rtol=0, atol=1e-6)
    network, *others = graphs.seen
    assert {"conv2d", "linear"} <= network
    assert answering | {"argmax"} <= others[-1], "labels are kept inside of the graph"
    assert not any("conv2d" in names for names in others)


def test_a_label_that_a_compiled_operation_moves_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(function: Any, **options: Any) -> Any:
        if isinstance(function, torch.nn.Module):
            return function
        return lambda part, query, state: function(part, query, state).flip(1)

    monkeypatch.setattr(torch, "compile", careless)
    guard = Guard(Classifier(), "rounding", secret=1)
    assert torch.equal(guard.compiled()(IMAGES), guard(IMAGES))


@pytest.mark.parametrize("text", [PER_QUERY, f"pgd({SMALL})", f"rounding+{PER_QUERY}"])
def test_a_defense_that_takes_gradients_says_why_not(text: str) -> None:
    guard = Guard(Classifier(), text).prepare(public=PUBLIC, private=PRIVATE)
    with pytest.raises(SpecError, match=r"(lpa|pgd) cannot be compiled: every answer is a search along gradients"):
        guard.compiled()


def test_torch_compile_of_a_guard_compiles_the_network_alone() -> None:
    guard = Guard(Classifier(), PER_QUERY).prepare(public=PUBLIC, private=PRIVATE)
    graphs = Graphs()
    found: Tensor = torch.compile(guard, backend=graphs)(IMAGES)
    torch.testing.assert_close(found, guard(IMAGES), rtol=0, atol=1e-6)
    assert any("conv2d" in names for names in graphs.seen)
    assert not any({"topk", "conv_transpose2d", "vector_norm", "linalg_vector_norm"} & names for names in graphs.seen)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None and shutil.which("clang++") is None, reason="needs a C++ compiler")
def test_compiled_code_answers_as_before() -> None:
    guard = Guard(Classifier(), "noisy_scores")
    compiled = guard.compiled()
    for images in (IMAGES, IMAGES[0]):
        torch.testing.assert_close(compiled(images), guard(images), rtol=0, atol=1e-6)
