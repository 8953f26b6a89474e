"""What growing by copies is worth: a trained network grown by one level, against one with blocks as they start.

The measurement behind `Recipe.levels`, small enough to be repeated (Chang et al. 2018). It asserts nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from nas.architecture import Architecture, Stage
from nas.levels import level_architectures
from nas.model import build
from nas.plan import plan
from nas.settings import Recipe
from nas.train.data import Dataset
from nas.train.multilevel import grow
from nas.train.numerics import Numerics, choose
from nas.train.trainer import Trainer

SMALL = Architecture(tuple(Stage(depth=4, width=width) for width in (16, 32, 64)), shortcut="A")
"""4-4-4, of the paper's family, which grows out of 2-2-2."""


@dataclass(frozen=True, slots=True)
class InterpolationGain:
    """Validation errors in [0, 1]: of the trained shallow network, and of the two deep ones before any training."""

    before: float
    copied: float
    random: float


def interpolation_gain(
    dataset: Dataset, recipe: Recipe, seed: int, *, numerics: Numerics | None = None, architecture: Architecture = SMALL
) -> InterpolationGain:
    """Train the coarse form of `architecture` for the recipe's epochs, then grow it by one level in two ways.

    copied: each inserted block is a copy; random: it is as it starts. In both the step is halved and the norm
    statistics are estimated afresh; neither is trained on. numerics: default, the fastest of this machine.
    """
    numerics = numerics or choose(recipe.precision)
    _, channels, height, width = dataset.train.images.shape
    shape, classes = (channels, height, width), len(dataset.info.classes)
    small, large = (plan(one, shape, classes) for one in level_architectures(architecture, 1))
    trainer = Trainer(build(small, seed=seed), dataset, recipe, seed=seed, numerics=numerics)
    for _ in range(recipe.epochs):
        trainer.train_epoch()
    errors = []
    for copies in (True, False):
        model = build(large, seed=seed + 1)     # an inserted block must not start as an old one did
        model.load_state_dict(grow(trainer.weights(), model.state_dict(), copies))
        grown = Trainer(model, dataset, recipe, seed=seed, numerics=numerics)
        errors.append(1 - grown.evaluate()[0])
    return InterpolationGain(1 - trainer.evaluate()[0], *errors)
