"""Who proposes points: Optuna's samplers by name, on an in-memory study that the driver fills.

A sampler is made anew for every ask, with a seed derived from the study's seed and the trial's number, and what it
keeps in a trial's attributes is stored with the trial: so the same observations give the same suggestion, also after a
restart; the points that were refused before a trial are part of that. It sees one fidelity at a time and at most
`MOST_SEEN` trials, so that the time of an ask does not grow.
"""

from __future__ import annotations

import copy
import hashlib
import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseGASampler, BaseSampler
from optuna.study import StudyDirection
from optuna.trial import TrialState

from nas.front import Objective, non_dominated
from nas.knobs import Value
from nas.search.sequences import Grid, QuasiRandom
from nas.space import Axis, Choice, Point, SearchSpace

MOST_SEEN = 500         # observations a sampler is shown: the front, then the newest

optuna.logging.set_verbosity(optuna.logging.ERROR)


def _grid(space: SearchSpace, seed: int) -> Grid:
    values: dict[str, Sequence[Any]] = {
        axis.name: list(range(len(axis.domain.values))) if isinstance(axis.domain, Choice) and axis.domain.ordered
        else list(axis.domain.values) if isinstance(axis.domain, Choice)
        else list(range(int(axis.domain.low), int(axis.domain.high) + 1)) for axis in space.axes}
    return Grid(values, seed)


