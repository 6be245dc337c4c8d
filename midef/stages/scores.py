"""Stage: evaluate the reconstructions of one cell and measure everything about it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from midef.attacks import ATTACKS, AccessLevel
from midef.core.errors import MidefError, NotApplicable, TooFewSamples
from midef.core.failure import Failure
from midef.core.outcomes import digest_of
from midef.core.position import share
from midef.core.recipe import Inputs, Recipe
from midef.core.seeds import derive_seed
from midef.datasets import Images, Splits
from midef.metrics import METRICS, Evidence
from midef.metrics.attack_accuracy import best_classes, top_k_hits
from midef.metrics.base import asks_network, asks_target, needs_traits, percent_of_hits
from midef.metrics.knn_distance import distances_to_nearest
from midef.nn.network import TargetModel
from midef.stages.answers import per_image, score_answers
from midef.stages.attack import repeated_victims, victims, victims_of
from midef.stages.build import BuildContext
from midef.stages.evaluator import LOWER_TARGETS_RATE, EvaluatorSpec, evaluate_images
from midef.stages.evaluator import load as load_evaluator
from midef.stages.extractor import extractors_for
from midef.stages.handle import handle_of, served_labels
from midef.stages.network_answers import network_answers
from midef.stages.recipes import ALIKE
from midef.stages.resize import low_to_high
from midef.stages.restarts import best_restarts, target_scores
from midef.stages.split import load as load_splits
from midef.stages.student import student_answers
from midef.stages.target import WEIGHTS, TargetSpec
from midef.stages.target import load as load_target
from midef.stages.traits import trait_evidence
from midef.storage.arrays import read_arrays


@dataclass(frozen=True, kw_only=True)
class ScoresSpec:
    """Evaluation of one cell's reconstructions, decoded from the recipe.

    Args:
        metrics: names.
        access: of the attack.
        is_of_pairs: the attack reconstructs private images whose scores were observed, of the split `victims`.
        attack_seed: as the recipe of the reconstructions names it.
        resize, counted, group_size, spread, knn_reference, judge: as in `midef.core.Protocol`.
    """

    target: TargetSpec
    evaluator: EvaluatorSpec
    metrics: tuple[str, ...]
    access: AccessLevel
    is_of_pairs: bool
    victims: str
    attack_seed: int
    resize: str
    counted: str
    group_size: int
    spread: str
    knn_reference: str
    judge: str = "evaluator"

    @classmethod
    def of(cls, recipe: Recipe) -> ScoresSpec:
        """Decode the recipe of scores."""
        reconstructions = recipe.inputs["reconstructions"]
        return cls(
            target=TargetSpec.of(recipe.inputs["target"]),
            evaluator=EvaluatorSpec.of(recipe.inputs["evaluator"]),
            metrics=tuple(recipe.params["metrics"]),
            access=ATTACKS.get(reconstructions.component).access,
            is_of_pairs=ATTACKS.get(reconstructions.component).needs_observed_scores,
            victims=victims_of(reconstructions),
            attack_seed=reconstructions.params["seed"],
            **recipe.params["protocol"],
        )


def build(recipe: Recipe, inputs: Inputs, context: BuildContext, folder: Path) -> dict[str, Any]:
    """Write `measurements.json`, `per_image.npz` and `exemplars.npz`.

    `per_image.npz` holds the success of each reconstruction, the five classes that the judge has first, and the squared
    distance to the nearest private image of the identity in the evaluator's features; the answer of the served target
    to each image of the private report split; of pairs their errors; where a metric compares answers, their distance
    from undefended ones, and both scores of what was observed. The facts are the accuracy of the judge, which is the
    evaluator if nothing else is said, and its interval.
    A metric that fails is a measurement with status `failed` and the reason, one that cannot apply here `refused`.
    Where the private data is drawn from traits, `traits.npz` holds those of its identities and of the reconstructions,
    and the weights that they are compared with.
    """
    spec, device = ScoresSpec.of(recipe), context.device
    splits = load_splits(inputs.path("private"))
    n_classes = len(splits.class_names)
    made = _reconstructions(inputs.path("reconstructions") / "images.npz")
    alike = load_splits(inputs.path(ALIKE)) if ALIKE in inputs else splits  # of the size of the reconstructions
    torch.manual_seed(derive_seed("served", spec.attack_seed))  # for a head that samples
    model = load_target(spec.target, inputs.path("target"), context, n_classes)
    handle = handle_of(spec.target, model, spec.access, context)
    with share(0.0, 0.25):
        served = served_labels(handle, splits.report.images)
    if spec.counted == "best_by_target":
        seen = low_to_high(torch.from_numpy(made["images"]), spec.target.resolution_px, resize=spec.resize)
        best = best_restarts(made["labels"], target_scores(handle, seen.numpy(), made["labels"]))
        made = {name: values[best] for name, values in made.items()}
    evaluator = load_evaluator(spec.evaluator, inputs.path("evaluator"), context, n_classes)
    evaluator_key = recipe.inputs["evaluator"].key
    weights = context.store.artifacts.meta(evaluator_key)["files"][WEIGHTS]  # one built anew may have others

    def evaluate(images: Tensor) -> tuple[np.ndarray, np.ndarray]:
        resized = low_to_high(images, spec.evaluator.resolution_px, resize=spec.resize)
        judge = spec.evaluator
        return evaluate_images(evaluator, resized, device, at_once=judge.at_once, advice=judge.advice)

    def evaluate_private(images: Tensor) -> tuple[np.ndarray, np.ndarray]:
        how = (evaluator_key.digest, weights["sha256"], spec.resize, device, str(context.threads))
        return remembered((*how, digest_of(images.numpy())), lambda: evaluate(images))

    with share(0.25, 0.5):
        logits, features = evaluate(torch.from_numpy(made["images"]))
    attacked = np.unique(made["labels"])
    private_images, private_labels = _private_images(alike, attacked, spec.knn_reference)
    # seen as the reconstructions are: at their resolution, then resized
    with share(0.5, 0.75):
        _, private_features = evaluate_private(private_images)
    report = load_splits(inputs.path("judged")).report
    reads, changes = has_own_networks(recipe), asks_network(spec.metrics)
    end = 0.8 if reads or changes else 1.0
    asks = spec.judge == "target" or asks_target(spec.metrics)
    middle = (0.75 + end) / 2 if asks else end
    target_logits, judged = None, report
    if spec.judge == "evaluator":
        with share(0.75, middle):
            judged_logits, _ = evaluate_private(report.images)
    if asks:
        with share(middle, end):
            target_logits, report_logits = _by_target(spec, model, made, splits.report, device)
        if spec.judge == "target":
            judged, judged_logits = splits.report, report_logits
    attack, target = (
        context.store.artifacts.meta(recipe.inputs[role].key)["facts"] for role in ("reconstructions", "target")
    )
    traits = {}
    if needs_traits(spec.metrics):
        traits = trait_evidence(recipe, inputs, folder, made=made, report_images=splits.report.images, device=device)
    changed_until = 0.9 if reads and changes else 1.0 if changes else end
    with share(end, changed_until) if changes else nullcontext():
        network = network_answers(spec, model, splits.report, device)
    evidence = Evidence(
        n_classes=n_classes,
        report_labels=splits.report.labels.numpy(),
        report_predictions=served.numpy(),
        labels=made["labels"],
        restarts=made["restarts"],
        found=made["found"],
        evaluator_logits=logits,
        features=features,
        private_features=private_features,
        private_labels=private_labels,
        queries=attack["queries"],
        attack_s=attack["attack_s"],
        train_s=target["train_s"],
        group_size=spec.group_size,
        spread=spec.spread,
        target_logits=target_logits,
        judge=spec.judge,
        report_images=digest_of(splits.report.images.numpy(), splits.report.labels.numpy()),
        images=made["images"],
        private_images=private_images.numpy(),
        counted=spec.counted,
        **(_pairs(alike, spec.victims, made) if spec.is_of_pairs else {}),
        extractors=extractors_for(recipe, inputs, context, resize=spec.resize),
        students=student_answers(recipe, inputs, context, splits, attacked),
        answers=score_answers(recipe, inputs, context, spec, model=model, splits=splits),
        sees_scores=spec.access >= AccessLevel.SCORES,
        network=network,
        **traits,
    )
    with share(changed_until, 1.0) if reads else nullcontext():
        measurements = measure(spec.metrics, evidence)
    (folder / "measurements.json").write_text(json.dumps(measurements, indent=1))
    np.savez_compressed(
        folder / "per_image.npz",
        labels=made["labels"],
        restarts=made["restarts"],
        hit_at_1=top_k_hits(evidence.logits_of(spec.judge), made["labels"], 1),
        hit_at_5=top_k_hits(evidence.logits_of(spec.judge), made["labels"], 5),
        best_5=best_classes(evidence.logits_of(spec.judge), 5),
        **_nearest(evidence),  # type: ignore[arg-type]
        report_labels=evidence.report_labels,
        report_predictions=evidence.report_predictions,
        **per_image(evidence),  # type: ignore[arg-type]
    )
    firsts = [int(np.flatnonzero(alike.train.labels.numpy() == label)[0]) for label in attacked]
    np.savez_compressed(folder / "exemplars.npz", images=alike.train.images[firsts].numpy(), labels=attacked)
    return _evaluator_facts(judged_logits, judged.labels.numpy())


def _nearest(evidence: Evidence) -> dict[str, np.ndarray]:
    """Squared distance of each reconstruction to its nearest private image [N]; nothing where there is none to have."""
    try:
        distances = distances_to_nearest(
            "nearest_distance",
            evidence.features,
            evidence.labels,
            evidence.private_features,
            evidence.private_labels,
        )
    except TooFewSamples:  # the KNN distance is a failed measurement, and says why
        return {}
    return {"nearest_distance": distances.astype(np.float32)}


def _by_target(
    spec: ScoresSpec, model: TargetModel, made: Mapping[str, np.ndarray], report: Images, device: str
) -> tuple[np.ndarray, np.ndarray]:
    """Logits [N, K] of the target's own network on the reconstructions, and [M, K] on the images it reports on."""
    torch.manual_seed(derive_seed("judge", spec.attack_seed))  # for a head that samples
    seen = low_to_high(torch.from_numpy(made["images"]), spec.target.resolution_px, resize=spec.resize)
    asked = torch.cat([seen, report.images])
    logits, _ = evaluate_images(model, asked, device, whose="the target", advice=LOWER_TARGETS_RATE)
    return logits[: len(seen)], logits[len(seen) :]


