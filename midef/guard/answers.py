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
from midef.defenses.serving import Serving
from midef.guard.artifacts import Files, as_folders
from midef.guard.defense import takes_gradients
from midef.stages.substitute import Ask


class Answers:
    """Answers of a defense whose artifacts are held in memory; loaded once for each device that images come on.

    Args:
        files: of its artifacts by role.
        secret: seeds the random streams.
    """

    def __init__(self, defense: Defense, files: Mapping[str, Files], secret: int) -> None:
        self._defense = defense
        self._files = files
        self._secret = secret
        self._takes_gradients = bool(takes_gradients(defense))
        self._servings: dict[str, Serving] = {}
        self._lock = RLock()

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
                    serving = Serving(self._defense, classes, device=device, path=path, secret=self._secret)
                    serving.states(images.shape[-1])
                self._servings[device] = serving
            return self._servings[device]

    @override
    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None, "_servings": {}}  # for copies; a lock cannot be copied

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update({**state, "_lock": RLock()})


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
