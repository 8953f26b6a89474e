"""What can be said of networks that were trained with a few seeds each: intervals, probabilities, correlations.

The spread over seeds is taken to be the same for all networks and estimated from all of them: three seeds alone say
next to nothing of a standard deviation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from nas.intervals import LEVEL, Interval, around

_DRAWS = 20_000
_RESAMPLED = 2_000


@dataclass(frozen=True, slots=True)
class Spread:
    """The standard deviation over seeds, and the degrees of freedom that it was estimated with."""

    std: float
    freedom: int

    @staticmethod
    def of(groups: Sequence[Sequence[float]]) -> Spread:
        """Pooled over networks, a group each; of 0 degrees of freedom where no network has two seeds."""
        freedom = sum(len(group) - 1 for group in groups if group)
        if freedom == 0:
            return Spread(math.nan, 0)
        squares = sum(float(np.var(group)) * len(group) for group in groups if len(group) > 1)
        return Spread(math.sqrt(squares / freedom), freedom)

    def interval(self, group: Sequence[float]) -> Interval:
        """Of the mean of a group, by Student's t."""
        mean = float(np.mean(group))
        if self.freedom == 0:
            return Interval(mean)
        return around(mean, self.std, len(group), self.freedom)


def non_dominated_probability(
    groups: Sequence[Sequence[float]], costs: Sequence[Sequence[float]], spread: Spread, seed: int = 0,
) -> list[float | None]:
    """Of each network the probability that no other has at least its accuracy at no more of any cost.

    groups: accuracies by seed; costs: exact, to minimise, one row a network. The true means are drawn from what the
    seeds leave open (normal, with the pooled variance drawn from its scaled inverse chi-square). None without spread.
    """
    if spread.freedom == 0:
        return [None] * len(groups)
    rng = np.random.default_rng(seed)
    sigma = spread.std * np.sqrt(spread.freedom / rng.chisquare(spread.freedom, _DRAWS))
    means = np.array([np.mean(group) for group in groups])
    errors = rng.standard_normal((_DRAWS, len(groups))) / np.sqrt([len(group) for group in groups])
    drawn = means + sigma[:, None] * errors
    return [float(np.mean(~_beaten(drawn, cheaper, index))) for index, cheaper in enumerate(_no_dearer(costs))]


def _no_dearer(costs: Sequence[Sequence[float]]) -> list[NDArray[np.bool_]]:
    table = np.array(costs, dtype=float).reshape(len(costs), -1)
    found = [np.array((table <= row).all(axis=1), dtype=np.bool_) for row in table]
    for index, others in enumerate(found):
        others[index] = False
    return found


def _beaten(drawn: NDArray[np.float64], others: NDArray[np.bool_], index: int) -> NDArray[np.bool_]:
    if not others.any():
        return np.zeros(len(drawn), dtype=bool)
    found: NDArray[np.bool_] = drawn[:, others].max(axis=1) >= drawn[:, index]
    return found


def rank_correlation(one: Sequence[float], other: Sequence[float], seed: int = 0) -> Interval | None:
    """Spearman's, its interval from resampled networks; None of fewer than three networks, or where all are equal."""
    pairs = np.array([one, other], dtype=float).T
    if len(pairs) < 3 or any(len(np.unique(column)) < 2 for column in pairs.T):
        return None
    rng = np.random.default_rng(seed)
    found = [_spearman(pairs[rng.integers(len(pairs), size=len(pairs))]) for _ in range(_RESAMPLED)]
    known = [value for value in found if value is not None]
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    estimate = _spearman(pairs)
    assert estimate is not None
    return Interval(estimate, float(low), float(high))


def _spearman(pairs: NDArray[np.float64]) -> float | None:
    ranks = [stats.rankdata(column) for column in pairs.T]
    if any(np.ptp(one) == 0 for one in ranks):
        return None
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])
