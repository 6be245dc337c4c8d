"""How much faster the hot loops are, as ratios of CPU seconds measured in the same run.

    python benchmarks/hot_loops.py [attack prior training evaluate] [--only WORD ...] [--rounds 3] [--page FILE]
    python benchmarks/hot_loops.py --before CHECKOUT [--only WORD ...] [--rounds 3] [--page FILE]

Without `--before` each loop of midef stands beside a naive one, written here from the formula: same networks, batches
and seed, and results that are compared. With it, the work of every registered attack, prior, defense, small
architecture and metric in a tiny cell is done with the `midef` of another checkout and with this one's, in turns. All
on one thread, in CPU seconds, without imports and inputs, so that other work on the machine hardly counts.

`--page` also writes the table into the part of the page that is marked for it.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import torch
from hot_loops_before import HEAD as BEFORE_HEAD
from hot_loops_before import compare, summary
from hot_loops_evaluate import evaluate_pairs
from hot_loops_naive import HEAD, NotTheSameWork, Pair, Sizes, lines
from hot_loops_priors import prior_pairs
from hot_loops_search import search_pairs
from hot_loops_training import training_pairs

from midef.attacks import SmallBudget
from midef.core.code_version import code_version
from midef.stages.build import processor_name

ROOT = Path(__file__).resolve().parents[1]
BUDGET = SmallBudget(
    search=2, steps=2, epochs=1, inverter_width=32, latent_dim=64, public_steps=2, width=32, batch_size=32
)
REAL = Sizes(target="vgg16", px=64, classes=100, rows=4, budget=BUDGET)
"""Of attacks, generators and evaluation: a network and images of the papers' size."""
TINY = Sizes(target="vgg16_tiny", px=32, classes=100, rows=4, budget=BUDGET, steps=8)
"""Of trainings: what a smoke sweep trains."""
GROUPS: dict[str, tuple[Callable[[Sizes], Iterator[Pair]], Sizes]] = {
    "attack": (search_pairs, REAL),
    "prior": (prior_pairs, REAL),
    "training": (training_pairs, TINY),
    "evaluate": (evaluate_pairs, REAL),
}


def naive_text(groups: list[str], only: list[str], rounds: int) -> tuple[str, list[str]]:
    """The table of midef's loops beside naive ones, and the pairs that have no row for their results are too far apart.

    Says each row as it is measured.
    """
    torch.set_num_threads(1)
    rows, refused = [HEAD], []
    print(HEAD, flush=True)
    for group in groups:
        make, sizes = GROUPS[group]
        for pair in make(sizes):
            if only and not any(word in pair.name for word in only):
                continue
            try:
                rows += lines([pair], rounds)
                print(rows[-1], flush=True)
            except NotTheSameWork as error:
                refused.append(str(error))
                print(error, file=sys.stderr)
    return "\n".join(rows), refused


def before_text(before: Path, only: list[str], rounds: int) -> str:
    """The table of a checkout before and this one after; says each row as it is measured."""
    print(BEFORE_HEAD, flush=True)
    compared = compare(before, ROOT, only=only, rounds=rounds, say=lambda one: print(one.line, flush=True))
    table = "\n".join([BEFORE_HEAD, *(one.line for one in compared)])
    print(f"\n{summary(compared)}")
    return f"{summary(compared)}\n\n{table}"


def commit_of(checkout: Path) -> str:
    """Short name of the commit that a checkout is at."""
    words = ["git", "-C", str(checkout), "rev-parse", "--short=8", "HEAD"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def write(page: Path, part: str, text: str) -> None:
    """Replace the part of a page that is marked by `<!-- hot loops: PART -->` and `<!-- /hot loops -->`."""
    marked = re.compile(rf"(<!-- hot loops: {part} -->\n).*?(<!-- /hot loops -->)", re.DOTALL)
    old = page.read_text("utf-8")
    if not marked.search(old):
        sys.exit(f"{page} has no part marked <!-- hot loops: {part} --> to <!-- /hot loops -->")
    page.write_text(marked.sub(lambda found: f"{found[1]}{text}\n{found[2]}", old), "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"{', '.join(GROUPS)}; all where none is given")
    parser.add_argument("--before", type=Path, help="a checkout of an older commit, instead of naive references")
    parser.add_argument("--only", nargs="*", default=[], help="words, of which a name holds one")
    parser.add_argument("--rounds", type=int, default=3, help="of each pair; which of both goes first alternates")
    parser.add_argument("--page", type=Path, help="Markdown file whose marked part is written anew")
    options = parser.parse_args()
    version, _, commit = code_version().partition("+")
    commits, load, refused = f"`{commit or version}`", os.getloadavg()[0], list[str]()
    if options.before:
        commits = f"`{commit_of(options.before)}` and {commits}"
        part, text = "before", before_text(options.before, options.only, options.rounds)
        command = "python benchmarks/hot_loops.py --before CHECKOUT"
    else:
        part, (text, refused) = "naive", naive_text(options.groups or list(GROUPS), options.only, options.rounds)
        command = "python benchmarks/hot_loops.py"
    made = (
        f"Made at commit {commits}, {datetime.now(UTC):%Y-%m-%d}, on {processor_name()}, one thread, torch "
        f"{torch.__version__}, load {load:.1f} to {os.getloadavg()[0]:.1f}: `{command}`"
    )
    print(f"\n{made}")
    if options.page:
        write(options.page, part, f"{made}\n\n{text}")
    if refused:
        sys.exit("not the same work, no row: " + "; ".join(refused))


if __name__ == "__main__":
    main()
