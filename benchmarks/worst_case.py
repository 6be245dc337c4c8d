"""How often the interval of a worst case over attacks holds the true number, as the page worst_case.md.

    python benchmarks/worst_case.py > benchmarks/worst_case.md    # [--runs 1000], half a minute of one core

Identities have an effect that all attacks share in part: hits of one identity go together, and so do attacks. The rule
is that of `midef.results.worst_case`, whose tests compare it with enumerated outcomes.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from midef.core.code_version import code_version
from midef.core.statistics import identity_bounds, identity_lower_bound
from midef.stages.build import processor_name

SIZES = ((20, 1), (60, 1), (60, 5))
ATTACKS = (1, 2, 5, 12)
RATES = (0.003, 0.02, 0.1, 0.5, 0.9)
SPREAD = 0.65
"""Standard deviation of an identity's effect, where that of an image is 1: correlation .3 on that scale."""
SHARED = 0.5
"""Share of the variance of an effect that the attacks have in common."""


PAGE = """# How often the interval of a worst case holds the true number

Made by `python benchmarks/worst_case.py > benchmarks/worst_case.md` on one core.
What the interval is: [docs/intervals.md](../docs/intervals.md#the-worst-of-several-attacks).

{made}

Nominal 95 %. Least coverage over rates of {rates} %, and where. `equal`: all attacks have this rate;
`one ahead`: one has it, the others half. `winner`: the ordinary interval of the attack that won. Attacks share half
of the variance between identities. {runs} simulated audits of a point, standard error at .95 {error:.4f}.

| identities x images | attacks | equal: winner | equal: worst case | one ahead: winner | one ahead: worst case |
| --- | ---: | ---: | ---: | ---: | ---: |"""


def hits_of(rng: np.random.Generator, rates: Sequence[float], identities: int, images: int, runs: int) -> Any:
    """Hits of each identity [runs, attacks, identities]."""
    shared = rng.normal(size=(runs, 1, identities))
    own = rng.normal(size=(runs, len(rates), identities))
    effect = math.sqrt(SHARED) * shared + math.sqrt(1 - SHARED) * own
    centre = ndtri(np.array(rates)) * math.sqrt(1 + SPREAD**2)
    return rng.binomial(images, ndtr(centre[None, :, None] + SPREAD * effect))


@lru_cache(None)
def exact_low(successes: tuple[int, ...], images: int, level: float) -> float:
    """Lower end for identities with so many successes each, in any order."""
    hits = [hit for count in successes for hit in [1] * count + [0] * (images - count)]
    return identity_lower_bound(hits, np.repeat(np.arange(len(successes)), images), level=level)


def coverages(rng: np.random.Generator, rates: Sequence[float], identities: int, images: int, runs: int) -> list[float]:
    """Share of audits whose interval holds the highest rate: of the attack that won alone, and of the worst case."""
    hits, size, truth = hits_of(rng, rates, identities, images, runs), identities * images, max(rates)
    total = hits.sum(axis=-1)
    between = ((hits - total[..., None] / identities) ** 2).sum(axis=-1)
    low, high = identity_bounds(total, between, size, identities * images**2)
    won = (np.arange(runs), total.argmax(axis=1))
    alone = (low[won] <= truth) & (truth <= high[won])
    lows = low
    if len(rates) > 1:
        level = 1 - 0.05 / len(rates)
        exact = [[exact_low(tuple(sorted(one)), images, level) for one in run] for run in hits.tolist()]
        lows = np.minimum(low, np.array(exact))
    worst = (lows.max(axis=1) <= truth) & (truth <= high.max(axis=1))
    return [float(alone.mean()), float(worst.mean())]


def lines(runs: int) -> Iterator[str]:
    rng = np.random.default_rng(0)
    for (identities, images), count in itertools.product(SIZES, ATTACKS):
        equal = [coverages(rng, [rate] * count, identities, images, runs) for rate in RATES]
        unequal = [coverages(rng, [rate, *[rate / 2] * (count - 1)], identities, images, runs) for rate in RATES]
        cells = []
        for found in (equal, unequal):
            for rule in (0, 1):
                least = min(range(len(RATES)), key=lambda i, of=found, rule=rule: of[i][rule])  # type: ignore[misc]
                cells.append(f"{found[least][rule]:.3f} ({100 * RATES[least]:g} %)")
        yield f"| {identities} x {images} | {count} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000, help="simulated audits of a point")
    runs = parser.parse_args().runs
    version, _, commit = code_version().partition("+")
    rates = ", ".join(f"{100 * rate:g}" for rate in RATES)
    error = math.sqrt(0.95 * 0.05 / runs)
    made = f"Made at commit `{commit or version}`, {datetime.now(UTC).date()}, on {processor_name()}."
    print(PAGE.format(made=made, rates=rates, runs=runs, error=error))
    for line in lines(runs):
        print(line, flush=True)


if __name__ == "__main__":
    main()
