"""Options that several verbs share, and the typed values they parse to."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from midef.core.text import printable
from midef.sweep.cli.last_net import tell
from midef.sweep.cli.output import check_folder
from midef.sweep.library import DEFAULT_STORE, load_spec
from midef.sweep.result import SweepResult

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from midef.storage import Store
    from midef.sweep.execution.outcome import RunOptions
    from midef.sweep.spec.resolve import Sweep
    from midef.sweep.spec.schema import SweepSpec

    T = TypeVar("T", bound=DataclassInstance)

RETRY = "include cells that failed before"


@dataclass(frozen=True, kw_only=True)
class SweepArguments:
    """A sweep and the changes to it; the options of `add_sweep_arguments`."""

    config: str
    set: list[str]
    profile: str | None
    private: str | None
    public: str | None

    def spec(self, store: Store | None = None) -> SweepSpec:
        """The specification with every override.

        Args:
            store: whose planned sweeps may be named, by name, `name@digest` or digest, before those of the catalogue.
        """
        overrides = [*self.set, *([f"profile={self.profile}"] if self.profile else [])]
        source: str | SweepSpec = self.config
        if store is not None:
            from midef.sweep.naming import stored_spec  # reads Parquet, which a plan without a store does without

            source = stored_spec(self.config, store) or self.config
        return load_spec(source, overrides, private=self.private or "", public=self.public or "")

    def sweep(self, store: Store | None = None) -> Sweep:
        """The specification made concrete; `store` as of `spec`."""
        from midef.sweep.spec.resolve import resolve

        return resolve(self.spec(store))


@dataclass(frozen=True, kw_only=True)
class RunArguments(SweepArguments):
    """A sweep, its store, and how it runs; the options of `add_run_arguments`, too."""

    store: str
    address: str
    cpus: int | None
    gpus: int | None
    retries: int
    max_gpu_hours: float | None
    hang_after: int
    replace: bool
    dashboard: bool
    out: Path
    verbose: bool

    def options(self) -> RunOptions:
        """Options of the run.

        Raises:
            SpecError, PreflightError: if a dashboard is asked for where none can be written.
        """
        from midef.sweep.execution.outcome import RunOptions

        if self.dashboard:
            check_folder(self.out)
        return RunOptions(
            address=self.address,
            cpus=self.cpus,
            gpus=self.gpus,
            retries=self.retries,
            max_gpu_hours=self.max_gpu_hours,
            hang_s=self.hang_after,
            verbose=self.verbose,
        )

    def finish(self, result: SweepResult) -> int:
        """Print the table of the cells that were run, build the dashboard if asked for, return the exit code."""
        if result.cells is not None:
            say("")
            say(result.table())
        # A matching that stopped is shown as far as it came; a stopped search of a front has nothing on the page yet.
        if self.dashboard and (result.cells is not None or result.matching is not None):
            build_dashboard(self.store, self.out, result.address)
        if result.stopped:
            sys.stderr.write(
                f"midef: {result.stopped}; what is finished is stored, the same command goes on from there\n"
            )
        return result.exit_code


def parsed(kind: type[T], args: argparse.Namespace) -> T:
    """The options of a verb as its dataclass: every field from the option of that name."""
    return kind(**{f.name: getattr(args, f.name) for f in fields(kind)})


def say(text: str) -> None:
    """Write lines to standard output at once, control characters as their codes."""
    sys.stdout.write(printable(text) + "\n")
    sys.stdout.flush()


def say_what_is_planned(spec: SweepSpec) -> None:
    """Tell on standard error, at once, which sweep is being planned: of a large one the plan takes minutes."""
    tell(f"planning sweep {spec.name}, profile {spec.profile}\n")


def build_dashboard(
    store: str | Sequence[str],
    out: Path,
    sweep: str | Sequence[str] | None,
    *,
    with_private_exemplars: bool = False,
    utility: str | None = None,
) -> None:
    """Build the static dashboard and say where it is."""
    from midef.dashboards.build import build
    from midef.results.compare import NATURAL
    from midef.sweep.cli.reference import reference

    report = build(store, out, sweep, with_private_exemplars, utility=utility or NATURAL, reference=reference())
    for warning in report.warnings:
        say(f"warning: {warning}")
    say(f"dashboard: {report.index.resolve()}  ({report.files} files, {report.bytes / 2**20:.1f} MB)")


def add_store_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--store`."""
    default = os.environ.get("MIDEF_RESULTS", DEFAULT_STORE)
    parser.add_argument("--store", default=default, help=f"folder or s3:// URI (default {default})")


ADDRESS = "a sweep of this store: NAME, NAME@DIGEST or DIGEST (default: the latest)"


def add_sweep_arguments(parser: argparse.ArgumentParser, *, stored: bool = False) -> None:
    """Add the options that name a sweep and change it.

    Args:
        parser: of the verb.
        stored: a planned sweep of the store may be named, too.
    """
    which = (
        "a YAML file, or a sweep of this store or of the catalogue" if stored else "a YAML file or the name of a sweep"
    )
    parser.add_argument("config", nargs="?", default="smoke", help=f"{which} (default smoke)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a field: seeds=[0,1,2] (repeatable); paths are relative to where the command runs",
    )
    parser.add_argument("--profile", help="budget and stand-ins: smoke, mini, small, paper (default: the sweep's)")
    for role in ("private", "public"):
        parser.add_argument(
            f"--{role}",
            metavar="DATA",
            help=f"{role} images of every setup: a folder, an archive, or as image_folder(path=faces.zip)",
        )


def add_cell_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose cells."""
    parser.add_argument("--retry-failed", action="store_true", help=RETRY)
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="only these cells: defense=midre (repeatable)",
    )


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a run: cluster, resources, budget, dashboard."""
    parser.add_argument(
        "--address", default="", help="of a running Ray cluster (default: one found here, else a new one)"
    )
    parser.add_argument("--cpus", type=positive, help="CPUs of a Ray started here (default: all)")
    parser.add_argument(
        "--gpus",
        type=_count,
        default=_gpus_expected(),
        help="of a Ray started here, or the most a growing cluster can have (default $MIDEF_GPUS, else those present)",
    )
    parser.add_argument(
        "--retries", type=_count, default=1, help="how often a node whose process died is run again (default 1)"
    )
    parser.add_argument(
        "--max-gpu-hours", type=_hours, metavar="H", help="start no work beyond this budget; the same command resumes"
    )
    parser.add_argument(
        "--hang-after",
        type=positive,
        default=1800,
        metavar="S",
        help="end a node that makes no progress for S seconds (default 1800)",
    )
    parser.add_argument(
        "--replace",
        action="store_true",
        help="take the name from another specification in this store; its plan stays, as NAME@DIGEST",
    )
    parser.add_argument("--dashboard", action="store_true", help="build the dashboard at the end")
    parser.add_argument("--out", type=Path, default=Path("midef-dashboard"), help="folder of the dashboard")
    parser.add_argument("--verbose", action="store_true", help="show the logs of Ray and of the stages, and tracebacks")


def positive(text: str) -> int:
    """A whole number of at least 1."""
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
