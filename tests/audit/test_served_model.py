"""The benchmark's server speaks the contract: a network through HTTP answers as it does here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import pytest
import torch
from audit.serve import server_of
from torch import Tensor, nn

from midef.audit.answers import AnswerStore
from midef.audit.endpoint import Endpoint
from midef.audit.function import Function
from midef.audit.source import Retries
from midef.core.errors import EndpointError
from tests.audit.conftest import CLASSES, Clock


@contextmanager
def served(model: Callable[[Tensor], Tensor], **options: Any) -> Iterator[str]:
    with server_of(model, **options) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/predict"
        server.shutdown()
        thread.join()


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(108, CLASSES)).eval()


@pytest.mark.parametrize("answers", ["scores", "labels"])
def test_an_endpoint_and_a_function_of_one_network_answer_alike(
    answers: str, model: nn.Module, store: AnswerStore, clock: Clock, images: Tensor
) -> None:
    def local(shown: Tensor) -> Tensor:
        logits: Tensor = model(shown)
        return logits if answers == "scores" else logits.argmax(dim=1)

    function = Function(
        local, name="m", store=store, answers="logits" if answers == "scores" else "labels", n_classes=4
    )
    with served(model, answers=answers, resolution_px=6, fail_every=2) as url:
        endpoint = Endpoint(
            url,
            name="m",
            store=store,
            answers=answers,
            batch_size=3,
            clock=clock,
            sleep=clock.sleep,  # type: ignore[arg-type]
        )
        assert torch.allclose(endpoint(images).double(), function(images).double(), atol=1e-6)
        assert endpoint.n_classes == CLASSES and endpoint.paid == 10 and len(clock.slept) >= 3


def test_it_says_what_it_does_not_take(model: nn.Module, store: AnswerStore, images: Tensor) -> None:
    with served(model, answers="labels", resolution_px=6, digits=3) as url:
        for wrong, said in ((url.replace("predict", "x"), "status 404"), (url, "status 400")):
            with pytest.raises(EndpointError, match=said):
                Endpoint(wrong, name="m", store=store, retries=Retries(most=0))(images)
