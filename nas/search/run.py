"""One run of a study, from a `Study` to its report: data, database, driver, executor, files.

`run` is idempotent: run again, it goes on where it was. What people see on the way is a `View`'s business.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from nas.data import Dataset, describe, load, located, obtainable
from nas.errors import NasError
from nas.evaluation import Evaluator
from nas.feasibility import check_limits, survey
from nas.levels import levels_line
from nas.logs import log_to
from nas.measure import recorded_speed
from nas.search.driver import Driver
from nas.search.fitting import fitted
from nas.search.fork import forked
from nas.search.local import run_local
from nas.search.pace import Pace
from nas.search.predicted import Predict, predictor
from nas.search.proposals import DataFacts
from nas.search.samplers import readable_distribution
from nas.search.tenure import Tenure, tenure
from nas.search.workers import Workers, packed, workers_of
from nas.settings import KEPT, Data, Search
from nas.store import EpochRecord, Ledger, Projection, TrialRecord
from nas.store.lease import SECONDS
from nas.studies import HOME, StoredStudy, default_storage, write_spec
from nas.study import Study
from nas.units import human_seconds, many

log = logging.getLogger("nas")


class View(Protocol):
    """What a run tells people. All methods are called from the driver's thread."""

    def say(self, line: str) -> None:
        """One line of the start-up summary."""

    def began(self, driver: Driver) -> None:
        """Training begins; the driver can be read from now on."""

    def epoch(self, driver: Driver, trial: TrialRecord, epoch: EpochRecord) -> None:
        """A trial has trained one more epoch."""

    def trial(self, driver: Driver, trial: TrialRecord) -> None:
        """A trial has ended."""

    def ended(self) -> None:
        """Training is over."""


