"""A sweep as a library call: plan it, run it, match it.

Every function takes a sweep as it is at hand: a YAML file, the name of a sweep in the catalogue, plain data, or a
`SweepSpec`. Importing this module loads neither torch nor Ray.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace as with_changes
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from midef.core.errors import SpecError
from midef.core.recipe import KINDS
from midef.core.text import counted
from midef.sweep.result import SweepResult

if TYPE_CHECKING:
    from midef.storage import Store
    from midef.sweep.execution.outcome import Outcome, RunOptions
    from midef.sweep.planning.plan import Plan
    from midef.sweep.planning.selection import CellFilter
    from midef.sweep.spec.resolve import Sweep
    from midef.sweep.spec.schema import SweepSpec

SpecSource: TypeAlias = "str | Path | Mapping[str, object] | SweepSpec"
StoreSource: TypeAlias = "str | Path | Store"
Say: TypeAlias = Callable[[str], None]
DEFAULT_STORE = "midef-store"


def _silent(text: str) -> None:
    """Say nothing."""


def load_spec(source: SpecSource, overrides: Sequence[str] = (), *, private: str = "", public: str = "") -> SweepSpec:
    """A checked specification.

    Args:
        source: path of a YAML file, name of a sweep in the catalogue, plain data, or a specification.
        overrides: `key.path=value` with the value in YAML, such as `profile=mini` or `seeds=[0, 1, 2]`.
        private: private images of every setup: a folder, an archive, or a data set as a sweep names it.
        public: public images of every setup, likewise.

    Raises:
        SpecError: every problem, with the place and the nearest valid name.
    """
    from midef.sweep.catalogue import extended, read_spec
    from midef.sweep.spec.document import Document
    from midef.sweep.spec.lines import Lines
    from midef.sweep.spec.load import override, parse_document
    from midef.sweep.spec.profiles import profile_named
    from midef.sweep.spec.schema import SweepSpec

    _check_types(source, overrides)
    if isinstance(source, str | Path):
        spec = read_spec(source, overrides)
    elif isinstance(source, SweepSpec) and not overrides:
        spec = source
    else:
        document = (
            Document(source.model_dump(exclude_unset=True), source.lines)
            if isinstance(source, SweepSpec)
            else Document(deepcopy(dict(source)), Lines("sweep"))
        )
        if isinstance(document.data, dict):
            document = extended(document)
        for text in overrides:
            document = override(document, text)
        spec = parse_document(document)
    images = {
        role: _dataset(text, labelled=role == "private")
        for role, text in (("private", private), ("public", public))
        if text
    }
    options = {"private": f"--private {private}", "public": f"--public {public}"}
    lines = spec.lines
    if not images or (spec.stand_ins and profile_named(spec.profile).stand_ins):
        for role in images:
            lines = lines.replaced([role], options[role])
        return spec.model_copy(update=images).written_at(lines)
    if spec.stand_ins:
        raise SpecError(
            f"sweep {spec.name} in profile {spec.profile} takes the published data sets, put them where `midef doctor` "
            "says; --private and --public replace the stand-ins of another profile"
        )
    setups = [setup.model_copy(update=images) for setup in spec.setups]
    for role, i in product(images, range(len(setups))):
        lines = lines.replaced(["setups", i, role], options[role])
    return spec.model_copy(update={"setups": setups}).written_at(lines)


def _check_types(source: object, overrides: object) -> None:
    """See that a sweep and its changes are of the types that `load_spec` takes.

    Raises:
        SpecError: if not.
    """
    from midef.core.conversion import shown
    from midef.sweep.spec.schema import SweepSpec

    if not isinstance(source, str | Path | Mapping | SweepSpec):
        raise SpecError(
            "a sweep is a name, the path of a YAML file, a mapping or a SweepSpec; "
            f"got {shown(source)}, of type {type(source).__name__}"
        )
    if not isinstance(overrides, list | tuple) or not all(isinstance(text, str) for text in overrides):
        raise SpecError(f"overrides are a list of texts such as 'seeds=[0, 1]'; got {shown(overrides)}")


def _dataset(text: str, *, labelled: bool) -> str | dict[str, object]:
    """A data set as a sweep names it, or a path to a folder or archive of images."""
    from midef.datasets import DATASETS

    if text.partition("(")[0].partition(":")[0] in DATASETS.names():
        return text
    from midef.sweep.spec.paths import absolute

    return {"name": "image_folder", "path": str(absolute(text, Path.cwd())), "labelled": labelled}


def plan(
    spec: SpecSource, store: StoreSource = DEFAULT_STORE, *, only: Sequence[str] = (), retry_failed: bool = False
) -> Plan:
    """Plan a sweep: what running it would build, and what is stored; makes no store, starts nothing.

    Args:
        spec: the sweep.
        store: folder, `s3://` URI or open store.
        only: cells to plan, as `defense=midre` or `seed=0`; those that match every key.
        retry_failed: plan cells whose stored result is a failure, too.

    Raises:
        SpecError: everything wrong with the sweep, or if it is one to `match`.
    """
    from midef.sweep.spec.resolve import resolve

    return plan_cells(unmatched(resolve(load_spec(spec))), store, only=only, retry_failed=retry_failed)


def run(
    spec: SpecSource,
    store: StoreSource = DEFAULT_STORE,
    options: RunOptions | None = None,
    *,
    only: Sequence[str] = (),
    retry_failed: bool = False,
    replace: bool = False,
    say: Say = _silent,
) -> SweepResult:
    """Run a sweep; stored work is not repeated.

    Args:
        spec: the sweep.
        store: folder, `s3://` URI or open store; made if there is none.
        options: where and how it runs (default: a Ray started here, all cores).
        only: cells to run, as `defense=midre` or `seed=0`; those that match every key.
        retry_failed: include cells that failed before.
        replace: take the name from another specification that has it in this store; that one stays, by its digest.
        say: called with the plan, then with what was done, as text for a person; `print` shows it.

    Raises:
        SpecError: everything wrong with the sweep, before a store is made; or another specification has its name.
        PreflightError: if this machine lacks something: data, weights, room, Ray.
        KeyboardInterrupt: at the second interrupt; what is finished is stored.
    """
    from midef.sweep.planning.selection import choose_cells
    from midef.sweep.spec.resolve import resolve

    sweep = unmatched(resolve(load_spec(spec)))
    chosen = choose_cells(sweep, only)
    return run_cells(sweep, _opened(store), options, chosen, retry_failed=retry_failed, replace=replace, say=say)


def match(
    spec: SpecSource,
    store: StoreSource = DEFAULT_STORE,
    options: RunOptions | None = None,
    *,
    target: float | str | None = None,
    tolerance: float | None = None,
    trainings: int | None = None,
    front: str | None = None,
    attack: bool = True,
    retry_failed: bool = False,
    replace: bool = False,
    say: Say = _silent,
) -> SweepResult:
    """Bring every defense of a sweep to one accuracy, then attack them; stored work is not repeated.

    Args:
        spec: the sweep; what its `match` or `front` section says holds where nothing is given here.
        store: folder, `s3://` URI or open store; made if there is none.
        options: where and how it runs (default: a Ray started here, all cores).
        target: percent on the select split, a defense, or a defense minus points (`none - 2`).
        tolerance: points.
        trainings: at most, for each defense.
        front: search the trade-off of this defense over its strength instead.
        attack: False ends after the search.
        retry_failed: include cells that failed before.
        replace: as of `run`.
        say: called with what is searched and found, as text for a person; `print` shows it.

    Raises:
        SpecError: everything wrong with the sweep or what is asked, before a store is made; or another specification
            has its name.
        PreflightError: if this machine lacks something: data, weights, room, Ray.
        KeyboardInterrupt: at the second interrupt; what is finished is stored.
    """
    from midef.sweep.naming import check_name
    from midef.sweep.spec.resolve import resolve

    given = {"target": target, "tolerance": tolerance, "trainings": trainings}
    changed = {name: value for name, value in given.items() if value is not None}
    sweep = resolve(_with_match_options(load_spec(spec), changed, front=front, attack=attack))
    text = search_text(sweep)
    opened = _opened(store)
    check_name(sweep, opened, replace=replace)
    say(text)
    how = {"retry_failed": retry_failed, "replace": replace}
    if sweep.spec.front is not None:
        return _search_front(sweep, opened, options, **how, say=say)
    return _search_matches(sweep, opened, options, attack=attack, **how, say=say)


def is_matched(sweep: Sweep) -> bool:
    """True if strengths are searched before its cells are known."""
    return sweep.spec.match is not None or sweep.spec.front is not None


def unmatched(sweep: Sweep) -> Sweep:
    """The sweep, unless its strengths are still to be searched.

    Raises:
        SpecError: if they are.
    """
    if is_matched(sweep):
        raise SpecError(
            f"sweep {sweep.name} is one for `midef match`, which searches strengths before it attacks them (its option "
            "--retry-failed tries cells that failed again)"
        )
    return sweep


def search_text(sweep: Sweep) -> str:
    """Text of the searches that `match` would run.

    Raises:
        SpecError: everything wrong with it.
    """
    from midef.sweep.spec.checks import Problems

    try:
        if sweep.spec.front is not None:
            from midef.sweep.matching.pareto_search import ParetoTask

            return ParetoTask.of(sweep).text
        from midef.sweep.matching.match_text import describe_match

        return describe_match(sweep)
    except SpecError as error:
        raise type(error)(Problems(error.problems).located(sweep.spec.lines)) from error


def plan_cells(sweep: Sweep, store: StoreSource, *, only: Sequence[str] = (), retry_failed: bool = False) -> Plan:
    """Plan chosen cells of a resolved sweep; arguments as of `plan`."""
    from midef.sweep.planning.plan import make_plan
    from midef.sweep.planning.selection import choose_cells

    chosen = choose_cells(sweep, only)
    return make_plan(sweep, existing_store(store), retry_failed=retry_failed, chosen=chosen)


def run_cells(
    sweep: Sweep,
    store: Store,
    options: RunOptions | None,
    chosen: CellFilter,
    *,
    retry_failed: bool = False,
    replace: bool = False,
    say: Say = _silent,
) -> SweepResult:
    """Run chosen cells of a resolved sweep; arguments as of `run`."""
    from midef.sweep.execution.outcome import Outcome, RunOptions, failure_text
    from midef.sweep.execution.prepare import prepare
    from midef.sweep.execution.tune_run import run_plan
    from midef.sweep.naming import check_name
    from midef.sweep.planning.plan_text import plan_text, refusals

    naming = check_name(sweep, store, replace=replace)
    planned = prepare(sweep, store, retry_failed=retry_failed, chosen=chosen)
    naming.settle(sweep, store, replace=replace)
    for plan in naming.kin:
        say(f"{sweep.name} means this plan from now on; the one before it stays as {plan.address}")
    outcome = Outcome()
    if planned.nodes:
        to_do = sum(len(node.cells) for node in planned.nodes.values())
        again = "resuming " if naming.is_resumed else ""
        say(f"{again}sweep {sweep.name}: {counted(len(planned.done), 'cell')} done, {to_do} to do")
        say(plan_text(planned))
        say("")
        outcome = run_plan(planned, store, options or RunOptions())
        spent = f", {outcome.gpu_hours:.2f} GPU-hours" if outcome.gpu_hours else ""
        say(f"built {counted(outcome.built, 'artifact')}, wrote {counted(outcome.rows, 'cell')}{spent}")
        if outcome.failed:
            say(f"failed:\n{failure_text(outcome)}")
    elif planned.rows_only:
        say(f"wrote the rows of {counted(len(planned.rows_only), 'cell')} whose scores were stored")
    else:
        before = len(planned.failed_before)
        again = f", {before} failed before (--retry-failed tries them again)" if before else ""
        done = len(planned.done)
        said = f"1 cell of sweep {sweep.name} is" if done == 1 else f"all {done:,} cells of sweep {sweep.name} are"
        say(f"nothing to do: {said} done{again}")
    if not planned.nodes:  # the text of the plan names them
        for line in refusals(planned.refused):
            say(f"refused: {line}")
    states = store.results.cells()
    counts = Counter("refused" if c.refused else states.get(c.cell.digest, "missing") for c in planned.cells)
    return with_changes(_result_of(sweep, store, outcome), cells=dict(counts))


def _search_matches(
    sweep: Sweep,
    store: Store,
    options: RunOptions | None,
    *,
    attack: bool,
    retry_failed: bool,
    replace: bool,
    say: Say,
) -> SweepResult:
    """Search the strengths, attacking each as it is decided; then run whatever the ordinary plan still lacks."""
    from midef.sweep.execution.outcome import RunOptions, failure_text
    from midef.sweep.execution.tune_run import run_plan
    from midef.sweep.matching.match_accuracy import Matching, undecided
    from midef.sweep.matching.match_text import match_text
    from midef.sweep.planning.plan import start_growing
    from midef.sweep.planning.selection import every_cell

    matching = Matching(sweep, store, with_attacks=attack, retry_failed=retry_failed)
    growing = start_growing(sweep, matching.begin(), store, matching.grow)
    matching.write()
    outcome = run_plan(growing, store, options or RunOptions(), grow=matching.grow)
    matching.write()
    report = matching.report()
    say("")
    say(match_text(report))
    if outcome.failed:
        say(f"failed:\n{failure_text(outcome)}")
    reasons = [f"{o.defense} on {o.architecture}, {o.private}: {o.reason}" for o in undecided(report.outcomes)]
    searched = with_changes(_result_of(sweep, store, outcome), undecided=reasons, matching=report)
    if outcome.stopped or not attack or not matching.is_decided:
        return searched
    say("")
    matched, how = matching.matched_sweep(), {"retry_failed": retry_failed, "replace": replace}
    rest = run_cells(matched, store, options, every_cell, **how, say=say)
    return _joined(searched, rest)


def _search_front(
    sweep: Sweep, store: Store, options: RunOptions | None, *, retry_failed: bool, replace: bool, say: Say
) -> SweepResult:
    """Search the front of one defense, then run whatever the ordinary plan lacks of every strength that was tried."""
    from midef.sweep.execution.outcome import RunOptions, failure_text
    from midef.sweep.execution.tune_run import run_plan
    from midef.sweep.matching.pareto_search import ParetoSearch, pareto_text
    from midef.sweep.planning.plan import start_growing
    from midef.sweep.planning.selection import every_cell

    front = ParetoSearch(sweep, store)
    growing = start_growing(sweep, front.begin(), store, front.grow)
    outcome = run_plan(growing, store, options or RunOptions(), grow=front.grow)
    say("")
    say(pareto_text(front))
    if outcome.failed:
        say(f"failed:\n{failure_text(outcome)}")
    reasons = [f"{setup}: {why}" for setup, why in front.failed.items()]
    searched = with_changes(_result_of(sweep, store, outcome), undecided=reasons)
    if outcome.stopped:
        return searched
    say("")
    how = {"retry_failed": retry_failed, "replace": replace}
    return _joined(searched, run_cells(front.tried_sweep(), store, options, every_cell, **how, say=say))


def _result_of(sweep: Sweep, store: Store, outcome: Outcome) -> SweepResult:
    return SweepResult(
        name=sweep.name,
        digest=sweep.digest,
        store=store,
        built=outcome.built,
        failed=outcome.failed,
        blocked=outcome.blocked,
        stopped=outcome.stopped,
        gpu_hours=outcome.gpu_hours,
    )


def _joined(searched: SweepResult, rest: SweepResult) -> SweepResult:
    """One result of a search and the cells that were run after it."""
    return with_changes(
        searched,
        digest=rest.digest,
        cells=rest.cells,
        built=searched.built + rest.built,
        failed=Counter(searched.failed) + Counter(rest.failed),
        blocked=searched.blocked + rest.blocked,
        stopped=rest.stopped,
        gpu_hours=searched.gpu_hours + rest.gpu_hours,
    )


def _with_match_options(
    spec: SweepSpec, given: Mapping[str, float | str], *, front: str | None, attack: bool
) -> SweepSpec:
    """The specification with what the caller says about matching.

    Raises:
        SpecError: for values out of range, and for options that say nothing about a front.
    """
    from pydantic import ValidationError

    from midef.sweep.spec.matching import FrontSpec, MatchSpec

    useless = [f"--{name}" for name in given] + ([] if attack else ["--no-attack"])
    if useless and (front or spec.front):
        raise SpecError(f"the front of a defense is searched without a target: leave {', '.join(useless)} out")
    try:
        if front:
            written = spec.front.model_dump(exclude_unset=True) if spec.front else {}
            return spec.model_copy(update={"front": FrontSpec(**{**written, "defense": front})})
        if spec.front:
            return spec
        written = spec.match.model_dump(exclude_unset=True) if spec.match else {}
        return spec.model_copy(update={"match": MatchSpec(**{**written, **given})})
    except ValidationError as error:
        block = "front" if front else "match"
        raise SpecError(
            [
                f"{block}.{'.'.join(map(str, e['loc']))}: {e['msg'].removeprefix('Value error, ')}"
                for e in error.errors()
            ]
        ) from None


def _opened(store: StoreSource) -> Store:
    """The store, made if there is none."""
    from midef.storage import Store

    return store if isinstance(store, Store) else Store.open(store)


def existing_store(store: StoreSource) -> Store | None:
    """The store, or None where there is none yet.

    Raises:
        StoreError: if none can be there: a file, a folder that cannot be read, no path.
    """
    uri = str(store) if isinstance(store, str | Path) else ""
    if uri and "://" not in uri and _is_free(Path(uri)):
        return None  # told without importing what reads stores, which takes longer than a plan
    from midef.storage import Location, Store

    if isinstance(store, Store):
        return store
    if "://" in uri and not Location.open(uri).exists("store.json"):
        return None
    return Store.open(store, create=False)


def _is_free(folder: Path) -> bool:
    """Whether a store could be made here: no store is there, and neither a file nor a folder that cannot be read."""
    parts = ("store.json", *(f"artifacts/{kind}" for kind in KINDS))  # the first may be lost, or a link to nowhere
    if any(os.path.lexists(folder / part) for part in parts):
        return False
    place = next((path for path in (folder, *folder.parents) if os.path.lexists(path)), Path())
    return place.is_dir() and os.access(place, os.R_OK | os.X_OK)
