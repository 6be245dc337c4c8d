"""Resumable state of a training between epochs. Temporary: it is no artifact, and nothing depends on it."""

from __future__ import annotations

import json
import logging
import os
import pickle
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Found:
    """epoch: the next one to train; best: weights kept so far; companion: of the defense."""

    epoch: int
    model: dict[str, Tensor]
    optimizer: dict[str, Any]
    best: dict[str, Tensor] | None
    report: dict[str, Any]
    companion: dict[str, Any]


class Checkpointer:
    """Writes `state.pt` (read back with `weights_only=True`) by rename, at most every `every_s` seconds."""

    def __init__(self, folder: Path, *, every_s: float = 60.0) -> None:
        self.folder = folder
        self.every_s = every_s
        self._last = time.monotonic()

    @property
    def path(self) -> Path:
        return self.folder / "state.pt"

    def save(
        self,
        epoch: int,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        best: dict[str, Tensor] | None,
        report: dict[str, Any],
        companion: dict[str, Any] | None = None,
    ) -> None:
        """Keep the state, if the last one is old enough."""
        if time.monotonic() - self._last < self.every_s:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.folder / f".state-{os.getpid()}.pt"
        weights = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "best": best}
        state = {"epoch": epoch, **weights, "report": json.dumps(report), "companion": companion or {}}
        try:
            torch.save(state, part)
            part.replace(self.path)
        except (RuntimeError, OSError) as error:  # a full disk, mostly: the training itself is fine
            part.unlink(missing_ok=True)
            log.warning("no checkpoint was kept in %s (%s); a kill now loses this training", self.folder, error)
        self._last = time.monotonic()

    def load(self, device: str) -> Found | None:
        """The state kept last; None if there is none or it cannot be read (it is then started anew, with a warning)."""
        if not self.path.exists():
            return None
        try:
            state = torch.load(self.path, map_location=device, weights_only=True)
            report = json.loads(state["report"])
            return Found(state["epoch"], state["model"], state["optimizer"], state["best"], report, state["companion"])
        except (RuntimeError, OSError, KeyError, ValueError, EOFError, pickle.UnpicklingError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            log.warning("the checkpoint %s cannot be read (%s); training starts from the beginning", self.path, reason)
            return None

    def clear(self) -> None:
        """Remove what was kept, once the training is published."""
        for kept in (self.path, *self.folder.glob(".state-*.pt")):
            kept.unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()
