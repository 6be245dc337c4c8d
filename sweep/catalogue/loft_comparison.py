"""LoFt's comparison: seven defenses at two resolutions, with and without pre-training on faces."""

from __future__ import annotations

from midef.core.certainty import SETTINGS
from midef.sweep.catalogue.published.tables import Certainty, Settings, numbered
from midef.sweep.spec.schema import ProtocolSpec, SetupSpec, SweepSpec

PRIOR = "prior=style_gan2:ffhq"
MAIN = (f"if_gmi:loft({PRIOR})", f"ppdg_mi:loft({PRIOR})")
MORE_64 = ("gmi", "kedmi", f"mirror({PRIOR}-256)", f"ppa:tldmi({PRIOR})", "lomma_gmi", "lomma_kedmi", "plg_mi:orig")

# Table 5 holds the strengths of settings A, B and C, and our copy of it has no digits. Presets are those of the
# authors' scripts, where there are some; TL freezes a share of the layers there, half of them here.
_TRAP = "trap_mid:facescrub-resnet152"
OF_64 = (
    "mid",
    "bido:celeba-ir152",
    "nls",
    "tl_dmi",
    "rolss",
    "trap_mid",
    "loft:facescrub-resnet152-pretrained(rank=30)",
)
OF_224 = (
    *("mid:facescrub-resnet152-0.005", "bido:facescrub-resnet152", "nls:facescrub-resnet152-0.05", "tl_dmi"),
    *("rolss", _TRAP, "loft:facescrub-resnet152"),
)
OF_224_PRETRAINED = (
    *("mid:facescrub-resnet152-0.001", "bido:facescrub-resnet152-pretrained", "nls:facescrub-resnet152-0.05"),
    *("tl_dmi", "rolss", _TRAP, "loft:facescrub-resnet152-pretrained"),
)

# MS-Celeb-1M, which they pre-train on, was withdrawn; VGGFace2 stands for it where no weights of it are published.
FACES = "vggface2"
# Attacks have their official settings (C.3); how many classes and images of each is not legible. Torchvision's and
# Face.evoLVe's weights are named; recipes are in the authors' code, the milestones at 64 px and evaluators' are ours.
_STATED: Settings = {
    **dict.fromkeys(SETTINGS, "code"),
    **{"protocol": "ours", "weights": "paper", "evaluator": "ours"},
}
_STATED_64: Settings = {**_STATED, "training": "ours"}
_STATED_FACES: Settings = {**_STATED, "weights": "ours", "training": "ours"}


def loft_comparison() -> SweepSpec:
    """Rows LO01 to LO20: the two attacks of the main tables, then those of appendix D.

    LO01 to LO06 are tables 1 and 2; LO07 to LO13 are the further attacks on IR-152 that the text of appendix D lists.
    They are certain; of the others, CelebA, PLG-MI at 224 px and transformers, attack or pre-training is not legible:
    inferred. No row has a published number: our copy of the tables is without digits. Strengths are matched there to
    nearly one test accuracy, which `midef match loft_comparison` does. LOKT, which C.3 names, has no table.
    """
    rows = [
        *(_at_64(attack) for attack in MAIN),
        *(_at_224(attack) for attack in MAIN),
        *(_at_224(attack, pretrained=True) for attack in MAIN),
        *(_at_64(attack) for attack in MORE_64),
        *(_at_224("plg_mi:orig", pretrained=faces, certainty="inferred") for faces in (False, True)),
        _at_64(MAIN[0], private="celeba:papers-private", certainty="inferred"),
        _at_224(MAIN[0], private="celeba:ppa", certainty="inferred"),
        _at_224(MAIN[0], private="celeba:ppa", pretrained=True, certainty="inferred"),
        *(_at_224(MAIN[0], name, pretrained=True, certainty="inferred") for name in ("vit_b16", "swin_v2_t")),
    ]
    return SweepSpec(name="loft_comparison", profile="mini", stand_ins=True, setups=numbered("LO", rows), seeds=[0])


def _at_64(attack: str, *, private: str = "facescrub:mibench", certainty: Certainty = "certain") -> SetupSpec:
    """IR-152, judged by FaceNet112."""
    return SetupSpec(
        attack=[attack],
        architecture=["ir152"],
        private=private,
        public="ffhq_thumbnails",
        weights="ms1m",
        evaluator="facenet112",
        evaluator_weights="ms1m",
        resolution_px=64,
        protocol=ProtocolSpec(identities=100, images_per_identity=5, evaluator_resolution_px=112),
        defenses=["none", *OF_64],
        training={"preset": "loft-64"},
        evaluator_training={"preset": "loft-64"},
        certainty=certainty,
        settings=_STATED_64,
    )


def _at_224(
    attack: str,
    architecture: str = "resnet152",
    *,
    private: str = "facescrub:mibench",
    pretrained: bool = False,
    certainty: Certainty = "certain",
) -> SetupSpec:
    """ResNet-152 or a transformer, judged by MaxViT; from ImageNet's weights, or pre-trained on faces.

    A ViT is one stage, of which RoLSS takes the last quarter.
    """
    defenses: tuple[str, ...] = OF_224_PRETRAINED if pretrained else OF_224
    if architecture == "vit_b16":
        defenses = tuple("rolss(count=3)" if one == "rolss" else one for one in defenses)
    return SetupSpec(
        attack=[attack],
        architecture=[architecture],
        private=private,
        public="ffhq",
        evaluator="maxvit_t",
        evaluator_weights="imagenet",
        **({"pretraining": FACES} if pretrained else {"weights": "imagenet"}),
        resolution_px=224,
        protocol=ProtocolSpec(identities=100, images_per_identity=5, evaluator_resolution_px=224, resize="float"),
        defenses=["none", *defenses],
        training={"preset": "loft-224"},
        evaluator_training={"preset": "loft-224"},
        certainty=certainty,
        settings=_STATED_FACES if pretrained else _STATED,
    )
