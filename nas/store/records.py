"""The values that the records room takes and gives: states, keys, and what a study, a trial, an epoch came to.

Frozen and complete in themselves: no session, no lazy loading, nothing of SQLAlchemy. How they are kept stands in
`nas.store.ledger`.
"""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from nas.architecture import Architecture
from nas.network import Network, architecture_of

Point = Mapping[str, Any]
"""Axis name to number or text, as the sampler proposed it."""

PREDICTED = "latency_ms"
"""Among what is kept with a trial's point: its predicted latency, in place of one measured after the training."""


class State(StrEnum):
    """Where a trial stands. The last four are final, but for a PRUNED one that is promoted."""

    WAITING = "WAITING"                 # was running when its driver died; is to be gone on with
    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"               # trained for all its epochs
    PRUNED = "PRUNED"                   # stopped early, on purpose; can be promoted: RUNNING again
    FAILED = "FAILED"                   # not a number, diverged, crashed
    OUT_OF_MEMORY = "OUT_OF_MEMORY"

    @property
    def finished(self) -> bool:
        """Whether the state is final."""
        return self not in (State.WAITING, State.RUNNING)

    @property
    def stored(self) -> bool:
        """Whether the result stands and serves other studies. What one search stopped, another may train to the end."""
        return self is State.COMPLETE


class Tested(NamedTuple):
    """What a training gave on the test part: accuracy in [0, 1], mean cross-entropy in nats."""

    accuracy: float
    loss: float


class IllegalStep(RuntimeError):
    """A step that a trial in its state cannot take: a defect of the caller, not a mistake of the user."""


@dataclass(frozen=True, slots=True)
class EvaluationKey:
    """What is trained, and how: two trainings of equal keys give the same result, so there is only one.

    recipe_key and data_key are digests of the recipe without its epochs and of the data; epochs are those wanted.
    """

    architecture_id: str
    recipe_key: str
    data_key: str
    seed: int
    epochs: int

    @property
    def key(self) -> str:
        """Hexadecimal SHA-256 of the five."""
        parts = [self.architecture_id, self.recipe_key, self.data_key, self.seed, self.epochs]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """One epoch of a training. epoch counts from 1; seconds are those of this epoch, its evaluation included.

    loss and accuracy (in [0, 1]) are on the validation part; train_loss is the mean over the epoch. NaN: not a number.
    """

    epoch: int
    train_loss: float
    loss: float
    accuracy: float
    seconds: float


@dataclass(frozen=True, slots=True)
class StudyRecord:
    """A study: its name, its settings as resolved, and the seconds of search spent on it so far."""

    name: str
    spec: dict[str, Any]
    created: datetime
    seconds_spent: float


@dataclass(frozen=True, slots=True)
class EvaluationRecord:
    """One training. accuracy and loss are those of its last epoch; epochs_done of the epochs wanted; times in UTC."""

    key: EvaluationKey
    state: State
    reason: str
    epochs_done: int
    accuracy: float | None
    loss: float | None
    latency_ms: float | None
    params: int
    macs: int
    activations: int
    seconds: float
    device: str
    checkpoint: str | None
    checkpoint_sha256: str | None
    started: datetime
    finished: datetime | None
    study: str


@dataclass(frozen=True, slots=True)
class Refusals:
    """Points that broke one constraint: how many, and by which share of what it allows (0.1: a tenth) at least and at
    most; None where that is not known."""

    count: int = 0
    least: float | None = None
    most: float | None = None

    def __add__(self, other: Refusals) -> Refusals:
        least = [share for share in (self.least, other.least) if share is not None]
        most = [share for share in (self.most, other.most) if share is not None]
        return Refusals(self.count + other.count, min(least, default=None), max(most, default=None))

    @property
    def extent(self) -> str:
        """By how much, for people: "0.3% to 80.0% outside"; empty where it is not known."""
        if self.least is None or self.most is None:
            return ""
        least, most = f"{self.least:,.1%}", f"{self.most:,.1%}"
        return f"{most} outside" if least == most else f"{least} to {most} outside"

    @staticmethod
    def one(share: float) -> Refusals:
        """One point that broke it by `share`."""
        return Refusals(1, share, share)


@dataclass(frozen=True, slots=True)
class Training:
    """One of the trainings of a trial: its seed, and how it stands. accuracy and loss are those of its last epoch.

    tested: when it was read on the test part: once, and in a confirmation alone; test_accuracy and test_loss are so.
    """

    seed: int
    state: State
    reason: str
    accuracy: float | None
    loss: float | None
    seconds: float
    test_accuracy: float | None = None
    test_loss: float | None = None
    tested: datetime | None = None


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """One suggestion of a study and what came of it.

    reused: the result was there already; seconds, device and checkpoint are then those of the training that gave it,
    in the study `trained_by`. epochs: how many are done. accuracy in [0, 1] and loss are those of the last one; where
    the network was trained with several seeds, the means over them. trainings: one a seed, the one that gave the
    learning curve and the weights first. seconds are those of all of them.
    """

    number: int
    state: State
    reason: str
    point: dict[str, Any]
    sampler_attrs: dict[str, Any]
    network: Network
    architecture_id: str
    line: str
    params: int
    macs: int
    activations: int
    accuracy: float | None
    loss: float | None
    latency_ms: float | None
    epochs: int
    seconds: float
    reused: bool
    created: datetime
    finished: datetime | None
    checkpoint: str | None
    checkpoint_sha256: str | None
    evaluation_key: EvaluationKey
    device: str
    trained_by: str
    trainings: tuple[Training, ...]

    @property
    def spread(self) -> float | None:
        """The standard deviation (of the sample) of the accuracy over the seeds; None for fewer than two."""
        found = [one.accuracy for one in self._whole() if one.accuracy is not None]
        return statistics.stdev(found) if len(found) > 1 else None

    @property
    def seeds(self) -> int:
        """How many trainings its accuracy is the mean over: 1, or more for a COMPLETE trial."""
        return max(1, len(self._whole()))

    def _whole(self) -> list[Training]:
        return [one for one in self.trainings if one.state is State.COMPLETE]

    @property
    def architecture(self) -> Architecture:
        """The network, to be built or drawn."""
        return architecture_of(self.network)
