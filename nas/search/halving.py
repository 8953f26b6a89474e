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
from bisect import bisect_left, insort
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
    """What networks reached by the same epoch, and which of them are worth more: one in `eta` of their like.

    One more network costs the same in a study of any size: it changes the standing of its neighbours alone.
    """

    def __init__(self, eta: float) -> None:
        self.eta = eta
        self.seen: dict[int, Seen] = {}
        self._forget()

    def __len__(self) -> int:
        return len(self.seen)

    def add(self, number: int, seen: Seen) -> None:
        """A network is there; once more, where it has been trained again."""
        if self.seen.get(number) == seen:
            return
        before, self.seen[number] = self.seen.get(number), seen
        if before is None:
            self._insert(number, seen)
            return
        self._forget()
        for one, its in self.seen.items():
            self._insert(one, its)

    def passes(self, number: int) -> bool:
        """Whether a network is worth the next rung.

        It is, if no other is as good for no more MACs, if fewer than `eta` similar ones are known, itself included,
        or if it is among the best one in `eta` of its neighbourhood.
        """
        return number in self._best_of_peers or number in self._undominated

    def worthy(self) -> set[int]:
        """All that pass."""
        return self._best_of_peers | self._undominated

    def _forget(self) -> None:
        self._macs: list[int] = []              # the three in the order of MACs
        self._accuracies: list[float] = []
        self._numbers: list[int] = []
        self._best_of_peers: set[int] = set()
        self._steps: list[tuple[int, float, list[int]]] = []    # MACs, accuracy and who: no other is as good for less
        self._undominated: set[int] = set()

    def _insert(self, number: int, seen: Seen) -> None:
        place = bisect_left(self._macs, seen.macs)
        self._macs.insert(place, seen.macs)
        self._accuracies.insert(place, seen.accuracy)
        self._numbers.insert(place, number)
        self._step(number, seen)
        for index in range(max(0, place - NEIGHBOURS), min(len(self._macs), place + NEIGHBOURS + 1)):
            change = self._best_of_peers.add if self._is_best(index) else self._best_of_peers.discard
            change(self._numbers[index])

    def _is_best(self, place: int) -> bool:
        """Whether the network at a place is among the best one in `eta` of those nearest in log MACs."""
        mine, accuracy = self._macs[place], self._accuracies[place]
        around = [index for index in range(max(0, place - NEIGHBOURS), min(len(self._macs), place + NEIGHBOURS + 1))
                  if index != place]
        near = heapq.nsmallest(NEIGHBOURS - 1, ((abs(math.log(self._macs[i] / mine)), i) for i in around))
        peers = [self._accuracies[index] for distance, index in near if distance <= math.log(SIMILAR)]
        if len(peers) + 1 < self.eta:
            return True
        return sum(other > accuracy for other in peers) < math.ceil((len(peers) + 1) / self.eta)

    def _step(self, number: int, seen: Seen) -> None:
        """Keep the steps of the front: MACs and accuracies rise together; equals share a step."""
        place = bisect_left(self._steps, seen.macs, key=lambda step: step[0])
        if place and self._steps[place - 1][1] >= seen.accuracy:
            return
        if place < len(self._steps) and self._steps[place][:2] == (seen.macs, seen.accuracy):
            self._steps[place][2].append(number)
        elif place < len(self._steps) and self._steps[place][0] == seen.macs and self._steps[place][1] > seen.accuracy:
            return
        else:
            end = place
            while end < len(self._steps) and self._steps[end][1] <= seen.accuracy:
                self._undominated.difference_update(self._steps[end][2])
                end += 1
            self._steps[place:end] = [(seen.macs, seen.accuracy, [number])]
        self._undominated.add(number)


class Halving:
    """Who goes on, and who is promoted, in one study."""

    def __init__(self, settings: EarlyStopping, epochs: int):
        self.eta = settings.eta
        self.rungs = rungs(settings, epochs)
        self.levels = (*self.rungs, epochs)
        self._at = {level: Rung(self.eta) for level in self.levels}
        self._promoted: dict[int, set[int]] = {level: set() for level in self.rungs}      # went on from there
        self._ahead: dict[int, list[float]] = {level: [] for level in self.rungs}         # their log MACs, ascending

    def note(self, number: int, macs: int, epoch: int, accuracy: float) -> None:
        """A network has reached an epoch."""
        if epoch in self._at:
            self._at[epoch].add(number, Seen(macs, accuracy))
        for level in self.rungs:
            if epoch > level:
                self._go_on(number, level, macs)

    def reached(self, level: int) -> int:
        """How many networks have been there."""
        return len(self._at[level])

    def goes_on(self, number: int, epoch: int, more: bool) -> bool:
        """Whether a network goes on from an epoch it has just reached. `more`: new networks can still be tried."""
        if epoch not in self.rungs or number in self._promoted[epoch]:
            return True
        if not self._room(epoch, more) or not self._at[epoch].passes(number):
            return False
        self._go_on(number, epoch, self._at[epoch].seen[number].macs)
        return True

    def promotable(self, stopped: Collection[int], more: bool) -> list[int]:
        """Of those that were stopped, those now worth going on with, the most wanted first.

        That is those of the highest rung; of one rung in turn the most accurate one, and whichever is farthest in log
        MACs from all that went on: so a front has its upper end early, and spans the space's costs.
        """
        return [number for level in reversed(self.rungs) if self._room(level, more)
                for number in self._wanted(level, stopped)]

    def _wanted(self, level: int, stopped: Collection[int]) -> list[int]:
        rung, promoted, ahead = self._at[level], self._promoted[level], self._ahead[level]
        wanted = [number for number in sorted(rung.worthy() - promoted) if number in stopped]

        def distance(number: int) -> float:
            mine = math.log(rung.seen[number].macs)
            place = bisect_left(ahead, mine)
            return min((abs(mine - other) for other in ahead[max(0, place - 1):place + 1]), default=0.0)

        def worth(number: int) -> tuple[float, float]:
            accuracy = rung.seen[number].accuracy
            return (accuracy, 0.0) if len(promoted) % 2 == 0 else (distance(number), accuracy)

        return sorted(wanted, key=worth, reverse=True)

    def promote(self, number: int) -> None:
        """It goes on from the rung at which it was stopped, and is not judged at it again."""
        for level in self.rungs:
            if number in self._at[level].seen:
                self._go_on(number, level, self._at[level].seen[number].macs)

    def _go_on(self, number: int, level: int, macs: int) -> None:
        if number not in self._promoted[level]:
            self._promoted[level].add(number)
            insort(self._ahead[level], math.log(macs))

    def _room(self, level: int, more: bool) -> bool:
        """Whether one more may go on from a rung: always, but from the first one."""
        seen = len(self._at[level])
        return level != self.rungs[0] or not more or (
            seen >= SCREENED and len(self._promoted[level]) < int(seen / self.eta))
