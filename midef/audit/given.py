"""The model that is audited: a file, a module or anything that answers images, with what it expects of an image."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from midef.attacks import AccessLevel
from midef.core.errors import DataError, SpecError, did_you_mean, few
from midef.core.lazy import nn, torch

if TYPE_CHECKING:
    from torch import Tensor

    from midef.stages.given import Given

Outputs = Literal["logits", "probabilities", "labels"]
NORMALISATIONS = {
    "own": ((0.0,), (1.0,), "images in [0, 1], as they are: the network normalises for itself, or not at all"),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "ImageNet's mean and standard deviation"),
    "half": ((0.5,), (0.5,), "images in [-1, 1]"),
}
"""Name -> mean, standard deviation, and what that is in words."""
_WEIGHTS = re.compile(r"\w+_Weights\.\w+")


@dataclass(frozen=True, kw_only=True)
class Input:
    """What a network expects of an image in [0, 1].

    Args:
        resolution_px: sides of the images; they are resized to it.
        mean: taken away, by colour or one for all.
        std: divided by afterwards.
        channels: 3 colours, or 1: the mean of the colours.
        written: as the user said it.
    """

    resolution_px: int
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    channels: int = 3
    written: str = ""

    @property
    def text(self) -> str:
        """For a person: `64 px, images in [-1, 1]`."""
        known = (words for mean, std, words in NORMALISATIONS.values() if (mean, std) == (self.mean, self.std))
        numbers = f"mean {_listed(self.mean)}, standard deviation {_listed(self.std)}"
        return f"{self.resolution_px} px, {'grey, ' if self.channels == 1 else ''}{next(known, numbers)}"


def _listed(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)


def read_input(
    written: str = "own",
    *,
    resolution_px: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    channels: int = 3,
) -> Input:
    """What a network expects, as the user says it.

    Args:
        written: one of `NORMALISATIONS`, or weights of torchvision such as `ResNet18_Weights.IMAGENET1K_V1`, whose own
            preprocessing is read; nothing is downloaded.
        resolution_px: of the images; those weights know it.
        mean: in the place of the named ones; one number, or one for each colour.
        std: likewise.
        channels: 1 for a network of grey images.

    Raises:
        SpecError: with all that is wrong.
    """
    problems: list[str] = []
    named_mean, named_std, named_px = _named(written, problems)
    chosen_mean = tuple(map(float, named_mean if mean is None else mean))
    chosen_std = tuple(map(float, named_std if std is None else std))
    if (mean is None) != (std is None):
        problems.append("give both mean and std, or neither")
    if any(len(numbers) not in {1, channels} for numbers in (chosen_mean, chosen_std)):
        problems.append(
            f"mean and std have one number, or {channels}, one for each colour; got {_listed(chosen_mean)} and "
            f"{_listed(chosen_std)}"
        )
    if any(number <= 0 for number in chosen_std):
        problems.append(f"std is divided by and must be above 0, got {_listed(chosen_std)}")
    if max(map(abs, chosen_mean), default=0) > 2:
        problems.append(f"mean is of images in [0, 1], got {_listed(chosen_mean)}; divide it and std by 255")
    if channels not in (1, 3):
        problems.append(f"channels are 3 colours or 1 of grey images, got {channels}")
    px = resolution_px or named_px
    if px is None or px < 1:
        problems.append("say the size of the images that the network takes, in pixels: `--resolution 64`")
    if problems:
        raise SpecError(problems)
    assert px is not None
    return Input(resolution_px=px, mean=chosen_mean, std=chosen_std, channels=channels, written=written)


def _named(written: str, problems: list[str]) -> tuple[Sequence[float], Sequence[float], int | None]:
    if written in NORMALISATIONS:
        mean, std, _ = NORMALISATIONS[written]
        return mean, std, None
    if _WEIGHTS.fullmatch(written):
        import torchvision

        try:
            transforms = torchvision.models.get_weight(written).transforms()
            size = transforms.crop_size
            return transforms.mean, transforms.std, int(size[0] if isinstance(size, Sequence) else size)
        except (ValueError, KeyError, AttributeError) as error:
            problems.append(f"torchvision has no weights of a classifier called {written!r}: {error}")
            return (0.0,), (1.0,), None
    problems.append(
        f"no input {written!r}; {did_you_mean(written, NORMALISATIONS)}, or weights of torchvision such as "
        "ResNet18_Weights.IMAGENET1K_V1"
    )
    return (0.0,), (1.0,), None


@dataclass(frozen=True)
class Model:
    """A model to audit.

    Args:
        given: what is known of it, all of which enters its key.
        network: itself.
        input: what it expects.
        access: the most an attacker may see of it.
        remark: what a report must say of it; "" for nothing.
    """

    given: Given
    network: Callable[[Tensor], Any]
    input: Input
    access: AccessLevel
    remark: str = ""

    def in_order(self, order: Sequence[int] | None) -> Model:
        """The same model, whose outputs stand for the classes in another order than that of the private images.

        Args:
            order: output of each class; None for the order it has.
        """
        is_same = order is None or list(order) == list(range(len(order)))
        return replace(self, given=replace(self.given, order=None if is_same or order is None else tuple(order)))


def read_model(path: str | Path, arch: str, expects: Input, *, table: str = "") -> Model:
    """The network of a checkpoint.

    Args:
        path: of a state dict, alone or inside a checkpoint, or of safetensors.
        arch: `resnet18`, of torchvision, timm or midef; `timm/resnet18` says of which.
        expects: its input.
        table: which table of tensors, where a checkpoint has several networks.

    Raises:
        SpecError, DataError: what was expected, what came, what to do.
    """
    from midef.audit.checkpoints import read_checkpoint
    from midef.audit.networks import recognise

    if not arch:
        raise SpecError(f"say whose tensors {path} holds: `--arch resnet18`, of torchvision, timm or midef")
    tensors = read_checkpoint(path, table).tensors
    found = recognise(tensors, arch, expects.resolution_px, channels=expects.channels)
    return _of_network(found.network, expects, name=found.name, library=found.library, classes=found.classes)


def _of_network(
    network: nn.Module,
    expects: Input,
    *,
    name: str,
    classes: int,
    library: str = "",
    outputs: Outputs = "logits",
    remark: str = "",
) -> Model:
    from midef.guard.model import digest_of
    from midef.stages.given import Given, check_finite

    check_finite(name, network.state_dict())
    given = Given(
        library=library,
        name=name,
        sha256=digest_of(network),
        classes=classes,
        mean=expects.mean,
        std=expects.std,
        channels=expects.channels,
        outputs=outputs,
    )
    return Model(given, network, expects, AccessLevel.WHITE_BOX, remark)


def take_model(
    model: Callable[[Tensor], Any],
    expects: Input,
    *,
    name: str = "",
    outputs: Outputs = "logits",
    classes: int | None = None,
) -> Model:
    """A module, or anything that answers images.

    A module is audited as it is in eval mode; the caller's stays untouched. What has no weights needs a name.

    Args:
        model: images [B, 3, H, W] -> [B, K], or an object with `logits`.
        expects: its input.
        name: of a function or endpoint; of a module in the place of its class.
        outputs: what it gives.
        classes: K, of what gives labels alone; else it is asked.

    Raises:
        SpecError: for a function without a name, or a module that does not answer images of this size.
    """
    network = _unwrapped(model)
    if isinstance(network, nn.Module) and network.state_dict():
        outputs_of = _probed(network, expects, outputs)
        label = name or type(network).__name__
        return _of_network(network, expects, name=label, classes=outputs_of, outputs=outputs)
    name = name or str(getattr(model, "name", ""))
    if not name or name.startswith("<"):
        raise SpecError('a function has no weights that tell it from another; give it a name: `name="my-model-v3"`')
    return _of_function(model, expects, name, outputs, classes)


def _unwrapped(model: Any) -> Any:
    """A module without what torch.compile and DataParallel put around it, in eval mode where it is a copy."""
    import copy

    if not isinstance(model, nn.Module):
        return model
    while isinstance(inner := getattr(model, "_orig_mod", getattr(model, "module", None)), nn.Module):
        model = inner
    try:
        return copy.deepcopy(model).cpu().eval()
    except Exception as error:  # whatever a module of somebody else does when it is copied
        raise SpecError(
            f"{type(model).__name__} cannot be copied ({type(error).__name__}: {error}), and an audit leaves yours as "
            "it is; hand over a function that calls it: `midef.audit(lambda images: model(images), name=...)`"
        ) from error


def _probed(network: Callable[[Tensor], Any], expects: Input, outputs: Outputs) -> int:
    """How many classes a model tells apart, by asking it about two grey images.

    Raises:
        SpecError: if it does not answer images of this kind.
    """
    px = expects.resolution_px
    try:
        with torch.no_grad():
            answer = network(torch.full((2, expects.channels, px, px), 0.5))
    except Exception as error:  # whatever a model of somebody else does
        raise SpecError(
            f"the model does not take images [B, {expects.channels}, {px}, {px}]: {type(error).__name__}: {error}; say "
            "its size with `resolution_px`"
        ) from error
    values = answer if isinstance(answer, torch.Tensor) else getattr(answer, "logits", None)
    if not isinstance(values, torch.Tensor) or values.ndim != 2 or values.shape[0] != 2 or values.shape[1] < 2:
        came = list(values.shape) if isinstance(values, torch.Tensor) else type(answer).__name__
        raise SpecError(
            f"expected {outputs} [2, K] with K >= 2 for 2 images, got {came}; return logits, or probabilities"
        )
    return int(values.shape[1])


def _of_function(
    function: Callable[[Tensor], Any], expects: Input, name: str, outputs: Outputs, classes: int | None
) -> Model:
    from midef.stages.given import Given

    access = getattr(function, "access", None)
    if isinstance(access, AccessLevel):  # an endpoint, which says what it answers
        outputs = "labels" if access is AccessLevel.LABELS else "probabilities"
        classes = classes or getattr(function, "n_classes", None)
    elif outputs == "labels":
        access = AccessLevel.LABELS
    else:
        classes = _probed(function, expects, outputs)
        access = AccessLevel.WHITE_BOX if _has_slopes(function, expects) else AccessLevel.SCORES
    if classes is None:
        raise SpecError(f"{name} answers with labels: say how many there are, with a file of their names (`classes`)")
    given = Given(
        name=name, classes=classes, mean=expects.mean, std=expects.std, channels=expects.channels, outputs=outputs
    )
    remark = f"the identity of {name} cannot be checked: it is a function or endpoint, known by the name it was given"
    return Model(given, function, expects, access, remark)


def _has_slopes(function: Callable[[Tensor], Any], expects: Input) -> bool:
    """Whether gradients reach the images."""
    px = expects.resolution_px
    with torch.enable_grad():
        answer = function(torch.full((2, expects.channels, px, px), 0.5, requires_grad=True))
    values = answer if isinstance(answer, torch.Tensor) else answer.logits
    return bool(values.requires_grad)


def read_classes(written: str | Path | Sequence[str]) -> list[str]:
    """Names of the classes in the order of the outputs: a file with one a line, or a list.

    Raises:
        DataError: if the file cannot be read.
        SpecError: if a name is there twice.
    """
    if isinstance(written, str | Path):
        try:
            text = Path(written).expanduser().read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"the names of the classes cannot be read from {written}: {error}") from error
        names = [line.strip() for line in text.splitlines() if line.strip()]
    else:
        names = list(written)
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SpecError(f"the classes have names that stand there twice: {few(twice)}")
    return names


def output_order(classes: Sequence[str] | None, folders: Sequence[str], outputs: int) -> list[int] | None:
    """Output of each class of the private images, in their order; None where both are in one order.

    Args:
        classes: names in the order of the outputs; None where these are in the order of the folders.
        folders: names of the private classes, sorted.
        outputs: how many classes the model tells apart.

    Raises:
        SpecError: if the numbers or the names disagree.
    """
    problems = []
    if classes is not None and len(classes) != outputs:
        problems.append(f"{len(classes)} names of classes were given, the model has {outputs} outputs")
    if len(folders) != outputs:
        problems.append(
            f"the model has {outputs} outputs, the private images are of {len(folders)} people or classes with enough "
            "images; give images of every class the model knows, and none of others"
        )
    if classes is not None and (odd := sorted(set(classes) ^ set(folders))):
        problems.append(f"names of classes and folders of private images differ: {few(odd)}")
    if problems:
        raise SpecError(problems)
    if classes is None:
        return None
    place = {name: i for i, name in enumerate(classes)}
    return [place[name] for name in folders]