class _CmaEs(optuna.samplers.CmaEsSampler):
    """Draws by its seed alone. Optuna adds the trial's number in the study, which a restart may change."""

    def sample_relative(self, study: optuna.Study, trial: optuna.trial.FrozenTrial,
                        search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        trial = copy.copy(trial)
        trial.number = 0
        return super().sample_relative(study, trial, search_space)


def _cmaes(space: SearchSpace, seed: int) -> BaseSampler:
    return _CmaEs(seed=seed, n_startup_trials=5, warn_independent_sampling=False)


@dataclass
class _Lineage:
    """What the genetic samplers of one in-memory study have in common: they are made anew at every ask."""

    looked_at: set[int] = field(default_factory=set)        # numbers of the trials that `axes` is of
    axes: dict[str, BaseDistribution] | None = None         # those that all complete trials have
    parents: dict[int, tuple[object, list[optuna.trial.FrozenTrial]]] = field(default_factory=dict)


class _Genetic(BaseGASampler):
    """Finds the parents of a generation afresh at every ask. Optuna keeps the first ones in the study, in another order
    the second time: a search that was started again would go another way."""

    lineage: _Lineage
    _members: dict[int, list[optuna.trial.FrozenTrial]] | None = None

    def infer_relative_search_space(self, study: optuna.Study, trial: optuna.trial.FrozenTrial,
                                    ) -> dict[str, BaseDistribution]:
        lineage = self.lineage
        for one in study._get_trials(deepcopy=False, states=[TrialState.COMPLETE], use_cache=True):
            if one.number not in lineage.looked_at:
                lineage.looked_at.add(one.number)
                lineage.axes = {name: distribution for name, distribution in sorted(one.distributions.items())
                                if lineage.axes is None or name in lineage.axes}
        return {name: axis for name, axis in (lineage.axes or {}).items() if not axis.single()}

    def get_population(self, study: optuna.Study, generation: int) -> list[optuna.trial.FrozenTrial]:
        if self._members is None:       # once an ask
            self._members = {}
            for trial in study._get_trials(deepcopy=False, states=[TrialState.COMPLETE], use_cache=True):
                self._members.setdefault(trial.system_attrs.get(self._get_generation_key(), -1), []).append(trial)
        return list(self._members.get(generation, ()))

    def get_parent_population(self, study: optuna.Study, generation: int) -> list[optuna.trial.FrozenTrial]:
        return self.select_parent(study, generation) if generation else []


class _NSGAII(_Genetic, optuna.samplers.NSGAIISampler):
    """Its parents follow from the generations before alone: they are found anew once one of those has another member.
    (Those of NSGA-III are drawn.)"""

    def get_parent_population(self, study: optuna.Study, generation: int) -> list[optuna.trial.FrozenTrial]:
        if not generation:
            return []
        before = tuple(tuple(trial.number for trial in self.get_population(study, earlier))
                       for earlier in range(generation))
        found = self.lineage.parents.get(generation)
        if found is None or found[0] != before:
            found = self.lineage.parents[generation] = before, self.select_parent(study, generation)
        return list(found[1])


class _NSGAIII(_Genetic, optuna.samplers.NSGAIIISampler):
    pass


SAMPLERS: dict[str, Callable[[SearchSpace, int], BaseSampler]] = {
    "random": lambda space, seed: optuna.samplers.RandomSampler(seed=seed),
    "tpe": lambda space, seed: optuna.samplers.TPESampler(seed=seed, warn_independent_sampling=False),
    "nsga2": lambda space, seed: _NSGAII(seed=seed, population_size=20),
    "nsga3": lambda space, seed: _NSGAIII(seed=seed, population_size=20),
    "gp": lambda space, seed: optuna.samplers.GPSampler(seed=seed, warn_independent_sampling=False),
    "cmaes": _cmaes,
    "qmc": lambda space, seed: QuasiRandom({axis.name: _distribution(axis) for axis in space.axes}, seed),
    "grid": _grid,
}
_REFUSED, _PLACE = "nas:refused", "nas:place"   # in what is kept of a trial: points refused before it; the next place
_CONSTRAINED = {"tpe", "nsga2", "nsga3"}      # samplers that look at why a point is infeasible, not at its values
_STOPPED = {"stopped": 1.0}
STRATIFIED = {"tpe", "gp"}              # samplers whose random start is better spread over log MACs


@dataclass(frozen=True, slots=True)
class Seen:
    """A trial as a sampler sees it: `values` None while it runs or where it gave none.

    stopped: it gave none because others were worth more. Where the sampler can be told so, it breaks a limit.
    """

    number: int
    point: Point
    attrs: Mapping[str, Any]
    values: tuple[float, ...] | None
    running: bool
    stopped: bool = False


class Sampler:
    """Proposes points of `space` for `objectives`. `ask`, then `tell` (or `forget`) by the number that `ask` got."""

    def __init__(self, name: str, space: SearchSpace, objectives: Sequence[Objective], seed: int):
        self.name, self.space, self.objectives, self.seed = name, space, tuple(objectives), seed
        self._distributions = {axis.name: _distribution(axis) for axis in space.axes}
        self._handles: dict[int, int] = {}      # trial number -> number in the in-memory study
        self._refused: list[Any] = []       # [point, what it breaks, attributes], of the trial being asked for
        made = _made(name, space, derived(seed))
        self._sequence = made if isinstance(made, Grid | QuasiRandom) else None
        self.show(())

    def show(self, seen: Iterable[Seen]) -> None:
        """Start from these observations and no others, at most `MOST_SEEN` of them."""
        known = list(seen)
        self._study, self._handles, self._shown, self._lineage = self._new_study(), {}, 0, _Lineage()
        if self._sequence is not None:
            self._sequence.place = max([self._sequence.place, *(int(one.attrs.get(_PLACE, 0)) for one in known)])
            return
        room = MOST_SEEN        # for refused points: the newest
        before: dict[int, list[Any]] = {}
        for one in reversed(known):
            before[one.number] = one.attrs.get(_REFUSED, [])[-room:] if room else []
            room -= len(before[one.number])
        for one in self._worth_seeing(known):
            for point, broken, attrs in before[one.number]:
                self._study.add_trial(self._frozen_refused(point, broken, attrs))
            if one.running and one.values is None:
                self._handles[one.number] = len(self._study.get_trials(deepcopy=False))
            self._study.add_trial(self._frozen(one))
        self._shown = len(self._study.get_trials(deepcopy=False))

    def add(self, running: Seen) -> None:
        """One more trial that runs, and was not asked for."""
        if self._sequence is None:
            self._handles[running.number] = len(self._study.get_trials(deepcopy=False))
            self._study.add_trial(self._frozen(running))

    def ask(self, number: int, attempt: int = 0) -> tuple[Point, dict[str, Any]]:
        """A point for trial `number`, and what the sampler keeps of it. A refused point is asked for again as the
        next `attempt`."""
        if attempt == 0:
            self._refused = []
        if self._sequence is not None:
            self._study = self._new_study()     # no history: what is asked for depends on the place alone
        sampler = self._sequence or _made(self.name, self.space, derived(self.seed, number, attempt))
        if isinstance(sampler, _NSGAII | _NSGAIII):
            sampler.lineage = self._lineage
        self._study.sampler = sampler
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")     # experimental features
            trial = self._study.ask()
            point: Point = {}
            for axis in self.space.axes:
                if self.space.active(axis, point):
                    point[axis.name] = self._suggested(trial, axis)
        if self._sequence is not None:
            self._sequence.place += 1
            return point, {_PLACE: self._sequence.place}
        self._handles[number] = trial.number
        attrs = dict(self._study.get_trials(deepcopy=False)[trial.number].system_attrs)
        return point, attrs | self.refused()

    def refused(self) -> dict[str, Any]:
        """What is to be kept of the points refused so far as the trial being asked for."""
        return {_REFUSED: list(self._refused)} if self._refused else {}

    @property
    def exhausted(self) -> bool:
        """Whether everything has been asked for."""
        return self._sequence is not None and self._sequence.place >= self._sequence.size

    @property
    def crowded(self) -> bool:
        """Whether asks are getting slow: time to `show` it the observations that matter.

        Those that run are all shown: where they are many, it is what came since that counts.
        """
        return len(self._study.get_trials(deepcopy=False)) > max(3 * MOST_SEEN, self._shown + MOST_SEEN)

    def tell(self, number: int, values: Sequence[float] | None, stopped: bool = False) -> None:
        """What trial `number` gave, in the order of the objectives; None where it gave nothing. Once a trial."""
        if stopped and values is None:
            self._tell_broken(number, _STOPPED)
            return
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
        if handle is not None and self.name != "random":
            asked = self._study.get_trials(deepcopy=False)[handle]
            point = {axis.name: _decoded(axis, asked.params[axis.name]) for axis in self.space.axes
                     if axis.name in asked.params}
            self._refused.append([point, dict(broken), dict(asked.system_attrs)])
        self._tell_broken(number, broken)

    def _tell_broken(self, number: int, broken: Mapping[str, float]) -> None:
        handle = self._handles.get(number)
        if handle is None or not broken or self.name not in _CONSTRAINED:
            self.tell(number, None)
            return
        trial = optuna.trial.Trial(self._study, self._study.get_trials(deepcopy=False)[handle]._trial_id)
        for name, share in broken.items():
            trial.set_constraint(name, share)
        self.tell(number, self._worthless)

    @property
    def _worthless(self) -> list[float]:
        """The values of a point that breaks a limit; samplers do not look at them."""
        return [0.0 if o.direction == "max" else math.inf for o in self.objectives]

    def _new_study(self) -> optuna.Study:
        return optuna.create_study(directions=[
            StudyDirection.MAXIMIZE if o.direction == "max" else StudyDirection.MINIMIZE for o in self.objectives])

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
        ended = [one for one in seen if not one.running and one.values is None][-MOST_SEEN:]    # without a result
        running = [one for one in seen if one.running and one.values is None]
        return sorted([*with_values, *ended, *running], key=lambda one: one.number)

    def _frozen(self, one: Seen) -> optuna.trial.FrozenTrial:
        if one.values is None and one.stopped:
            kept = {name: value for name, value in one.attrs.items() if name != _REFUSED}
            return self._frozen_refused(one.point, _STOPPED, kept)
        without = TrialState.RUNNING if one.running else TrialState.FAIL
        return optuna.trial.create_trial(
            state=without if one.values is None else TrialState.COMPLETE,
            **self._encoded_point(one.point), values=None if one.values is None else list(one.values),
            system_attrs={name: value for name, value in one.attrs.items() if name != _REFUSED})

    def _frozen_refused(
        self, point: Point, broken: Mapping[str, float], attrs: Mapping[str, Any],
    ) -> optuna.trial.FrozenTrial:
        told = bool(broken) and self.name in _CONSTRAINED
        return optuna.trial.create_trial(
            state=TrialState.COMPLETE if told else TrialState.FAIL, values=self._worthless if told else None,
            constraints=dict(broken) if told else None, system_attrs=dict(attrs), **self._encoded_point(point))

    def _encoded_point(self, point: Point) -> dict[str, Any]:
        axes = [axis for axis in self.space.axes if axis.name in point]
        return {"params": {axis.name: _encoded(axis, point[axis.name]) for axis in axes},
                "distributions": {axis.name: self._distributions[axis.name] for axis in axes}}


def _made(name: str, space: SearchSpace, seed: int) -> BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")     # experimental features, and options that are to be renamed
        return SAMPLERS[name](space, seed)


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
