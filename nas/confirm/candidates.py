"""Which networks of a search are confirmed: its front, what is near it within noise, a random control beside them."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from nas.architecture import Architecture
from nas.errors import NasError
from nas.settings import Candidate
from nas.space import Judgement
from nas.store import State, TrialRecord
from nas.studies import StoredStudy

_NEAR = 1.645           # standard errors of a difference: 95 % of what is as good lies within them
_MOST_NEAR = 1          # networks near the front for each one of it
_DRAWS = 2_000          # random points that controls are chosen from
_EQUAL = 0.05           # of the cost: what counts as equal


@dataclass(frozen=True, slots=True)
class Chosen:
    """A network to confirm, and why."""

    network: Architecture
    why: Candidate


def candidates(stored: StoredStudy, top: int | None = None, front_alone: bool = False, control: int = 0,
               ) -> dict[str, Chosen]:
    """The networks to confirm by their names, such as front-7 (trial 7), near-3 and control-1.

    top: as many, those nearest the front. front_alone: no others. control: networks drawn at random from the space,
    each of the cost of one of the others. Raises `NasError` where the search has none.
    """
    ranked = _ranked(stored)
    if not ranked:
        raise NasError(f"study {stored.name} has no complete trial to confirm; run it first")
    on_front = sum(gap <= 0 for gap, _ in ranked)
    if top is None:
        ranked = ranked[:on_front] if front_alone else _near(stored, ranked, on_front)
    found = {}
    for gap, trial in ranked[:top]:
        why = Candidate(role="near" if gap > 0 else "front", trial=trial.number, accuracy=trial.accuracy)
        found[f"{why.role}-{trial.number}"] = Chosen(trial.architecture, why)
    return found | _controls(stored, found, control)


def _ranked(stored: StoredStudy) -> list[tuple[float, TrialRecord]]:
    """The complete trials by how much accuracy they lack to be on the front; those on it first, the best of them."""
    complete = [trial for trial in stored.records.values()
                if trial.state is State.COMPLETE and trial.accuracy is not None]
    costs = [objective.name for objective in stored.study.objectives if objective.name != "accuracy"]
    return sorted(((_gap(trial, complete, costs), trial) for trial in complete),
                  key=lambda found: (max(0.0, found[0]), -(found[1].accuracy or 0), found[1].macs, found[1].number))


def _gap(trial: TrialRecord, others: Iterable[TrialRecord], costs: Sequence[str]) -> float:
    """By how much the best network that costs no more is ahead in accuracy; 0 or less: it is on the front."""
    def no_dearer(other: TrialRecord) -> bool:
        return all(getattr(other, name) <= getattr(trial, name) for name in costs)

    def cheaper(other: TrialRecord) -> bool:
        return any(getattr(other, name) < getattr(trial, name) for name in costs) or other.number < trial.number

    ahead = [(other.accuracy or 0) - (trial.accuracy or 0) for other in others
             if other.number != trial.number and no_dearer(other)]
    ties = any((other.accuracy or 0) == trial.accuracy and no_dearer(other) and cheaper(other)
               for other in others if other.number != trial.number)
    gap = max(ahead, default=-math.inf)
    return math.ulp(1.0) if ties and gap <= 0 else gap


def _near(stored: StoredStudy, ranked: list[tuple[float, TrialRecord]], on_front: int,
          ) -> list[tuple[float, TrialRecord]]:
    """The front, and behind it those that noise alone may have kept off it."""
    images = max(1, stored.info.n_validation)
    near = [(gap, trial) for gap, trial in ranked[on_front:] if gap <= _NEAR * _noise(trial, gap, images)]
    return ranked[:on_front] + near[:_MOST_NEAR * on_front]


def _noise(trial: TrialRecord, gap: float, images: int) -> float:
    """The standard error of the difference between a trial's accuracy and one that is `gap` ahead: over seeds, where
    there are several, else of so many `images`."""
    if trial.spread is not None:
        return math.sqrt(2) * trial.spread / math.sqrt(trial.seeds)
    accuracy = trial.accuracy or 0.0
    ahead = min(1.0, accuracy + gap)
    return math.sqrt((accuracy * (1 - accuracy) + ahead * (1 - ahead)) / images)


def _controls(stored: StoredStudy, found: Mapping[str, Chosen], count: int) -> dict[str, Chosen]:
    """Random networks of the space, each at the cost of one of those found, in turn."""
    if not count:
        return {}
    space, cost = stored.study.space, _cost_of(stored)
    rng = random.Random(stored.study.seed + 1)
    judged = [space.judge(space.sample(rng), stored.shape, len(stored.info.classes)) for _ in range(_DRAWS)]
    known = {trial.architecture_id for trial in stored.records.values()}
    drawn = {one.architecture.id: one for one in judged
             if one.cost is not None and not one.broken and one.architecture.id not in known}
    controls: dict[str, Chosen] = {}
    names = list(found)
    for number in range(count):
        beside = names[number % len(names)]
        trial = found[beside].why.trial
        assert trial is not None, "a network of the search is a trial"
        if not drawn:
            raise NasError(f"--control {count}: the space holds only {number} networks that the search did not try; "
                           f"give --control {number}")
        one = _equal(rng, list(drawn.values()), cost, getattr(stored.records[trial], cost))
        del drawn[one.architecture.id]
        assert isinstance(one.architecture, Architecture)
        controls[f"control-{number + 1}"] = Chosen(one.architecture, Candidate(role="control", beside=beside))
    return controls


def _cost_of(stored: StoredStudy) -> str:
    cost = stored.results.cost
    return "macs" if cost == "latency_ms" else cost


def _equal(rng: random.Random, drawn: Sequence[Judgement], cost: str, wanted: int) -> Judgement:
    """One of those that cost as much, at random; else the nearest."""
    ratios = [abs(math.log(getattr(one.cost, cost) / wanted)) for one in drawn]
    equal = [one for one, ratio in zip(drawn, ratios, strict=True) if ratio <= _EQUAL]
    return equal[int(rng.random() * len(equal))] if equal else drawn[ratios.index(min(ratios))]
