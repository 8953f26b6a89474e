"""Many simulated searches of one table, and what they came to: hypervolume by trials and by time, with its spread."""

from __future__ import annotations

import math
import multiprocessing
import statistics
from bisect import bisect_right
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nas.front import Objective, hypervolume, non_dominated
from nas.search.driver import Driver
from nas.search.proposals import DataFacts
from nas.settings import Data
from nas.simulation.table import Row, Table, TableSpace
from nas.simulation.virtual import Clock, Lookup, run_virtual
from nas.store import Ledger, State, TrialRecord
from nas.study import Study

MARKS = (10, 20, 30, 50, 75, 100, 150, 200, 300, 500, 700, 1000, 1500, 2000, 3000, 5000, 10_000, 20_000)
SHARES = (0.9, 0.95, 0.99)      # of the hypervolume of the whole table


@dataclass(frozen=True, slots=True)
class Setup:
    """What is simulated: every sampler with every kind of early stopping, with every seed.

    study: what is the same in all of them; its space is the table's. reference: accuracy and cost of the corner from
    which hypervolume is measured, the cost in its log.
    """

    table: Table
    study: Study
    samplers: tuple[str, ...]
    stoppings: tuple[str, ...]
    seeds: int
    workers: int
    reference: tuple[float, float]
    early_rank: float = 0.96

    @property
    def cost(self) -> str:
        """The name of the cost that the front is against."""
        return next(o.name for o in self.study.objectives if o.name != "accuracy")


@dataclass(frozen=True, slots=True)
class Trace:
    """One search: after each event that changed the front, time, trials opened so far and share of the hypervolume."""

    sampler: str
    stopping: str
    seed: int
    times: tuple[float, ...]
    opened: tuple[int, ...]
    shares: tuple[float, ...]
    end: float                      # virtual time of the last event
    trials: int
    states: dict[str, int]
    work: float                     # virtual time of all trainings
    partial: int                    # networks on the front that were not trained to the end

    def at_trial(self, count: int) -> float:
        """The share when trial `count` (from 0) was about to be opened."""
        place = bisect_right(self.opened, count)
        return self.shares[place - 1] if place else 0.0

    def at_time(self, moment: float) -> float:
        """The share at a time."""
        place = bisect_right(self.times, moment)
        return self.shares[place - 1] if place else 0.0

    def reached(self, share: float) -> tuple[int | None, float | None]:
        """Trials opened, and time, by when the share was reached; None: never."""
        for opened, time, found in zip(self.opened, self.times, self.shares, strict=True):
            if found >= share:
                return opened, time
        return None, None


@dataclass(frozen=True)
class Simulation:
    """All traces of a setup."""

    setup: Setup
    traces: list[Trace]
    in_seconds: bool        # the unit of time; else full trainings of the mean network
    curves_made_up: bool
    groups: list[tuple[str, str]] = field(init=False)

    def __post_init__(self) -> None:
        groups = [(sampler, stopping) for sampler in self.setup.samplers for stopping in self.setup.stoppings]
        object.__setattr__(self, "groups", groups)

    def group(self, sampler: str, stopping: str) -> list[Trace]:
        """The traces of one sampler with one kind of early stopping, by seed."""
        return [trace for trace in self.traces if (trace.sampler, trace.stopping) == (sampler, stopping)]

    def marks(self) -> list[int]:
        """The numbers of trials at which the hypervolume is shown."""
        most = max(trace.trials for trace in self.traces)
        return sorted({*(mark for mark in MARKS if mark < most), most})

    def figures(self) -> list[dict[str, Any]]:
        """One row a group: share of the hypervolume by trials, trials and time to reach shares, work, states."""
        return [self._figures(*group) for group in self.groups]

    def _figures(self, sampler: str, stopping: str) -> dict[str, Any]:
        traces = self.group(sampler, stopping)
        shares = {str(mark): _spread([trace.at_trial(mark) for trace in traces]) for mark in self.marks()}
        reached: dict[str, Any] = {}
        for share in SHARES:
            found = [trace.reached(share) for trace in traces]
            reached[f"{share:.0%}"] = {
                "trials": _median_reached([trials for trials, _ in found]),
                "time": _median_reached([time for _, time in found]),
                "searches": sum(trials is not None for trials, _ in found),
            }
        states = {state: sum(trace.states.get(state, 0) for trace in traces) for state in ("COMPLETE", "PRUNED")}
        return {
            "sampler": sampler, "early_stopping": stopping, "searches": len(traces), "hypervolume": shares,
            "reached": reached, "time": statistics.median(trace.end for trace in traces),
            "work": statistics.median(trace.work for trace in traces), "states": states,
            "partial_on_front": sum(trace.partial for trace in traces),
        }


