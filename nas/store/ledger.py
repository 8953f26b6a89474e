"""The ledger: what every study has tried, in one database, written by its driver alone.

Each method that writes is one transaction, and repeating it after a crash changes nothing. Inside `batch()` several
are one. While the database is away they are tried again. What Optuna's dashboard sees is a projection of this
(`nas.store.projection`); what to try next is decided elsewhere.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Concatenate, NoReturn, ParamSpec, TypeVar

from sqlalchemy import URL, Connection, Engine, func, select, update

from nas.architecture import Network
from nas.cost import Cost
from nas.store import lease, migrations, reading, writing
from nas.store.engine import ConnectionLost, StoreError, connect, connect_memory, explained, parse_url, shown_url
from nas.store.records import (
    EpochRecord,
    EvaluationKey,
    EvaluationRecord,
    Point,
    State,
    StudyRecord,
    TrialRecord,
)
from nas.store.tables import STUDY, TRIAL

log = logging.getLogger("nas")

WAITS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 20, 30, 30)     # seconds between attempts to reach a database that went away

_P = ParamSpec("_P")
_R = TypeVar("_R")


def _patient(method: Callable[Concatenate[Ledger, _P], _R]) -> Callable[Concatenate[Ledger, _P], _R]:
    """Repeat a transaction while the database is away; every one of the ledger's can be repeated."""

    def repeated(self: Ledger, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        return self.patiently(lambda: method(self, *args, **kwargs))

    return functools.update_wrapper(repeated, method)   # type: ignore[return-value]  # self may be named there


class Ledger:
    """One database of studies. Open it with `Ledger.open`; threads may share it, processes may not."""

    def __init__(self, engine: Engine, url: URL):
        self.engine = engine
        self.url = url          # with its password; str(ledger) is for people
        self._writer = engine.execution_options(nas_write=True)
        self._ids: dict[str, int] = {}
        self._leases: dict[str, tuple[int, str]] = {}      # study -> its id and the token, of those driven here
        self._local = threading.local()

    @staticmethod
    def open(url: str, create: bool = True) -> Ledger:
        """The database at an SQLAlchemy URL or at the path of an SQLite file, brought to this version.

        create: make the SQLite file and the tables where there are none; else raise NasError.
        """
        parsed = parse_url(url)
        ledger = Ledger(connect(parsed, create), parsed)
        try:
            with explained(parsed, "cannot open"):
                ledger._prepare(create)
        except BaseException:
            ledger.close()
            raise
        return ledger

    @staticmethod
    def in_memory() -> Ledger:
        """A ledger that ends with this process, for simulations."""
        ledger = Ledger(connect_memory(), URL.create("sqlite"))
        ledger._prepare(create=True)
        return ledger

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __str__(self) -> str:
        return shown_url(self.url)

    def __repr__(self) -> str:
        return f"Ledger({str(self)!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a ledger stays in its process: open it again from its URL")

    def patiently(self, transaction: Callable[[], _R]) -> _R:
        """What `transaction` gives; done again while the database is away, for about two minutes.

        What is lost is only known to be undone where the database says so: so the whole of it is done again, and must
        come to the same. Inside a batch it is the batch that is done again.
        """
        for wait in WAITS if not self.in_batch else ():
            try:
                return transaction()
            except ConnectionLost as error:
                log.warning("%s; tried again in %g s", str(error), wait)     # a record is kept: not with its frames
                time.sleep(wait)
        return transaction()

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """All that this thread writes inside is one commit; an exception undoes all of it."""
        with self.writing():
            yield

    # studies

    @_patient
    def create_study(self, name: str, spec: Mapping[str, Any]) -> StudyRecord:
        """A new study, or the one of that name as it is."""
        if not 0 < len(name) <= 255:
            raise StoreError("the name of a study has 1 to 255 characters")
        with self.writing() as connection:
            writing.add_study(connection, name, spec)
            return reading.studies(connection, name)[0]

    @_patient
    def study(self, name: str) -> StudyRecord | None:
        """The study of that name."""
        with self.reading() as connection:
            return next(iter(reading.studies(connection, name)), None)

    @_patient
    def studies(self) -> list[StudyRecord]:
        """All studies, oldest first."""
        with self.reading() as connection:
            return reading.studies(connection)

    @_patient
    def update_spec(self, name: str, spec: Mapping[str, Any]) -> None:
        """Other settings for a study; whether they may change is the driver's to say."""
        with self._study(name) as (connection, study_id):
            connection.execute(update(STUDY).where(STUDY.c.id == study_id).values(spec=dict(spec)))

    @_patient
    def add_seconds(self, study: str, seconds: float) -> None:
        """More seconds spent on a study: a sum, so not to be repeated."""
        with self._study(study) as (connection, study_id):
            more = STUDY.c.seconds_spent + seconds
            connection.execute(update(STUDY).where(STUDY.c.id == study_id).values(seconds_spent=more))

    @_patient
    def add_infeasible(self, study: str, counts: Mapping[str, int]) -> None:
        """More points that broke a constraint, by its name: a sum, so not to be repeated."""
        with self._study(study) as (connection, study_id):
            writing.add_infeasible(connection, study_id, counts)

    @_patient
    def infeasible(self, study: str) -> dict[str, int]:
        """Points that broke a constraint, by its name."""
        with self._study(study, write=False) as (connection, study_id):
            return reading.infeasible(connection, study_id)

    # who runs it

    @_patient
    def take_lease(self, study: str, seconds: float = lease.SECONDS) -> None:
        """From now on this ledger's writes to the study are its driver's, until the lease is lost or given back.

        Raises `LeaseHeld` where another living driver has it; then, in every write, `LeaseLost` once one has.
        """
        with self._study(study) as (connection, study_id):
            token = lease.take(connection, study_id, study, seconds)
        self._leases[study] = study_id, token

    @_patient
    def renew_lease(self, study: str, seconds: float = lease.SECONDS) -> bool:
        """Hold the lease for `seconds` from now; whether it is still this ledger's."""
        with self.writing() as connection:
            return lease.renew(connection, *self._leases[study], seconds)

    @_patient
    def give_back_lease(self, study: str) -> None:
        """The study can be run by others."""
        with self.writing() as connection:
            lease.give_back(connection, *self._leases[study])
        del self._leases[study]

    @_patient
    def holder(self, study: str) -> lease.Holder | None:
        """Who runs the study, or did and has not given it back."""
        with self._study(study, write=False) as (connection, study_id):
            return lease.holder(connection, study_id)

    @_patient
    def ask_to_stop(self, study: str) -> None:
        """Ask the driver of the study to stop."""
        with self._study(study) as (connection, study_id):
            lease.ask_to_stop(connection, study_id)

    # one trial

    @_patient
    def start_trial(self, study: str, number: int, point: Point, sampler_attrs: Mapping[str, Any],
                    architecture: Network, cost: Cost, evaluation: EvaluationKey) -> TrialRecord:
        """A trial that is RUNNING, to be trained now.

        Where the result of `evaluation` has come in meanwhile, it is taken, and the trial is finished and `reused`:
        look at the state. A key whose training failed is trained again.
        """
        with self._study(study) as (connection, study_id):
            writing.start(connection, study_id, number, point, sampler_attrs, architecture, cost, evaluation)
            return reading.trials(connection, study_id, [number])[0]

    @_patient
    def reuse_trial(self, study: str, number: int, point: Point, sampler_attrs: Mapping[str, Any],
                    evaluation: EvaluationKey) -> TrialRecord:
        """A trial that is finished at once with the stored result of `evaluation`; IllegalStep where there is none."""
        with self._study(study) as (connection, study_id):
            writing.reuse(connection, study_id, number, point, sampler_attrs, evaluation)
            return reading.trials(connection, study_id, [number])[0]

    @_patient
    def record_epoch(self, study: str, number: int, epoch: EpochRecord) -> None:
        """One more epoch of a running trial; its accuracy, loss, epochs and seconds follow."""
        with self._study(study) as (connection, study_id):
            writing.record_epoch(connection, study_id, number, epoch)

    @_patient
    def finish_trial(self, study: str, number: int, state: State, reason: str = "", epoch: EpochRecord | None = None,
                     latency_ms: float | None = None, device: str = "", checkpoint: str | None = None,
                     checkpoint_sha256: str | None = None) -> TrialRecord:
        """The end of a trial, with its last epoch if that is not written yet."""
        with self._study(study) as (connection, study_id):
            writing.finish(connection, study_id, number, state, reason, epoch, latency_ms, device, checkpoint,
                           checkpoint_sha256)
            return reading.trials(connection, study_id, [number])[0]

    @_patient
    def set_checkpoint(self, study: str, number: int, path: str, sha256: str) -> None:
        """Where the weights of a trial lie, and their digest. No effect on a result that another study gave."""
        with self._study(study) as (connection, study_id):
            writing.set_checkpoint(connection, study_id, number, path, sha256)

    @_patient
    def shared(self, study: str, number: int) -> bool:
        """Whether a trial of another study has the same training, and so may need its weights."""
        with self._study(study, write=False) as (connection, study_id):
            return reading.shared(connection, study_id, number)

    @_patient
    def clear_checkpoint(self, study: str, number: int) -> None:
        """The weights of a trial are gone. No effect on a result that another study gave."""
        with self._study(study) as (connection, study_id):
            writing.set_checkpoint(connection, study_id, number, None, None)

    @_patient
    def put_back(self, study: str, numbers: Collection[int] | None = None) -> list[TrialRecord]:
        """The trials of a driver that died wait again, at the same points and without the epochs they had.

        numbers: only these, those of a worker that died. Returns all of them that wait, in order. Only the one driver
        of the study may call it.
        """
        with self._study(study) as (connection, study_id):
            return reading.trials(connection, study_id, writing.put_back(connection, study_id, numbers))

    @_patient
    def retry_trials(self, study: str) -> list[int]:
        """The trials that failed or ran out of memory wait to be trained again; their numbers."""
        with self._study(study) as (connection, study_id):
            return writing.retry(connection, study_id)

    @_patient
    def restart_trial(self, study: str, number: int) -> TrialRecord:
        """A waiting trial is RUNNING again; or finished and `reused`, where its result has come in meanwhile."""
        with self._study(study) as (connection, study_id):
            writing.restart(connection, study_id, number)
            return reading.trials(connection, study_id, [number])[0]

    @_patient
    def promote_trial(self, study: str, number: int) -> TrialRecord:
        """A PRUNED trial is RUNNING again, from the start; or finished and `reused`, where another study has its
        complete result."""
        with self._study(study) as (connection, study_id):
            writing.promote(connection, study_id, number)
            return reading.trials(connection, study_id, [number])[0]

    # what there is

    @_patient
    def stored_evaluation(self, key: EvaluationKey) -> EvaluationRecord | None:
        """The result of `key`, of whatever study, where it is complete."""
        with self.reading() as connection:
            found = reading.evaluation(connection, key.key)
        return found if found is not None and found.state.stored else None

    def trial(self, study: str, number: int) -> TrialRecord | None:
        """The trial of that number."""
        return next(iter(self.trials(study, [number])), None)

    @_patient
    def trials(self, study: str, numbers: Collection[int] | None = None) -> list[TrialRecord]:
        """The study's trials in the order of their numbers, or those of `numbers`."""
        with self._study(study, write=False) as (connection, study_id):
            return reading.trials(connection, study_id, numbers)

    @_patient
    def epochs(self, study: str, numbers: Collection[int] | None = None) -> dict[int, list[EpochRecord]]:
        """Learning curves by trial number, those of reused results too; a trial without epochs is left out."""
        with self._study(study, write=False) as (connection, study_id):
            return reading.epochs(connection, study_id, numbers)

    @_patient
    def counts(self, study: str) -> dict[State, int]:
        """Trials of the study by state; every state is there."""
        query = select(TRIAL.c.state, func.count()).group_by(TRIAL.c.state)
        with self._study(study, write=False) as (connection, study_id):
            rows = connection.execute(query.where(TRIAL.c.study_id == study_id))
            found = {row[0]: row[1] for row in rows}
        return {state: found.get(state, 0) for state in State}

    # transactions

    def check_lease(self, study: str, connection: Connection) -> None:
        """Raises `LeaseLost` in a transaction that writes, where this ledger had the study's lease and lost it."""
        if study in self._leases:
            lease.check(connection, *self._leases[study], study)

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection in a transaction that writes: that of the batch if one is open, else one of its own."""
        current = self._batch
        if current is not None:
            with explained(self.url):
                yield current
            return
        with explained(self.url), self._writer.begin() as connection:
            self._batch = connection
            try:
                yield connection
            except BaseException:
                self._ids.clear()       # one of them may be undone now
                raise
            finally:
                self._batch = None

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection in a transaction that reads: that of the batch if one is open, else one of its own."""
        current = self._batch
        if current is not None:
            yield current
            return
        with explained(self.url), self.engine.begin() as connection:
            yield connection

    @property
    def in_batch(self) -> bool:
        """Whether this thread is inside `batch()`."""
        return self._batch is not None

    @property
    def _batch(self) -> Connection | None:
        found: Connection | None = getattr(self._local, "connection", None)
        return found

    @_batch.setter
    def _batch(self, connection: Connection | None) -> None:
        self._local.connection = connection

    @contextlib.contextmanager
    def _study(self, name: str, write: bool = True) -> Iterator[tuple[Connection, int]]:
        with self.writing() if write else self.reading() as connection:
            if name not in self._ids:
                found = connection.execute(select(STUDY.c.id).where(STUDY.c.name == name)).scalar_one_or_none()
                if found is None:
                    there = ", ".join(connection.execute(select(STUDY.c.name).order_by(STUDY.c.id)).scalars())
                    raise StoreError(f"there is no study {name} in {self}; there: {there or 'none'}")
                self._ids[name] = found
            if write:
                self.check_lease(name, connection)
            yield connection, self._ids[name]

    def _prepare(self, create: bool) -> None:
        if not create:
            with self.engine.begin() as connection:
                if migrations.version(connection) is None:
                    raise StoreError(f"{self} holds no studies of nas; `nas run` makes it so")
        migrations.upgrade(self.engine)


