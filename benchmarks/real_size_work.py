"""Work of the real-size run: counts from measured seconds, then one artifact after another, with its peak memory."""

from __future__ import annotations

import gc
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from peaks import peaks
from real_size_budget import Cut, Size, allocate, document, published_counts
from unit_costs import Costs, clock_of

from midef.core.code_version import code_version
from midef.core.errors import MidefError, SpecError
from midef.core.failure import Failure
from midef.core.recipe import Recipe
from midef.stages import BuildContext, ensure
from midef.stages.recipes import BACKBONE, CLASSIFIER
from midef.storage import Store
from midef.sweep.execution.outcome import Outcome
from midef.sweep.execution.prepare import prepare
from midef.sweep.execution.result_rows import RowWriter
from midef.sweep.library import load_spec
from midef.sweep.planning.plan import Node, Plan, make_plan
from midef.sweep.spec.planned_cell import PlannedCell
from midef.sweep.spec.resolve import Sweep, resolve

BUDGET, STAGES = "real-size.json", "real-size-stages.jsonl"
USUAL_S = 10.0
"""Seconds of work that was not measured beforehand, as splits and scores."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a call is asked to do.

    Args:
        data: folder with the files of LFW.
        minutes: of the whole run, which fix the counts in the first call.
        stop_after_s: of this call, after which no work is begun that is expected to end later; None does all.
        parts: setups that are built by this call, by the first letter of their ids.
        fixed: counts that are given instead of decided by time, by name of the cut.
        stored: stores whose artifacts are taken where their key is the same.
    """

    store: Path
    data: Path
    device: str
    precision: str
    judge: str
    size: Size
    minutes: float
    stop_after_s: float | None = None
    parts: Sequence[str] = ("a", "b")
    fixed: Mapping[str, int] = field(default_factory=dict)
    stored: Sequence[str] = ()


# ------------------------------------------------------------------------------------------------ what is cut


def cut_of(recipe: Recipe, size: Size) -> Cut | None:
    """The cut that decides how long this artifact takes; None for what is not cut."""
    backbones, targets_a, wgan, plg, gmi, plg_mi, targets_b, style, ppa = size.cuts
    if recipe.kind == "target" and recipe.component == CLASSIFIER:
        if BACKBONE not in recipe.inputs:
            return backbones
        return targets_a if recipe.params["architecture"]["name"] == size.target_a else targets_b
    if recipe.kind == "prior":
        return {"wgan_gp": wgan, "plg_gan": plg, "style_gan2": style}[recipe.component]
    if recipe.kind == "reconstructions":
        return {"gmi": gmi, "plg_mi": plg_mi, "ppa": ppa}[recipe.component]
    return None


def measured_each_s(plan: Plan, options: Options, context: BuildContext) -> dict[str, float]:
    """Seconds of one count of each cut, all its artifacts together, from a second or so of each.

    Args:
        plan: with the published counts.
    """
    with tempfile.TemporaryDirectory(dir=options.store) as folder:
        costs = Costs(plan, Store.open(folder), options.size.seconds_each, context.device, say=say)
        for node in plan.nodes.values():
            if node.recipe.kind == "split":  # decoded once: its key depends on no count
                place = Path(folder) / "artifacts" / "split"
                place.mkdir(parents=True, exist_ok=True)
                (place / node.key.digest).symlink_to(ensure(node.recipe, context).absolute())
        each_s: dict[str, float] = {}
        for node in plan.nodes.values():
            cut = cut_of(node.recipe, options.size)
            if cut is not None:
                if node.work not in costs.found:
                    costs.measure(node)
                each_s[cut.name] = each_s.get(cut.name, 0.0) + costs.found[node.work] / cut.published
    return each_s


