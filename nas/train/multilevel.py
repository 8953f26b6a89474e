"""Multi-level training: from a shallow network with large steps to the deep one with small steps (Chang et al. 2018).

`grow` carries the state of a network over to one with more blocks a stage; `LevelTrainer` is a `Trainer` that changes
its network so at the ends of levels. Which networks these are, and what they save, stands in `nas.levels`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any

from torch import Tensor, nn

from nas.levels import level_epochs
from nas.settings import Recipe
from nas.train.data import Dataset, Split
from nas.train.numerics import Numerics
from nas.train.trainer import EpochResult, Trainer

_IN_A_BLOCK = re.compile(r"((?:memory\.)?stage\d+)\.block(\d+)\.(.+)")

_Blocks = dict[str, dict[int, dict[str, Tensor]]]      # by stage, number from 1, and name within the block


def grow(small: Mapping[str, Tensor], large: Mapping[str, Tensor], copies: bool = True) -> dict[str, Tensor]:
    """The state of a network for one with as many or more blocks in each stage, at most twice as many.

    small: what has been trained, as a state dict whose blocks are named `stageN.blockM.`; large: the state of the
    deeper network as it starts, which gives the names. After a block comes a copy of it, weights, norms and all,
    as in the paper's figure 5; where not every block gets one, those that do are spread evenly. Of the block that
    begins a stage, where it changes the shape, there can be no copy (the paper does not say what comes there): after it
    comes a copy of the block that follows, or the block of `large` as it starts, where none follows. What is in no
    block is taken over.

    copies=False leaves every inserted block as it starts, to compare with. Nothing is shared with `small` or `large`.
    """
    grown = dict(large)
    before, after = _blocks(small), _blocks(large)
    for name, value in small.items():
        if name in large and large[name].shape == value.shape and not _IN_A_BLOCK.fullmatch(name):
            grown[name] = value
    for stage, blocks in after.items():
        old = before.get(stage, {})
        for number, block in blocks.items():
            source, inserted = _source(number, len(old), len(blocks))
            candidates = [old.get(source), old.get(source + 1)] if copies or not inserted else []
            values = next((one for one in candidates if one and _covers(one, block)), block)
            grown |= {f"{stage}.block{number}.{rest}": values[rest] for rest in block}
    return {name: value.clone() for name, value in grown.items()}


def _source(number: int, old: int, new: int) -> tuple[int, bool]:
    """Which of `old` blocks becomes block `number` of `new`, from 1, and whether as an inserted copy."""
    source, previous = (number - 1) * old // new, (number - 2) * old // new
    return source + 1, number > 1 and source == previous


def _covers(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Whether `one` has all that `other` has; where convolutions are shared, the first block has more than the rest."""
    return all(name in one and one[name].shape == value.shape for name, value in other.items())


def _blocks(state: Mapping[str, Tensor]) -> _Blocks:
    found: _Blocks = defaultdict(lambda: defaultdict(dict))
    for name, value in state.items():
        if match := _IN_A_BLOCK.fullmatch(name):
            found[match[1]][int(match[2])][match[3]] = value
    return found


class LevelTrainer:
    """Trains `networks`, which make a network each, in turn, each for its part of the recipe's epochs; it is used as
    a `Trainer` is.

    A level begins with what the last one was evaluated by, its averaged weights, grown; with the learning rate's
    schedule from its start, momentum zero, and a new average. Measured on CIFAR-10 at 16 x 16, 3,500 images, a
    network of 4-4-4 blocks of 8, 16 and 32 channels, two levels, 12 epochs at a constant rate, means of three seeds:
    accuracy is 0.479 so, 0.480 from the last weights instead of their average, 0.483 with the momentum grown, too,
    0.481 without a second warm-up; seeds differ by 0.014 (standard deviation), so the simplest it is.

    Epochs are counted through, so that each has draws of its own. `weights()` and the results of epochs are of the
    level's network: of the full one at the last level alone. With one network it is the same as `Trainer`, to the bit.
    """

    def __init__(self, networks: Sequence[Callable[[], nn.Module]], dataset: Dataset, recipe: Recipe, *, seed: int,
                 numerics: Numerics, micro_batch: int | None = None):
        self._networks, self._dataset, self._recipe, self._seed = networks, dataset, recipe, seed
        self._numerics, self._micro_batch = numerics, micro_batch
        self._parts = level_epochs(recipe.epochs, len(networks) - 1)
        self._ends = tuple(accumulate(self._parts))
        self._enter(0, networks[0]())

    @property
    def epoch(self) -> int:
        """Epochs trained so far, at all levels."""
        return self._trainer.epoch

    @property
    def model(self) -> nn.Module:
        """The network of the level, as it is trained."""
        return self._trainer.model

    def run_epoch(self) -> EpochResult:
        """Train one more epoch, of the next level where this one's are done; as `Trainer.run_epoch`."""
        if self.level + 1 < len(self._networks) and self.epoch == self._ends[self.level]:
            model = self._networks[self.level + 1]()
            model.load_state_dict(grow(self._trainer.weights(), model.state_dict()))
            self._enter(self.level + 1, model)
        return self._trainer.run_epoch()

    def evaluate(self, split: Split | None = None) -> tuple[float, float]:
        """As `Trainer.evaluate`, of the level's network."""
        return self._trainer.evaluate(split)

    def weights(self) -> dict[str, Tensor]:
        """As `Trainer.weights`, of the level's network."""
        return self._trainer.weights()

    def state(self) -> dict[str, Any]:
        """As `Trainer.state`, of the level's network; its epoch says which that is."""
        return self._trainer.state()

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from `state()`, at whatever level; as `Trainer.load_state`."""
        level = next((level for level, end in enumerate(self._ends) if state["epoch"] <= end), len(self._ends) - 1)
        if level != self.level:
            self._enter(level, self._networks[level]())
        self._trainer.load_state(state)

    def _enter(self, level: int, model: nn.Module) -> None:
        self.level = level
        recipe = self._recipe.model_copy(update={"epochs": self._parts[level]})
        self._trainer = Trainer(model, self._dataset, recipe, seed=self._seed, numerics=self._numerics,
                                micro_batch=self._micro_batch, before=self._ends[level] - self._parts[level])
