"""What a defense makes of probabilities, on every device and from several threads at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import RLock
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from midef.attacks.target_handle import CHUNK
from midef.defenses import Defense
from midef.defenses.serving import Answering, Query, Serving, answered
from midef.guard.artifacts import Files, as_folders
from midef.guard.defense import takes_gradients
from midef.stages.substitute import Ask


@torch.library.custom_op(
    "midef::image_streams",
    mutates_args=(),
    schema="(Tensor images, Tensor like, int columns, int secret, bool normal) -> Tensor",
)
def _streams(images: Tensor, like: Tensor, columns: int, secret: int, normal: bool) -> Tensor:
    """What a query draws for its images; an operation that a compiled graph calls and does not look into."""
    query = Query(images, like, like.argmax(dim=1), secret)
    return query.normal(columns) if normal else query.uniform(columns)


@_streams.register_fake
def _(images: Tensor, like: Tensor, columns: int, secret: int, normal: bool) -> Tensor:
    return like.new_empty(len(images), columns)


class GraphQuery(Query):
    """A query inside of a compiled graph; the streams of its images are drawn in Python."""

    @override
    def normal(self, columns: int) -> Tensor:
        drawn: Tensor = _streams(self.images, self.probabilities, columns, self.secret, True)
        return drawn

    @override
    def uniform(self, columns: int) -> Tensor:
        drawn: Tensor = _streams(self.images, self.probabilities, columns, self.secret, False)
        return drawn


class Answers:
    """Answers of a defense whose artifacts are held in memory; loaded once for each device that images come on.

    Args:
        files: of its artifacts by role.
        secret: seeds the random streams.
        compiling: options of `torch.compile` for the tensor operations; None leaves them as they are.
    """

    def __init__(
        self,
        defense: Defense,
        files: Mapping[str, Files],
        secret: int,
        compiling: Mapping[str, Any] | None = None,
    ) -> None:
        self._defense = defense
        self._files = files
        self._secret = secret
        self._compiling = compiling
        self._takes_gradients = bool(takes_gradients(defense))
        self._servings: dict[str, Serving] = {}
        self._lock = RLock()

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def __call__(self, images: Tensor, probabilities: Tensor) -> Tensor:
        """Served probabilities [B, K] for images [B, 3, H, W] and what the network says of them [B, K], in float32."""
        serving = self._on(images, probabilities.shape[1])
        with torch.autocast(images.device.type, enabled=False):
            if not self._takes_gradients:
                return serving(images, probabilities)
            # torch.func.functional_call puts other tensors into the substitute while it differentiates: one at a time.
            with self._lock:
                return serving(images, probabilities)

    def _on(self, images: Tensor, classes: int) -> Serving:
        device = str(images.device)
        with self._lock:
            if device not in self._servings:
                with as_folders(self._files) as path:
                    serving = Serving(
                        self._defense,
                        classes,
                        device=device,
                        path=path,
                        secret=self._secret,
                        answering=answered if self._compiling is None else _compiled(self._compiling),
                    )
                    serving.states(images.shape[-1])
                self._servings[device] = serving
            return self._servings[device]

    @override
    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None, "_servings": {}}  # for copies; a lock cannot be copied

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update({**state, "_lock": RLock()})


def _compiled(options: Mapping[str, Any]) -> Answering:
    """A part's answer as one compiled graph."""

    def answer(part: Defense, query: Query, state: Any) -> Tensor:
        return part.answer(query, state)

    run: Answering = torch.compile(answer, fullgraph=True, **options)

    def outside(part: Defense, query: Query, state: Any) -> Tensor:
        answers = run(part, GraphQuery(query.images, query.probabilities, query.labels, query.secret), state)
        if part.keeps_labels and not torch.equal(answers.argmax(dim=1), query.probabilities.argmax(dim=1)):
            return part.answer(query, state)  # a fused operation rounded a tie the other way
        return answers

    return outside


def asking(network: Callable[[Tensor], Tensor], answers: Answers, device: torch.device) -> Ask:
    """The network behind a defense, as its defender asks it.

    Args:
        network: probabilities [B, K] for images [B, 3, H, W] in [0, 1] on the device.
    """

    @torch.no_grad()
    def ask(images: Tensor) -> Tensor:
        parts = [part.to(device).float() / 255 for part in images.split(CHUNK)]
        return torch.cat([answers(part, network(part)).cpu() for part in parts])

    return ask
