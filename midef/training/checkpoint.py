"""Resumable state of a training between epochs. Temporary: it is no artifact, and nothing depends on it."""

from __future__ import annotations

import io
import json
import logging
import os
import pickle
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from midef.core.errors import DamagedFile, StoreError
from midef.storage.location import Location
from midef.storage.seals import stamp, unstamped
from midef.training.data_parallel import World, from_first

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SavedState:
    """Resumable state of a training, as read.

    Args:
        epoch: the next one to train.
        best: weights with the best accuracy on the select split so far.
        training_state: of the defense.
    """

    epoch: int
    model: dict[str, Tensor]
    optimizer: dict[str, Any]
    best: dict[str, Tensor] | None
    report: dict[str, Any]
    training_state: dict[str, Any]


class Checkpointer:
    """Writes `state.pt` (read back with `weights_only=True`) by rename, at most every `every_s` seconds.

    Args:
        folder: on this machine, named after the artifact.
        home: an object store that gets a copy, so that another machine can go on where this one died:
            `checkpoints/<name of the folder>/state.pt`.
    """

    def __init__(self, folder: Path, *, every_s: float = 60.0, home: Location | None = None) -> None:
        self.folder = folder
        self.every_s = every_s
        self.home = home
        self._last = time.monotonic()

    @property
    def path(self) -> Path:
        return self.folder / "state.pt"

    @property
    def path_at_home(self) -> str:
        return f"checkpoints/{self.folder.name}/state.pt"

    def save(
        self,
        epoch: int,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        best: dict[str, Tensor] | None,
        report: dict[str, Any],
        training_state: dict[str, Any] | None = None,
    ) -> None:
        """Keep the state, if the last one is old enough."""
        if time.monotonic() - self._last < self.every_s:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.folder / f".state-{os.getpid()}.pt"
        weights = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "best": best}
        state = {"epoch": epoch, **weights, "report": json.dumps(report), "companion": training_state or {}}
        try:
            torch.save(state, part)
            stamp(part)  # torch.load reads a changed weight without a word
            part.replace(self.path)
        except (RuntimeError, OSError) as error:  # a full disk, mostly: the training itself is fine
            part.unlink(missing_ok=True)
            log.warning("no checkpoint was kept in %s (%s); a kill now loses this training", self.folder, error)
        else:
            self._send_home()
        self._last = time.monotonic()

    def _send_home(self) -> None:
        if self.home is None:
            return
        try:
            self.home.put(self.path_at_home, self.path.read_bytes())
        except (StoreError, OSError) as error:
            log.warning(
                "no checkpoint was kept in %s (%s); if this machine is lost, so is this training",
                self.home.shown,
                error,
            )

    def load(self, device: str, world: World | None = None) -> SavedState | None:
        """The state kept last; None if there is none or it cannot be read (it is then started anew, with a warning).

        Of a state here and one at home, the one that is further in the training: clocks of machines differ. Where
        several processes train, all call this, and all get the state of the first one.
        """
        world = world or World()
        newest, content = None, b""
        for where, candidate in self._everywhere() if world.rank == 0 else ():
            state = _read(candidate, device, where)
            if state is not None and (newest is None or state.epoch > newest.epoch):
                newest, content = state, candidate
        if world.size == 1:
            return newest
        content = from_first(content, device, world)
        return _read(content, device, "of the first worker") if content else None

    def _everywhere(self) -> Iterator[tuple[str, bytes]]:
        """Place and content of each stored state."""
        try:
            yield str(self.path), self.path.read_bytes()
        except FileNotFoundError:
            pass  # perhaps only now: another driver has stored this training
        except OSError as error:
            log.warning("the checkpoint %s cannot be read: %s", self.path, error)
        if self.home is not None:
            try:
                yield f"{self.home.shown}/{self.path_at_home}", self.home.get(self.path_at_home)
            except FileNotFoundError:
                return
            except DamagedFile as error:
                log.warning("the checkpoint %s cannot be read: %s", self.path_at_home, error)

    def clear(self) -> None:
        """Remove what was kept, once the training is published."""
        for file in (self.path, *self.folder.glob(".state-*.pt")):
            file.unlink(missing_ok=True)
        with suppress(OSError):  # not there, or another driver trains the same and keeps its state in it
            self.folder.rmdir()
        if self.home is not None:
            try:
                self.home.delete(self.path_at_home)
            except StoreError as error:  # the training is published: it did not fail
                log.warning("the checkpoint %s is left behind: %s", self.path_at_home, error)


def _read(content: bytes, device: str, where: str) -> SavedState | None:
    try:
        state = torch.load(io.BytesIO(unstamped(content)), map_location=device, weights_only=True)
        report = json.loads(state["report"])
        return SavedState(state["epoch"], state["model"], state["optimizer"], state["best"], report, state["companion"])
    except (DamagedFile, RuntimeError, OSError, KeyError, ValueError, EOFError, pickle.UnpicklingError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        log.warning("the checkpoint %s cannot be read (%s); training starts from the beginning", where, reason)
        return None
