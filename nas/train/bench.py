"""Images a second of our trainer against the loop that one writes without us, in one run, taken in turn.

The plain loop is a competent one: float32, NCHW, a DataLoader over ready normalised tensors, a flip by batch, SGD with
Nesterov momentum and a cosine schedule. Ours does more in the same time (crop and flip by image, averaged weights,
clipping). Both run in this process with its threads and allocator settings, neither evaluates.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from nas.settings import Recipe
from nas.train.data import Dataset, Preprocess, tensor
from nas.train.numerics import Numerics
from nas.train.trainer import Trainer


@dataclass(frozen=True, slots=True)
class Throughput:
    """Images trained a second by round, ours and the plain loop's, and their ratios round by round."""

    ours: tuple[float, ...]
    plain: tuple[float, ...]

    @property
    def ratios(self) -> tuple[float, ...]:
        """Ours over plain, each pair timed one after the other; above 1 ours is faster."""
        return tuple(ours / plain for ours, plain in zip(self.ours, self.plain, strict=True))

    def figures(self, name: str) -> dict[str, float]:
        """The medians and the spread of the ratio, by names that begin with `name`."""
        return {
            f"{name}.images_per_second": statistics.median(self.ours),
            f"{name}.plain_images_per_second": statistics.median(self.plain),
            f"{name}.ratio": statistics.median(self.ratios),
            f"{name}.ratio_low": min(self.ratios),
            f"{name}.ratio_high": max(self.ratios),
        }


def train_throughput(
    networks: Mapping[str, Callable[[], nn.Module]],
    numerics: Numerics,
    *,
    channels: int = 3,
    resolution: int = 16,
    classes: int = 10,
    batch_size: int = 64,
    images: int = 512,
    rounds: int = 5,
    on_result: Callable[[str, Throughput], None] | None = None,
) -> dict[str, Throughput]:
    """Train each network on `images` random images, once ours and once plain, `rounds` times after a warm-up.

    `networks` makes a fresh one at each call, of float images (N, `channels`, `resolution`, `resolution`) to logits
    (N, `classes`). `on_result` is told each network's figures as they come.
    """
    data = noise(images, channels, resolution, classes)
    results = {}
    for name, make in networks.items():
        recipe = Recipe(batch_size=batch_size)
        ours = Trainer(make(), data, recipe, seed=0, numerics=numerics)
        results[name] = _compare(ours.train_epoch, plain_loop(make(), data, recipe, numerics.device), images, rounds)
        if on_result:
            on_result(name, results[name])
    return results


def plain_loop(model: nn.Module, data: Dataset, recipe: Recipe, device: str) -> Callable[[], None]:
    """One epoch of the plain loop, as a function to call again and again."""
    model = model.to(device).train()
    pixels = Preprocess(data.mean, data.std)(tensor(data.train.images)).to(device)
    dataset = TensorDataset(pixels, tensor(data.train.labels).to(device))
    loader = DataLoader(dataset, recipe.batch(len(dataset)), shuffle=True, drop_last=True)
    optimizer = torch.optim.SGD(model.parameters(), recipe.learning_rate, momentum=recipe.momentum, nesterov=True,
                                weight_decay=recipe.weight_decay)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.epochs * len(loader))

    def epoch() -> None:
        for x, y in loader:
            if torch.rand(()) < 0.5:
                x = x.flip(3)
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()     # type: ignore[no-untyped-call]
            optimizer.step()
            cosine.step()

    return epoch


def noise(images: int, channels: int, resolution: int, classes: int) -> Dataset:
    """A data set of random pixels and labels: the time of a step does not depend on what is in it."""
    generator = np.random.default_rng(0)
    part = SimpleNamespace(
        images=generator.integers(0, 256, (images, channels, resolution, resolution), dtype=np.uint8),
        labels=generator.integers(0, classes, images),
    )
    info = SimpleNamespace(classes=tuple(str(label) for label in range(classes)), flips=True)
    return SimpleNamespace(info=info, train=part, validation=part, mean=(0.5,) * channels, std=(0.29,) * channels)


def _compare(ours: Callable[[], object], plain: Callable[[], object], images: int, rounds: int) -> Throughput:
    ours(), plain()
    pairs = [(_rate(ours, images), _rate(plain, images)) for _ in range(rounds)]
    return Throughput(tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs))


def _rate(epoch: Callable[[], object], images: int) -> float:
    _wait()
    started = time.perf_counter()
    epoch()
    _wait()
    return images / (time.perf_counter() - started)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
