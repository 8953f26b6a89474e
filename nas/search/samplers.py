"""Who proposes points: Optuna's samplers by name, on an in-memory study that the driver fills.

A sampler is made anew for every ask, with a seed derived from the study's seed and the trial's number, and what it
keeps in a trial's attributes is stored with the trial: so the same observations give the same suggestion, also after a
restart. It sees one fidelity at a time and at most `MOST_SEEN` trials, so that the time of an ask does not grow.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import TrialState

from nas.errors import InvalidInput, Problem
from nas.front import Objective, non_dominated
from nas.knobs import Value
from nas.language import closest
from nas.space import Axis, Choice, Point, SearchSpace

MOST_SEEN = 500         # observations a sampler is shown: the front, then the newest
_LARGEST_GRID = 50_000

optuna.logging.set_verbosity(optuna.logging.ERROR)


def _grid(space: SearchSpace, seed: int) -> BaseSampler:
    sizes = [axis.domain.size for axis in space.axes]
    if None in sizes or math.prod(size or 1 for size in sizes) > _LARGEST_GRID:
        rule = f"takes at most {_LARGEST_GRID:,} points and no continuous axis"
        raise InvalidInput([Problem("", "search.sampler", rule, "narrow the space, or use random or tpe", "grid")])
    values: dict[str, Sequence[Any]] = {
        axis.name: list(range(len(axis.domain.values))) if isinstance(axis.domain, Choice) and axis.domain.ordered
        else list(axis.domain.values) if isinstance(axis.domain, Choice)
        else list(range(int(axis.domain.low), int(axis.domain.high) + 1)) for axis in space.axes}
    return optuna.samplers.GridSampler(values, seed=seed)


def _cmaes(space: SearchSpace, seed: int) -> BaseSampler:
    return optuna.samplers.CmaEsSampler(seed=seed, n_startup_trials=5, warn_independent_sampling=False)


SAMPLERS: dict[str, Callable[[SearchSpace, int], BaseSampler]] = {
    "random": lambda space, seed: optuna.samplers.RandomSampler(seed=seed),
    "tpe": lambda space, seed: optuna.samplers.TPESampler(seed=seed, warn_independent_sampling=False),
    "nsga2": lambda space, seed: optuna.samplers.NSGAIISampler(seed=seed, population_size=20),
    "nsga3": lambda space, seed: optuna.samplers.NSGAIIISampler(seed=seed, population_size=20),
    "gp": lambda space, seed: optuna.samplers.GPSampler(seed=seed, warn_independent_sampling=False),
    "cmaes": _cmaes,
    "qmc": lambda space, seed: optuna.samplers.QMCSampler(
        seed=seed, scramble=True, warn_asynchronous_seeding=False, warn_independent_sampling=False),
    "grid": _grid,
}
_ONE_SEED = {"qmc", "grid"}             # what is enumerated must not be shuffled anew at every ask
_CONSTRAINED = {"tpe", "nsga2", "nsga3"}      # samplers that look at why a point is infeasible, not at its values
STRATIFIED = {"tpe", "gp"}              # samplers whose random start is better spread over log MACs


@dataclass(frozen=True, slots=True)
class Seen:
    """A trial as a sampler sees it: `values` None while it runs or where it gave none."""

    number: int
    point: Point
    attrs: Mapping[str, Any]
    values: tuple[float, ...] | None
    running: bool


class Sampler:
    """Proposes points of `space` for `objectives`. `ask`, then `tell` (or `forget`) by the number that `ask` got."""

    def __init__(self, name: str, space: SearchSpace, objectives: Sequence[Objective], seed: int):
        check_sampler(name, space, objectives)
        self.name, self.space, self.objectives, self.seed = name, space, tuple(objectives), seed
        self._distributions = {axis.name: _distribution(axis) for axis in space.axes}
        self._handles: dict[int, int] = {}      # trial number -> number in the in-memory study
        self.show(())

    def show(self, seen: Iterable[Seen]) -> None:
        """Start from these observations and no others, at most `MOST_SEEN` of them."""
        self._study = optuna.create_study(directions=[
            StudyDirection.MAXIMIZE if o.direction == "max" else StudyDirection.MINIMIZE for o in self.objectives])
        self._handles = {}
        for one in self._worth_seeing(list(seen)):
            if one.values is None:
                self._handles[one.number] = len(self._study.get_trials(deepcopy=False))
            self._study.add_trial(self._frozen(one))

    def ask(self, number: int, attempt: int = 0) -> tuple[Point, dict[str, Any]]:
        """A point for trial `number`, and what the sampler keeps of it. A refused point is asked for again as the
        next `attempt`."""
        fixed = self.name in _ONE_SEED
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")     # experimental features, and grids that are exhausted
            seed = derived(self.seed) if fixed else derived(self.seed, number, attempt)
            self._study.sampler = SAMPLERS[self.name](self.space, seed)
            trial = self._study.ask()
            point: Point = {}
            for axis in self.space.axes:
                if self.space.active(axis, point):
                    point[axis.name] = self._suggested(trial, axis)
        self._handles[number] = trial.number
        return point, dict(self._study.get_trials(deepcopy=False)[trial.number].system_attrs)

    @property
    def crowded(self) -> bool:
        """Whether asks are getting slow: time to `show` it the observations that matter."""
        return len(self._study.get_trials(deepcopy=False)) > 3 * MOST_SEEN

    def tell(self, number: int, values: Sequence[float] | None) -> None:
        """What trial `number` gave, in the order of the objectives; None where it gave nothing. Once a trial."""
        handle = self._handles.pop(number, None)
        if handle is None:
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state = TrialState.FAIL if values is None else TrialState.COMPLETE
            self._study.tell(handle, None if values is None else list(values), state)

    def refuse(self, number: int, broken: Mapping[str, float]) -> None:
        """The point asked for as `number` is not taken: it breaks limits, by these shares, or is there already."""
        handle = self._handles.get(number)
        if handle is None or not broken or self.name not in _CONSTRAINED:
            self.tell(number, None)
            return
        trial = optuna.trial.Trial(self._study, self._study.get_trials(deepcopy=False)[handle]._trial_id)
        for name, share in broken.items():
            trial.set_constraint(name, share)
        self.tell(number, [0.0 if o.direction == "max" else math.inf for o in self.objectives])

    def _suggested(self, trial: optuna.Trial, axis: Axis) -> Value:
        match self._distributions[axis.name]:
            case CategoricalDistribution() as d:
                raw: Any = trial.suggest_categorical(axis.name, d.choices)
            case IntDistribution() as d:
                raw = trial.suggest_int(axis.name, d.low, d.high, log=d.log)
            case FloatDistribution() as d:
                raw = trial.suggest_float(axis.name, d.low, d.high, log=d.log)
        return _decoded(axis, raw)

    def _worth_seeing(self, seen: list[Seen]) -> list[Seen]:
        with_values = [one for one in seen if one.values is not None]
        if len(with_values) > MOST_SEEN:
            front = non_dominated([one.values or () for one in with_values], [o.direction for o in self.objectives])
            kept = {with_values[index].number for index in front[:MOST_SEEN]}
            for one in reversed(with_values):
                if len(kept) >= MOST_SEEN:
                    break
                kept.add(one.number)
            with_values = [one for one in with_values if one.number in kept]
        return sorted([*with_values, *(one for one in seen if one.running and one.values is None)],
                      key=lambda one: one.number)

    def _frozen(self, one: Seen) -> optuna.trial.FrozenTrial:
        axes = [axis for axis in self.space.axes if axis.name in one.point]
        return optuna.trial.create_trial(
            state=TrialState.RUNNING if one.values is None else TrialState.COMPLETE,
            params={axis.name: _encoded(axis, one.point[axis.name]) for axis in axes},
            distributions={axis.name: self._distributions[axis.name] for axis in axes},
            values=None if one.values is None else list(one.values),
            system_attrs=dict(one.attrs))


def check_sampler(name: str, space: SearchSpace, objectives: Sequence[Objective]) -> None:
    """Refuse a sampler that is unknown or cannot serve `space` and `objectives`. Raises `InvalidInput`."""
    rule = ""
    if name not in SAMPLERS:
        rule, remedy = "is not a sampler", closest(name, SAMPLERS)
    elif name == "cmaes" and len(objectives) > 1:
        rule, remedy = "serves one objective alone", "use tpe or nsga2, or one objective under a limit"
    elif name == "cmaes" and any(isinstance(a.domain, Choice) and not a.domain.ordered for a in space.axes):
        rule, remedy = "serves numbers only, and an axis holds words", "use tpe"
    elif name == "grid":
        _grid(space, 0)
    if rule:
        raise InvalidInput([Problem("", "search.sampler", rule, remedy, name)])


def derived(*parts: int) -> int:
    """A seed of 32 bits from `parts`."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4], "big")


def _distribution(axis: Axis) -> BaseDistribution:
    """How a sampler sees an axis: numbers in a list are ordered steps, words are categories."""
    domain = axis.domain
    if isinstance(domain, Choice):
        return IntDistribution(0, len(domain.values) - 1) if domain.ordered else CategoricalDistribution(domain.values)
    if domain.integer:
        return IntDistribution(int(domain.low), int(domain.high), log=domain.log)
    return FloatDistribution(domain.low, domain.high, log=domain.log)


def readable_distribution(axis: Axis) -> BaseDistribution:
    """How a person reads an axis: the values themselves."""
    return CategoricalDistribution(axis.domain.values) if isinstance(axis.domain, Choice) else _distribution(axis)


def _decoded(axis: Axis, value: Any) -> Value:
    """The axis's value for a sampler's."""
    ordered = isinstance(axis.domain, Choice) and axis.domain.ordered
    return axis.domain.values[int(value)] if ordered else value  # type: ignore[union-attr]


def _encoded(axis: Axis, value: Value) -> Any:
    ordered = isinstance(axis.domain, Choice) and axis.domain.ordered
    return axis.domain.values.index(value) if ordered else value  # type: ignore[union-attr]
