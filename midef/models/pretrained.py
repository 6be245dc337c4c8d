"""Published weights: where their files are expected, and their tensors under our names.

A published file gives the trunk. The head is always new, and so are the blocks that only our networks have.
Nothing is downloaded: a person puts the files into one folder, `weights_folder()`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midef.core.errors import DataError, PreflightError, SpecError, did_you_mean, few
from midef.models.base import ARCHITECTURES, Architecture, PublishedFile
from midef.nn.named_file import FOLDER_VARIABLE, NamedFile, torchvision_file
from midef.nn.published_names import POSITION_ADVICE, STEM_ADVICE, TRUNKS, Trunk, modern
from midef.nn.stem import stem_at
from midef.nn.weights import COUNTER, first, not_finite, read_tensors, said_not_finite, sides

if TYPE_CHECKING:
    from torch import Tensor

    from midef.nn.network import TargetModel


# --- files ------------------------------------------------------------------------------------------------------------

# Our architecture -> torchvision's name of it.
_IMAGENET = {
    "vgg16": "vgg16_bn",
    **{name: name for name in ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")},
    **{name: name for name in ("densenet121", "densenet161", "densenet169", "densenet201")},
    "inception_v3": "inception_v3",
    "maxvit_t": "maxvit_t",
    "vit_b16": "vit_b_16",
    **{name: name for name in ("swin_v2_t", "swin_v2_s", "swin_v2_b")},
}

# Our architecture -> beginnings of the names of the files of Face.evoLVe; the body does not depend on the resolution.
_IR50 = ("backbone_ir50_ms1m",)
_IR152 = ("backbone_ir152_ms1m", "Backbone_IR_152_Epoch_112")
_MS1M = {"facenet64": _IR50, "facenet112": _IR50, "ir152": _IR152}

WEIGHTS: Mapping[str, Mapping[str, Any]] = {"imagenet": _IMAGENET, "ms1m": _MS1M}
"""Published weights -> the architectures they exist for.

imagenet: torchvision's classifiers of ImageNet-1k, the first published version of each (`IMAGENET1K_V1`): what the
works we compare with call pre-trained, and the only version that no release of torchvision redefines.
ms1m: Face.evoLVe's recognisers of MS-Celeb-1M (github ZhaoJ9014/face.evoLVe), IR-50 and IR-152.
Beside these, an architecture may have a file of its own, `Architecture.published`: of ImageNet too, as ResNeSt has.