def fixed_budget(options: Options, context: BuildContext, began: float) -> dict[str, Any]:
    """The counts of this store: those written by the first call, or decided now.

    Args:
        began: when the call began, by the clock of its device.

    Raises:
        SpecError: if the first call was asked for something else.
    """
    path = options.store / BUDGET
    asked = {
        "target_a": options.size.target_a,
        "precision": options.precision,
        "judge": options.judge,
        "fixed": dict(options.fixed),
    }
    if path.exists():
        budget: dict[str, Any] = json.loads(path.read_text("utf-8"))
        before = budget["asked"]
        if differing := [name for name, value in asked.items() if before[name] != value]:
            raise SpecError(
                f"{path} was made with {', '.join(f'{n} {before[n]!r}' for n in differing)}, asked for is "
                f"{', '.join(f'{n} {asked[n]!r}' for n in differing)}; give these as before, or another --store"
            )
        return budget
    sweep = sweep_of(options, published_counts(options.size))
    each_s = measured_each_s(make_plan(sweep, None), options, context)
    spent = clock_of(options.device)() - began
    seconds = 60 * options.minutes - spent - options.size.reserve_s
    cuts = [cut for cut in options.size.cuts if cut.name not in options.fixed]
    seconds -= sum(count * each_s[name] for name, count in options.fixed.items())
    counts = allocate(max(0.0, seconds), cuts, each_s) | dict(options.fixed)
    cuts_here = {
        cut.name: {
            "unit": cut.unit,
            "count": counts[cut.name],
            "published": cut.published,
            "each_s": float(f"{each_s[cut.name]:.4g}"),
            "share": cut.share,
        }
        for cut in options.size.cuts
    }
    facts = {"minutes": options.minutes, "seconds_to_share": round(seconds, 1), "code": code_version()}
    budget = {"asked": asked, **facts, "cuts": cuts_here}
    part = path.with_suffix(".part")
    part.write_text(json.dumps(budget, indent=1), "utf-8")
    part.replace(path)
    return budget


def counts_of(budget: Mapping[str, Any]) -> dict[str, int]:
    """Counts of a budget, by name of the cut."""
    return {name: int(cut["count"]) for name, cut in budget["cuts"].items()}


def make_pretraining(options: Options) -> None:
    """Write the labelled public people that backbones learn first."""
    out = options.store / "pretraining.zip"
    script = Path(__file__).parent / "lfw" / "pretraining.py"
    least = str(options.size.pretraining_min_images)
    words = [sys.executable, str(script), str(options.data / "lfw_public.zip"), str(out), "--min-images", least]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def sweep_of(options: Options, counts: Mapping[str, int]) -> Sweep:
    """The sweep with these counts; data sets are read."""
    written = document(
        options.size, counts, options.data, options.store, precision=options.precision, judge=options.judge
    )
    return resolve(load_spec(written))


# ------------------------------------------------------------------------------------------------ building it


