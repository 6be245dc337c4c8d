"""How often the intervals hold the true number: coverage of 95 % intervals before and now, as the page coverage.md.

    python benchmarks/coverage.py > benchmarks/coverage.md    # [--runs 20000] [--runs-before 1000], minutes of one core
    python benchmarks/coverage.py --paired-in benchmarks/coverage.md    # only its last section is made anew

What is simulated stands in coverage_simulation.py and paired_simulation.py.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import numpy as np
import paired_simulation as pairs
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


def paired_of(identities: int, images: int, runs: int) -> list[pairs.Found]:
    """All points of a size; where the interval seems to hold the truth in less than .935, ten times as many samples."""
    sizes = np.full(identities, images)
    found = [pairs.coverage(point, sizes, runs=runs) for point in pairs.points(images)]
    return [pairs.coverage(one.point, sizes, runs=10 * runs, again=True) if one.now < 0.935 else one for one in found]


def ratio(found: Iterable[pairs.Found]) -> float:
    """Median width, now to before."""
    return median(one.width_now / one.width_before for one in found)


def paired_grid(runs: int) -> tuple[str, str]:
    """Sentences about all points, and the table of each size."""
    rows: list[list[str]] = []
    every: list[pairs.Found] = []
    means: list[float] = []
    for identities in pairs.IDENTITIES:
        for images in pairs.IMAGES:
            found = paired_of(identities, images, runs)
            least, mean = pairs.least_and_mean(found)
            losses = [one for one in found if 0 < one.point.drop <= 0.05]
            seen = (math.fsum(one.seen_before for one in losses), math.fsum(one.seen_now for one in losses))
            rows.append(
                [
                    f"{identities} x {images}",
                    f"{min(one.before for one in found):.3f}",
                    f"{least.now:.3f}",
                    str(least.point),
                    f"{mean:.3f}",
                    f"{ratio(found):.2f}",
                    f"{ratio(one for one in found if one.point.models == 'alike'):.2f}",
                    *(f"{100 * share / len(losses):.0f} %" for share in seen),
                ]
            )
            every += found
            means.append(mean)
    sharp = [one for one in every if one.point.models == "alike" and one.images >= 20]
    sentence = (
        f"Now: min {min(one.now for one in every):.3f}, mean {pairs.least_and_mean(every)[1]:.3f}, of single sizes "
        f"{min(means):.3f} to {max(means):.3f}. Before: min {min(one.before for one in every):.3f}. Median width to "
        f"before: {ratio(every):.2f}, of models alike and 20 or 50 images of each identity {ratio(sharp):.2f}"
    )
    header = (
        "identities x images | before: min | now: min | where (rate, points lost, correlation, models) | mean | "
        "width to before | of models alike | seen before | seen now"
    )
    return sentence, table(header, rows)


def paired_others(runs: int) -> Iterator[list[str]]:
    """Unequal identities, and identities of which a few lose all."""
    cases = {
        f"{name}; {point}": pairs.coverage(point, np.array(sizes), runs=runs)
        for name, sizes in SIZES.items()
        for point in (pairs.Point(0.9, 0.02, 0.3, "alike"), pairs.Point(0.5, 0.2, 0.3, "apart"))
    }
    for identities, images, share, background in ((60, 20, 0.02, 0.0), (60, 20, 0.02, 0.02), (300, 20, 0.02, 0.02)):
        name = f"{identities} x {images}, {100 * share:g} % lose all, {100 * background:g} % of other images change"
        cases[name] = pairs.some_lose_all(share, background, identities, images, runs=runs)
    for name, one in cases.items():
        widths = (f"{100 * width:.1f}" for width in (one.width_before, one.width_now))
        yield [name, f"{one.before:.3f}", f"{one.now:.3f}", *widths]


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

{paired}"""

DIFFERENCES = "## Differences on the same images"

PAIRED = (
    DIFFERENCES
    + """

{made}

Points of every row: a first model with {rates} % and a loss of {drops} points, {correlations} correlations of the
images of an identity, and three kinds of models. `apart`: the rates of identities correlate by .6, the images not at
all. `related`: the same identities are hard, and half of the images are decided alike; `alike`: 95 % of them. `min`:
least coverage of all points, and where; `mean`: over points at which {few} or more identities differ. `width to
before`: median ratio of the mean widths; `seen`: share of intervals above 0 where 1, 2 or 5 points are lost. {runs}
simulations of a point, standard error at .95 {error:.4f}; below .935 {more} others in their place (standard error
{error_more:.4f}).

**{sentence}.**

{grid}

Other samples, {some} simulations of each. That a few identities lose all their images cannot be seen in small changes
of the others: where none of the few is in the sample, the interval is too narrow. One that allowed for it would resolve
no loss that many identities share.

{others}
"""
)


def made() -> str:
    """When and where a section was made."""
    from midef.stages.build import processor_name

    version, _, commit = code_version().partition("+")
    return f"Made at commit `{commit or version}`, {datetime.now(UTC):%Y-%m-%d}, on {processor_name()}."


def paired_section(runs: int) -> str:
    """The section on differences."""
    sentence, sizes = paired_grid(runs)
    return PAIRED.format(
        made=made(),
        rates=", ".join(f"{100 * rate:g}" for rate in pairs.BEFORE),
        drops=", ".join(f"{100 * drop:g}" for drop in pairs.DROPS),
        correlations=len(pairs.CORRELATIONS),
        few=pairs.FEW,
        runs=runs,
        error=error(runs),
        more=10 * runs,
        error_more=error(10 * runs),
        sentence=sentence,
        grid=sizes,
        some=4 * runs,
        others=table("sample | coverage before | now | width before, points | now", paired_others(4 * runs)),
    )


def page(runs: int, runs_before: int) -> str:
    """The whole of coverage.md."""
    sentence, sizes = grid(runs, runs_before)
    some, few = runs // 4, runs // 5
    return PAGE.format(
        made=made(),
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
        paired=paired_section(runs // 20),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20_000, help="simulations of each point, the rule in use")
    parser.add_argument("--runs-before", type=int, default=1_000, help="of each point, the rule of earlier versions")
    parser.add_argument("--paired-in", type=Path, metavar="PAGE", help="make only the section on differences of PAGE")
    options = parser.parse_args()
    if options.paired_in:
        kept, _, _ = options.paired_in.read_text(encoding="utf-8").partition(DIFFERENCES)
        options.paired_in.write_text(kept + paired_section(options.runs // 20), encoding="utf-8")
        return
    print(page(options.runs, options.runs_before), end="")


if __name__ == "__main__":
    main()
