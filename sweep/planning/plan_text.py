"""A plan as text: counts with and without sharing, what is stored, what it will cost."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from midef.core.recipe import KINDS
from midef.core.text import counted, duration, durations
from midef.results.layout import WIDTH, TextColumn, column_blocks, fitted_table, wrapped_lines
from midef.sweep.planning.cost import Cost
from midef.sweep.planning.estimate import cpus_here
from midef.sweep.planning.plan import Node, Plan
from midef.sweep.planning.schedule import Piece, makespan_s
from midef.sweep.planning.trainings import expected_text
from midef.sweep.spec.planned_cell import PlannedCell


def plan_text(plan: Plan, width: int | None = WIDTH) -> str:
    """Counts with and without sharing, what is stored, what it will cost.

    Args:
        plan: of a sweep or of chosen cells.
        width: of a line, in characters; None for as wide as it comes.
    """
    sweep, cells = plan.sweep, plan.cells
    setups = len({c.cell.setup.id for c in cells})
    defenses = len({c.cell.defense for c in cells})
    seeds = len({c.cell.seed for c in cells})
    to_do = len(cells) - len(plan.done) - len(plan.failed_before) - len(plan.refused)
    several = setups * defenses * seeds == len(cells)
    sizes = counted(setups, "setup"), counted(defenses, "defense"), counted(seeds, "seed")
    every = counted(len(cells), "cell")
    size = f"{' x '.join(sizes)} = {every}"
    chosen = "" if len(cells) == len(sweep.cells) else f" of {len(sweep.cells)}, as chosen"
    lines = [
        f"sweep {sweep.name}  profile {sweep.profile.name}  ({sweep.digest[:10]})",
        f"{size if several else f'{sizes[0]}, {every}'}{chosen}: {len(plan.done)} done, "
        f"{to_do} to do, {len(plan.failed_before)} failed before, {len(plan.refused)} refused",
        "",
        *_table(plan, width),
    ]
    whole = plan.cost()
    if plan.nodes:
        known = f"{_range(whole.hours)} of work" if whole.timed else ""
        about = f"about {_range((whole.estimated_hours,))} for {whole.estimated:,} that are estimated"
        missing = f"{counted(whole.unknown, 'artifact')} without a timing" if whole.unknown else ""
        sums = filter(None, (known, about if whole.estimated else "", missing))
        lines += ["", f"to build {counted(len(plan.nodes), 'artifact')}: {' + '.join(sums)}", _duration_here(plan)]
        if whole.gpu_estimated:
            about = _range(whole.gpu_predicted)
            lines.append(f"GPU-hours, low / expected / worst: about {about} from operations, on {plan.rates.what}")
        lines += filter(None, [expected_text(sweep.profile, [node.recipe for node in plan.nodes.values()])])
    elif plan.is_empty:
        lines += ["", "nothing to do"]
    lines += [f"refused: {text}" for text in refusals(plan.refused)]
    lines += [f"note: {text}" for text in sweep.notes]
    if plan.failed_before:
        before = counted(len(plan.failed_before), "cell")
        lines.append(f"{before} failed before; run again with --retry-failed to include them")
    return "\n".join(lines if width is None else wrapped_lines(lines, width))


def _table(plan: Plan, width: int | None) -> list[str]:
    """A line for each kind of artifact, and the total; the column of GPUs only where one is held."""
    todo = Counter(node.recipe.kind for node in plan.nodes.values())
    counters = (plan.unshared, plan.shared, plan.cached, todo)
    kinds = [kind for kind in KINDS if plan.unshared[kind]]
    counts = [[f"{counter[kind]:,}" for kind in kinds] + [f"{sum(counter.values()):,}"] for counter in counters]
    costs = [_cost_texts(plan.cost(kind)) if todo[kind] else ("", "", "") for kind in kinds]
    costs.append(_cost_texts(plan.cost()) if plan.nodes else ("", "", ""))
    time, gpu, basis = ([cost[i] for cost in costs] for i in range(3))
    heads = ("unshared", "shared", "cached", "to build")
    columns = [
        TextColumn("artifact", (*kinds, "total"), is_whole=True),
        *(TextColumn(h, tuple(c), "right", is_whole=True) for h, c in zip(heads, counts, strict=True)),
        TextColumn("time low / expected / worst", tuple(time)),
        *([TextColumn("of GPUs", tuple(gpu))] if any(text not in ("", "-") for text in gpu) else []),
        TextColumn("basis", tuple(basis)),
    ]
    return column_blocks(columns, None)[0] if width is None else fitted_table(columns, width)


def _cost_texts(cost: Cost) -> tuple[str, str, str]:
    """Time, time of GPUs and what they rest on; estimates are never part of what was timed."""
    timed = f"{cost.timed} stored on {', '.join(cost.devices)}" if cost.timed else ""
    estimated = f"{cost.estimated} estimated" if cost.timed else "estimated"
    basis = [timed, estimated if cost.estimated else "", f"{cost.unknown} without" if cost.unknown else ""]
    known = _range(cost.hours) if cost.timed else ""
    about = f"about {_range((cost.estimated_hours,))}" if cost.estimated else ""
    on_gpus = [
        _range(cost.gpu_hours) if cost.gpu_hours[1] else "",
        f"about {_range(cost.gpu_predicted)}" if cost.gpu_estimated else "",
        "unknown" if cost.gpu_unknown else "",
    ]
    gpu = " + ".join(filter(None, on_gpus)) or "-"
    time = " + ".join(filter(None, (known, about))) or "unknown"
    return time, gpu, "; ".join(filter(None, basis))


def gpu_hours_by_setup(plan: Plan) -> list[str]:
    """A line for each setup: GPU-hours of what it needs; what setups share counts for each."""
    setups = dict.fromkeys(planned.cell.setup.id for planned in plan.cells)
    refused = {c.cell.setup.id for c in plan.refused} - {c.cell.setup.id for c in plan.cells if not c.refused}
    lines = []
    for setup in setups:
        if setup in refused:
            lines.append(f"{setup:<24} refused")
            continue
        cost = plan.cost_of_setup(setup)
        sums = [timed + about for timed, about in zip(cost.gpu_hours, cost.gpu_predicted, strict=True)]
        unknown = f" + {counted(cost.gpu_unknown, 'artifact')} unknown" if cost.gpu_unknown else ""
        lines.append(f"{setup:<24} {_range(sums)}{unknown}")
    return lines


def _range(hours: Sequence[float]) -> str:
    return durations([3600 * one for one in hours])


def _duration_here(plan: Plan) -> str:
    """How long the whole takes on the processors of this machine."""
    cpus = cpus_here()
    pieces = [Piece(n.key, _seconds_here(n), n.needs) for n in plan.nodes.values()]
    took = duration(makespan_s(pieces, slots=cpus / plan.sweep.profile.cpus))
    return f"about {took} from start to end on the {cpus} processors here, without a GPU"


def _seconds_here(node: Node) -> float:
    """Seconds of a node without a GPU: as long as equal work took, or as estimated where that was on a GPU."""
    if node.timing is not None and node.timing.on_gpu and node.estimated_s is not None:
        return node.estimated_s
    return node.ranked_s


def refusals(refused: Sequence[PlannedCell]) -> list[str]:
    """One line per reason, with the defenses or setups it concerns."""
    concerned: dict[str, dict[str, None]] = defaultdict(dict)
    for c in refused:
        what = f"{c.cell.defense.label} on {c.cell.setup.architecture.name}" if c.answered_by else c.cell.setup.id
        concerned[c.refused][what] = None
    counts = Counter(c.refused for c in refused)
    return sorted(
        f"{', '.join(what)}: {reason}"
        + ("" if counts[reason] == len(what) else f" ({counted(counts[reason], 'cell')})")
        for reason, what in concerned.items()
    )
