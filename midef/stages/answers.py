"""What the target of a cell answers to private images, and what it would without its defense."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from midef.attacks.access import AccessLevel
from midef.attacks.target_handle import TargetHandle
from midef.core.recipe import Inputs, Recipe
from midef.core.seeds import derive_seed
from midef.datasets import Splits
from midef.defenses.stack import remake_defense
from midef.metrics.base import Evidence, ScoreAnswers, compares_answers
from midef.metrics.confidence_distortion import score_distances
from midef.metrics.pairs import squared_errors
from midef.nn.network import TargetModel
from midef.stages.attack import OBSERVED, AttackSpec, observed_scores, victims
from midef.stages.build import BuildContext
from midef.stages.handle import SERVED_AT_ONCE, handle_of, served_scores
from midef.stages.recipes import NO_DEFENSE, UNDEFENDED
from midef.stages.target import TargetSpec
from midef.stages.target import load as load_target
from midef.storage.arrays import read_arrays

if TYPE_CHECKING:
    from midef.stages.scores import ScoresSpec


def score_answers(
    recipe: Recipe, inputs: Inputs, context: BuildContext, spec: ScoresSpec, *, model: TargetModel, splits: Splits
) -> ScoreAnswers | None:
    """Served and undefended scores of the images whose answers were observed, or of the private report split.

    None where no metric compares answers, or the attack sees labels alone.

    Args:
        recipe: of the scores.
        inputs: of the scores.
        model: network of the target.
        splits: of the private data.
    """
    if not compares_answers(spec.metrics) or spec.access < AccessLevel.SCORES:
        return None
    served = handle_of(spec.target, model, AccessLevel.SCORES, context)
    undefended = _undefended(recipe, inputs, context, spec, model)
    if not spec.is_of_pairs:
        images, seed = splits.report.images.float() / 255, derive_seed("served", spec.attack_seed)
        asked = [served_scores(handle, images, seed=seed, at_once=SERVED_AT_ONCE) for handle in (served, undefended)]
        return _answers(splits.report.labels, *asked, are_observed=False)
    attack, folder = AttackSpec.of(recipe.inputs["reconstructions"]), inputs.path("reconstructions")
    made = read_arrays(folder / "images.npz", ("labels", "restarts"))
    labels, restarts = (torch.from_numpy(made[name].astype(np.int64)) for name in ("labels", "restarts"))
    seen = victims(splits, attack.victims, labels, restarts)
    if (folder / OBSERVED).exists():
        given = torch.from_numpy(read_arrays(folder / OBSERVED, ("scores",))["scores"])
    else:  # attacked before the answers were stored
        given = observed_scores(served, seen, attack.seed)
    return _answers(labels, given, observed_scores(undefended, seen, attack.seed), are_observed=True)


def per_image(evidence: Evidence) -> dict[str, np.ndarray]:
    """Arrays that are stored of an attack on answers.

    Of pairs `reconstruction_errors`, pixels in [0, 1]; where answers are compared, `distortions` and the identities of
    the images asked about, `answered_labels`; of observed images both scores, `served_scores` and `undefended_scores`.
    """
    kept: dict[str, np.ndarray] = {}
    if evidence.images is not None and evidence.originals is not None:
        kept["reconstruction_errors"] = squared_errors(evidence.images, evidence.originals)
    if (answers := evidence.answers) is None:
        return kept
    kept |= {"answered_labels": answers.labels, "distortions": score_distances(answers.served, answers.undefended)}
    if answers.are_observed:
        kept |= {"served_scores": answers.served, "undefended_scores": answers.undefended}
    return kept


def _answers(labels: torch.Tensor, served: torch.Tensor, undefended: torch.Tensor, **how: Any) -> ScoreAnswers:
    return ScoreAnswers(labels=labels.numpy(), served=served.numpy(), undefended=undefended.numpy(), **how)


def _undefended(
    recipe: Recipe, inputs: Inputs, context: BuildContext, spec: ScoresSpec, model: TargetModel
) -> TargetHandle:
    """The target without its defense: another network only where the defense changes the training."""
    if UNDEFENDED in recipe.inputs:
        plain = TargetSpec.of(recipe.inputs[UNDEFENDED])
        network = load_target(plain, inputs.path(UNDEFENDED), context, model.n_classes)
    else:
        plain, network = replace(spec.target, defense=remake_defense(NO_DEFENSE)), model
    return handle_of(plain, network, AccessLevel.SCORES, context)
