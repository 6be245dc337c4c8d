"""PubFig83: 83 public figures, one folder each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from midef.datasets.base import DATASETS, Card
from midef.datasets.files.identity_folders import CroppedFolders


@DATASETS.add("pubfig83")
@dataclass(frozen=True, kw_only=True)
class Pubfig83(CroppedFolders):
    """PubFig83: 100 px images of 83 public figures; 50 of them are private in LOKT, whose evaluator knows all 83.

    Args:
        cropped: the centred 67 of 100 px; then the files must be 100x100.

    Source: LOKT (Nguyen et al., NeurIPS 2023) and its code.
    We differ: which 50 they took is taken to be the first in sorted order, and the splits are drawn by `seed`.
    """

    paper: ClassVar[str] = "Pinto et al., Scaling up biologically-inspired computer vision, CVPR workshops 2011"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"lokt-private": {"identities": 50}}
    crop_px: ClassVar[int] = 67
    stored_px: ClassVar[int] = 100
    facts: ClassVar[Card] = Card(
        title="PubFig83",
        licence="no formal licence known; for research; the images belong to their owners",
        consent="pictures of public figures collected from the internet; nobody was asked",
        source="the authors; derived from the PubFig set of Columbia University",
    )
