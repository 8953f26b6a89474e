"""What a confirmation came to: each network with its intervals, and what they say of the search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np

from nas.confirm.statistics import Spread, non_dominated_probability, rank_correlation
from nas.front import non_dominated
from nas.intervals import Interval, mean_interval
from nas.settings import Candidate
from nas.store import State, TrialRecord
from nas.studies import StoredStudy


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A network that was trained again. Accuracies in [0, 1], by seed in `seeds`; `test` where there is a test part.

    likely: the probability that no other of them has at least its accuracy at no more cost, None with one seed.
    tested: when the last of its trainings was read on the test part.
    """

    name: str
    why: Candidate
    trial: TrialRecord
    seeds: tuple[int, ...]
    validation: tuple[float, ...]
    test: tuple[float, ...]
    of_validation: Interval
    of_test: Interval | None
    likely: float | None
    tested: datetime | None

    @property
    def moved(self) -> float | None:
        """By how much its accuracy on the validation part differs from that in the search."""
        return None if self.why.accuracy is None else self.of_validation.estimate - self.why.accuracy


@dataclass(frozen=True, slots=True)
class Report:
    """A confirmation: its networks, the most accurate first, and what they say of the search.

    unfinished: names of networks that lack a training. spread: of accuracy over seeds, on the validation part.
    correlation: Spearman's, of accuracies in the search and now, over the search's networks. shift: of the front's
    networks from the search to now. regression: how much more the front's fell, or less rose, than those that were near
    it: what luck had put on the front. gain: of the search's networks over random ones of equal cost, by the test part
    where there is one. before, after: the front's names.
    """

    study: str
    name: str
    networks: tuple[Confirmed, ...]
    unfinished: tuple[str, ...]
    seeds: int
    epochs: tuple[int, int]         # in the search, now
    images: tuple[int, int]         # validation, test
    objectives: tuple[tuple[str, str], ...]
    spread: Spread
    correlation: Interval | None
    shift: Interval | None
    regression: float | None
    gain: Interval | None
    before: tuple[str, ...]
    after: tuple[str, ...]

    @property
    def costs(self) -> tuple[str, ...]:
        """The objectives that are costs."""
        return tuple(name for name, _ in self.objectives if name != "accuracy")

    def to_dict(self) -> dict[str, Any]:
        """As plain data for JSON."""
        values = {name: _plain(getattr(self, name)) for name in (
            "study", "name", "unfinished", "seeds", "spread", "correlation", "shift", "regression", "gain", "before",
            "after")}
        return values | {
            "epochs": {"search": self.epochs[0], "now": self.epochs[1]},
            "images": {"validation": self.images[0], "test": self.images[1]},
            "networks": [_network(one) for one in self.networks]}


def report_of(stored: StoredStudy, search_epochs: int) -> Report:
    """What the confirmation `stored` came to so far. search_epochs: of a full training in the search."""
    confirm = stored.study.confirm
    assert confirm is not None, "a study that confirms another"
    trials = {str(trial.point["network"]): trial for trial in stored.records.values()}
    whole = {name: trial for name, trial in trials.items() if trial.state is State.COMPLETE}
    objectives = tuple((o.name, o.direction) for o in stored.study.objectives)
    networks = _confirmed(whole, confirm.networks, [name for name, _ in objectives if name != "accuracy"])
    wanted = stored.study.search.repeats
    unfinished = tuple(name for name in confirm.networks if name not in whole or whole[name].seeds < wanted)
    searched = [one for one in networks if one.why.role != "control"]
    moved = {role: [one.moved for one in searched if one.why.role == role and one.moved is not None]
             for role in ("front", "near")}
    regression = float(np.mean(moved["front"]) - np.mean(moved["near"])) if all(moved.values()) else None
    known = [(one.why.accuracy, one.of_validation.estimate) for one in searched if one.why.accuracy is not None]
    return Report(
        confirm.study, stored.name, tuple(networks), unfinished, wanted, (search_epochs, stored.study.recipe.epochs),
        (stored.info.n_validation, stored.info.n_test), objectives, Spread.of([one.validation for one in networks]),
        rank_correlation([was for was, _ in known], [now for _, now in known]), mean_interval(moved["front"]),
        regression, mean_interval(_gains(networks)),
        tuple(one.name for one in searched if one.why.role == "front"), _front(networks, objectives))


def _confirmed(whole: dict[str, TrialRecord], why: dict[str, Candidate], costs: Sequence[str]) -> list[Confirmed]:
    names = [name for name in why if name in whole]
    done = {name: [one for one in whole[name].trainings if one.state is State.COMPLETE and one.accuracy is not None]
            for name in names}
    validation = {name: tuple(one.accuracy or 0.0 for one in done[name]) for name in names}
    test = {name: tuple(one.test_accuracy for one in done[name] if one.test_accuracy is not None) for name in names}
    spread = Spread.of(list(validation.values()))
    of_test = Spread.of([group for group in test.values() if group])
    likely = non_dominated_probability(
        list(validation.values()), [[getattr(whole[name], cost) for cost in costs] for name in names], spread) \
        if names else []
    found = [Confirmed(
        name, why[name], whole[name], tuple(one.seed for one in done[name]), validation[name], test[name],
        spread.interval(validation[name]), of_test.interval(test[name]) if test[name] else None, chance,
        max((one.tested for one in done[name] if one.tested is not None), default=None))
        for name, chance in zip(names, likely, strict=True)]
    return sorted(found, key=lambda one: -one.of_validation.estimate)


def _gains(networks: Sequence[Confirmed]) -> list[float]:
    """Of each network of the search that has random ones beside it: how much it is ahead of their mean."""
    by_name = {one.name: one for one in networks}
    beside: dict[str, list[float]] = {}
    for one in networks:
        if one.why.beside in by_name:
            beside.setdefault(str(one.why.beside), []).append(_final(one))
    return [_final(by_name[name]) - float(np.mean(others)) for name, others in beside.items()]


def _final(one: Confirmed) -> float:
    return (one.of_test or one.of_validation).estimate


def _front(networks: Sequence[Confirmed], objectives: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """By the means on the validation part: the test part chooses nothing."""
    rows = [[one.of_validation.estimate if name == "accuracy" else float(getattr(one.trial, name) or 0)
             for name, _ in objectives] for one in networks]
    return tuple(networks[index].name for index in non_dominated(rows, [way for _, way in objectives])) if rows else ()


def _network(one: Confirmed) -> dict[str, Any]:
    trial = one.trial
    return {
        "name": one.name, **one.why.model_dump(exclude={"accuracy"}), "search_accuracy": one.why.accuracy,
        "validation": asdict(one.of_validation) | {"by_seed": dict(zip(map(str, one.seeds), one.validation,
                                                                       strict=True))},
        "test": None if one.of_test is None else asdict(one.of_test) | {"by_seed": list(one.test)},
        "tested": one.tested.isoformat() if one.tested else None, "non_dominated": one.likely,
        "confirm_trial": trial.number, "macs": trial.macs, "params": trial.params, "activations": trial.activations,
        "latency_ms": trial.latency_ms, "architecture": trial.line}


def _plain(value: Any) -> Any:
    return asdict(value) if isinstance(value, Interval | Spread) else list(value) if isinstance(value, tuple) else value
