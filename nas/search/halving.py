"""Early stopping: successive halving over epochs, among networks of similar cost.

Accuracy at an equal number of epochs is compared with that of the nearest networks in log MACs, so that a small
network is not stopped for being small (Li et al. 2020, ASHA, with Pareto rank within cost neighbourhoods). The recipe's
anytime schedule is what makes epochs comparable.

The first rung screens: until enough networks have been there, all stop at it, and later no more than one in eta has
gone on from it while new networks can still be tried. Later rungs stop or let pass at once, so nobody waits for
stragglers. Those that were stopped, at whatever rung, are promoted as soon as they are worth it, from the snapshot of
their training.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left, bisect_right
from collections.abc import Collection
from typing import NamedTuple

from nas.settings import EarlyStopping

NEIGHBOURS = 9      # a rung compares among this many, the network itself included
SIMILAR = 4.0       # and only with networks of at most this many times the MACs, or this part of them
SCREENED = 10       # networks at the first rung before one goes on from it


class Seen(NamedTuple):
    """A network at a rung."""

    macs: int
    accuracy: float


def rungs(settings: EarlyStopping, epochs: int) -> tuple[int, ...]:
    """The epochs at which a training may be stopped, ascending; the last rung is the end and not among them."""
    found: list[int] = []
    level = float(settings.first)
    while settings.kind == "halving" and round(level) < min(epochs, (settings.last or epochs) + 1):
        if round(level) not in found:
            found.append(round(level))
        level *= settings.eta
    return tuple(found)


class Rung:
    """What networks reached by the same epoch."""

    def __init__(self) -> None:
        self.seen: dict[int, Seen] = {}
        self._macs: list[int] = []              # both in the order of MACs
        self._accuracies: list[float] = []

    def __len__(self) -> int:
        return len(self.seen)

    def add(self, number: int, seen: Seen) -> None:
        """A network is there; once more, where it has been trained again."""
        if number in self.seen:
            place = self._place(self.seen[number])
            del self._macs[place], self._accuracies[place]
        self.seen[number] = seen
        place = bisect_left(self._macs, seen.macs)
        self._macs.insert(place, seen.macs)
        self._accuracies.insert(place, seen.accuracy)

    def passes(self, number: int, eta: float) -> bool:
        """Whether a network is worth the next rung.

        It is, if no other is as good for no more MACs, if fewer than `eta` similar ones are known, itself included,
        or if it is among the best one in `eta` of its neighbourhood.
        """
        mine = self.seen[number]
        low, high = bisect_left(self._macs, mine.macs), bisect_right(self._macs, mine.macs)
        smaller, alike = self._accuracies[:low], self._accuracies[low:high]
        if max(smaller, default=-1.0) < mine.accuracy >= max(alike):
            return True
        place = self._place(mine)
        around = [index for index in range(max(0, place - NEIGHBOURS), min(len(self), place + NEIGHBOURS + 1))
                  if index != place]
        near = heapq.nsmallest(NEIGHBOURS - 1, ((abs(math.log(self._macs[i] / mine.macs)), i) for i in around))
        peers = [self._accuracies[index] for distance, index in near if distance <= math.log(SIMILAR)]
        if len(peers) + 1 < eta:
            return True
        better = sum(accuracy > mine.accuracy for accuracy in peers)
        return better < math.ceil((len(peers) + 1) / eta)

    def _place(self, seen: Seen) -> int:
        place = bisect_left(self._macs, seen.macs)
        while self._accuracies[place] != seen.accuracy:
            place += 1
        return place


class Halving:
    """Who goes on, and who is promoted, in one study."""

    def __init__(self, settings: EarlyStopping, epochs: int):
        self.eta = settings.eta
        self.rungs = rungs(settings, epochs)
        self.levels = (*self.rungs, epochs)
        self._at = {level: Rung() for level in self.levels}
        self._promoted: dict[int, set[int]] = {level: set() for level in self.rungs}      # went on from there

    def note(self, number: int, macs: int, epoch: int, accuracy: float) -> None:
        """A network has reached an epoch."""
        if epoch in self._at:
            self._at[epoch].add(number, Seen(macs, accuracy))
        for level in self.rungs:
            if epoch > level:
                self._promoted[level].add(number)

    def reached(self, level: int) -> int:
        """How many networks have been there."""
        return len(self._at[level])

    def goes_on(self, number: int, epoch: int, more: bool) -> bool:
        """Whether a network goes on from an epoch it has just reached. `more`: new networks can still be tried."""
        if epoch not in self.rungs or number in self._promoted[epoch]:
            return True
        if not self._room(epoch, more) or not self._at[epoch].passes(number, self.eta):
            return False
        self._promoted[epoch].add(number)
        return True

    def promotable(self, stopped: Collection[int], more: bool) -> list[int]:
        """Of those that were stopped, those now worth going on with, the most wanted first.

        That is those of the highest rung; of one rung in turn the most accurate one, and whichever is farthest in log
        MACs from all that went on: so a front has its upper end early, and spans the space's costs.
        """
        return [number for level in reversed(self.rungs) if self._room(level, more)
                for number in self._wanted(level, stopped)]

    def _wanted(self, level: int, stopped: Collection[int]) -> list[int]:
        rung, promoted = self._at[level], self._promoted[level]
        wanted = [n for n in sorted(stopped) if n in rung.seen and n not in promoted and rung.passes(n, self.eta)]
        ahead = [math.log(rung.seen[number].macs) for number in promoted if number in rung.seen]

        def distance(number: int) -> float:
            return min((abs(math.log(rung.seen[number].macs) - other) for other in ahead), default=0.0)

        def worth(number: int) -> tuple[float, float]:
            accuracy = rung.seen[number].accuracy
            return (accuracy, 0.0) if len(promoted) % 2 == 0 else (distance(number), accuracy)

        return sorted(wanted, key=worth, reverse=True)

    def promote(self, number: int) -> None:
        """It goes on from the rung at which it was stopped, and is not judged at it again."""
        for level in self.rungs:
            if number in self._at[level].seen:
                self._promoted[level].add(number)

    def _room(self, level: int, more: bool) -> bool:
        """Whether one more may go on from a rung: always, but from the first one."""
        seen = len(self._at[level])
        return level != self.rungs[0] or not more or (
            seen >= SCREENED and len(self._promoted[level]) < int(seen / self.eta))
