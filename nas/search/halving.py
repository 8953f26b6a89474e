"""Early stopping: successive halving over epochs, among networks of similar cost.

Accuracy at an equal number of epochs is compared with that of the nearest networks in log MACs, so that a small
network is not stopped for being small; a network on the rung's own Pareto front always goes on (Li et al. 2020, ASHA,
with Pareto rank within cost neighbourhoods). The recipe's anytime schedule is what makes epochs comparable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from nas.settings import EarlyStopping

NEIGHBOURS = 9      # a rung compares among this many, the network itself included


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
    """Whether a network at a rung is worth the next one, given what the `others` had there."""
    if not any(o.accuracy >= mine.accuracy and o.macs <= mine.macs and o != mine for o in others):
        return True
    by_distance = sorted(others, key=lambda o: (abs(math.log(o.macs / mine.macs)), o))
    peers = by_distance[: NEIGHBOURS - 1]
    better = sum(peer.accuracy > mine.accuracy for peer in peers)
    return better < math.ceil((len(peers) + 1) / eta)
