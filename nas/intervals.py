"""95 % intervals: of a share of images (Wilson), of a mean over seeds or networks (Student)."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

LEVEL = 0.95
_TAIL = (1 + LEVEL) / 2


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and its 95 % interval; `low` and `high` are None where there is too little to say."""

    estimate: float
    low: float | None = None
    high: float | None = None


def wilson(right: int, images: int) -> tuple[float, float]:
    """Of a share (Wilson 1927): `right` of `images`, of which there is at least one."""
    z = statistics.NormalDist().inv_cdf(_TAIL)
    share, square = right / images, z * z
    middle = (share + square / (2 * images)) / (1 + square / images)
    half = z / (1 + square / images) * math.sqrt(share * (1 - share) / images + square / (4 * images * images))
    return max(0.0, middle - half), min(1.0, middle + half)


def mean_interval(values: Sequence[float]) -> Interval | None:
    """Of the mean of independent values, by Student's t; None of no values."""
    if not values:
        return None
    if len(values) < 2:
        return Interval(values[0])
    return around(statistics.fmean(values), statistics.stdev(values), len(values), len(values) - 1)


def around(mean: float, std: float, count: int, freedom: int) -> Interval:
    """Of the mean of `count` values with a standard deviation that was estimated with `freedom` degrees of freedom."""
    from scipy.special import stdtrit

    half = float(stdtrit(freedom, _TAIL)) * std / math.sqrt(count)
    return Interval(mean, mean - half, mean + half)
