"""The strength of a defense: where it is, its range, and the defense at a value of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from midef.defenses.stack import choose_defense, remake_defense
from midef.models import ARCHITECTURES
from midef.sweep.matching.strengths import Strength, significant, why_untuned


@pytest.mark.parametrize(
    ("value", "short"), [(0.123456, 0.1235), (123456.0, 123500.0), (-0.00123456, -0.001235), (0.0, 0.0)]
)
def test_four_digits(value: float, short: float) -> None:
    assert significant(value) == pytest.approx(short, rel=1e-12)


def test_the_strength_of_a_stack_is_its_first_members() -> None:
    strength = Strength.of(choose_defense("midre(place=fixed)+nls"))
    assert strength is not None and strength.tuning.parameter == "area_high"
    assert strength.at(0.3).label == "midre(area_high=0.3,place=fixed)+nls"
    assert strength.hiding(0.1) == 0.0 and strength.hiding(0.8) == 1.0


def test_what_is_tied_keeps_the_ratio_that_was_written() -> None:
    strength = Strength.of(choose_defense("bido:celeba-resnet34"))
    assert strength is not None
    made = remake_defense(strength.at(0.2))
    assert (made.lambda_x, made.lambda_y) == (0.2, 4.0)  # type: ignore[attr-defined]


def test_a_coco_bido_is_searched_on_its_own_range() -> None:
    strength = Strength.of(choose_defense("bido(measure=coco)"))
    assert strength is not None and (strength.tuning.low, strength.tuning.high) == (0.5, 50.0)
    made = remake_defense(strength.at(5.0))
    assert (made.lambda_x, made.lambda_y, made.measure) == (5.0, 50.0, "coco")  # type: ignore[attr-defined]


def test_the_number_of_skips_is_bounded_by_the_networks_that_are_searched() -> None:
    """A ResNet-18 has 8 blocks, ViT-B/16 twelve, VGG16 none."""
    facts = {name: ARCHITECTURES.make(name).facts() for name in ("resnet18", "vit_b16", "vgg16")}
    written = choose_defense("tts")
    alone = Strength.of(written, networks=[facts["vit_b16"]])
    both = Strength.of(written, networks=[facts["vit_b16"], facts["resnet18"]])
    assert alone is not None and (alone.tuning.low, alone.tuning.high, alone.is_whole) == (1, 12, True)
    assert both is not None and both.tuning.high == 8, "what every network allows"
    assert both.at(both.rounded(2.6)).label == "tts(count=3)"
    assert Strength.of(written, networks=[facts["vgg16"]]) is None
    assert why_untuned(remake_defense(written), [facts["vgg16"]]).startswith("vgg has 0 blocks with skips to change")


def test_the_number_of_skips_leaves_blocks_alone_that_another_part_freezes() -> None:
    facts = ARCHITECTURES.make("resnet18").facts()
    written = choose_defense("rolss+tl_dmi(share=0.5)")
    strength = Strength.of(written, networks=[facts])
    assert strength is not None
    frozen = remake_defense(written).parts()[1].facts_after(facts).frozen
    left = [name for stage in facts.skip_stages for name in stage if name not in frozen]
    assert 0 < len(left) < 8 and strength.tuning.high == len(left)
    assert remake_defense(strength.at(strength.tuning.high)).problems(replace(facts, pretrained=True)) == []


def test_the_factor_of_ssf_is_searched_unless_a_number_is_written() -> None:
    facts = [ARCHITECTURES.make("resnet18").facts()]
    factor, number = (Strength.of(choose_defense(w), networks=facts) for w in ("ssf", "ssf(k=0.5,count=3)"))
    assert factor is not None and factor.tuning.parameter == "k"
    assert number is not None and number.at(4).label == "ssf(k=0.5,count=4)"
