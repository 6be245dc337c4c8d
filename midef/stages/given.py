"""A target that was trained elsewhere: the network an audit was given, behind the interface of every target."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from typing_extensions import override

from midef.core.choice import Choice
from midef.core.errors import PreflightError, ShapeError, SpecError
from midef.core.recipe import Inputs, Recipe
from midef.models import ARCHITECTURES, Architecture, ModelFacts
from midef.nn.network import Forward, TargetModel
from midef.nn.weights import not_finite, read_stored, said_not_finite
from midef.stages.build import BuildContext
from midef.stages.given_networks import build_network
from midef.stages.recipes import GIVEN, GIVEN_VERSION
from midef.stages.split import load as load_splits
from midef.training.classifier.evaluate import accuracy

Answers = Callable[[Tensor], Any]
"""Images [B, 3, H, W] in [0, 1], after preprocessing, to what a network gives."""
WEIGHTS = "model.safetensors"
ABOUT = "given.json"
"""What is stored of a model without weights: what was said of it."""
LIVE = "network"
"""Field of `BuildContext.locations` that holds the network itself, under `Given.digest`."""
_LEAST_PROBABILITY = 1e-12
_SURE = 50.0
"""Logit of a label that is all a network tells; of the others it is 0."""


@dataclass(frozen=True, kw_only=True)
class Given(Architecture):
    """What is known of a network that was trained elsewhere. All of it enters the key of the target.

    Args:
        library: `torchvision`, `timm` or `midef`, whose network it is; "" for a module or function of one process.
        name: of the architecture there, of midef's with its parameters; of the class; of a function, the name that the
            user gave.
        sha256: of its tensors; "" for a function, whose identity nobody can check.
        classes: outputs.
        order: output that stands for each class, where that is another order than the classes'.
        mean: of the images, by colour, taken away before the network sees them.
        std: that they are then divided by.
        channels: 3; 1 for a network that takes grey images.
        outputs: what it gives: `logits`, `probabilities` or `labels` (whole numbers).
    """

    family: ClassVar[str] = "given"

    library: str = ""
    name: str
    sha256: str = ""
    classes: int
    order: tuple[int, ...] | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    channels: int = 3
    outputs: Literal["logits", "probabilities", "labels"] = "logits"

    @property
    def choice(self) -> Choice:
        """For a `Setup`."""
        return Choice(GIVEN, asdict(self), GIVEN_VERSION, f"{self.name} (given)")

    @classmethod
    def of(cls, choice: Choice) -> Self:
        """Inverse of `choice`."""
        params = dict(choice.params)
        tuples = {name: tuple(params[name]) for name in ("mean", "std", "order") if params[name] is not None}
        return cls(**{**params, **tuples})

    @property
    def digest(self) -> str:
        """Names it in `BuildContext.locations`."""
        return Recipe("target", GIVEN, self.choice.keyed).key.digest

    @property
    def has_checked_identity(self) -> bool:
        """Whether its tensors say which network it is."""
        return bool(self.sha256)

    @property
    def has_known_family(self) -> bool:
        """Whether its library or its name says which networks are its siblings; that of a function need not."""
        return bool(self.library) or any(family in self.name.lower() for family in FAMILIES)

    @override
    def facts(self) -> ModelFacts:
        if self.library == "midef":
            known: ModelFacts = ARCHITECTURES.remake(ARCHITECTURES.choose(self.name)).facts()
            return ModelFacts(known.family, ("network",), (), has_batch_norm=known.has_batch_norm)
        family = next((f for f in FAMILIES if f in self.name.lower()), self.name.lower())
        return ModelFacts(family, ("network",), (), has_batch_norm=True)

    @override
    def build(self, n_classes: int, resolution_px: int) -> TargetModel:
        """
        Raises:
            SpecError: if it has another number of classes.
        """
        if n_classes != self.classes:
            raise SpecError(f"{self.name} tells {self.classes} classes apart, the private images are of {n_classes}")
        network = build_network(self.library, self.name, self.classes, resolution_px, self.channels)
        return GivenNetwork(network, self, resolution_px)

    def network(self, locations: Mapping[str, Mapping[str, Any]], resolution_px: int) -> TargetModel:
        """The network as this process has it; a fresh one, into which stored weights go, where its name is enough.

        Raises:
            PreflightError: if it was handed over in another process.
        """
        live = locations.get(self.digest, {}).get(LIVE)
        if live is not None:
            return GivenNetwork(copy.deepcopy(live) if isinstance(live, nn.Module) else live, self, resolution_px)
        if self.library:
            return self.build(self.classes, resolution_px)
        what = "module" if self.sha256 else "function"
        raise PreflightError(
            f"{self.name} is a {what} that was handed over in another process, and only there it can be asked; call "
            "midef.audit with it again, and stored work is not repeated"
        )


FAMILIES = (
    *("mobilefacenet", "mobilenet", "resnest", "resnext", "resnet", "densenet", "vgg", "inception", "swin", "maxvit"),
    *("efficientnet", "convnext", "shufflenet", "squeezenet", "regnet", "mnasnet", "alexnet", "vit", "deit"),
)
"""Words in the name of a network that say which are its siblings; those of midef's families are written alike."""


