"""Further trainings of COMPLETE trials with other seeds (`search.repeats`): which are wanted, and which run."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from nas.store import EpochRecord, State, TrialRecord
from nas.study import Study

LOOK_EVERY = 1.0        # seconds between looks at what other studies train for us


@dataclass
class Repeat:
    """A training that runs: its seed, and the epochs so far."""

    seed: int
    curve: list[EpochRecord] = field(default_factory=list)


class Repeats:
    """A network that was trained to the end is trained again with each further seed, the study's plus 1, 2 and so on;
    one after the other, so that a trial has one training at a time."""

    def __init__(self, study: Study, complete: Iterable[TrialRecord]):
        self.seeds = [(study.seed + more) % 2**32 for more in range(1, study.search.repeats)]
        self.running: dict[int, Repeat] = {}
        self._wanted: dict[int, TrialRecord] = {}
        self._put_off: dict[int, float] = {}        # until when, by this process's clock
        self._crashes: Counter[tuple[int, int, bool]] = Counter()
        for trial in complete:
            self.admit(trial)

    def admit(self, trial: TrialRecord) -> None:
        """A trial as it is now: it has a turn for as long as it lacks a seed."""
        self.running.pop(trial.number, None)
        self._wanted.pop(trial.number, None)
        self._put_off.pop(trial.number, None)
        if trial.state is State.COMPLETE and self._lacking(trial):
            self._wanted[trial.number] = trial

    def wanted(self) -> Iterator[tuple[TrialRecord, int]]:
        """The trials to be trained again, in order, and the next seed of each."""
        now = time.monotonic()
        for trial in list(self._wanted.values()):
            if self._put_off.get(trial.number, 0.0) <= now:
                yield trial, self._lacking(trial)[0]

    def put_off(self, number: int) -> None:
        """Another study trains just this: look again in a while."""
        self._put_off[number] = time.monotonic() + LOOK_EVERY

    @property
    def waiting(self) -> bool:
        """Whether a trial was put off."""
        return bool(self._put_off)

    def begin(self, number: int, seed: int) -> None:
        """The training of a trial with `seed` runs now."""
        del self._wanted[number]
        self._put_off.pop(number, None)
        self.running[number] = Repeat(seed)

    def crashed(self, trial: TrialRecord, lost: bool) -> int:
        """The worker of a running one died, or was lost; how often that was under just that training. It is wanted
        again."""
        training = trial.number, self.running[trial.number].seed, lost
        self._crashes[training] += 1
        self.admit(trial)
        return self._crashes[training]

    def _lacking(self, trial: TrialRecord) -> list[int]:
        ended = {one.seed for one in trial.trainings if one.state.finished}
        return [seed for seed in self.seeds if seed not in ended]
