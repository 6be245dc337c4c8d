"""Compiled passes: every family is one graph, and a training through graphs moves the same weights.

Graphs are run by PyTorch itself here (`eager`): numbers are equal to the last bit, and no C++ compiler is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from midef.core.errors import SpecError
from midef.defenses import DEFENSES
from midef.models import ARCHITECTURES
from midef.nn.network import TargetModel
from midef.training import TrainingRecipe
from midef.training.classifier import descent
from midef.training.classifier import fit as training
from midef.training.classifier.descent import compiled, make_optimizer
from midef.training.classifier.fit import FitReport
from midef.training.data_parallel import World

SMALL = [name for name in ARCHITECTURES.names() if name.endswith("_tiny")]
Fit = Callable[..., tuple[TargetModel, FitReport]]


@pytest.fixture(autouse=True)
def _anew() -> Iterator[None]:
    yield
    torch.compiler.reset()


@pytest.fixture
def by_torch(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """Graphs are run by PyTorch, and must be whole; gives how each was asked for."""
    asked: list[dict[str, object]] = []
    compile_ = torch.compile

    def whole(network: nn.Module, **how: object) -> nn.Module:
        asked.append(how)
        made: nn.Module = compile_(network, backend="eager", fullgraph=True, dynamic=False)
        return made

    monkeypatch.setattr(torch, "compile", whole)
    return asked


@pytest.mark.parametrize("name", SMALL)
def test_every_family_is_one_graph(name: str, by_torch: list[dict[str, object]]) -> None:
    torch.manual_seed(0)
    network = ARCHITECTURES.make(name).build(8, 32).train()
    images, tap = torch.rand(4, 3, 32, 32), network.block_names[:1]
    run = compiled(network, "cpu")
    torch.manual_seed(1)
    answers = run(images, tap)
    torch.manual_seed(1)
    plain = network(images, tap)
    assert torch.equal(answers.logits, plain.logits) and torch.equal(answers.taps[tap[0]], plain.taps[tap[0]])


def test_a_gpu_replays_passes_and_a_cpu_compiles_them(by_torch: list[dict[str, object]]) -> None:
    for device in ("cpu", "cuda:0"):
        compiled(nn.Linear(2, 2), device)
    assert [how["mode"] for how in by_torch] == ["default", "reduce-overhead"]


@pytest.mark.parametrize("name", ["none", "bido", "mid", "trap_mid", "nls", "midre"])
def test_a_compiled_training_moves_the_same_weights(name: str, fit: Fit, by_torch: list[dict[str, object]]) -> None:
    def trained(**recipe: object) -> dict[str, Tensor]:
        defense = DEFENSES.make(name)
        model = ARCHITECTURES.make("vgg16_tiny")
        torch.manual_seed(0)
        prepared = defense.prepare_model(model.build(8, 32), inputs=None)  # type: ignore[arg-type]
        prepared.head = defense.prepare_head(prepared.head)
        return fit(prepared, defense, epochs=2, **recipe)[0].state_dict()

    plain = trained()
    assert not by_torch
    graphs = trained(compiled=True)
    assert len(by_torch) == 1
    assert plain.keys() == graphs.keys() and all(torch.equal(plain[key], graphs[key]) for key in plain)


def test_more_networks_than_the_compiler_remembers(by_torch: list[dict[str, object]]) -> None:
    """A worker trains one network after the other; PyTorch gives up on a function after eight."""
    for width in range(12):
        compiled(nn.Sequential(*[nn.Linear(3, 3) for _ in range(width + 1)]), "cpu")(torch.zeros(2, 3))


def test_several_processes_are_refused(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    run = partial(training._run_of, ARCHITECTURES.make("vgg16_tiny").build(8, 32), device="cpu", world=World(0, 2))
    with pytest.raises(SpecError, match="a compiled training needs one process, not 2; set train_workers to 1"):
        run(TrainingRecipe(compiled=True))


def test_the_key_of_a_training_that_is_not_compiled_stays() -> None:
    from midef.core.canonical import plain

    assert "compiled" not in plain(TrainingRecipe()) and plain(TrainingRecipe(compiled=True))["compiled"] is True


def test_optimizers_on_a_cpu_are_never_fused() -> None:
    weight = nn.Parameter(torch.zeros(2))
    for name in ("sgd", "adam", "adamw"):
        assert not make_optimizer([weight], TrainingRecipe(optimizer=name, compiled=True)).defaults["fused"]


def test_dp_sgd_switches_it_off() -> None:
    planned = {"compiled": True, "epochs": 3}
    assert not TrainingRecipe.make({**planned, **DEFENSES.make("dp_sgd").training_overrides(planned)}).compiled


def test_tf32_lasts_for_the_training(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    step = descent.Descent.__call__

    def noting(*given: object) -> Tensor:
        seen.append(torch.get_float32_matmul_precision())
        return step(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(descent.Descent, "__call__", noting)
    fit(epochs=1, precision="tf32")
    assert set(seen) == {"high"} and torch.get_float32_matmul_precision() == "highest"
