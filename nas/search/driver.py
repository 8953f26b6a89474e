"""The driver: decides what is trained next, commits what comes back, and stops what is not worth more epochs.

It is the only writer of the database. Executors (`nas.search.local`, `nas.search.ray_tune`) call `next_job`, `report`
and `crashed` and hold no state that matters. A trial is first committed to the ledger, then told to the sampler, then
projected for the Optuna dashboard.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nas.cost import Cost
from nas.evaluation import Job, Progress, recipe_key
from nas.search.halving import Halving
from nas.search.pace import LARGEST_SHARE, Pace
from nas.search.proposals import DataFacts, Proposal, Proposals
from nas.search.samplers import Sampler, Seen
from nas.search.weights import Weights
from nas.space import Judgement
from nas.store import EpochRecord, EvaluationKey, Ledger, Projection, State, TrialRecord
from nas.study import Study

_PROJECT_EVERY = 1.0    # seconds between updates of the Optuna projection
_CRASHES = 2            # times that a trial whose worker died is started again
_FAILURES = 6           # trials that fail in a row: then it is not the networks


@dataclass
class Tally:
    """Counts of a study, for people; `ended` are the trainings that ended in this run."""

    states: Counter[State]
    infeasible: Counter[str]
    reused: int = 0
    ended: int = 0


class Driver:
    """One run of one study. `on_epoch` is called with every epoch, `on_trial` with every trial that ends.

    clock: tells the seconds that the time budget is of.
    """

    def __init__(
        self, study: Study, ledger: Ledger, facts: DataFacts, folder: Path, projection: Projection | None = None,
        threads: int | None = None, pace: Pace | None = None, clock: Callable[[], float] = time.monotonic,
    ):
        self.study, self.ledger, self.facts = study, ledger, facts
        self.projection, self.threads, self._clock = projection, threads, clock
        self.on_trial: Callable[[TrialRecord], None] = lambda trial: None
        self.on_epoch: Callable[[TrialRecord, EpochRecord], None] = lambda trial, epoch: None
        self.halving = Halving(study.search.early_stopping, study.recipe.epochs)
        self.trials = {trial.number: trial for trial in ledger.trials(study.name)}
        self.curves: dict[int, list[EpochRecord]] = ledger.epochs(study.name)
        ended = [trial for trial in self.trials.values() if trial.state.finished]
        self.tally = Tally(Counter(trial.state for trial in ended), Counter(ledger.infeasible(study.name)),
                           sum(trial.reused for trial in ended))
        self.exhausted = False
        self.nothing_fits = False   # no other network is expected to fit the time left
        self.broken_off = ""        # why the search was given up
        self.mistake = ""           # what the user has to mend before any training can work
        self.new_trials = 0
        self._running: set[int] = set()
        self._waiting = self._put_back()
        self._crashes: Counter[int] = Counter()
        self._failures = 0      # in a row
        self._stop = False
        self._memory_bound = min((trial.activations for trial in ended if trial.state is State.OUT_OF_MEMORY),
                                 default=math.inf)      # activations of networks that no memory here holds
        self._cheapest = min((trial.macs for trial in self.trials.values()), default=0)
        self._dirty: set[int] = set()
        self._stopped = {number for number, trial in self.trials.items() if trial.state is State.PRUNED}
        if projection is not None:
            projection.catch_up()
        self._projected = -math.inf
        self._began = self._charged = math.inf     # until the first job is asked for
        record = ledger.study(study.name)
        self._spent_before = record.seconds_spent if record is not None else 0.0
        self.pace = pace or Pace()
        for number, curve in self.curves.items():
            for epoch in curve:
                self._note_level(number, epoch)
        complete = [trial for trial in ended if trial.state is State.COMPLETE]
        self.weights = Weights(study, ledger, folder, complete)
        self._level = self._fidelity()
        self.sampler = Sampler(study.search.sampler, study.space, study.objectives, study.seed)
        self.sampler.show(self._all_seen())
        known = [trial.architecture_id for trial in self.trials.values()]
        self.proposals = Proposals(study, facts, self.sampler, self._all_seen, known, self._too_much)

    # --- what executors call

    def next_job(self) -> Job | None:
        """The next training, or None: nothing more to start now (`finished` says whether for good)."""
        if self._began == math.inf:
            self._began = self._charged = self._clock()
        while not self.ending:
            if self._waiting:
                trial = self.ledger.restart_trial(self.study.name, self._waiting.pop(0).number)
            elif (promoted := self._promotable()) is not None:
                trial = self.ledger.promote_trial(self.study.name, promoted)
                self.halving.promote(promoted)
                self.tally.states[State.PRUNED] -= 1
            elif not self._more():
                return None
            else:
                proposal = self.proposals.next(len(self.trials))
                if proposal is None:
                    refused = self._take_refused()
                    self.nothing_fits = "time" in refused
                    self.exhausted = not self.nothing_fits
                    continue
                trial = self._open(len(self.trials), proposal)
            job = self._started(trial)
            if job is not None:
                return job
        return None

    def report(self, number: int, progress: Progress) -> bool:
        """Take in one more epoch of a trial, or its end; whether the trial goes on."""
        name = self.study.name
        if self._stop and not progress.done and not progress.failure:
            return False
        if not progress.failure and not math.isfinite(progress.accuracy):
            progress = dataclasses.replace(progress, failure=f"accuracy at epoch {progress.epoch} is not a number")
        if progress.mistake:
            self.mistake = progress.failure
            self.stop()
            return False
        if progress.failure:
            state = State.OUT_OF_MEMORY if progress.out_of_memory else State.FAILED
            self._end(number, state, progress.failure, None, progress)
            return False
        epoch = EpochRecord(progress.epoch, progress.train_loss, progress.loss, progress.accuracy, progress.seconds)
        curve = self.curves.setdefault(number, [])
        curve[progress.epoch - 1:progress.epoch] = [epoch]      # a promoted trial goes through its first epochs again
        self._note_level(number, epoch)
        self.on_epoch(self.trials[number], epoch)
        if progress.done:
            self._end(number, State.COMPLETE, "", epoch, progress)
            return False
        if not self.halving.goes_on(number, progress.epoch, self._more()):
            reason = f"stopped at epoch {progress.epoch}: others of its size are worth more"
            self._end(number, State.PRUNED, reason, epoch, progress)
            return False
        self.ledger.record_epoch(name, number, epoch)
        self._observe(number)
        self._dirty.add(number)
        self._project()
        return not self.ending

    def crashed(self, number: int, reason: str) -> None:
        """A worker died under a trial: it goes on in another one, twice at most; then it is FAILED."""
        if number not in self._running:
            return
        self._running.discard(number)
        self._crashes[number] += 1
        if self._crashes[number] <= _CRASHES and not self.ending:
            self.curves.pop(number, None)
            self._waiting += self.ledger.put_back(self.study.name, [number])
            return
        self._running.add(number)
        self._end(number, State.FAILED, f"the worker died: {reason}", None, Progress(0))

    def stop(self) -> None:
        """Start nothing more, and let nothing run on."""
        self._stop = True

    @property
    def ending(self) -> bool:
        """Whether running trials are to stop now."""
        return self._stop or self.seconds_left() <= 0

    @property
    def finished(self) -> bool:
        """Whether nothing runs and nothing will."""
        return not self._running and (self.ending or not (
            self._waiting or self._more() or self._promotable() is not None))

    def seconds_left(self) -> float:
        """Of the time budget; infinite where there is none."""
        budget = self.study.budget.time
        return math.inf if budget is None else budget - self.seconds_spent()

    def seconds_spent(self) -> float:
        """Search time of the study, earlier runs included."""
        return self._spent_before + max(0.0, self._clock() - self._began)

    def running(self) -> list[tuple[TrialRecord, EpochRecord | None]]:
        """The trials in training, with the last epoch of each."""
        numbers = sorted(self._running)
        return [(self.trials[n], self.curves[n][-1] if self.curves.get(n) else None) for n in numbers]

    def close(self) -> None:
        """Put back what still runs, charge the time, and bring the projection up to date."""
        for trial in self.ledger.put_back(self.study.name):
            self._keep(trial)
            self.curves.pop(trial.number, None)
        self._running.clear()
        self.ledger.add_seconds(self.study.name, self._uncharged())
        self._project(force=True)

    def front(self) -> list[TrialRecord]:
        """The COMPLETE trials that no other one dominates."""
        return self.weights.near.front()

    # --- starting

    def _open(self, number: int, proposal: Proposal) -> TrialRecord:
        """Commit a new trial: RUNNING, or finished where its result is already stored."""
        judged, name = proposal.judged, self.study.name
        assert judged.cost is not None
        self.new_trials += 1
        cost, refused = judged.cost, self.proposals.take_refused()
        self.tally.infeasible.update(refused)

        def write() -> TrialRecord:
            with self.ledger.batch():
                if refused:
                    self.ledger.add_infeasible(name, refused)
                return self.ledger.start_trial(name, number, proposal.point, proposal.attrs, judged.architecture,
                                               cost, evaluation_key(self.study, self.facts, judged))

        return self.ledger.patiently(write)

    def _take_refused(self) -> dict[str, int]:
        refused = self.proposals.take_refused()
        self.tally.infeasible.update(refused)
        if refused:
            self.ledger.add_infeasible(self.study.name, refused)
        return refused

    def _started(self, trial: TrialRecord) -> Job | None:
        """A job for a trial that was just committed; None where its result was stored already."""
        number, study = trial.number, self.study
        self._keep(trial)
        if trial.state.finished:
            self.curves[number] = self.ledger.epochs(study.name, [number]).get(number, [])
            for epoch in self.curves[number]:
                self._note_level(number, epoch)
            self._observe(number)
            self._ended(number)
            return None
        self._running.add(number)
        self._project()
        latency = any(objective.name == "latency_ms" for objective in study.objectives)
        return Job(study.name, number, trial.network, self.facts.shape, self.facts.classes, self.facts.data,
                   study.recipe, study.seed, study.recipe.epochs, latency, self.threads, self.halving.rungs,
                   study.search.artifacts or "")

    def _more(self) -> bool:
        """Whether new networks can still be tried."""
        budget = self.study.budget.trials
        return not (self.exhausted or self.nothing_fits or self._too_late()) and (
            budget is None or len(self.trials) < budget)

    def _promotable(self) -> int | None:
        """The trial that was stopped and is most worth going on with, if it can be done in time."""
        wanted = self.halving.promotable(self._stopped, self._more())
        return next((number for number in wanted if self._in_time(number)), None)

    def _in_time(self, number: int) -> bool:
        seconds = statistics.fmean(epoch.seconds for epoch in self.curves[number]) * self.study.recipe.epochs
        return seconds <= self.seconds_left()

    def _too_late(self) -> bool:
        """Whether the time left does not even hold the first rung of the cheapest network seen so far."""
        if self.study.budget.time is None:
            return False
        return self.seconds_left() <= self.halving.levels[0] * self.pace.epoch(self._cheapest)

    def _too_much(self, cost: Cost) -> str:
        """Why a network is not to be tried although no limit forbids it: "time", "memory", or nothing."""
        if cost.activations >= self._memory_bound:
            return "memory"
        return "time" if self._too_long(cost) else ""

    def _too_long(self, cost: Cost) -> bool:
        """Whether a training is expected to take more than its share of the time budget, or than is left."""
        budget = self.study.budget.time
        if budget is None:
            return False
        seconds = self.pace.epoch(cost.macs)
        return (seconds * self.study.recipe.epochs > LARGEST_SHARE * budget
                or seconds * self.halving.levels[0] > self.seconds_left())

    # --- taking in

    def _note_level(self, number: int, epoch: EpochRecord) -> None:
        self.halving.note(number, self.trials[number].macs, epoch.epoch, epoch.accuracy)
        self.pace.saw(self.trials[number].macs, epoch.seconds)

    def _end(self, number: int, state: State, reason: str, epoch: EpochRecord | None, progress: Progress) -> None:
        checkpoint, sha256 = None, None
        if state is State.COMPLETE:
            checkpoint, sha256 = self.weights.write(self.trials[number], progress)
        seconds = self._uncharged()

        def write() -> TrialRecord:
            with self.ledger.batch():
                self.ledger.add_seconds(self.study.name, seconds)
                return self.ledger.finish_trial(
                    self.study.name, number, state, reason, epoch=epoch, latency_ms=progress.latency_ms,
                    device=progress.device, checkpoint=checkpoint, checkpoint_sha256=sha256)

        self._keep(self.ledger.patiently(write))
        self._running.discard(number)
        if state in (State.COMPLETE, State.PRUNED):
            self._observe(number)
        else:
            self.sampler.tell(number, None)
        self._ended(number)

    def _ended(self, number: int) -> None:
        state = self.trials[number].state
        self.tally.states[state] += 1
        self.tally.ended += 1
        self._failures = self._failures + 1 if state is State.FAILED else 0
        if self._failures >= _FAILURES:
            self.broken_off = f"{_FAILURES} trials in a row failed, the last one: {self.trials[number].reason}"
            self.stop()
        self.tally.reused += self.trials[number].reused
        if state is State.COMPLETE:
            for dropped in self.weights.admit(self.trials[number]):
                self._keep(dropped)
        if state is State.OUT_OF_MEMORY:
            self._memory_bound = min(self._memory_bound, self.trials[number].activations)
        level = self._fidelity()
        if level != self._level:
            self._level = level
            self.sampler.show(self._all_seen())
        self._project()
        self.on_trial(self.trials[number])

    def _keep(self, trial: TrialRecord) -> None:
        self._cheapest = min(self._cheapest or trial.macs, trial.macs)
        self.trials[trial.number] = trial
        self._dirty.add(trial.number)
        (self._stopped.add if trial.state is State.PRUNED else self._stopped.discard)(trial.number)

    def _put_back(self) -> list[TrialRecord]:
        back = self.ledger.put_back(self.study.name)
        for trial in back:
            self.trials[trial.number] = trial
            self.curves.pop(trial.number, None)
        return back

    # --- what the sampler sees

    def _fidelity(self) -> int:
        """The epochs at which the sampler sees accuracies: the highest level that enough trials have reached."""
        if any(o.name == "latency_ms" for o in self.study.objectives):
            return self.halving.levels[-1]
        enough = max(8, len(self.study.space.axes))
        levels = self.halving.levels
        return max((level for level in levels if self.halving.reached(level) >= enough), default=levels[0])

    def _values(self, number: int) -> tuple[float, ...] | None:
        """The objectives of a trial at the sampler's fidelity."""
        trial, curve = self.trials[number], self.curves.get(number, [])
        if len(curve) < self._level or trial.state in (State.FAILED, State.OUT_OF_MEMORY):
            return None
        found = {"accuracy": curve[self._level - 1].accuracy, "macs": trial.macs, "params": trial.params,
                 "activations": trial.activations, "latency_ms": trial.latency_ms}
        values = [found[objective.name] for objective in self.study.objectives]
        return None if None in values else tuple(float(value) for value in values if value is not None)

    def _seen(self, trial: TrialRecord) -> Seen:
        running = not trial.state.finished
        return Seen(trial.number, dict(trial.point), trial.sampler_attrs, self._values(trial.number), running)

    def _all_seen(self) -> list[Seen]:
        return [self._seen(trial) for trial in self.trials.values()]

    def _observe(self, number: int) -> None:
        values = self._values(number)
        if values is not None or self.trials[number].state.finished:
            self.sampler.tell(number, values)

    # --- time and projection

    def _uncharged(self) -> float:
        """Seconds of search since this was asked last."""
        before, now = self._charged, self._clock()
        if before == math.inf:      # no job has been asked for
            return 0.0
        self._charged = now
        return now - before

    def _project(self, force: bool = False) -> None:
        now = time.monotonic()
        if self.projection is None or not self._dirty or (not force and now - self._projected < _PROJECT_EVERY):
            return
        self.projection.update([self.trials[n] for n in sorted(self._dirty)],
                               {n: self.curves.get(n, []) for n in self._dirty})
        self._dirty.clear()
        self._projected = time.monotonic()


def evaluation_key(study: Study, facts: DataFacts, judged: Judgement) -> EvaluationKey:
    """What a training of the judged network is stored under."""
    recipe = study.recipe
    return EvaluationKey(judged.architecture.id, recipe_key(recipe), facts.key, study.seed, recipe.epochs)
