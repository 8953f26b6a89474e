"""Early stopping: successive halving over epochs, among networks of similar cost.

Accuracy at an equal number of epochs is compared with that of the nearest networks in log MACs, so that a small
network is not stopped for being small; a network on the rung's own Pareto front always goes on (Li et al. 2020, ASHA,
with Pareto rank within cost neighbourhoods). The recipe's anytime schedule is what makes epochs comparable.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from typing import NamedTuple

from nas.settings import EarlyStopping

NEIGHBOURS = 9      # a rung compares among this many, the network itself included
SIMILAR = 4.0       # and only with networks of at most this many times the MACs, or this part of them


class Seen(NamedTuple):
    """A network at a rung."""

    macs: int
    accuracy: float


def rungs(settings: EarlyStopping, epochs: int) -> tuple[int, ...]:
    """The epochs at which a training may be stopped, ascending; the last rung is the end and not among them."""
    found: list[int] = []
    level = float(settings.first)
    while settings.kind == "halving" and round(level) < epochs:
        if round(level) not in found:
            found.append(round(level))
        level *= settings.eta
    return tuple(found)


def goes_on(mine: Seen, others: Sequence[Seen], eta: float) -> bool:
    """Whether a network at a rung is worth the next one, given what the `others` had there.

    It is, if no other is as good for no more MACs, if fewer than `eta` similar ones are known, or if it is among the
    best one in `eta` of its neighbourhood.
    """
    if not any(o.accuracy >= mine.accuracy and o.macs <= mine.macs and o != mine for o in others):
        return True
    near = [(abs(math.log(o.macs / mine.macs)), o) for o in others]
    peers = [o for distance, o in heapq.nsmallest(NEIGHBOURS - 1, near) if distance <= math.log(SIMILAR)]
    if len(peers) + 1 < eta:
        return True
    better = sum(peer.accuracy > mine.accuracy for peer in peers)
    return better < math.ceil((len(peers) + 1) / eta)
