"""Stage: train what the defender of answers prepares on his own public images: inversion network, VAE, purifier."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from midef.attacks.access import AccessLevel
from midef.attacks.target_handle import TargetHandle
from midef.core.recipe import Inputs, Recipe
from midef.core.seeds import derive_seed
from midef.datasets import Splits
from midef.defenses.families.alignment import Substitute
from midef.defenses.families.substitutes import INVERTER, PURIFIER, VAE
from midef.nn.answer_networks import PerturbationVae, Purifier
from midef.nn.answers import IMAGE_LOSSES, score_features
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

HALVES = {"all": slice(None), "first": slice(0, None, 2), "second": slice(1, None, 2)}
"""Which of the public images are the defender's own: `first` and `second` are disjoint."""


@dataclass(frozen=True, kw_only=True)
class Own:
    """What a defender trains on.

    Args:
        answers, images: of his half of the public images that are fitted.
        held_answers, held_images: of the held-out split.
        handle: the target whose answers he changes, as he sees them.
    """

    recipe: Recipe
    answers: Tensor
    images: Tensor
    held_answers: Tensor
    held_images: Tensor
    handle: TargetHandle
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
    seed = derive_seed("substitute", spec.seed)
    torch.manual_seed(derive_seed("answers", seed))  # for a head that samples when it answers
    own = _own(recipe, public, handle, TrainingRun(seed=seed, device=context.device, report=context.report))
    torch.manual_seed(derive_seed("weights", seed))
    private = load_splits(ensure(target.inputs["private"], context))
    return _BUILDERS[recipe.component](own, private, inputs, folder)


def _own(recipe: Recipe, public: Splits, handle: TargetHandle, run: TrainingRun) -> Own:
    half = HALVES[recipe.params["half"]]
    images = torch.cat([public.train.images, public.report.images])[half]
    held = public.select.images
    return Own(
        recipe=recipe,
        answers=_answers(handle, images),
        images=images,
        held_answers=_answers(handle, held),
        held_images=held,
        handle=handle,
        run=run,
    )


def _answers(handle: TargetHandle, images: Tensor) -> Tensor:
    return torch.cat([scores.cpu() for scores in handle.in_chunks(handle.scores, images)])


def _inverter(own: Own, private: Splits, inputs: Inputs, folder: Path) -> dict[str, Any]:
    params = own.recipe.params
    network = _fresh_inverter(own.recipe, own.handle.n_classes)
    pairs = AnsweredImages(
        answers=score_features(own.answers),
        images=own.images,
        held_answers=score_features(own.held_answers),
        held_images=own.held_images,
    )
    settings = InverterSettings(
        epochs=params["epochs"], batch_size=params["batch"], learning_rate=params["rate"], checkpoint="last"
    )
    loss = IMAGE_LOSSES[params["loss"]]
    facts = fit_inverter(network, pairs, settings, own.run, loss=lambda drawn, images: loss(drawn, images).mean())
    freeze_(network)
    substitute = Substitute(network, params["loss"])
    seen = _answers(own.handle, private.train.images)
    gradient = target_gradient(substitute, seen, private.train.images)
    _save(network.state_dict(), folder / f"{INVERTER}.safetensors")
    _save(gradient, folder / "gradient.safetensors")
    return {**facts, "gradient_norm": float(torch.stack([g.square().sum() for g in gradient.values()]).sum().sqrt())}


def _fresh_inverter(recipe: Recipe, n_classes: int) -> TransposedCnn:
    params = recipe.params
    resolution_px = int(recipe.inputs["public"].params["resolution_px"])
    own_px = drawn_for(resolution_px)
    return TransposedCnn(n_classes, own_px, params["width"], params["blocks"], shown_px=resolution_px)


def _vae(own: Own, private: Splits, inputs: Inputs, folder: Path) -> dict[str, Any]:
    params, taught = own.recipe.params, own.recipe.inputs[INVERTER]
    network = PerturbationVae(own.handle.n_classes, params["hidden"], params["latent"])
    inverter = _fresh_inverter(taught, own.handle.n_classes)
    inverter.load_state_dict(read_stored(inputs.path(INVERTER) / f"{INVERTER}.safetensors"))
    freeze_(inverter)
    substitute = Substitute(inverter.to(own.run.device), taught.params["loss"])
    facts = fit_perturbation_vae(network, substitute, own.answers, own.images, params, own.run)
    _save(network.state_dict(), folder / f"{VAE}.safetensors")
    return facts


def _purifier(own: Own, private: Splits, inputs: Inputs, folder: Path) -> dict[str, Any]:
    params = own.recipe.params
    network = Purifier(own.handle.n_classes, params["hidden"], params["narrow"])
    facts = fit_purifier(network, own.answers, params, own.run)
    _save(network.state_dict(), folder / f"{PURIFIER}.safetensors")
    return facts


_BUILDERS: Mapping[str, Callable[[Own, Splits, Inputs, Path], dict[str, Any]]] = {
    INVERTER: _inverter,
    VAE: _vae,
    PURIFIER: _purifier,
}


def _save(tensors: Mapping[str, Tensor], path: Path) -> None:
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)
