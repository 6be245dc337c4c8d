"""An audit: check the model and its judge, attack it with what fits, keep everything."""

from __future__ import annotations

import json
import logging
import re
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midef.audit.checks import Known, check_known, split_text
from midef.audit.cost import cost_of
from midef.audit.data import Data, DataSource, read_data
from midef.audit.given import Model, Outputs, output_order, read_classes, read_model, take_model
from midef.audit.input import read_input
from midef.audit.judge import choose_judge, judge_recipe
from midef.audit.plan import Plan, make_plan
from midef.core.accuracy import Accuracy, accuracy_of
from midef.core.canonical import digest
from midef.core.errors import BudgetReached, MidefError, SpecError
from midef.core.failure import Failure
from midef.core.gates import Gate, evaluator_gate
from midef.core.rows import ResultRow
from midef.stages import BuildContext, ensure
from midef.stages.recipes import split_recipe
from midef.storage import Store, rows_of_sweep
from midef.storage.addresses import stored_sweeps
from midef.sweep.execution.result_rows import lost_rows, measured_rows

if TYPE_CHECKING:
    from torch import Tensor

    from midef.datasets import Splits
    from midef.sweep.spec.planned_cell import PlannedCell

Say = Callable[[str], None]
DEFAULT_AUDIT_STORE = "midef-audit"
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Audited:
    """What an audit did and found.

    Args:
        plan: the model, its images, its judge, one cell for each attack.
        known: what the model gets right of its private images.
        judge: accuracy of the evaluator on private images that it did not learn.
        gate: what is to be noted about the judge; None for nothing.
        rows: one metric of one attack each, of all attacks that ran, in this call or before.
        statements: what the numbers rest on, each a sentence.
        skipped: attack -> why it did not run: it cannot, or the time was up.
        stopped: `budget reached` where it ended before its plan.
        store: where everything is kept.
    """

    plan: Plan
    known: Known
    judge: Accuracy
    gate: Gate | None
    rows: Sequence[ResultRow] = field(repr=False)
    statements: Sequence[str]
    skipped: Mapping[str, str]
    stopped: str = ""
    store: Store = field(repr=False)

    @property
    def attack_accuracies(self) -> Mapping[str, ResultRow]:
        """Attack -> its row of attack accuracy, the measured ones."""
        return {row.attack: row for row in self.rows if row.metric == MEASURED and row.number is not None}


MEASURED = "attack_accuracy_at_1"
"""The metric of the one number of each attack."""


