"""What is checked before any attack: that the model knows its private images, and that the judge can judge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from midef.audit.black_box import BlackBox
from midef.audit.given import Model
from midef.audit.input import NORMALISATIONS
from midef.core.accuracy import Accuracy, accuracy_of, percent
from midef.core.errors import SpecError, few
from midef.core.lazy import torch
from midef.datasets import Images, Splits

if TYPE_CHECKING:
    from midef.stages.given import GivenNetwork

_AT_ONCE = 128
_MOST_IMAGES = 1000
"""Images on which other inputs are tried after a model failed; they only give a hint."""
_CLEARLY = 5.0
"""Points by which another input must be better to be spoken of."""
_FEW_OF_CLASS = 3
"""Images of a class, below which nothing is said of what most of them are taken for."""
_WORTH_A_HINT = 3.0
"""Another order of the classes is proposed where it is this much better than the one that stands."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """What a model gets right of the private images.

    Args:
        report: accuracy on the report split, which attacks are reported beside.
        train: on the train split; None where asking costs something.
        images: of the report split.
        doubts: another input that would give clearly more, classes that seem exchanged, a number of classes that
            nobody said; each a clause.
    """

    report: Accuracy
    train: Accuracy | None
    images: int
    doubts: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """For a person, with the interval."""
        span = f" [{self.report.low:.1f}, {self.report.high:.1f}]"
        learned = "" if self.train is None else f", {self.train.value:.1f} % of the train split"
        return (
            f"knows {self.report.value:.1f} %{span} of the {self.images} private images of the report split{learned}; "
            f"chance is {percent(self.report.chance)}"
        )


def check_known(model: Model, splits: Splits, *, device: str = "cpu", may_ask_more: bool = True) -> Known:
    """Ask the model about private images, and stop where it knows none.

    Args:
        model: its outputs in the order of the classes.
        splits: the private images.
        device: `cpu`, `cuda`.
        may_ask_more: False of a model whose answers cost something: the report split alone is asked about, and no
            other input is tried.

    Raises:
        SpecError: where its accuracy is within its interval of chance: what it would be with other inputs; where it
            tells another number of classes apart.
    """
    from midef.stages.given import GivenNetwork

    px, doubts = model.input.resolution_px, list(_count_in_doubt(model, splits))
    network = GivenNetwork(model.network, model.given, px).to(device)
    predicted = predictions(network, splits.report.images, device)
    report = _accuracy(predicted, splits.report.labels.numpy(), model.given.classes)
    train, shown, taken_for = None, splits.report, predicted
    if may_ask_more:
        shown, taken_for = splits.train, predictions(network, splits.train.images, device)
        train = _accuracy(taken_for, shown.labels.numpy(), model.given.classes)
    # A network that learned its own images by heart knows those at least.
    if report.is_at_chance and (train is None or train.is_at_chance):
        hints = _hints(model, splits, device) if may_ask_more else ()
        raise SpecError("\n  ".join([_at_chance(model, report, train), *hints]))
    doubts.append(exchanged(taken_for, shown.labels.numpy(), splits.class_names))
    if may_ask_more:
        doubts.append(better_input(model, splits, device))
    return Known(report=report, train=train, images=len(splits.report), doubts=tuple(filter(None, doubts)))


def _count_in_doubt(model: Model, splits: Splits) -> Iterator[str]:
    """Ask a model that never said how many classes it has about the first private images; answers are kept.

    Raises:
        SpecError: where they tell another number than that of the private classes.
    """
    ask, expected = model.network, model.given.classes
    if not isinstance(ask, BlackBox):
        return
    if ask.known_classes is None:
        ask.assume_classes(expected)
        ask(splits.report.images[:_AT_ONCE].float() / 255)
    if ask.known_classes is None:
        yield (
            f"{ask.name} does not say how many classes it has, which are taken to be the {expected} of the private "
            "images; chance is too high if there are more. `--classes FILE`, or 'classes' in its answers, says it"
        )
    elif ask.known_classes != expected:
        raise SpecError(
            f"{ask.name} tells {ask.known_classes} classes apart, the private images are of {expected}; give images "
            "of every class the model knows, and none of others. Its answers are kept"
        )


def exchanged(predicted: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> str:
    """Classes whose images a model mostly takes for each other's, in a circle: an order that is wrong in part.

    One that prefers a large class is none: the images of that class are taken for their own.

    Args:
        predicted: [N] classes.
        labels: [N] classes.
        names: of the classes.
    """
    goes_to = {}
    for label in np.unique(labels).tolist():
        given, counts = np.unique(predicted[labels == label], return_counts=True)
        most = int(counts.argmax())
        if counts.sum() >= _FEW_OF_CLASS and counts[most] > counts.sum() / 2:
            goes_to[label] = int(given[most])
    in_circle = []
    for label in goes_to:
        at, seen = goes_to[label], {label}
        while at in goes_to and at not in seen:
            seen.add(at)
            at = goes_to[at]
        if at == label and goes_to[label] != label:
            in_circle.append(label)
    if not in_circle:
        return ""
    said = few([f"{names[label]} as {names[goes_to[label]]}" for label in in_circle], 3)
    return (
        f"the model takes most images of {len(in_circle)} classes for those of another, in a circle: {said}. Is the "
        "order of the classes right? `--classes FILE` says it"
    )


def _at_chance(model: Model, report: Accuracy, train: Accuracy | None) -> str:
    also = "" if train is None else f", and {train.value:.1f} % of the train split"
    return (
        f"{model.given.name} gets {report.value:.1f} % [{report.low:.1f}, {report.high:.1f}] of the private images of "
        f"the report split right{also}; chance is {percent(report.chance)}. Order of classes or normalisation? It was "
        f"asked with {model.input.text}. Nothing was attacked; say another input, the order of the classes "
        "(`--classes FILE`, one name a line in the order of the outputs), or the private images that belong to it"
    )


def better_input(model: Model, splits: Splits, device: str) -> str:
    """What a named input gives that is clearly better than the one that was said; "" where none is.

    A network with a wrong normalisation may still know some of its images, and is then attacked as a worse one.
    """
    part = _some(splits)
    right = {}
    for name, other in _other_inputs(model):
        right[name] = 100.0 * float((predictions(other, part.images, device) == part.labels.numpy()).mean())
        if right[name] >= 100 - _CLEARLY:
            break
    (said, as_said), *others = right.items()
    name, best = max(others, key=lambda one: one[1], default=(said, as_said))
    if best <= as_said + _CLEARLY:
        return ""
    return (
        f"with {name} the model knows {best:.1f} % of {len(part)} private images, {as_said:.1f} % with the input as it "
        "was said; if that is its input, say so: what is attacked now is another network"
    )


def _some(splits: Splits) -> Images:
    """Images of the train split, the same in every call."""
    rows = np.random.default_rng(0).permutation(len(splits.train))[:_MOST_IMAGES]
    return Images(splits.train.images[rows], splits.train.labels[rows])


def _hints(model: Model, splits: Splits, device: str) -> Iterator[str]:
    """Accuracy with other inputs and, of each, with the best order of the outputs."""
    part = _some(splits)
    labels, classes = part.labels.numpy(), model.given.classes
    for name, other in _other_inputs(model):
        predicted = predictions(other, part.images, device)
        right = 100.0 * float((predicted == labels).mean())
        ordered = 100.0 * best_order_accuracy(predicted, labels, classes)
        line = f"with {name}: {right:.1f} % of {len(part)} private images"
        if ordered > _WORTH_A_HINT * max(right, 100 / classes) or (ordered > 50 > right):
            line += f"; {ordered:.1f} % if its outputs stood for the classes in another order, the best there is"
        yield line


def _other_inputs(model: Model) -> Iterator[tuple[str, GivenNetwork]]:
    """The model with its own input, and with each named one."""
    from midef.stages.given import GivenNetwork

    px = model.input.resolution_px
    yield "the input as it was said", GivenNetwork(model.network, model.given, px)
    for name, (mean, std, words) in NORMALISATIONS.items():
        if (mean, std) == (model.given.mean, model.given.std):
            continue
        if model.given.channels == 1 and len(mean) > 1:
            continue
        other = replace(model.given, mean=mean, std=std)
        yield f"`--input {name}` ({words})", GivenNetwork(model.network, other, px)


def best_order_accuracy(predicted: np.ndarray, labels: np.ndarray, classes: int) -> float:
    """Accuracy, 0 to 1, if each output stood for the class that suits it best, one output for one class.

    It is above chance whatever the model, since the order was chosen for these images.

    Args:
        predicted: [N] outputs.
        labels: [N] classes.
        classes: K.
    """
    from scipy.optimize import linear_sum_assignment

    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (predicted, labels), 1)
    rows, columns = linear_sum_assignment(counts, maximize=True)
    return float(counts[rows, columns].sum() / max(1, len(labels)))


def predictions(network: GivenNetwork, images: torch.Tensor, device: str) -> np.ndarray:
    """Classes [N] that a network gives images [N, 3, H, W] uint8.

    Raises:
        SpecError: if its answers are no numbers.
    """
    found = []
    with torch.no_grad():
        for part in images.split(_AT_ONCE):
            logits = network(part.to(device).float() / 255).logits
            if not torch.isfinite(logits).all():
                raise SpecError(f"{network.given.name} answers with numbers that are not finite; look at its weights")
            found.append(logits.argmax(dim=1).cpu())
    return torch.cat(found).numpy() if found else np.zeros(0, np.int64)


def _accuracy(predicted: np.ndarray, labels: np.ndarray, classes: int) -> Accuracy:
    """In percent, with the interval over the people or classes, whose images are not independent."""
    from midef.metrics.base import percent_of_hits

    if not len(labels):
        raise SpecError("the private images leave none to ask about; give at least three of each class")
    measured = percent_of_hits(predicted == labels, labels, chance=100.0 / classes)
    return accuracy_of(measured.value, 100.0 / classes, low=measured.low, high=measured.high)


def split_text(sizes: Sequence[int]) -> str:
    """What the splits of the private images mean where the model was trained elsewhere.

    Args:
        sizes: of train, select and report split.
    """
    train, select, report = sizes
    return (
        f"the model was trained elsewhere, and nothing here trains it: of the private images {train} train the judge "
        f"and are what reconstructions are compared with, {select} pick the judge's epoch, and {report} measure the "
        "accuracy of model and judge. The model may have learned all of them, so its accuracy here need not hold for "
        "new images"
    )
