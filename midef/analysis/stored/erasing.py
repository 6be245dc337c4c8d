"""Cells whose defense erases parts of training images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from midef.core.lazy import torch

if TYPE_CHECKING:
    from midef.analysis.base import AnalysedCell
    from midef.defenses.midre import Midre

_CELLS = 4096


def erasing_of(cell: AnalysedCell) -> Midre | None:
    """The part of its defense that erases squares of training images."""
    from midef.defenses.midre import Midre
    from midef.defenses.stack import remake_defense

    parts = remake_defense(cell.cell.defense).parts()
    return next((part for part in parts if isinstance(part, Midre) and part.area_high > 0), None)


def erases_alone(cell: AnalysedCell) -> bool:
    """Whether that is all its defense does."""
    from midef.defenses.stack import remake_defense

    return erasing_of(cell) is not None and len(remake_defense(cell.cell.defense).parts()) == 1


def mean_erased(defense: Midre, resolution_px: int) -> float:
    """Mean share of an image that a patch of the defense covers, sides rounded to pixels."""
    from midef.defenses.families.erasing import reject_joint_boxes, valid_corner_boxes

    draws = torch.full((_CELLS, 3), 0.5)
    draws[:, 0] = (torch.arange(_CELLS) + 0.5) / _CELLS
    place = valid_corner_boxes if defense.sampler == "valid_corner" else reject_joint_boxes
    area = (defense.area_low / defense.patches, defense.area_high / defense.patches)
    boxes = place(draws, (resolution_px, resolution_px), area=area, ratio=defense.ratio)
    return float((boxes[:, 2] * boxes[:, 3]).double().mean()) / resolution_px**2
