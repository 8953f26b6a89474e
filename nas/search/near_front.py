"""The layers of the front whose weights are kept. A trial pushed out of them never comes back in."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from nas.front import Objective, non_dominated
from nas.store import TrialRecord

LAYERS = 2


class NearFront:
    """The COMPLETE trials in the first `LAYERS` layers of non-domination."""

    def __init__(self, objectives: Sequence[Objective], complete: Sequence[TrialRecord]):
        self.objectives = objectives
        self.trials = list(self._layers(complete))

    def front(self) -> list[TrialRecord]:
        """The trials that no other one dominates."""
        return self._layer(sorted(self.trials, key=lambda trial: trial.number))

    def takes(self, trial: TrialRecord) -> bool:
        """Whether `trial` would be among them."""
        return any(kept.number == trial.number for kept in self._layers([*self.trials, trial]))

    def admit(self, trial: TrialRecord) -> list[TrialRecord]:
        """Take in a finished trial; those that are then no longer among them, itself perhaps."""
        before = [*self.trials, trial]
        self.trials = list(self._layers(before))
        inside = {kept.number for kept in self.trials}
        return [out for out in before if out.number not in inside]

    def _layer(self, trials: Sequence[TrialRecord]) -> list[TrialRecord]:
        found = [[getattr(trial, o.name) for o in self.objectives] for trial in trials]
        values = [[math.nan if value is None else float(value) for value in row] for row in found]
        return [trials[index] for index in non_dominated(values, [o.direction for o in self.objectives])]

    def _layers(self, trials: Sequence[TrialRecord]) -> Iterator[TrialRecord]:
        trials = sorted(trials, key=lambda trial: trial.number)     # of equal ones the first counts
        for _ in range(LAYERS):
            layer = self._layer(trials)
            yield from layer
            inside = {trial.number for trial in layer}
            trials = [trial for trial in trials if trial.number not in inside]
