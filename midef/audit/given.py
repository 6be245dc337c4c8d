"""The model that is audited: a file, a module or anything that answers images, with what it expects of an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from midef.attacks import AccessLevel
from midef.audit.input import NORMALISATIONS, Input
from midef.core.errors import DataError, SpecError, few
from midef.core.lazy import nn, torch

if TYPE_CHECKING:
    from torch import Tensor

    from midef.stages.given import Given

Outputs = Literal["logits", "probabilities", "labels"]


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
    _probed(found.network, expects, "logits")  # some networks take images of one size alone
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
        count = _probed(network, expects, outputs)
        label = name or type(network).__name__
        taken = _of_network(network, expects, name=label, classes=count, outputs=outputs)
        if _has_slopes(network, expects):
            return taken
        remark = f"{label} lets no gradients through to its images: attacks see its answers alone"
        return replace(taken, access=AccessLevel.SCORES, remark=remark)
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
        _check_plain(name, expects)
        classes = getattr(function, "known_classes", None) or classes or getattr(function, "n_classes", None)
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


def _check_plain(name: str, expects: Input) -> None:
    """Refuse an input for what is sent images as files, which have colours and no normalisation.

    Raises:
        SpecError: with all that is wrong.
    """
    problems = []
    if (expects.mean, expects.std) != NORMALISATIONS["own"][:2]:
        problems.append(
            f"{name} is sent images as they are and normalises for itself; leave --input, --mean and --std out"
        )
    if expects.channels != 3:
        problems.append(f"{name} is sent images in RGB, grey ones too; leave --channels out")
    if problems:
        raise SpecError(problems)


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
