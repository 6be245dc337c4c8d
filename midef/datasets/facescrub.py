"""FaceScrub: celebrities, one folder each; private data, or public data beside CelebA."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from midef.datasets.base import DATASETS, Card
from midef.datasets.files.listed import IdentityFolders


@DATASETS.add("facescrub")
@dataclass(frozen=True, kw_only=True)
class Facescrub(IdentityFolders):
    """FaceScrub: 530 celebrities. LOKT and data poisoning take it as private data, others as public data for CelebA.

    Args:
        cropped: the centred 54 of 64 px, as where it is public data; then the files must be 64x64. Private images are
            used whole.

    Source: public use, with a list of 43,683 files: PLG-MI (Yuan et al., AAAI 2023) and its code; `lokt-private`:
    LOKT (Nguyen et al., NeurIPS 2023) and its code; `lpa-private`, `lpa-public`: the data-poisoning paper, 100 each.
    We differ: PLG-MI trains its generator on the whole 64 px but ranks the images on the centred 54; we crop in both.
    Splits are drawn per identity, not over the whole set. Which 100 identities `lpa` took is not published; these are
    the first and the second hundred.
    """

    paper: ClassVar[str] = "Ng and Winkler, A data-driven approach to cleaning large face datasets, ICIP 2014"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "lokt-private": {"identities": 200},
        "public": {"role": "public", "cropped": True},
        "lpa-private": {"identities": 100},
        "lpa-public": {"role": "public", "start": 100, "identities": 100},
    }
    crop_px: ClassVar[int] = 54
    stored_px: ClassVar[int] = 64
    facts: ClassVar[Card] = Card(
        title="FaceScrub",
        licence="addresses of images for research; the images carry no licence and belong to their owners",
        consent="pictures of celebrities collected from the internet; nobody was asked",
        source="the authors' list of addresses; images collected from them differ from copy to copy",
    )

    cropped: bool = False
