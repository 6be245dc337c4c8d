"""Blocks and problems of the defenses that scale skip connections: RoLSS, SSF and TTS."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

from midef.core.errors import did_you_mean

if TYPE_CHECKING:
    from midef.models.base import ModelFacts
    from midef.nn.network import TargetModel

SkipStages = tuple[tuple[str, ...], ...]

LEGACY_FAMILY = "resnet"


def check_stages(stages: tuple[int, ...]) -> None:
    """Refuse a stage 0.

    Raises:
        ValueError: says how stages are counted.
    """
    if 0 in stages:
        raise ValueError(f"stages count from 1, or from -1 for the last; got {list(stages)}")


def blocks_in(skip_stages: SkipStages, stages: Iterable[int]) -> tuple[str, ...]:
    """Blocks of these stages, input first; stages that do not exist hold none (`problems` tells)."""
    count = len(skip_stages)
    chosen = {stage - 1 if stage > 0 else stage + count for stage in stages}
    return tuple(name for i, blocks in enumerate(skip_stages) if i in chosen for name in blocks)


def split_blocks(skip_stages: SkipStages) -> tuple[str, ...]:
    """The last fifth of a ResNet's third stage: blocks i >= 0.8 n rounded down (2 of 6, 5 of 23, 8 of 36)."""
    third = blocks_in(skip_stages, (3,))
    return third[4 * len(third) // 5 :]


def skip_stages_of(model: TargetModel) -> SkipStages:
    """`ModelFacts.skip_stages` of a built network, from the names of its blocks: `layer4_0`, `layer4_1` are a stage."""
    from midef.nn.network import SkipBlock

    names = [name for name, block in model.blocks.named_children() if isinstance(block, SkipBlock)]
    return tuple(tuple(group) for _, group in groupby(names, key=lambda name: name.rpartition("_")[0] or name))


def without(facts: ModelFacts, blocks: tuple[str, ...]) -> ModelFacts:
    """The facts once these blocks have no skips; a stage that loses all stays as an empty one, so the count holds."""
    remaining = tuple(tuple(name for name in stage if name not in blocks) for stage in facts.skip_stages)
    return replace(facts, skip_stages=remaining)


def problems_of(
    defense: str, facts: ModelFacts, *, stages: tuple[int, ...], only: tuple[str, ...] = (), legacy: bool = False
) -> list[str]:
    """Why these skips cannot be scaled in this architecture; each a sentence with what to do."""
    if not facts.has_skips:
        return [f"{defense} needs skip connections, {facts.family} has none; take another architecture or defense"]
    problems = []
    count = len(facts.skip_stages)
    for stage in stages:
        if abs(stage) > count:
            problems.append(
                f"{defense}: {facts.family} has no stage {stage}; stages are 1 to {count}, or -1 to -{count}"
            )
    kinds = facts.skip_kinds
    if only and not kinds:
        problems.append(f"{defense}: {facts.family} has one kind of skips; leave `only` empty")
    else:
        for kind in only:
            if kind not in kinds:
                problems.append(f"{defense}: {facts.family} has no skips of kind {kind!r}; {did_you_mean(kind, kinds)}")
    if legacy and facts.family != LEGACY_FAMILY:
        problems.append(f"{defense}: legacy_layer3_split is about ResNets, not {facts.family}; leave it out")
    scaled = {*blocks_in(facts.skip_stages, stages), *(split_blocks(facts.skip_stages) if legacy else ())}
    stuck = [name for name in facts.blocks if name in scaled & facts.frozen]
    if stuck:
        problems.append(
            f"{defense} changes the skips of {', '.join(stuck)}, which are frozen and cannot adapt; freeze fewer blocks"
        )
    return problems
