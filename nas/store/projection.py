"""An Optuna study of the same name in the same database, kept true to the ledger: what Optuna's dashboard shows.

It is written and never read for a decision; it can be deleted and made anew at any time. Optuna's trial numbers are
ours, its parameters are the axes by their readable names, its values are the objectives in their order, its
intermediate values are the validation accuracy by epoch. Infeasible points are not in it.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import TrialState
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from nas.store import optuna_rows as rows
from nas.store.engine import StoreError, explained
from nas.store.ledger import Ledger
from nas.store.records import EpochRecord, IllegalStep, State, TrialRecord

OBJECTIVES: Mapping[str, Callable[[TrialRecord], float | None]] = {
    "accuracy": lambda trial: trial.accuracy,
    "loss": lambda trial: trial.loss,
    "params": lambda trial: trial.params,
    "macs": lambda trial: trial.macs,
    "flops": lambda trial: 2 * trial.macs,
    "activations": lambda trial: trial.activations,
    "latency": lambda trial: trial.latency_ms,
    "latency_ms": lambda trial: trial.latency_ms,
}
STATES = {
    State.WAITING: TrialState.WAITING,
    State.RUNNING: TrialState.RUNNING,
    State.COMPLETE: TrialState.COMPLETE,
    State.PRUNED: TrialState.PRUNED,
    State.FAILED: TrialState.FAIL,
    State.OUT_OF_MEMORY: TrialState.FAIL,
}
Curves = Mapping[int, Sequence[EpochRecord]]


class Projection:
    """The Optuna study of one study of the ledger. Nothing is touched before the first call."""

    def __init__(self, ledger: Ledger, study: str, objectives: Mapping[str, str],
                 axes: Mapping[str, BaseDistribution]):
        """objectives: name (of `OBJECTIVES`) to 'max' or 'min', in order; axes: name to what it is drawn from."""
        self.ledger, self.study = ledger, study
        self.objectives, self.axes = dict(objectives), dict(axes)
        self._tables = False
        self._study_id = 0
        self._mark = ""
        self._known: dict[int, rows.Known] = {}

    def update(self, trials: Iterable[TrialRecord], epochs: Curves) -> None:
        """Show these trials as they are now; `epochs` holds their curves by number.

        What is shown already is left alone, so it can be repeated. It costs the same in a study of any size.
        """
        changed = {trial.number: trial for trial in trials}
        if changed:
            self.ledger.patiently(lambda: self._update(changed, epochs))

    def _update(self, changed: Mapping[int, TrialRecord], epochs: Curves) -> None:
        with self._writing() as connection:
            self._open(connection)
            self._show(connection, [changed[number] for number in sorted(changed)], epochs)

    def catch_up(self) -> None:
        """Show what the ledger holds and a driver that died had not shown; for the start of a driver."""
        self.ledger.patiently(self._catch_up)

    def _catch_up(self) -> None:
        with self._writing() as connection:
            self._open(connection, afresh=True)
            stale = [number for number, known in self._known.items() if not known.state.is_finished()]
            trials = [trial for trial in self.ledger.trials(self.study)
                      if trial.number in stale or self._differs(trial)]
            curves = self.ledger.epochs(self.study, [trial.number for trial in trials])
            self._show(connection, trials, curves, redraw=True)

    def rebuild(self) -> None:
        """Delete the Optuna study and make it anew from the ledger."""
        with self._writing() as connection:
            self._drop(connection)
            self._open(connection)
            self._show(connection, self.ledger.trials(self.study), self.ledger.epochs(self.study))

    def delete(self) -> None:
        """Delete the Optuna study; the ledger stays."""
        with self._writing() as connection:
            self._drop(connection)

    def _ready(self) -> None:
        if not self._tables:
            with explained(self.ledger.url):
                rows.create_tables(self.ledger.url)
            self._tables = True

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Connection]:
        if self.ledger.in_batch:
            raise IllegalStep("a projection is a transaction of its own: call it after the batch")
        self._ready()
        try:
            with self.ledger.writing() as connection:
                self.ledger.check_lease(self.study, connection)
                yield connection
        except BaseException:
            self._mark = ""         # undone: look again
            raise

    def _open(self, connection: Connection, afresh: bool = False) -> None:
        """Find or make the study; look at its trials again where another process has made it anew."""
        found = rows.find_study(connection, self.study)
        if found is None:
            found = self._create(connection)
        if not found[1]:
            raise StoreError(f"{self.ledger} holds an Optuna study {self.study} that nas did not make; "
                             "choose another name for yours")
        if afresh or found != (self._study_id, self._mark):
            self._study_id, self._mark = found
            self._known = rows.known_trials(connection, self._study_id)

    def _create(self, connection: Connection) -> tuple[int, str]:
        mark = uuid.uuid4().hex
        try:
            with connection.begin_nested():
                return rows.add_study(connection, self.study, self.objectives, mark), mark
        except IntegrityError:
            found = rows.find_study(connection, self.study)
            if found is None:
                raise
            return found

    def _drop(self, connection: Connection) -> None:
        found = rows.find_study(connection, self.study)
        if found is not None and found[1]:
            rows.delete_study(connection, found[0])
        self._known, self._mark = {}, ""

    def _show(self, connection: Connection, trials: Sequence[TrialRecord], curves: Curves,
              redraw: bool = False) -> None:
        shown = [self._shown(trial, curves.get(trial.number), redraw) for trial in trials if self._differs(trial)]
        self._known.update(rows.write_trials(connection, self._study_id, self._known, shown))

    def _differs(self, trial: TrialRecord) -> bool:
        """Whether what is shown is not the trial as it is; a PRUNED one may have been promoted and stopped again."""
        known = self._known.get(trial.number)
        return (known is None or not known.state.is_finished() or known.state is not self._state(trial)[0]
                or (trial.state is State.PRUNED and known.step != trial.epochs) or known.seeds != trial.seeds)

    def _shown(self, trial: TrialRecord, curve: Sequence[EpochRecord] | None, redraw: bool) -> rows.Shown:
        state, reason, values = self._state(trial)
        known = self._known.get(trial.number)
        params = {name: (self.axes[name], value) for name, value in trial.point.items() if self._fits(name, value)}
        step = known.step if known is not None else 0
        last = curve[-1].epoch if curve else 0
        # One that was put back goes through its first epochs again: at the end all of it is drawn anew.
        anew = redraw or state.is_finished() or (curve is not None and last < step)
        return rows.Shown(
            number=trial.number, state=state, started=trial.created, finished=trial.finished, params=params,
            attrs=_attrs(trial, reason), values=values, clear_steps=anew, seeds=trial.seeds,
            steps={epoch.epoch: epoch.accuracy for epoch in curve or () if anew or epoch.epoch > step})

    def _state(self, trial: TrialRecord) -> tuple[TrialState, str, list[float]]:
        """Optuna's state, the reason, and the values of a complete trial."""
        state = STATES[trial.state]
        if state is not TrialState.COMPLETE:
            return state, trial.reason, []
        values = {name: OBJECTIVES[name](trial) for name in self.objectives}
        missing = [name for name, value in values.items() if value is None]
        if missing:
            return TrialState.FAIL, f"no value of {' and '.join(missing)}", []
        return state, trial.reason, [float(value) for value in values.values() if value is not None]

    def _fits(self, name: str, value: Any) -> bool:
        """Whether the axis can have taken the value: a rule may have set another."""
        axis = self.axes.get(name)
        if axis is None:
            return False
        try:
            return bool(axis._contains(axis.to_internal_repr(value)))
        except (ValueError, TypeError):
            return False


def _attrs(trial: TrialRecord, reason: str) -> dict[str, Any]:
    return {
        "architecture": trial.line, "architecture_id": trial.architecture_id, "params": trial.params,
        "macs": trial.macs, "activations": trial.activations, "epochs": trial.epochs,
        "seconds": round(trial.seconds, 3), "accuracy": trial.accuracy, "state": str(trial.state), "reason": reason,
        "reused": trial.reused, **({rows.SEEDS: trial.seeds, "spread": trial.spread} if trial.seeds > 1 else {}),
    }