def audit(
    model: str | Path | Callable[[Tensor], Any],
    *,
    private: DataSource,
    public: DataSource | None = None,
    attacks: Sequence[str | Mapping[str, Any]] = (),
    budget: str | float | None = None,
    arch: str = "",
    table: str = "",
    name: str = "",
    outputs: Outputs = "logits",
    expects: str = "own",
    resolution_px: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    channels: int = 3,
    classes: str | Path | Sequence[str] | None = None,
    evaluator: str = "",
    faces: bool = False,
    profile: str = "small",
    identities: int | None = None,
    images_per_identity: int | None = None,
    seed: int = 0,
    store: str | Path | Store = DEFAULT_AUDIT_STORE,
    device: str = "cpu",
    say: Say = lambda _text: None,
) -> Audited:
    """Attack a model that was trained elsewhere, and measure what it gives away.

    Stored work is not repeated: the same call goes on where it stopped. No Ray is started.

    Args:
        model: path of a checkpoint; a module; or anything that answers images [B, 3, H, W] with [B, K].
        private: images the model tells apart, a folder for each class.
        public: images of the kind an attacker can get, none of them private.
        attacks: by name, as a sweep names them, in the order they run; () chooses by what the model allows.
        budget: no attack starts after `20m`, or so many seconds; one that runs is finished. None for no limit.
        arch: of a checkpoint, the network whose tensors it holds: `resnet18`, `timm/resnet18`.
        table: which table of tensors, where a checkpoint has several networks.
        name: of a function or endpoint, which nothing else tells from another.
        outputs: what the model gives.
        expects: normalisation of the images: `own`, `imagenet`, `half`, or weights of torchvision by name.
        resolution_px: of the images the model takes.
        mean, std: in the place of a named normalisation.
        channels: 1 for a network of grey images.
        classes: names in the order of the outputs: a file with one a line, or a list; None for sorted folder names.
        evaluator: who judges; "" for a small network of another family, trained on the private train split.
        faces: the images are aligned faces, so that a published judge of faces may judge, where its weights are here.
        profile: budget of attacks and judge: `smoke`, `mini`, `small`, `paper`.
        identities: classes that are attacked.
        images_per_identity: reconstructions of each.
        seed: of the attacks.
        store: folder, `s3://` URI or open store.
        device: `cpu`, `cuda`.
        say: called with what is done, as text for a person; `print` shows it.

    Raises:
        SpecError: with all that is wrong, and where the model does not know its private images.
        PreflightError: if this machine lacks something.
        DataError: if the checkpoint is none, or of another network.
    """
    seconds = budget_s(budget)
    start = time.monotonic()
    expected = read_input(expects, resolution_px=resolution_px, mean=mean, std=std, channels=channels)
    named = None if classes is None else read_classes(classes)
    data = read_data(private, public)
    for note in data.reader.notes:
        say(f"note: {note}")
    if isinstance(model, str | Path):
        taken = read_model(model, arch, expected, table=table)
    else:
        count = data.private_set.n_identities() if named is None else len(named)
        taken = take_model(model, expected, name=name, outputs=outputs, classes=count)
    opened = store if isinstance(store, Store) else Store.open(store)
    context = BuildContext(store=opened, device=device, locations=data.reader.locations([_split(data, taken)]))
    splits = _splits(data, taken, context)
    taken = taken.in_order(output_order(named, splits.class_names, taken.given.classes))
    judge = choose_judge(taken.given, expected.resolution_px, evaluator, faces=faces)
    plan = make_plan(
        taken,
        data,
        judge,
        attacks,
        profile=profile,
        identities=identities,
        images_per_identity=images_per_identity,
        seed=seed,
        seconds=seconds,
        shows="faces" if faces else "",
        store=opened,
        device=device,
    )
    statements = [
        f"model: {taken.given.name}, {taken.given.classes} classes, {taken.access.words}; {_identity(taken)}",
        f"input: {expected.text}",
        f"classes: {'in the order given' if named is not None else 'sorted names of the private folders'}",
        f"splits: {split_text([len(part) for part in splits.parts.values()])}",
    ]
    for line in [*statements, *([plan.reasons] if plan.reasons else [])]:
        say(line)
    done = {key for key, state in opened.results.cells().items() if state == "ok"}
    if (cost := cost_of(plan, done)) is not None:
        say(cost.text())
    may_ask = taken.given.has_checked_identity
    known = check_known(taken, splits, device=device, may_ask_more=may_ask)
    say(f"checked: {taken.given.name} {known.text}")
    for doubt in known.doubts:
        statements.append(f"in doubt: {doubt}")
        say(statements[-1])
    context = BuildContext(store=opened, device=device, locations=plan.locations)
    accuracy, gate = check_judge(plan, context)
    statements += [f"judge: {judge.text}; it knows {accuracy.value:.1f} % of the report split"]
    say(statements[-1] + (f" ({gate.reason})" if gate else ""))
    left_out, stopped = run_cells(plan, context, until=None if seconds is None else start + seconds, say=say)
    return Audited(
        plan=plan,
        known=known,
        judge=accuracy,
        gate=gate,
        rows=rows_of(plan, opened),
        statements=[*statements, *([taken.remark] if taken.remark else [])],
        skipped={**plan.refused, **left_out},
        stopped=stopped,
        store=opened,
    )


def _identity(model: Model) -> str:
    sha256 = model.given.sha256
    return f"sha256 of its tensors {sha256[:12]}" if sha256 else model.remark


def _split(data: Data, model: Model) -> Any:
    return split_recipe(data.private, model.input.resolution_px)


def _splits(data: Data, model: Model, context: BuildContext) -> Splits:
    from midef.stages.split import load

    return load(ensure(_split(data, model), context))


def check_judge(plan: Plan, context: BuildContext) -> tuple[Accuracy, Gate | None]:
    """Train or fit the judge, where it is not stored, and see whether it can judge.

    Raises:
        SpecError: if it cannot: no number of an attack would say anything.
    """
    recipe = judge_recipe(plan.data, plan.judge, plan.profile)
    ensure(recipe, context)
    measured = context.store.artifacts.meta(recipe.key)["facts"]["report_accuracy"]
    chance = 100 / plan.model.given.classes
    accuracy = accuracy_of(float(measured), chance, n=plan.data.sizes[2])
    gate = evaluator_gate(accuracy)
    if gate is not None and gate.grade == "excluded":
        raise SpecError(
            f"{gate.reason}, and every number would rest on it. Judge: {plan.judge.text}. Give more private images, "
            "another `evaluator`, or a profile with a longer training"
        )
    return accuracy, gate


