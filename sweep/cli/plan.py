"""`midef plan`."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from midef.core.certainty import with_certainty
from midef.core.errors import PreflightError, SpecError
from midef.core.recipe import each_once
from midef.core.text import counted
from midef.results.layout import wrapped, wrapped_lines
from midef.sweep.cli.options import (
    SweepArguments,
    add_cell_arguments,
    add_store_argument,
    add_sweep_arguments,
    parsed,
    say,
)
from midef.sweep.cli.terminal import text_width
from midef.sweep.library import existing_store, is_matched, plan_cells, search_text
from midef.sweep.result import EXIT_OK

if TYPE_CHECKING:
    from midef.storage import Store
    from midef.sweep.planning.plan import Plan
    from midef.sweep.spec.resolve import Sweep

HELP = "count what a sweep needs, what is stored, and what the rest will cost"


@dataclass(frozen=True, kw_only=True)
class PlanArguments(SweepArguments):
    """The options of `midef plan`."""

    store: str
    expand: bool
    json: bool
    retry_failed: bool
    only: list[str]
    gpu_hours: bool
    probe: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb to its parser."""
    add_sweep_arguments(parser)
    add_store_argument(parser)
    parser.add_argument("--expand", action="store_true", help="print one line per cell as well")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--gpu-hours", action="store_true", help="print the GPU-hours of each setup as well, low / expected / worst"
    )
    parser.add_argument(
        "--probe",
        action="store_true",
        help="time training steps on this machine for some seconds; with a GPU, hours are predicted for it",
    )
    add_cell_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print the plan; makes no store."""
    from midef.sweep.planning.plan_text import gpu_hours_by_setup, plan_text

    options = parsed(PlanArguments, args)
    sweep = _counted(options)
    if is_matched(sweep):
        return _plan_match(sweep, options)
    store = existing_store(options.store)
    plan = plan_cells(sweep, store or options.store, only=options.only, retry_failed=options.retry_failed)
    conflict = _conflict(sweep, store)
    if options.probe:
        from midef.sweep.planning.gpu import probe

        probed = probe()
        plan.rates = probed.rates()
        if not options.json:
            say(f"probe: {probed.text}")
    code = PreflightError.exit_code if sweep.lacking else EXIT_OK
    if options.json:
        say(json.dumps({**_as_plain(plan), "name_conflict": conflict}, indent=1))
        return code
    say(plan_text(plan, text_width()))
    if held := _gpu_shares(plan, store):
        say("\n".join(wrapped(held, text_width())))
    _say_conflict(conflict, "run")
    if options.gpu_hours:
        say("\nGPU-hours of each setup, low / expected / worst; what setups share counts for each:")
        for line in gpu_hours_by_setup(plan):
            say(line)
    if options.expand:
        for line in _cell_lines(plan):
            say(line)
    if sweep.lacking:
        say(f"\nmissing here: {len(sweep.lacking)}; counted as published, so keys and what is stored are not known of:")
        for one in sweep.lacking:
            say(f"- {one}")
    return code


def _gpu_shares(plan: Plan, store: Store | None) -> str:
    """How many nodes hold which share of a GPU of this machine; "" where it has none, or its memory is not known."""
    from midef.sweep.planning.card import card_memory_mb
    from midef.sweep.planning.gpu_shares import shares_for

    shares = plan.sweep.profile.gpus
    card_mb = card_memory_mb() if shares and plan.nodes else 0.0
    recipes = [node.recipe for node in plan.nodes.values()]
    return shares_for(shares, recipes, store, card_mb).text(recipes) if card_mb else ""


def _plan_match(sweep: Sweep, options: PlanArguments) -> int:
    """Print what `midef match` would search, and what that costs."""
    from midef.storage.matches import read_matches
    from midef.sweep.matching.match_cost import cost_text, match_cost
    from midef.sweep.planning.trainings import expected_text

    if sweep.lacking:
        raise PreflightError(list(sweep.lacking))
    flags = {"expand": options.expand, "only": options.only, "gpu-hours": options.gpu_hours, "probe": options.probe}
    given = [f"--{name}" for name, value in flags.items() if value]
    given += ["--retry-failed"] if options.retry_failed else []
    if given:
        raise SpecError(f"midef plan of a sweep that is matched takes no {', '.join(given)}")
    text = search_text(sweep)
    store = existing_store(options.store)  # refuses what `midef match` would
    cost = match_cost(sweep, store)
    conflict = _conflict(sweep, store)
    if options.json:
        about = {"sweep": sweep.name, "digest": sweep.digest, "profile": sweep.profile.name, "name_conflict": conflict}
        say(json.dumps({**about, **asdict(cost), "total": asdict(cost.total)}, indent=1))
        return EXIT_OK
    say("\n".join(wrapped_lines(f"{text}\n\n{cost_text(cost)}".splitlines(), text_width())))
    for report in read_matches(store, sweep.name) if store is not None else ():
        if report.driver == sweep.digest:
            known = {training.target_key for outcome in report.outcomes for training in outcome.trainings}
            if known:
                say(f"{counted(len(known), 'training')} of an earlier search are stored, and not taken off above")
            break
    if how := expected_text(sweep.profile, each_once(c.recipes.scores for c in sweep.cells if not c.refused)):
        say("\n".join(wrapped(how, text_width())))
    for note in sweep.notes:
        say("\n".join(wrapped(f"note: {note}", text_width())))
    _say_conflict(conflict, "match")
    return EXIT_OK


def _conflict(sweep: Sweep, store: Store | None) -> str:
    """Why the sweep would not start under its name; "" if it would, or without a store."""
    if store is None:
        return ""
    from midef.sweep.naming import name_conflict  # reads Parquet, which a plan without a store does without

    return name_conflict(sweep, store)


def _say_conflict(conflict: str, verb: str) -> None:
    if conflict:
        lines = [f"`midef {verb}` will not start this under its name:", *conflict.splitlines()]
        say("\n" + "\n".join(wrapped_lines(lines, text_width())))


def _counted(options: PlanArguments) -> Sweep:
    """The sweep, with what is missing here counted as published.

    Raises:
        PreflightError: where nothing is left to count.
    """
    from midef.sweep.spec.resolve import resolve

    sweep = resolve(options.spec(), absent=True)
    if sweep.lacking and not sweep.cells:
        raise PreflightError(list(sweep.lacking))
    return sweep


def _as_plain(plan: Plan) -> dict[str, object]:
    return {
        "sweep": plan.sweep.name,
        "digest": plan.sweep.digest,
        "cells": len(plan.cells),
        "done": len(plan.done),
        "to_build": len(plan.nodes),
        "failed_before": len(plan.failed_before),
        "refused": len(plan.refused),
        "unshared": dict(plan.unshared),
        "shared": dict(plan.shared),
        "cached": dict(plan.cached),
        "cost": asdict(plan.cost()),
        "gpu": plan.rates.what,
        "lacking": list(plan.sweep.lacking),
        "notes": list(plan.sweep.notes),
    }


def _cell_lines(plan: Plan) -> list[str]:
    """One line per cell: digest, state, setup, defense, seed."""
    states = {c.cell.digest: "done" for c in plan.done}
    states |= {c.cell.digest: "failed" for c in plan.failed_before}
    states |= {c.cell.digest: "refused" for c in plan.refused}
    lines = []
    for planned in plan.cells:
        cell = planned.cell
        setup = with_certainty(cell.setup.id, cell.setup.certainty, cell.setup.settings)
        state = states.get(cell.digest, "to do")
        lines.append(f"{cell.digest[:10]}  {state:<8}{setup}  {cell.defense.label}  seed {cell.seed}")
    return lines
