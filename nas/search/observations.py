"""What the sampler sees of a study: every trial at one and the same fidelity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nas.search.halving import Halving
from nas.search.samplers import Seen
from nas.store import EpochRecord, State, TrialRecord
from nas.study import Study


class Observations:
    """Those of `trials` and their `curves`, which are the driver's own, as it changes them."""

    def __init__(self, study: Study, halving: Halving, trials: Mapping[int, TrialRecord],
                 curves: Mapping[int, Sequence[EpochRecord]]):
        self.study, self.halving = study, halving
        self._trials, self._curves = trials, curves
        self.level = self._highest()

    def rises(self) -> bool:
        """Whether enough trials have come farther by now: then all are seen at more epochs."""
        before, self.level = self.level, self._highest()
        return self.level != before

    @property
    def whole(self) -> bool:
        """Whether what is seen are full trainings."""
        return self.level == self.study.recipe.epochs

    def values(self, number: int) -> tuple[float, ...] | None:
        """The objectives of a trial after `level` epochs; None where it has not come so far."""
        trial, curve = self._trials[number], self._curves.get(number, [])
        if len(curve) < self.level or trial.state in (State.FAILED, State.OUT_OF_MEMORY):
            return None
        ended = self.whole and trial.state is State.COMPLETE
        found = {"accuracy": trial.accuracy if ended else curve[self.level - 1].accuracy, "macs": trial.macs,
                 "params": trial.params, "activations": trial.activations, "latency_ms": trial.latency_ms}
        values = [found[objective.name] for objective in self.study.objectives]
        return None if None in values else tuple(float(value) for value in values if value is not None)

    def one(self, trial: TrialRecord) -> Seen:
        """A trial as it is seen."""
        running = not trial.state.finished
        return Seen(trial.number, dict(trial.point), trial.sampler_attrs, self.values(trial.number), running,
                    trial.state is State.PRUNED)

    def all(self) -> list[Seen]:
        """All trials as they are seen."""
        return [self.one(trial) for trial in self._trials.values()]

    def _highest(self) -> int:
        """The highest level that enough trials have reached."""
        levels = self.halving.levels
        if self.study.search.latency == "measured" and any(o.name == "latency_ms" for o in self.study.objectives):
            return levels[-1]
        enough = max(8, len(self.study.space.axes))
        return max((level for level in levels if self.halving.reached(level) >= enough), default=levels[0])