def run_cells(plan: Plan, context: BuildContext, *, until: float | None, say: Say) -> tuple[dict[str, str], str]:
    """Run the attacks that are not stored, one after another; each is stored before the next begins.

    Args:
        until: no attack starts after this time of the monotonic clock.

    Returns:
        attack -> why it did not run, and `budget reached` where the time or the queries were up.
    """
    store = context.store
    write_manifest(plan, store)
    left_out: dict[str, str] = {}
    stopped_by = ""
    states = store.results.cells()
    for planned in plan.cells:
        label = planned.cell.setup.attack.label
        if states.get(planned.cell.digest) == "ok":
            say(f"{label}: stored, not repeated")
            continue
        if until is not None and time.monotonic() >= until:
            left_out[label] = "the time was up before it began; the same call goes on with it"
            continue
        if stopped_by:
            left_out[label] = stopped_by
            continue
        say(f"{label}: runs")
        try:
            failure = _build(planned, context)
        except BudgetReached as error:
            left_out[label] = stopped_by = str(error)
            say(f"{label}: {error}")
            continue
        rows = measured_rows(plan.name, planned, store) if failure is None else lost_rows(plan.name, planned, failure)
        store.results.write(planned.cell.digest, rows)
        say(f"{label}: {_found(rows)}")
    return left_out, BUDGET_REACHED if left_out else ""


BUDGET_REACHED = "budget reached"


def _build(planned: PlannedCell, context: BuildContext) -> Failure | None:
    """Attack and judge; why not, where it failed. The other attacks go on.

    Raises:
        BudgetReached: where the model may not be asked any more: no failure of the attack, which goes on another time.
    """
    try:
        ensure(planned.recipes.scores, context)
    except BudgetReached:
        raise
    except MidefError as error:
        return Failure.of(error)
    except Exception as error:  # noqa: BLE001  # the audit goes on without this attack; the reason becomes its rows
        _LOG.error("%s", traceback.format_exc())
        return Failure.of(error)
    return None


def _found(rows: Sequence[ResultRow]) -> str:
    """The number of an attack, or why there is none."""
    row = next(row for row in rows if row.metric == MEASURED)
    if row.number is None:
        return row.reason
    span = "" if row.low is None or row.high is None else f" [{row.low:.1f}, {row.high:.1f}]"
    return f"{row.number:.1f} %{span} of {row.n} reconstructions are taken for the person, chance is {row.chance:.2g} %"


def write_manifest(plan: Plan, store: Store) -> None:
    """Record the cells, so that tables and pages find the audit by its name."""
    cells = [c.manifest_line for c in plan.cells]
    about = {"name": plan.name, "audit": {"model": plan.model.given.choice.keyed, "refused": dict(plan.refused)}}
    key = _digest(plan)
    earlier = [
        s.digest for s in stored_sweeps(store) if s.name == plan.name and "audit" in json.loads(s.manifest.spec_json)
    ]
    store.sweeps.write_manifest(key, cells, json.dumps(about))
    store.sweeps.give_name(key, earlier)


def _digest(plan: Plan) -> str:
    """Digest of an audit: of the cells that it takes."""
    return digest({"name": plan.name, "cells": [c.cell.digest for c in plan.cells]})


def rows_of(plan: Plan, store: Store) -> list[ResultRow]:
    """Stored rows of the cells of an audit, in its order."""
    place = {c.cell.digest: i for i, c in enumerate(plan.cells)}
    rows = [row for row in rows_of_sweep(store, f"{plan.name}@{_digest(plan)}") if row.cell in place]
    return sorted(rows, key=lambda row: (place[row.cell], row.metric))


def budget_s(written: str | float | None) -> float | None:
    """Seconds of a budget such as `20m` or `1h30m`; None for none.

    >>> budget_s("20m"), budget_s("1h 30m"), budget_s(5)
    (1200.0, 5400.0, 5.0)

    Raises:
        SpecError: for anything else.
    """
    if written is None:
        return None
    if isinstance(written, str):
        parts = _SPAN.findall(written.strip().lower())
        if not parts or _SPAN.sub("", written.strip().lower()).strip():
            raise SpecError(f"a budget is a time such as 90s, 20m or 1h30m, got {written!r}")
        return float(sum(float(number) * _SECONDS[unit] for number, unit in parts))
    if not 0 <= written < float("inf"):
        raise SpecError(f"a budget is a number of seconds from 0 up, got {written!r}")
    return float(written)
