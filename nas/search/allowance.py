"""What a study can still afford: time by its budget, and memory by what has run out of it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence

from nas.network import Network
from nas.search.effort import Effort
from nas.search.pace import LARGEST_SHARE, Pace
from nas.space import Judgement
from nas.store import EpochRecord, State, TrialRecord
from nas.study import Study


class Allowance:
    """That of `study`, of which `spent` seconds were spent in earlier runs.

    clock: tells the seconds that the time budget is of. effort: what an epoch costs. first: epochs at the first rung.
    trials: all there are.
    """

    def __init__(self, study: Study, spent: float, clock: Callable[[], float], pace: Pace, effort: Effort, first: int,
                 trials: Iterable[TrialRecord]):
        self.pace, self._effort = pace, effort
        self._budget, self._epochs, self._first = study.budget.time, study.recipe.epochs, first
        self._spent, self._clock = spent, clock
        self._began = math.inf      # until the first job is asked for
        self._cheapest = math.inf   # MACs of an epoch up to the first rung, of a trial
        self._memory = math.inf     # activations of networks that no memory here holds
        for trial in trials:
            self.saw(trial)

    def begin(self) -> bool:
        """Time counts from the first call on; whether this is it."""
        if self._began < math.inf:
            return False
        self._began = self._clock()
        return True

    def saw(self, trial: TrialRecord) -> None:
        """A trial as it is now."""
        self._cheapest = min(self._cheapest, self._effort.mean(trial.network, trial.macs, self._first))
        if trial.state is State.OUT_OF_MEMORY:
            self._memory = min(self._memory, trial.activations)

    def trained(self, trial: TrialRecord, epoch: EpochRecord) -> None:
        """An epoch of a trial."""
        self.pace.saw(self._effort.at(trial.network, trial.macs, epoch.epoch), epoch.seconds)

    @property
    def seconds_spent(self) -> float:
        """Search time of the study, earlier runs included."""
        return self._spent + max(0.0, self._clock() - self._began)

    @property
    def seconds_left(self) -> float:
        """Of the time budget; infinite where there is none."""
        return math.inf if self._budget is None else self._budget - self.seconds_spent

    def holds(self, trial: TrialRecord, curve: Sequence[EpochRecord]) -> bool:
        """Whether the time left holds a full training of a trial's network, which has trained for those of `curve`."""
        whole, so_far = (self._effort.mean(trial.network, trial.macs, n) for n in (self._epochs, len(curve)))
        seconds = statistics.fmean(epoch.seconds for epoch in curve) * whole / so_far
        return seconds * self._epochs <= self.seconds_left

    @property
    def too_late(self) -> bool:
        """Whether the time left does not even hold the first rung of the cheapest network seen so far."""
        if self._budget is None:
            return False
        least = self._first * self.pace.epoch(self._cheapest) if self._cheapest < math.inf else 0.0
        return self.seconds_left <= least

    def excess(self, judged: Judgement) -> dict[str, float]:
        """Why a network is not to be tried although no limit forbids it, "time" or "memory", and by which share.

        Time: its training is expected to take more than its share of the budget, or its first rung more than is left.
        """
        cost, network = judged.cost, judged.architecture
        if cost is None:
            return {}
        if cost.activations >= self._memory:
            return {"memory": cost.activations / self._memory - 1}
        if self._budget is None:
            return {}
        share = max(self._seconds(network, cost.macs, self._epochs) / (LARGEST_SHARE * self._budget),
                    self._seconds(network, cost.macs, self._first) / max(self.seconds_left, 1e-9)) - 1
        return {"time": share} if share > 0 else {}

    def _seconds(self, network: Network, macs: int, until: int) -> float:
        """What the first `until` epochs are expected to take."""
        return until * self.pace.epoch(self._effort.mean(network, macs, until))
