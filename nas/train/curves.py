"""Learning curves of our recipe and of another one, as people write it: same network and images, an epoch each in turn.

The other one is He et al. 2015, section 4.2, in plain torch: SGD with momentum 0.9, a rate of 0.1 divided by 10 at half
and at three quarters of the training, weight decay 1e-4 on everything, batches of 128, images padded, cropped and
flipped one by one in a Dataset, float32. Padding is an eighth of the side: their 4 at 32 pixels. Both are evaluated on
the same validation images after each epoch, and their seconds hold training and evaluation.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from nas.settings import Recipe
from nas.train.data import Dataset, Preprocess, tensor
from nas.train.evaluation import accuracy_and_loss
from nas.train.numerics import Numerics
from nas.train.trainer import Trainer

BATCH, RATE, DECAY = 128, 0.1, 1e-4


@dataclass(frozen=True, slots=True)
class Pair:
    """One epoch of both: validation errors in [0, 1], wall-clock seconds."""

    error: float
    seconds: float
    plain_error: float
    plain_seconds: float


def curves(make: Callable[[], nn.Module], dataset: Dataset, recipe: Recipe, *, seed: int,
           numerics: Numerics) -> Iterator[Pair]:
    """Train the network that `make` makes by `recipe` and by He et al.'s, an epoch of each in turn."""
    ours = Trainer(make(), dataset, recipe, seed=seed, numerics=numerics)
    theirs = plain_training(make(), dataset, recipe.epochs, seed, numerics.device)
    for _ in range(recipe.epochs):
        result = ours.run_epoch()
        started = time.perf_counter()
        error = next(theirs)
        yield Pair(1 - result.accuracy, result.seconds, error, time.perf_counter() - started)


def plain_training(model: nn.Module, dataset: Dataset, epochs: int, seed: int, device: str) -> Iterator[float]:
    """Train an epoch whenever asked, by He et al. 2015; yields the validation error after it."""
    model, generator = model.to(device).train(), torch.Generator().manual_seed(seed)
    loader = DataLoader(Augmented(dataset, generator), BATCH, shuffle=True, generator=generator)
    optimizer = torch.optim.SGD(model.parameters(), RATE, momentum=0.9, weight_decay=DECAY)
    steps = epochs * len(loader)
    rate = torch.optim.lr_scheduler.MultiStepLR(optimizer, [steps // 2, 3 * steps // 4])

    def epoch() -> float:
        for x, y in loader:
            loss = F.cross_entropy(model(x.to(device)), y.to(device))
            optimizer.zero_grad()
            loss.backward()     # type: ignore[no-untyped-call]
            optimizer.step()
            rate.step()
        part = dataset.validation       # on a copy: evaluating changes the memory layout
        return 1 - accuracy_and_loss(copy.deepcopy(model), part, dataset.mean, dataset.std, device)[0]

    return (epoch() for _ in range(epochs))     # what torch.optim imports at first use is in no epoch's time


class Augmented(TorchDataset[tuple[Tensor, Tensor]]):
    """Training images one by one: padded with the mean, cropped at random and, where that suits them, flipped."""

    def __init__(self, dataset: Dataset, generator: torch.Generator):
        self.images, self.labels = tensor(dataset.train.images), tensor(dataset.train.labels)
        self.preprocess, self.flips = Preprocess(dataset.mean, dataset.std), dataset.info.flips
        self.padding, self.generator = max(1, self.images.shape[-1] // 8), generator

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Image (C, H, W), float32 and normalised, and its label."""
        image = self.preprocess(self.images[index][None])[0]
        _, height, width = image.shape
        top, left = (int(torch.randint(2 * self.padding + 1, (), generator=self.generator)) for _ in range(2))
        image = F.pad(image, (self.padding,) * 4)[:, top : top + height, left : left + width]
        if self.flips and torch.rand((), generator=self.generator) < 0.5:
            image = image.flip(2)
        return image, self.labels[index]
