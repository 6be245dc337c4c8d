"""What the StyleGAN2 of a store draws: a grid of faces, and how far such faces lie from the public photographs.

    python benchmarks/stylegan2/samples.py benchmarks/stylegan2/samples.png --store STORE

The picture is truncated (psi 0.7), the numbers are not. Distances are Fréchet distances of MobileFaceNet's embeddings
(length 1, so that distances of several thousand images are small numbers), read from $MIDEF_WEIGHTS: of drawn faces to
the photographs that the prior learned, beside that of one half of these photographs to the other half, which is what
no generator can beat, and of drawn faces to as many photographs of the private people. "Nearest" is the mean squared
distance of a drawn face to its nearest learned photograph, beside that of a photograph to its nearest other one: a
generator that copies photographs is far nearer.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from midef.attacks import PRIORS
from midef.core.choice import Choice
from midef.core.recipe import Recipe
from midef.metrics.extractors import EXTRACTORS
from midef.metrics.fid import frechet_distance
from midef.models.pretrained import weights_folder
from midef.nn.weights import read_tensors
from midef.stages.resize import low_to_high
from midef.stages.split import load as load_splits
from midef.storage import Store

SIDE = 8
PSI = 0.7
COUNT = 4000


def the_prior(store: Store) -> Recipe:
    """The one trained StyleGAN2 of a store.

    Raises:
        SystemExit: for none or several.
    """
    recipes = [store.artifacts.recipe(key) for key in store.artifacts.keys("prior")]
    found = [recipe for recipe in recipes if recipe.component == "style_gan2"]
    if len(found) != 1:
        sys.exit(f"needs a store with one StyleGAN2, {store.uri} has {len(found)}")
    return found[0]


@torch.no_grad()
def drawn(generator: torch.nn.Module, count: int, psi: float, px: int) -> Tensor:
    """Faces of the first `count` latents of seed 0, [count, 3, px, px] uint8."""
    latents = torch.from_numpy(np.random.RandomState(0).randn(count, generator.latent_dim)).float()
    parts = []
    for part in latents.split(64):
        images = generator.synthesis(generator.styles(generator.mapping(part), psi))
        shown = (generator.view(images, px) / 2 + 0.5).clamp(0, 1)
        parts.append((shown * 255).round().to(torch.uint8))
    return torch.cat(parts)


def grid(images: Tensor) -> Image.Image:
    """SIDE x SIDE images in one, without frames."""
    rows = [torch.cat(list(row), dim=2) for row in images[: SIDE * SIDE].split(SIDE)]
    return Image.fromarray(torch.cat(rows, dim=1).permute(1, 2, 0).contiguous().numpy())


def embedder() -> Callable[[Tensor], np.ndarray]:
    """Embeddings [N, 128] of images [N, 3, H, W] uint8."""
    extractor = EXTRACTORS.make("face_embedding")
    network = extractor.network(read_tensors(extractor.file.find(weights_folder()))).eval()

    @torch.no_grad()
    def embed(images: Tensor) -> np.ndarray:
        parts = low_to_high(images, extractor.resolution_px).split(extractor.at_once)
        return torch.cat([network(part.float() / 255) for part in parts]).numpy()

    return embed


def nearest(ones: np.ndarray, others: np.ndarray, *, itself: bool = False) -> float:
    """Mean squared distance of each embedding to its nearest other one."""
    squared = 2 - 2 * (ones @ others.T)  # all have length 1
    if itself:
        np.fill_diagonal(squared, np.inf)
    return float(squared.min(axis=1).mean())


def report(store: Store, picture: Path) -> str:
    """Write the picture; the numbers as Markdown."""
    recipe = the_prior(store)
    prior = PRIORS.remake(Choice(recipe.component, recipe.params["params"], recipe.version))
    public = recipe.inputs["public"]
    px = int(public.params["resolution_px"])
    generator = prior.load(store.artifacts.fetch(recipe.key), px, 0, "cpu")["generator"]
    grid(drawn(generator, SIDE * SIDE, PSI, px)).save(picture, optimize=True)
    embed = embedder()
    learned = load_splits(store.artifacts.fetch(public.key)).all_images
    order = torch.randperm(len(learned), generator=torch.Generator().manual_seed(0))
    photographs, faces = embed(learned[order]), embed(drawn(generator, COUNT, 1.0, px))
    half = len(photographs) // 2
    facts = store.artifacts.meta(recipe.key)
    lines = [
        ("Fréchet distance, drawn faces to photographs", frechet_distance(faces[:half], photographs[:half])),
        ("Fréchet distance, photographs to photographs", frechet_distance(photographs[half:], photographs[:half])),
        ("nearest photograph to a drawn face", nearest(faces, photographs)),
        ("nearest other photograph to a photograph", nearest(photographs[:COUNT], photographs[:COUNT], itself=True)),
    ]
    made = facts["midef"]
    table = "\n".join(f"| {name} | {value:.4f} |" for name, value in lines)
    size = f"{len(learned):,} photographs at {px} px, {half:,} faces and photographs in each distance"
    return f"{size}; made by {made}\n\n| MobileFaceNet's embeddings | |\n| --- | ---: |\n{table}"


def main(arguments: Iterable[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--store", default="midef-store")
    options = parser.parse_args(None if arguments is None else list(arguments))
    print(report(Store.open(options.store, create=False), options.picture))


if __name__ == "__main__":
    main()
