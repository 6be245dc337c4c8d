"""One of two processes that train a classifier together. Started by test_distributed.py: rank, meeting file, output."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist


def main(rank: int, meeting: Path, out: Path) -> None:
    from midef.datasets import DATASETS
    from midef.defenses._stack import choose_defense, remake_defense
    from midef.models import ARCHITECTURES
    from midef.training import TrainingRecipe
    from midef.training.classifier import fit_classifier

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    faces = DATASETS.make("synthetic_faces", {"identities": 8, "train_images": 8}).load(32)
    architecture = ARCHITECTURES.make("vgg16_tiny")
    torch.manual_seed(rank)  # on purpose not the same: the ranks must agree on weights by themselves
    model = architecture.build(8, 32)
    done = fit_classifier(
        model,
        faces.train,
        faces.select,
        facts=architecture.facts(),
        recipe=TrainingRecipe(epochs=4, batch_size=32, learning_rate=0.02, clip_norm=5.0),
        defense=remake_defense(choose_defense("midre(area_high=0.2)+bido")),
        seed=1,
    )
    torch.save({name: p.detach() for name, p in model.named_parameters()}, out / f"weights{rank}.pt")
    (out / f"report{rank}.json").write_text(json.dumps(done.loss))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
