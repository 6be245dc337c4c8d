"""A step is a function of tensors: the same numbers as the plain loop, and one graph that nothing interrupts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from midef.attacks import ATTACKS, Reconstructions
from midef.attacks.latent_search.captured import CapturedStep, Outcome
from midef.attacks.latent_search.template import LatentSearch
from midef.attacks.target_handle import TargetHandle
from midef.core import Inputs
from midef.defenses import Defense
from midef.testing.attacks import Stored, small, storing, task_of, toy_target

SEARCHES = [name for name in ATTACKS.names() if issubclass(ATTACKS.get(name), LatentSearch)]
NOT_TRACED = {"vmi": "the compiler traces into the cache of its permutations, which are drawn by a generator"}


@pytest.fixture(scope="module")
def stored_priors(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return storing(tmp_path_factory.mktemp)


def adaptive(name: str) -> LatentSearch:
    """With erased squares, so that a step draws more than its attack does."""
    attack = small(name)
    assert isinstance(attack, LatentSearch)
    return replace(attack, erase_low=0.2, erase_high=0.4)


def searched(attack: LatentSearch, inputs: Inputs, device: str = "cpu") -> tuple[Reconstructions, int]:
    handle = TargetHandle(toy_target(), Defense(), attack.access, device=device)
    return attack.reconstruct(handle, inputs, replace(task_of([3, 0]), device=device)), handle.queries


def check_equal(plain: tuple[Reconstructions, int], captured: tuple[Reconstructions, int]) -> None:
    (found, queries), (again, asked) = plain, captured
    assert torch.equal(found.images, again.images) and queries == asked
    assert found.traces is not None and again.traces is not None
    assert found.traces.steps.tolist() == again.traces.steps.tolist()
    for name, values in found.traces.series.items():
        assert (values == again.traces.series[name]).all(), name


@pytest.mark.parametrize("name", SEARCHES)
def test_a_captured_search_is_the_same_to_the_bit(name: str, stored_priors: Stored) -> None:
    attack = adaptive(name)
    inputs = stored_priors(attack)
    check_equal(searched(attack, inputs), searched(replace(attack, captured=True), inputs))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", SEARCHES)
def test_a_graph_repeats_what_the_loop_computes(name: str, stored_priors: Stored) -> None:
    attack = adaptive(name)
    inputs = stored_priors(attack)
    (found, queries), (again, asked) = (
        searched(replace(attack, captured=captured), inputs, "cuda") for captured in (False, True)
    )
    assert torch.allclose(found.images, again.images, atol=1e-3) and queries == asked


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SEARCHES if name not in NOT_TRACED])
def test_a_step_is_one_graph_with_the_same_results(
    name: str, stored_priors: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`fullgraph` refuses whatever reads a number of a tensor or leaves the tensors in another way."""
    attack, compared = replace(adaptive(name), captured=True), list[bool]()
    function = CapturedStep.function

    def traced(self: CapturedStep, values: list[Tensor], draws: Sequence[Tensor]) -> Outcome:
        expected = function(self, values, draws)
        if not compared:
            torch._dynamo.reset()
            with torch._dynamo.config.patch(trace_autograd_ops=True):
                one = torch.compile(lambda *given: function(self, *given), backend="eager", fullgraph=True)
                found = one(values, draws)
            pairs = [(found.loss, expected.loss), *zip(found.slopes, expected.slopes, strict=True)]
            pairs += zip(found.confidences, expected.confidences, strict=True)
            compared.extend(torch.equal(*pair) for pair in pairs)
        return expected

    monkeypatch.setattr(CapturedStep, "function", traced)
    searched(attack, stored_priors(attack))
    assert compared and all(compared)


def test_it_is_in_no_key_unless_it_is_asked_for() -> None:
    plain, asked = (ATTACKS.describe(ATTACKS.make("gmi", {"captured": captured})) for captured in (False, True))
    assert "captured" not in str(plain.keyed) and "captured" in str(asked.keyed)