@dataclass
class Run:
    """Builds the nodes of a plan one after another.

    Args:
        budget: as `fixed_budget` gives it.
        began: when this call began, by the monotonic clock.
    """

    options: Options
    store: Store
    context: BuildContext
    budget: Mapping[str, Any]
    began: float
    failures: dict[str, Failure] = field(default_factory=dict)
    outcome: Outcome = field(default_factory=Outcome)

    def all(self, sweep: Sweep) -> bool:
        """Build what is missing of the parts; False if it stopped before the end."""

        def is_chosen(planned: PlannedCell) -> bool:
            return planned.cell.setup.id[0] in self.options.parts

        plan = prepare(sweep, self.store, chosen=is_chosen)
        writer = RowWriter(sweep.name, self.store, self.outcome)
        nodes = list(plan.nodes.values())
        say(f"{len(plan.done)} cells done, {len(nodes)} artifacts to build")
        for number, node in enumerate(nodes):
            if not self._has_time_for(node, nodes):
                say(f"stopped: {len(nodes) - number} artifacts are left; the same command goes on")
                return False
            if reason := self._why_not(node):
                self.failures[node.key.digest] = reason
                writer.write_lost(node.cells, reason)
            else:
                writer.write_measured(node.cells)
        return True

    def _has_time_for(self, node: Node, nodes: Sequence[Node]) -> bool:
        if self.options.stop_after_s is None:
            return True
        return time.monotonic() - self.began + self._expected_s(node, nodes) <= self.options.stop_after_s

    def _expected_s(self, node: Node, nodes: Sequence[Node]) -> float:
        cut = cut_of(node.recipe, self.options.size)
        if cut is None:
            return USUAL_S
        alike = sum(cut_of(other.recipe, self.options.size) is cut for other in nodes)
        known = self.budget["cuts"][cut.name]
        return float(known["each_s"] * known["count"]) / alike

    def _why_not(self, node: Node) -> Failure | None:
        """Build a node; why it could not be built, else None."""
        for needed in node.recipe.inputs.values():
            if needed.key.digest in self.failures:
                return Failure("blocked", self.failures[needed.key.digest].message)
        taken = self._taken(node)
        before = time.monotonic()
        with peaks(self.context.device) as peak:
            failure = None if taken else self._built(node)
        seconds = time.monotonic() - before
        line = {"stage": label(node), "key": node.key.digest[:12], "seconds": round(seconds, 2), **asdict(peak)}
        line |= {"failed": failure.message} if failure else {"stored": taken} if taken else {}
        with (self.options.store / STAGES).open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
        say(f"{line['stage']:<44}{seconds:>8.1f} s  {peak.text}{'  ' + failure.message if failure else ''}")
        self.outcome.built += failure is None
        return failure

    def _built(self, node: Node) -> Failure | None:
        """Build it; where memory runs out, once more with half as much at a time."""
        failure = _try(node.recipe, self.context)
        if failure is not None and failure.kind == "oom":
            _empty_cache(self.context.device)
            failure = _try(node.recipe, replace(self.context, memory_share=0.5))
        return failure

    def _taken(self, node: Node) -> str:
        """The store that a node's artifact was taken from; "" if none has it."""
        for uri in self.options.stored:
            other = Store.open(uri, create=False).artifacts
            if other.has(node.key):
                meta, source = other.meta(node.key), other.fetch(node.key)
                with self.store.artifacts.workspace() as folder:
                    for name in meta["files"]:
                        (folder / name).parent.mkdir(parents=True, exist_ok=True)
                        shutil.copyfile(source / name, folder / name)
                    facts = {"wall_s": meta["wall_s"], "facts": meta["facts"], "packages": meta["packages"]}
                    self.store.artifacts.publish(node.recipe, folder, **facts)
                return uri
        return ""


def _try(recipe: Recipe, context: BuildContext) -> Failure | None:
    try:
        ensure(recipe, context)
    except (MidefError, RuntimeError, ValueError, OSError, MemoryError) as error:  # the others go on without it
        return Failure.of(error)
    return None


def label(node: Node) -> str:
    """Kind, component, resolution, and the defense of the target or of the attacked one, for a person."""
    recipe = node.recipe
    target = recipe if recipe.kind == "target" else recipe.inputs.get("target")
    defense = ""
    if target is not None and target.component == CLASSIFIER:
        defense = target.params["defense"]["name"] if BACKBONE in target.inputs else "backbone"
    named = recipe.inputs["reconstructions"] if recipe.kind == "scores" else recipe
    of = recipe.params["architecture"]["name"] if recipe.kind == "target" else named.component
    px = recipe.params.get("resolution_px") or _px(recipe)
    return " ".join(filter(None, (recipe.kind, of, f"{px} px" if px else "", defense)))


def _px(recipe: Recipe) -> int | None:
    split = recipe.inputs.get("private") or recipe.inputs.get("public")
    return None if split is None else int(split.params["resolution_px"])


def _empty_cache(device: str) -> None:
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)
