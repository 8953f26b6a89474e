"""How long an epoch of a network takes here: its own steps are timed, before a training that has to fit a time."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace

import torch
from torch import nn

from nas.errors import NasError
from nas.settings import Recipe
from nas.train.data import Dataset, Split
from nas.train.numerics import Numerics
from nas.train.trainer import CALIBRATION, Diverged, Trainer

SECONDS = 3.0       # of steps, after a first one that warms up; where that one takes longer, it is all there is


@dataclasses.dataclass(frozen=True, slots=True)
class EpochTime:
    """What an epoch takes: `seconds` of training and evaluation, by `steps` that were timed."""

    seconds: float
    steps: int


def epoch_time(make: Callable[[], nn.Module], dataset: Dataset, recipe: Recipe, *, seed: int,
               numerics: Numerics) -> EpochTime:
    """An epoch of the network that `make` makes, by `recipe` on all of `dataset`, from a few steps of it.

    Out of memory is tried again with half the batch at a time, as the training will. Raises `NasError` where that is
    too much, too.
    """
    batch = recipe.batch(len(dataset.train.labels))
    recipe = recipe.model_copy(update={"batch_size": batch})
    for micro_batch in (None, max(1, batch // 2)):
        with suppress(torch.OutOfMemoryError):
            def trained(steps: int, parts: int | None = micro_batch) -> tuple[Trainer, float]:
                trainer = Trainer(make(), _few(dataset, steps * batch), recipe, seed=seed, numerics=numerics,
                                  micro_batch=parts)
                with suppress(Diverged):        # the training itself will say so
                    return trainer, _timed(trainer.train_epoch, numerics)
                return trainer, 0.0

            return _from_steps(trained, dataset, recipe, numerics)
        torch.cuda.empty_cache()
    raise NasError(f"recipe.batch_size: {batch}: out of memory, also at half of it at a time; give a smaller one")


def _from_steps(trained: Callable[[int], tuple[Trainer, float]], dataset: Dataset, recipe: Recipe,
                numerics: Numerics) -> EpochTime:
    """trained: trains so many steps; returns the trainer, and the seconds that it took."""
    assert recipe.batch_size is not None
    whole = max(1, len(dataset.train.labels) // recipe.batch_size)
    steps, (trainer, seconds) = 1, trained(1)
    if seconds < SECONDS:
        steps = max(1, min(whole, int(SECONDS / max(seconds, 1e-3))))
        trainer, seconds = trained(steps)
    evaluation = _timed(trainer.evaluate, numerics) / _passes(trainer.dataset, recipe)
    return EpochTime(seconds / steps * whole + evaluation * _passes(dataset, recipe), steps)


def _timed(work: Callable[[], object], numerics: Numerics) -> float:
    started = time.perf_counter()
    work()
    if numerics.device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def _passes(dataset: Dataset, recipe: Recipe) -> int:
    """Images that go through the network in an evaluation, norm statistics included."""
    return min(CALIBRATION, len(dataset.train.labels)) + len(dataset.validation.labels) * (1 + recipe.flip_test)


def _few(dataset: Dataset, images: int) -> Dataset:
    """The same with at most so many images in each part."""
    def first(part: Split) -> SimpleNamespace:
        return SimpleNamespace(images=part.images[:images], labels=part.labels[:images])

    return SimpleNamespace(info=dataset.info, train=first(dataset.train), validation=first(dataset.validation),
                           mean=dataset.mean, std=dataset.std)
