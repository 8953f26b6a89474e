"""A search without training: a fake evaluator whose accuracies are a formula, and drivers that run on it."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from sqlalchemy import NullPool, event

from nas.errors import InvalidInput, Problem
from nas.evaluation import Evaluator, Job, Progress
from nas.search.driver import Driver
from nas.search.proposals import DataFacts
from nas.search.samplers import readable_distribution
from nas.search.tenure import tenure
from nas.settings import Data
from nas.store import Ledger, Projection, TrialRecord
from nas.study import Study, study_from_text

FACTS = DataFacts((1, 8, 8), 10, "fake", Data())

SPACE = """
name: {name}
network:
  stem: {{kind: conv3x3, width: 4}}
  stages: 2
  block: bottleneck
  depth: {{per_stage: [1, 2, 3]}}
  width: {{first: [4, 8, 16], growth: 2}}
  bottleneck_ratio: [0.5, 1.0]
  cardinality: [1, 2, 4]
  residual_scaling: {{from: 0.1, to: 1.0, log: true}}
  gate: [none, highway]
  se_ratio: [0, 1/4]
rules:
  - when: {{gate: highway}}
    set: {{residual_scaling: 1.0}}
limits: {{macs: {{to: 150k}}}}
objectives: {objectives}
recipe: {{epochs: {epochs}}}
search: {{sampler: {sampler}, executor: local, workers: 2, early_stopping: {stopping}}}
budget: {{trials: {trials}}}
seed: {seed}
"""

SMALL = """
name: small
network:
  stem: {kind: conv3x3, width: 4}
  stages: 2
  depth: {per_stage: [1, 2]}
  width: {first: [4, 8, 16], growth: 2}
