"""LoFt's ablations: the activation of its head, its rank, and CALoR at equal rank."""

from __future__ import annotations

from midef.sweep.catalogue.loft_search import loft_search
from midef.sweep.spec.schema import SweepSpec

RANK = 10
RANKS = (4, 10, 20, 30)
OTHER_ACTIVATIONS = ("identity", "relu", "sigmoid")
CALOR_GAMMAS = (2, 4, 8)
"""Confidences that training stops at: 0.61, 0.78 and 0.88."""


def loft_heads() -> SweepSpec:
    """LoFt at four ranks (Tables 4 and 19), with four activations (Table 3), and CALoR with three confidences.

    On the data and with the first attack of `loft_search`. The paper's ranks go to 512; a head for 40 people has a rank
    of at most 40. CALoR's rate is that of short trainings: with the published one its epochs change nothing here.
    """
    base = loft_search()
    return base.model_copy(
        update={
            "name": "loft_heads",
            "setups": base.setups[:1],
            "defenses": [
                "none",
                *(f"loft(rank={rank})" for rank in RANKS),
                *(f"loft(rank={RANK},activation={name})" for name in OTHER_ACTIVATIONS),
                *(f"calor(rank={RANK},gamma={gamma},learning_rate=0.01)" for gamma in CALOR_GAMMAS),
            ],
        }
    )
