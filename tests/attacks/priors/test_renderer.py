"""The prior `renderer`: the public data set's own image formation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from midef.attacks import SmallBudget
from midef.attacks.priors.base import FitContext
from midef.attacks.priors.renderer import Renderer
from midef.core import Inputs, Recipe, SpecError
from midef.datasets import DATASETS, Dataset, Splits
from midef.testing.attacks import public_splits

NOTHING = Inputs({}, lambda recipe: Path("nowhere"))


def fitted(data_set: Dataset, resolution_px: int = 24) -> dict[str, nn.Module]:
    networks = Renderer().networks(resolution_px, 0)
    Renderer().fit(networks, public_splits(), FitContext(inputs=NOTHING, public=lambda: data_set))
    return networks


def public(difficulty: float = 0.5) -> Dataset:
    return DATASETS.make("synthetic_faces", {"population": "public", "difficulty": difficulty})


def test_draws_as_the_public_images_were_made(tmp_path: Path) -> None:
    """Also after it was stored, with the data set's own difficulty, and with gradients."""
    Renderer().store(fitted(public()), tmp_path)
    assert [path.suffix for path in tmp_path.iterdir()] == [".json"], "nothing that could execute"
    generator = Renderer().load(tmp_path, 24, 10, "cpu")["generator"]
    latents = torch.randn(5, 62, generator=torch.Generator().manual_seed(0), requires_grad=True)
    images = generator(latents)
    formation = public().formation()
    assert formation is not None and torch.equal(images, formation.images(latents, 24))
    assert not torch.allclose(images, public(1.0).formation().images(latents, 24), atol=0.05)  # type: ignore[union-attr]
    (slopes,) = torch.autograd.grad(images.sum(), latents)
    assert slopes.isfinite().all() and slopes.abs().sum() > 0
    assert (generator.latent_dim, generator.n_traits) == (62, 24)


def test_half_precision_around_it_changes_nothing(tmp_path: Path) -> None:
    generator = fitted(public())["generator"]
    latents = torch.randn(3, 62, generator=torch.Generator().manual_seed(0))
    expected = generator(latents)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(generator(latents), expected)


def test_costs_nothing_and_draws_any_resolution() -> None:
    budget = SmallBudget(search=1, steps=1, epochs=1, inverter_width=1, latent_dim=1)
    assert Renderer.small(budget) == {} and Renderer().problems(45) == []


@pytest.mark.parametrize("name", ["image_folder", "mnist"])
def test_refuses_photographs(name: str, tmp_path: Path) -> None:
    given = {"path": str(tmp_path)} if name == "image_folder" else {"root": str(tmp_path)}
    photographs = DATASETS.make(name, given)
    (problem,) = Renderer().problems_with(photographs)
    assert problem == (
        f"the prior renderer draws as the public images were made, and nothing says how those of {name} were; "
        "choose the public data set synthetic_faces, or another prior"
    )
    with pytest.raises(SpecError, match=f"nothing says how those of {name} were"):
        fitted(photographs)
    assert Renderer().problems_with(public()) == []


def test_says_what_it_needs_where_it_is_fitted_by_hand() -> None:
    splits: Splits = public_splits()
    with pytest.raises(SpecError, match="needs the public data set itself"):
        Renderer().fit(Renderer().networks(24, 0), splits, FitContext(inputs=NOTHING))


def test_its_recipe_hangs_on_the_public_data_alone() -> None:
    target, other = Recipe("target", "classifier", {"seed": 0}), Recipe("target", "classifier", {"seed": 1})
    first, second = Recipe("split", "a", {"resolution_px": 32}), Recipe("split", "b", {"resolution_px": 32})
    recipe = Renderer().recipe(public=first, target=target)
    assert recipe.params == {"params": {}} and recipe.inputs == {"public": first}
    assert recipe.key == Renderer().recipe(public=first, target=other).key
    assert recipe.key != Renderer().recipe(public=second, target=target).key
