"""The driver: decides what is trained next, commits what comes back, and stops what is not worth more epochs.

It is the only writer of the database. Executors (`nas.search.local`, `nas.search.ray_tune`) call `next_job`, `report`
and `crashed` and hold no state that matters. A trial is first committed to the ledger, then told to the sampler, then
projected for the Optuna dashboard.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nas.errors import DiskFull, NasError
from nas.evaluation import Job, Progress, recipe_key
from nas.search import repeats
from nas.search.allowance import Allowance
from nas.search.effort import Effort
from nas.search.halving import Halving
from nas.search.observations import Observations
from nas.search.pace import Pace
from nas.search.predicted import Predict, predicted
from nas.search.proposals import DataFacts, Proposal, Proposals
from nas.search.recorder import Recorder
from nas.search.repeats import Repeats
from nas.search.samplers import Sampler
from nas.search.weights import Weights
from nas.space import Judgement
from nas.store import EpochRecord, EvaluationKey, Ledger, Projection, Refusals, State, TrialRecord
from nas.study import Study

_CRASHES = 2            # times that a trial whose worker died is started again
_LOSSES = 10            # the same where its machine was lost: that is rarely the network's doing
_FAILURES = 6           # trials that fail in a row: then it is not the networks


@dataclass
class Tally:
    """Counts of a study, for people; `ended` are the trainings that ended in this run."""

    states: Counter[State]
    infeasible: dict[str, Refusals]
    reused: int = 0
    ended: int = 0

    def refuse(self, refused: Mapping[str, Refusals]) -> None:
        """More points that were infeasible."""
        for name, more in refused.items():
            self.infeasible[name] = self.infeasible.get(name, Refusals()) + more


class Driver:
    """One run of one study. `on_epoch` is called with every epoch, `on_trial` with every trial that ends.

    clock: tells the seconds that the time budget is of. predict: a network's latency, where that is not measured.
    """

    def __init__(
        self, study: Study, ledger: Ledger, facts: DataFacts, folder: Path, projection: Projection | None = None,
        threads: int | None = None, pace: Pace | None = None, clock: Callable[[], float] = time.monotonic,
        predict: Predict | None = None,
    ):
        self.study, self.ledger, self.facts = study, ledger, facts
        self.threads, self.predict = threads, predict
        self.on_trial: Callable[[TrialRecord], None] = lambda trial: None
        self.on_epoch: Callable[[TrialRecord, EpochRecord], None] = lambda trial, epoch: None
        self.halving = Halving(study.search.early_stopping, study.recipe.epochs)
        self.trials = {trial.number: trial for trial in ledger.trials(study.name)}
        self.curves: dict[int, list[EpochRecord]] = ledger.epochs(study.name)
        ended = [trial for trial in self.trials.values() if trial.state.finished]
        self.tally = Tally(Counter(trial.state for trial in ended), ledger.infeasible(study.name),
                           sum(trial.reused for trial in ended))
        self.exhausted = False
        self.nothing_fits = False   # no other network is expected to fit the time left
        self.broken_off = ""        # why the search was given up
        self.mistake: NasError | None = None    # what the user has to mend before any training can work
        self.new_trials = 0
        self._running: set[int] = set()
        self._waiting = self._put_back()
        self._awaited: list[TrialRecord] = []       # that another study trains
        self._looked = -math.inf
        self._crashes: Counter[int] = Counter()
        self._losses: Counter[int] = Counter()
        self._failures = 0      # in a row
        self._stop = False
        self._stopped = {number for number, trial in self.trials.items() if trial.state is State.PRUNED}
        if projection is not None:
            projection.catch_up()
        self.recorder = Recorder(ledger, study.name, projection, clock, self.trials, self.curves)
        record = ledger.study(study.name)
        effort = Effort(study.recipe, facts.shape, facts.classes)
        self.allowance = Allowance(study, record.seconds_spent if record is not None else 0.0, clock, pace or Pace(),
                                   effort, self.halving.levels[0], self.trials.values())
        for number, curve in self.curves.items():
            for epoch in curve:
                self._note_level(number, epoch)
        for trial in self._waiting:     # an epoch of a running trial is written once it is to go on from there
            self.halving.promote(trial.number)
        complete = [trial for trial in ended if trial.state is State.COMPLETE]
        self.weights = Weights(study, ledger, folder, complete)
        self.repeats = Repeats(study, complete)
        self.observations = Observations(study, self.halving, self.trials, self.curves)
        self.sampler = Sampler(study.search.sampler, study.space, study.objectives, study.seed)
        self.sampler.show(self.observations.all())
        known = [trial.architecture_id for trial in self.trials.values()]
        self.proposals = Proposals(study, facts, self.sampler, self.observations.all, known, self.allowance.excess)

    # --- what executors call

    def next_job(self) -> Job | None:
        """The next training, or None: nothing more to start now (`finished` says whether for good)."""
        if self.allowance.begin():
            self.recorder.begin()
        self._look_again()
        while not self.ending:
            if self._waiting:
                trial = self.ledger.restart_trial(self.study.name, self._waiting.pop(0).number)
            elif (repeat := self._repeat()) is not None:
                return repeat
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
        if self._stop and not progress.done and not progress.failure:
            return False
        for name in ("accuracy", "loss"):
            if not progress.failure and not math.isfinite(value := getattr(progress, name)):
                progress = dataclasses.replace(progress, failure=f"{name} at epoch {progress.epoch} is {value}")
        if progress.mistake:
            self.mistake = (DiskFull if progress.disk_full else NasError)(progress.failure)
            self.stop()
            return False
        if number in self.repeats.running:
            return self._report_repeat(number, progress)
        if progress.failure:
            self._end(number, _failed(progress), progress.failure, None, progress)
            return False
        epoch = _epoch(progress)
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
        self._observe(number)
        self.recorder.epoch(number, epoch)
        self.recorder.update()
        return not self.ending

    def crashed(self, number: int, reason: str, lost: bool = False) -> None:
        """A worker died under a trial: it goes on in another one, twice at most; then it is FAILED.

        lost: its machine went, as those do that can be taken away, or cannot be reached; then ten times at most.
        """
        if number in self.repeats.running:
            self._crashed_repeat(number, f"the worker died: {reason}", lost)
            return
        if number not in self._running:
            return
        self._running.discard(number)
        ends, most = (self._losses, _LOSSES) if lost else (self._crashes, _CRASHES)
        ends[number] += 1
        if ends[number] <= most or self.ending:     # what ends this run may have ended the worker, too
            self.recorder.forget(number)
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
        return self._stop or self.allowance.seconds_left <= 0

    @property
    def awaiting(self) -> bool:
        """Whether another study trains what this one needs, too."""
        return bool(self._awaited or self.repeats.waiting) and not self.ending

    @property
    def finished(self) -> bool:
        """Whether nothing runs and nothing will."""
        return not self._running and not self.repeats.running and (self.ending or not (
            self._waiting or self.awaiting or self._more() or any(self._repeatable())
            or self._promotable() is not None))

    def running(self) -> list[tuple[TrialRecord, EpochRecord | None]]:
        """The trials in training, with the last epoch of each."""
        curves = {number: self.curves.get(number, []) for number in self._running}
        curves |= {number: repeat.curve for number, repeat in self.repeats.running.items()}
        return [(self.trials[n], curve[-1] if curve else None) for n, curve in sorted(curves.items())]

    def close(self) -> None:
        """Put back what still runs, charge the time, and bring the projection up to date."""
        self.recorder.update(force=True)        # how far they had come
        for trial in self.ledger.put_back(self.study.name):
            self._keep(trial)
        self._running.clear()
        self.repeats.running.clear()
        self.recorder.close()

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
        attrs = proposal.attrs | predicted(self.predict, judged.architecture)
        self.tally.refuse(refused)

        def write() -> TrialRecord:
            with self.ledger.batch():
                if refused:
                    self.ledger.add_infeasible(name, refused)
                return self.ledger.start_trial(name, number, proposal.point, attrs, judged.architecture,
                                               cost, evaluation_key(self.study, self.facts, judged))

        return self.ledger.patiently(write)

    def _take_refused(self) -> dict[str, Refusals]:
        refused = self.proposals.take_refused()
        self.tally.refuse(refused)
        if refused:
            self.ledger.add_infeasible(self.study.name, refused)
        return refused

    def _started(self, trial: TrialRecord) -> Job | None:
        """A job for a trial that was just committed; None where its result was stored already, or comes from another
        study."""
        number, study = trial.number, self.study
        self._keep(trial)
        if trial.state is State.WAITING:
            self._awaited.append(trial)
            return None
        if trial.state.finished:
            self.curves[number] = self.ledger.epochs(study.name, [number]).get(number, [])
            for epoch in self.curves[number]:
                self._note_level(number, epoch)
            self._observe(number)
            self._ended(number)
            return None
        self._running.add(number)
        self.recorder.update()
        latency = self.predict is None and any(objective.name == "latency_ms" for objective in study.objectives)
        return self._job(trial, study.seed, latency, self.halving.rungs)

    def _job(self, trial: TrialRecord, seed: int, latency: bool, rungs: tuple[int, ...]) -> Job:
        facts, study = self.facts, self.study
        return Job(study.name, trial.number, trial.network, facts.shape, facts.classes, facts.data, study.recipe, seed,
                   study.recipe.epochs, latency, study.confirm is not None, self.threads, rungs,
                   study.search.artifacts or "", study.search.start or "")

    def _look_again(self) -> None:
        """From time to time, take up what another study was to train: whether it still does, the ledger tells."""
        now = time.monotonic()
        if self._awaited and now - self._looked >= repeats.LOOK_EVERY:
            self._waiting += self._awaited
            self._awaited, self._looked = [], now

    def _repeat(self) -> Job | None:
        """The next training of a trial with another seed; those whose result is there already are taken in."""
        job, taken, put_off = None, False, set[int]()
        while job is None:
            found = next((found for found in self._repeatable() if found[0].number not in put_off), None)
            if found is None:
                break
            trial, seed = self.ledger.start_repeat(self.study.name, found[0].number, found[1]), found[1]
            training = next((one for one in trial.trainings if one.seed == seed), None)
            if training is None:        # another study trains just this
                self.repeats.put_off(trial.number)
                put_off.add(trial.number)
            elif training.state.finished:
                self._take_in(trial)
                taken = True
            else:
                self.repeats.begin(trial.number, seed)
                job = self._job(trial, seed, False, ())
        if taken:
            self._accuracies_changed()
        return job

    def _repeatable(self) -> Iterator[tuple[TrialRecord, int]]:
        for trial, seed in self.repeats.wanted():
            if self.allowance.holds(trial, self.curves[trial.number]):
                yield trial, seed

    def _more(self) -> bool:
        """Whether new networks can still be tried."""
        budget = self.study.budget.trials
        return not (self.exhausted or self.nothing_fits or self.allowance.too_late) and (
            budget is None or len(self.trials) < budget)

    def _promotable(self) -> int | None:
        """The trial that was stopped and is most worth going on with, if it can be done in time."""
        wanted = self.halving.promotable(self._stopped, self._more())
        return next((n for n in wanted if self.allowance.holds(self.trials[n], self.curves[n])), None)

    # --- taking in

    def _note_level(self, number: int, epoch: EpochRecord) -> None:
        self.halving.note(number, self.trials[number].macs, epoch.epoch, epoch.accuracy)
        self.allowance.trained(self.trials[number], epoch)

    def _end(self, number: int, state: State, reason: str, epoch: EpochRecord | None, progress: Progress) -> None:
        checkpoint, sha256 = None, None
        if state is State.COMPLETE:
            checkpoint, sha256 = self.weights.write(self.trials[number], progress)
        self._keep(self.recorder.finish(number, state, reason, epoch, progress, checkpoint, sha256))
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
            self.repeats.admit(self.trials[number])
            for dropped in self.weights.admit(self.trials[number]):
                self._keep(dropped)
        if self.observations.rises():
            self.sampler.show(self.observations.all())
        self.recorder.update()
        self.on_trial(self.trials[number])

    def _report_repeat(self, number: int, progress: Progress) -> bool:
        """Take in one more epoch of a trial's training with another seed, or its end; whether it goes on."""
        curve = self.repeats.running[number].curve
        if progress.failure:
            self._end_repeat(number, _failed(progress), progress.failure, progress)
            return False
        curve[progress.epoch - 1:progress.epoch] = [_epoch(progress)]
        self.on_epoch(self.trials[number], curve[-1])
        if progress.done:
            self._end_repeat(number, State.COMPLETE, "", progress)
            return False
        self.recorder.update()
        return not self.ending

    def _crashed_repeat(self, number: int, reason: str, lost: bool) -> None:
        seed = self.repeats.running[number].seed
        times = self.repeats.crashed(self.trials[number], lost)
        if times > (_LOSSES if lost else _CRASHES) and not self.ending:
            self.repeats.begin(number, seed)
            self._end_repeat(number, State.FAILED, reason, Progress(0))

    def _end_repeat(self, number: int, state: State, reason: str, last: Progress) -> None:
        repeat = self.repeats.running[number]
        self._take_in(self.recorder.finish_repeat(number, repeat.seed, state, reason, repeat.curve, last))
        self._accuracies_changed()

    def _take_in(self, trial: TrialRecord) -> None:
        """The accuracy of a trial is now the mean over one more seed."""
        self._keep(trial)
        self.repeats.admit(trial)
        self.tally.ended += 1
        self.on_trial(trial)

    def _accuracies_changed(self) -> None:
        for dropped in self.weights.revise([one for one in self.trials.values() if one.state is State.COMPLETE]):
            self._keep(dropped)
        if self.observations.whole:
            self.sampler.show(self.observations.all())
        self.recorder.update()

    def _keep(self, trial: TrialRecord) -> None:
        self.allowance.saw(trial)
        self.trials[trial.number] = trial
        self.recorder.changed(trial.number)
        (self._stopped.add if trial.state is State.PRUNED else self._stopped.discard)(trial.number)

    def _put_back(self) -> list[TrialRecord]:
        back = self.ledger.put_back(self.study.name)
        for trial in back:
            self.trials[trial.number] = trial
        return back

    def _observe(self, number: int) -> None:
        values = self.observations.values(number)
        if values is not None or self.trials[number].state.finished:
            self.sampler.tell(number, values, self.trials[number].state is State.PRUNED)


def _failed(progress: Progress) -> State:
    return State.OUT_OF_MEMORY if progress.out_of_memory else State.FAILED


def _epoch(progress: Progress) -> EpochRecord:
    return EpochRecord(progress.epoch, progress.train_loss, progress.loss, progress.accuracy, progress.seconds)


def evaluation_key(study: Study, facts: DataFacts, judged: Judgement) -> EvaluationKey:
    """What a training of the judged network is stored under."""
    recipe = study.recipe
    how = recipe_key(recipe) + "-test" * (study.confirm is not None)        # what is read on the test part is more
    return EvaluationKey(judged.architecture.id, how, facts.key, study.seed, recipe.epochs)
