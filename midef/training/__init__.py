"""The loops: classifiers, GANs, inversion networks. Importing this package loads no torch."""

from midef.training.recipe import TrainingRecipe

__all__ = ["TrainingRecipe"]
