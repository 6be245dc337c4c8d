"""MIDRE's ablations: erasing variants, augmentations, fill, area, aspect, combinations, the adaptive attacker."""

from __future__ import annotations

from midef.sweep.catalogue.matrix37 import matrix37
from midef.sweep.catalogue.published.rows import read_lines
from midef.sweep.spec.schema import SweepSpec

TABLES = {
    "S20": ("Tab.1", "Tab.4"),
    "S26": ("Tab.C.13",),
    "S19": ("Tab.D.14", "Tab.D.15"),
    "S04": ("Tab.D.16", "Tab.D.18", "Tab.5-Setup2"),
    "S21": ("Tab.5-Setup1",),
}
"""Setup of `matrix37` -> tables of the paper that vary the defense on it."""
ADAPTIVE = {
    "S21": ("ppa:midre(prior=style_gan2:ffhq,erase_low=0.1,erase_high=0.8)", "midre:facescrub-224-strong"),
    "S04": ("lomma_kedmi:tldmi(erase_low=0.1,erase_high=0.4)", "midre:celeba-64"),
}
"""Table D.17: the attacker erases as the defense does, in every step; attack and defense, by setup."""


def midre_ablations() -> SweepSpec:
    """Rows of `matrix37` with every defense that MIDRE's ablation tables print a number for, and no other.

    The rows keep their ids, so that published numbers stand beside them; S21 and S04 with the adaptive attacker are
    rows of their own. Tables are 1, 4, 5, C.13, D.14 to D.18; that patches and pixel masking are shown in figures
    alone is why they are not here. Figures over areas and architectures are other sweeps.
    """
    rows = {row.id: row for row in matrix37().setups}
    printed: dict[str, list[str]] = {setup: ["none"] for setup in TABLES}
    for line in read_lines():
        setup = line["setup"]
        if line["paper"] == "MIDRE" and line["table"] in TABLES.get(setup, ()):
            printed[setup] += [line["our_defense"]] if line["our_defense"] not in printed[setup] else []
    setups = [rows[setup].model_copy(update={"defenses": defenses}) for setup, defenses in printed.items()]
    setups += [
        rows[setup].model_copy(update={"id": f"{setup}-adaptive", "attack": [attack], "defenses": ["none", defense]})
        for setup, (attack, defense) in ADAPTIVE.items()
    ]
    return SweepSpec(name="midre_ablations", profile="mini", stand_ins=True, setups=setups, seeds=[0])
