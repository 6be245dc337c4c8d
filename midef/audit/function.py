"""A Python function that is audited as an endpoint is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from midef.audit.answers import AnswerStore
from midef.audit.black_box import BlackBox
from midef.audit.contract import AnswerKind, Pixels
from midef.core.errors import EndpointError


class Function(BlackBox):
    """A Python function in the place of a model: `images [B, 3, H, W] -> scores [B, K]`, logits, or labels [B].

    Args:
        function: gives a tensor or an array, or an object with `logits`.
        name: says which model this is; nobody can check it.
        store: of answers.
        answers: what the function gives; of `logits` the softmax is taken.
        device: of the images that it is given.
        options: of `BlackBox`.
    """

    def __init__(
        self,
        function: Callable[[Tensor], Any],
        *,
        name: str,
        store: AnswerStore,
        answers: Literal["scores", "logits", "labels"] = "scores",
        device: str = "cpu",
        **options: Any,
    ) -> None:
        kind: AnswerKind = "scores" if answers == "logits" else answers
        source = _Call(function, is_logits=answers == "logits", device=device)
        super().__init__(source, name=name, store=store, answers=kind, **options)


@dataclass(frozen=True)
class _Call:
    """Asks a function.

    Args:
        is_logits: its answers are logits.
        device: of the images that it is given.
    """

    function: Callable[[Tensor], Any]
    is_logits: bool
    device: str

    @property
    def contract(self) -> str:
        return "python-logits" if self.is_logits else "python"

    @property
    def where(self) -> str:
        return "a Python function"

    def __call__(self, pixels: Pixels, digests: Sequence[bytes], answers: AnswerKind) -> tuple[Any, int | None]:
        images = torch.from_numpy(pixels).to(self.device).float() / 255
        try:
            given = self.function(images)
        except Exception as error:
            raise EndpointError(f"the function raised {type(error).__name__}: {error}", failure="bug") from error
        try:
            values = torch.as_tensor(getattr(given, "logits", given)).detach().cpu()
        except (TypeError, ValueError, RuntimeError) as error:
            got = type(given).__name__
            raise EndpointError(
                f"expected the function to give a tensor or an array, got {got}", failure="data"
            ) from error
        if self.is_logits and values.ndim == 2:
            is_finite = torch.isfinite(values).all(dim=1, keepdim=True)
            values = torch.where(is_finite, values.float().softmax(dim=1), torch.nan)
        if values.is_floating_point():
            values = values.double()
        return values.numpy(), None
