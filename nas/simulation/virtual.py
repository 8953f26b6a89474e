"""Workers that train at once on a clock that only the simulation moves: an executor, like `nas.search.local`.

Each worker takes a job, and its epochs end after as many virtual seconds as the evaluator says; epochs that a
promoted trial has had before cost nothing, as with the snapshots that workers keep.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from nas.evaluation import Evaluator, Job, Progress
from nas.search.driver import Driver
from nas.simulation.table import Row, Table


@dataclass
class Clock:
    """Virtual seconds since the start; called, it tells them."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def run_virtual(driver: Driver, evaluate: Evaluator, workers: int, clock: Clock,
                seen: Callable[[], None] = lambda: None,
                timed: tuple[list[float], list[float]] | None = None) -> None:
    """Run `driver`'s study on `workers` virtual workers until it is finished. `seen` is called after every event.

    timed: takes the real seconds of the driver's `next_job`, where it opened a trial, and of its `report`.
    """
    order = itertools.count()
    events: list[tuple[float, int, int, Progress, Iterator[Progress]]] = []
    reached: dict[int, int] = {}        # epochs that a trial has had

    def step(number: int, steps: Iterator[Progress]) -> None:
        progress = next(steps)
        new = progress.epoch > reached.get(number, 0)
        reached[number] = max(reached.get(number, 0), progress.epoch)
        heapq.heappush(events, (clock.now + progress.seconds * new, next(order), number, progress, steps))

    asks, reports = timed or ([], [])

    def next_job() -> Job | None:
        began, before = time.perf_counter(), len(driver.trials)
        job = driver.next_job()
        if len(driver.trials) > before:     # a new network was asked for
            asks.append(time.perf_counter() - began)
        return job

    def report(number: int, progress: Progress) -> bool:
        began = time.perf_counter()
        goes_on = driver.report(number, progress)
        reports.append(time.perf_counter() - began)
        return goes_on

    while True:
        while len(events) < workers and (job := next_job()) is not None:
            step(job.number, iter(evaluate(job)))
            seen()
        if not events:
            return
        clock.now, _, number, progress, steps = heapq.heappop(events)
        if report(number, progress):
            step(number, steps)
        seen()


class Lookup:
    """An evaluator that looks results up.

    A table without learning curves is given some: over `epochs`, each network's accuracy with an error that shrinks
    with the epochs to nothing at the end, of such a size that the rank correlation with the final accuracies is
    `early_rank` at epoch 3. Without seconds, the mean network takes one of time for a full training, the others by
    their MACs.
    """

    def __init__(self, table: Table, epochs: int = 0, early_rank: float = 0.96):
        rows = list(table.rows.values())
        self.made_up = table.epochs == 1 and epochs > 1
        self.epochs = epochs if self.made_up else table.epochs
        self.in_seconds = all(row.seconds is not None for row in rows)
        self._rows = {row.network.id: row for row in rows}
        self._mean_macs = sum(row.cost.macs for row in rows) / len(rows)
        mean = sum(row.accuracy for row in rows) / len(rows)
        spread = math.sqrt(sum((row.accuracy - mean) ** 2 for row in rows) / len(rows))
        self._error = spread * math.sqrt(1 / early_rank ** 2 - 1)       # of rank correlation, for normal errors

    def __call__(self, job: Job) -> Iterator[Progress]:
        row = self._rows[job.network.id]
        total = row.seconds if self.in_seconds and row.seconds is not None else row.cost.macs / self._mean_macs
        for epoch in range(1, job.epochs + 1):
            done = epoch == job.epochs
            accuracy = self._accuracy(row, epoch, job.epochs)
            yield Progress(epoch, accuracy=accuracy, seconds=total / job.epochs, done=done, device="table",
                           latency_ms=row.latency_ms if done else None)

    def _accuracy(self, row: Row, epoch: int, epochs: int) -> float:
        if not self.made_up:    # between two levels of the table it is that of the lower one
            known = [accuracy for level, accuracy in row.curve if level <= epoch]
            return known[-1] if known else row.curve[0][1]
        if epoch == epochs:
            return row.accuracy
        error = random.Random(f"{row.network.id} {epoch}").gauss(0, self._error * min(1.0, 3 / epoch))
        return min(max((row.accuracy + error) * (1 - 0.5 / epoch), 0.0), 1.0)
