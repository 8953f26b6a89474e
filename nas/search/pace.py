"""How long a training will take: so that under a time budget no trial takes most of it.

An epoch is taken to cost a fixed overhead and a time per MAC. The time per MAC is the machine's measured speed until
this study has seen networks of different enough cost; the overhead is what the epochs seen took beyond that.
"""

from __future__ import annotations

import statistics

LARGEST_SHARE = 0.5     # of a time budget that one trial may be expected to take
_REFERENCE = 3.0        # times as long per MAC as large networks takes the small one by which a machine is measured
_SPREAD = 8.0           # times in MACs between the networks seen, from which their own slope counts


class Pace:
    """Seconds an epoch by MACs. `seconds_per_mac`: an epoch's, by the machine's measured speed; 0: not known."""

    def __init__(self, seconds_per_mac: float = 0.0):
        self.prior = seconds_per_mac / _REFERENCE
        self._seen: dict[int, list[float]] = {}
        self._line: tuple[float, float] | None = None       # overhead and slope, until more has been seen

    def measured(self, seconds_per_mac: float) -> None:
        """The machine's speed has been measured by now."""
        self.prior = seconds_per_mac / _REFERENCE
        self._line = None

    def saw(self, macs: int, seconds: float) -> None:
        """An epoch of a network of `macs` took `seconds`."""
        if seconds > 0:
            self._seen.setdefault(macs, []).append(seconds)
            self._line = None

    def epoch(self, macs: float) -> float:
        """The seconds that an epoch of a network of `macs` is expected to take; 0 where nothing is known."""
        if not self._seen:
            return self.prior * macs
        if self._line is None:
            self._line = self._fitted()
        overhead, slope = self._line
        return overhead + slope * macs

    def _fitted(self) -> tuple[float, float]:
        points = {size: statistics.median(times) for size, times in self._seen.items()}
        slope = self.prior
        small, large = min(points), max(points)
        if large >= _SPREAD * small:
            slope = max(0.0, (points[large] - points[small]) / (large - small))
        return statistics.median(max(0.0, seconds - slope * size) for size, seconds in points.items()), slope