We differ: published trunks saw images normalised in their own way (ImageNet's mean and deviation; [-1, 1] for faces),
ours keep the normalisation of their `TargetModel` and are trained on with it.
"""


def known(weights: str, architecture: str) -> bool:
    """True if these weights are published for this architecture; False for tiny siblings."""
    own = _own_file(architecture)
    return architecture in WEIGHTS.get(weights, {}) or (own is not None and own.weights == weights)


def _own_file(architecture: str) -> PublishedFile | None:
    return ARCHITECTURES.get(architecture).published if architecture in ARCHITECTURES.names() else None


def _trunk(architecture: str) -> Trunk:
    own = _own_file(architecture)
    if own is not None:
        named = own.named
        return Trunk(named=lambda ours, chain: named(ours), head=own.head)
    return TRUNKS[ARCHITECTURES.get(architecture).family]


def weights_folder() -> Path:
    """Folder of published files: `$MIDEF_WEIGHTS`, else `~/.cache/midef/weights`."""
    named = os.environ.get(FOLDER_VARIABLE)
    return Path(named) if named else Path.home() / ".cache" / "midef" / "weights"


def published_file(weights: str, architecture: str) -> NamedFile:
    """The file that holds these weights.

    torchvision writes the first eight digits of each file's sha256 into its name; Face.evoLVe publishes none; an
    architecture with a file of its own says as many as are published.

    Raises:
        SpecError: if there are no such weights for this architecture.
    """
    own = _own_file(architecture)
    if own is not None and own.weights == weights:
        return own.file
    if own is not None:
        raise SpecError(f"no {weights} weights are published for {architecture!r}, which has {own.weights} alone")
    if weights not in WEIGHTS:
        raise SpecError(f"no published weights are called {weights!r}; {did_you_mean(weights, WEIGHTS)}")
    if not known(weights, architecture):
        near = did_you_mean(architecture, WEIGHTS[weights])
        raise SpecError(f"no {weights} weights are published for {architecture!r}; {near}")
    if weights == "ms1m":
        first, *also = (f"{begin}*{ending}" for begin in _MS1M[architecture] for ending in (".pth", ".safetensors"))
        source = "the model zoo of Face.evoLVe (github ZhaoJ9014/face.evoLVe)"
        return NamedFile(name=first, source=source, sha256="", also=tuple(also))
    url = _published_url(_IMAGENET[architecture])
    return replace(torchvision_file(url.rpartition("/")[2]), source=url, size_mib=_size_mib(_IMAGENET[architecture]))


def weight_file(weights: str, architecture: str, folder: Path) -> Path:
    """The published file in `folder`, whose content is not looked at.

    Raises:
        SpecError: if there are no such weights for this architecture.
        PreflightError: if the file is not there, or several could be meant.
    """
    file = published_file(weights, architecture)
    try:
        return file.find(folder)
    except PreflightError as error:
        raise PreflightError(f"{weights} weights of {architecture}: {error}") from error


def misfits(weights: str, architecture: Architecture, resolution_px: int) -> list[str]:
    """Reasons why these weights cannot start this network at this resolution; opens no file."""
    name: str = architecture.registered_name  # type: ignore[attr-defined]
    if not known(weights, name):
        try:
            published_file(weights, name)
        except SpecError as error:
            return error.problems
    stem = getattr(architecture, "stem", None)
    if stem is not None and stem_at(stem, resolution_px) != "imagenet":
        return [f"{weights} weights do not fit {name} with stem {stem!r} at {resolution_px} px; {STEM_ADVICE}"]
    if architecture.family == "vit" and resolution_px != 224:
        return [f"{weights} weights do not fit {name} at {resolution_px} px; {POSITION_ADVICE}"]
    return []


def verify(weights: str, architecture: str, path: Path) -> str:
    """The sha256 of a file, compared with the published one where one is known.

    Raises:
        SpecError: if there are no such weights for this architecture.
        DataError: if the file cannot be read or holds something else.
    """
    return published_file(weights, architecture).digest(path)


def read_backbone(weights: str, architecture: str, path: Path, model: TargetModel) -> dict[str, Tensor]:
    """State for `model.blocks.load_state_dict`: the published trunk, our own blocks as they are in `model`.

    `model` is one of this architecture before any defense's surgery; it is not changed. Every tensor of its trunk must
    be in the file with its shape, and the file may hold nothing else but a head. `num_batches_tracked` may be missing.

    Raises:
        SpecError: if there are no such weights for this architecture.
        DataError: if the file cannot be read, is another one, does not fit, or holds numbers that are not finite.
    """
    verify(weights, architecture, path)
    published = read_tensors(path)
    taken, problems = matched(architecture, published, model)
    if not taken:
        expected = [names for names in _names_there(architecture, model).values() if not names.endswith(COUNTER)]
        raise DataError(
            f"{path} does not hold the {weights} weights of {architecture}: it has {few(list(published), 3) or 'none'} "
            f"where {few(expected, 3)} are expected; rename its tensors, or get the published file"
        )
    if problems:
        raise DataError(f"{path} does not hold the {weights} weights of {architecture}: it\n  " + "\n  ".join(problems))
    if broken := not_finite({name: tensor.float() for name, tensor in taken.items()}):
        raise DataError(f"{path} is damaged: {said_not_finite(broken)}; fetch it again")
    return {**model.blocks.state_dict(), **taken}


def matched(
    architecture: str, published: Mapping[str, Tensor], model: TargetModel
) -> tuple[dict[str, Tensor], list[str]]:
    """Published tensors under our names below `model.blocks`, and what does not fit: a few lines of each kind."""
    trunk = _trunk(architecture)
    renamed = {modern(name, trunk): tensor for name, tensor in published.items()}
    left = {name: tensor for name, tensor in renamed.items() if not name.startswith(trunk.head)}
    fresh = model.blocks.state_dict()
    taken: dict[str, Tensor] = {}
    missing: list[str] = []
    others: list[str] = []
    for ours, theirs in _names_there(architecture, model).items():
        tensor = left.pop(theirs, None)
        if tensor is None:
            if not ours.endswith(COUNTER):
                missing.append(f"misses {theirs}, our {ours}")
        elif tensor.shape != fresh[ours].shape:
            advice = [then for begin, then in trunk.advice.items() if ours.startswith(begin)]
            shapes = f"has {theirs} with {sides(tensor)}, our {ours} has {sides(fresh[ours])}"
            others.append("; ".join([shapes, *advice]))
        elif tensor.is_floating_point() != fresh[ours].is_floating_point():
            others.append(f"has {theirs} as {tensor.dtype}, our {ours} is {fresh[ours].dtype}")
        else:
            taken[ours] = tensor
    unknown = [f"has {name}, which this network has not" for name in left]
    return taken, [line for lines in (missing, others, unknown) for line in first(lines)]


def _names_there(architecture: str, model: TargetModel) -> dict[str, str]:
    """Our tensors below `model.blocks` that are published, and what they are called there."""
    trunk = _trunk(architecture)
    published = (name for name in model.blocks.state_dict() if name.partition(".")[0] not in trunk.unpublished)
    return {ours: trunk.named(ours, model.block_names) for ours in published}


def unpublished_blocks(architecture: str) -> frozenset[str]:
    """Blocks that start fresh since no published file has them: `embedding` of VGG16, `output` of the IR bodies."""
    return _trunk(architecture).unpublished


def _published_url(torchvision_name: str) -> str:
    """Address of torchvision's ImageNet weights."""
    from torchvision.models import get_model_weights

    return str(get_model_weights(torchvision_name)["IMAGENET1K_V1"].url)


def _size_mib(torchvision_name: str) -> float:
    """Size of torchvision's file of ImageNet weights, as it states it."""
    from torchvision.models import get_model_weights

    return float(get_model_weights(torchvision_name)["IMAGENET1K_V1"].meta["_file_size"])
