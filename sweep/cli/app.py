"""The command line: `midef VERB`."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import midef
from midef.core.errors import MidefError, PreflightError, SpecError

EXIT_OK, EXIT_FAILURES, EXIT_BUDGET, EXIT_INTERRUPTED = 0, 1, 4, 130
DEFAULT_STORE = "midef-store"
_WATCH_S = 10.0
CHECKED = (
    *("torch", "torchvision", "timm", "opacus", "opencv-python-headless"),
    *("ray", "optuna", "pyarrow", "pandas", "plotly"),
)
RETRY = "try cells that failed before again"
LISTED = ("defenses", "attacks", "priors", "datasets", "architectures", "metrics", "profiles", "sweeps", "published")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0 ok; 1 finished with failed cells; 2 wrong usage or specification; 3 something is missing on this machine;
    4 the budget was reached, the same command goes on; 130 interrupted, what is finished is stored.
    """
    options = _parser().parse_args(arguments)
    level = logging.DEBUG if getattr(options, "verbose", False) else logging.WARNING
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")
    try:
        code: int = options.command(options)
    except MidefError as error:
        sys.stderr.write(f"midef: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("\nmidef: interrupted; what is finished is stored, the same command goes on from there\n")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="midef", description="Measures defenses against model inversion.")
    parser.add_argument("--version", action="version", version=f"midef {midef.__version__}")
    verbs = parser.add_subparsers(title="commands", metavar="VERB", required=True)

    def add(name: str, help_text: str, command: Any, *, config: bool = False, store: bool = True) -> Any:
        verb = verbs.add_parser(name, help=help_text, description=help_text)
        verb.set_defaults(command=command)
        if config:
            _takes_config(verb)
        if store:
            default = os.environ.get("MIDEF_RESULTS", DEFAULT_STORE)
            verb.add_argument("--store", default=default, help=f"folder or s3:// URI (default {default})")
        return verb

    plan = add("plan", "count what a sweep needs, what is stored and what it will cost", _plan, config=True)
    plan.add_argument("--expand", action="store_true", help="one line per cell")
    plan.add_argument("--json", action="store_true", help="for programs")
    run = add("run", "run a sweep; what is stored is not done again", _run, config=True)
    for verb in (plan, run):
        verb.add_argument("--retry-failed", action="store_true", help=RETRY)
        verb.add_argument(
            "--only", action="append", default=[], metavar="KEY=VALUE", help="cells to do: defense=midre (repeatable)"
        )
    retry = add("retry", "run cells that failed again", _retry, config=True)
    retry.add_argument("--failed", action="store_true", required=True, help="cells whose stored result is a failure")
    retry.add_argument(
        "--filter",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="of these: error=oom, error=TEXT, defense=midre (repeatable)",
    )
    match = add("match", "bring every defense of a sweep to the same accuracy, then attack them", _match, config=True)
    match.add_argument("--target", help="percent, a defense, or `none - 2` (default: the sweep's, else none)")
    match.add_argument("--tolerance", type=float, help="points (default: the sweep's, else 0.5)")
    match.add_argument("--trainings", type=_positive, help="at most, for each defense (default: the sweep's, else 30)")
    match.add_argument("--retry-failed", action="store_true", help=RETRY)
    match.add_argument("--no-attack", action="store_true", help="search only")
    match.add_argument("--front", metavar="DEFENSE", help="instead: accuracy and attack accuracy over its strength")
    for verb in (run, retry, match):
        _takes_run_options(verb)
    status = add("status", "what a store holds and what a sweep still lacks; reads the store only", _status)
    status.add_argument("--json", action="store_true", help="for programs")
    status.add_argument("--watch", action="store_true", help="say it again every 10 s while a driver runs")
    table = add("table", "the results as a table", _table)
    table.add_argument("--sweep", help="a sweep of this store (default: the latest)")
    table.add_argument("--format", choices=("text", "md", "csv"), default="text")
    listing = add("list", "what is registered", _list, store=False)
    listing.add_argument("what", choices=LISTED)
    listing.add_argument("--markdown", action="store_true")
    listing.add_argument("--json", action="store_true")
    doctor = add("doctor", "check this machine, and the data of a sweep", _doctor, config=True)
    doctor.add_argument("--cluster", action="store_true", help="check every node of the running Ray cluster instead")
    doctor.add_argument("--address", default="", help="of the cluster (default: the one found here)")
    doctor.add_argument("--nodes", type=int, help="how many nodes there should be")
    dashboard = add("dashboard", "build the static dashboard", _dashboard)
    dashboard.add_argument("action", choices=("build",))
    dashboard.add_argument("--sweep", help="a sweep of this store (default: the latest)")
    dashboard.add_argument("--out", type=Path, default=Path("midef-dashboard"))
    dashboard.add_argument("--with-private-exemplars", action="store_true", help="show private training images")
    analysis = add("analyse", "why defenses work: Fisher information by layer, or the head's rank", _analyse)
    analysis.add_argument("kind", choices=("fisher", "rank"))
    _takes_config(analysis)
    analysis.add_argument("--out", type=Path, help="HTML file of the figure (default KIND.html)")
    add("compact", "merge the result files of a store into one", _compact)
    datasets = add("datasets", "licence, consent, counts and fingerprint of a data set", _card, store=False)
    datasets.add_argument("action", choices=("card",))
    datasets.add_argument("dataset", help="as in a sweep: synthetic_faces, or image_folder(path=faces.zip)")
    return parser


def _takes_config(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("config", nargs="?", default="smoke", help="a YAML file or a named sweep (smoke)")
    verb.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override: seeds=[0,1,2]")
    verb.add_argument("--profile", help="budget and stand-ins: smoke, mini, small, paper (default: the sweep's)")
    for role in ("private", "public"):
        verb.add_argument(
            f"--{role}",
            metavar="DATA",
            help=f"{role} images of every setup: a folder or archive, or as in a sweep: image_folder(path=faces.zip)",
        )


def _takes_run_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--address", default="", help="a running Ray cluster (default: one found here, or started)")
    verb.add_argument("--cpus", type=_positive, help="CPUs of a Ray started here (default: all)")
    verb.add_argument(
        "--gpus",
        type=_count,
        default=_gpus_expected(),
        help="GPUs there can be, where machines join a cluster as needed (default $MIDEF_GPUS, else those there are)",
    )
    verb.add_argument("--retries", type=_count, default=1, help="more tries of a piece whose process died (default 1)")
    verb.add_argument("--max-gpu-hours", type=_hours, help="begin nothing that goes beyond; the run can be resumed")
    verb.add_argument(
        "--hang-after", type=_positive, default=1800, metavar="S", help="end a piece without progress (default 1800)"
    )
    verb.add_argument("--dashboard", action="store_true", help="build the dashboard at the end")
    verb.add_argument("--out", type=Path, default=Path("midef-dashboard"), help="folder of the dashboard")
    verb.add_argument("--verbose", action="store_true", help="let Ray and the stages speak")


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def _count(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 0, got {text!r}")
    return int(text)


def _gpus_expected() -> int | None:
    text = os.environ.get("MIDEF_GPUS", "")
    return int(text) if text.isdigit() else None


def _hours(text: str) -> float:
    try:
        hours = float(text)
    except ValueError:
        hours = -1.0
    if not 0 < hours < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of hours above 0, got {text!r}")
    return hours


def _spec(options: argparse.Namespace) -> Any:
    from midef.sweep.catalogue import read_spec

    overrides = list(options.set)
    if options.profile:
        overrides.append(f"profile={options.profile}")
    spec = read_spec(options.config, overrides)
    own = {
        role: _data(text, labelled=role == "private") for role in ("private", "public") if (text := vars(options)[role])
    }
    from midef.sweep.spec.profiles import profile_named

    if not own or (spec.stand_ins and profile_named(spec.profile).stand_ins):
        return spec.model_copy(update=own)
    if spec.stand_ins:
        raise SpecError(
            f"sweep {spec.name} in profile {spec.profile} takes the published data sets, put them where `midef doctor` "
            "says; --private and --public replace the stand-ins of another profile"
        )
    return spec.model_copy(update={"setups": [setup.model_copy(update=own) for setup in spec.setups]})


def _data(text: str, *, labelled: bool) -> str | dict[str, Any]:
    """A data set as a sweep writes it, or a path to a folder or archive of images."""
    from midef.datasets import DATASETS

    if text.partition("(")[0].partition(":")[0] in DATASETS.names():
        return text
    return {"name": "image_folder", "path": str(Path(text).expanduser().absolute()), "labelled": labelled}


def _sweep(options: argparse.Namespace) -> Any:
    from midef.sweep.spec.schema import resolve

    return resolve(_spec(options))


def _existing_store(uri: str) -> Any:
    """The store, or None where there is none yet."""
    if "://" not in uri and not (Path(uri) / "store.json").exists():
        return None
    from midef.storage import Location, Store

    if "://" in uri and not Location.open(uri).exists("store.json"):
        return None
    return Store.open(uri, create=False)


def _plan(options: argparse.Namespace) -> int:
    from midef.sweep.planning.plan import make_plan, plan_text
    from midef.sweep.planning.selection import choose_cells

    sweep = _sweep(options)
    if sweep.spec.match is not None or sweep.spec.front is not None:
        given = [f"--{n.replace('_', '-')}" for n in ("json", "expand", "only", "retry_failed") if vars(options)[n]]
        if given:
            raise SpecError(f"midef plan of a sweep that is matched takes no {', '.join(given)}")
        _say(_asked_text(sweep))
        return EXIT_OK
    chosen = choose_cells(sweep, options.only)
    plan = make_plan(sweep, _existing_store(options.store), retry_failed=options.retry_failed, chosen=chosen)
    if options.json:
        counts = {"cells": len(plan.cells), "done": len(plan.done), "to_build": len(plan.nodes)}
        counts |= {"failed_before": len(plan.failed_before), "refused": len(plan.refused)}
        shared = {"unshared": dict(plan.unshared), "shared": dict(plan.shared), "cached": dict(plan.cached)}
        cost = asdict(plan.cost())
        _say(json.dumps({"sweep": sweep.name, "digest": sweep.digest, **counts, **shared, "cost": cost}, indent=1))
        return EXIT_OK
    _say(plan_text(plan))
    if options.expand:
        done = {c.cell.digest for c in plan.done}
        failed = {c.cell.digest for c in plan.failed_before}
        for c in plan.cells:
            state = "done" if c.cell.digest in done else "failed" if c.cell.digest in failed else "to do"
            state = "refused" if c.refused else state
            sure = f" ({c.cell.setup.certainty})" if c.cell.setup.certainty else ""
            _say(f"{c.cell.digest[:10]}  {state:<8}{c.cell.setup.id}{sure}  {c.cell.defense.label}  seed {c.cell.seed}")
    return EXIT_OK


def _run(options: argparse.Namespace) -> int:
    from midef.storage import Store
    from midef.sweep.planning.selection import choose_cells

    sweep = _unmatched(_sweep(options))
    chosen = choose_cells(sweep, options.only)
    return _run_cells(sweep, Store.open(options.store), options, chosen, retry_failed=options.retry_failed)


def _unmatched(sweep: Any) -> Any:
    """The sweep, unless its strengths are still to be found."""
    if sweep.spec.match is not None or sweep.spec.front is not None:
        raise SpecError(
            f"sweep {sweep.name} is one for `midef match`, which searches strengths before it attacks them (its option "
            "--retry-failed tries cells that failed again)"
        )
    return sweep


def _retry(options: argparse.Namespace) -> int:
    """Say which cells failed and match, then run these."""
    from midef.storage import Store
    from midef.sweep.planning.selection import choose_failed

    sweep = _unmatched(_sweep(options))
    store = Store.open(options.store, create=False)
    reasons = {row.cell: row.reason for row in store.results.read() if row.status == "failed"}
    chosen = choose_failed(sweep, options.filter, store.results.cells(), reasons)
    again = [c for c in sweep.cells if chosen(c)]
    if not again:
        _say(f"nothing to retry: no failed cell of sweep {sweep.name} matches")
        return EXIT_OK
    _say(f"retrying {len(again)} cells:")
    for c in again:
        _say(f"  {c.cell.setup.id}  {c.cell.defense.label}  seed {c.cell.seed}: {reasons.get(c.cell.digest, '')}")
    return _run_cells(sweep, store, options, chosen, retry_failed=True)


def _run_cells(sweep: Any, store: Any, options: argparse.Namespace, chosen: Any, *, retry_failed: bool) -> int:
    from midef.sweep.execution.tune_run import failure_text, prepare, run_plan
    from midef.sweep.planning.plan import plan_text, refusals

    stopped = ""
    plan = prepare(sweep, store, retry_failed=retry_failed, chosen=chosen)
    if plan.nodes:
        head = f"resuming sweep {sweep.name}" if plan.done or any(plan.cached.values()) else f"sweep {sweep.name}"
        _say(f"{head}: {len(plan.done)} cells done, {sum(len(n.cells) for n in plan.nodes.values())} to do")
        _say(plan_text(plan))
        _say("")
        outcome = run_plan(plan, store, _run_options(options))
        stopped = outcome.stopped
        spent = f", {outcome.gpu_hours:.2f} GPU-hours" if outcome.gpu_hours else ""
        _say(f"built {outcome.built} artifacts, wrote {outcome.rows} cells{spent}")
        if outcome.failed:
            _say(f"failed:\n{failure_text(outcome)}")
    elif plan.rows_only:
        _say(f"wrote the rows of {len(plan.rows_only)} cells whose scores were stored")
    else:
        before = len(plan.failed_before)
        tried = f", {before} failed before (--retry-failed tries them again)" if before else ""
        _say(f"nothing to do: all {len(plan.done)} cells of sweep {sweep.name} are done{tried}")
    if not plan.nodes:  # the plan has said it already where it was printed
        for line in refusals(plan.refused):
            _say(f"refused: {line}")
    states = store.results.cells()
    failed = [c for c in plan.cells if not c.refused and states.get(c.cell.digest) != "ok"]
    _say("")
    _print_table(store, sweep.name, "text")
    if options.dashboard:
        _build_dashboard(options.store, options.out, sweep.name, with_private_exemplars=False)
    if stopped:
        return _stopped(stopped)
    return EXIT_FAILURES if failed else EXIT_OK


def _stopped(why: str) -> int:
    sys.stderr.write(f"midef: {why}; what is finished is stored, the same command goes on from there\n")
    return EXIT_BUDGET if why == "budget reached" else EXIT_INTERRUPTED


def _run_options(options: argparse.Namespace) -> Any:
    from midef.sweep.execution.tune_run import RunOptions

    return RunOptions(
        address=options.address,
        cpus=options.cpus,
        gpus=options.gpus,
        retries=options.retries,
        max_gpu_hours=options.max_gpu_hours,
        hang_s=options.hang_after,
        verbose=options.verbose,
    )


def _asked_text(sweep: Any) -> str:
    """What `midef match` would search; says all that is wrong with it."""
    if sweep.spec.front is not None:
        from midef.sweep.matching.pareto_search import Asked

        return Asked.of(sweep).text
    from midef.sweep.matching.match_accuracy import asked_text

    return asked_text(sweep)


def _match(options: argparse.Namespace) -> int:
    """Search the strengths, attacking what is found meanwhile; then whatever the ordinary plan still lacks."""
    from midef.storage import Store
    from midef.sweep.execution.tune_run import failure_text, run_plan
    from midef.sweep.matching.match_accuracy import Matching, match_text, undecided
    from midef.sweep.planning.plan import everything, start_growing
    from midef.sweep.spec.schema import resolve

    sweep = resolve(_with_match_options(_spec(options), options))
    asked = _asked_text(sweep)  # says all that is wrong before a store is made
    store = Store.open(options.store)
    _say(asked)
    if sweep.spec.front is not None:
        return _front(sweep, store, options)
    retry_failed = options.retry_failed
    matching = Matching(sweep, store, with_attacks=not options.no_attack, retry_failed=retry_failed)
    plan = start_growing(sweep, matching.begin(), store, matching.grow)
    matching.write()
    outcome = run_plan(plan, store, _run_options(options), grow=matching.grow)
    matching.write()
    report = matching.report()
    _say("")
    _say(match_text(report))
    if outcome.failed:
        _say(f"failed:\n{failure_text(outcome)}")
    code = EXIT_FAILURES if undecided(report.outcomes) else EXIT_OK
    if outcome.stopped or options.no_attack or not matching.is_decided:
        if options.dashboard:
            _build_dashboard(options.store, options.out, sweep.name, with_private_exemplars=False)
        return _stopped(outcome.stopped) if outcome.stopped else code
    _say("")
    return max(code, _run_cells(matching.matched_sweep(), store, options, everything, retry_failed=retry_failed))


def _with_match_options(spec: Any, options: argparse.Namespace) -> Any:
    """The specification with what the command line says about matching.

    Raises:
        SpecError: for what cannot be, and for options that say nothing about a front.
    """
    from pydantic import ValidationError

    from midef.sweep.spec.matching import FrontSpec, MatchSpec

    given = {n: v for n in ("target", "tolerance", "trainings") if (v := vars(options)[n]) is not None}
    useless = [f"--{name}" for name in given] + (["--no-attack"] if options.no_attack else [])
    if useless and (options.front or spec.front):
        raise SpecError(f"the front of a defense is searched without a target: leave {', '.join(useless)} out")
    try:
        if options.front:
            written = spec.front.model_dump(exclude_unset=True) if spec.front else {}
            return spec.model_copy(update={"front": FrontSpec(**{**written, "defense": options.front})})
        if spec.front:
            return spec
        written = spec.match.model_dump(exclude_unset=True) if spec.match else {}
        return spec.model_copy(update={"match": MatchSpec(**{**written, **given})})
    except ValidationError as error:
        block = "front" if options.front else "match"
        raise SpecError([f"{block}.{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]) from None


def _front(sweep: Any, store: Any, options: argparse.Namespace) -> int:
    """Search the front of one defense, then show every strength that was tried."""
    from midef.sweep.execution.tune_run import failure_text, run_plan
    from midef.sweep.matching.pareto_search import FrontSearch, front_text
    from midef.sweep.planning.plan import everything, start_growing

    front = FrontSearch(sweep, store)
    plan = start_growing(sweep, front.begin(), store, front.grow)
    outcome = run_plan(plan, store, _run_options(options), grow=front.grow)
    _say("")
    _say(front_text(front))
    if outcome.failed:
        _say(f"failed:\n{failure_text(outcome)}")
    if outcome.stopped:
        return _stopped(outcome.stopped)
    _say("")
    code = EXIT_FAILURES if front.failed else EXIT_OK
    return max(code, _run_cells(front.tried_sweep(), store, options, everything, retry_failed=options.retry_failed))


def _status(options: argparse.Namespace) -> int:
    import time

    from midef.storage import Store
    from midef.sweep.execution.status import read_status, status_text

    store = Store.open(options.store, create=False)
    while True:
        status = read_status(store)
        _say(json.dumps(status.as_plain(), indent=1) if options.json else status_text(status))
        if not options.watch or not status.is_at_work:
            return EXIT_OK
        time.sleep(_WATCH_S)
        _say("")


def _table(options: argparse.Namespace) -> int:
    from midef.storage import Store

    _print_table(Store.open(options.store, create=False), options.sweep, options.format)
    return EXIT_OK


def _print_table(store: Any, sweep: str | None, style: str) -> None:
    from midef.results.export import csv_table
    from midef.results.render import markdown_table, text_table
    from midef.results.summary import summarise
    from midef.storage import rows_of_sweep
    from midef.storage.published import read_published

    rows = rows_of_sweep(store, sweep)
    draw = {"text": text_table, "md": markdown_table, "csv": csv_table}[style]
    _say(draw(summarise(rows), read_published(store)) if rows else "no results yet")


def _dashboard(options: argparse.Namespace) -> int:
    _build_dashboard(options.store, options.out, options.sweep, options.with_private_exemplars)
    return EXIT_OK


def _build_dashboard(store: str, out: Path, sweep: str | None, with_private_exemplars: bool) -> None:
    from midef.dashboards.build import build

    report = build(store, out, sweep, with_private_exemplars)
    for warning in report.warnings:
        _say(f"warning: {warning}")
    _say(f"dashboard: {report.index.resolve()}  ({report.files} files, {report.bytes / 2**20:.1f} MB)")


def _list(options: argparse.Namespace) -> int:
    entries = _entries(options.what)
    if options.json:
        _say(json.dumps(entries, indent=1))
        return EXIT_OK
    columns = list(entries[0])
    if options.markdown:
        _say("| " + " | ".join(columns) + " |\n|" + " --- |" * len(columns))
        for entry in entries:
            _say("| " + " | ".join(value.replace("|", "\\|") for value in entry.values()) + " |")
        return EXIT_OK
    widths = {c: max(len(c), *(len(e[c]) for e in entries)) for c in columns[:-1]}
    for entry in entries:
        _say("  ".join([*(entry[c].ljust(widths[c]) for c in columns[:-1]), entry[columns[-1]]]))
    return EXIT_OK


def _entries(what: str) -> list[dict[str, str]]:
    from midef.attacks import ATTACKS, PRIORS
    from midef.datasets import DATASETS
    from midef.defenses import DEFENSES
    from midef.metrics import METRICS
    from midef.models import ARCHITECTURES
    from midef.sweep.catalogue import named_sweeps
    from midef.sweep.catalogue.published.rows import published_rows
    from midef.sweep.spec.profiles import PROFILES

    if what == "profiles":
        return [{"name": p.name, "meaning": p.about} for p in PROFILES.values()]
    if what == "sweeps":
        return [{"name": n, "meaning": (f.__doc__ or "").splitlines()[0]} for n, f in named_sweeps().items()]
    if what == "published":
        return [_published_entry(row) for row in published_rows()]
    registries: dict[str, Any] = {
        "defenses": DEFENSES,
        "attacks": ATTACKS,
        "priors": PRIORS,
        "datasets": DATASETS,
        "architectures": ARCHITECTURES,
        "metrics": METRICS,
    }
    entries = []
    for cls in registries[what]:
        entry = {"name": cls.registered_name, "paper": cls.paper}
        if what == "defenses":
            entry |= {"acts on": cls.acts_on}
        if what == "attacks":
            entry |= {"access": cls.access.words, "trained before": _trained_before(cls())}
        if what == "metrics":
            entry |= {"unit": cls.unit, "larger is": cls.larger_is}
        if what in ("defenses", "attacks", "priors"):
            entry |= {"presets": ", ".join(cls.presets) or "-"}
        if what == "defenses":
            entry |= {"combines with": _combines_with(cls), "tuned by": _tuned_by(cls)}
        entries.append(entry | {"meaning": (cls.__doc__ or "").strip().splitlines()[0]})
    return entries


def _published_entry(row: Any) -> dict[str, str]:
    spread = "" if row.spread is None else f" +- {row.spread:g}"
    value = "-" if row.value is None else f"{row.value:g}{spread}"
    return {
        "source": row.source,
        "setup": f"{row.setup} ({row.certainty})" if row.setup else "-",
        "attack": row.attack,
        "architecture": row.architecture,
        "defense": row.defense,
        "metric": row.metric,
        "value": value,
        "remark": row.remark or "-",
    }


def _tuned_by(defense: Any) -> str:
    """The strength accuracy matching searches, and which end hides more."""
    tuning = defense.tuning
    if tuning is None:
        return "-"
    also = "".join(f", {name} = {times:g} x" for name, times in tuning.tied.items())
    hides = "larger" if tuning.larger_hides else "smaller"
    return f"{tuning.parameter} {tuning.low:g} to {tuning.high:g}{also}; {hides} hides more"


def _trained_before(component: Any) -> str:
    """The priors an attack starts from, and theirs, and for whom each is trained."""
    from dataclasses import fields

    from midef.attacks import PRIORS, Prior

    found: list[str] = []
    for f in fields(component):
        if isinstance(prior := getattr(component, f.name), Prior):
            whom = "once for all" if prior.asks is None else f"per target, asks {prior.asks.words}"
            earlier = _trained_before(prior)
            found += [*([earlier] if earlier != "-" else []), f"{PRIORS.describe(prior).name} ({whom})"]
    return "; ".join(found) or "-"


def _combines_with(defense: Any) -> str:
    """Which defenses can stand in one stack with it, as a short sentence."""
    from midef.defenses import DEFENSES

    others = {name: DEFENSES.get(name) for name in DEFENSES.names() if DEFENSES.get(name) is not defense}
    barred = [name for name, cls in others.items() if defense.clash_with(cls) or cls.clash_with(defense)]
    if defense.acts_on == "nothing":
        return "-"
    return f"all but {', '.join(barred)}" if barred else "all"


def _doctor(options: argparse.Namespace) -> int:
    """Everything a sweep needs here, found or missing; exit 3 if something required is missing."""
    if options.cluster:
        return _doctor_cluster(options)
    import platform
    import shutil
    from importlib.metadata import PackageNotFoundError, version

    _say(f"midef {midef.__version__}, Python {platform.python_version()}, {os.cpu_count()} cores")
    lacking = 0
    for package in CHECKED:
        try:
            _say(f"ok       {package} {version(package)}")
        except PackageNotFoundError:
            _say(f"missing  {package}; pip install {package}")
            lacking += 1
        else:
            if package == "torch":
                import torch

                gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
                _say(f"ok       GPUs: {', '.join(gpus) or 'none, everything runs on the CPU'}")
    where = Path(options.store) if "://" not in options.store else Path()
    while not where.exists():
        where = where.parent
    _say(f"ok       free disk at {options.store}: {shutil.disk_usage(where).free / 2**30:.0f} GiB")
    said = ""
    try:
        sweep = _sweep(options)
        _say(f"ok       sweep {sweep.name}: {len(sweep.cells)} cells, data sets found")
    except PreflightError as error:
        lacking += 1
        for problem in error.problems:
            _say(f"missing  {problem}")
            said += problem
    _doctor_weights(options, said)
    return 3 if lacking else EXIT_OK


def _doctor_cluster(options: argparse.Namespace) -> int:
    """Every node of the running cluster: versions, store, GPUs, token, network."""
    from midef.sweep.execution.cluster_check import check_cluster

    findings = check_cluster(options.store, address=options.address, expected_nodes=options.nodes)
    for finding in findings:
        _say(f"{'ok     ' if finding.ok else 'problem'}  {finding.text}")
    return EXIT_OK if all(finding.ok for finding in findings) else 3


def _doctor_weights(options: argparse.Namespace, said: str) -> None:
    """Which published weights the networks of this sweep could start from, and which of these files are here.

    said: what is known to be missing; it is not said again.
    """
    from midef.models import ARCHITECTURES
    from midef.models.pretrained import lines, weights_folder
    from midef.sweep.spec.profiles import profile_named

    spec = _spec(options)
    profile = profile_named(spec.profile)
    wanted = [w for s in spec.setups for w in (*(s.architecture or [profile.architecture]), s.evaluator)]
    names = {ARCHITECTURES.parse(w or profile.evaluator)[0] for w in wanted}
    for is_here, text in lines(weights_folder(), sorted(names)):
        if text not in said:
            _say(f"{'ok      ' if is_here else 'optional'} {text}")


def _analyse(options: argparse.Namespace) -> int:
    from midef.storage import Store
    from midef.sweep.cli.analyse import analyse, table

    out = options.out or Path(f"{options.kind}.html")
    rows = analyse(options.kind, _sweep(options), Store.open(options.store, create=False), out)
    _say(table(rows))
    _say(f"\nfigure: {out.resolve()}")
    return EXIT_OK


def _compact(options: argparse.Namespace) -> int:
    from midef.storage import Store

    before, after, rows = Store.open(options.store, create=False).results.compact()
    _say(f"{before} result files -> {after}, {rows} rows")
    return EXIT_OK


def _card(options: argparse.Namespace) -> int:
    from midef.datasets import DATASETS

    choice = DATASETS.choose(options.dataset)
    dataset = DATASETS.make(choice.name, choice.params)
    problems = dataset.problems()
    if problems:
        raise PreflightError(problems)
    card = dataset.card()
    _say(card.title or choice.name)
    for name in ("licence", "consent", "source"):
        _say(f"{name:<12}{getattr(card, name) or 'unknown'}")
    for name, count in card.counts.items():
        _say(f"{name:<12}{count:,}")
    _say(f"{'fingerprint':<12}{dataset.fingerprint() or 'computed from its parameters'}")
    return EXIT_OK


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