def has_own_networks(recipe: Recipe) -> bool:
    """True if metrics of these scores read networks beside the evaluator, which takes most of their time."""
    return any(needed.kind in ("extractor", "student") for needed in recipe.inputs.values())


def _pairs(splits: Splits, split: str, made: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The observed private image behind each reconstruction [N, 3, H, W] uint8, of a split; how many are repeats."""
    labels, restarts = (torch.from_numpy(made[name].astype(np.int64)) for name in ("labels", "restarts"))
    originals = (victims(splits, split, labels, restarts) * 255).round().to(torch.uint8).numpy()
    return {"originals": originals, "repeated": repeated_victims(splits, split, labels, restarts)}


Answers = tuple[np.ndarray, np.ndarray]
_ANSWERS: dict[tuple[str, ...], Answers] = {}
_MOST_BYTES = 2**27


def remembered(key: tuple[str, ...], evaluate: Callable[[], Answers]) -> Answers:
    """Answers of an evaluator to private images: the cells of a process that share both evaluate them once.

    Args:
        key: of everything that the bits of the answers depend on.

    Returns:
        arrays of the caller's own, which it may change.
    """
    if key not in _ANSWERS:
        _ANSWERS[key] = evaluate()
    logits, features = _ANSWERS[key]
    while sum(array.nbytes for answers in _ANSWERS.values() for array in answers) > _MOST_BYTES:
        del _ANSWERS[next(iter(_ANSWERS))]
    return logits.copy(), features.copy()


def _reconstructions(path: Path) -> dict[str, np.ndarray]:
    """Arrays of stored reconstructions; `traits` among them where the attack knows those of its images."""
    names = ("images", "labels", "restarts", "found")
    return read_arrays(path, names) | read_arrays(path, ("traits",), optional=True)


def _evaluator_facts(logits: np.ndarray, labels: np.ndarray) -> dict[str, float | None]:
    """Accuracy of the evaluator in percent on images it did not learn, with its interval.

    Args:
        logits: [N, K].
        labels: [N].

    Raises:
        TooFewSamples: for no images.
    """
    if not len(labels):
        raise TooFewSamples("the evaluator's accuracy needs at least 1 image in the report split, got 0")
    measured = percent_of_hits(logits.argmax(axis=1) == labels, labels, chance=100.0 / logits.shape[1])
    return {"evaluator_accuracy": measured.value, "evaluator_low": measured.low, "evaluator_high": measured.high}


def _private_images(splits: Splits, attacked: np.ndarray, reference: str) -> tuple[Tensor, np.ndarray]:
    """Private images [P, 3, H, W] uint8 of the attacked identities, and their labels [P].

    Args:
        reference: `train`, those the target learned or picked its checkpoint from, or `train+report`, all.
    """
    parts = [splits.train, splits.select, *([splits.report] if reference == "train+report" else [])]
    labels = torch.cat([part.labels for part in parts]).numpy()
    is_attacked = np.isin(labels, attacked)
    images = torch.cat([part.images for part in parts])[torch.from_numpy(is_attacked)]
    return images, labels[is_attacked]


REPEATS = "observed images are repeats: identities have fewer than were asked for"


def measure(names: Sequence[str], evidence: Evidence) -> list[dict[str, Any]]:
    """One entry per metric, `ok`, or `failed` or `refused` with the reason."""
    entries: list[dict[str, Any]] = []
    for name in names:
        metric = METRICS.make(name)
        entry: dict[str, Any] = {"metric": name, "unit": metric.unit, "larger_is": metric.larger_is}
        try:
            measured = metric.measure(evidence)
            if not math.isfinite(measured.value):
                no_number = f"{name} came out as {measured.value}; the evaluator's answers are no numbers"
                raise MidefError(no_number, failure="diverged")
            entry |= {"status": "ok", "reason": "", **vars(measured)}
            if evidence.repeated and ("private" in metric.larger_is or metric.compares_answers):
                repeats = f"{evidence.repeated} of {len(evidence.labels)} {REPEATS}"
                entry["remark"] = "; ".join(filter(None, [measured.remark, repeats]))
        except MidefError as error:
            status = "refused" if isinstance(error, NotApplicable) else "failed"
            failure = Failure.of(error)
            entry |= {"status": status, "reason": failure.message, "failure": failure.kind, "value": None}
        entries.append(entry)
    return entries
