"""The 20 setups that the TL-DMI paper evaluates its defense on: those of its table 2."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from midef.core.certainty import SETTINGS
from midef.sweep.catalogue.published.tables import (
    BIDO_64,
    BIDO_224,
    TL_DMI_64,
    TL_DMI_224,
    Settings,
    celeba,
    high_resolution,
    numbered,
)
from midef.sweep.spec.schema import ProtocolSpec, SetupSpec, SweepSpec

PPA = "ppa:tldmi(prior=style_gan2:ffhq)"
MIRROR = "mirror:tldmi(prior=style_gan2:ffhq-256)"

# 21.1 of 21.5 million weights train, the layers before them start from fresh weights as in VMI's code; no cut after a
# whole block gives that: 21.25 after the first stage, 21.02 after the block that follows it.
TL_DMI_VMI = "tl_dmi(cut=layer2_0,fresh=True)"
# The cut on ResNet-50 is not published; as on ResNet-101 the last stage and the head train.
TL_DMI_RESNET50 = "tl_dmi(cut=layer3_5)"
BIDO_VMI, MID_VMI = "bido:celeba-resnet34", "mid:celeba-resnet34"
BOTH_64 = "tl_dmi:celeba-vgg16-15.0m+bido:celeba-vgg16-tl-dmi"
MID_64 = "mid:celeba-vgg16-0.002"
MID_224 = ("mid:facescrub-resnet101", "mid:facescrub-resnet101-0.02", "mid:facescrub-resnet101-0.01")

# Tables 13, 14 and 16 of the supplement: recipes of the targets, classes attacked, iterations and images of each class.
# Evaluators are those of the attacks' code, to which the paper refers.
_STATED: Settings = {**dict.fromkeys(SETTINGS, "paper"), "evaluator": "code"}


def tl_dmi20() -> SweepSpec:
    """Rows TL01 to TL20, each with NoDef, TL-DMI and what the paper compares on it; all are certain.

    Table 2 multiplies out to 20 rows with 9 architectures, 4 private and 3 public data sets and 7 attacks: the counts
    of section 4. LOMMA is LOMMA with KedMI, the attack of table 3. Table 11 (LOMMA on ten more rows) and table 9
    (PPA with a second public set, not named) are beyond the 20.
    """
    rows = [*_at_64(), *_at_224()]
    return SweepSpec(name="tl_dmi20", profile="mini", stand_ins=True, setups=numbered("TL", rows), seeds=[0])


def _at_64() -> Iterator[SetupSpec]:
    yield _of_celeba(
        *("vmi", "resnet34_vmi", TL_DMI_VMI, BIDO_VMI, MID_VMI),
        private="celeba:vmi-private",
        public="celeba:vmi-public",
        protocol=ProtocolSpec(identities=300, images_per_identity=100, evaluator_resolution_px=112),
        settings={**_STATED, "evaluator": "ours"},  # VMI's evaluator is another network, which is not named here
    )
    rivals = {
        "kedmi": (BIDO_64, MID_64, BOTH_64),
        "gmi": (BIDO_64, MID_64),
        "lomma_kedmi": (BIDO_64, MID_64, "mid:celeba-vgg16", "mid:celeba-vgg16-0.004"),
        "brep_mi": (BIDO_64, MID_64),
    }
    for attack, others in rivals.items():
        stated: Settings = {**_STATED, "attack": "ours", "protocol": "ours"} if attack == "brep_mi" else _STATED
        yield _of_celeba(attack, "vgg16", TL_DMI_64["vgg16"], *others, settings=stated)
    for public in ("celeba:papers-public", "ffhq_thumbnails"):
        for architecture in ("vgg16", "ir152", "facenet64"):
            if (public, architecture) != ("celeba:papers-public", "vgg16"):
                for attack in ("kedmi", "gmi"):
                    yield _of_celeba(attack, architecture, TL_DMI_64[architecture], public=public)


def _at_224() -> Iterator[SetupSpec]:
    rivals = {"resnet18": (BIDO_224,), "resnet101": (BIDO_224, *MID_224), "maxvit_t": ()}
    for architecture, others in rivals.items():
        yield high_resolution(
            *(PPA, architecture, TL_DMI_224[architecture], *others),
            weights="imagenet",
            identities=530,
            images=50,
        ).model_copy(update={"settings": _STATED})
    yield high_resolution(
        *("ppa:tldmi(prior=style_gan2:afhq-dog)", "resnest101", "tl_dmi:stanford_dogs-resnest101"),
        private="stanford_dogs:uncropped",
        public="afhq_dogs",
        weights="imagenet",
        identities=120,
        images=50,
    ).model_copy(update={"settings": _STATED})
    yield high_resolution(
        *(MIRROR, "resnet50", TL_DMI_RESNET50),
        private="vggface2",
        public="ffhq:256",
        weights="imagenet",
        evaluator="inception_v1",
        evaluator_weights="vggface2",
        evaluator_px=160,
        identities=100,
        images=8,
        training={"preset": "tl-dmi-resnet50"},
        evaluator_training={"preset": "tl-dmi-resnet50"},
    ).model_copy(update={"settings": {**_STATED, "evaluator": "ours"}})


def _of_celeba(
    attack: str, architecture: str, *defenses: str, public: str = "", settings: Settings = _STATED, **changed: Any
) -> SetupSpec:
    """A row at 64 px as `celeba` makes it, with the defenses of this paper."""
    row = celeba(attack, architecture, public=public or "celeba:papers-public")
    return row.model_copy(update={"defenses": ["none", *defenses], "settings": settings, **changed})
