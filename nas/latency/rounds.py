"""A step timed again and again: warmed up until its times are stable, then rounds, with what there is to distrust.

Knows neither networks nor torch; clock and machine can be others, for tests.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SECONDS = 1.0           # of rounds
_LEAST = 20             # rounds, however long they take
_WINDOW = 5             # warm-up steps that are compared with the five before
_STABLE = 0.05          # as a share: so much two windows may differ
_WARM_UP = 2.0          # seconds of warm-up at most, and two windows at least
_SPREAD = 0.10          # of the median: the interquartile range that is no noise yet
_DRIFT = 0.05           # of the median: by how much the two halves of the rounds may differ
_SPARE = 0.1            # cores that others may use beyond the free ones


class Neighbours:
    """What other processes use of this machine's cores from now on, by Linux's /proc/stat."""

    def __init__(self) -> None:
        self._busy, self._own, self._began = _busy(), time.process_time(), time.monotonic()

    def cores(self) -> float | None:
        """Cores that others have used on average; None where that cannot be known."""
        busy, seconds = _busy(), time.monotonic() - self._began
        if busy is None or self._busy is None or seconds <= 0:
            return None
        own = time.process_time() - self._own
        return max(0.0, (busy - self._busy - own) / seconds)


@dataclass(frozen=True, slots=True)
class Rounds:
    """Seconds of each round. stable: the warm-up came to an end by itself. others: cores that other processes used
    meanwhile, of `free` ones; None where that is not known."""

    seconds: tuple[float, ...]
    stable: bool
    others: float | None
    free: float

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def quartiles(self) -> tuple[float, float]:
        """The first and the third."""
        low, _, high = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return low, high

    @property
    def undisturbed(self) -> float:
        """Nine of ten rounds took longer: what a step takes where nothing comes between."""
        return statistics.quantiles(self.seconds, n=10, method="inclusive")[0]

    @property
    def p95(self) -> float:
        """Nineteen of twenty rounds took no longer."""
        return statistics.quantiles(self.seconds, n=20, method="inclusive")[-1]

    def noise(self) -> list[str]:
        """Why these figures are not to be trusted; empty where nothing speaks against them."""
        low, high = self.quartiles
        half = len(self.seconds) // 2
        first, second = statistics.median(self.seconds[:half]), statistics.median(self.seconds[half:])
        spread, drift = (high - low) / self.median, (second - first) / self.median
        said = []
        if not self.stable:
            said.append(f"not stable after {_WARM_UP:g} s of warm-up")
        if spread > _SPREAD:
            said.append(f"the middle half of the rounds spreads over {spread:.0%} of the median")
        if abs(drift) > _DRIFT:
            said.append(f"the second half was {abs(drift):.0%} {'slower' if drift > 0 else 'faster'} than the first")
        if self.others is not None and self.others > self.free + _SPARE:
            said.append(f"other processes used {self.others:.1f} cores, and {self.free:.0f} were free")
        return said


def timed(
    step: Callable[[], object], threads: int = 1, seconds: float = SECONDS,
    clock: Callable[[], float] = time.perf_counter, neighbours: Callable[[], Neighbours] = Neighbours,
) -> Rounds:
    """Rounds of `step`, which uses `threads` cores, for `seconds`, and 20 rounds at least, after a warm-up."""
    stable = _warmed_up(step, clock)
    beside = neighbours()
    times: list[float] = []
    began = clock()
    while len(times) < _LEAST or clock() - began < seconds:
        times.append(_once(step, clock))
    return Rounds(tuple(times), stable, beside.cores(), max(0, (os.cpu_count() or 1) - threads))


def _warmed_up(step: Callable[[], object], clock: Callable[[], float]) -> bool:
    """Whether two windows in a row took about the same; the first step counts in none."""
    _once(step, clock)
    began, before = clock(), None
    while True:
        now = statistics.median(_once(step, clock) for _ in range(_WINDOW))
        if before is not None and abs(now - before) <= _STABLE * before:
            return True
        if before is not None and clock() - began >= _WARM_UP:
            return False
        before = now


def _once(step: Callable[[], object], clock: Callable[[], float]) -> float:
    started = clock()
    step()
    return clock() - started


def _busy() -> float | None:
    """Seconds that this machine's cores have worked since it was started, time stolen from it included."""
    try:
        fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    except (OSError, ValueError, IndexError):
        return None
    user, nice, system, _idle, _waiting, *others = fields
    return (user + nice + system + sum(others)) / os.sysconf("SC_CLK_TCK")
