"""As many epochs as fit a time: of one network, by the speed measured on its own steps before it is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from nas.data import Dataset
from nas.levels import level_architectures, level_epochs
from nas.search.workers import Workers
from nas.store import StudyRecord
from nas.study import Study
from nas.units import human_seconds

MOST = 300
_USED = 0.95        # of the time: loading, exporting and a machine that is busier later need some, too


def fitted(study: Study, stored: StudyRecord | None, dataset: Dataset, workers: Workers, seconds: float,
           say: Callable[[str], None]) -> Study:
    """`study`, of one network, with the epochs that `seconds` are enough for, or with those it was begun with.

    stored: the study of that name as the database has it. say: is told the figure, and what it comes from.
    """
    if stored is not None:
        epochs = int(stored.spec["recipe"]["epochs"])
        say(f"epochs    {epochs}, with which {study.name} was begun")
    else:
        by_level, steps = _measured(study, dataset, workers)
        each = seconds * _USED / study.search.repeats
        epochs = epochs_within(by_level, each)
        took = sum(s * n for s, n in zip(by_level, level_epochs(epochs, len(by_level) - 1), strict=True))
        bound = " (the most)" if epochs == MOST else " (the fewest)" if took > each else ""
        say(f"epochs    {epochs}{bound}: {human_seconds(took / epochs)} each by {steps} steps timed here, "
            f"{human_seconds(took * study.search.repeats)} of {human_seconds(seconds)} in all")
    return replace(study, recipe=study.recipe.model_copy(update={"epochs": epochs}))


def epochs_within(by_level: Sequence[float], seconds: float) -> int:
    """The most epochs, up to `MOST`, that take at most `seconds`; at least one a level, even where they do not.

    by_level: seconds of an epoch of each of the networks that are trained in turn.
    """
    levels = len(by_level) - 1

    def total(epochs: int) -> float:
        return sum(s * n for s, n in zip(by_level, level_epochs(epochs, levels), strict=True))

    return max((n for n in range(levels + 1, MOST + 1) if total(n) <= seconds), default=levels + 1)


def _measured(study: Study, dataset: Dataset, workers: Workers) -> tuple[list[float], int]:
    """Seconds of an epoch at each level, and how many steps were timed in all."""
    from nas.model import build
    from nas.plan import plan
    from nas.train import choose, epoch_time, keep_memory, set_threads

    keep_memory()
    numerics = choose(study.recipe.precision, "cuda" if workers.gpus else "auto", set_threads(workers.threads))
    info = dataset.info
    shape = (info.channels, info.resolution, info.resolution)
    times = [epoch_time(partial(build, plan(network, shape, info.n_classes), seed=study.seed), dataset, study.recipe,
                        seed=study.seed, numerics=numerics)
             for network in level_architectures(study.space.decode({}), study.recipe.levels)]
    return [one.seconds for one in times], sum(one.steps for one in times)
