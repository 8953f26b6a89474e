"""What the epochs of a training cost, in MACs of one image: the same all along, unless the recipe has levels."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

from nas.architecture import Architecture
from nas.levels import level_epochs, level_macs, macs_until
from nas.network import Network
from nas.nodes import Shape
from nas.settings import Recipe


@dataclass(frozen=True, slots=True)
class Effort:
    """That of trainings by `recipe` on images of `shape` (C, H, W). `macs` is always of the whole network."""

    recipe: Recipe
    shape: Shape
    classes: int

    def at(self, network: Network, macs: int, epoch: int) -> int:
        """MACs of a forward pass in an epoch, from 1."""
        by_level = self._by_level(network, macs)
        ends = accumulate(level_epochs(self.recipe.epochs, len(by_level) - 1))
        return next((found for found, end in zip(by_level, ends, strict=True) if epoch <= end), macs)

    def mean(self, network: Network, macs: int, until: int) -> float:
        """MACs of a forward pass in the mean of the first `until` epochs."""
        return macs_until(self._by_level(network, macs), self.recipe.epochs, until) / until

    def _by_level(self, network: Network, macs: int) -> tuple[int, ...]:
        if not self.recipe.levels or not isinstance(network, Architecture):     # the row of a table is looked up
            return (macs,)
        return level_macs(network, self.recipe.levels, self.shape, self.classes)