def simulate(setup: Setup, processes: int, progress: Callable[[int, int], None] = lambda done, of: None) -> Simulation:
    """Run every search of `setup`, in as many processes. `progress`: searches done, of how many."""
    wanted = [(sampler, stopping, seed) for seed in range(setup.seeds) for sampler in setup.samplers
              for stopping in setup.stoppings]
    lookup = _lookup(setup)
    traces: list[Trace] = []
    if processes == 1 or len(wanted) == 1:
        for one in wanted:
            traces.append(simulate_once(setup, *one))
            progress(len(traces), len(wanted))
    else:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(processes, len(wanted)), context, _receive, (setup,)) as pool:
            for trace in pool.map(_simulate_received, wanted):
                traces.append(trace)
                progress(len(traces), len(wanted))
    return Simulation(setup, traces, lookup.in_seconds, lookup.made_up)


def simulate_once(setup: Setup, sampler: str, stopping: str, seed: int, ledger: Ledger | None = None,
                  timed: tuple[list[float], list[float]] | None = None) -> Trace:
    """One search. ledger: where it is recorded; default: in memory. timed: takes real seconds of asks and reports."""
    search = setup.study.search.model_copy(update={
        "sampler": sampler,
        "early_stopping": setup.study.search.early_stopping.model_copy(update={"kind": stopping})})
    study = replace(setup.study, space=TableSpace.of(setup.table), search=search, seed=seed)
    clock, lookup = Clock(), _lookup(setup)
    study = replace(study, recipe=study.recipe.model_copy(update={"epochs": lookup.epochs}))
    with nullcontext(ledger) if ledger is not None else Ledger.in_memory() as records:
        records.create_study(study.name, {})
        facts = DataFacts((1, 1, 1), 1, setup.table.name, Data())
        driver = Driver(study, records, facts, Path(), clock=clock)
        watch = _Watch(setup, driver, clock)
        run_virtual(driver, lookup, setup.workers, clock, watch, timed)
        driver.close()
        work = sum(trial.seconds for trial in driver.trials.values())
        states = {state.value: count for state, count in (+driver.tally.states).items()}
        partial = sum(trial.state is not State.COMPLETE or trial.epochs < lookup.epochs for trial in driver.front())
        return Trace(sampler, stopping, seed, tuple(watch.times), tuple(watch.opened), tuple(watch.shares), clock.now,
                     len(driver.trials), states, work, partial)


class _Watch:
    """Takes down how the hypervolume of a search grows."""

    def __init__(self, setup: Setup, driver: Driver, clock: Clock):
        self.driver, self.clock, self.volume = driver, clock, Volume(setup)
        self.times: list[float] = []
        self.opened: list[int] = []
        self.shares: list[float] = []
        driver.on_trial = self._ended
        self._changed = False

    def _ended(self, trial: TrialRecord) -> None:
        self._changed |= trial.state is State.COMPLETE

    def __call__(self) -> None:
        if not self._changed:
            return
        self._changed = False
        share = self.volume.share([(trial.accuracy or 0.0, getattr(trial, self.volume.cost))
                                   for trial in self.driver.front()])
        if not self.shares or share > self.shares[-1]:
            self.times.append(self.clock.now)
            self.opened.append(len(self.driver.trials))
            self.shares.append(share)


class Volume:
    """The share of a table's whole hypervolume that networks reach, in accuracy and the log of a cost."""

    def __init__(self, setup: Setup):
        self.cost, self.reference = setup.cost, setup.reference
        rows = setup.table.rows.values()
        whole = self._volume([(row.accuracy, cost_of(row, self.cost)) for row in rows])
        self.whole = whole or math.nan

    def share(self, found: Sequence[tuple[float, float]]) -> float:
        """Of networks given as (accuracy, cost)."""
        return self._volume(found) / self.whole

    def _volume(self, found: Sequence[tuple[float, float]]) -> float:
        points = [(accuracy, math.log(cost)) for accuracy, cost in found]
        accuracy, cost = self.reference
        return hypervolume(points, ("max", "min"), (accuracy, math.log(cost)))


def cost_of(row: Row, name: str) -> float:
    """A row's cost by its name, latency included."""
    return float(row.latency_ms or math.nan) if name == "latency_ms" else float(getattr(row.cost, name))


def whole_front(table: Table, objectives: Sequence[Objective]) -> list[Row]:
    """The rows that no other one dominates."""
    rows = list(table.rows.values())
    values = [[row.accuracy if o.name == "accuracy" else cost_of(row, o.name) for o in objectives] for row in rows]
    return [rows[index] for index in non_dominated(values, [o.direction for o in objectives])]


def _lookup(setup: Setup) -> Lookup:
    return Lookup(setup.table, setup.study.recipe.epochs, setup.early_rank)


def _spread(values: Sequence[float]) -> dict[str, float]:
    """Median and quartiles."""
    if len(values) == 1:
        return dict.fromkeys(("median", "low", "high"), values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": median, "low": low, "high": high}


def _median_reached(values: Sequence[float | None]) -> float | None:
    """The median where those that never got there are beyond all; None: so is the median."""
    middle = statistics.median_high([math.inf if value is None else value for value in values])
    return None if math.isinf(middle) else middle


_received: list[Setup] = []


def _receive(setup: Setup) -> None:
    _received[:] = [setup]


def _simulate_received(wanted: tuple[str, str, int]) -> Trace:
    return simulate_once(_received[0], *wanted)
