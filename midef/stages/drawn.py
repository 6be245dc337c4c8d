"""Which data sets are drawn from traits of their identities, and how, as recipes name it. No torch, no numpy."""

from __future__ import annotations

from functools import lru_cache

from midef.core.choice import Choice
from midef.core.recipe import Recipe
from midef.datasets import DATASETS, Dataset, ImageFormation


@lru_cache(64)
def drawn_dataset(split: Recipe) -> Dataset | None:
    """The data set of a split, where its images are drawn from traits of its identities; None for any other."""
    if split.component not in DATASETS.names():
        return None  # a recipe that another machine made
    cls = DATASETS.get(split.component)
    if cls.formation is Dataset.formation or cls.identity_latents is Dataset.identity_latents:
        return None
    dataset = DATASETS.make(split.component, split.params["params"])
    return None if dataset.formation() is None else dataset


@lru_cache(64)
def drawn_as(split: Recipe) -> Choice | None:
    """How the images of a split are drawn, for `formation_of`; None where they are not.

    A data set of its kind, with those parameters that its image formation knows: equal for other people and other
    numbers of images.
    """
    dataset = drawn_dataset(split)
    if dataset is None:
        return None
    whole, formation = DATASETS.describe(dataset), dataset.formation()
    kept = {name: value for name, value in whole.params.items() if name in vars(formation)}
    alike = DATASETS.make(whole.name, kept).formation()
    same = alike is not None and vars(alike) == vars(formation)
    return Choice(whole.name, kept if same else whole.params, whole.version)


def have_equal_traits(private: Recipe, public: Recipe) -> bool:
    """True if the traits of an image drawn as those of one split are coordinates of identities of the other: their data
    sets are of one kind, whatever the parameters."""
    return private.component == public.component


def formation_of(drawn: Choice) -> ImageFormation:
    """The image formation that `drawn_as` named."""
    formation = DATASETS.remake(drawn).formation()
    assert formation is not None, "only a data set with a formation is named"
    return formation