recipe: {epochs: 1}
search: {sampler: SAMPLER, executor: local, early_stopping: none}
budget: {trials: 50}
"""         # 12 networks, all of them legal


def study(
    name: str = "fake", sampler: str = "random", trials: int = 12, epochs: int = 9, seed: int = 0,
    objectives: str = "{accuracy: max, macs: min}", stopping: str = "{kind: halving, first: 1, eta: 3}",
) -> Study:
    """A study of the fake space, by what tests vary."""
    return study_from_text(SPACE.format(**locals()))


def final_accuracy(job: Job) -> float:
    """Of a full training: grows with log MACs, and every knob moves it a little."""
    from nas.cost import cost
    from nas.plan import plan

    macs = cost(plan(job.architecture, job.shape, job.classes)).macs
    first = job.architecture.stages[0]
    bonus = 0.03 * (first.cardinality == 2) + 0.02 * (first.se_ratio > 0) - 0.05 * abs(first.residual_scaling - 0.5)
    return round(min(0.99, 0.1 + 0.06 * math.log(macs) + bonus), 6)


def accuracy_at(job: Job, epoch: int) -> float:
    """The anytime curve: the same rise for every network, so that early ranks are final ranks."""
    return round(final_accuracy(job) * (1 - 0.5 / epoch), 6) if epoch < job.epochs else final_accuracy(job)


def luck(job: Job) -> float:
    """Of a network with a seed, from 0 to 1."""
    return hashlib.sha256(f"{job.architecture.id} {job.seed}".encode()).digest()[0] / 255


@dataclass
class Fake:
    """Trains at once. Each start of a training is a line of `log`, written by whatever process it is in.

    nan, infinite, failing, memory, raising, ending, killed: numbers of trials that go wrong, at their second epoch (or
    their only one). dies_once: like killed, but the first time only. sleep: seconds an epoch.
    """

    log: Path
    nan: tuple[int, ...] = ()
    infinite: tuple[int, ...] = ()
    failing: tuple[int, ...] = ()
    memory: tuple[int, ...] = ()
    raising: tuple[int, ...] = ()
    ending: tuple[int, ...] = ()
    killed: tuple[int, ...] = ()
    mistaken: tuple[int, ...] = ()
    dies_once: tuple[int, ...] = ()
    loses_cuda: tuple[int, ...] = ()    # the first time
    full: tuple[int, ...] = ()      # whose workers have no room on their disk
    sleep: float = 0.0
    weights: int = 0        # their bytes, at least; 0: none
    noise: float = 0.0      # by which the accuracy differs from seed to seed, at most
    bad_seeds: tuple[int, ...] = ()     # with which trainings diverge

    def __call__(self, job: Job) -> Iterator[Progress]:
        if job.number in self.mistaken:
            raise InvalidInput([Problem("f.yaml:1:2", "data.source", "is gone", "bring it back", "pictures")])
        attempt = sum(number == job.number for number, _ in self.started())
        with self.log.open("a") as file:
            file.write(json.dumps([job.number, job.architecture.id]) + "\n")
        for epoch in range(1, job.epochs + 1):
            time.sleep(self.sleep)
            with self._epochs.open("ab") as file:
                file.write(b".")
            accuracy = accuracy_at(job, epoch) + self.noise * luck(job)
            if epoch == min(2, job.epochs):
                if job.number in self.killed or (job.number in self.dies_once and attempt == 0):
                    os.kill(os.getpid(), signal.SIGKILL)
                if job.number in self.full:
                    raise OSError(errno.ENOSPC, "No space left on device", "/cache")
                if job.number in self.loses_cuda and attempt == 0:
                    raise RuntimeError("CUDA error: an illegal memory access was encountered")
                if job.number in self.raising:
                    raise ValueError(f"no such thing as trial {job.number}\nand more")
                if job.number in self.ending:
                    return
                if job.number in self.failing or job.seed in self.bad_seeds:
                    yield Progress(epoch, failure="diverged: loss nan at epoch 2")
                    return
                if job.number in self.memory:
                    yield Progress(0, failure="out of memory, also at half the batch", out_of_memory=True)
                    return
                if job.number in self.nan:
                    accuracy = math.nan
                if job.number in self.infinite:
                    accuracy = math.inf
            done = epoch == job.epochs
            yield Progress(epoch, 2 / epoch, 1 / epoch, accuracy, 0.01, done=done, device="fake",
                           latency_ms=round(final_accuracy(job) * 3, 6) if done and job.latency else None,
                           weights=self._weights(job) if done and self.weights else None)

    def _weights(self, job: Job) -> bytes:
        return f"weights {job.number}".encode().ljust(self.weights)

    @property
    def _epochs(self) -> Path:
        return self.log.with_suffix(".epochs")

    def work(self) -> int:
        """Epochs trained, whatever became of them."""
        return self._epochs.stat().st_size

    def started(self) -> list[tuple[int, str]]:
        """(trial, architecture id) of each training that began, in order."""
        if not self.log.exists():
            return []
        return [tuple(json.loads(line)) for line in self.log.read_text().splitlines()]


def _unsynced(connection: Any, record: object) -> None:
    """A test outlives no power cut, and waiting for the disk is most of the time of a search without training."""
    connection.execute("PRAGMA synchronous = OFF").close()


class World:
    """A database, a folder and fake evaluators: a search of a study is `world.search(study)`.

    executor: local, ray, or the address of a Ray cluster.
    """

    def __init__(self, folder: Path, executor: str = "local", url: str | None = None, lease: float = 60.0):
        self.folder, self.executor, self.lease = folder, executor, lease
        self.url = url or f"sqlite:///{folder / 'nas.db'}"
        self.ledger = Ledger.open(self.url)
        if self.ledger.engine.dialect.name == "sqlite":
            self.ledger.engine.dispose()
            event.listen(self.ledger.engine, "connect", _unsynced)
        self.fake = Fake(folder / "started.log")

    def driver(self, study: Study) -> Driver:
        """A driver on the study's row, made now or there already."""
        self.ledger.create_study(study.name, study.spec())
        objectives = {o.name: o.direction for o in study.objectives}
        axes = {axis.name: readable_distribution(axis) for axis in study.space.axes}
        return Driver(study, self.ledger, FACTS, self.folder / study.name,
                      Projection(self.ledger, study.name, objectives, axes))

    def search(self, study: Study, fake: Evaluator | None = None) -> Driver:
        """Run the study until it is finished; its driver, closed."""
        self.ledger.create_study(study.name, study.spec())
        with tenure(self.ledger, study.name, self.lease) as held:
            driver = self.driver(study)
            held.end = driver.stop
            try:
                self.execute(driver, fake or self.fake)
            finally:
                driver.close()
        return driver

    def execute(self, driver: Driver, fake: Evaluator) -> None:
        """Run a driver with the executor of this world."""
        if self.executor == "local":
            from nas.search.local import run_local

            run_local(driver, fake)
        else:
            from nas.search.ray_tune import run_ray

            alone = self.executor == "ray"      # else a cluster whose machines have fewer cores than ours
            run_ray(driver, fake, workers=2, cpus=1 if alone else 8, address=None if alone else self.executor)

    def trials(self, name: str = "fake") -> list[TrialRecord]:
        """What the ledger holds."""
        return self.ledger.trials(name)

    def optuna(self, name: str = "fake") -> optuna.Study:
        """What Optuna reads in the same database."""
        storage = optuna.storages.RDBStorage(self.url, engine_kwargs={"poolclass": NullPool})     # leaves none open
        return optuna.load_study(study_name=name, storage=storage)


def dominates(a: TrialRecord, b: TrialRecord, study: Study) -> bool:
    """Whether `a` is at least as good as `b` everywhere and better somewhere."""
    signs = [(o.name, 1 if o.direction == "max" else -1) for o in study.objectives]
    one, other = ([sign * getattr(t, name) for name, sign in signs] for t in (a, b))
    return all(x >= y for x, y in zip(one, other, strict=True)) and one != other


def brute_front(trials: list[TrialRecord], study: Study) -> set[int]:
    """The front by comparing every pair; of equal ones the first."""
    done = [t for t in trials if t.state == "COMPLETE" and t.accuracy is not None]
    values = {t.number: tuple(getattr(t, o.name) for o in study.objectives) for t in done}
    return {t.number for t in done if not any(dominates(other, t, study) for other in done)
            and not any(values[o.number] == values[t.number] and o.number < t.number for o in done)}


def summary(trials: list[TrialRecord]) -> list[tuple[object, ...]]:
    """What must be equal where two searches are."""
    return [(t.number, t.point, t.state, t.reason, t.accuracy, t.epochs, t.macs) for t in trials]
