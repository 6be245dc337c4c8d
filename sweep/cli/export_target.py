"""`midef export-target`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from midef.core.errors import MidefError, SpecError
from midef.sweep.cli.chosen_cells import StoredCell, choose_stored, target_of
from midef.sweep.cli.options import ADDRESS, add_store_argument, parsed, say
from midef.sweep.cli.output import check_folder
from midef.sweep.result import EXIT_OK

if TYPE_CHECKING:
    from midef.core.recipe import Recipe
    from midef.storage import Store

HELP = "write the target of a cell as weights with a model card"
CARD = "README.md"


@dataclass(frozen=True, kw_only=True)
class ExportArguments:
    """The options of `midef export-target`."""

    store: str
    sweep: str | None
    cell: list[str]
    out: Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb to its parser."""
    add_store_argument(parser)
    parser.add_argument("cell", nargs="+", metavar="CELL", help="a cell by its first letters, or defense=midre seed=0")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to make; it must be empty or not there")
    parser.add_argument("--sweep", help=ADDRESS)


def run(args: argparse.Namespace) -> int:
    """Write weights, program and card; nothing is left behind where that fails."""
    from midef.stages.exported import export
    from midef.storage import Store

    options = parsed(ExportArguments, args)
    if options.out.is_dir() and any(options.out.iterdir()):
        raise SpecError(f"{options.out} is not empty; give a folder that is empty or not there")
    check_folder(options.out)
    store = Store.open(options.store, create=False)
    cells = choose_stored(store, options.sweep, options.cell)
    targets = {recipe.key: (recipe, cell) for cell in cells for recipe in [target_of(store, cell)]}
    if len(targets) > 1:
        lines = "\n".join(f"  {cell.title}" for _, cell in list(targets.values())[:20])
        words = " ".join(options.cell)
        raise SpecError(f"{len(targets)} targets match {words}; name a cell, as by its first letters:\n{lines}")
    ((recipe, cell),) = targets.values()
    with TemporaryDirectory() as made:
        folder = Path(made)
        facts = export(recipe, store, folder)
        (folder / CARD).write_text(card_text(recipe, facts, licence=_licence(recipe, store, cell)), encoding="utf-8")
        options.out.mkdir(parents=True, exist_ok=True)
        for path in sorted(folder.iterdir()):
            (options.out / path.name).write_bytes(path.read_bytes())
            say(f"written: {options.out / path.name}")
    if facts["no_program"]:
        say(f"note: no program for plain torch: {facts['no_program']}")
    return EXIT_OK


def _licence(recipe: Recipe, store: Store, cell: StoredCell) -> tuple[str, str]:
    """Licence and consent of the private data: as the specification has them, else as the data set says."""
    from midef.datasets import DATASETS

    split = recipe.inputs["private"]
    spec = json.loads(store.sweeps.read_manifest(cell.sweep_digest).spec_json)
    written = [holder.get("private") for holder in (spec, *spec.get("setups", ()))]
    said = {
        (str(one.get("licence", "")), str(one.get("consent", "")))
        for one in written
        if isinstance(one, dict) and one.get("name") == split.component and one.get("licence")
    }
    if len(said) == 1:
        return said.pop()
    try:
        params = {name: value for name, value in split.params["params"].items() if name != "fingerprint"}
        card = DATASETS.make(split.component, params).card()
    except (MidefError, TypeError, OSError):
        return "unknown here", "unknown"
    return card.licence, card.consent


def card_text(recipe: Recipe, facts: Mapping[str, Any], *, licence: tuple[str, str]) -> str:
    """The model card, in Markdown. It names no person of the data.

    Args:
        recipe: of the target.
        facts: of its training.
        licence: of the private data, and the consent of the people in it.
    """
    from midef.core.choice import Choice
    from midef.core.text import markdown
    from midef.stages.exported import PROGRAM, WEIGHTS

    params, split = recipe.params, recipe.inputs["private"]
    defense = Choice.from_plain(params["defense"])
    size = int(split.params["resolution_px"])
    accuracies = [
        f"| {words} | {facts[name]:.2f} % |"
        for name, words in (
            ("report_accuracy", "report split (not used in training or selection)"),
            ("select_accuracy", "select split (picked the checkpoint)"),
            ("train_accuracy", "train split"),
        )
        if name in facts
    ]
    data = ", ".join(f"{k}={v}" for k, v in split.params["params"].items() if k != "fingerprint")
    plain = [
        "In plain torch, without midef:",
        "",
        "```python",
        "import torch",
        f'logits = torch.export.load("{PROGRAM}").module()(images)',
        "```",
        "",
    ]
    if facts.get("no_program"):
        plain = [
            f"There is no program for plain torch ({markdown(str(facts['no_program']))}). The tensors alone:",
            "",
            "```python",
            "from safetensors.torch import load_file",
            f'tensors = load_file("{WEIGHTS}")',
            "```",
            "",
        ]
    answers = markdown(f"{defense.name} with {json.dumps(defense.params, sort_keys=True)}")
    lines = [
        f"# Target {markdown(recipe.key.short)}",
        "",
        "A classifier of people, trained to measure model inversion attacks: it recognises those it was trained on,",
        "and may give away what they look like. Treat it like the images it was trained on.",
        "",
        "| | |",
        "| --- | --- |",
        f"| architecture | {markdown(str(params['architecture']['name']))} |",
        f"| input | [B, 3, {size}, {size}], float32 in [0, 1]; the network normalises for itself |",
        f"| output | logits [B, {facts['classes']}] |",
        f"| private data | {markdown(split.component)} {markdown(data)} |",
        f"| licence of the data | {markdown(licence[0] or 'unknown')} |",
        f"| consent | {markdown(licence[1] or 'unknown')} |",
        f"| defense | {answers} |",
        f"| seed | {params['seed']} |",
        f"| key | `{recipe.key}` |",
        "",
        "| accuracy on | |",
        "| --- | --- |",
        *accuracies,
        "",
        "## How to load it",
        "",
        *plain,
        "Through midef, with its blocks and features:",
        "",
        "```python",
        "from midef.stages.exported import load_exported",
        'logits = load_exported(".")(images).logits',
        "```",
        "",
        "A defense that changes answers and not the network, such as rounding, is no part of these files.",
    ]
    if facts.get("draws"):
        lines += [
            "The network draws random numbers when it answers: for equal answers to one image seed torch before each.",
        ]
    return "\n".join(lines) + "\n"
