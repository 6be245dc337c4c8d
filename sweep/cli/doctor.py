"""`midef doctor`."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import midef
from midef.core.errors import PreflightError
from midef.core.text import counted
from midef.sweep.cli.missing import dataset_lines, file_lines, refused_lines
from midef.sweep.cli.options import SweepArguments, add_store_argument, add_sweep_arguments, parsed, say
from midef.sweep.result import EXIT_OK

HELP = "check this machine, and the data of a sweep"
CHECKED = (
    *("torch", "torchvision", "timm", "opacus", "opencv-python-headless"),
    *("ray", "optuna", "pyarrow", "pandas", "plotly"),
)
EXIT_LACKING = PreflightError.exit_code


@dataclass(frozen=True, kw_only=True)
class DoctorArguments(SweepArguments):
    """The options of `midef doctor`."""

    store: str
    cluster: bool
    address: str
    nodes: int | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb to its parser."""
    add_sweep_arguments(parser)
    add_store_argument(parser)
    parser.add_argument("--cluster", action="store_true", help="check every node of the running Ray cluster instead")
    parser.add_argument("--address", default="", help="of the cluster (default: the one on this machine)")
    parser.add_argument("--nodes", type=int, help="expected number of nodes")


def run(args: argparse.Namespace) -> int:
    """Print everything that is needed, here or on every node, as there or missing; exit code 3 if something is."""
    options = parsed(DoctorArguments, args)
    return _check_cluster(options) if options.cluster else _check_machine(options)


def _check_machine(options: DoctorArguments) -> int:
    say(f"midef {midef.__version__}, Python {platform.python_version()}, {os.cpu_count()} cores")
    lacking = sum(not _check_package(package) for package in CHECKED)
    where = Path(options.store) if "://" not in options.store else Path()
    while not where.exists():
        where = where.parent
    say(f"ok       free disk at {options.store}: {shutil.disk_usage(where).free / 2**30:.0f} GiB")
    is_ready = _check_files(options)
    ray_problems = _ray_problems()
    for problem in ray_problems:
        say(f"problem  {problem}")
    return EXIT_LACKING if lacking or not is_ready or ray_problems else EXIT_OK


def _check_files(options: DoctorArguments) -> bool:
    """Print every file and data set that the sweep reads, each once, and whether it is here; True if all are."""
    from midef.models.pretrained import weights_folder
    from midef.sweep.spec.needed import Needs
    from midef.sweep.spec.resolve import resolve

    spec, needs = options.spec(), Needs()
    others: list[str] = []
    try:
        sweep = resolve(spec, needs)
    except PreflightError as error:
        others = error.problems
    else:
        say(f"ok       sweep {sweep.name}: {counted(len(sweep.cells), 'cell')}, data sets found, every image decodes")
        for note in sweep.notes:
            say(f"note     {note}")
    lines = [*dataset_lines(needs, spec), *file_lines(needs, spec, weights_folder()), *refused_lines(needs, spec)]
    for line in lines:
        say(line)
    said = needs.problems()
    unsaid = [problem for problem in others if not any(text in problem for text in said)]
    for problem in unsaid:
        say(f"missing  {problem}")
    return not unsaid and not any(line.startswith(("missing", "problem")) for line in lines)


def _ray_problems() -> list[str]:
    """What is wrong with Ray's token file, and with the cluster that the environment names."""
    from midef.sweep.execution.outcome import RunOptions
    from midef.sweep.execution.ray_address import named_address, silence
    from midef.sweep.execution.ray_token import token_problem

    problems = [problem for problem in (token_problem(),) if problem]
    with suppress(ImportError):  # no Ray here: that is said already
        if not RunOptions().joins_cluster:
            return problems
        address, origin = named_address("")
        if reason := silence(address):
            problems.append(f"no Ray cluster answers at {address} ({origin}); start it or unset {origin} ({reason})")
    return problems


def _check_package(package: str) -> bool:
    """Print whether a package is installed, and the GPUs that torch finds."""
    try:
        say(f"ok       {package} {metadata.version(package)}")
    except metadata.PackageNotFoundError:
        say(f"missing  {package}; pip install {package}")
        return False
    if package == "torch":
        import torch

        gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        say(f"ok       GPUs: {', '.join(gpus) or 'none, everything runs on the CPU'}")
    return True


def _check_cluster(options: DoctorArguments) -> int:
    """Every node of the running cluster: versions, store, GPUs, token, network."""
    from midef.sweep.execution.cluster_check import check_cluster

    findings = check_cluster(options.store, address=options.address, expected_nodes=options.nodes)
    for finding in findings:
        say(f"{'ok     ' if finding.ok else 'problem'}  {finding.text}")
    return EXIT_OK if all(finding.ok for finding in findings) else EXIT_LACKING