class GivenNetwork(TargetModel):
    """A network of somebody else as a target: it normalises, puts outputs in the order of the classes, and gives
    penultimate features where its last layer is a linear one, else its logits as features.

    Args:
        network: images after preprocessing -> logits [B, K], or an object with `logits`, or a midef network.
        given: what is known of it.
        resolution_px: of the images it takes.
    """

    _mean: Tensor
    _std: Tensor
    _order: Tensor | None

    def __init__(self, network: Answers, given: Given, resolution_px: int) -> None:
        module = network if isinstance(network, nn.Module) else _Function(network)
        super().__init__([("network", module)], nn.Identity(), feature_dim=given.classes, n_classes=given.classes)
        self.given = given
        for name, values in (("_mean", given.mean), ("_std", given.std)):
            self.register_buffer(name, torch.tensor(values).reshape(1, -1, 1, 1), persistent=False)
        order = None if given.order is None else torch.tensor(given.order)
        self.register_buffer("_order", order, persistent=False)
        self.eval()
        self._last = ""
        if isinstance(network, nn.Module) and given.outputs == "logits":
            self._find_last_layer(resolution_px)

    @property
    def network(self) -> nn.Module:
        """As it was given."""
        return self.blocks.get_submodule("network")

    def prepared(self, images: Tensor) -> Tensor:
        """What the network sees of images [B, 3, H, W] in [0, 1]."""
        if self.given.channels == 1:
            images = images.mean(dim=1, keepdim=True)
        is_own = set(self.given.mean) == {0.0} and set(self.given.std) == {1.0}
        return images if is_own else (images - self._mean) / self._std

    @override
    def forward(self, images: Tensor, taps: tuple[str, ...] = ()) -> Forward:
        """
        Raises:
            SpecError: if taps are asked for: blocks of a network of somebody else have no names.
        """
        if taps:
            raise SpecError(f"{self.given.name} was given as a whole and has no block {taps[0]!r} to tap")
        seen: list[Tensor] = []
        hook = None
        if self._last:
            last = self.network.get_submodule(self._last)
            hook = last.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0]))
        try:
            answer = self.network(self.prepared(images))
        finally:
            if hook is not None:
                hook.remove()
        logits = self._logits(answer, len(images))
        features = seen[-1].flatten(1) if seen else getattr(answer, "features", logits)
        return Forward(logits, features if isinstance(features, Tensor) else logits, {})

    def _logits(self, answer: Any, asked: int) -> Tensor:
        values = answer if isinstance(answer, Tensor) else getattr(answer, "logits", None)
        outputs, classes = self.given.outputs, self.given.classes
        shape = [asked] if outputs == "labels" else [asked, classes]
        if not isinstance(values, Tensor) or list(values.shape) != shape:
            came = list(values.shape) if isinstance(values, Tensor) else type(answer).__name__
            raise ShapeError(f"expected {outputs} {shape} from {self.given.name}, got {came}")
        if outputs == "labels":
            values = _SURE * torch.nn.functional.one_hot(values.long(), classes)
        elif outputs == "probabilities":
            values = values.clamp_min(_LEAST_PROBABILITY).log()
        values = values.float()
        return values if self._order is None else values[:, self._order]

    @torch.no_grad()
    def _find_last_layer(self, resolution_px: int) -> None:
        """Note the linear layer whose output the network gives, or its logarithms of probabilities."""
        linear = {name: m for name, m in self.network.named_modules() if isinstance(m, nn.Linear)}
        outputs: dict[str, tuple[Tensor, Tensor]] = {}

        def watch(name: str) -> Callable[..., None]:
            def keep(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
                outputs.pop(name, None)
                outputs[name] = (inputs[0], output)

            return keep

        hooks = [module.register_forward_hook(watch(name)) for name, module in linear.items()]
        weights = next(iter([*self.network.parameters(), *self.network.buffers()]), self._mean)
        try:
            shape = (2, 3, resolution_px, resolution_px)
            images = torch.linspace(0, 1, 6 * resolution_px**2).reshape(shape)  # no random draws: loading changes none
            answer = self.network(self.prepared(images).to(weights.device))
        finally:
            for hook in hooks:
                hook.remove()
        if isinstance(answer, Tensor) and answer.ndim == 2 and outputs:
            name, (features, output) = next(reversed(outputs.items()))
            is_last = output.shape == answer.shape and (
                torch.equal(output, answer) or torch.equal(output.log_softmax(dim=1), answer)
            )
            if is_last and features.ndim == 2:
                self._last, self.feature_dim = name, int(features.shape[1])
        elif isinstance(self.network, TargetModel):
            self.feature_dim = self.network.feature_dim


class _Function(nn.Module):
    """A function of a process as a module without weights. A copy of it is the same function."""

    def __init__(self, function: Answers) -> None:
        super().__init__()
        self.function = function

    @override
    def forward(self, images: Tensor) -> Any:
        return self.function(images)

    def __deepcopy__(self, memo: object) -> Self:
        return type(self)(self.function)


def build(recipe: Recipe, inputs: Inputs, context: BuildContext, folder: Path) -> dict[str, Any]:
    """Write the tensors of a given network, or what was said of one without, and what it gets right of the private
    report split.

    Raises:
        PreflightError: if it is not in this process.
        DataError: if a weight is not finite.
    """
    given = Given.of(Choice.from_plain(recipe.params["architecture"]))
    splits, resolution_px = load_splits(inputs.path("private")), int(recipe.inputs["private"].params["resolution_px"])
    if context.locations.get(given.digest, {}).get(LIVE) is None:
        what = "file" if given.library else "module or function"
        raise PreflightError(f"the {what} of {given.name} is not at hand; audit it again as before: midef.audit")
    model = given.network(context.locations, resolution_px).to(context.device)
    if given.sha256:
        tensors = model.network.state_dict() if isinstance(model, GivenNetwork) else {}
        # Copies, since a file holds no tensor twice, and tied weights are one.
        save_file({n: t.detach().cpu().clone().contiguous() for n, t in tensors.items()}, folder / WEIGHTS)
    else:
        (folder / ABOUT).write_text(json.dumps(asdict(given), indent=2) + "\n", encoding="utf-8")
    report = accuracy(model, splits.report, device=context.device)
    return {"train_s": 0.0, "report_accuracy": report, "classes": given.classes, "defense": {}}


def load(given: Given, folder: Path, context: BuildContext, resolution_px: int) -> TargetModel:
    """The given network with its stored weights, in eval mode on the context's device."""
    model = given.network(context.locations, resolution_px)
    if given.sha256:
        assert isinstance(model, GivenNetwork)
        model.network.load_state_dict(read_stored(folder / WEIGHTS))
    return model.to(context.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload,no-any-return]


def check_finite(name: str, tensors: Mapping[str, Tensor]) -> None:
    """Refuse weights that are no numbers.

    Raises:
        SpecError: naming the first.
    """
    if broken := not_finite(tensors):
        raise SpecError(f"{name}: {said_not_finite(broken)}; audit a network whose training ended well")
