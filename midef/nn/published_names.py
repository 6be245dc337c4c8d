"""Names of the tensors in published weight files, for the tensors of our networks."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Trunk:
    """A family's tensors in a published file.

    Args:
        named: our tensor below `blocks`, and the names of all blocks -> its name there.
        unpublished: blocks that no published file has, which start fresh.
        head: beginnings of the names that are not part of the trunk.
        renamed: spelling of older files -> today's.
        advice: beginning of our tensor's name -> what to do when its shape differs.
    """

    named: Callable[[str, tuple[str, ...]], str]
    head: tuple[str, ...]
    unpublished: frozenset[str] = frozenset()
    renamed: tuple[tuple[str, str], ...] = ()
    advice: Mapping[str, str] = field(default_factory=dict)


# Where each of our blocks begins in torchvision's list `features`: a convolution is three entries, a pooling one.
_VGG16_BEGINS = {"block1": 0, "block2": 7, "block3": 14, "block4": 24, "block5": 34}


def _vgg(ours: str, chain: tuple[str, ...]) -> str:
    block, index, leaf = ours.split(".")
    return f"features.{_VGG16_BEGINS[block] + int(index)}.{leaf}"


def _resnet(ours: str, chain: tuple[str, ...]) -> str:
    block, _, rest = ours.partition(".")
    if block == "stem":
        return f"{('conv1', 'bn1')[int(rest[0])]}{rest[1:]}"
    return f"{block.replace('_', '.')}.{rest}"


def _densenet(ours: str, chain: tuple[str, ...]) -> str:
    begins = {"stem.0.": "conv0.", "stem.1.": "norm0.", "pool.norm.": "norm5."}
    for old, new in begins.items():
        if ours.startswith(old):
            return f"features.{new}{ours.removeprefix(old)}"
    return "features." + re.sub(r"^dense(\d)\.layer", r"denseblock\1.denselayer", ours)


# Places in our stem -> torchvision's names; the others are poolings.
_INCEPTION_STEM = {"0": "1a_3x3", "1": "2a_3x3", "2": "2b_3x3", "4": "3b_1x1", "5": "4a_3x3"}


def _inception(ours: str, chain: tuple[str, ...]) -> str:
    block, _, rest = ours.partition(".")
    if block == "stem":
        place, _, leaf = rest.partition(".")
        return f"Conv2d_{_INCEPTION_STEM[place]}.{leaf}"
    return f"Mixed_{block.removeprefix('mixed')}.{rest}"


def _maxvit(ours: str, chain: tuple[str, ...]) -> str:
    path = re.sub(r"^pool\.", "classifier.", ours).replace(".mbconv.", ".MBconv.")
    return re.sub(r"^block(\d)_(\d)", lambda at: f"blocks.{int(at[1]) - 1}.layers.{at[2]}.layers", path)


def _vit(ours: str, chain: tuple[str, ...]) -> str:
    block, _, rest = ours.partition(".")
    if block == "stem":
        return f"encoder.{rest}" if rest == "pos_embedding" else rest
    if block == "pool":
        return f"encoder.{rest}"
    return f"encoder.layers.encoder_layer_{block.removeprefix('layer1_')}.{rest}"


def _swin(ours: str, chain: tuple[str, ...]) -> str:
    """Stages and the mergings between them share one list there."""
    block, _, rest = ours.partition(".")
    if block == "stem":
        return f"features.0.{rest}"
    if block.startswith("merge"):
        return f"features.{2 * int(block.removeprefix('merge'))}.{rest}"
    if block == "pool":
        return rest
    stage, index = block.removeprefix("layer").split("_")
    return f"features.{2 * int(stage) - 1}.{index}.{rest}"


def _ir(ours: str, chain: tuple[str, ...]) -> str:
    """Units of all stages share one list there."""
    block, _, rest = ours.partition(".")
    if block == "stem":
        return f"input_layer.{rest}"
    part, _, leaf = rest.partition(".")
    unit = [name for name in chain if name.startswith("layer")].index(block)
    return f"body.{unit}.{ {'residual': 'res', 'shortcut': 'shortcut'}[part] }_layer.{leaf}"


STEM_ADVICE = "the published network has the stem of 224 px; choose stem=imagenet"
POSITION_ADVICE = "the published positions are those of 224 px; choose resolution_px=224"
TRUNKS: Mapping[str, Trunk] = {
    "vgg": Trunk(named=_vgg, head=("classifier.",), unpublished=frozenset({"embedding"})),
    "resnet": Trunk(named=_resnet, head=("fc.",), advice={"stem.": STEM_ADVICE}),
    "densenet": Trunk(
        named=_densenet,
        head=("classifier.",),
        renamed=((r"(denselayer\d+\.(?:norm|conv))\.(?=[12]\.)", r"\1"),),
        advice={"stem.": STEM_ADVICE},
    ),
    "inception": Trunk(named=_inception, head=("fc.", "AuxLogits.")),
    "maxvit": Trunk(named=_maxvit, head=("classifier.5.",)),
    "vit": Trunk(
        named=_vit,
        head=("heads.",),
        renamed=((r"\.mlp\.linear_1\.", ".mlp.0."), (r"\.mlp\.linear_2\.", ".mlp.3.")),
        advice={"stem.pos_embedding": POSITION_ADVICE},
    ),
    "swin": Trunk(named=_swin, head=("head.",)),
    "ir": Trunk(named=_ir, head=("output_layer.",), unpublished=frozenset({"output"})),
}
"""Family of our architectures -> its tensors in published files."""


def modern(name: str, trunk: Trunk) -> str:
    """A name of an older file as it is today."""
    for old, new in trunk.renamed:
        name = re.sub(old, new, name)
    return name
