"""Blocks and problems of the defenses that scale skip connections: RoLSS, SSF and TTS."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

from midef.core.errors import did_you_mean
from midef.defenses.tuning import NotTuned, Tuning

if TYPE_CHECKING:
    from midef.models.base import ModelFacts
    from midef.nn.network import TargetModel

SkipStages = tuple[tuple[str, ...], ...]

LEGACY_FAMILY = "resnet"
LAST_STAGE = (-1,)
MOST_BLOCKS = 50
"""Blocks with skips of a ResNet-152, the deepest architecture: upper end of a count where no network is known."""


def check_stages(stages: tuple[int, ...]) -> None:
    """Refuse a stage 0.

    Raises:
        ValueError: says how stages are counted.
    """
    if 0 in stages:
        raise ValueError(f"stages count from 1, or from -1 for the last; got {list(stages)}")


def check_count(count: int, *, others: bool) -> None:
    """Refuse a number of blocks below 0, and one beside fields that choose blocks too.

    Args:
        count: blocks, counted from the output.
        others: whether such a field differs from its default.

    Raises:
        ValueError: says what to leave out.
    """
    if count < 0:
        raise ValueError(f"needs count >= 0 (0 takes the last stage), got {count}")
    if count and others:
        raise ValueError("count chooses the blocks from the output back, whatever their stage; leave the stages out")


def blocks_of(skip_stages: SkipStages, *, count: int, stages: Iterable[int] = LAST_STAGE) -> tuple[str, ...]:
    """The last `count` blocks with skips, input first; with a count of 0, those of the stages."""
    if count == 0:
        return blocks_in(skip_stages, stages)
    return tuple(name for blocks in skip_stages for name in blocks)[-count:]


def tuning_of(count: Tuning, facts: ModelFacts) -> Tuning | NotTuned:
    """The range of a count on this network: to the last block with skips, from the output, that is not frozen."""
    names = [name for blocks in facts.skip_stages for name in blocks]
    blocks = next((i for i, name in enumerate(reversed(names)) if name in facts.frozen), len(names))
    if blocks < 2:
        return NotTuned(f"{facts.family} has {blocks} blocks with skips to change, so there is no number to search")
    return replace(count, high=float(blocks))


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
    defense: str,
    facts: ModelFacts,
    *,
    count: int,
    stages: tuple[int, ...] = LAST_STAGE,
    only: tuple[str, ...] = (),
    legacy: bool = False,
) -> list[str]:
    """Why these skips cannot be scaled in this architecture; each a sentence with what to do.

    A network of one stage has no last one: its whole depth would go, so it needs a count.
    """
    if not facts.has_skips:
        return [f"{defense} needs skip connections, {facts.family} has none; take another architecture or defense"]
    problems = []
    n_stages, n_blocks = len(facts.skip_stages), sum(map(len, facts.skip_stages))
    for stage in stages:
        if abs(stage) > n_stages:
            problems.append(
                f"{defense}: {facts.family} has no stage {stage}; stages are 1 to {n_stages}, or -1 to -{n_stages}"
            )
    if count > n_blocks:
        problems.append(f"{defense}: {facts.family} has {n_blocks} blocks with skips; give a count of at most that")
    if not problems and not count and stages and n_stages == 1 < n_blocks:
        quarter = max(1, n_blocks // 4)
        problems.append(
            f"{defense}: the {n_blocks} blocks of {facts.family} are one stage, so all skips would be changed; "
            f"give the number of blocks, as in count={quarter} (a quarter of the depth)"
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
    chosen = blocks_of(facts.skip_stages, count=count, stages=stages)
    scaled = {*chosen, *(split_blocks(facts.skip_stages) if legacy else ())}
    stuck = [name for name in facts.blocks if name in scaled & facts.frozen]
    if stuck:
        problems.append(
            f"{defense} changes the skips of {', '.join(stuck)}, which are frozen and cannot adapt; freeze fewer blocks"
        )
    return problems
