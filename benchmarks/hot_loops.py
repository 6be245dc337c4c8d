"""How much faster the hot loops are, as ratios of CPU seconds measured in the same run.

    python benchmarks/hot_loops.py --before CHECKOUT [--only WORD ...] [--rounds 2]

`--before` does the work of every registered attack, prior, defense, small architecture and metric in a tiny cell, with
the `midef` of another checkout and with this one's, in turns: CPU seconds of one thread, without imports and inputs.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from hot_loops_before import HEAD, compare, summary

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, help="a checkout of an older commit")
    parser.add_argument("--only", nargs="*", default=[], help="words, of which the name of a stage holds one")
    parser.add_argument("--rounds", type=int, default=2, help="of each stage")
    options = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f}\n\n{HEAD}", flush=True)
    compared = compare(
        options.before, ROOT, only=options.only, rounds=options.rounds, say=lambda one: print(one.line, flush=True)
    )
    print(f"\n{summary(compared)}\n\nload {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
