"""How often the intervals hold the true number: coverage of 95 % intervals before and now, as the page coverage.md.

    python benchmarks/coverage.py > benchmarks/coverage.md    # [--runs 20000] [--runs-before 1000], minutes of one core

What is simulated stands in coverage_simulation.py.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from coverage_simulation import (
    CORRELATIONS,
    IDENTITIES,
    IMAGES,
    RATES,
    Coverage,
    Rule,
    before,
    coverage,
    falls,
    now,
    over_seeds,
    paired,
    unequal,
)

from midef.core.code_version import code_version


def table(header: str, rows: Iterable[Sequence[str]]) -> str:
    """Markdown; the first column to the left."""
    names = [name.strip() for name in header.split("|")]
    lines = [f"| {' | '.join(names)} |", f"| --- |{' ---: |' * (len(names) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def error(runs: int) -> float:
    """Standard error of a simulated coverage of .95."""
    return math.sqrt(0.95 * 0.05 / runs)


def place(found: Coverage) -> str:
    """`3 %, .3`: rate and correlation of the least coverage."""
    return f"{100 * found.rate:g} %, {found.correlation:g}"


SIZES = {
    "60, 1 to 10 in turn": [1 + i % 10 for i in range(60)],
    "42, half of them 2, half 12": [2, 12] * 21,
    "20, 1 to 20": list(range(1, 21)),
    "30, one has half of all": [1] * 29 + [29],
}


def grid(runs: int, runs_before: int) -> tuple[str, str]:
    """One sentence about all sizes, and the table of each."""
    rows: list[list[str]] = []
    found: dict[Rule, list[Coverage]] = {before: [], now: []}
    for identities in IDENTITIES:
        for images in IMAGES:
            row = [f"{identities} x {images}"]
            for rule, count in ((before, runs_before), (now, runs)):
                one = coverage(rule, identities, images, runs=count)
                found[rule].append(one)
                row += [f"{one.least:.3f}", place(one), f"{one.mean:.3f}", str(falls(rule, identities, images))]
            rows.append([*row, "–" if math.isnan(one.least_of_few) else f"{one.least_of_few:.3f}"])
    parts = []
    for name, part in (("Before", found[before]), ("Now", found[now])):
        means = [one.mean for one in part]
        parts.append(
            f"{name}: min {min(one.least for one in part):.3f}, mean {math.fsum(means) / len(means):.3f}, "
            f"of single sizes {min(means):.3f} to {max(means):.3f}"
        )
    columns = "min | where (rate, correlation) | mean | falls"
    header = f"identities x images | before: {columns} | now: {columns} | min, fewer than 5"
    return ". ".join(parts), table(header, rows)


def unequal_rows(runs: int) -> Iterator[list[str]]:
    for name, sizes in SIZES.items():
        found = unequal(sizes, runs=runs)
        yield [name, f"{found.least:.3f}", place(found), f"{found.mean:.3f}"]


def seeds_rows(runs: int) -> Iterator[list[str]]:
    for seeds in (3, 5):
        for rate in (0.02, 0.1, 0.5, 0.9):
            for effect in (0.0, 0.2, 0.5, 1.0):
                shares = over_seeds(rate, effect, seeds, runs=runs)
                yield [str(seeds), f"{100 * rate:g} %", f"{effect:g}", *(f"{share:.3f}" for share in shares)]


def paired_rows(runs: int) -> Iterator[list[str]]:
    for identities, images in ((10, 5), (20, 10), (60, 1), (60, 5), (120, 2), (300, 1)):
        for rates in ((0.9, 0.9), (0.9, 0.8), (0.97, 0.94), (0.5, 0.3)):
            share, width = paired(identities, images, rates, runs=runs)
            drop = f"{100 * rates[0]:g} to {100 * rates[1]:g} %"
            yield [f"{identities} x {images}", drop, f"{share:.3f}", f"{100 * width:.1f}"]


PAGE = """# How often the intervals hold the true number

Made by `python benchmarks/coverage.py > benchmarks/coverage.md` on one core.
What the intervals are: [docs/intervals.md](../docs/intervals.md).

## Success rates within a run

{made}

Nominal 95 %. Every row holds {rates} rates from 0 to 100 % and {correlations} correlations of the images of an
identity, 0 to .6 (beta-binomial; none with one image of each). `min`: least coverage of all points, and where; `mean`:
over rates of 5 to 95 % in steps of 5 and all correlations. `falls`: steps of one more hit, spread as evenly or packed
as tightly as possible, at which an end of the interval falls. `min, fewer than 5`: where fewer than five hits or misses
are expected. Simulations of a point: {runs} now, {runs_before} before; standard error at .95 {error:.4f} and
{error_before:.4f}. The least of a hundred points lies on average 2.5 standard errors below the truth.

**{sentence}.**

{grid}

Identities with unequal numbers of images, the rule in use, {some} simulations of a point (standard error
{error_some:.4f}):

{unequal}

## Over seeds

{made}

60 identities x 5 images, the same for every seed. An identity's rate in a run is the normal distribution function of a
level, an effect of the identity (standard deviation 0.8) and one of the seed (`spread`; one standard deviation to
either side makes 4 and 16 % of a rate of 10 % at 0.5, 1 and 20 % at 1). {few} simulations of a row, standard error
{error_few:.4f}. Earlier versions printed Student's t over seeds from three seeds on. With both sources the interval is
wide where seeds agree, and too narrow (.87) where three seeds spread so much that their rates are skewed.

{over_seeds}

## Differences on the same images

{made}

Correlation .3; both models find the same identities easy. {few} simulations of a row.

{paired}
"""


def page(runs: int, runs_before: int) -> str:
    """The whole of coverage.md."""
    from midef.stages.build import processor_name

    sentence, sizes = grid(runs, runs_before)
    some, few = runs // 4, runs // 5
    version, _, commit = code_version().partition("+")
    return PAGE.format(
        made=f"Made at commit `{commit or version}`, {datetime.now(UTC):%Y-%m-%d}, on {processor_name()}.",
        rates=len(RATES),
        correlations=len(CORRELATIONS),
        runs=runs,
        runs_before=runs_before,
        error=error(runs),
        error_before=error(runs_before),
        sentence=sentence,
        grid=sizes,
        some=some,
        error_some=error(some),
        unequal=table("identities and images | min | where | mean", unequal_rows(some)),
        few=few,
        error_few=error(few),
        over_seeds=table("seeds | rate | spread | t over seeds | within a run | both sources", seeds_rows(few)),
        paired=table("identities x images | natural accuracy | coverage | mean width, points", paired_rows(few)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20_000, help="simulations of each point, the rule in use")
    parser.add_argument("--runs-before", type=int, default=1_000, help="of each point, the rule of earlier versions")
    options = parser.parse_args()
    print(page(options.runs, options.runs_before), end="")


if __name__ == "__main__":
    main()
