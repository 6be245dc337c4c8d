"""`Guard`: a module that answers with defended probabilities."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from typing_extensions import override

from midef.core.errors import PreflightError, SpecError
from midef.defenses import Defense, Stack, remake_defense
from midef.guard.answers import Answers, asking
from midef.guard.artifacts import Files, needs_private, prepare, roles_of
from midef.guard.defense import guarding, takes_gradients, warn_of_joint_answers
from midef.guard.images import ImageSource, checked_images, defenders_images, digest_of_images
from midef.guard.model import (
    Outputs,
    check_in_eval,
    check_probe,
    device_of,
    digest_of,
    probabilities_of,
    probe_of,
)
from midef.guard.saved import Record, read, write
from midef.stages.substitute import Ask, DefendersImages
from midef.training.generative.loop import Report

FEWEST_PUBLIC = 8
HELD_OUT = slice(None, None, 10)
"""Public images that nothing is fitted to."""
SECRET_BITS = 256
_LOG = logging.getLogger(__name__)


class Guard(nn.Module):
    """A trained classifier that answers through a defense: images [B, 3, H, W] or [3, H, W] -> probabilities.

    The answers are those of `midef.defenses.serving.Serving`, which sweeps attack. They carry no gradients. The same
    image gets the same answer in every batch, from every guard with this secret, up to the rounding of sums, which can
    decide a step of a search along gradients (docs/guard.md); not under a defense that answers jointly, of which the
    constructor warns. Several threads may ask at once.

    The model is put in eval mode and stays in it, whatever `train()` says; its weights are neither changed nor copied.

    Args:
        model: takes such images and normalises for itself; gives [B, K], or an object with `logits`.
        defense: as it is written in a sweep (`rounding`, `lpa(radius=0.002,alignment=per_query)`, `rounding+lpa`), a
            mapping, or a Defense. One that changes the training of a network is refused.
        outputs: what the model gives: `logits` or `probabilities`.
        secret: seeds the random streams of the answers. Drawn where none is given. Whoever knows it can compute what
            was drawn; two guards of one network with two secrets give two answers, which can be averaged.

    Raises:
        SpecError: with all that is wrong with the defense.
    """

    def __init__(
        self,
        model: nn.Module,
        defense: str | Mapping[str, Any] | Defense,
        *,
        outputs: Outputs = "logits",
        secret: int | None = None,
    ) -> None:
        super().__init__()
        self.defense, self.choice = guarding(defense)
        if outputs not in ("logits", "probabilities"):
            raise SpecError(f"expected outputs 'logits' or 'probabilities', got {outputs!r}")
        if secret is not None and (not isinstance(secret, int) or secret < 0):
            raise SpecError(f"expected a secret that is a whole number from 0 up, got {secret!r}")
        warn_of_joint_answers(self.defense)
        self.outputs: Outputs = outputs
        self.model = model
        self.classes: int | None = None
        self.resolution_px: int | None = None
        self.facts: Mapping[str, Any] = {}
        self._secret = secrets.randbits(SECRET_BITS) if secret is None else secret
        self._files: Mapping[str, Files] = {}
        self._answers = Answers(self.defense, {}, self._secret)
        self._prepared_for = ""
        self._seen: tuple[int, int] | None = None
        self.train(False)

    @property
    def needs(self) -> tuple[str, ...]:
        """Artifacts, `part.role`, that its answers need and `prepare` trains."""
        return tuple(roles_of(self.defense))

    @property
    def is_prepared(self) -> bool:
        """Whether it can answer."""
        return set(self.needs) <= set(self._files)

    def prepare(
        self,
        *,
        public: ImageSource,
        private: ImageSource | None = None,
        seed: int = 0,
        report: Report | None = None,
    ) -> Self:
        """Train what the answers need, on the device of the model; nothing where they need nothing. Returns the guard.

        Args:
            public: images of the kind that attackers can get; [N, 3, R, R] uint8 or in [0, 1], or a Dataset whose items
                are images or tuples that begin with one. Every tenth is only measured by.
            private: images that the model was trained on; needed by all that poison or attack an inversion network.
            seed: of the training.
            report: called with positions (`{"substitute": ..., "epoch": 3, "epochs": 100}`); None logs them.

        Raises:
            SpecError: if private images are missing, or there are too few public ones.
            DataError: if images are in another range.
            ShapeError: if they are no squares of one size.
            TrainingDiverged: if a training ended in numbers that are not finite.
        """
        if not self.needs:
            return self
        with torch.inference_mode(False):
            images = defenders_images(public, "public")
            own = None if private is None else defenders_images(private, "private")
            self._check_sizes(images, own)
            px, network, device = images.shape[-1], digest_of(self.model), self._device()
            is_held = torch.zeros(len(images), dtype=torch.bool)
            is_held[HELD_OUT] = True

            def behind(parts: tuple[Defense, ...], files: Mapping[str, Files]) -> Ask:
                return asking(self._probabilities, Answers(Stack(members=parts), files, self._secret), device)

            classes = behind((), {})(images[:1]).shape[1]
            prepared = prepare(
                self.defense,
                roles_of(self.defense, network=network, public=digest_of_images(images), resolution_px=px),
                DefendersImages(public=images[~is_held], held=images[is_held], private=lambda: _given(own)),
                behind,
                classes=classes,
                seed=seed,
                device=device,
                report=report or (lambda where: _LOG.info("%s", where)),
            )
        self.facts = prepared.facts
        self._take(prepared.files, classes, px, network)
        return self

    def compiled(self, **options: Any) -> Self:
        """A guard of the same model and with the same answers up to rounding, 1e-6, that runs compiled.

        Compiled are the network, and the tensor operations of the answers. Checks, and the random stream of each image
        (the sha256 of its pixels), stay in Python.

        Args:
            options: of `torch.compile`.

        Raises:
            SpecError: if the defense takes gradients to answer. `torch.compile(guard)` compiles the network alone, for
                any defense.
        """
        self._check_prepared()
        if names := takes_gradients(self.defense):
            raise SpecError(
                f"{' and '.join(names)} cannot be compiled: every answer is a search along gradients of an inversion "
                "network (second-order ones, where gradients are aligned), and torch.compile traces no "
                "torch.autograd.grad; torch.compile(guard) compiles the network alone"
            )
        model: Any = torch.compile(self.model, **options)
        guard = type(self)(model, self.defense, outputs=self.outputs, secret=self._secret)
        guard.facts = self.facts
        guard._take(self._files, self.classes, self.resolution_px, self._prepared_for)
        guard._answers = Answers(self.defense, self._files, self._secret, compiling=options)
        return guard

    def _take(self, files: Mapping[str, Files], classes: int | None, resolution_px: int | None, network: str) -> None:
        """Answer with these artifacts from now on."""
        self.classes, self.resolution_px, self._prepared_for = classes, resolution_px, network
        self._seen = None if resolution_px is None else (resolution_px, resolution_px)
        self._files, self._answers = files, Answers(self.defense, files, self._secret)

    def _check_sizes(self, public: Tensor, private: Tensor | None) -> None:
        """Refuse what cannot be prepared on."""
        problems = []
        if private is None and needs_private(roles_of(self.defense)):
            problems.append(
                f"{self.choice.label} needs `private`, images that the model was trained on: what its answers teach "
                "points away from them"
            )
        if len(public) < FEWEST_PUBLIC:
            problems.append(f"expected at least {FEWEST_PUBLIC} public images, got {len(public)}")
        if private is not None and private.shape[1:] != public.shape[1:]:
            problems.append(
                f"public images have {public.shape[-1]} px and private ones {private.shape[-1]}; resize one of the two"
            )
        if problems:
            raise SpecError(problems)

    def _check_prepared(self) -> None:
        if not self.is_prepared:
            raise SpecError(
                f"{self.choice.label} answers with the help of {', '.join(self.needs)}, which this guard has not; call "
                "guard.prepare(public=..., private=...) once, or Guard.load a guard that was saved"
            )

    @torch.no_grad()
    @override
    def forward(self, images: Tensor) -> Tensor:
        """Defended probabilities [B, K] in float32, or [K] for one image.

        Args:
            images: [B, 3, H, W] or [3, H, W], floating point in [0, 1], on the device of the model.

        Raises:
            SpecError: if the guard is not prepared, or the model was put in train mode.
            ShapeError: if images or outputs have another shape than they must.
            DataError: if images or outputs are in another range.
            MidefError: if outputs or answers are not finite.
        """
        self._check_prepared()
        batch = checked_images(images, self.resolution_px)
        with torch.inference_mode(False):
            batch = batch.clone() if batch.is_inference() else batch
            probabilities = self._probabilities(batch)
            self._seen = (batch.shape[2], batch.shape[3])
            answers: Tensor = self._answers(batch.float(), probabilities)
        return answers if images.ndim == 4 else answers[0]

    def _probabilities(self, images: Tensor) -> Tensor:
        """Probabilities [B, K] of the network."""
        check_in_eval(self.model)
        return probabilities_of(self.model(images), self.outputs, len(images), self.classes)

    def save(self, folder: str | Path) -> Path:
        """Write `guard.json`, `artifacts/*/*.safetensors` and, readable by this user alone, `secret.json`.

        The weights of the model are not in it. Returns the folder.

        Raises:
            SpecError: if the guard is not prepared, or the model is no longer the one that it was prepared for.
            DataError: if there is something in the folder already.
        """
        self._check_prepared()
        network = digest_of(self.model)
        if self._prepared_for not in ("", network):
            raise SpecError(
                "the model's weights have changed since the guard was prepared; call prepare again, or load the "
                "weights that it was prepared for"
            )
        record = Record(
            choice=self.choice,
            outputs=self.outputs,
            secret=self._secret,
            classes=self.classes,
            resolution_px=self.resolution_px,
            network_sha256=network,
            files=self._files,
            facts=self.facts,
            probe=None if self._seen is None else probe_of(self._probabilities, *self._seen, self._device()),
        )
        write(record, Path(folder))
        return Path(folder)

    @classmethod
    def load(cls, folder: str | Path, model: nn.Module, *, secret: int | None = None) -> Self:
        """The guard of a folder, before the model that it was saved for.

        Args:
            folder: that `save` wrote.
            model: with the weights that it had then, on any device.
            secret: in place of the stored one, where that is lost; answers that are drawn become other ones.

        Raises:
            PreflightError: with all that is missing or damaged or was made by another version, and if the model is
                another one.
        """
        record = read(Path(folder), secret=secret)
        network = digest_of(model)
        if network != record.network_sha256:
            raise PreflightError(
                f"{folder} guards a model whose state dict has the sha256 {record.network_sha256[:12]}, this one has "
                f"{network[:12]}; load the weights that it was saved with (same numbers, same type), or make and "
                "prepare a guard for this model"
            )
        guard = cls(model, remake_defense(record.choice), outputs=record.outputs, secret=record.secret)
        guard.facts = record.facts
        guard._take(record.files, record.classes, record.resolution_px, network)
        if record.probe is not None:
            check_probe(guard._probabilities, record.probe, guard._device())
        return guard

    def _device(self) -> torch.device:
        return device_of(self.model, torch.empty(0))

    @override
    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode, the model too: a guard does not learn."""
        return super().train(False)

    @override
    def extra_repr(self) -> str:
        jointly = ", answers depend on the other images of a call" if self.defense.answers_jointly else ""
        labels = "kept" if self.defense.keeps_labels else "may change"
        state = "prepared" if self.is_prepared else "not prepared"
        return f"defense={self.choice.label}, outputs={self.outputs}, labels {labels}{jointly}, {state}"


def _given(images: Tensor | None) -> Tensor:
    assert images is not None, "`needs_private` was asked"
    return images
