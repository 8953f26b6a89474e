"""Optuna's grid and quasi-random samplers as sequences whose place is ours to keep.

Optuna finds its place in the trials and attributes of a study. Ours is shown a part of the history, made anew after a
restart, and holds no infeasible points: it would begin again from the start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import GridSampler, QMCSampler


class Grid(GridSampler):
    """Every combination once, in a seeded order; the next one is that at `place`."""

    place = 0

    def __init__(self, values: Mapping[str, Sequence[Any]], seed: int):
        super().__init__(values, seed)
        self.size: int = len(self._all_grids)

    def before_trial(self, study: Any, trial: Any) -> None:
        """Optuna takes the combination from here."""
        study._storage.set_trial_system_attr(trial._trial_id, "grid_id", self.place % self.size)


class QuasiRandom(QMCSampler):
    """A scrambled Sobol sequence over all axes, those that are not active at a point included."""

    place = 0
    size: float = float("inf")

    def __init__(self, distributions: Mapping[str, BaseDistribution], seed: int):
        super().__init__(seed=seed, scramble=True, warn_asynchronous_seeding=False, warn_independent_sampling=False)
        self._all = {name: one for name, one in distributions.items() if not one.single()}

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, BaseDistribution]:
        """All axes, not those of the first trial."""
        return self._all

    def _find_sample_id(self, study: Any, search_space: Any) -> int:
        return self.place
