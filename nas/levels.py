"""Multi-level training in numbers: the networks it goes through, their epochs, and the MACs that it saves. No torch.

Chang et al. 2018 ("Multi-level Residual Networks from Dynamical Systems View"): a residual network is Euler's method
with step h = alpha, so a shallow network with a large step is a coarse form of a deep one with a small step. Train the
coarse one, insert after each block a copy of it, halve the step, restart the learning rate, and so on up to the target.
`Recipe.levels` is the number of these interpolations. How weights grow and are trained stands in
`nas.train.multilevel`; what a network costs in `nas.cost`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import accumulate

from nas.architecture import Architecture, Stage
from nas.cost import cost
from nas.nodes import Shape
from nas.plan import plan
from nas.settings import Recipe
from nas.units import many


def level_epochs(epochs: int, levels: int) -> tuple[int, ...]:
    """How many of `epochs` each of the `levels` + 1 networks is trained for: equal parts, the rest to the last one."""
    part = epochs // (levels + 1)
    return (part,) * levels + (epochs - levels * part,)


def level_architectures(architecture: Architecture, levels: int) -> tuple[Architecture, ...]:
    """The `levels` + 1 networks in the order in which they are trained; the last one is `architecture` itself.

    Network j of k has ceil(depth / 2^(k - j)) blocks a stage. Its steps are larger, so that they add up to the
    same: alpha times depth / blocks, which is twice the next one's wherever the depth is halved exactly, as in the
    paper. A stage that cannot be halved any further (depth 1) stays as it is, step included, and the network is trained
    on in the same levels: so epoch e is of the same level in every network of a search, and a rung of early stopping
    compares like with like, coarse forms at the first ones. With a highway gate the step is the gate's, T, and alpha
    stays 1.
    """
    factors = [1 << levels - level for level in range(levels)]
    stages = architecture.canonical().stages        # where alpha is a number
    coarse = [tuple(_coarse(stage, factor) for stage in stages) for factor in factors]
    return (*(replace(architecture, stages=found) for found in coarse), architecture)


def _coarse(stage: Stage, factor: int) -> Stage:
    depth = -(-stage.depth // factor)
    alpha = float(stage.residual_scaling)
    scaling = alpha if stage.gate == "highway" else alpha * stage.depth / depth
    return replace(stage, depth=depth, residual_scaling=scaling)


@lru_cache(maxsize=65_536)
def level_macs(architecture: Architecture, levels: int, shape: Shape, classes: int) -> tuple[int, ...]:
    """MACs of a forward pass of one image of `shape` (C, H, W) through each of the networks, in their order."""
    return tuple(cost(plan(one, shape, classes)).macs for one in level_architectures(architecture, levels))


def macs_until(by_level: Sequence[float], epochs: int, until: int) -> float:
    """MACs of a forward pass of one image in each of the first `until` of `epochs` epochs, added up.

    `by_level`: those of one pass through each network.
    """
    total, before = 0.0, 0
    for macs, end in zip(by_level, accumulate(level_epochs(epochs, len(by_level) - 1)), strict=True):
        total += macs * max(0, min(until, end) - before)
        before = end
    return total


def training_macs(architecture: Architecture, recipe: Recipe, shape: Shape, classes: int) -> int:
    """MACs of a forward pass of one image in every epoch of the recipe, added up: what a whole training is made of.

    Times the images of the training part, and about 3 for the backward pass, it is the training's.
    """
    by_level = level_macs(architecture, recipe.levels, shape, classes)
    return sum(macs * part for macs, part in zip(by_level, level_epochs(recipe.epochs, recipe.levels), strict=True))


def saved_macs(architecture: Architecture, recipe: Recipe, shape: Shape, classes: int) -> float:
    """The share of a training's MACs that its levels save, against as many epochs of the full network; in [0, 1)."""
    whole = recipe.epochs * cost(plan(architecture, shape, classes)).macs
    return 1 - training_macs(architecture, recipe, shape, classes) / whole


def saved_blocks(architecture: Architecture, recipe: Recipe) -> float:
    """The same in blocks instead of MACs: with equal parts and depths that halve exactly it is `closed_form`."""
    parts = level_epochs(recipe.epochs, recipe.levels)
    blocks = [sum(stage.depth for stage in one.stages) for one in level_architectures(architecture, recipe.levels)]
    return 1 - sum(n * part for n, part in zip(blocks, parts, strict=True)) / (blocks[-1] * recipe.epochs)


def closed_form(levels: int) -> float:
    """1 - (2^(k+1) - 1) / (2^k (k + 1)): 25, 41.7 and 53.1 % of the blocks for k = 1, 2, 3 (Chang et al., sec. 4)."""
    blocks = 1 << levels
    return 1 - (2 * blocks - 1) / (blocks * (levels + 1))


def levels_line(architectures: Sequence[Architecture], recipe: Recipe, shape: Shape, classes: int) -> str:
    """What the levels are and what they save, in one line: of one network, or on the mean of several."""
    parts = level_epochs(recipe.epochs, recipe.levels)
    epochs = f"{', '.join(map(str, parts[:-1]))} and {many(parts[-1], 'epoch')}"
    depths = ""
    if len(set(architectures)) == 1:
        networks = level_architectures(architectures[0], recipe.levels)
        depths = f" ({', '.join('-'.join(str(s.depth) for s in one.stages) for one in networks)})"
    macs, blocks = mean_savings(architectures, recipe, shape, classes)
    return f"{len(parts)} levels{depths} of {epochs}; {macs:.1%} of the MACs saved, {blocks:.1%} of the blocks"


def mean_savings(
    architectures: Sequence[Architecture], recipe: Recipe, shape: Shape, classes: int
) -> tuple[float, float]:
    """`saved_macs` and `saved_blocks` of one network, or their means over several."""
    macs = [saved_macs(one, recipe, shape, classes) for one in architectures]
    blocks = [saved_blocks(one, recipe) for one in architectures]
    return sum(macs) / len(macs), sum(blocks) / len(blocks)
