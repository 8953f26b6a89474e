"""How a latency table is made: random networks of a space are measured, times of layers fitted to them, and judged.

The fit minimises squared relative errors, no time below zero. It is judged on networks that it was not fitted to, by
tenfold cross-validation.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls
from scipy.stats import spearmanr

from nas.cost import cost
from nas.errors import NasError
from nas.lane import measuring
from nas.latency.records import Setting
from nas.latency.rounds import Rounds
from nas.latency.table import Errors, Table, features, space_key
from nas.nodes import Sequence, Shape
from nas.plan import plan
from nas.space import SearchSpace
from nas.study import Study

SECONDS = 0.5           # of rounds of a network, each of two times
_FEWEST = 10            # networks
_DRAWS = 2_000          # in a row that give no further network: there is none
_HELD = 10              # networks that are measured without letting a training in between
_FOLDS = 10

Array = npt.NDArray[np.float64]


def make_table(
    study: Study, shape: Shape, classes: int, setting: Setting, points: int, measured: Callable[[Sequence], Rounds],
    progress: Callable[[int, int], None] = lambda done, all_: None,
) -> Table:
    """A table for the study's space from `points` random feasible networks, or all there are. Raises `NasError`.

    measured: the rounds of a network; called twice for each, from first to last and back, and the faster time counts:
    neighbours disturb for a while.
    """
    plans = distinct(study.space, shape, classes, points)
    if len(plans) < _FEWEST:
        raise NasError(f"{study.name}: has {len(plans)} feasible networks, and a table takes {_FEWEST}; measure them: "
                       "search.latency: measured")
    there = _measured(plans, measured, lambda done: progress(done, 2 * len(plans)))
    back = _measured(plans[::-1], measured, lambda done: progress(len(plans) + done, 2 * len(plans)))[::-1]
    first, second = (np.array([1000 * one.undisturbed for one in rounds]) for rounds in (there, back))
    found = np.minimum(first, second)
    counted = [features(one) for one in plans]
    names = sorted({name for one in counted for name in one})
    rows = np.array([[one.get(name, 0.0) for name in names] for one in counted])
    macs = np.array([[1.0, cost(one).macs / 1e6] for one in plans])
    times = {name: float(ms) for name, ms in zip(names, _fit(rows, found), strict=True) if ms > 0}
    repeat = float(np.median(np.abs(first - second) / found))
    noisy = sum(bool(one.noise()) for one in (*there, *back))
    return Table(space_key(study), study.name, shape, classes, setting, times, len(plans), held_out(rows, found),
                 held_out(macs, found), repeat, noisy, time.time())


def distinct(space: SearchSpace, shape: Shape, classes: int, count: int) -> list[Sequence]:
    """Random feasible networks of the space, each once; fewer where there are no more to be found."""
    rng, found, vain = random.Random(0), dict[str, Sequence](), 0
    while len(found) < count and vain < _DRAWS:
        point = space.sample(rng)
        judged = space.judge(point, shape, classes)
        vain += 1
        if not judged.broken and judged.architecture.id not in found:
            found[judged.architecture.id] = plan(space.decode(point), shape, classes)
            vain = 0
    return list(found.values())


def held_out(rows: Array, found: Array) -> Errors:
    """Of predictions of `found` from `rows`, each by a fit to the other nine tenths."""
    order, predicted = np.random.default_rng(0).permutation(len(found)), np.empty(len(found))
    for part in np.array_split(order, _FOLDS):
        others = np.setdiff1d(order, part)
        predicted[part] = rows[part] @ _fit(rows[others], found[others])
    errors = np.abs(predicted - found) / found
    return Errors(float(np.median(errors)), float(np.quantile(errors, 0.9)), float(spearmanr(predicted, found)[0]))


def _fit(rows: Array, found: Array) -> Array:
    """A time for each column, none below zero, that makes the squared relative errors least."""
    scale = np.maximum(rows.max(0), 1e-12)
    times: Array = nnls(rows / scale / found[:, None], np.ones(len(found)))[0] / scale
    return times


def _measured(plans: list[Sequence], measured: Callable[[Sequence], Rounds], done: Callable[[int], None],
              ) -> list[Rounds]:
    found: list[Rounds] = []
    while len(found) < len(plans):
        with measuring():
            for one in plans[len(found):len(found) + _HELD]:
                found.append(measured(one))
                done(len(found))
    return found
