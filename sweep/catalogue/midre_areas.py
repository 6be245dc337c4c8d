"""Figure 2 of the MIDRE paper: constant erased areas from 0 to half of the image in six setups."""

from __future__ import annotations

from midef.core.certainty import SETTINGS
from midef.sweep.catalogue.published.tables import PPA, celeba, facescrub, numbered
from midef.sweep.spec.schema import SetupSpec, SweepSpec

AREAS = (0.1, 0.2, 0.3, 0.4, 0.5)


def midre_areas() -> SweepSpec:
    """Rows A01 to A06, three at 64 and three at 224 px. For `midef analyse erased_area`.

    What the setups are stands in a caption that our copy lacks. Certain are two: the text names LOMMA+KedMI of the
    third, and ResNet-18 has the numbers of the fifth (table 1: 88.67 to 27.75 % at 0.4). MaxViT fits the natural
    accuracy of the fourth (+0.37 points at 0.5 in table C.13) and not its attack accuracy. The others are our choice.
    """
    rows = [
        *(inferred(at_64(attack)) for attack in ("lomma_gmi", "plg_mi")),
        at_64("lomma_kedmi"),
        inferred(at_224("maxvit_t")),
        at_224("resnet18"),
        inferred(at_224("resnest101")),
    ]
    return SweepSpec(name="midre_areas", profile="mini", stand_ins=True, setups=numbered("A", rows), seeds=[0])


def at_64(attack: str) -> SetupSpec:
    """VGG16 on CelebA under each area."""
    defenses = ["none", *(f"midre(area_low={area},area_high={area})" for area in AREAS)]
    return celeba(attack, "vgg16").model_copy(update={"defenses": defenses})


def at_224(architecture: str) -> SetupSpec:
    """PPA on FaceScrub under each area."""
    defenses = ["none", *(f"midre(area_low={area},area_high={area},fill_space=normalised)" for area in AREAS)]
    return facescrub(PPA, architecture).model_copy(update={"defenses": defenses})


def inferred(row: SetupSpec) -> SetupSpec:
    """A row of which the paper does not say that it is one of the six."""
    return row.model_copy(update={"certainty": "inferred", "settings": dict.fromkeys(SETTINGS, "ours")})
