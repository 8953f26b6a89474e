"""The learning rate as a pure function of progress: no state to save, nothing to resume.

Progress is counted in epochs, as a fraction: 2.5 is the middle of the third epoch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial

from nas.settings import Recipe

Schedule = Callable[[float], float]
"""Maps progress in epochs to a share of the peak rate in [0, 1]."""


def constant(progress: float, warmup: float) -> float:
    """Linear warm-up over `warmup` epochs, then the peak rate for ever.

    Anytime: the length of the training is no argument, so its first epochs are the same whatever comes after.
    """
    return min(1.0, progress / warmup) if warmup > 0 else 1.0


def one_cycle(progress: float, warmup: float, epochs: float) -> float:
    """Linear warm-up, then half a cosine to zero at `epochs` (Loshchilov and Hutter, 2017, eq. 5, one cycle).

    A warm-up longer than half the training is cut to that half.
    """
    warmup = min(warmup, epochs / 2)
    if progress < warmup:
        return progress / warmup
    return 0.5 + 0.5 * math.cos(math.pi * min(1.0, (progress - warmup) / (epochs - warmup)))


def schedule(recipe: Recipe) -> Schedule:
    """The recipe's schedule as a function of progress in epochs alone."""
    return SCHEDULES[recipe.schedule](recipe)


def _constant(recipe: Recipe) -> Schedule:
    return partial(constant, warmup=recipe.warmup_epochs)


def _one_cycle(recipe: Recipe) -> Schedule:
    return partial(one_cycle, warmup=recipe.warmup_epochs, epochs=recipe.epochs)


SCHEDULES: Mapping[str, Callable[[Recipe], Schedule]] = {"constant": _constant, "one_cycle": _one_cycle}
