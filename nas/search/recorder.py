"""Commits what a driver takes in: learning curves in batches, ends of trials at once, then the Optuna projection."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence

from nas.evaluation import Progress
from nas.store import EpochRecord, Ledger, Projection, State, Tested, TrialRecord

EVERY = 1.0     # seconds between batches, and between updates of the projection


class Recorder:
    """Writes to `study` of `ledger`. trials, curves: the driver's own, as it changes them; clock: of search time."""

    def __init__(self, ledger: Ledger, study: str, projection: Projection | None, clock: Callable[[], float],
                 trials: Mapping[int, TrialRecord], curves: Mapping[int, Sequence[EpochRecord]]):
        self.ledger, self.study, self.projection, self._clock = ledger, study, projection, clock
        self._trials, self._curves = trials, curves
        self._charged = math.inf        # until the first job is asked for
        self._epochs: dict[int, list[EpochRecord]] = {}     # not written yet
        self._dirty: set[int] = set()
        self._last = -math.inf

    def begin(self) -> None:
        """Charge the study for the time from now on."""
        self._charged = self._clock()

    def epoch(self, number: int, epoch: EpochRecord) -> None:
        """One more epoch of a running trial, to be written soon."""
        self._epochs.setdefault(number, []).append(epoch)
        self.changed(number)

    def forget(self, number: int) -> None:
        """The epochs of a trial that begins again are not to be written."""
        self._epochs.pop(number, None)

    def finish(self, number: int, state: State, reason: str, epoch: EpochRecord | None, last: Progress,
               checkpoint: str | None, sha256: str | None) -> TrialRecord:
        """Commit the end of a trial with all its epochs."""
        seconds, before = self._uncharged(), self._epochs.pop(number, [])

        def write() -> TrialRecord:
            with self.ledger.batch():
                self.ledger.add_seconds(self.study, seconds)
                for earlier in before:
                    self.ledger.record_epoch(self.study, number, earlier)
                return self.ledger.finish_trial(
                    self.study, number, state, reason, epoch=epoch, latency_ms=last.latency_ms, device=last.device,
                    checkpoint=checkpoint, checkpoint_sha256=sha256, tested=_tested(last))

        return self.ledger.patiently(write)

    def finish_repeat(self, number: int, seed: int, state: State, reason: str, curve: Sequence[EpochRecord],
                      last: Progress) -> TrialRecord:
        """Commit the end of a training of a trial with another seed."""
        seconds = self._uncharged()

        def write() -> TrialRecord:
            with self.ledger.batch():
                self.ledger.add_seconds(self.study, seconds)
                return self.ledger.finish_repeat(self.study, number, seed, state, reason, curve, last.device,
                                                 _tested(last))

        return self.ledger.patiently(write)

    def changed(self, number: int) -> None:
        """A trial is to be shown anew."""
        self._dirty.add(number)

    def update(self, force: bool = False) -> None:
        """Write the epochs that wait, and show what has changed; not more often than once `EVERY` seconds."""
        if not force and time.monotonic() - self._last < EVERY:
            return
        if self._epochs:
            seconds = self._uncharged()
            self.ledger.patiently(lambda: self._write_epochs(seconds))
            self._epochs.clear()
        if self.projection is not None and self._dirty:
            self.projection.update([self._trials[number] for number in sorted(self._dirty)],
                                   {number: self._curves.get(number, []) for number in self._dirty})
        self._dirty.clear()
        self._last = time.monotonic()

    def close(self) -> None:
        """Charge the time, and bring the projection up to date. Nothing runs any more."""
        self.ledger.add_seconds(self.study, self._uncharged())
        self.update(force=True)

    def _write_epochs(self, seconds: float) -> None:
        with self.ledger.batch():
            self.ledger.add_seconds(self.study, seconds)
            for number, epochs in self._epochs.items():
                for epoch in epochs:
                    self.ledger.record_epoch(self.study, number, epoch)

    def _uncharged(self) -> float:
        """Seconds of search since this was asked last."""
        before, now = self._charged, self._clock()
        if before == math.inf:
            return 0.0
        self._charged = now
        return now - before


def _tested(last: Progress) -> Tested | None:
    return None if last.tested is None else Tested(*last.tested)
