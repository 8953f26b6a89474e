"""Dominance: the Pareto front, its hypervolume and its knee. A thin skin over moocore; no torch, Optuna or pandas.

Values are one row a point, one column an objective; `directions` says 'max' or 'min' for each column.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DIRECTIONS = ("max", "min")

Values = Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True)
class Objective:
    """What a study wants more ('max') or less ('min') of, by the name of its quantity."""

    name: str
    direction: str

    def __post_init__(self) -> None:
        if self.direction not in DIRECTIONS:
            raise ValueError(f"direction of {self.name} must be max or min, not {self.direction!r}")


def non_dominated(values: Values, directions: Sequence[str]) -> list[int]:
    """Indices, ascending, of the points that no other point dominates.

    Of exact duplicates the first stands for all. A point with a NaN is never among them.
    """
    import moocore
    import numpy as np

    points = _minimised(values, directions)
    usable = np.flatnonzero(~np.isnan(points).any(axis=1))
    if not usable.size:
        return []
    kept = moocore.is_nondominated(points[usable], keep_weakly=False)
    return [int(index) for index in usable[kept]]


def hypervolume(values: Values, directions: Sequence[str], reference: Sequence[float]) -> float:
    """The volume that `values` dominate up to `reference`. Points not better than it in all objectives add nothing."""
    import moocore
    import numpy as np

    points, corner = _minimised(values, directions), _minimised([reference], directions)[0]
    inside = points[(points < corner).all(axis=1)]      # also drops NaN
    return float(moocore.hypervolume(inside, ref=np.asarray(corner))) if len(inside) else 0.0


def knee(values: Values, directions: Sequence[str]) -> int:
    """Index of the point of the front that is farthest from the line between the front's extremes.

    Each objective is scaled to [0, 1] over the front, 1 the best; objectives to minimise are first put on a log scale
    where all of them are positive, as costs are. With two objectives the extremes are then (1, 0) and (0, 1), so that
    the distance on the good side of their line grows with the sum of the two; with more, the distance is from the
    plane through the corners; with one, the knee is the best point. The first of equals. Raises ValueError where no
    point is on the front.
    """
    import numpy as np

    front = non_dominated(values, directions)
    if not front:
        raise ValueError("no point has a value in every objective")
    points = _minimised([values[index] for index in front], directions)
    total = np.zeros(len(front))
    for column, direction in zip(points.T, directions, strict=True):
        total += _goodness(np.log(column) if direction == "min" and (column > 0).all() else column)
    best = total.max()
    return front[next(i for i, value in enumerate(total) if math.isclose(value, best, rel_tol=1e-12))]


def _goodness(column: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 at the smallest, 0 at the largest; all 1 where they are equal."""
    spread = column.max() - column.min()
    good: NDArray[np.float64] = (column.max() - column) / spread if spread > 0 else column * 0 + 1
    return good


def _minimised(values: Values, directions: Sequence[str]) -> NDArray[np.float64]:
    import numpy as np

    points = np.asarray(values, dtype=np.float64).reshape(-1, len(directions))
    signs = np.array([-1.0 if Objective("", direction).direction == "max" else 1.0 for direction in directions])
    return np.ascontiguousarray(points * signs)
