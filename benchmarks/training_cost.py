"""What a training step costs under each defense, as a ratio to the undefended step of the same run.

    python benchmarks/training_cost.py [--architecture vgg16] [--batch 64] [--steps 4] [--rounds 3]

Every ratio is the median over rounds; each round times NoDef and the defense one after the other through the ordinary
training loop, in CPU seconds of one thread, so other work on the machine hardly counts. Phases that came before
(LoFt, CALoR and TTS start from a trained network) are not part of a step.
"""

from __future__ import annotations

import argparse
import sys
import time
from statistics import median

import torch

from midef.core.errors import SpecError
from midef.core.recipe import Inputs
from midef.datasets import Images
from midef.defenses import choose_defense, remake_defense
from midef.models import ARCHITECTURES
from midef.training import TrainingRecipe
from midef.training.classifier.fit import fit_classifier

DEFENSES = [
    *("midre", "midre(fill=inpaint)", "cutmix", "random_crop", "gaussian_blur", "pixel_masking", "ls", "nls"),
    *("bido", "bido(measure=coco)", "mid", "loft", "tl_dmi(fresh=true)", "rolss", "ssf", "trap_mid"),
    *("dp_sgd(batch_norm=group)", "midre+bido"),
]


def step_s(defense_text: str, options: argparse.Namespace, classes: int = 1000) -> float | None:
    """CPU seconds per training step; None where the defense cannot work on this network."""
    defense = remake_defense(choose_defense(defense_text))
    architecture = ARCHITECTURES.make(options.architecture)
    facts = architecture.facts()
    if defense.problems(facts):
        return None
    torch.manual_seed(0)
    model = architecture.build(classes, options.resolution)
    model = defense.prepare_model(model, Inputs({}, lambda recipe: sys.exit(f"needs {recipe.key}")))
    model.head = defense.prepare_head(model.head)
    count = options.batch * options.steps
    pixels = torch.randint(0, 256, (count, 3, options.resolution, options.resolution), dtype=torch.uint8)
    data = Images(pixels, torch.arange(count) // 4 % classes)
    one = Images(pixels[:1], data.labels[:1])
    recipe = TrainingRecipe(epochs=1, batch_size=options.batch, learning_rate=1e-4)
    start = time.process_time()
    fit_classifier(
        model.to(memory_format=torch.channels_last), data, one, facts=facts, recipe=recipe, defense=defense, seed=0
    )
    return (time.process_time() - start) / options.steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", default="vgg16")
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("defenses", nargs="*", default=DEFENSES)
    options = parser.parse_args()
    torch.set_num_threads(1)
    step_s("none", options)  # the first pass allocates and plans
    print(f"{options.architecture}, {options.resolution} px, batch {options.batch}, 1,000 classes, one thread\n")
    print("| defense | step / NoDef step | range |\n| --- | ---: | ---: |")
    for text in options.defenses:
        ratios = []
        try:
            for _ in range(options.rounds):
                plain, defended = step_s("none", options), step_s(text, options)
                if defended is None:
                    break
                assert plain is not None
                ratios.append(defended / plain)
        except SpecError as error:
            sys.exit(str(error))
        if ratios:
            print(f"| {text} | {median(ratios):.2f} | {min(ratios):.2f} to {max(ratios):.2f} |", flush=True)
        else:
            print(f"| {text} | cannot work on this network | |", flush=True)


if __name__ == "__main__":
    main()
