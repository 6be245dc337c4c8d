"""`midef audit`."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from midef.sweep.cli.endpoint_options import EndpointArguments, add_endpoint_options
from midef.sweep.cli.options import parsed, positive, say
from midef.sweep.result import EXIT_BUDGET, EXIT_FAILURES, EXIT_FOUND, EXIT_OK

if TYPE_CHECKING:
    from midef.audit.endpoint import Endpoint
    from midef.audit.report import AuditReport
    from midef.audit.run import Audited

HELP = "attack a model you have, and say what it gives away"


@dataclass(frozen=True, kw_only=True)
class AuditArguments:
    """The options of `midef audit`."""

    model: str | None
    endpoint: str | None
    name: str
    arch: str
    table: str
    private: str
    public: str | None
    attack: list[str]
    budget: str | None
    input: str
    resolution: int | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    channels: int
    classes: str | None
    evaluator: str
    faces: bool
    profile: str
    identities: int | None
    images_per_identity: int | None
    seed: int
    store: str
    device: str
    fail_above: float | None
    shows: Literal["people", "things"]
    with_private_exemplars: bool
    out: Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb to its parser."""
    _add_model(parser)
    parser.add_argument(
        "--private",
        required=True,
        metavar="DATA",
        help="images the model tells apart: a folder or archive with a folder for each class, or a data set by name",
    )
    parser.add_argument("--public", metavar="DATA", help="images of other people or things, as an attacker gets them")
    parser.add_argument(
        "--attack", action="append", default=[], metavar="NAME", help="an attack, as a sweep names it (repeatable)"
    )
    parser.add_argument("--budget", metavar="TIME", help="start no attack after 20m, 1h30m; the same command goes on")
    parser.add_argument("--evaluator", default="", help="who judges (default: a small network of another family)")
    parser.add_argument(
        "--faces", action="store_true", help="the images are aligned faces: a published judge of faces may judge"
    )
    parser.add_argument(
        "--profile", default="small", help="budget of attacks: smoke, mini, small, paper (default small)"
    )
    parser.add_argument("--identities", type=positive, metavar="N", help="attack the first N classes")
    parser.add_argument("--images-per-identity", type=positive, metavar="N", help="reconstructions of each")
    parser.add_argument("--seed", type=int, default=0, help="of the attacks (default 0)")
    default = os.environ.get("MIDEF_RESULTS", "midef-audit")
    parser.add_argument("--store", default=default, help=f"folder or s3:// URI (default {default})")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 (default cpu)")
    parser.add_argument(
        "--shows", default="people", choices=("people", "things"), help="what the classes are, for the report's words"
    )
    parser.add_argument("--with-private-exemplars", action="store_true", help="show private images in the report")
    parser.add_argument("--out", type=Path, default=Path("midef-audit-report"), help="folder of the report")
    parser.add_argument(
        "--fail-above",
        type=_percent,
        metavar="PERCENT",
        help="exit with 5 unless the worst case is shown to stay at or below this",
    )


def _add_model(parser: argparse.ArgumentParser) -> None:
    """Add what says which model it is and what it expects."""
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--model", metavar="FILE", help="a state dict or checkpoint (.pt, .pth, .bin) or safetensors")
    which.add_argument("--endpoint", metavar="URL", help="where the model answers images, in JSON")
    parser.add_argument(
        "--arch", default="", help="whose tensors it holds: resnet18, timm/resnet18, midef/vgg16 (torchvision first)"
    )
    parser.add_argument("--table", default="", help="which table of tensors, where a checkpoint has several networks")
    parser.add_argument(
        "--input",
        default="own",
        metavar="NAME",
        help="normalisation: own (none), imagenet, half ([-1, 1]), or weights of torchvision such as "
        "ResNet18_Weights.IMAGENET1K_V1 (default own)",
    )
    parser.add_argument("--resolution", type=positive, metavar="PX", help="of the images the model takes")
    parser.add_argument("--mean", type=_numbers, metavar="R,G,B", help="of images in [0, 1], instead of --input")
    parser.add_argument("--std", type=_numbers, metavar="R,G,B", help="of images in [0, 1], with --mean")
    parser.add_argument("--channels", type=int, default=3, choices=(1, 3), help="1 for a network of grey images")
    parser.add_argument(
        "--classes",
        metavar="FILE",
        help="names of the classes, one a line, in the order of the outputs (default: sorted folder names)",
    )
    add_endpoint_options(parser)


def run(args: argparse.Namespace) -> int:
    """Check, attack, say what was found."""
    from midef.audit.reported import report_of
    from midef.audit.run import audit

    options = parsed(AuditArguments, args)
    found = audit(
        _model(options, parsed(EndpointArguments, args)),
        name=options.name,
        private=options.private,
        public=options.public,
        attacks=options.attack,
        budget=options.budget,
        arch=options.arch,
        table=options.table,
        expects=options.input,
        resolution_px=options.resolution,
        mean=options.mean,
        std=options.std,
        channels=options.channels,
        classes=options.classes,
        evaluator=options.evaluator,
        faces=options.faces,
        profile=options.profile,
        identities=options.identities,
        images_per_identity=options.images_per_identity,
        seed=options.seed,
        store=options.store,
        device=options.device,
        say=say,
    )
    for attack, why in found.skipped.items():
        say(f"not run: {attack}: {why}")
    report = report_of(
        found,
        threshold=options.fail_above,
        with_private=options.with_private_exemplars,
        shows_people=options.shows == "people",
        private=options.private,
        public=options.public or "",
    )
    say("")
    for line in (report.sentence, *report.limits):
        say(line)
    say(f"report: {report.write(options.out).resolve()}")
    return exit_code(found, report)


def _model(options: AuditArguments, asked: EndpointArguments) -> str | Endpoint:
    """The file, or the endpoint with its paid answers in the store."""
    from midef.audit.given import read_classes

    if options.model is not None:
        return options.model
    return asked.opened(options.store, None if options.classes is None else len(read_classes(options.classes)))


def exit_code(found: Audited, report: AuditReport) -> int:
    """4 where time or queries were up, 5 where a threshold is not kept, 1 where an attack failed or one that was named
    cannot run, else 0.

    A threshold that was exceeded is reported although attacks are missing: they could only find more.
    """
    worst = report.worst.value
    is_exceeded = worst is not None and report.threshold is not None and worst > report.threshold
    if is_exceeded or (report.fails() and not found.stopped):
        return EXIT_FOUND
    if found.stopped:
        return EXIT_BUDGET
    is_refused = bool(found.plan.refused) and not found.plan.reasons  # those that were chosen leave others out
    is_missing = len(found.attack_accuracies) < len(found.plan.cells)
    return EXIT_FAILURES if is_missing or is_refused else EXIT_OK


def _percent(text: str) -> float:
    try:
        percent = float(text)
    except ValueError:
        percent = -1.0
    if not 0 <= percent <= 100:
        raise argparse.ArgumentTypeError(f"expected an attack accuracy of 0 to 100 percent, got {text!r}")
    return percent


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number, or three with commas, got {text!r}") from None
