"""Stage: train what the defender of answers prepares on his own public images: inversion network, VAE, purifier."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from midef.attacks.access import AccessLevel
from midef.attacks.target_handle import TargetHandle
from midef.core.recipe import Inputs, Recipe
from midef.core.seeds import derive_seed
from midef.datasets.base import half_of
from midef.defenses.families.alignment import Substitute
from midef.defenses.families.substitutes import INVERTER, PURIFIER, VAE
from midef.nn.answer_networks import PerturbationVae, Purifier
from midef.nn.answers import mean_loss, score_features
from midef.nn.doubling import drawn_for
from midef.nn.inversion import TransposedCnn
from midef.nn.network import freeze_
from midef.nn.weights import read_stored
from midef.stages.build import BuildContext, ensure
from midef.stages.handle import handle_of
from midef.stages.split import load as load_splits
from midef.stages.target import TargetSpec
from midef.stages.target import load as load_target
from midef.training.generative.inverter import AnsweredImages, InverterSettings, fit_inverter
from midef.training.generative.loop import TrainingRun
from midef.training.generative.substitutes import fit_perturbation_vae, fit_purifier, target_gradient

Ask = Callable[[Tensor], Tensor]
"""Answers [N, K], on the CPU, to images [N, 3, H, W] uint8."""


@dataclass(frozen=True, kw_only=True)
class DefendersImages:
    """Images [N, 3, H, W] uint8 of one size that a defender has.

    Args:
        public: fitted, as far as they are of his half.
        held: public images that are not fitted, to measure by, as far as they are of his half.
        private: those that the target was trained on, asked for where a substitute needs them.
    """

    public: Tensor
    held: Tensor
    private: Callable[[], Tensor]


@dataclass(frozen=True, kw_only=True)
class Own:
    """What a defender trains on.

    Args:
        answers, images: of his half of the public images that are fitted.
        held_answers, held_images: of his half of the held-out ones.
        ask: the target whose answers he changes, as he sees them.
    """

    recipe: Recipe
    answers: Tensor
    images: Tensor
    held_answers: Tensor
    held_images: Tensor
    private: Callable[[], Tensor]
    ask: Ask
    n_classes: int
    run: TrainingRun

    @property
    def resolution_px(self) -> int:
        return int(self.recipe.inputs["public"].params["resolution_px"])


def build(recipe: Recipe, inputs: Inputs, context: BuildContext, folder: Path) -> dict[str, Any]:
    """Write `<component>.safetensors`; of an inversion network `gradient.safetensors` too, what answers shall teach.

    Raises:
        TrainingDiverged: if a loss or a weight is not finite.
    """
    target = recipe.inputs["target"]
    spec = TargetSpec.of(target)
    trained = inputs.path("target")  # built here where it is not yet, before its facts are read
    n_classes = int(context.store.artifacts.meta(target.key)["facts"]["classes"])
    model = load_target(spec, trained, context, n_classes)
    handle = handle_of(spec, model, AccessLevel.SCORES, context)
    public = load_splits(inputs.path("public"))
    own = DefendersImages(
        public=torch.cat([public.train.images, public.report.images]),
        held=public.select.images,
        private=lambda: load_splits(ensure(target.inputs["private"], context)).train.images,
    )
    run = TrainingRun(seed=derive_seed("substitute", spec.seed), device=context.device, report=context.report)
    return train(recipe, own, partial(_scores, handle), handle.n_classes, inputs, run, folder)


def train(
    recipe: Recipe, images: DefendersImages, ask: Ask, n_classes: int, inputs: Inputs, run: TrainingRun, folder: Path
) -> dict[str, Any]:
    """Train a substitute and write `<component>.safetensors`; of an inversion network `gradient.safetensors` too.

    It seeds the global generator.

    Args:
        recipe: of the substitute, with `resolution_px` among the parameters of its input `public`.
        ask: the target behind the defense.
        inputs: folders of what the recipe starts from that are substitutes themselves.

    Raises:
        TrainingDiverged: if a loss or a weight is not finite.
    """
    torch.manual_seed(derive_seed("answers", run.seed))  # for a head that samples when it answers
    fitted, held = half_of(images.public, images.held, recipe.params["half"])
    own = Own(
        recipe=recipe,
        answers=ask(fitted),
        images=fitted,
        held_answers=ask(held),
        held_images=held,
        private=images.private,
        ask=ask,
        n_classes=n_classes,
        run=run,
    )
    torch.manual_seed(derive_seed("weights", run.seed))
    return _BUILDERS[recipe.component](own, inputs, folder)


def _scores(handle: TargetHandle, images: Tensor) -> Tensor:
    return torch.cat([scores.cpu() for scores in handle.in_chunks(handle.scores, images)])


def _inverter(own: Own, inputs: Inputs, folder: Path) -> dict[str, Any]:
    params, private = own.recipe.params, own.private()
    network = _fresh_inverter(own.recipe, own.n_classes)
    pairs = AnsweredImages(
        answers=score_features(own.answers),
        images=own.images,
        held_answers=score_features(own.held_answers),
        held_images=own.held_images,
    )
    settings = InverterSettings(
        epochs=params["epochs"], batch_size=params["batch"], learning_rate=params["rate"], checkpoint="last"
    )
    facts = fit_inverter(network, pairs, settings, own.run, loss=mean_loss(params["loss"]))
    freeze_(network)
    substitute = Substitute(network, params["loss"])
    gradient = target_gradient(substitute, own.ask(private), private)
    _save(network.state_dict(), folder / f"{INVERTER}.safetensors")
    _save(gradient, folder / "gradient.safetensors")
    return {**facts, "gradient_norm": float(torch.stack([g.square().sum() for g in gradient.values()]).sum().sqrt())}


def _fresh_inverter(recipe: Recipe, n_classes: int) -> TransposedCnn:
    params = recipe.params
    resolution_px = int(recipe.inputs["public"].params["resolution_px"])
    own_px = drawn_for(resolution_px)
    return TransposedCnn(n_classes, own_px, params["width"], params["blocks"], shown_px=resolution_px)


def _vae(own: Own, inputs: Inputs, folder: Path) -> dict[str, Any]:
    params, taught = own.recipe.params, own.recipe.inputs[INVERTER]
    network = PerturbationVae(own.n_classes, params["hidden"], params["latent"])
    inverter = _fresh_inverter(taught, own.n_classes)
    inverter.load_state_dict(read_stored(inputs.path(INVERTER) / f"{INVERTER}.safetensors"))
    freeze_(inverter)
    substitute = Substitute(inverter.to(own.run.device), taught.params["loss"])
    facts = fit_perturbation_vae(network, substitute, own.answers, own.images, params, own.run)
    _save(network.state_dict(), folder / f"{VAE}.safetensors")
    return facts


def _purifier(own: Own, inputs: Inputs, folder: Path) -> dict[str, Any]:
    params = own.recipe.params
    network = Purifier(own.n_classes, params["hidden"], params["narrow"])
    facts = fit_purifier(network, own.answers, params, own.run)
    _save(network.state_dict(), folder / f"{PURIFIER}.safetensors")
    return facts


_BUILDERS: Mapping[str, Callable[[Own, Inputs, Path], dict[str, Any]]] = {
    INVERTER: _inverter,
    VAE: _vae,
    PURIFIER: _purifier,
}


def _save(tensors: Mapping[str, Tensor], path: Path) -> None:
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)