class Silent:
    """A view that shows nothing."""

    def say(self, line: str) -> None: ...

    def began(self, driver: Driver) -> None: ...

    def epoch(self, driver: Driver, trial: TrialRecord, epoch: EpochRecord) -> None: ...

    def trial(self, driver: Driver, trial: TrialRecord) -> None: ...

    def ended(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run did. `stored` is the study as it now stands."""

    stored: StoredStudy
    new_trials: int
    trained: int        # trainings that ended, of new trials and of others
    interrupted: bool
    exhausted: bool
    nothing_fits: bool  # no other network is expected to fit the time left
    broken_off: str     # why the search was given up; empty where it was not
    waiting: int


def run(
    study: Study, storage: str | None = None, home: Path = HOME, view: View | None = None,
    evaluate: Evaluator | None = None, lease_seconds: float = SECONDS,
    fork: bool | None = False, within: float | None = None,
) -> Outcome:
    """Run `study` until its budget is spent, its space is exhausted, or Ctrl-C; write its report.

    storage: an SQLAlchemy URL; default: `home`/nas.db. evaluate: in place of training, for tests and simulations.
    lease_seconds: how long the study stays this process's without a sign of life. fork: where the database has the
    study with other settings, run this one under a free name, from the results that hold for both; None: the caller
    has no such choice to offer. within: seconds that the training of a study of one network has to fit; its epochs are
    chosen by that, once. Raises `NasError` for what the user can mend.
    """
    view = view or Silent()
    with study.blamed():        # all that can be refused before anything is made
        workers = workers_of(study.search, evaluate is None)
        obtainable(study.data)
        info = describe(study.data, view.say)
        shape = (info.channels, info.resolution, info.resolution)
        check_limits(study.space, shape, info.n_classes)
        predict = predictor(study, shape, info.n_classes, workers)
    with Ledger.open(storage or default_storage(home)) as ledger:
        with study.blamed():
            dataset = load(study.data, view.say)
            facts = facts_of(dataset, study.data)
        if study.search.gpus_per_trial == "auto":
            workers = packed(study, facts, workers, view.say)
        if within is not None:
            study = fitted(study, ledger.study(study.name), dataset, workers, within, view.say)
        folder = _folder(home, study.name)
        changed = study.changes(ledger.create_study(study.name, study.spec()).spec)
        if changed:
            if not fork:
                raise NasError(_changed(study.name, changed, fork is not None))
            study = forked(ledger, study, facts, predict)
            folder = _folder(home, study.name)
            known = sum(trial.reused for trial in ledger.trials(study.name))
            hold = f"{many(known, 'result')} {'holds' if known == 1 else 'hold'}"
            view.say(f"fork      {study.name}, because of {'; '.join(changed)}: {hold} for both")
        with log_to(folder), tenure(ledger, study.name, lease_seconds) as held:
            ledger.update_spec(study.name, study.spec())
            write_spec(folder, study)
            outcome = _search(study, ledger, held, dataset, facts, workers, folder, home, view, evaluate, predict)
    outcome.stored.write_report()
    return outcome


def _search(
    study: Study, ledger: Ledger, held: Tenure, dataset: Dataset, facts: DataFacts, workers: Workers, folder: Path,
    home: Path, view: View, evaluate: Evaluator | None, predict: Predict | None,
) -> Outcome:
    objectives = {objective.name: objective.direction for objective in study.objectives}
    axes = {axis.name: readable_distribution(axis) for axis in study.space.axes}
    projection = Projection(ledger, study.name, objectives, axes)
    training = evaluate is None
    pace = Pace(_seconds_per_mac(dataset, workers) if training else 0.0)
    driver = Driver(study, ledger, facts, folder, projection, threads=workers.threads, pace=pace,
                    predict=predict)
    driver.on_trial = lambda trial: view.trial(driver, trial)
    driver.on_epoch = lambda trial, epoch: view.epoch(driver, trial, epoch)
    held.end = driver.stop
    interrupted = False
    try:
        if not driver.finished:
            _summary(study, facts, dataset, workers, ledger, view, training)
            pace.measured(_seconds_per_mac(dataset, workers) if training else 0.0)
            view.say(f"starting  {'Ray' if study.search.executor == 'ray' else 'in this process'}")
            view.began(driver)
            _execute(driver, study.search, workers, evaluate)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        view.ended()
        driver.close()
    if driver.mistake is not None:
        raise driver.mistake
    waiting = sum(not trial.state.finished for trial in driver.trials.values())
    stored = StoredStudy(study.name, ledger.url.render_as_string(hide_password=False), home)
    return Outcome(stored, driver.new_trials, driver.tally.ended, interrupted or held.asked, driver.exhausted,
                   driver.nothing_fits, driver.broken_off, waiting)


def _seconds_per_mac(dataset: Dataset, workers: Workers) -> float:
    """Of an epoch, by the machine's measured speed; 0 where it has not been measured yet."""
    speed = recorded_speed("cuda" if workers.gpus else "cpu", workers.threads)
    images = dataset.info.n_train + dataset.info.n_validation / 3       # a forward pass is a third of a step
    return images / speed.macs_per_second if speed is not None else 0.0


def _execute(driver: Driver, search: Search, workers: Workers, evaluate: Evaluator | None) -> None:
    if evaluate is None:
        from nas.evaluate import TrainingEvaluator

        evaluate = TrainingEvaluator("cuda" if workers.gpus else "auto")
    if search.executor == "local":
        run_local(driver, evaluate)
        return
    from nas.search.ray_env import prepare_ray

    prepare_ray(search.address)
    from nas.search.ray_tune import run_ray

    run_ray(driver, evaluate, workers.count, float(workers.threads), workers.gpus, search.address)


def facts_of(dataset: Dataset, data: Data) -> DataFacts:
    """What a search has to know of `dataset`, which is what `data` says."""
    info = dataset.info
    return DataFacts((info.channels, info.resolution, info.resolution), info.n_classes, dataset.checksum, located(data))


def _folder(home: Path, name: str) -> Path:
    folder = home / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise NasError(f"{folder}: cannot be written: {error.strerror}; run nas from a folder of your own") from None
    return folder


def _changed(name: str, changed: list[str], forks: bool) -> str:
    lines = "\n  ".join(changed)
    fork = ", have it named and begun with what is known (--fork)," if forks else ""
    return (f"study {name} is in the database with other settings:\n  {lines}\n"
            f"give this one another name (--name {name}-2){fork} or put back what was changed")


def _summary(
    study: Study, facts: DataFacts, dataset: Dataset, workers: Workers, ledger: Ledger, view: View, training: bool,
) -> None:
    seen = survey(study.space, facts.shape, facts.classes, 500)
    points, exact = study.space.size()
    count = "continuous" if points is None else f"{'' if exact else 'about '}{many(points, 'point')}"
    info = dataset.info
    view.say(f"study     {study.name}: {many(len(study.space.axes), 'axis')}, {count}, {seen.share:.0%} feasible")
    view.say(f"goal      {', '.join(f'{o.name} {o.direction}' for o in study.objectives)}; "
             f"sampler {study.search.sampler}, early stopping {study.search.early_stopping.kind}")
    view.say(f"data      {data_line(dataset)}")
    if study.recipe.start:
        classifier = "its classifier, too" if study.recipe.start.endswith(KEPT) else "with a new classifier"
        view.say(f"start     the weights of {study.search.start}, {classifier}")
    if training:
        from nas.train import choose, summary

        numerics = choose(study.recipe.precision, "cuda" if workers.gpus else "auto", workers.threads)
        view.say(f"device    {numerics.device}: {summary(numerics, workers.threads)}")
    budget = study.budget
    limits = [many(budget.trials, "trial") if budget.trials else "", human_seconds(budget.time) if budget.time else ""]
    view.say(f"budget    {', '.join(filter(None, limits))}; {many(study.recipe.epochs, 'epoch')} a full training")
    for sentence, share in seen.cautions(study.recipe.levels).items():
        view.say(f"caution   {sentence} ({share:.0%} of the networks)")
    if study.recipe.levels and seen.architectures:
        view.say(f"levels    {levels_line(seen.architectures, study.recipe, facts.shape, facts.classes)}")
    view.say(f"workers   {workers}, executor {study.search.executor}")
    view.say(f"database  {ledger}")
    log.info("study %s, data %s, workers %s", study.name, info, workers)


def data_line(dataset: Dataset) -> str:
    """The data in one line."""
    info = dataset.info
    images = "image" if len(dataset.skipped) == 1 else "images"
    skipped = f", {len(dataset.skipped)} corrupt {images} left out ({', '.join(dataset.skipped[:3])})" \
        if dataset.skipped else ""
    return (f"{info.name}: {info.n_train:,} training and {info.n_validation:,} validation images, "
            f"{info.channels}x{info.resolution}x{info.resolution}, {info.n_classes} classes{skipped}")
